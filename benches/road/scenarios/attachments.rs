//! Large attachments, several at once: how much memory Punte takes while they are uploaded, and while submissions with one
//! each are sent.

use super::Bench;
use crate::{
    bus::{Installation, request},
    figures::rounded,
    load_client::Question,
    process::Usage,
    roles::Punte,
    upload,
};
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const AT_ONCE: usize = 8;
/// What was freed is given back, and what is written is written.
const REST: Duration = Duration::from_millis(500);

pub async fn run(bench: &Bench) -> anyhow::Result<()> {
    let (count, mib) = (bench.arguments.attachments, bench.arguments.attachment_mib);
    let installation = Installation::prepare(bench.usual()).await?;
    let punte = installation.open().await?;
    installation.agency.stock_up(count + 2).await?;
    let question = installation.question(&punte)?;
    let file: Arc<[u8]> = [b"%PDF-".as_slice(), &vec![b'x'; (mib << 20) - 5]].concat().into();
    // What the first of a kind takes for good is no growth.
    let first = upload::upload(&question, &file).await?;
    upload::submit(&question, request(&installation.services()[0], Some(&first))).await?;
    if !bench.report.is_json {
        println!("\n{count} attachments of {mib} MiB, {AT_ONCE} at once");
    }

    let before = rest(&punte).await?;
    let begun = Instant::now();
    let uploaded = at_once(count, |_| {
        let (question, file) = (question.clone(), file.clone());
        async move { upload::upload(&question, &file).await }
    })
    .await?;
    tell(bench, &punte, "uploaded", before, begun)?;

    let before = rest(&punte).await?;
    let begun = Instant::now();
    let service = installation.services()[0].clone();
    at_once(count, |number| {
        let request = request(&service, Some(&uploaded[number]));
        let question: Question = question.clone();
        async move { upload::submit(&question, request).await }
    })
    .await?;
    tell(bench, &punte, "submitted", before, begun)
}

async fn rest(punte: &Punte) -> anyhow::Result<Usage> {
    tokio::time::sleep(REST).await;
    punte.forget_peak();
    punte.usage()
}

/// All results, in their order.
async fn at_once<T, F>(count: usize, work: impl Fn(usize) -> F) -> anyhow::Result<Vec<T>>
where
    F: Future<Output = anyhow::Result<T>>,
{
    use futures_util::{StreamExt, TryStreamExt};
    futures_util::stream::iter((0..count).map(work)).buffered(AT_ONCE).try_collect::<Vec<_>>().await
}

fn tell(bench: &Bench, punte: &Punte, what: &'static str, before: Usage, begun: Instant) -> anyhow::Result<()> {
    let (usage, seconds) = (punte.usage()?, begun.elapsed().as_secs_f64());
    let (count, mib) = (bench.arguments.attachments, bench.arguments.attachment_mib);
    let rate = (count * mib) as f64 / seconds;
    let cpu_ms = (usage.cpu_ms - before.cpu_ms) / count as f64;
    let text = format!(
        "  {what:<10} {rate:>6.0} MiB/s, {cpu_ms:.0} CPU-ms each; resident {:.0} MiB before, peak {:.0} MiB, {:.0} MiB after",
        before.resident_mib, usage.peak_mib, usage.resident_mib
    );
    let value = json!({
        "scenario": "attachments",
        "subject": what,
        "attachments": count,
        "mib_each": mib,
        "at_once": AT_ONCE,
        "mib_per_second": rounded(rate, 1),
        "cpu_ms_each": rounded(cpu_ms, 1),
        "resident_before_mib": rounded(before.resident_mib, 1),
        "peak_mib": rounded(usage.peak_mib, 1),
        "resident_after_mib": rounded(usage.resident_mib, 1),
    });
    bench.report.note(&text, value);
    Ok(())
}
