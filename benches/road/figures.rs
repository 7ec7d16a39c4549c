//! One round's figures, and the medians over all rounds of one subject; how they are printed.

use crate::{load_client::Served, process::Usage};
use serde_json::{Value, json};

/// What was measured in one round.
#[derive(Debug, Clone, Default)]
pub struct Round {
    pub requests: usize,
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Processor time of the subject's own processes.
    pub cpu_ms: f64,
    /// Processor time of the measurement itself: clients and agency.
    pub own_cpu_ms: f64,
    pub broker_cpu_ms: f64,
    /// Of PostgreSQL's processes, where the subject has one of ours.
    pub database_cpu_ms: f64,
    pub resident_mib: f64,
    pub peak_mib: f64,
}

/// Processor time at one moment: the subject's, our own, the broker's, PostgreSQL's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clocks {
    pub subject: Usage,
    pub own: Usage,
    pub broker: Usage,
    pub database: Usage,
}

/// Medians of one subject's rounds with so many clients.
#[derive(Debug, Clone)]
pub struct Figures {
    pub scenario: &'static str,
    pub subject: &'static str,
    pub clients: usize,
    pub rounds: Vec<Round>,
    pub median: Round,
}

impl Round {
    pub fn new(served: &Served, begin: Clocks, end: Clocks) -> Self {
        let requests = served.latencies.len();
        let each = |from: Usage, to: Usage| (to.cpu_ms - from.cpu_ms) / requests.max(1) as f64;
        Self {
            requests,
            per_second: served.per_second,
            p50_ms: served.percentile_ms(50),
            p99_ms: served.percentile_ms(99),
            cpu_ms: each(begin.subject, end.subject),
            own_cpu_ms: each(begin.own, end.own),
            broker_cpu_ms: each(begin.broker, end.broker),
            database_cpu_ms: each(begin.database, end.database),
            resident_mib: end.subject.resident_mib,
            peak_mib: end.subject.peak_mib,
        }
    }
}

impl Figures {
    pub fn of(scenario: &'static str, subject: &'static str, clients: usize, rounds: &[Round]) -> Self {
        let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
        let median = Round {
            requests: rounds.iter().map(|round| round.requests).sum(),
            per_second: of(|it| it.per_second),
            p50_ms: of(|it| it.p50_ms),
            p99_ms: of(|it| it.p99_ms),
            cpu_ms: of(|it| it.cpu_ms),
            own_cpu_ms: of(|it| it.own_cpu_ms),
            broker_cpu_ms: of(|it| it.broker_cpu_ms),
            database_cpu_ms: of(|it| it.database_cpu_ms),
            resident_mib: of(|it| it.resident_mib),
            peak_mib: rounds.iter().map(|it| it.peak_mib).fold(0.0, f64::max),
        };
        Self { scenario, subject, clients, rounds: rounds.to_vec(), median }
    }

    /// Of what each round says beside the other's round of the same number: whatever else the machine did then met both.
    pub fn ratio(&self, other: &Self, figure: fn(&Round) -> f64) -> f64 {
        let pairs = self.rounds.iter().zip(&other.rounds);
        median(pairs.map(|(mine, theirs)| figure(mine) / figure(theirs)).collect())
    }

    pub fn json(&self) -> Value {
        let it = &self.median;
        json!({
            "scenario": self.scenario,
            "subject": self.subject,
            "clients": self.clients,
            "rounds": self.rounds.len(),
            "requests": it.requests,
            "requests_per_second": rounded(it.per_second, 1),
            "p50_ms": rounded(it.p50_ms, 3),
            "p99_ms": rounded(it.p99_ms, 3),
            "cpu_ms_per_request": rounded(it.cpu_ms, 3),
            "resident_mib": rounded(it.resident_mib, 1),
            "peak_mib": rounded(it.peak_mib, 1),
            "broker_cpu_ms_per_request": rounded(it.broker_cpu_ms, 3),
            "database_cpu_ms_per_request": rounded(it.database_cpu_ms, 3),
            "measurement_cpu_ms_per_request": rounded(it.own_cpu_ms, 3),
        })
    }

    pub fn line(&self) -> String {
        let it = &self.median;
        format!(
            "{:>7}  {:<22} {:>10.0} {:>9.2} {:>9.2} {:>8.3} {:>9.0} {:>9.0} {:>10.3} {:>12.3}",
            self.clients,
            self.subject,
            it.per_second,
            it.p50_ms,
            it.p99_ms,
            it.cpu_ms,
            it.resident_mib,
            it.peak_mib,
            it.broker_cpu_ms,
            it.own_cpu_ms
        )
    }
}

pub const HEAD: &str = "clients  subject                requests/s    p50 ms    p99 ms   CPU-ms  resident      peak  \
                        broker's  measurement's\n                                                                  a \
                        request       MiB       MiB    CPU-ms         CPU-ms";

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match (figures.get(middle), figures.len() % 2) {
        (None, _) => 0.0,
        (Some(upper), 1) => *upper,
        (Some(upper), _) => f64::midpoint(*upper, figures[middle - 1]),
    }
}

pub fn rounded(figure: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (figure * scale).round() / scale
}
