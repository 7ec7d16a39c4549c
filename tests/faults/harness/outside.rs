//! What can be seen from outside the processes: the journal through its own reading, the broker's queues through AMQP.

use super::checker::{Queue, Seen};
use futures_util::{StreamExt, TryStreamExt, stream};
use lapin::{Channel, options::QueueDeclareOptions, types::FieldTable};
use punte::{
    broker::rabbitmq::names::Names,
    domain::{AgencyName, Priority},
    journal::{Journal, JournalError, ListFilter, Record},
    roles::open_journal,
    settings::{BrokerSettings, Settings},
};
use std::{path::Path, sync::Arc};

const PAGE: u32 = 1000;
const AT_ONCE: usize = 8;

/// Opened beside the processes that work with it.
pub async fn journal(config: &Path) -> Arc<dyn Journal> {
    let settings = Settings::load(config).unwrap_or_else(|faults| panic!("{faults}"));
    open_journal(&settings.journal).await.unwrap()
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
    Ok(Seen {
        id: submission.id.to_string(),
        service: submission.service.to_string(),
        effect: submission.effect,
        accepted_at: submission.accepted_at,
        expires_at: submission.expires_at,
        changed_at,
        progress,
        timeline: journal.timeline(submission.id).await?,
        attempts: journal.attempts(submission.id).await?,
    })
}

/// How many messages wait in each queue. None of the embedded broker, which lives inside the process.
pub async fn queues<'a>(config: &Path, agencies: impl Iterator<Item = &'a AgencyName>) -> Vec<Queue> {
    let settings = Settings::load(config).unwrap_or_else(|faults| panic!("{faults}"));
    let BrokerSettings::Rabbitmq(place) = &settings.broker else { return Vec::new() };
    let names = Names::new(&place.prefix).unwrap();
    let connection = lapin::Connection::connect(place.uri.reveal(), Default::default()).await.unwrap();
    let mut queues = Vec::new();
    for agency in agencies {
        let channel = connection.create_channel().await.unwrap();
        let work = [Priority::Ordinary, Priority::Urgent].map(|priority| names.work_queue(agency, priority));
        for name in work.into_iter().chain([names.dead_queue(agency)]) {
            queues.push(Queue { messages: depth(&channel, &name).await, name: name.to_string(), explained: 0 });
        }
    }
    let _ = connection.close(200, "done".into()).await;
    queues
}

async fn depth(channel: &Channel, queue: &lapin::types::ShortString) -> u64 {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = channel.queue_declare(queue.clone(), options, FieldTable::default()).await;
    declared.map_or(0, |queue| queue.message_count().into())
}
