//! What comes to the simulated agency and what it does comes in, line by line; tests read it back and count.

use crate::domain::{Effect, ServiceName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
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

/// One request that the agency has understood, whatever became of it: it may have had no effect, or a late one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    pub operation: ServiceName,
    pub reference: Option<String>,
    pub at: Timestamp,
    /// A lookup, which changes nothing.
    pub is_question: bool,
    pub traceparent: Option<String>,
}

#[derive(Debug)]
pub(super) struct Ledger {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    entries: Vec<LedgerEntry>,
    /// Where a reference's entries are.
    places: HashMap<String, Vec<usize>>,
    arrivals: Vec<Arrival>,
    file: Option<File>,
}

/// A line of the file. Whatever the agency says to a request, the line is on disk before.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Effect(LedgerEntry),
    Arrival { arrived: Arrival },
}

impl Ledger {
    /// What the file holds already is remembered: an agency does not forget when it is started again.
    pub fn open(file: Option<&Path>) -> io::Result<Self> {
        let mut book = Book::default();
        let Some(path) = file else { return Ok(Self { book: Mutex::new(book) }) };
        let text = if path.exists() { std::fs::read_to_string(path)? } else { String::new() };
        for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match line {
                Line::Effect(entry) => book.keep(entry),
                Line::Arrival { arrived } => book.arrivals.push(arrived),
            }
        }
        book.file = Some(OpenOptions::new().create(true).append(true).open(path)?);
        Ok(Self { book: Mutex::new(book) })
    }

    pub fn arrived(&self, arrival: Arrival) {
        let mut book = self.locked();
        book.arrivals.push(arrival.clone());
        book.write(&Line::Arrival { arrived: arrival });
    }

    /// An agency that recognises repeats has one effect for each reference; any other has one for each request.
    pub fn record(
        &self,
        operation: &ServiceName,
        effect: Effect,
        reference: Option<&str>,
        traceparent: Option<String>,
    ) {
        let mut book = self.locked();
        let recognises = matches!(effect, Effect::Idempotent);
        let known = reference.filter(|_| recognises).and_then(|reference| book.find(operation, reference)).cloned();
        let entry = match known {
            Some(known) => LedgerEntry { times_seen: known.times_seen + 1, traceparent, ..known },
            None => LedgerEntry {
                entry: book.entries.len(),
                operation: operation.clone(),
                reference: reference.map(str::to_owned),
                at: Timestamp::now(),
                times_seen: 1,
                traceparent,
            },
        };
        book.keep(entry.clone());
        // While the book is locked, so that lines stand in the order of what they tell.
        book.write(&Line::Effect(entry));
    }

    pub fn has(&self, operation: &ServiceName, reference: &str) -> bool {
        self.locked().find(operation, reference).is_some()
    }

    pub fn entries(&self) -> Vec<LedgerEntry> {
        self.locked().entries.clone()
    }

    pub fn arrivals(&self) -> Vec<Arrival> {
        self.locked().arrivals.clone()
    }

    fn locked(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn find(&self, operation: &ServiceName, reference: &str) -> Option<&LedgerEntry> {
        let places = self.places.get(reference)?;
        places.iter().filter_map(|place| self.entries.get(*place)).find(|it| it.operation == *operation)
    }

    fn keep(&mut self, entry: LedgerEntry) {
        match self.entries.get_mut(entry.entry) {
            Some(known) => *known = entry,
            None => {
                if let Some(reference) = &entry.reference {
                    self.places.entry(reference.clone()).or_default().push(self.entries.len());
                }
                self.entries.push(entry);
            }
        }
    }

    fn write(&mut self, line: &Line) {
        let Some(file) = &mut self.file else { return };
        let text = serde_json::to_string(line).unwrap_or_default() + "\n";
        if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_data()) {
            tracing::error!(%error, "the simulator's ledger cannot be written");
        }
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
        let (reference, traceparent) = (Some("b".to_owned()), None);
        let at = Timestamp::from_second(7).unwrap();
        ledger.arrived(Arrival { operation: operation.clone(), reference, at, is_question: true, traceparent });
        let times: Vec<_> = ledger.entries().iter().map(|it| (it.reference.clone().unwrap(), it.times_seen)).collect();
        let expected = [("a", 3), ("b", 1), ("b", 1), ("b", 1)].map(|(reference, times)| (reference.to_owned(), times));
        assert_eq!(times, expected);
        assert!(ledger.has(&operation, "b") && !ledger.has(&operation, "c"));
        let again = Ledger::open(Some(&file)).unwrap();
        assert_eq!((again.entries(), again.arrivals()), (ledger.entries(), ledger.arrivals()));
        assert!(again.has(&operation, "a") && again.arrivals().len() == 1);
    }
}
