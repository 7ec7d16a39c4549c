//! `[journal]`: where the durable record lives and how long its parts are kept.

use super::{ConfigFaults, Document, Secret, address::fault_of_form};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub struct JournalSettings {
    pub store: JournalStore,
    /// Bytes kept of each message sent and of each received.
    pub wire_max_bytes: usize,
    pub retention: Retention,
}

#[derive(Debug, Clone)]
pub enum JournalStore {
    Sqlite { path: PathBuf },
    Postgres(PostgresServer),
}

#[derive(Debug, Clone)]
pub struct PostgresServer {
    pub url: Secret,
    /// Where it was read, if it stands in a file.
    pub url_file: Option<PathBuf>,
    /// A file of passwords, and its text.
    pub passfile: Option<(PathBuf, Secret)>,
    /// The authority of the server's certificate, PEM.
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long the bytes of attempts are kept.
    pub wire: SignedDuration,
    /// How long personal content is kept after the end of a submission.
    pub content: SignedDuration,
    /// How long personal content is kept of what waits for an operator, who can have nothing done again afterwards.
    pub parked: SignedDuration,
    /// How long an Idempotency-Key is remembered: at least 30 days.
    pub keys: SignedDuration,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: Option<Secret>,
    /// The same in a file: it may hold a password.
    url_file: Option<PathBuf>,
    /// PostgreSQL's password alone, or lines as libpq's `.pgpass` has them.
    passfile: Option<PathBuf>,
    /// The authority of the PostgreSQL server's certificate, PEM.
    ca: Option<PathBuf>,
    #[serde(default = "default_wire_max_bytes")]
    wire_max_bytes: usize,
    #[serde(default = "default_wire_days")]
    wire_retention_days: u32,
    #[serde(default = "default_content_days")]
    content_retention_days: u32,
    #[serde(default = "default_parked_days")]
    parked_retention_days: u32,
    #[serde(default = "default_key_days")]
    idempotency_key_days: u32,
}

fn default_url() -> Secret {
    Secret::new("sqlite:../punte-data/journal.db")
}
fn default_wire_max_bytes() -> usize {
    256 << 10
}
fn default_wire_days() -> u32 {
    30
}
fn default_content_days() -> u32 {
    365
}
fn default_parked_days() -> u32 {
    90
}
fn default_key_days() -> u32 {
    30
}

pub(super) fn read(main: &mut Document, faults: &mut ConfigFaults) -> Option<JournalSettings> {
    let mut written: Written = main.section("journal", faults)?;
    if written.idempotency_key_days < 30 {
        let remedy = "must be at least 30: offices may repeat a request for that long";
        faults.add(main.file(), "journal.idempotency_key_days", "is too short", remedy);
    }
    if written.parked_retention_days == 0 {
        let remedy = "must be at least 1: an operator needs time to decide";
        faults.add(main.file(), "journal.parked_retention_days", "is 0", remedy);
    }
    if written.url.is_none() && written.url_file.is_none() {
        written.url = Some(default_url());
    }
    main.remember("journal", &written);
    let url = url(main, &written, faults);
    let store = url.and_then(|url| store_of(main, &url, &written, faults));
    let days = |count: u32| SignedDuration::from_hours(24 * i64::from(count));
    Some(JournalSettings {
        store: store?,
        wire_max_bytes: written.wire_max_bytes,
        retention: Retention {
            wire: days(written.wire_retention_days),
            content: days(written.content_retention_days),
            parked: days(written.parked_retention_days),
            keys: days(written.idempotency_key_days),
        },
    })
}

fn url(main: &mut Document, written: &Written, faults: &mut ConfigFaults) -> Option<Secret> {
    match (&written.url, &written.url_file) {
        (Some(_), Some(_)) => {
            let problem = "is given twice: in url and in url_file";
            faults.add(main.file(), "journal.url", problem, "keep one of the two (the environment counts as well)");
            None
        }
        (Some(url), None) => Some(url.clone()),
        (None, Some(path)) => main.secret("journal.url_file", path, faults),
        (None, None) => None,
    }
}

fn store_of(main: &mut Document, url: &Secret, written: &Written, faults: &mut ConfigFaults) -> Option<JournalStore> {
    let text = url.reveal();
    if let Some((problem, remedy)) = fault_of_form(text) {
        let key = if written.url.is_some() { "journal.url" } else { "journal.url_file" };
        faults.add(main.file(), key, problem, remedy);
        return None;
    }
    let is_postgres = text.starts_with("postgres://") || text.starts_with("postgresql://");
    if is_postgres {
        let ca = written.ca.as_ref().and_then(|path| main.existing("journal.ca", path, faults));
        let passfile = written.passfile.as_ref();
        let passfile =
            passfile.and_then(|path| Some((main.path(path), main.secret("journal.passfile", path, faults)?)));
        let url_file = written.url_file.as_ref().map(|path| main.path(path));
        return Some(JournalStore::Postgres(PostgresServer { url: url.clone(), url_file, passfile, ca }));
    }
    for (key, path) in [("journal.ca", &written.ca), ("journal.passfile", &written.passfile)] {
        if path.is_some() {
            faults.add(main.file(), key, "is of use only with PostgreSQL", "remove it, or mend journal.url");
        }
    }
    let path = text.strip_prefix("sqlite:").filter(|path| !path.is_empty());
    let problem = match path {
        None => Some("is of no known kind"),
        Some(path) if path.starts_with(":memory:") => {
            Some("names no file: a journal that is gone with its process is none")
        }
        Some(path) if path.contains(['?', '\0', '\n']) => {
            Some("holds what is no part of a path (parameters are not known)")
        }
        Some(_) => None,
    };
    if let Some(problem) = problem {
        let key = if written.url.is_some() { "journal.url" } else { "journal.url_file" };
        faults.add(main.file(), key, problem, "write sqlite:PATH or postgres://USER@HOST/DATABASE");
        return None;
    }
    path.map(|path| JournalStore::Sqlite { path: main.path(path.as_ref()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn read_in(folder: &Path, section: &str) -> (Option<JournalStore>, ConfigFaults) {
        let mut faults = ConfigFaults::default();
        let file = folder.join("punte.toml");
        let mut main = Document::parse(&file, &format!("[journal]\n{section}"), &mut faults).unwrap();
        let settings = read(&mut main, &mut faults);
        (settings.map(|it| it.store), faults)
    }

    #[test]
    fn the_url_and_the_password_may_stand_in_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("url"), "postgres://punte:s3cret@localhost/bus\n").unwrap();
        std::fs::write(folder.path().join("password"), "s3cret\n").unwrap();
        let (store, faults) = read_in(folder.path(), "url_file = 'url'\npassfile = 'password'");
        assert!(faults.is_empty(), "{faults}");
        let Some(JournalStore::Postgres(server)) = store else { panic!("{store:?}") };
        assert_eq!(server.url.reveal(), "postgres://punte:s3cret@localhost/bus");
        assert_eq!(server.passfile.as_ref().map(|(_, text)| text.reveal()), Some("s3cret"));
        assert!(!format!("{server:?}").contains("s3cret"));
    }

    #[test]
    fn what_would_be_passed_over_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        std::fs::write(folder.path().join("url"), "sqlite:journal.db").unwrap();
        for (section, key) in [
            ("url = 'sqlite:a.db'\nurl_file = 'url'", "journal.url"),
            ("url_file = 'empty'", "journal.url_file"),
            ("url_file = 'nowhere'", "journal.url_file"),
            ("url = 'sqlite:a.db'\nca = 'url'", "journal.ca"),
            ("url = 'sqlite:a.db'\npassfile = 'url'", "journal.passfile"),
            ("url = 'postgres://u@localhost/b'\npassfile = 'empty'", "journal.passfile"),
            ("url = 'mysql://u@localhost/b'", "journal.url"),
        ] {
            let (_, faults) = read_in(folder.path(), section);
            assert!(faults.0.iter().any(|fault| fault.key == key && !fault.remedy.is_empty()), "{section}: {faults}");
        }
    }
}
