//! `[journal]`: where the durable record lives and how long its parts are kept.

use super::{
    ConfigFaults, Document, Secret,
    address::{PERCENT_ENCODE, fault_of_form},
};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub struct JournalSettings {
    pub place: JournalPlace,
    /// Bytes kept of each message sent and of each received.
    pub wire_max_bytes: usize,
    pub retention: Retention,
}

#[derive(Debug, Clone)]
pub enum JournalPlace {
    Sqlite { path: PathBuf },
    Postgres { url: Secret, ca: Option<PathBuf> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long the bytes of attempts are kept.
    pub wire: SignedDuration,
    /// How long personal content is kept after the end of a submission.
    pub content: SignedDuration,
    /// How long an Idempotency-Key is remembered: at least 30 days.
    pub keys: SignedDuration,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default = "default_url")]
    url: Secret,
    /// The authority of the PostgreSQL server's certificate, PEM.
    ca: Option<PathBuf>,
    #[serde(default = "default_wire_max_bytes")]
    wire_max_bytes: usize,
    #[serde(default = "default_wire_days")]
    wire_retention_days: u32,
    #[serde(default = "default_content_days")]
    content_retention_days: u32,
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
fn default_key_days() -> u32 {
    30
}

pub(super) fn read(main: &mut Document, faults: &mut ConfigFaults) -> Option<JournalSettings> {
    let written: Written = main.effective_section("journal", faults)?;
    if written.idempotency_key_days < 30 {
        let remedy = "must be at least 30: offices may repeat a request for that long";
        faults.add(main.file(), "journal.idempotency_key_days", "is too short", remedy);
    }
    let ca = written.ca.as_ref().and_then(|path| main.existing("journal.ca", path, faults));
    if let Some(problem) = fault_of_form(written.url.reveal()) {
        faults.add(main.file(), "journal.url", problem, PERCENT_ENCODE);
        return None;
    }
    let place = place(main, &written.url, ca);
    if place.is_none() {
        let remedy = "write sqlite:PATH or postgres://USER@HOST/DATABASE";
        faults.add(main.file(), "journal.url", "is of no known kind", remedy);
    }
    let days = |count: u32| SignedDuration::from_hours(24 * i64::from(count));
    Some(JournalSettings {
        place: place?,
        wire_max_bytes: written.wire_max_bytes,
        retention: Retention {
            wire: days(written.wire_retention_days),
            content: days(written.content_retention_days),
            keys: days(written.idempotency_key_days),
        },
    })
}

fn place(main: &Document, url: &Secret, ca: Option<PathBuf>) -> Option<JournalPlace> {
    let text = url.reveal();
    if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
        return Some(JournalPlace::Sqlite { path: main.path(path.as_ref()) });
    }
    let is_postgres = text.starts_with("postgres://") || text.starts_with("postgresql://");
    is_postgres.then(|| JournalPlace::Postgres { url: url.clone(), ca })
}
