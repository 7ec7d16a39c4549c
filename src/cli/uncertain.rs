//! `punte uncertain`: an operator says what has become of a submission that the agency may have done.

use super::{
    ConfigFile, exit, named,
    operator::{Who, load_settings, submissions_of, tell_decision, with_journal_of, with_submissions},
    output, print,
};
use crate::{
    catalogue::Catalogue,
    domain::{Answer, Effect, Finding, IdPart, ServiceName, StateName},
    journal::{JournalError, Record},
    settings::ConfigFaults,
    submissions::{Submissions, answer_of},
};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(after_help = "Examples:
  punte uncertain list
  punte uncertain resolve 0199f2a4-7c11-7000-8000-000000000001 --happened --by 'A. Operator, ticket 4711'
  punte uncertain resolve 00000001 --happened --answer answer.json     an id's beginning or end is enough
  punte uncertain resolve 00000001 --did-not-happen
  punte uncertain resolve 00000001 --ask-again

Ask the agency first: what it has done and is said not to have happened is done twice.")]
pub struct Uncertain {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List what the agency may have done: uncertain submissions, and parked ones that are in doubt
    List(List),
    /// Say what has become of it
    Resolve(Resolve),
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    config: ConfigFile,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Resolve {
    #[command(flatten)]
    config: ConfigFile,
    /// Its id, or the beginning or end of it that no other has: at least 4 digits
    id: IdPart,
    #[command(flatten)]
    outcome: Outcome,
    /// With --happened: the agency's answer in the standard form, a JSON file. It is held against the service's answer schema
    #[arg(long, value_name = "FILE", conflicts_with_all = ["did_not_happen", "ask_again"])]
    answer: Option<PathBuf>,
    #[command(flatten)]
    who: Who,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Outcome {
    /// The agency has done it: it is completed
    #[arg(long)]
    happened: bool,
    /// The agency has not done it and will not: it is sent again
    #[arg(long)]
    did_not_happen: bool,
    /// Nobody knows yet: the agency is asked by our reference, where it can be asked
    #[arg(long)]
    ask_again: bool,
}

impl Uncertain {
    pub fn run(self) -> u8 {
        match self.what {
            What::List(list) => {
                let config = list.config.clone();
                with_submissions(&config, |submissions| list.run(submissions))
            }
            What::Resolve(resolve) => {
                let config = resolve.config.clone();
                match load_settings(&config) {
                    Ok(settings) => with_journal_of(&settings, |journal| {
                        resolve.run(submissions_of(&journal), settings.folders.services.clone())
                    }),
                    Err(code) => code,
                }
            }
        }
    }
}

impl List {
    async fn run(self, submissions: Submissions) -> Result<u8, JournalError> {
        let mut number = 0;
        for state in [StateName::Uncertain, StateName::Parked] {
            for record in submissions.all_in(state, None).await?.iter().filter(|it| it.progress.in_doubt) {
                number += 1;
                match self.json {
                    true => output::json(&print::summary(record)),
                    false => output::line(print::line(record)),
                }
            }
        }
        if number == 0 {
            output::aside("nothing that waits for an operator has an unknown outcome");
        }
        Ok(exit::DONE)
    }
}

impl Resolve {
    async fn run(self, submissions: Submissions, services: PathBuf) -> Result<u8, JournalError> {
        let Some(id) = named::one(&submissions, &self.id).await? else { return Ok(exit::FAILED) };
        let seen = submissions.find(id).await?.ok_or(JournalError::NotFound(id))?;
        let answer = self.answer.as_deref().map(|file| read(file, &seen.submission.service, &services)).transpose();
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => {
                output::aside(format_args!("{id}: nothing was done: {why}"));
                return Ok(exit::FAILED);
            }
        };
        let finding = self.outcome.finding(answer);
        let refused = why_not(&seen, &finding);
        match submissions.resolve(&seen, &self.who.name(), finding).await {
            Ok(progress) => tell_decision(id, &progress, output::Format::from_flag(self.json)),
            Err(JournalError::Forbidden(_)) => {
                output::aside(format_args!("{id}: nothing was done: {refused}"));
                return Ok(exit::FAILED);
            }
            Err(error) => return Err(error),
        }
        Ok(exit::DONE)
    }
}

impl Outcome {
    fn finding(&self, answer: Option<Answer>) -> Finding {
        match (self.happened, self.did_not_happen) {
            (true, _) => Finding::Happened { answer },
            (false, true) => Finding::DidNotHappen,
            (false, false) => Finding::AskAgain,
        }
    }
}

fn read(file: &Path, service: &ServiceName, services: &Path) -> Result<Answer, String> {
    let bytes = std::fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let mut faults = ConfigFaults::default();
    // What is wrong with another service is of no interest here.
    let catalogue = Catalogue::load(services, &mut faults);
    answer_of(&bytes, service, &catalogue).map_err(|error| format!("{}: {error}", file.display()))
}

/// Of a submission as it was seen, why the journal refuses the decision.
fn why_not(seen: &Record, finding: &Finding) -> String {
    let state = seen.progress.state.name();
    if !matches!(state, StateName::Parked | StateName::Uncertain) {
        return format!("it is {state}, and waits for no operator");
    }
    if !seen.progress.in_doubt {
        return "its outcome is known: the agency has not done it; replay or discard it with `punte parked`".into();
    }
    if *finding == Finding::AskAgain && seen.submission.effect != Effect::Lookup {
        return "its agency cannot be asked by our reference; ask it yourself, and say what has become of it".into();
    }
    if let (Some(at), false) = (seen.erased_at, matches!(finding, Finding::Happened { .. })) {
        return format!("its content was erased at {at}, so that nothing is left to send");
    }
    "it has changed meanwhile: another operator, or a late answer, was quicker; look at it again".into()
}
