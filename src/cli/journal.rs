//! `punte journal`: a backup of the journal is taken or put in place, and an operator says that an earlier state is what
//! there is now.

use super::{
    ConfigFile, exit,
    operator::{Who, check_exists, load_settings, submissions_of},
    output,
};
use crate::{
    broker::{Broker, BrokerError, rabbitmq::Peers},
    domain::Mark,
    journal::{Found, Journal, JournalError, Kept, MarkFile, Restored as Counted, sqlite},
    process::{open_broker, open_journal_without_log},
    settings::{JournalStore, Settings},
};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

#[derive(Args)]
#[command(after_help = "Examples:
  punte journal backup /backup/journal-2026-11-21.db
  punte journal restore /backup/journal-2026-11-21.db
  punte journal restored --by 'A. Operator, ticket 4711'

A journal that is older than what was sent, by whatever way it came back, is noticed by `punte serve`: nothing is sent and
nothing is accepted until `punte journal restored` was run. A journal in PostgreSQL is backed up by PostgreSQL's own means:
deploy/README.md shows how.")]
pub struct JournalCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Take a consistent copy of a SQLite journal, also while Punte runs
    Backup(Backup),
    /// Put a backup of a SQLite journal in its place; what is there is kept beside it
    Restore(Restore),
    /// Say that the journal, which is an earlier state, is what there is now
    Restored(Restored),
}

#[derive(Args)]
struct Backup {
    #[command(flatten)]
    config: ConfigFile,
    /// It must not exist
    file: PathBuf,
}

#[derive(Args)]
struct Restore {
    #[command(flatten)]
    config: ConfigFile,
    /// The backup; it is left as it is
    file: PathBuf,
}

#[derive(Args)]
struct Restored {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    who: Who,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// For the broker to be connected to, and to answer.
const BROKER_PATIENCE: Duration = Duration::from_secs(5);

impl JournalCommand {
    pub fn run(self) -> u8 {
        match self.what {
            What::Backup(backup) => backup.run(),
            What::Restore(restore) => restore.run(),
            What::Restored(restored) => restored.run(),
        }
    }
}

impl Backup {
    fn run(self) -> u8 {
        on_sqlite(&self.config, |path| {
            sqlite::back_up(path, &self.file)?;
            output::line(format_args!("{} is a backup of {}", self.file.display(), path.display()));
            Ok(())
        })
    }
}

impl Restore {
    fn run(self) -> u8 {
        on_sqlite(&self.config, |path| {
            let aside = sqlite::put_in_place(&self.file, path)?;
            if let Some(aside) = aside {
                output::line(format_args!("what was there is kept as {}", aside.display()));
            }
            output::line(format_args!("{} is in place of {}", self.file.display(), path.display()));
            output::line("nothing is sent until you run `punte journal restored`");
            Ok(())
        })
    }
}

fn on_sqlite(config: &ConfigFile, work: impl FnOnce(&Path) -> Result<(), JournalError>) -> u8 {
    let settings = match load_settings(config) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let JournalStore::Sqlite { path } = &settings.journal.store else {
        output::aside(
            "punte: the journal is in PostgreSQL: back it up with pg_dump or a base backup, and restore it with pg_restore; \
             deploy/README.md shows how",
        );
        return exit::FAILED;
    };
    match work(path) {
        Ok(()) => exit::DONE,
        Err(error) => {
            let text = match error {
                // It is about files, and not about a server.
                JournalError::Unavailable(text) => text,
                error => error.to_string(),
            };
            output::aside(format_args!("punte: {text}"));
            exit::FAILED
        }
    }
}

impl Restored {
    fn run(self) -> u8 {
        let settings = match load_settings(&self.config) {
            Ok(settings) => settings,
            Err(code) => return code,
        };
        if let Err(code) = check_exists(&settings) {
            return code;
        }
        let format = output::Format::from_flag(self.json);
        match super::block_on(confirm(&settings, &self.who.name())) {
            Ok(Ok(counted)) => {
                report(&counted, format);
                exit::DONE
            }
            Ok(Err(error)) => {
                output::aside(format_args!("punte: {error}"));
                exit::FAILED
            }
            Err(code) => code,
        }
    }
}

async fn confirm(settings: &Settings, by: &str) -> Result<Counted, String> {
    let in_words = |error: JournalError| error.to_string();
    let journal = open_journal_without_log(&settings.journal).await.map_err(|error| error.to_string())?;
    let now = Timestamp::now();
    let counted = submissions_of(&journal).restored(by).await.map_err(in_words)?;
    let file = MarkFile::open(&settings.folders.data);
    let found = file.as_ref().map(MarkFile::find).unwrap_or_default();
    let broker = asked(settings, &journal).await;
    let in_broker = broker.as_ref().and_then(|(_, mark)| mark.as_ref());
    let latest = latest(&found, in_broker, now);
    let mark = journal.confirm_mark(latest).await.map_err(in_words)?;
    if found.kept.is_empty() || !found.unreadable.is_empty() {
        let kept = Kept { mark: mark.clone(), sent_before_restore: Some(latest) };
        if let Err(error) = file.and_then(|file| file.replace(&found, &kept)) {
            output::aside(format_args!(
                "the copy of the journal's mark in {} cannot be written ({error}): run this as the user that runs Punte",
                settings.folders.data.display()
            ));
        }
    }
    if let Some((broker, in_broker)) = broker {
        // Processes on other machines find it there.
        if in_broker.is_none() && broker.keeps_marks() {
            let _ = broker.keep_mark(&mark).await;
        }
        broker.close().await;
    }
    Ok(counted)
}

/// Over everything that can be known, should a clock have been set back meanwhile.
fn latest(found: &Found, in_broker: Option<&Mark>, now: Timestamp) -> Timestamp {
    let copies = found.kept.iter().map(|(_, kept)| kept.mark.at).chain(in_broker.map(|mark| mark.at));
    let spoilt = found.unreadable.iter().filter_map(|it| it.changed_at);
    let known = copies.chain(spoilt).max().and_then(|at| at.checked_add(A_MOMENT).ok());
    known.map_or(now, |known| known.max(now))
}

const A_MOMENT: SignedDuration = SignedDuration::from_micros(1);

/// The broker, if it answers, and its copy of the mark.
async fn asked(settings: &Settings, journal: &Arc<dyn Journal>) -> Option<(Arc<dyn Broker>, Option<Mark>)> {
    let identity = journal.identity().await.ok()?;
    let broker = open_broker(&settings.broker, identity, Peers::Told, Timestamp::now()).ok()?;
    let begun = tokio::time::Instant::now();
    loop {
        match broker.mark().await {
            Ok(found) => return Some((broker, found)),
            Err(BrokerError::NoMark(_)) => return Some((broker, None)),
            Err(_) if begun.elapsed() < BROKER_PATIENCE => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => {
                output::aside(format_args!("the broker was not asked: {error}"));
                broker.close().await;
                return None;
            }
        }
    }
}

fn report(counted: &Counted, format: output::Format) {
    let Counted { uncertain, asked_first, parked, as_before } = counted;
    if format == output::Format::Json {
        return output::json(&serde_json::json!({
            "uncertain": uncertain, "asked_first": asked_first, "parked": parked, "as_before": as_before,
        }));
    }
    output::line("the journal is taken as it is, and Punte goes on with it:");
    let line = |count: &u64, of_one: &str, of_several: &str| match count {
        1 => output::line(format_args!("1 submission {of_one}")),
        _ => output::line(format_args!("{count} submissions {of_several}")),
    };
    line(
        uncertain,
        "is uncertain: it may have been sent since, and an operator decides",
        "are uncertain: they may have been sent since, and an operator decides",
    );
    line(asked_first, "is asked about before anything is sent", "are asked about before anything is sent");
    line(
        parked,
        "waits for an operator as before, and may have been replayed since",
        "wait for an operator as before, and may have been replayed since",
    );
    line(
        as_before,
        "goes on: its agency recognises a repeat, or nothing is changed by it",
        "go on: their agencies recognise a repeat, or nothing is changed by it",
    );
    output::line(
        "what was accepted after this state is not in the journal: an office that sends such a request again has it done again",
    );
}
