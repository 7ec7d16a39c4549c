//! `punte queues`: how many messages wait for each agency, since when, who takes them, and which nobody could handle.

use super::{
    ConfigFile, exit,
    operator::{load_settings, submissions_of, with_journal_of},
    output,
};
use crate::{
    broker::rabbitmq::{AgencyReport, QueueReport, RabbitmqSettings, report, take_over},
    domain::{AgencyName, StateName},
    journal::{Journal, JournalError, StateCount},
    process::rabbitmq_settings,
    settings::{BrokerSettings, Settings},
};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  punte queues
  punte queues --json | jq 'select(.dead_letters > 0)'
  punte queues take-over

Dead letters are messages that nobody could read or that stopped their worker again and again. They hold identifiers only, and
their submissions are published again from the journal; what is no longer of interest is removed with
`rabbitmqctl purge_queue NAME`. The embedded broker lives inside `punte serve`: of it the journal's own count is shown."
)]
pub struct Queues {
    #[command(flatten)]
    config: ConfigFile,
    /// One JSON object an agency: {agency, broker, waiting, queued, oldest, consumers, dead_letters, missing}
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// Make broker.prefix this installation's, because the one that had it is gone for good
    TakeOver(TakeOver),
}

#[derive(Args)]
#[command(after_help = "Example:
  punte queues take-over --config /etc/punte/punte.toml

Every process of the other installation must be stopped for good. What waits in the work queues is removed; what this
installation's journal has queued is published again.")]
struct TakeOver {
    #[command(flatten)]
    config: ConfigFile,
}

/// What the journal says of an agency.
#[derive(Default)]
struct Recorded {
    queued: u64,
    oldest: Option<Timestamp>,
}

impl Queues {
    pub fn run(self) -> u8 {
        let config = self.what.as_ref().map_or(&self.config, |What::TakeOver(it)| &it.config).clone();
        let settings = match load_settings(&config) {
            Ok(settings) => settings,
            Err(code) => return code,
        };
        match self.what {
            Some(What::TakeOver(_)) => with_journal_of(&settings, |journal| take(journal, &settings)),
            None => {
                with_journal_of(&settings, |journal| show(journal, &settings, output::Format::from_flag(self.json)))
            }
        }
    }
}

async fn show(journal: Arc<dyn Journal>, settings: &Settings, format: output::Format) -> Result<u8, JournalError> {
    let counts = submissions_of(&journal).counts().await?;
    let agencies = agencies(settings, &counts);
    let reports = match rabbitmq(&journal, settings).await? {
        None => None,
        Some(Ok(rabbitmq)) => match report(rabbitmq, &agencies).await {
            Ok(reports) => Some(reports),
            Err(error) => return Ok(failed(&error)),
        },
        Some(Err(code)) => return Ok(code),
    };
    for (number, agency) in agencies.iter().enumerate() {
        let recorded = recorded(&journal, &counts, agency).await?;
        let report = reports.as_ref().and_then(|reports| reports.get(number));
        match format {
            output::Format::Json => output::json(&as_json(agency, &recorded, report)),
            output::Format::Text => output::line(as_text(agency, &recorded, report)),
        }
    }
    if reports.is_none() && format == output::Format::Text {
        output::aside(
            "the broker is embedded in `punte serve`: this is what the journal says; /metrics has the queues",
        );
    }
    Ok(exit::DONE)
}

async fn take(journal: Arc<dyn Journal>, settings: &Settings) -> Result<u8, JournalError> {
    let agencies = agencies(settings, &[]);
    match rabbitmq(&journal, settings).await? {
        None => {
            output::aside("punte: the embedded broker has no prefix to take over");
            Ok(exit::FAILED)
        }
        Some(Err(code)) => Ok(code),
        Some(Ok(rabbitmq)) => {
            let prefix = rabbitmq.prefix.clone();
            match take_over(rabbitmq, &agencies).await {
                Ok(removed) => {
                    output::line(format_args!(
                        "the prefix {prefix} is this installation's; {removed} messages were removed"
                    ));
                    Ok(exit::DONE)
                }
                Err(error) => Ok(failed(&error)),
            }
        }
    }
}

fn failed(error: &dyn std::fmt::Display) -> u8 {
    output::aside(format_args!("punte: {error}"));
    exit::FAILED
}

/// `None`: the broker is embedded.
async fn rabbitmq(
    journal: &Arc<dyn Journal>,
    settings: &Settings,
) -> Result<Option<Result<RabbitmqSettings, u8>>, JournalError> {
    let BrokerSettings::Rabbitmq(server) = &settings.broker else { return Ok(None) };
    let identity = Some(journal.identity().await?);
    let reached = rabbitmq_settings(server, Timestamp::now());
    Ok(Some(reached.map(|reached| RabbitmqSettings { identity, ..reached }).map_err(|error| failed(&error))))
}

/// Those that have a folder, and those that have submissions.
fn agencies(settings: &Settings, counts: &[StateCount]) -> Vec<AgencyName> {
    let folders = std::fs::read_dir(&settings.folders.adapters).into_iter().flatten().flatten();
    let folders = folders.filter(|entry| entry.path().join("agency.toml").is_file());
    let named = folders.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: BTreeSet<AgencyName> = named.chain(counts.iter().map(|count| count.agency.clone())).collect();
    all.into_iter().collect()
}

async fn recorded(
    journal: &Arc<dyn Journal>,
    counts: &[StateCount],
    agency: &AgencyName,
) -> Result<Recorded, JournalError> {
    let is_queued = |it: &&StateCount| it.agency == *agency && it.state == StateName::Queued;
    let queued = counts.iter().filter(is_queued).map(|it| it.count).sum();
    Ok(Recorded { queued, oldest: submissions_of(journal).oldest_queued(agency).await? })
}

fn waiting(report: &AgencyReport) -> u64 {
    report.work.iter().filter_map(|queue| queue.depth).map(|depth| depth.ready).sum()
}

fn consumers(report: &AgencyReport) -> u64 {
    report.work.iter().filter_map(|queue| queue.depth).map(|depth| depth.consumers).sum()
}

fn missing(report: &AgencyReport) -> Vec<&str> {
    let is_missing = |queue: &&QueueReport| queue.depth.is_none();
    report.work.iter().chain([&report.dead_letters]).filter(is_missing).map(|queue| queue.name.as_str()).collect()
}

fn as_json(agency: &AgencyName, recorded: &Recorded, report: Option<&AgencyReport>) -> Value {
    json!({
        "agency": agency,
        "broker": if report.is_some() { "rabbitmq" } else { "embedded" },
        "waiting": report.map(waiting),
        "queued": recorded.queued,
        "oldest": recorded.oldest,
        "consumers": report.map(consumers),
        "dead_letters": report.map(|it| it.dead_letters.depth.unwrap_or_default().ready),
        "missing": report.map(missing),
    })
}

fn as_text(agency: &AgencyName, recorded: &Recorded, report: Option<&AgencyReport>) -> String {
    let oldest = recorded.oldest.map_or_else(String::new, |oldest| format!(", oldest since {oldest:.0}"));
    let queued = format!("{} queued{oldest}", recorded.queued);
    let Some(report) = report else { return format!("{agency:<24} {queued}") };
    let dead = report.dead_letters.depth.unwrap_or_default().ready;
    let mut line = format!(
        "{agency:<24} {} waiting, {} consumers, {dead} dead letters, {queued}",
        waiting(report),
        consumers(report)
    );
    if dead > 0 {
        line += &format!(" (see {})", report.dead_letters.name);
    }
    match missing(report)[..] {
        [] => line,
        ref missing => format!("{line}; there is no queue {}", missing.join(", ")),
    }
}
