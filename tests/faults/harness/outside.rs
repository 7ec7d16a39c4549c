//! What can be seen from outside the processes: the journal through its own reading, the broker's queues through AMQP.

use super::{
    PATIENCE,
    checker::{Letter, Queue, Seen},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use lapin::{
    Channel,
    message::Delivery,
    options::{BasicGetOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use punte::{
    broker::{WorkItem, rabbitmq::names::Names},
    domain::{AgencyName, Priority},
    journal::{Journal, JournalError, ListFilter, Record},
    process::open_journal_for_command,
    settings::{BrokerSettings, Settings},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};
use tokio::time::{sleep, timeout};

const PAGE: u32 = 1000;
const AT_ONCE: usize = 8;
/// RabbitMQ counts every five seconds what a queue's consumers have not settled.
const COUNTED_ANEW: Duration = Duration::from_secs(6);

/// What a process says of its health.
pub async fn health(port: u16) -> Option<(u16, serde_json::Value)> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    let answer = client.get(format!("http://127.0.0.1:{port}/healthz/ready")).send().await.ok()?;
    Some((answer.status().as_u16(), serde_json::from_str(&answer.text().await.ok()?).ok()?))
}

/// Opened beside the processes that work with it.
pub async fn journal(config: &Path) -> Arc<dyn Journal> {
    let settings = Settings::load(config).unwrap_or_else(|faults| panic!("{faults}"));
    open_journal_for_command(&settings.journal).await.unwrap()
}

/// How many submissions have neither ended nor come in front of an operator.
pub async fn under_way(journal: &Arc<dyn Journal>) -> Result<u64, JournalError> {
    let counts = journal.counts().await?;
    Ok(counts.iter().filter(|count| !count.state.is_settled()).map(|count| count.count).sum())
}

/// Every submission, newest first.
pub async fn everything(journal: &Arc<dyn Journal>) -> Result<Vec<Seen>, JournalError> {
    let (mut filter, mut all) = (ListFilter::default(), Vec::new());
    loop {
        let page = journal.list(&filter, PAGE).await?;
        filter.before = page.last().map(|record| record.submission.id);
        let is_last = page.len() < PAGE as usize;
        let seen = stream::iter(page).map(|record| seen(journal, record)).buffered(AT_ONCE);
        all.extend(seen.try_collect::<Vec<_>>().await?);
        if is_last {
            return Ok(all);
        }
    }
}

async fn seen(journal: &Arc<dyn Journal>, record: Record) -> Result<Seen, JournalError> {
    let Record { submission, progress, changed_at, .. } = record;
    let mut attempts = journal.attempts(submission.id).await?;
    // Of a million submissions they would fill the memory.
    attempts.iter_mut().for_each(|attempt| attempt.wire = None);
    Ok(Seen {
        id: submission.id.to_string(),
        service: submission.service.to_string(),
        effect: submission.effect,
        accepted_at: submission.accepted_at,
        expires_at: submission.expires_at,
        changed_at,
        progress,
        timeline: journal.timeline(submission.id).await?,
        attempts,
    })
}

/// What is in each queue, and how often RabbitMQ delivers a message. None of the embedded broker, which lives inside the
/// process.
pub async fn queues<'a>(config: &Path, agencies: impl Iterator<Item = &'a AgencyName>) -> (Vec<Queue>, u64) {
    let settings = Settings::load(config).unwrap_or_else(|faults| panic!("{faults}"));
    let BrokerSettings::Rabbitmq(place) = &settings.broker else { return (Vec::new(), 0) };
    let names = Names::new(&place.prefix).unwrap();
    let counted = counted(place.uri.reveal()).await;
    let connection = answered(lapin::Connection::connect(place.uri.reveal(), Default::default())).await.unwrap();
    let mut queues = Vec::new();
    for agency in agencies {
        // What is read is not settled, so that the end of the channel puts it back.
        let channel = answered(connection.create_channel()).await.unwrap();
        for name in Priority::ALL.map(|priority| names.work_queue(agency, priority)) {
            let messages = depth(&channel, &name, counted.as_ref()).await;
            queues.push(Queue { name: name.to_string(), messages, explained: 0, letters: Vec::new() });
        }
        let name = names.dead_queue(agency);
        let messages = depth(&channel, &name, counted.as_ref()).await;
        let mut letters = Vec::new();
        while let Some(message) = next(&channel, &name).await {
            letters.push(letter(&message));
        }
        queues.push(Queue { name: name.to_string(), messages, explained: 0, letters });
        let _ = answered(channel.close(200, "done".into())).await;
    }
    let _ = answered(connection.close(200, "done".into())).await;
    (queues, place.delivery_limit.into())
}

/// A queue that is missing would look empty: that is an error.
async fn depth(channel: &Channel, queue: &ShortString, counted: Option<&BTreeMap<String, u64>>) -> u64 {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = answered(channel.queue_declare(queue.clone(), options, FieldTable::default())).await;
    let ready = u64::from(declared.unwrap_or_else(|error| panic!("{queue}: {error}")).message_count());
    let Some(counted) = counted else { return ready };
    let all = counted.get(queue.as_str()).unwrap_or_else(|| panic!("{queue} is not among {counted:?}"));
    ready.max(*all)
}

/// All messages of each queue, by its name: AMQP does not tell of those that a consumer holds. Known of the suite's own
/// node alone, because the folder of another one is its test's.
async fn counted(uri: &str) -> Option<BTreeMap<String, u64>> {
    let folder = suites_node(uri)?;
    sleep(COUNTED_ANEW).await;
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/services/rabbitmq"));
    command.arg("ctl").arg(folder).args(["list_queues", "--silent", "--no-table-headers", "name", "messages"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).unwrap();
    let count = |line: &str| {
        let (name, all) = line.split_once('\t')?;
        Some((name.to_owned(), all.trim().parse::<u64>().ok()?))
    };
    Some(listed.lines().filter_map(count).collect())
}

/// Its certificates lie in its folder.
fn suites_node(uri: &str) -> Option<PathBuf> {
    let is_suites = std::env::var("PUNTE_TEST_AMQP_URL").is_ok_and(|suites| suites == uri);
    let authority = std::env::var("PUNTE_TEST_AMQPS_CA").ok().filter(|_| is_suites)?;
    Path::new(&authority).ancestors().nth(2).map(Path::to_path_buf)
}

async fn next(channel: &Channel, queue: &ShortString) -> Option<Delivery> {
    let got = answered(channel.basic_get(queue.clone(), BasicGetOptions::default())).await;
    got.ok().flatten().map(|message| message.delivery)
}

fn letter(message: &Delivery) -> Letter {
    let headers = message.properties.headers().as_ref();
    let reason = headers.and_then(|headers| headers.inner().get("x-first-death-reason"));
    Letter {
        submission: WorkItem::from_bytes(&message.data).ok().map(|item| item.submission.to_string()),
        came_too_often: matches!(reason, Some(AMQPValue::LongString(it)) if it.as_bytes() == b"delivery_limit"),
    }
}

/// A broker that never answers fails the test; it does not hang it.
async fn answered<T>(method: impl Future<Output = lapin::Result<T>>) -> lapin::Result<T> {
    timeout(PATIENCE, method).await.expect("RabbitMQ does not answer")
}
