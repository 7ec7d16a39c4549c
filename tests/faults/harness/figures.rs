//! What a test did and saw, as one line of `target/faults/figures.jsonl`; `tests/faults/figures` prints them as a table.

use super::checker::{self, Done, Evidence};
use punte::domain::{Effect, StateName};
use serde::Serialize;
use std::{collections::BTreeMap, io::Write, path::Path, time::Instant};

#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    pub test: String,
    /// `kill -9` at random moments, by role.
    pub kills: BTreeMap<String, u64>,
    /// Processes that ended at a named point, by point.
    pub points: BTreeMap<String, u64>,
    /// SIGSTOP and SIGCONT, by role.
    pub freezes: BTreeMap<String, u64>,
    /// Other faults, by their name.
    pub faults: BTreeMap<String, u64>,
    pub submissions: u64,
    pub ends: BTreeMap<String, u64>,
    pub attempts: u64,
    pub done_twice: u64,
    pub lost: u64,
    /// From acceptance to its end, the longest.
    pub longest_ms: u64,
    pub took_ms: u64,
    #[serde(skip)]
    deaths_of_takers: u64,
    #[serde(skip)]
    begun: Option<Instant>,
}

impl Figures {
    pub fn begin() -> Self {
        let test = std::thread::current().name().unwrap_or("test").to_owned();
        Self { test, begun: Some(Instant::now()), ..Self::default() }
    }

    pub fn killed(&mut self, role: &str) {
        *self.kills.entry(role.to_owned()).or_default() += 1;
        self.mourn(role);
    }

    pub fn met(&mut self, point: &str, role: &str) {
        *self.points.entry(point.to_owned()).or_default() += 1;
        self.mourn(role);
    }

    /// A worker may have had a message in its hands.
    fn mourn(&mut self, role: &str) {
        self.deaths_of_takers += u64::from(role.contains("worker") || role == "all roles");
    }

    pub fn frozen(&mut self, role: &str) {
        *self.freezes.entry(role.to_owned()).or_default() += 1;
    }

    pub fn fault(&mut self, name: &str) {
        *self.faults.entry(name.to_owned()).or_default() += 1;
    }

    /// All deaths, wherever they came.
    pub fn deaths(&self) -> u64 {
        self.kills.values().sum::<u64>() + self.points.values().sum::<u64>()
    }

    pub fn deaths_of_takers(&self) -> u64 {
        self.deaths_of_takers
    }

    /// What the end looks like.
    pub fn see(&mut self, evidence: &Evidence) {
        let done = Done::of(evidence);
        self.submissions = evidence.seen.len() as u64;
        self.attempts = evidence.seen.iter().map(|it| u64::from(it.progress.attempts)).sum();
        self.ends = StateName::ALL
            .map(|state| (state, evidence.seen.iter().filter(|it| it.progress.state.name() == state).count() as u64))
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(state, count)| (state.to_string(), count))
            .collect();
        let twice = |it: &&checker::Seen| it.effect != Effect::Read && done.effects(&it.id) > 1;
        self.done_twice = evidence.seen.iter().filter(twice).count() as u64;
        self.lost = checker::lost(evidence).len() as u64;
        // Explained ones, or the test fails; but nobody should have to guess how many there were.
        let left: u64 = evidence.queues.iter().map(|queue| queue.messages).sum();
        if left > 0 {
            self.faults.insert("message left among the dead letters".into(), left);
        }
        let took = evidence.seen.iter().map(|it| it.changed_at.duration_since(it.accepted_at).as_millis());
        self.longest_ms = took.max().and_then(|longest| u64::try_from(longest).ok()).unwrap_or_default();
        self.took_ms = self.begun.map_or(0, |begun| begun.elapsed().as_millis() as u64);
    }

    pub fn append(&self) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/faults");
        std::fs::create_dir_all(&folder).unwrap();
        let line = serde_json::to_string(self).unwrap() + "\n";
        let file = std::fs::File::options().create(true).append(true).open(folder.join("figures.jsonl"));
        file.unwrap().write_all(line.as_bytes()).unwrap();
        print!("{line}");
    }
}
