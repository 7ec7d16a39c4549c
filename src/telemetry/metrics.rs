//! Numbers of a running process: typed calls come in, Prometheus text goes out. Every label is one of a bounded set:
//! routes, codes, states, and names that are in the configuration. Nothing of a person can become a label.

use crate::domain::{AgencyName, Code, ServiceName, StateName};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use std::{sync::Arc, time::Duration};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SubmissionLabels {
    state: &'static str,
    service: String,
    agency: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    agency: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AgencyLabels {
    agency: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    agency: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    agency: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartLabels {
    part: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    outcome: &'static str,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptEnd {
    Answered,
    Refused,
    Waiting,
    PutBack,
    /// Failed, and another one is due.
    FailedRetry,
    /// Failed, and the machine gives up.
    FailedForGood,
    /// Sent, and nobody knows what it did.
    Unknown,
}

impl AttemptEnd {
    pub fn as_str(self) -> &'static str {
        match self {
            AttemptEnd::Answered => "answered",
            AttemptEnd::Refused => "refused",
            AttemptEnd::Waiting => "waiting",
            AttemptEnd::PutBack => "put_back",
            AttemptEnd::FailedRetry => "failed_retry",
            AttemptEnd::FailedForGood => "failed_for_good",
            AttemptEnd::Unknown => "unknown",
        }
    }
}

/// How a delivery to an office's webhook ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WebhookEnd {
    Delivered,
    Retried,
    GivenUp,
}

impl WebhookEnd {
    pub fn as_str(self) -> &'static str {
        match self {
            WebhookEnd::Delivered => "delivered",
            WebhookEnd::Retried => "retried",
            WebhookEnd::GivenUp => "given_up",
        }
    }
}

/// A circuit breaker's state; the gauge shows it as 0, 1 or 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BreakerState {
    Closed = 0,
    /// One probe is under way.
    HalfOpen = 1,
    Open = 2,
}

/// All numbers of this process. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    refusals: Family<CodeLabels, Counter>,
    connections: Gauge,
    declined_waits: Counter,
    submissions: Family<SubmissionLabels, Counter>,
    in_state: Family<StateLabels, Gauge>,
    attempts: Family<AttemptLabels, Counter>,
    attempt_seconds: Family<AgencyLabels, Histogram>,
    breaker: Family<AgencyLabels, Gauge>,
    in_hand: Family<AgencyLabels, Gauge>,
    halted: Family<AgencyLabels, Gauge>,
    queue_depth: Family<QueueLabels, Gauge>,
    queue_consumers: Family<QueueLabels, Gauge>,
    dead_letters: Family<QueueLabels, Gauge>,
    parts: Family<PartLabels, Gauge>,
    outbox: Gauge,
    webhooks: Family<WebhookLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut all = Self {
            registry: Arc::default(),
            requests: Family::default(),
            request_seconds: seconds(),
            refusals: Family::default(),
            connections: Gauge::default(),
            declined_waits: Counter::default(),
            submissions: Family::default(),
            in_state: Family::default(),
            attempts: Family::default(),
            attempt_seconds: Family::new_with_constructor(seconds),
            breaker: Family::default(),
            in_hand: Family::default(),
            halted: Family::default(),
            queue_depth: Family::default(),
            queue_consumers: Family::default(),
            dead_letters: Family::default(),
            parts: Family::default(),
            outbox: Gauge::default(),
            webhooks: Family::default(),
        };
        all.registry = Arc::new(all.registered());
        all
    }

    fn registered(&self) -> Registry {
        let mut it = Registry::with_prefix("punte");
        it.register("requests", "Requests of offices, by route and status", self.requests.clone());
        it.register("request_seconds", "Time from a request's headers to its answer's", self.request_seconds.clone());
        it.register("refusals", "Requests that were refused, by code", self.refusals.clone());
        it.register("connections", "Connections of offices that are open", self.connections.clone());
        let help = "Waits that were not honoured, because too many were open";
        it.register("declined_waits", help, self.declined_waits.clone());
        it.register("submissions", "Submissions that entered a state", self.submissions.clone());
        it.register("submissions_in_state", "Submissions that are not over, by their state", self.in_state.clone());
        it.register("attempts", "Attempts that ended, by outcome", self.attempts.clone());
        it.register("attempt_seconds", "Time that an attempt took", self.attempt_seconds.clone());
        it.register("breaker_state", "0 closed, 1 half open, 2 open", self.breaker.clone());
        let help = "1 while nothing is sent to the agency, because it says that it refuses our certificate";
        it.register("agency_halted", help, self.halted.clone());
        it.register(
            "messages_in_hand",
            "Messages that this process's worker has taken and not begun",
            self.in_hand.clone(),
        );
        it.register("queue_depth", "Messages that wait in an agency's queue", self.queue_depth.clone());
        it.register(
            "queue_consumers",
            "Consumers that the broker sees at an agency's queues",
            self.queue_consumers.clone(),
        );
        it.register("dead_letters", "Messages that were rejected or came back too often", self.dead_letters.clone());
        it.register("part_state", "0 up, 1 degraded, 2 down, as in /healthz/ready", self.parts.clone());
        it.register("outbox_size", "Submissions that the broker has not confirmed", self.outbox.clone());
        it.register("webhooks", "Deliveries to offices' webhooks, by outcome", self.webhooks.clone());
        it
    }

    /// The OpenMetrics text format, which Prometheus reads.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail; a failed encoding would leave the text short, not wrong.
        let _ = encode(&mut text, &self.registry);
        text
    }

    pub fn request(&self, method: &'static str, route: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabels { method, route, status }).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    pub fn refusal(&self, code: Code) {
        self.refusals.get_or_create(&CodeLabels { code: code.as_str() }).inc();
    }

    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    /// A request that wanted to wait for its answer was given its number at once.
    pub fn wait_declined(&self) {
        self.declined_waits.inc();
    }

    pub fn submission(&self, state: StateName, service: &ServiceName, agency: &AgencyName) {
        let labels = SubmissionLabels {
            state: state.as_str(),
            service: service.as_str().to_owned(),
            agency: agency.as_str().to_owned(),
        };
        self.submissions.get_or_create(&labels).inc();
    }

    pub fn submissions_in_state(&self, agency: &AgencyName, state: StateName, count: u64) {
        let labels = StateLabels { agency: agency.as_str().to_owned(), state: state.as_str() };
        self.in_state.get_or_create(&labels).set(clamped(count));
    }

    pub fn attempt(&self, agency: &AgencyName, outcome: AttemptEnd, took: Duration) {
        let labels = AttemptLabels { agency: agency.as_str().to_owned(), outcome: outcome.as_str() };
        self.attempts.get_or_create(&labels).inc();
        self.attempt_seconds.get_or_create(&by_agency(agency)).observe(took.as_secs_f64());
    }

    /// Whether nothing goes to the agency now, as this process knows it.
    pub fn is_breaker_open(&self, agency: &AgencyName) -> bool {
        self.breaker.get_or_create(&by_agency(agency)).get() == BreakerState::Open as i64
    }

    pub fn breaker(&self, agency: &AgencyName, state: BreakerState) {
        self.breaker.get_or_create(&by_agency(agency)).set(state as i64);
    }

    /// Whether nothing is sent to the agency because it says that it refuses our certificate.
    pub fn halted(&self, agency: &AgencyName, is_halted: bool) {
        self.halted.get_or_create(&by_agency(agency)).set(i64::from(is_halted));
    }

    pub fn in_hand(&self, agency: &AgencyName, count: usize) {
        self.in_hand.get_or_create(&by_agency(agency)).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Messages that the broker does not hold ready, and that are not lost.
    pub fn in_hand_of(&self, agency: &AgencyName) -> u64 {
        u64::try_from(self.in_hand.get_or_create(&by_agency(agency)).get()).unwrap_or_default()
    }

    pub fn queue_depth(&self, agency: &AgencyName, waiting: u64) {
        let labels = QueueLabels { agency: agency.as_str().to_owned() };
        self.queue_depth.get_or_create(&labels).set(clamped(waiting));
    }

    pub fn queue_consumers(&self, agency: &AgencyName, consumers: u64) {
        let labels = QueueLabels { agency: agency.as_str().to_owned() };
        self.queue_consumers.get_or_create(&labels).set(clamped(consumers));
    }

    pub fn dead_letters(&self, agency: &AgencyName, count: u64) {
        let labels = QueueLabels { agency: agency.as_str().to_owned() };
        self.dead_letters.get_or_create(&labels).set(clamped(count));
    }

    /// `part`: one of those that readiness names.
    pub fn part(&self, part: &str, state: i64) {
        self.parts.get_or_create(&PartLabels { part: part.to_owned() }).set(state);
    }

    pub fn outbox_size(&self, size: u64) {
        self.outbox.set(clamped(size));
    }

    pub fn webhook(&self, outcome: WebhookEnd) {
        self.webhooks.get_or_create(&WebhookLabels { outcome: outcome.as_str() }).inc();
    }
}

fn seconds() -> Histogram {
    // 5 ms to 82 s: from a cached answer to the longest exchange that an adapter allows.
    Histogram::new(exponential_buckets(0.005, 2.0, 15))
}

fn by_agency(agency: &AgencyName) -> AgencyLabels {
    AgencyLabels { agency: agency.as_str().to_owned() }
}

fn clamped(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_in_the_page_for_operators() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/README.md")).unwrap();
        let (registered, _) = include_str!("metrics.rs").split_once("#[cfg(test)]").unwrap();
        let names: Vec<_> = registered.split("it.register(").skip(1).map(|it| it.split('"').nth(1).unwrap()).collect();
        assert_eq!(names.len(), 18);
        for name in names {
            assert!(page.contains(&format!("`punte_{name}")), "{name}");
        }
    }

    #[test]
    fn what_was_counted_is_in_the_text() {
        let metrics = Metrics::new();
        let agency: AgencyName = "civil-registry".parse().unwrap();
        metrics.request("POST", "/v1/submissions", 202, Duration::from_millis(3));
        metrics.refusal(Code::RateLimited);
        metrics.attempt(&agency, AttemptEnd::PutBack, Duration::from_secs(1));
        metrics.breaker(&agency, BreakerState::Open);
        metrics.clone().webhook(WebhookEnd::GivenUp);
        let text = metrics.to_text();
        for line in [
            r#"punte_requests_total{method="POST",route="/v1/submissions",status="202"} 1"#,
            r#"punte_refusals_total{code="office.rate-limited"} 1"#,
            r#"punte_attempts_total{agency="civil-registry",outcome="put_back"} 1"#,
            r#"punte_breaker_state{agency="civil-registry"} 2"#,
            r#"punte_webhooks_total{outcome="given_up"} 1"#,
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
    }
}
