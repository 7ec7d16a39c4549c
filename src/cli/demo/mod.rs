//! `punte demo`: with nothing to set up, submissions travel from a town hall to simulated agencies and back.

mod presenter;
mod queues;
mod run;
mod tally;

use super::{exit, output, signals::StopSignals};
use crate::{
    kit::test_stack::{TestStack, TestStackPlan},
    telemetry::{LogFormat, begin_logging},
};
use clap::Args;
use presenter::Presenter;
use queues::Queues;
use std::{path::PathBuf, time::Duration};

#[derive(Args)]
#[command(after_help = "Examples:
  punte demo
  punte demo --broker amqp://guest:guest@localhost:5672/%2f
  punte demo --stay
  punte demo --json | jq .state

Everything it makes lies in one temporary folder, listens on this machine only, and is removed at the end.
With --json the lines for people go to standard error. `cause` is the code of what went wrong last, on the way or in the end.

Exit codes: 0 every submission ended as planned, 1 it did not, or the demo could not begin, 2 wrong usage.")]
pub struct Demo {
    /// Carry the work over this RabbitMQ instead of the embedded broker
    #[arg(long, value_name = "AMQP-URI", value_parser = queues::amqp_uri)]
    broker: Option<String>,
    /// Keep running afterwards, and print commands to paste
    #[arg(long)]
    stay: bool,
    /// One JSON object a submission: {id, service, agency, protocol, state, attempts, cause}
    #[arg(long)]
    json: bool,
    /// Where adapters/ and schemas/ are; `cargo run` names its own project
    #[arg(long, value_name = "FOLDER", default_value = ".", env = "CARGO_MANIFEST_DIR", hide_env = true)]
    project: PathBuf,
    #[arg(long, default_value = "off", env = "PUNTE_LOG", value_name = "FILTER", hide = true)]
    log: String,
}

impl Demo {
    pub fn run(self) -> u8 {
        if let Err(error) = begin_logging(LogFormat::Text, &self.log) {
            output::aside(format_args!("punte: {error}"));
            return exit::USAGE;
        }
        match super::block_on(self.show()) {
            Ok(Ok(true)) => exit::DONE,
            Ok(Ok(false)) => exit::FAILED,
            Ok(Err(error)) => {
                output::aside(format_args!("punte demo: {error:#}"));
                exit::FAILED
            }
            Err(code) => code,
        }
    }

    /// Whether every submission ended as it should.
    async fn show(self) -> anyhow::Result<bool> {
        let mut stop = StopSignals::listen()?;
        let queues = self.broker.clone().map(Queues::new);
        let queue_prefix = queues.as_ref().map(|queues| queues.prefix.clone());
        let presenter = Presenter { json: self.json, queue_prefix, stay: self.stay };
        presenter.title();
        let rabbitmq = queues.as_ref().map(|queues| (queues.uri.clone(), queues.prefix.clone()));
        let stack = TestStack::started(TestStackPlan { rabbitmq, ..TestStackPlan::of_project(&self.project) }).await?;
        let went_as_planned = tokio::select! {
            outcome = self.run_cases(&stack, &presenter, queues.as_ref()) => outcome,
            () = stop.told_to_stop() => {
                presenter.interrupted();
                Ok(false)
            }
        };
        if self.stay && matches!(went_as_planned, Ok(true)) {
            presenter.invitation(&stack);
            stop.told_to_stop().await;
        }
        let agencies: Vec<_> = stack.simulators.keys().cloned().collect();
        stack.end(Duration::from_secs(10)).await;
        if let Some(queues) = &queues {
            presenter.removal(queues.remove(&agencies).await);
        }
        went_as_planned
    }

    async fn run_cases(
        &self,
        stack: &TestStack,
        presenter: &Presenter,
        queues: Option<&Queues>,
    ) -> anyhow::Result<bool> {
        if let (Some(queues), Some(process)) = (queues, stack.process()) {
            queues.wait_for(process.broker.as_ref()).await?;
        }
        presenter.stack(stack);
        let refusal = async {
            match (queues, stack.process()) {
                (Some(queues), Some(process)) => queues.refusal(process.broker.as_ref()).await,
                _ => std::future::pending().await,
            }
        };
        let result = tokio::select! {
            result = run::all(stack, presenter) => result?,
            why = refusal => anyhow::bail!("{why}"),
        };
        presenter.broker(stack, &result.tallies).await;
        presenter.summary(&result);
        Ok(result.is_as_planned())
    }
}
