//! What the simulated agency has done comes in, entry by entry; tests read it back and count.

use crate::domain::{Effect, ServiceName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// One effect. It names no person: a reference, and the trace that brought it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Its place in the ledger, from 0.
    pub entry: usize,
    pub operation: ServiceName,
    /// `None` where the agency's contract carries no reference.
    pub reference: Option<String>,
    pub at: Timestamp,
    /// How often the request came. More than once only where the agency recognises repeats.
    pub times_seen: u32,
    /// Of the request that came last.
    pub traceparent: Option<String>,
}

#[derive(Debug)]
pub(super) struct Ledger {
    entries: Mutex<Vec<LedgerEntry>>,
    file: Option<Mutex<File>>,
}

impl Ledger {
    /// What the file holds already is remembered: an agency does not forget when it is started again.
    pub fn open(file: Option<&Path>) -> io::Result<Self> {
        let Some(path) = file else { return Ok(Self { entries: Mutex::default(), file: None }) };
        let mut entries: Vec<LedgerEntry> = Vec::new();
        let text = if path.exists() { std::fs::read_to_string(path)? } else { String::new() };
        for entry in text.lines().filter_map(|line| serde_json::from_str::<LedgerEntry>(line).ok()) {
            match entries.get_mut(entry.entry) {
                Some(known) => *known = entry,
                None => entries.push(entry),
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { entries: Mutex::new(entries), file: Some(Mutex::new(file)) })
    }

    /// An agency that recognises repeats has one effect for each reference; any other has one for each request.
    pub fn record(
        &self,
        operation: &ServiceName,
        effect: Effect,
        reference: Option<&str>,
        traceparent: Option<String>,
    ) {
        let mut entries = self.locked();
        let recognises = matches!(effect, Effect::Idempotent) && reference.is_some();
        let known = entries
            .iter_mut()
            .find(|it| recognises && it.operation == *operation && it.reference.as_deref() == reference);
        let entry = match known {
            Some(known) => {
                known.times_seen += 1;
                known.traceparent = traceparent;
                known.clone()
            }
            None => {
                let entry = LedgerEntry {
                    entry: entries.len(),
                    operation: operation.clone(),
                    reference: reference.map(str::to_owned),
                    at: Timestamp::now(),
                    times_seen: 1,
                    traceparent,
                };
                entries.push(entry.clone());
                entry
            }
        };
        // While the entries are locked, so that lines stand in the order of what they tell.
        self.write(&entry);
    }

    pub fn has(&self, operation: &ServiceName, reference: &str) -> bool {
        self.locked().iter().any(|it| it.operation == *operation && it.reference.as_deref() == Some(reference))
    }

    pub fn entries(&self) -> Vec<LedgerEntry> {
        self.locked().clone()
    }

    fn write(&self, entry: &LedgerEntry) {
        let Some(file) = &self.file else { return };
        let line = serde_json::to_string(entry).unwrap_or_default() + "\n";
        let written = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
        if let Err(error) = written {
            tracing::error!(%error, "the simulator's ledger cannot be written");
        }
    }

    fn locked(&self) -> MutexGuard<'_, Vec<LedgerEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_one_effect_only_where_the_agency_recognises_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger.jsonl");
        let ledger = Ledger::open(Some(&file)).unwrap();
        let operation: ServiceName = "extract".parse().unwrap();
        for _ in 0..3 {
            ledger.record(&operation, Effect::Idempotent, Some("a"), None);
            ledger.record(&operation, Effect::Lookup, Some("b"), None);
        }
        let times: Vec<_> = ledger.entries().iter().map(|it| (it.reference.clone().unwrap(), it.times_seen)).collect();
        let expected = [("a", 3), ("b", 1), ("b", 1), ("b", 1)].map(|(reference, times)| (reference.to_owned(), times));
        assert_eq!(times, expected);
        assert!(ledger.has(&operation, "b") && !ledger.has(&operation, "c"));
        assert_eq!(Ledger::open(Some(&file)).unwrap().entries(), ledger.entries());
    }
}
