//! What operators' subcommands share: the configuration file comes in, the open journal goes out; who decides is found.

use super::{
    ConfigFile, exit,
    output::{self, Format},
};
use crate::{
    domain::{Progress, SubmissionId, SystemClock},
    journal::{Journal, JournalError},
    process::open_journal_for_command,
    settings::{JournalStore, Settings},
    submissions::Submissions,
};
use std::{future::Future, sync::Arc};

/// Who decides, and why: it stands in the timeline.
#[derive(clap::Args)]
pub struct Who {
    /// Who decides, and why: it stands in the timeline; the system's user if it is not said
    #[arg(long)]
    by: Option<String>,
}

impl Who {
    pub fn name(self) -> String {
        self.by.unwrap_or_else(user_of_the_system)
    }
}

/// By its name in `/etc/passwd` (passwd(5)), or else by its number.
fn user_of_the_system() -> String {
    let id = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut columns = line.split(':');
        let (name, number) = (columns.next()?, columns.nth(1)?);
        (number == id).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("user {id}"))
}

/// Opens the journal that the configuration names, does the work with it, and turns failures into exit codes.
pub fn with_journal<F, W>(config: &ConfigFile, work: W) -> u8
where
    W: FnOnce(Arc<dyn Journal>) -> F,
    F: Future<Output = Result<u8, JournalError>>,
{
    match load_settings(config) {
        Ok(settings) => with_journal_of(&settings, work),
        Err(code) => code,
    }
}

/// The same for a command that needs the configuration itself as well.
pub fn with_journal_of<F, W>(settings: &Settings, work: W) -> u8
where
    W: FnOnce(Arc<dyn Journal>) -> F,
    F: Future<Output = Result<u8, JournalError>>,
{
    if let Err(code) = check_exists(settings) {
        return code;
    }
    let done = super::block_on(async {
        let journal = open_journal_for_command(&settings.journal).await.map_err(|error| error.to_string())?;
        work(journal).await.map_err(|error| error.to_string())
    });
    match done {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            output::aside(format_args!("punte: {error}"));
            exit::FAILED
        }
        Err(code) => code,
    }
}

/// The same for what is done with submissions.
pub fn with_submissions<F, W>(config: &ConfigFile, work: W) -> u8
where
    W: FnOnce(Submissions) -> F,
    F: Future<Output = Result<u8, JournalError>>,
{
    with_journal(config, |journal| work(submissions_of(&journal)))
}

pub fn submissions_of(journal: &Arc<dyn Journal>) -> Submissions {
    Submissions::without_listeners(journal.clone(), Arc::new(SystemClock))
}

/// Tells what an operator's decision has made of a submission.
pub fn tell_decision(id: SubmissionId, progress: &Progress, format: Format) {
    let state = progress.state.name();
    match format {
        Format::Json => output::json(&serde_json::json!({"id": id, "state": state})),
        Format::Text => output::line(format_args!("{id}: {state}")),
    }
}

/// No command makes a journal by looking for it.
pub fn check_exists(settings: &Settings) -> Result<(), u8> {
    match &settings.journal.store {
        JournalStore::Sqlite { path } if !path.exists() => {
            let path = path.display();
            output::aside(format_args!(
                "punte: there is no journal at {path} yet: `punte serve` makes it; is --config right?"
            ));
            Err(exit::FAILED)
        }
        JournalStore::Sqlite { .. } | JournalStore::Postgres { .. } => Ok(()),
    }
}

/// What is wrong with it is said here.
pub fn load_settings(config: &ConfigFile) -> Result<Settings, u8> {
    Settings::load(&config.config).map_err(|faults| {
        output::aside(faults.to_string().trim_end());
        exit::CONFIGURATION
    })
}
