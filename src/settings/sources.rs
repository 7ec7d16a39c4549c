//! Where each value of the configuration comes from: the lines of a file and the environment's variables come in; each
//! effective value with its source goes out.

use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};
use toml::{Value, de::DeTable};

/// One value as it is in effect. Secrets are not shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effective {
    pub key: String,
    /// As TOML.
    pub value: String,
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "from", rename_all = "lowercase")]
pub enum Source {
    File {
        file: PathBuf,
        line: usize,
    },
    /// `over_line`: of the file, where the key is written, too, and does not count.
    Environment {
        variable: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        over_line: Option<usize>,
    },
    Default,
}

/// What is known of one file's keys.
#[derive(Debug, Default)]
pub(super) struct Sources {
    lines: BTreeMap<String, usize>,
    variables: BTreeMap<String, String>,
}

impl Sources {
    pub fn of(text: &str) -> Self {
        let mut sources = Self::default();
        if let Ok(table) = DeTable::parse(text) {
            sources.walk(text, "", table.get_ref());
        }
        sources
    }

    fn walk(&mut self, text: &str, above: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key = below(above, name.get_ref());
            let before = text.get(..name.span().start).unwrap_or_default();
            self.lines.insert(key.clone(), before.bytes().filter(|byte| *byte == b'\n').count() + 1);
            if let Some(inner) = value.get_ref().as_table() {
                self.walk(text, &key, inner);
            }
        }
    }

    pub fn set_by(&mut self, key: &str, variable: &str) {
        self.variables.insert(key.to_owned(), variable.to_owned());
    }

    /// What is known of a key is from now on known of another.
    pub fn rename(&mut self, old: &str, new: &str) {
        if let Some(line) = self.lines.remove(old) {
            self.lines.insert(new.to_owned(), line);
        }
        if let Some(variable) = self.variables.remove(old) {
            self.variables.insert(new.to_owned(), variable);
        }
    }

    pub fn line(&self, key: &str) -> Option<usize> {
        self.lines.get(key).copied()
    }

    /// What has set a key; where nothing has, what has set the nearest section around it.
    pub fn nearest(&self, key: &str) -> Option<SetBy<'_>> {
        let mut key = key;
        loop {
            if let Some(variable) = self.variables.get(key) {
                return Some(SetBy::Variable(variable));
            }
            if let Some(line) = self.line(key) {
                return Some(SetBy::Line(line));
            }
            // A section that only a variable has brought.
            let is_below = |it: &&String| it.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
            if let Some(below) = self.variables.keys().find(is_below) {
                return self.variables.get(below).map(|variable| SetBy::Variable(variable));
            }
            key = key.rsplit_once('.')?.0;
        }
    }

    fn source(&self, file: &Path, key: &str) -> Source {
        match self.nearest(key).filter(|_| self.is_written(key)) {
            Some(SetBy::Variable(variable)) => {
                Source::Environment { variable: variable.to_owned(), over_line: self.line(key) }
            }
            Some(SetBy::Line(line)) => Source::File { file: file.to_owned(), line },
            None => Source::Default,
        }
    }

    fn is_written(&self, key: &str) -> bool {
        self.lines.contains_key(key) || self.variables.contains_key(key)
    }

    /// A section's values, those left out included.
    pub fn effective(&self, file: &Path, key: &str, value: &Value) -> Vec<Effective> {
        match value {
            Value::Table(table) => {
                table.iter().flat_map(|(name, value)| self.effective(file, &below(key, name), value)).collect()
            }
            value => vec![Effective { key: key.into(), value: value.to_string(), source: self.source(file, key) }],
        }
    }
}

pub(super) enum SetBy<'a> {
    Line(usize),
    Variable(&'a str),
}

fn below(above: &str, name: &str) -> String {
    if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") }
}

impl Effective {
    /// A value that is written twice: the environment wins, and that should be known.
    pub fn warning(&self) -> Option<String> {
        match &self.source {
            Source::Environment { variable, over_line: Some(line) } => Some(format!(
                "{}: the environment variable {variable} wins over line {line} of the configuration file; keep one of them",
                self.key
            )),
            Source::Environment { over_line: None, .. } | Source::File { .. } | Source::Default => None,
        }
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}    {}", self.key, self.value, self.source)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File { file, line } => write!(f, "{}:{line}", file.display()),
            Source::Environment { variable, over_line: None } => write!(f, "environment variable {variable}"),
            Source::Environment { variable, over_line: Some(line) } => {
                write!(f, "environment variable {variable}, over line {line} of the file")
            }
            Source::Default => f.write_str("default"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_the_source_that_wins() {
        let mut sources = Sources::of("# a file\n[a]\none = 1\ntwo = 2\n\n[a.inner]\nthree = [3,\n 4]\n");
        sources.set_by("a.two", "PUNTE__A__TWO");
        sources.set_by("a.four", "PUNTE__A__FOUR");
        let value = "one = 1\ntwo = 22\nfour = 'x'\nfive = 5\n[inner]\nthree = [3, 4]".parse::<toml::Table>().unwrap();
        let shown: Vec<_> =
            sources.effective(Path::new("p.toml"), "a", &Value::Table(value)).iter().map(ToString::to_string).collect();
        let expected = [
            "a.one = 1    p.toml:3",
            "a.two = 22    environment variable PUNTE__A__TWO, over line 4 of the file",
            "a.four = \"x\"    environment variable PUNTE__A__FOUR",
            "a.five = 5    default",
            "a.inner.three = [3, 4]    p.toml:7",
        ];
        for line in expected {
            assert!(shown.contains(&line.to_owned()), "{line} is not in {shown:?}");
        }
        assert_eq!(shown.len(), expected.len());
    }
}
