//! Punte over a journal that holds many submissions already, beside another over an empty one.

use super::Bench;
use crate::{
    bus::Installation,
    interleaved::Subject,
    journal_rows,
    load_client::{Run, ask},
};
use std::time::Instant;

pub async fn run(bench: &Bench) -> anyhow::Result<()> {
    let rows = bench.arguments.full_journal_rows.clone();
    let mut installations = vec![Installation::prepare(bench.usual()).await?];
    for count in &rows {
        let installation = Installation::prepare(bench.usual()).await?;
        fill(&installation, *count).await?;
        installations.push(installation);
    }
    let mut punte = Vec::new();
    for installation in &installations {
        punte.push(installation.open().await?);
    }
    let names: Vec<_> = std::iter::once(&0).chain(&rows).map(|count| name(*count)).collect();
    let subjects = installations
        .iter()
        .zip(&punte)
        .zip(&names)
        .map(|((installation, punte), name)| Subject::punte(name, punte, installation))
        .collect::<anyhow::Result<Vec<_>>>()?;
    bench.report.title("Submissions that are in the journal already");
    let figures = bench.rules("full-journal").interleaved(&subjects, bench.some_clients()).await?;
    figures.iter().for_each(|it| bench.report.figures(it));
    if let Some((empty, full)) = figures.split_first() {
        full.iter().for_each(|it| bench.report.ratio(it, empty));
    }
    Ok(())
}

/// One real submission, and copies of it.
async fn fill(installation: &Installation, count: i64) -> anyhow::Result<()> {
    let punte = installation.open().await?;
    installation.agency.stock_up(8).await?;
    ask(&installation.question(&punte)?, Run::TRIAL, || ()).await?;
    drop(punte);
    let (journal, begun) = (installation.journal(), Instant::now());
    tokio::task::spawn_blocking(move || journal_rows::copy_completed(&journal, count)).await??;
    eprintln!("{count} submissions written in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Names of subjects live as long as the program.
fn name(count: i64) -> &'static str {
    format!("{count} there").leak()
}
