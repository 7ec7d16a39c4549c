//! What the demo shows: events of the play come in, lines for a person, or JSON lines for a program, go out.

use crate::{
    domain::AgencyName,
    roles::stage::{OFFICE, Stage},
};
use serde_json::{Value, json};

pub struct Picture {
    pub json: bool,
    /// RabbitMQ's names begin with this; `None` for the embedded broker.
    pub queue_prefix: Option<&'static str>,
}

impl Picture {
    pub fn title(&self, text: &str) {
        self.say(&format!("punte demo: {text}"));
    }

    pub fn stage(&self, stage: &Stage) {
        self.say(&format!("  gateway   {}  (mutual TLS; the office is `{OFFICE}`)", stage.gateway()));
        for (agency, simulator) in &stage.simulators {
            let protocol = stage.protocols.get(agency).map_or("", |protocol| protocol.as_str());
            self.say(&format!("  agency    {:<16} {protocol:<9} {}", agency.as_str(), simulator.endpoint()));
        }
        let broker = self.queue_prefix.map_or("embedded".into(), |prefix| format!("RabbitMQ, queues {prefix}.work.*"));
        self.say(&format!("  broker    {broker}"));
    }

    pub fn scene(&self, number: usize, title: &str) {
        self.say(&format!("\n{number}. {title}"));
    }

    pub fn change(&self, shown: &Value, change: &Value) {
        let state = change["state"].as_str().unwrap_or_default();
        let cause = change["cause"].as_str().unwrap_or_default();
        let time = change["at"].as_str().and_then(|at| at.get(11..23)).unwrap_or_default();
        let note = match (state, self.queue_prefix) {
            ("queued", Some(prefix)) => {
                let urgent = if shown["priority"] == "urgent" { ".urgent" } else { "" };
                format!("confirmed by {prefix}.work.{}{urgent}", shown["agency"].as_str().unwrap_or_default())
            }
            _ => cause.to_owned(),
        };
        self.say(&format!("   {time}  {state:<10} {note}"));
    }

    pub fn end(&self, stage: &Stage, agency: &AgencyName, shown: &Value, planned: &str) {
        let state = shown["state"].as_str().unwrap_or_default();
        if self.json {
            let protocol = stage.protocols.get(agency).map(|protocol| protocol.as_str());
            let cause = shown["fault"]["code"].as_str().or_else(|| shown["refusal"]["code"].as_str());
            println!(
                "{}",
                json!({
                    "id": shown["id"], "service": shown["service"], "agency": agency, "protocol": protocol,
                    "state": state, "attempts": shown["attempts"], "cause": cause,
                })
            );
            return;
        }
        let what = [("answer", "answer "), ("refusal", "refusal"), ("fault", "fault  ")];
        for (key, label) in what {
            if !shown[key].is_null() {
                println!("   {label} {}", shown[key]);
            }
        }
        if state != planned {
            println!("   NOT AS PLANNED: it should have been {planned}");
        }
    }

    /// What is left in the queues at the end.
    pub async fn broker(&self, stage: &Stage) {
        let (Some(prefix), Some(process)) = (self.queue_prefix, stage.process()) else { return };
        self.say("");
        for agency in stage.simulators.keys() {
            if let Ok(depth) = process.broker.depth(agency).await {
                let (ready, consumers) = (depth.ready, depth.consumers);
                self.say(&format!(
                    "quorum queues {prefix}.work.{agency}[.urgent]: {ready} waiting, {consumers} consumers"
                ));
            }
        }
    }

    pub fn invitation(&self, stage: &Stage) {
        let secrets = stage.secrets();
        let (secrets, gateway) = (secrets.display(), stage.gateway());
        let curl = format!(
            "curl --cacert {secrets}/gateway/server-ca.pem --cert {secrets}/offices/{OFFICE}.pem --key {secrets}/offices/{OFFICE}.key"
        );
        self.say("\nIt keeps running until Ctrl-C. To try it by hand:\n");
        self.say(&format!("  {curl} {gateway}/v1/services\n"));
        self.say(&format!(
            "  {curl} {gateway}/v1/submissions -H 'Content-Type: application/json' -H \"Idempotency-Key: $(date +%s%N)\" \\\n    \
             -H 'Prefer: wait=10' -d '{}'\n",
            r#"{"service":"person-lookup","context":{"clerk":"2000000000900","entity":"1000000000001","legal_basis":"Law 100/2020, art. 5","reason":"Application 124"},"subject":{"scheme":"idnp","id":"2000000000001"},"data":{}}"#
        ));
        self.say(&format!("  {curl} {gateway}/v1/submissions"));
        if let Some(process) = stage.process() {
            self.say(&format!("\n  curl http://{}/healthz/ready", process.operations_address));
            self.say(&format!("  curl http://{}/metrics", process.operations_address));
        }
        let config = stage.config();
        self.say(&format!("  punte submissions list --config {}", config.display()));
        self.say(&format!("  punte parked list --config {}", config.display()));
    }

    fn say(&self, line: &str) {
        if self.json {
            eprintln!("{line}");
        } else {
            println!("{line}");
        }
    }
}
