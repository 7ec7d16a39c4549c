//! `punte submissions`: an operator looks at submissions; nothing is changed.

use super::{ConfigFile, exit, named, operator::with_submissions, output, print};
use crate::{
    domain::{AgencyName, IdPart, OfficeName, ServiceName, StateName},
    journal::{JournalError, ListFilter},
    submissions,
};
use clap::{Args, Subcommand};

#[derive(Args)]
#[command(after_help = "Examples:
  punte submissions list --state retrying --agency civil-registry
  punte submissions list --office causeni --limit 20 --json
  punte submissions show 0199f2a4-7c11-7000-8000-000000000001 --wire
  punte submissions show 8000-00000001        an id's beginning or end is enough where no other has it
  punte submissions erase-wire 0199f2a4-7c11-7000-8000-000000000001")]
pub struct Submissions {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List submissions, newest first
    List(List),
    /// Show one submission: its timeline, its attempts, why it failed
    Show(Show),
    /// Erase the bytes sent and received for one submission; its timeline stays
    EraseWire(EraseWire),
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    config: ConfigFile,
    #[arg(long)]
    office: Option<OfficeName>,
    #[arg(long)]
    agency: Option<AgencyName>,
    #[arg(long)]
    service: Option<ServiceName>,
    /// accepted, queued, sending, completed, refused, waiting, retrying, parked, uncertain, expired or cancelled
    #[arg(long, value_parser = state_name)]
    state: Option<StateName>,
    /// Accepted at or after this moment (RFC 3339)
    #[arg(long)]
    since: Option<jiff::Timestamp>,
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Show {
    #[command(flatten)]
    config: ConfigFile,
    /// Its id, or the beginning or end of it that no other has: at least 4 digits
    id: IdPart,
    /// Also print the bytes sent and received; they hold personal data
    #[arg(long)]
    wire: bool,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct EraseWire {
    #[command(flatten)]
    config: ConfigFile,
    /// Its id, or the beginning or end of it that no other has: at least 4 digits
    id: IdPart,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

pub fn state_name(text: &str) -> Result<StateName, String> {
    StateName::from_text(text).ok_or_else(|| {
        let known: Vec<_> = StateName::ALL.iter().map(|name| name.as_str()).collect();
        format!("no such state; there are {}", known.join(", "))
    })
}

impl Submissions {
    pub fn run(self) -> u8 {
        match self.what {
            What::List(list) => {
                let config = list.config.clone();
                with_submissions(&config, |submissions| list.run(submissions))
            }
            What::Show(show) => {
                let config = show.config.clone();
                with_submissions(&config, |submissions| show.run(submissions))
            }
            What::EraseWire(erase) => {
                let config = erase.config.clone();
                with_submissions(&config, |submissions| erase.run(submissions))
            }
        }
    }
}

impl List {
    async fn run(self, submissions: submissions::Submissions) -> Result<u8, JournalError> {
        let filter = ListFilter {
            office: self.office,
            agency: self.agency,
            service: self.service,
            state: self.state,
            since: self.since,
            before: None,
        };
        for record in submissions.list(&filter, self.limit).await? {
            if self.json {
                output::json(&print::summary(&record));
            } else {
                output::line(print::line(&record));
            }
        }
        Ok(exit::DONE)
    }
}

impl EraseWire {
    async fn run(self, submissions: submissions::Submissions) -> Result<u8, JournalError> {
        let Some(id) = named::one(&submissions, &self.id).await? else { return Ok(exit::FAILED) };
        let erased = submissions.erase_wire_of(id).await?;
        if self.json {
            output::json(&serde_json::json!({"id": id, "attempts_erased": erased}));
        } else {
            output::line(format!("{id}: the bytes of {erased} attempts are erased"));
        }
        Ok(exit::DONE)
    }
}

impl Show {
    async fn run(self, submissions: submissions::Submissions) -> Result<u8, JournalError> {
        let Some(id) = named::one(&submissions, &self.id).await? else { return Ok(exit::FAILED) };
        let record = submissions.find(id).await?.ok_or(JournalError::NotFound(id))?;
        let timeline = submissions.timeline(id).await?;
        let attempts = submissions.attempts(id).await?;
        let whole = print::whole(&record, &timeline, &attempts);
        if self.json {
            output::line(format_args!("{whole}"));
        } else {
            output::line(format_args!("{whole:#}"));
        }
        if self.wire {
            for attempt in &attempts {
                let Some(wire) = &attempt.wire else { continue };
                output::line(format_args!("--- attempt {}: sent", attempt.number));
                output::line(String::from_utf8_lossy(&wire.sent));
                output::line(format_args!("--- attempt {}: received", attempt.number));
                output::line(String::from_utf8_lossy(&wire.received));
            }
        }
        Ok(exit::DONE)
    }
}
