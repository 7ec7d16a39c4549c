//! Many submissions wait in the journal when Punte starts: how quickly they are through, beside how quickly clients who
//! wait are served by the same Punte afterwards.

use super::Bench;
use crate::{
    bus::Installation,
    figures::rounded,
    interleaved::Subject,
    journal_rows,
    load_client::{Run, ask},
};
use anyhow::ensure;
use serde_json::json;
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// How long no answer may be given before something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn run(bench: &Bench) -> anyhow::Result<()> {
    let count = bench.arguments.backlog;
    let installation = Installation::prepare(bench.usual()).await?;
    let punte = installation.open().await?;
    ask(&installation.question(&punte)?, Run::TRIAL, || ()).await?;
    drop(punte);
    let journal = installation.journal();
    tokio::task::spawn_blocking(move || journal_rows::copy_as_accepted(&journal, count)).await??;
    installation.agency.stock_up(usize::try_from(count)? + usize::try_from(count / 50)?).await?;

    let answered = &installation.agency.state.answered;
    let before = answered.load(Ordering::Relaxed);
    let begun = Instant::now();
    let punte = installation.open().await?;
    let (mut seen, mut changed) = (0_i64, Instant::now());
    while seen < count {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = i64::try_from(answered.load(Ordering::Relaxed) - before)?;
        if now != seen {
            (seen, changed) = (now, Instant::now());
        }
        ensure!(changed.elapsed() < PATIENCE, "only {seen} of {count} submissions have gone out");
    }
    let seconds = begun.elapsed().as_secs_f64();
    let usage = punte.usage()?;
    until_completed(&installation, count).await?;
    let asked = answered.load(Ordering::Relaxed) - before;

    bench.report.title(&format!("A backlog of {count} submissions, and clients who wait afterwards"));
    let subjects = [Subject::punte("waiting clients", &punte, &installation)?];
    let figures = bench.rules("backlog").interleaved(&subjects, bench.most_clients()).await?;
    figures.iter().for_each(|it| bench.report.figures(it));
    let (rate, waiting) = (count as f64 / seconds, figures.first().map_or(0.0, |it| it.median.per_second));
    let (cpu_ms, peak) = (usage.cpu_ms / count as f64, usage.peak_mib);
    bench.report.note(
        &format!(
            "         drained in {seconds:.1} s, the start included: {rate:.0}/s, {:.2} of the rate of waiting clients; \
             {cpu_ms:.3} CPU-ms each, peak {peak:.0} MiB; the agency was asked {asked} times",
            rate / waiting
        ),
        json!({
            "scenario": "backlog",
            "subject": "backlog",
            "submissions": count,
            "seconds": rounded(seconds, 2),
            "drained_per_second": rounded(rate, 1),
            "of_waiting_clients": rounded(rate / waiting, 3),
            "cpu_ms_per_request": rounded(cpu_ms, 3),
            "peak_mib": rounded(peak, 1),
            "agency_was_asked": asked,
        }),
    );
    Ok(())
}

/// The last answers still have to be written down.
async fn until_completed(installation: &Installation, count: i64) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let journal = installation.journal();
        let completed = tokio::task::spawn_blocking(move || journal_rows::completed(&journal)).await??;
        if completed > count {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "only {completed} of {count} submissions are completed");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
