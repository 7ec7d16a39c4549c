//! What the demo shows: its events come in; lines for a person, or JSON lines for a program, go out.

use super::tally::{DemoResult, Tallies};
use crate::{
    broker::BrokerError,
    cli::output,
    domain::{AgencyName, Priority},
    kit::test_stack::{OFFICE, TestStack},
};
use serde_json::{Value, json};

pub struct Presenter {
    pub json: bool,
    /// RabbitMQ's names begin with this; `None` for the embedded broker.
    pub queue_prefix: Option<String>,
    /// `--stay` is given already, and need not be recommended.
    pub stay: bool,
}

impl Presenter {
    pub fn title(&self) {
        self.say("punte demo: six requests of a town hall travel to national agencies, and the answers come back.");
        self.say("Making throw-away keys and certificates, and starting a gateway, a worker and the agencies ...\n");
    }

    pub fn stack(&self, stack: &TestStack) {
        self.say(&format!("  gateway   {}", stack.gateway()));
        self.say(&format!("            takes requests over mutual TLS; this office is `{OFFICE}`"));
        for (agency, simulator) in &stack.simulators {
            let protocol = stack.protocols.get(agency).map_or("", |protocol| protocol.as_str());
            self.say(&format!("  agency    {}", simulator.endpoint()));
            self.say(&format!(
                "            simulated `{agency}`, speaks {protocol}, checks our signature, signs its answers"
            ));
        }
        self.say("  journal   SQLite: each request is on disk before the office gets its number");
        match &self.queue_prefix {
            Some(prefix) => self.say(&format!("  broker    RabbitMQ, quorum queues {prefix}.work.*")),
            None => self.say("  broker    embedded in this process; --broker amqp://... uses RabbitMQ"),
        }
    }

    pub fn case(&self, number: usize, title: &str) {
        self.say(&format!("\n{number}. {title}"));
    }

    pub fn change(&self, shown: &Value, change: &Value) {
        let state = change["state"].as_str().unwrap_or_default();
        let time = change["at"].as_str().and_then(|at| at.get(11..23)).unwrap_or_default();
        let note = self.note(state, change["cause"].as_str().unwrap_or_default(), shown);
        self.say(&format!("   {time}  {state:<10} {note}"));
    }

    /// What a state means, for somebody who sees it for the first time.
    fn note(&self, state: &str, cause: &str, shown: &Value) -> String {
        match (state, &self.queue_prefix) {
            ("accepted", _) if cause == "accepted" => "checked, and written to the journal".into(),
            ("accepted", _) => format!("{cause}: due again"),
            ("queued", Some(prefix)) => {
                let urgent = if shown["priority"] == "urgent" { ".urgent" } else { "" };
                format!("confirmed by {prefix}.work.{}{urgent}", shown["agency"].as_str().unwrap_or_default())
            }
            ("queued", None) => "published to the agency's queue".into(),
            ("sending", _) if cause == "attempt 1" => {
                format!("{cause}: put into the agency's form, signed, sent over mutual TLS")
            }
            ("completed", _) => "the answer is signed by the agency and fits the service's schema".into(),
            ("retrying", _) => format!("{cause}: tried again soon"),
            ("parked", _) => format!("{cause}: no more tries, an operator decides"),
            _ => cause.to_owned(),
        }
    }

    pub fn end(&self, stack: &TestStack, agency: &AgencyName, shown: &Value, planned: &str) {
        let state = shown["state"].as_str().unwrap_or_default();
        if self.json {
            let protocol = stack.protocols.get(agency).map(|protocol| protocol.as_str());
            output::json(&json!({
                "id": shown["id"], "service": shown["service"], "agency": agency, "protocol": protocol,
                "state": state, "attempts": shown["attempts"], "cause": cause(shown),
            }));
        }
        for (key, label) in [("answer", "answer "), ("refusal", "refusal"), ("fault", "fault  ")] {
            if !shown[key].is_null() {
                self.say(&format!("   {label} {}", shown[key]));
            }
        }
        if let (Some(simulator), true) = (stack.simulators.get(agency), shown["attempts"].as_u64() > Some(1)) {
            let id = shown["id"].as_str();
            let times = simulator.ledger().iter().filter(|entry| entry.reference.as_deref() == id).count();
            if times > 0 {
                self.say(&format!("   effects {times} in the agency's ledger, after {} attempts", shown["attempts"]));
            }
        }
        if state != planned {
            self.say(&format!("   NOT AS PLANNED: it should have been {planned}"));
        }
    }

    /// What has passed the queues, and how they stand now.
    pub async fn broker(&self, stack: &TestStack, tallies: &Tallies) {
        let (Some(prefix), Some(process)) = (&self.queue_prefix, stack.process()) else { return };
        self.say("\nRabbitMQ's quorum queues:");
        for ((agency, priority), messages) in tallies {
            let urgent = match priority {
                Priority::Urgent => ".urgent",
                Priority::Ordinary => "",
            };
            let queue = format!("{prefix}.work.{agency}{urgent}");
            self.say(&format!("  {queue:<50} {messages} carried to the worker"));
        }
        for agency in stack.simulators.keys() {
            let depth = process.broker.depth(agency).await;
            let dead = process.broker.dead_letter_count(agency).await;
            if let (Ok(depth), Ok(dead)) = (depth, dead) {
                let (ready, consumers) = (depth.ready, depth.consumers);
                self.say(&format!("  now, for {agency}: {ready} waiting, {dead} dead letters, {consumers} consumers"));
            }
        }
    }

    pub fn summary(&self, result: &DemoResult) {
        self.say(&format!("\n{}.", result.in_words()));
    }

    pub fn invitation(&self, stack: &TestStack) {
        let secrets = stack.secrets();
        let (secrets, gateway) = (secrets.display(), stack.gateway());
        let office = format!("{secrets}/offices/{OFFICE}");
        let curl = format!("curl --cacert {secrets}/gateway/server-ca.pem --cert {office}.pem --key {office}.key");
        self.say("\nIt keeps running until Ctrl-C. To try it by hand, in another terminal:\n");
        self.say(&format!("  {curl} {gateway}/v1/services\n"));
        self.say(&format!(
            "  {curl} {gateway}/v1/submissions -H 'Content-Type: application/json' -H \"Idempotency-Key: $(date +%s%N)\" \\\n    \
             -H 'Prefer: wait=10' -d '{}'\n",
            r#"{"service":"person-lookup","context":{"clerk":"2000000000900","entity":"1000000000001","legal_basis":"Law 100/2020, art. 5","reason":"Application 124"},"subject":{"scheme":"idnp","id":"2000000000001"},"data":{}}"#
        ));
        self.say(&format!("  {curl} {gateway}/v1/submissions\n"));
        if let Some(process) = stack.process() {
            self.say(&format!("  curl http://{}/healthz/ready", process.operations_address));
            self.say(&format!("  curl http://{}/metrics\n", process.operations_address));
        }
        let program = std::env::current_exe().map_or_else(|_| "punte".into(), |path| path.display().to_string());
        let config = stack.config();
        for command in ["submissions list", "parked list", "parked replay --all"] {
            self.say(&format!("  {program} {command} --config {}", config.display()));
        }
    }

    pub fn interrupted(&self) {
        self.say("\nstopped; what was made is removed");
    }

    /// `false`: there was nothing to remove.
    pub fn removal(&self, removed: Result<bool, BrokerError>) {
        match (&self.queue_prefix, removed) {
            (Some(prefix), Ok(true)) => {
                let hint = if self.stay { "" } else { "; --stay keeps them to look at" };
                self.say(&format!("The queues {prefix}.* are removed from RabbitMQ again{hint}."));
            }
            (Some(prefix), Err(error)) => {
                self.say(&format!("The queues {prefix}.* could not be removed from RabbitMQ: {error}"));
            }
            (Some(_), Ok(false)) | (None, _) => {}
        }
    }

    fn say(&self, line: &str) {
        if self.json {
            output::aside(line);
        } else {
            output::line(line);
        }
    }
}

/// Why it ended as it did; for what was completed after all, what went wrong on the way.
fn cause(shown: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let refusal = || text(&shown["refusal"]["code"]).map(|code| format!("agency.refused: {code}"));
    let on_the_way = || {
        let changes = shown["timeline"].as_array()?;
        text(&changes.iter().rev().find(|change| change["state"] == "retrying")?["cause"])
    };
    text(&shown["fault"]["code"]).or_else(refusal).or_else(on_the_way)
}
