//! Publishing: messages come in, what the broker has said about each goes out, in their order.

use super::{
    error_text, names, open_channel::OpenChannel, reconnecting::ReconnectingConnection, restorer::Restorer,
    topology::Topology,
};
use crate::broker::{BrokerError, WorkItem};
use futures_util::future::join_all;
use jiff::Timestamp;
use lapin::{
    BasicProperties, Channel, Confirmation, PublisherConfirm,
    options::BasicPublishOptions,
    types::{AMQPValue, FieldTable, ShortString},
};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::{Instant, timeout_at},
};

/// How many messages may be on their way without a confirm.
const WINDOW: usize = 256;
/// Batches that may wait for their confirms at the same time.
const CHANNELS: usize = 4;
const PERSISTENT: u8 = 2;
/// Whose message it is: the identity of the journal that knows its submission.
pub(super) const JOURNAL_HEADER: &str = "punte-journal";
/// What publishing is called among the findings.
const PUBLISHING: &str = "publishing";

pub(super) struct Publisher {
    reconnecting: ReconnectingConnection,
    topology: Arc<Topology>,
    restorer: Restorer,
    confirm_timeout: Duration,
    /// One batch at a time on each: a returned message must be matched within its own batch.
    channels: [Mutex<OpenChannel>; CHANNELS],
    /// Which channel the next batch waits for if none is free.
    turn: AtomicUsize,
}

impl Publisher {
    pub(super) fn new(
        reconnecting: ReconnectingConnection,
        topology: Arc<Topology>,
        restorer: Restorer,
        confirm_timeout: Duration,
    ) -> Self {
        let channels = std::array::from_fn(|_| Mutex::new(OpenChannel::confirming()));
        let turn = AtomicUsize::new(0);
        Self { reconnecting, topology, restorer, confirm_timeout, channels, turn }
    }

    pub(super) async fn publish(&self, items: &[WorkItem]) -> Vec<Result<(), BrokerError>> {
        let mut slot = self.free_channel().await;
        let mut results = Vec::with_capacity(items.len());
        for window in items.chunks(WINDOW) {
            let deadline = Instant::now() + self.confirm_timeout;
            let window_results = match slot.get(&self.reconnecting).await {
                Ok(channel) => self.publish_window(&channel, window, deadline).await,
                Err(error) => window.iter().map(|_| Err(error.clone())).collect(),
            };
            let is_silent = !window_results.iter().all(is_answer);
            results.extend(window_results);
            if is_silent {
                // Confirms that are still to come would pile up in the channel, and the next window would wait as long.
                slot.forget();
                break;
            }
        }
        let unsent = items.len() - results.len();
        results.extend((0..unsent).map(|_| Err(BrokerError::Unavailable("it has stopped answering".into()))));
        self.note(&results);
        let is_lost = |result: &Result<(), BrokerError>| matches!(result, Err(BrokerError::Unroutable(_)));
        let lost: HashSet<_> =
            items.iter().zip(&results).filter(|(_, it)| is_lost(it)).map(|(it, _)| &it.agency).collect();
        lost.into_iter().for_each(|agency| self.restorer.restore(agency));
        results
    }

    /// A refusal is told once, and whoever asks how the broker is hears of it.
    fn note(&self, results: &[Result<(), BrokerError>]) {
        let refused = results.iter().find_map(|it| it.as_ref().err().filter(|error| error.needs_a_person()));
        match refused {
            // The connection logs why.
            Some(BrokerError::Foreign { .. }) => {}
            Some(error) => {
                self.topology.findings.hinders(PUBLISHING, format!("nothing can be published: {}", error.reason()))
            }
            None if results.iter().any(Result::is_ok) => self.topology.findings.fits(PUBLISHING),
            None => {}
        }
    }

    /// The first by preference, so that a lone publisher opens no more than one.
    async fn free_channel(&self) -> MutexGuard<'_, OpenChannel> {
        if let Some(free) = self.channels.iter().find_map(|channel| channel.try_lock().ok()) {
            return free;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % CHANNELS;
        self.channels[turn].lock().await
    }

    /// Sends the whole window, then waits for its confirms.
    async fn publish_window(
        &self,
        channel: &Channel,
        items: &[WorkItem],
        deadline: Instant,
    ) -> Vec<Result<(), BrokerError>> {
        let sent = join_all(items.iter().map(|item| in_time(deadline, self.send(channel, item)))).await;
        let mut results = Vec::with_capacity(items.len());
        let mut returned = HashSet::new();
        for confirm in sent {
            let confirmed = match confirm {
                Ok(confirm) => in_time(deadline, confirm).await.and_then(|said| accepted(said, &mut returned)),
                Err(error) => Err(error),
            };
            results.push(confirmed);
        }
        // lapin hands a returned message to any confirm of the same acknowledgement, so only its own id says whose it is.
        for (item, result) in items.iter().zip(&mut results) {
            if result.is_ok() && returned.contains(&(item.submission.to_string(), key(item))) {
                *result = Err(BrokerError::Unroutable(item.agency.clone()));
            }
        }
        results
    }

    async fn send(&self, channel: &Channel, item: &WorkItem) -> lapin::Result<PublisherConfirm> {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let exchange = self.topology.names.work_exchange();
        channel.basic_publish(exchange, key(item).into(), options, &item.to_bytes(), self.work_properties(item)).await
    }
}

impl Publisher {
    fn work_properties(&self, item: &WorkItem) -> BasicProperties {
        let (id, trace) = (item.submission.to_string(), item.trace.to_string());
        let mut headers = headers(&trace);
        if let Some(journal) = &self.topology.identity {
            headers.insert(JOURNAL_HEADER.into(), AMQPValue::LongString(journal.as_str().into()));
        }
        properties(id, "punte.work.v1", WorkItem::MEDIA_TYPE, &trace)
            .with_headers(headers)
            .with_timestamp(seconds(Timestamp::now()))
    }
}

fn key(item: &WorkItem) -> String {
    names::work_key(&item.agency, item.priority)
}

async fn in_time<T>(deadline: Instant, step: impl Future<Output = lapin::Result<T>>) -> Result<T, BrokerError> {
    timeout_at(deadline, step)
        .await
        .map_err(|_| BrokerError::NotConfirmed)?
        .map_err(|error| error_text::failure(&error))
}

/// A message without a queue is acknowledged, too: that it came back is noted in `returned`.
fn accepted(said: Confirmation, returned: &mut HashSet<(String, String)>) -> Result<(), BrokerError> {
    let is_ack = said.is_ack();
    if let Some(message) = said.take_message() {
        let id = message.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
        returned.insert((id, message.routing_key.to_string()));
    }
    if is_ack { Ok(()) } else { Err(BrokerError::Unavailable("it has refused the message".into())) }
}

/// Whether the broker has said something about the message, so that the channel can go on.
fn is_answer(result: &Result<(), BrokerError>) -> bool {
    match result {
        Ok(()) | Err(BrokerError::Unroutable(_)) => true,
        Err(
            BrokerError::Unavailable(_)
            | BrokerError::Refused(_)
            | BrokerError::Foreign { .. }
            | BrokerError::NotConfirmed
            | BrokerError::Topology(_)
            | BrokerError::NoMark(_),
        ) => false,
    }
}

pub(super) fn properties(id: String, kind: &str, media_type: &str, trace: &str) -> BasicProperties {
    BasicProperties::default()
        .with_message_id(id.into())
        .with_type(ShortString::from(kind))
        .with_content_type(media_type.into())
        .with_app_id("punte".into())
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers(trace))
}

fn headers(trace: &str) -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString(trace.into()));
    headers
}

pub(super) fn seconds(at: Timestamp) -> u64 {
    u64::try_from(at.as_second()).unwrap_or_default()
}
