//! Punte over a PostgreSQL journal that holds many submissions already, beside another over an empty one in the same server.

use super::{
    Bench,
    full_journal::{Filled, beside_empty, complete_one},
};
use crate::{
    bus::{Installation, InstallationPlan},
    database::{Database, rows},
};
use anyhow::{Context, ensure};
use jiff::Timestamp;
use punte::{process::open_journal_for_command, settings::Settings};
use std::time::Instant;

/// What the submissions are that are there already.
#[derive(Debug, Clone, Copy)]
enum Copies {
    /// As they were when they ended.
    Whole,
    /// Without content and bytes of attempts.
    Erased,
}

pub async fn run(bench: &Bench) -> anyhow::Result<()> {
    let copies = if bench.arguments.slim { Copies::Erased } else { Copies::Whole };
    let mut all = Vec::new();
    for count in std::iter::once(0).chain(bench.arguments.full_journal_rows.iter().copied()) {
        let database = bench.database().await?;
        let plan = InstallationPlan { postgres: Some(&database), ..bench.usual() };
        let installation = Installation::prepare(plan).await?;
        if count > 0 {
            fill(&installation, &database, count, copies).await?;
        }
        all.push(Filled { count, installation });
    }
    let title = "Submissions that are in the journal already, PostgreSQL";
    let figures = beside_empty(bench, "full-journal-postgres", title, &all).await?;
    figures.iter().for_each(|it| bench.report.database_cpu(it));
    Ok(())
}

/// One real submission, and copies of it.
async fn fill(installation: &Installation, database: &Database, count: i64, copies: Copies) -> anyhow::Result<()> {
    complete_one(installation).await?;
    match copies {
        Copies::Whole => {}
        Copies::Erased => erase(installation).await?,
    }
    let begun = Instant::now();
    let bytes = rows::copy_completed(database, count).await?;
    let (seconds, each) = (begun.elapsed().as_secs_f64(), bytes / count);
    eprintln!("{count} submissions written in {seconds:.0} s: {} MiB, {each} bytes each", bytes >> 20);
    Ok(())
}

/// By Punte's own hand, so that it is as Punte leaves it.
async fn erase(installation: &Installation) -> anyhow::Result<()> {
    let settings = Settings::load(&installation.stack.config()).map_err(|faults| anyhow::anyhow!("{faults}"))?;
    let journal = open_journal_for_command(&settings.journal).await.context("the journal")?;
    let now = Timestamp::now();
    let erased = journal.erase_content(now, now).await.context("erasing")?;
    ensure!(erased == 1, "{erased} submissions were erased, where one was meant to be");
    Ok(())
}
