//! The example configuration shows every key that there is, set or commented out.

use super::Folder;
use punte::settings::Settings;
use std::collections::BTreeSet;
use toml::Value;

/// Nobody's key: each section that meets it names all that it knows.
const UNKNOWN: &str = "no_such_key";

/// Each section with keys of its own, and the file that shows it.
const SECTIONS: [(&str, &str); 13] = [
    ("punte.toml", "gateway"),
    ("punte.toml", "gateway.attachments"),
    ("punte.toml", "operations"),
    ("punte.toml", "journal"),
    ("punte.toml", "broker"),
    ("punte.toml", "scheduler"),
    ("punte.toml", "folders"),
    ("punte.toml", "webhooks"),
    ("punte.toml", "agencies.civil-registry"),
    ("punte.toml", "agencies.civil-registry.retry"),
    ("offices.toml", "offices.causeni"),
    ("offices.toml", "offices.causeni.certificates"),
    ("offices.toml", "offices.causeni.webhook"),
];

#[test]
fn the_example_configuration_shows_every_key() {
    let folder = Folder::new();
    for (file, section) in SECTIONS {
        let path = folder.0.path().join("config").join(file);
        let written = std::fs::read_to_string(&path).unwrap();
        let mut table = written.parse().unwrap();
        add(&mut table, section);
        std::fs::write(&path, toml::to_string(&table).unwrap()).unwrap();
        let keys = keys_of(&Settings::load(folder.config().as_ref()).unwrap_err().to_string());
        std::fs::write(&path, &written).unwrap();
        assert!(!keys.is_empty(), "{section} names no key");
        let shown = shown_in(&written, section);
        let missing: Vec<_> = keys.difference(&shown).collect();
        assert!(missing.is_empty(), "{file} does not show in [{section}]: {missing:?}");
    }
}

#[test]
fn every_section_of_the_settings_is_among_those_that_are_looked_at() {
    let settings = Settings::load(Folder::new().config().as_ref()).unwrap();
    for value in settings.effective.iter().filter(|it| !it.key.starts_with("offices.")) {
        let section = value.key.rsplit_once('.').unwrap().0;
        assert!(SECTIONS.iter().any(|(_, it)| *it == section), "{section}");
    }
}

/// The keys after "expected" in the fault about the unknown one.
fn keys_of(faults: &str) -> BTreeSet<String> {
    let told = faults.lines().find(|line| line.contains(&format!("unknown field `{UNKNOWN}`"))).unwrap_or(faults);
    let (_, expected) = told.split_once(", expected ").unwrap_or_else(|| panic!("{faults}"));
    let expected = expected.split(" in `").next().unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn add(table: &mut toml::Table, section: &str) {
    let inner = section.split('.').fold(table, |table, name| {
        match table.entry(name).or_insert_with(|| Value::Table(toml::Table::new())) {
            Value::Table(inner) => inner,
            Value::Array(tables) => tables[0].as_table_mut().unwrap(),
            other => panic!("{name}: {other}"),
        }
    });
    inner.insert(UNKNOWN.to_owned(), Value::Boolean(true));
}

/// The keys below the section's heading, and the headings below it, commented out or not.
fn shown_in(text: &str, section: &str) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    let mut is_inside = false;
    for line in text.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some(heading) = line.strip_prefix('[').filter(|_| line.ends_with(']')) {
            let heading = heading.trim_matches(['[', ']']);
            is_inside = heading == section;
            shown.extend(heading.strip_prefix(section).and_then(|it| it.strip_prefix('.')).map(str::to_owned));
        } else if is_inside {
            let words: Vec<_> = line.split_whitespace().collect();
            shown.extend(words.windows(2).filter(|pair| pair[1] == "=").map(|pair| pair[0].to_owned()));
        }
    }
    shown
}
