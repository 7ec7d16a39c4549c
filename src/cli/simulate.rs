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

A plan is {delay_ms, answer_delay_ms, fault, times}; plans of a list follow each other, null ends them. The faults: {\"status\": {\"code\": 500}},
{\"page\": {\"code\": 200}}, {\"soap-fault\": {\"blames\": \"server\"}}, reset-before-effect, reset-after-effect, garbage, garbage-in-turn,
wrong-content-type, huge-answer, truncated-answer, wrong-signature, no-signature, foreign-signature, stale-timestamp, other-reference,
{\"slow-drip\": {\"millis_per_byte\": 50}}, answer-twice, broken-http-in-turn, rogue-certificate, renewed-certificate.")]
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
