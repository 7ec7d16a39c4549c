//! Punte over a journal that holds many submissions already, beside another over an empty one.

use super::Bench;
use crate::{
    bus::Installation,
    figures::Figures,
    interleaved::Subject,
    journal_rows,
    load_client::{Run, ask},
};
use std::time::Instant;

/// An installation with so many submissions.
pub struct Filled {
    pub count: i64,
    pub installation: Installation,
}

pub async fn run(bench: &Bench) -> anyhow::Result<()> {
    let mut all = vec![Filled { count: 0, installation: Installation::prepare(bench.usual()).await? }];
    for count in bench.arguments.full_journal_rows.iter().copied() {
        let installation = Installation::prepare(bench.usual()).await?;
        fill(&installation, count).await?;
        all.push(Filled { count, installation });
    }
    beside_empty(bench, "full-journal", "Submissions that are in the journal already", &all).await?;
    Ok(())
}

/// The first is empty.
pub async fn beside_empty(
    bench: &Bench,
    scenario: &'static str,
    title: &str,
    all: &[Filled],
) -> anyhow::Result<Vec<Figures>> {
    let mut punte = Vec::new();
    for Filled { installation, .. } in all {
        punte.push(installation.open().await?);
    }
    let subjects = all
        .iter()
        .zip(&punte)
        .map(|(filled, punte)| Subject::punte(name(filled.count), punte, &filled.installation))
        .collect::<anyhow::Result<Vec<_>>>()?;
    bench.report.title(title);
    let figures = bench.rules(scenario).interleaved(&subjects, bench.some_clients()).await?;
    figures.iter().for_each(|it| bench.report.figures(it));
    if let Some((empty, full)) = figures.split_first() {
        full.iter().for_each(|it| bench.report.ratio(it, empty));
    }
    Ok(figures)
}

/// One real submission goes the whole way, and Punte ends.
pub async fn complete_one(installation: &Installation) -> anyhow::Result<()> {
    let punte = installation.open().await?;
    installation.agency.stock_up(8).await?;
    ask(&installation.question(&punte)?, Run::TRIAL, || ()).await?;
    Ok(())
}

/// One real submission, and copies of it.
async fn fill(installation: &Installation, count: i64) -> anyhow::Result<()> {
    complete_one(installation).await?;
    let (journal, begun) = (installation.journal(), Instant::now());
    tokio::task::spawn_blocking(move || journal_rows::copy_completed(&journal, count)).await??;
    eprintln!("{count} submissions written in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Names of subjects live as long as the program.
fn name(count: i64) -> &'static str {
    format!("{count} there").leak()
}
