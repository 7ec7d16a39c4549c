//! `punte demo`: with nothing to set up, submissions travel from a town hall to two simulated agencies and back.

mod picture;
mod play;

use super::exit;
use crate::{
    roles::stage::{Stage, StagePlan},
    telemetry::{LogFormat, begin_logging},
};
use clap::Args;
use picture::Picture;
use std::{path::PathBuf, time::Duration};

#[derive(Args)]
#[command(after_help = "Examples:
  punte demo
  punte demo --broker amqp://guest:guest@localhost:5672/%2f
  punte demo --stay
  punte demo --json | jq .state")]
pub struct Demo {
    /// Carry the work over this RabbitMQ instead of the embedded broker
    #[arg(long, value_name = "AMQP-URI")]
    broker: Option<String>,
    /// Keep running afterwards, and print commands to paste
    #[arg(long)]
    stay: bool,
    /// One JSON object a submission: {id, service, agency, protocol, state, attempts, cause}
    #[arg(long)]
    json: bool,
    /// Where adapters/ and schemas/ are
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    project: PathBuf,
    #[arg(long, default_value = "off", env = "PUNTE_LOG", value_name = "FILTER", hide = true)]
    log: String,
}

/// What the names of the demo's queues begin with.
const QUEUE_PREFIX: &str = "punte-demo";

impl Demo {
    pub fn run(self) -> u8 {
        if let Err(error) = begin_logging(LogFormat::Text, &self.log) {
            eprintln!("punte: {error}");
            return exit::USAGE;
        }
        match super::block_on(self.show()) {
            Ok(Ok(true)) => exit::DONE,
            Ok(Ok(false)) => exit::FAILED,
            Ok(Err(error)) => {
                eprintln!("punte demo: {error:#}");
                exit::FAILED
            }
            Err(code) => code,
        }
    }

    /// Whether every submission ended as it should.
    async fn show(self) -> anyhow::Result<bool> {
        let prefix = self.broker.is_some().then_some(QUEUE_PREFIX);
        let picture = Picture { json: self.json, queue_prefix: prefix };
        picture.title("keys, a gateway, a worker and two agencies are being made");
        let rabbitmq = self.broker.map(|uri| (uri, QUEUE_PREFIX.to_owned()));
        let stage = Stage::set(StagePlan { rabbitmq, ..StagePlan::of_project(&self.project) }).await?;
        picture.stage(&stage);
        let went_as_planned = play::all(&stage, &picture).await?;
        picture.broker(&stage).await;
        if self.stay {
            picture.invitation(&stage);
            tokio::signal::ctrl_c().await?;
        }
        stage.strike(Duration::from_secs(10)).await;
        Ok(went_as_planned)
    }
}
