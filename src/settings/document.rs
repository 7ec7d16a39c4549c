//! One TOML file: its text comes in, its sections go out as typed values, each fault with the key it is about.

use super::{
    ConfigFaults, Effective, Secret,
    sources::{SetBy, Sources},
};
use crate::secret_file;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// Sections are taken out one by one, so that a fault in one hides none in another; what is left at the end is unknown.
#[derive(Debug)]
pub struct Document {
    file: PathBuf,
    folder: PathBuf,
    table: Table,
    sources: Sources,
    /// What has been taken out so far.
    effective: Vec<Effective>,
    /// What the operator should know: who else could read its secrets and those in files that it names, and keys under
    /// earlier names.
    warnings: Vec<String>,
}

impl Document {
    pub fn read(file: &Path, faults: &mut ConfigFaults) -> Option<Self> {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) => {
                let remedy =
                    "create it, or name another file (punte.toml: --config FILE, or the variable PUNTE_CONFIG)";
                faults.add(file, "", format!("cannot be read: {error}"), remedy);
                return None;
            }
        };
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(file, text, faults),
            Err(error) => {
                faults.add_at(file, line_of(&bytes, error.valid_up_to()), "is no text in UTF-8", "save it as UTF-8");
                None
            }
        }
    }

    pub fn parse(file: &Path, text: &str, faults: &mut ConfigFaults) -> Option<Self> {
        match text.parse::<Table>() {
            Ok(table) => {
                let folder = file.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
                let sources = Sources::of(text);
                let warnings = if holds_secret(&table) { secret_file::exposures(file) } else { Vec::new() };
                Some(Self { file: file.to_owned(), folder, table, sources, effective: Vec::new(), warnings })
            }
            Err(error) => {
                // Not the line itself: it may hold a password.
                let line = line_of(text.as_bytes(), error.span().map_or(0, |span| span.start));
                faults.add_at(file, line, format!("is not valid TOML: {}", error.message()), "mend this line");
                None
            }
        }
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Takes the section out and reads it; an absent section is an empty one.
    pub fn section<T: DeserializeOwned>(&mut self, name: &str, faults: &mut ConfigFaults) -> Option<T> {
        let value = self.table.remove(name).unwrap_or_else(|| Value::Table(Table::new()));
        self.typed(name, value, faults)
    }

    /// The same, and remembers what is in effect.
    pub fn effective_section<T>(&mut self, name: &str, faults: &mut ConfigFaults) -> Option<T>
    where
        T: DeserializeOwned + Serialize,
    {
        let typed = self.section(name, faults)?;
        self.remember(name, &typed);
        Some(typed)
    }

    /// A key that had another name in earlier releases: its value is read under the new name, and the operator is told so.
    pub fn rename(&mut self, section: &str, old: &str, new: &str, faults: &mut ConfigFaults) {
        let Some(Value::Table(table)) = self.table.get_mut(section) else { return };
        let Some(value) = table.remove(old) else { return };
        let (old, key) = (format!("{section}.{old}"), format!("{section}.{new}"));
        if table.contains_key(new) {
            let problem = format!("is the old name of {key}, which is there as well");
            return faults.add(&self.file, old, problem, "remove it");
        }
        table.insert(new.to_owned(), value);
        self.sources.rename(&old, &key);
        self.warnings.push(format!("{old}: this key is named {key} now; the old name is still taken: rename it"));
    }

    /// Takes the section out and reads it, if it is there.
    pub fn optional_section<T: DeserializeOwned>(&mut self, name: &str, faults: &mut ConfigFaults) -> Option<T> {
        let value = self.table.remove(name)?;
        self.typed(name, value, faults)
    }

    /// Takes out one value that must be there.
    pub fn value<T: DeserializeOwned>(&mut self, key: &str, remedy: &str, faults: &mut ConfigFaults) -> Option<T> {
        match self.table.remove(key) {
            Some(value) => self.typed(key, value, faults),
            None => {
                faults.add(&self.file, key, "is missing", remedy);
                None
            }
        }
    }

    /// Takes out one value that may be left out.
    pub fn optional<T: DeserializeOwned>(&mut self, key: &str, faults: &mut ConfigFaults) -> Option<T> {
        let value = self.table.remove(key)?;
        self.typed(key, value, faults)
    }

    /// Takes a table of tables out, and reads each by itself.
    pub fn sections<T: DeserializeOwned>(&mut self, name: &str, faults: &mut ConfigFaults) -> Vec<(String, T)> {
        match self.table.remove(name) {
            None => Vec::new(),
            Some(Value::Table(table)) => table
                .into_iter()
                .filter_map(|(key, value)| Some((key.clone(), self.typed(&format!("{name}.{key}"), value, faults)?)))
                .collect(),
            Some(_) => {
                faults.add(&self.file, name, "must be a table of tables", format!("write [{name}.NAME]"));
                Vec::new()
            }
        }
    }

    /// Keys that nobody has asked for become faults. Of those that somebody has asked for, the values in effect and the
    /// warnings go out.
    pub fn finish(self, faults: &mut ConfigFaults) -> (Vec<Effective>, Vec<String>) {
        for key in self.table.keys() {
            faults.add(&self.file, key, "is not known here", "remove it, or mend its spelling");
        }
        (self.effective, self.warnings)
    }

    /// Gives each fault of this file its line, or the name of the variable that it is about.
    pub fn locate(&self, faults: &mut ConfigFaults) {
        for fault in faults.0.iter_mut().filter(|fault| fault.file == self.file && fault.line.is_none()) {
            match self.sources.nearest(&fault.key) {
                Some(SetBy::Line(line)) => fault.line = Some(line),
                Some(SetBy::Variable(variable)) => fault.file = variable.into(),
                None => {}
            }
        }
    }

    /// Notes what is in effect under this key.
    pub fn remember(&mut self, key: &str, typed: &impl Serialize) {
        if let Ok(value) = Value::try_from(typed) {
            self.effective.extend(self.sources.effective(&self.file, key, &value));
        }
    }

    pub fn path(&self, written: &Path) -> PathBuf {
        self.folder.join(written)
    }

    /// A folder that must be there.
    pub fn folder(&self, key: &str, written: &Path, faults: &mut ConfigFaults) -> Option<PathBuf> {
        let path = self.path(written);
        if !path.is_dir() {
            let remedy = "create it, or name another one";
            faults.add(&self.file, key, format!("{} is not a folder", path.display()), remedy);
            return None;
        }
        Some(path)
    }

    /// A file that must be there. Whether it holds what it should is checked where it is read.
    pub fn existing(&self, key: &str, written: &Path, faults: &mut ConfigFaults) -> Option<PathBuf> {
        let path = self.path(written);
        let (problem, remedy) = match path.metadata() {
            Ok(it) if it.is_file() => return Some(path),
            // Whoever put another file there would write over a good one.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => (
                "cannot be looked at: this user may not enter its folder",
                "let the user that runs Punte read it (chown)",
            ),
            Ok(_) | Err(_) => ("is not a file", "put it there, or name another one"),
        };
        faults.add(&self.file, key, format!("{} {problem}", path.display()), remedy);
        None
    }

    /// The secret that stands alone in a file.
    pub fn secret(&mut self, key: &str, written: &Path, faults: &mut ConfigFaults) -> Option<Secret> {
        let path = self.existing(key, written, faults)?;
        let shown = path.display();
        match Secret::from_file(&path) {
            Ok((secret, warnings)) if !secret.reveal().is_empty() => {
                self.warnings.extend(warnings);
                return Some(secret);
            }
            Ok(_) => faults.add(&self.file, key, format!("{shown} is empty"), "write it, or name another file"),
            Err(error) => {
                let remedy = "let the user of the service read it, or name another file";
                faults.add(&self.file, key, format!("{shown} cannot be read: {error}"), remedy);
            }
        }
        None
    }

    pub fn override_from(&mut self, variables: impl Iterator<Item = (String, String)>, faults: &mut ConfigFaults) {
        for (name, text) in variables {
            let Some(path) = name.strip_prefix("PUNTE__") else { continue };
            let mut keys: Vec<String> = path.split("__").map(str::to_lowercase).collect();
            if let [section, agency, ..] = keys.as_mut_slice()
                && *section == "agencies"
            {
                // Names of agencies hold no underscore, and those of variables no hyphen.
                *agency = agency.replace('_', "-");
            }
            if keys.iter().all(|key| !key.is_empty()) && set(&mut self.table, &keys, environment_value(&text)) {
                self.sources.set_by(&keys.join("."), &name);
            } else {
                faults.add(name, "", "does not name a key of the configuration", "unset it, or mend its name");
            }
        }
    }

    fn typed<T: DeserializeOwned>(&self, key: &str, value: Value, faults: &mut ConfigFaults) -> Option<T> {
        match value.try_into::<T>() {
            Ok(typed) => Some(typed),
            Err(error) => {
                let told = one_line(&error);
                let key = key_of(key, &told);
                let remedy =
                    if told.contains("unknown field") { "remove it, or mend its spelling" } else { "mend its value" };
                faults.add(&self.file, key, told, remedy);
                None
            }
        }
    }
}

fn holds_secret(table: &Table) -> bool {
    fn is_secret(value: &Value) -> bool {
        match value {
            Value::String(text) => secret_file::is_secret(text),
            Value::Array(values) => values.iter().any(is_secret),
            Value::Table(table) => holds_secret(table),
            Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => false,
        }
    }
    table.values().any(is_secret)
}

/// Numbers, booleans and lists may be written as in TOML; everything else is text.
fn environment_value(text: &str) -> Value {
    let as_toml = format!("v = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
    match as_toml {
        Some(value @ (Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Array(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

fn set(table: &mut Table, keys: &[String], value: Value) -> bool {
    match keys {
        [] => false,
        [last] => {
            table.insert(last.clone(), value);
            true
        }
        [first, rest @ ..] => match table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(inner) => set(inner, rest, value),
            _ => false,
        },
    }
}

fn line_of(text: &[u8], at: usize) -> usize {
    1 + text.iter().take(at).filter(|byte| **byte == b'\n').count()
}

/// The key that an error of a section is about, as far as its text tells: `…, expected u8 in `limits.max``.
fn key_of(section: &str, error: &str) -> String {
    let quoted = |before: &str| {
        let (_, rest) = error.rsplit_once(before)?;
        rest.split_once('`').map(|(name, _)| name).filter(|name| !name.is_empty())
    };
    let inner = if error.ends_with('`') { quoted(" in `") } else { None };
    let unknown = error.starts_with("unknown field `").then(|| quoted("unknown field `")).flatten();
    [Some(section), inner, unknown].into_iter().flatten().collect::<Vec<_>>().join(".")
}

/// What is of a wrong type may be a password under a wrong key: texts and addresses are not shown.
fn one_line(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let text = match (text.find("string \""), text.rfind("\", expected")) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}a text{}", text.get(..begin).unwrap_or_default(), text.get(end + 1..).unwrap_or_default())
        }
        _ => text,
    };
    let words = text.split_whitespace().map(|word| if word.contains("://") { "an address" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> (Document, ConfigFaults) {
        let mut faults = ConfigFaults::default();
        let document = Document::parse(Path::new("/etc/punte/punte.toml"), text, &mut faults).unwrap();
        (document, faults)
    }

    #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        one: u8,
        two: Option<String>,
    }

    #[test]
    fn every_section_reports_its_own_faults() {
        let (mut document, mut faults) = document("[a]\none = 'x'\n[b]\nthree = 3\none = 1\n[c]\n");
        assert!(document.section::<Pair>("a", &mut faults).is_none());
        assert!(document.section::<Pair>("b", &mut faults).is_none());
        document.finish(&mut faults);
        let keys: Vec<_> = faults.0.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["a.one", "b.three", "c"]);
    }

    #[test]
    fn a_broken_line_is_named_and_not_shown() {
        let mut faults = ConfigFaults::default();
        let text = "[broker]\nkind = 'rabbitmq'\nuri = 'amqp://punte:canary-secret@host/\n";
        assert!(Document::parse(Path::new("/etc/punte/punte.toml"), text, &mut faults).is_none());
        let shown = faults.to_string();
        assert!(shown.contains("punte.toml:3: ") && !shown.contains("canary"), "{shown}");
        let mut faults = ConfigFaults::default();
        let text = "url = 'postgres://punte:canary-secret@host/'\nurl = 'x'";
        assert!(Document::parse(Path::new("/etc/punte/punte.toml"), text, &mut faults).is_none());
        assert!(!faults.to_string().contains("canary"), "{faults}");
    }

    #[test]
    fn a_value_of_a_wrong_type_is_not_shown() {
        for text in [
            "[a]\none = 'canary-secret'\n",
            "a = 'amqp://punte:canary@host/'",
            "[a]\none = ['x \"canary\", expected y']",
        ] {
            let (mut document, mut faults) = document(text);
            assert!(document.section::<Pair>("a", &mut faults).is_none());
            assert!(!faults.to_string().contains("canary") && faults.to_string().contains("expected"), "{faults}");
        }
    }

    #[test]
    fn a_key_under_its_old_name_is_taken_and_told_and_refused_beside_the_new_one() {
        let (mut document, mut faults) = document("[a]\none = 1\nzwei = 'x'\n");
        document.rename("a", "zwei", "two", &mut faults);
        assert_eq!(document.effective_section("a", &mut faults), Some(Pair { one: 1, two: Some("x".into()) }));
        let (effective, warnings) = document.finish(&mut faults);
        assert!(faults.is_empty(), "{faults}");
        assert_eq!(effective[1].to_string(), "a.two = \"x\"    /etc/punte/punte.toml:3");
        assert!(warnings[0].starts_with("a.zwei: this key is named a.two now"), "{warnings:?}");
        let (mut document, mut faults) = self::document("[a]\none = 1\ntwo = 'y'\nzwei = 'x'\n");
        document.rename("a", "zwei", "two", &mut faults);
        assert_eq!(document.section("a", &mut faults), Some(Pair { one: 1, two: Some("y".into()) }));
        assert!(faults.0[0].key == "a.zwei" && faults.to_string().contains("old name of a.two"), "{faults}");
    }

    #[test]
    fn the_environment_overrides_a_key() {
        let (mut document, mut faults) = document("[a]\none = 1\n");
        let variables = [("PUNTE__A__ONE", "7"), ("PUNTE__A__TWO", "x y"), ("HOME", "/root")];
        document.override_from(variables.map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter(), &mut faults);
        assert_eq!(document.section("a", &mut faults), Some(Pair { one: 7, two: Some("x y".into()) }));
        assert!(faults.is_empty());
    }
}
