//! Real processes of the program over one configuration, started, killed and frozen like on a bad day, while offices go
//! on posting; at the end the ledgers are joined and every promise is checked.

use super::{
    PATIENCE,
    agency::{self, Agencies, Agency},
    checker::{self, Evidence},
    clients::{ClientLedger, Gateways, LoadClients, Office, SERVICES},
    figures::Figures,
    fixtures::write_fixtures,
    outside,
    process::{Footprint, Running},
};
use punte::kit::test_stack::{OFFICE, TestStack, TestStackPlan};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// One process with all roles.
pub const ALL: &[&str] = &[];

pub struct ProcessCluster {
    pub stack: TestStack,
    pub agencies: Agencies,
    pub office: Office,
    pub processes: Vec<Running>,
    pub figures: Figures,
    /// Messages that are meant to stay in a queue, by the queue's name.
    pub explained: BTreeMap<String, u64>,
    /// At rest, before the trouble: by process, with its pid.
    rests: BTreeMap<usize, (u32, Footprint)>,
    _folder: tempfile::TempDir,
}

impl ProcessCluster {
    /// With one process for each list of roles; an empty list is all roles. SQLite and the embedded broker, if `change`
    /// does not say otherwise.
    pub async fn build(processes: &[&[&'static str]], change: impl FnOnce(&mut TestStackPlan)) -> Self {
        Self::started_with(processes, change, |_, text| text).await
    }

    /// The same, with each agency's `agency.toml` changed.
    pub async fn started_with(
        processes: &[&[&'static str]],
        change: impl FnOnce(&mut TestStackPlan),
        agency_toml: impl Fn(&str, String) -> String,
    ) -> Self {
        let mut cluster = Self::empty(processes, change, agency_toml).await;
        (0..cluster.processes.len()).for_each(|number| cluster.start(number));
        cluster
    }

    /// Nothing is started yet.
    pub async fn empty(
        processes: &[&[&'static str]],
        change: impl FnOnce(&mut TestStackPlan),
        agency_toml: impl Fn(&str, String) -> String,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_fixtures(folder.path(), agency_toml);
        let adapters = folder.path().join("adapters");
        let mut plan = TestStackPlan::of_project(folder.path());
        (plan.adapters, plan.services) = (adapters.clone(), folder.path().join("services"));
        plan.retry = "first_wait_secs = 0.2\nmax_wait_secs = 0.5\nmax_attempts = 1000\n";
        plan.more_config = "[scheduler]\nlost_after_secs = 3\n".into();
        let ports = agency::ports(&adapters);
        for (name, port) in &ports {
            let endpoint = agency::endpoint(&adapters, name, *port);
            plan.external_agencies.insert(name.clone(), Box::new(move |_| endpoint));
        }
        change(&mut plan);
        let stack =
            TestStack::prepare(plan).await.unwrap_or_else(|error| panic!("the test stack cannot be started: {error}"));
        let ledgers = std::env::var("PUNTE_FAULTS_LEDGERS").map_or(folder.path().to_owned(), PathBuf::from);
        let mut agencies = Agencies::new();
        for (name, port) in ports {
            let agency = Agency::open(folder.path(), &ledgers, &name, port, &stack.secrets()).await;
            agencies.insert(name.to_string(), agency);
        }
        let log = |number: usize| stack.folder.path().join(format!("process-{number}.log"));
        let running = |(number, roles): (usize, &&[&'static str])| Running::new(roles, stack.config(), log(number));
        let processes: Vec<Running> = processes.iter().enumerate().map(running).collect();
        let office = Office {
            client: stack.client(OFFICE).unwrap(),
            ledger: ClientLedger::open(&ledgers.join("office.ledger.jsonl")),
            gateways: Gateways::of(processes.iter().filter_map(|it| it.gateway_port).collect()),
        };
        let (figures, explained, rests) = (Figures::begin(), BTreeMap::new(), BTreeMap::new());
        Self { stack, agencies, office, processes, figures, explained, rests, _folder: folder }
    }

    // ── processes ────────────────────────────────────────────────────────────────────────────────────────────────

    pub fn start(&mut self, number: usize) {
        self.processes[number].start("");
    }

    /// Started so that it dies or freezes where FAILPOINTS says, e.g. `worker.begun=3*off->return(kill)`.
    pub fn start_armed(&mut self, number: usize, failpoints: &str) {
        self.processes[number].start(failpoints);
    }

    /// One more process. Its number.
    pub fn add(&mut self, roles: &[&'static str]) -> usize {
        let number = self.processes.len();
        let log = self.stack.folder.path().join(format!("process-{number}.log"));
        self.processes.push(Running::new(roles, self.stack.config(), log));
        number
    }

    /// As by `kill -9`, or the loss of power.
    pub fn kill(&mut self, number: usize) {
        if self.processes[number].kill() {
            let role = self.processes[number].role();
            self.figures.killed(&role);
        }
    }

    /// `STOP` freezes it, `CONT` lets it go on as if nothing had happened, `TERM` asks it to end.
    pub fn signal(&mut self, number: usize, signal: &str) {
        self.processes[number].signal(signal);
        if signal == "STOP" {
            let role = self.processes[number].role();
            self.figures.frozen(&role);
        }
    }

    /// Waits until the process has died at the point that it was armed with. `false` if it has not in that time.
    pub async fn dies_at(&mut self, number: usize, point: &str, limit: Duration) -> bool {
        use std::os::unix::process::ExitStatusExt;
        let Some(status) = self.processes[number].end(limit).await else { return false };
        let words = self.processes[number].last_words();
        assert_eq!(status.signal(), Some(9), "{point}: {status}\n{words}");
        assert!(self.processes[number].has_met(point), "it did not die at {point}\n{words}");
        self.figures.met(point, &self.processes[number].role());
        true
    }

    /// At which point the process has died meanwhile, if it has.
    pub fn died_at_a_point(&mut self, number: usize) -> Option<String> {
        let status = self.processes[number].ended()?;
        let words = self.processes[number].last_words();
        let line = words.lines().rev().find_map(|line| line.strip_prefix("crash point "));
        let point = line.unwrap_or_else(|| panic!("it has ended by itself: {status}\n{words}"));
        Some(point.split(':').next().unwrap().to_owned())
    }

    // ── offices ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// Clerks who post one request after the other, of all effects in turn, until told to stop.
    pub fn open_load_clients(&self, clerks: usize, pause: Duration) -> LoadClients {
        LoadClients::open(&self.office, clerks, pause, &SERVICES)
    }

    /// One request, repeated with its key until it is answered.
    pub async fn post(&self, service: &str) -> String {
        self.office.post(service).await
    }

    pub async fn show(&self, id: &str) -> Option<Value> {
        self.office.show(id).await
    }

    pub async fn until(&self, id: &str, states: &[&str]) -> Value {
        let begun = Instant::now();
        loop {
            let shown = self.show(id).await;
            if let Some(shown) = shown.as_ref().filter(|it| states.contains(&it["state"].as_str().unwrap())) {
                return shown.clone();
            }
            assert!(begun.elapsed() < PATIENCE, "{id} is not {states:?} in time: {shown:#?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    // ── agencies ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// All agencies, as the simulator's behaviours are written.
    pub fn behave(&self, behaviour: &Value) {
        self.agencies.values().for_each(|agency| agency.behave(behaviour));
    }

    pub fn agency(&mut self, name: &str) -> &mut Agency {
        self.agencies.get_mut(name).unwrap()
    }

    pub async fn until_asked(&self, agency: &str) {
        let begun = Instant::now();
        while self.agencies[agency].requests() == 0 {
            assert!(begun.elapsed() < PATIENCE, "{agency} was never asked");
            sleep(Duration::from_millis(10)).await;
        }
    }

    // ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// What is made once is made now: pools, caches, the allocator's arenas. What every process holds afterwards is noted: it
    /// has to come back to that.
    pub async fn warm_up(&mut self) {
        let clients = self.open_load_clients(3, Duration::ZERO);
        sleep(Duration::from_secs(4)).await;
        clients.close().await;
        sleep(Duration::from_secs(2)).await;
        self.rest();
    }

    /// Notes what every process holds now, when nothing is to be done: it has to come back to that.
    fn rest(&mut self) {
        let running = self.processes.iter().enumerate().filter(|(_, it)| it.is_started());
        self.rests = running.map(|(number, it)| (number, (it.pid().unwrap(), it.footprint()))).collect();
    }

    /// Waits for the end of everything that was posted and joins all ledgers.
    pub async fn evidence(&self) -> Evidence {
        let journal = outside::journal(&self.stack.config()).await;
        let (mut left, mut last_seen) = (u64::MAX, Instant::now());
        // As long as something moves, there is hope.
        while left > 0 && last_seen.elapsed() < PATIENCE {
            sleep(Duration::from_millis(100)).await;
            let now = outside::under_way(&journal).await.unwrap_or(left);
            if now != left {
                (left, last_seen) = (now, Instant::now());
            }
        }
        let evidence = Evidence {
            postings: self.office.ledger.postings(),
            effects: self.agencies.values().flat_map(Agency::effects).collect(),
            arrivals: self.agencies.values().flat_map(Agency::arrivals).collect(),
            seen: outside::everything(&journal).await.unwrap(),
            next_due: journal.next_due().await.unwrap(),
            deaths_of_takers: self.figures.deaths_of_takers(),
            ..Evidence::default()
        };
        Evidence { footprints: self.footprints().await, ..self.with_queues(evidence).await }
    }

    /// Everything has come to its end, every promise is kept, and the figures are written down.
    pub async fn audit(&mut self) -> Figures {
        let evidence = self.evidence().await;
        self.figures.see(&evidence);
        self.figures.append();
        let broken = checker::check(&evidence);
        let list: Vec<_> = broken.iter().map(|it| format!("{:?}: {}", it.invariant, it.about)).collect();
        if let Some(first) = broken.first() {
            let about = evidence.seen.iter().find(|it| first.about.contains(&it.id));
            panic!("{} promises are broken:\n{}\n{about:#?}", list.len(), list.join("\n"));
        }
        self.figures.clone()
    }

    /// Messages that were delivered twice are dropped before long, so they get a moment.
    async fn with_queues(&self, mut evidence: Evidence) -> Evidence {
        let begun = Instant::now();
        loop {
            let agencies = self.agencies.values().map(|it| &it.name);
            let (mut queues, delivery_limit) = outside::queues(&self.stack.config(), agencies).await;
            queues.iter_mut().for_each(|it| it.explained = self.explained.get(&it.name).copied().unwrap_or_default());
            evidence = Evidence { queues, delivery_limit, ..evidence };
            if begun.elapsed() > PATIENCE / 4 || checker::is_at_rest(&evidence) {
                return evidence;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Connections that are idle are closed before long, so they get a moment, too.
    async fn footprints(&self) -> Vec<(String, Footprint, Footprint)> {
        let begun = Instant::now();
        loop {
            let alive = self.rests.iter().filter(|(number, (pid, _))| self.processes[**number].pid() == Some(*pid));
            let pairs = alive.map(|(number, (_, before))| {
                let process = &self.processes[*number];
                (process.role(), *before, process.footprint())
            });
            let evidence = Evidence { footprints: pairs.collect(), ..Evidence::default() };
            if begun.elapsed() > PATIENCE / 4 || checker::check(&evidence).is_empty() {
                return evidence.footprints;
            }
            sleep(Duration::from_millis(500)).await;
        }
    }
}

impl Drop for ProcessCluster {
    fn drop(&mut self) {
        self.processes.iter_mut().for_each(|process| _ = process.kill());
        if std::thread::panicking() {
            for process in &self.processes {
                eprintln!("--- {}\n{}", process.role(), process.last_words());
            }
        }
    }
}
