//! `punte simulate`: an agency's name comes in; the agency is played until the process is told to stop.

use super::{output, signals::StopSignals};
use crate::{
    domain::AgencyName,
    kit::simulator::{Simulator, SimulatorBehaviour, SimulatorError, SimulatorPlan, adapter_of},
    secret_file::exposed_below,
};
use serde_json::json;
use std::{net::SocketAddr, path::PathBuf};

/// Play an agency from its adapter's own examples, over mutual TLS
#[derive(clap::Args)]
#[command(after_help = "Examples:
  punte pki dev --out secrets                        make throw-away keys first
  punte simulate civil-registry --secrets secrets    play the registry on a free port
  punte simulate legal-events --secrets secrets --listen 127.0.0.1:9443 --behaviour '{\"fault\": \"reset-after-effect\", \"times\": 1}'

While it runs:
  curl http://CONTROL/simulator/ledger
  curl -X PUT http://CONTROL/simulator/behaviour -H 'Content-Type: application/json' -d '[{\"delay_ms\": 500}]'

A plan is {delay_ms, answer_delay_ms, fault, about, times}, each of which may be left out: delay_ms before anything else,
answer_delay_ms between the effect and the answer, about a text that must stand in the request (others are served well), times for so
many requests (without it for all). Plans of a list follow each other, null ends them.

Faults without an effect, unless after_effect is true:
  {\"status\": {\"code\": 503, \"retry_after_secs\": 7, \"after_effect\": false}}
  {\"soap-fault\": {\"blames\": \"server\", \"after_effect\": false, \"unsigned\": false}}     or client; REST: a JSON error, 500 or 400
  {\"page\": {\"code\": 200}}     a page for people
  busy     the example's passing fault, signed, about this request
  reset-before-effect, rogue-certificate, renewed-certificate     the last two count connections, not requests
Faults after the effect:
  reset-after-effect, garbage, garbage-in-turn, wrong-content-type, huge-answer, truncated-answer, broken-http-in-turn, answer-twice,
  wrong-signature, no-signature, foreign-signature, stale-timestamp, other-reference
  {\"empty-answer\": {\"code\": 200}}     no body and no signature
  {\"rewritten-status\": {\"code\": 500}}     the signed answer under another status
  {\"slow-drip\": {\"millis_per_byte\": 50}}
  swapped     the answers to two requests that come together are given to each other
  older-busy     busy at first; afterwards the agency acts, and that older word comes in the place of its answer")]
pub struct Simulate {
    /// The agency: the name of its folder below the adapters
    pub agency: AgencyName,
    /// Keys as `punte pki dev` makes them; simulators/AGENCY and rogue are used
    #[arg(long, value_name = "FOLDER")]
    pub secrets: PathBuf,
    /// The folder of the agencies
    #[arg(long, value_name = "FOLDER", default_value = "adapters")]
    pub adapters: PathBuf,
    /// The folder of the services' contracts
    #[arg(long, value_name = "FOLDER", default_value = "schemas/services")]
    pub services: PathBuf,
    /// Where the agency listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Where testers read the ledger and set the behaviour: plain HTTP, loopback only
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub control: SocketAddr,
    /// Keep the ledger in this file, one JSON line an effect
    #[arg(long, value_name = "FILE")]
    pub ledger: Option<PathBuf>,
    /// How to fail from the start: a plan or a list of plans, as JSON
    #[arg(long, value_name = "JSON", value_parser = behaviour)]
    pub behaviour: Option<SimulatorBehaviour>,
    /// Print the addresses as one JSON line
    #[arg(long)]
    pub json: bool,
}

impl Simulate {
    /// The exit code: 0 if it was stopped, 1 if it could not begin, 3 if the adapter is wrong.
    pub async fn run(self) -> u8 {
        match self.play().await {
            Ok(()) => 0,
            Err(error) => {
                output::aside(format_args!("punte: {error}"));
                if matches!(error, SimulatorError::Config(_)) { 3 } else { 1 }
            }
        }
    }

    async fn play(self) -> Result<(), SimulatorError> {
        let mut stop = StopSignals::listen()?;
        let warnings = exposed_below(&self.secrets.join("simulators").join(self.agency.as_str()));
        let adapter = adapter_of(&self.adapters, &self.services, &self.agency)?;
        let plan = SimulatorPlan {
            listen: self.listen,
            control: self.control,
            ledger_file: self.ledger,
            behaviour: self.behaviour.unwrap_or_default(),
            ..SimulatorPlan::new(adapter, &self.secrets)
        };
        let simulator = Simulator::start(plan).await?;
        warnings.iter().for_each(|warning| output::aside(format_args!("warning: {warning}")));
        let (endpoint, control) = (simulator.endpoint(), format!("http://{}/simulator", simulator.control));
        match self.json {
            true => output::json(&json!({"agency": self.agency, "endpoint": endpoint, "control": control})),
            false => {
                output::line(format_args!("{} listens at {endpoint}\nledger and behaviour: {control}", self.agency))
            }
        }
        stop.told_to_stop().await;
        simulator.stop().await;
        Ok(())
    }
}

fn behaviour(text: &str) -> Result<SimulatorBehaviour, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    SimulatorBehaviour::try_from(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        simulate: Simulate,
    }

    /// The names that serde says it expects, in the place of one that it does not know.
    fn expected(behaviour: &serde_json::Value) -> Vec<String> {
        let Err(error) = SimulatorBehaviour::try_from(behaviour.clone()) else { panic!("{behaviour} is known") };
        let error = error.to_string();
        let names = error.split_once("unknown ").and_then(|(_, rest)| rest.split_once("expected "));
        names.map_or(Vec::new(), |(_, names)| names.split('`').skip(1).step_by(2).map(str::to_owned).collect())
    }

    #[test]
    fn every_fault_and_every_key_of_a_plan_is_in_the_help() {
        let help = Line::command().render_long_help().to_string();
        let words: std::collections::BTreeSet<_> =
            help.split(|it: char| !it.is_ascii_alphanumeric() && it != '-' && it != '_').collect();
        let faults = expected(&json!({"fault": "no-such"}));
        assert!(faults.len() > 20, "{faults:?}");
        let of_faults = faults.iter().flat_map(|fault| expected(&json!({"fault": {fault: {"no_such": 1}}})));
        let names = of_faults.chain(expected(&json!({"no_such": 1}))).chain(faults.iter().cloned());
        let missing: Vec<_> = names.filter(|name| !words.contains(name.as_str())).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn its_words_are_well_formed() {
        Line::command().debug_assert();
        let words =
            ["simulate", "civil-registry", "--secrets", "s", "--behaviour", r#"{"fault": "garbage", "times": 2}"#];
        let simulate = Line::try_parse_from(words).ok().unwrap().simulate;
        assert_eq!(simulate.behaviour.unwrap().0[0].times, Some(2));
        for bad in
            [&["simulate", "Bad_Name", "--secrets", "s"][..], &["simulate", "x", "--secrets", "s", "--behaviour", "{"]]
        {
            assert!(Line::try_parse_from(bad).is_err());
        }
    }
}
