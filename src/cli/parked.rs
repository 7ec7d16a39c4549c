//! `punte parked`: an operator decides about submissions that are parked or uncertain.

use super::{
    ConfigFile, exit, named,
    operator::{Who, tell_decision, with_submissions},
    output, print,
};
use crate::{
    domain::{AgencyName, EventName, Forbidden, IdPart, Progress, StateName, SubmissionId},
    journal::{JournalError, Record},
    submissions::Submissions,
};
use clap::{Args, Subcommand};

#[derive(Args)]
#[command(after_help = "Examples:
  punte parked list --agency civil-registry
  punte parked replay 0199f2a4-7c11-7000-8000-000000000001
  punte parked replay 00000001 00000002       an id's beginning or end is enough where no other has it
  punte parked replay --agency civil-registry --all --by 'A. Operator, ticket 4711'
  punte parked discard 0199f2a4-7c11-7000-8000-000000000001 --by 'A. Operator, ticket 4711'")]
pub struct Parked {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List what waits for a decision: parked and uncertain submissions
    List(List),
    /// Have it done again: the same way, the same reference
    Replay(Replay),
    /// End it for good
    Discard(Discard),
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    config: ConfigFile,
    #[arg(long)]
    agency: Option<AgencyName>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Replay {
    #[command(flatten)]
    config: ConfigFile,
    /// Their ids, or the beginning or end of each that no other has: at least 4 digits
    #[arg(required_unless_present = "all", value_name = "ID")]
    ids: Vec<IdPart>,
    /// Everything that is parked; never what is uncertain
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// With --all: only this agency's
    #[arg(long, requires = "all")]
    agency: Option<AgencyName>,
    /// Also replay what the agency may have done already and would do twice, each at most once more
    #[arg(long)]
    effect_may_repeat: bool,
    #[command(flatten)]
    who: Who,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Discard {
    #[command(flatten)]
    config: ConfigFile,
    /// Their ids, or the beginning or end of each that no other has: at least 4 digits
    #[arg(required = true, value_name = "ID")]
    ids: Vec<IdPart>,
    /// Who decides, and why: it stands in the timeline
    #[arg(long)]
    by: String,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Parked {
    pub fn run(self) -> u8 {
        match self.what {
            What::List(list) => {
                let config = list.config.clone();
                with_submissions(&config, |submissions| list.run(submissions))
            }
            What::Replay(replay) => {
                let config = replay.config.clone();
                with_submissions(&config, |submissions| replay.run(submissions))
            }
            What::Discard(discard) => {
                let config = discard.config.clone();
                with_submissions(&config, |submissions| discard.run(submissions))
            }
        }
    }
}

impl List {
    async fn run(self, submissions: Submissions) -> Result<u8, JournalError> {
        let mut number = 0;
        for state in [StateName::Parked, StateName::Uncertain] {
            for record in submissions.all_in(state, self.agency.as_ref()).await? {
                number += 1;
                if self.json {
                    output::json(&print::summary(&record));
                } else {
                    output::line(print::line(&record));
                }
            }
        }
        if number == 0 {
            output::aside("nothing waits for an operator");
        }
        Ok(exit::DONE)
    }
}

impl Replay {
    async fn run(self, submissions: Submissions) -> Result<u8, JournalError> {
        let records = if self.all {
            submissions.all_in(StateName::Parked, self.agency.as_ref()).await?
        } else {
            let Some(named) = named::all(&submissions, &self.ids).await? else { return Ok(exit::FAILED) };
            named
        };
        let by = self.who.name();
        let mut code = exit::DONE;
        for record in records {
            // What is accepted is the repetition of what was seen here: should another replay have been quicker, the
            // journal refuses this one.
            let accepts_repeat = self.effect_may_repeat.then_some(record.progress.attempts);
            let id = record.submission.id;
            let decided = submissions.replay(id, &by, accepts_repeat).await;
            code = code.max(tell(&submissions, id, decided, self.json).await?);
        }
        Ok(code)
    }
}

impl Discard {
    async fn run(self, submissions: Submissions) -> Result<u8, JournalError> {
        let Some(named) = named::all(&submissions, &self.ids).await? else { return Ok(exit::FAILED) };
        let mut code = exit::DONE;
        for record in named {
            let id = record.submission.id;
            let decided = submissions.discard(id, &self.by).await;
            code = code.max(tell(&submissions, id, decided, self.json).await?);
        }
        Ok(code)
    }
}

/// What has become of a decision.
async fn tell(
    submissions: &Submissions,
    id: SubmissionId,
    outcome: Result<Progress, JournalError>,
    json: bool,
) -> Result<u8, JournalError> {
    match outcome {
        Ok(progress) => tell_decision(id, &progress, output::Format::from_flag(json)),
        Err(JournalError::Forbidden(Forbidden { event: EventName::Replayed, .. })) => {
            output::aside(format_args!("{id}: not replayed: {}", why_not(submissions.find(id).await?)));
            return Ok(exit::FAILED);
        }
        Err(error @ (JournalError::Forbidden(_) | JournalError::NotFound(_))) => {
            output::aside(format_args!("{id}: {error}"));
            return Ok(exit::FAILED);
        }
        Err(error) => return Err(error),
    }
    Ok(exit::DONE)
}

/// As the submission is now: another operator may have been quicker.
fn why_not(found: Option<Record>) -> String {
    let Some(record) = found else { return "the journal knows no such submission".into() };
    let state = record.progress.state.name();
    if !matches!(state, StateName::Parked | StateName::Uncertain) {
        return format!("that is not possible in state {state}: it waits for no operator");
    }
    if let Some(at) = record.erased_at {
        return format!("its content was erased at {at}, so that nothing is left to send; discard it");
    }
    if record.progress.would_act_twice(record.submission.effect) {
        return "the agency may have done it already and would do it twice; ask the agency, then replay with \
                --effect-may-repeat, or discard"
            .into();
    }
    "it has changed meanwhile; look at it again".into()
}
