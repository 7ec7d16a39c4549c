//! Consuming one queue for ever: an agency's queue comes in, deliveries go out, through every loss of the connection.

use super::{
    connection::{AmqpConnection, answered},
    error_text,
    publisher::JOURNAL_HEADER,
    reconnecting::{CALM, Pauses, ReconnectingConnection},
    settlement::{Settled, Settlement, give_back},
    topology::Topology,
};
use crate::{
    broker::{BrokerError, Delivery, LogOnce, WorkItem, yield_to_ready_tasks},
    domain::{AgencyName, Priority},
};
use futures_util::{StreamExt, future::join_all};
use lapin::{
    Acker, Channel, Consumer,
    message::Delivery as Message,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

const PAUSE_AT_LEAST: Duration = Duration::from_millis(100);
const PAUSE_AT_MOST: Duration = Duration::from_secs(3);

/// One queue to consume.
pub(super) struct QueueConsumer {
    pub reconnecting: ReconnectingConnection,
    pub topology: Arc<Topology>,
    pub agency: AgencyName,
    pub priority: Priority,
    pub prefetch: u16,
    /// When a quorum queue is deleted and made again at once, RabbitMQ 3.10 moves its consumers to the new queue, counts
    /// them there, and never delivers to them. Only a new consumer helps, and an idle one has nothing to lose.
    pub renew_after: Duration,
    pub stop: CancellationToken,
}

enum End {
    /// Nobody wants deliveries any more.
    Over,
    /// Nothing has come for long: begin again.
    Idle,
    /// The channel or the consumer is gone: begin again.
    Lost(BrokerError),
}

/// A consumer on its own channel, and the way back for what became of its deliveries.
struct OpenConsumer {
    channel: Channel,
    consumer: Consumer,
    settle: mpsc::UnboundedSender<Settled>,
    settled: mpsc::UnboundedReceiver<Settled>,
}

impl QueueConsumer {
    /// Consumes until the receiver is closed or the broker's side of this process is.
    pub(super) async fn run(mut self, deliveries: mpsc::Sender<Delivery>) {
        let (mut pauses, log_once) = (Pauses::new(PAUSE_AT_LEAST, PAUSE_AT_MOST), LogOnce::default());
        loop {
            let connection = tokio::select! {
                () = self.stop.cancelled() => return,
                () = deliveries.closed() => return,
                connection = self.reconnecting.wait_until_open() => connection,
            };
            let Some(connection) = connection else { return };
            let opened = tokio::select! {
                () = self.stop.cancelled() => return,
                opened = self.open(&connection) => opened,
            };
            let begun = Instant::now();
            let end = match opened {
                Ok(open) => {
                    pauses.opened();
                    self.forward_deliveries(open, &deliveries, &log_once).await
                }
                Err(error) => End::Lost(error),
            };
            if begun.elapsed() >= CALM {
                pauses.reset();
            }
            let reason = match end {
                End::Over => return,
                End::Idle => continue,
                End::Lost(reason) => reason,
            };
            if log_once.should_log(&reason.to_string()) {
                tracing::warn!(agency = %self.agency, priority = ?self.priority, %reason, "consumer lost; starting again");
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = deliveries.closed() => return,
                () = sleep(pauses.after(&reason)) => {}
            }
        }
    }

    /// Declares first: the queue may be what was lost.
    async fn open(&self, connection: &AmqpConnection) -> Result<OpenConsumer, BrokerError> {
        self.topology.declare(connection, std::slice::from_ref(&self.agency)).await?;
        let channel = connection.channel().await?;
        answered(channel.basic_qos(self.prefetch, BasicQosOptions::default())).await?;
        let queue = self.topology.names.work_queue(&self.agency, self.priority);
        let options = BasicConsumeOptions::default();
        let consumer = answered(channel.basic_consume(queue, "".into(), options, FieldTable::default())).await?;
        let (settle, settled) = mpsc::unbounded_channel();
        Ok(OpenConsumer { channel, consumer, settle, settled })
    }

    async fn forward_deliveries(
        &self,
        mut open: OpenConsumer,
        deliveries: &mpsc::Sender<Delivery>,
        log_once: &LogOnce,
    ) -> End {
        let mut idle = std::pin::pin!(sleep(self.renew_after));
        let mut calm = std::pin::pin!(sleep(CALM));
        let mut is_calm = false;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return open.shut().await,
                () = deliveries.closed() => return open.drain(&self.stop).await,
                Some(first) = open.settled.recv() => {
                    let sent = tokio::select! {
                        () = self.stop.cancelled() => return open.shut().await,
                        sent = send_settlements(first, &mut open.settled) => sent,
                    };
                    if let Err(error) = sent {
                        return End::Lost(error);
                    }
                }
                () = &mut calm, if !is_calm => {
                    is_calm = true;
                    self.is_well(log_once);
                }
                () = &mut idle => {
                    if open.in_hand() == 0 {
                        open.shut().await;
                        return End::Idle;
                    }
                    idle.as_mut().reset(Instant::now() + self.renew_after);
                }
                message = open.consumer.next() => match message {
                    Some(Ok(message)) => {
                        if let Some(theirs) = self.foreign(&message) {
                            return open.leave(message.acker, theirs, &self.stop).await;
                        }
                        idle.as_mut().reset(Instant::now() + self.renew_after);
                        let delivery = delivery(message, open.settle.clone());
                        tokio::select! {
                            () = self.stop.cancelled() => return open.shut().await,
                            // There is room: the broker gives no more than `prefetch`, and what an earlier connection has
                            // left in the way is settled without this task. A closed receiver drops the delivery, and so
                            // gives it back.
                            _ = deliveries.send(delivery) => {}
                        }
                    }
                    Some(Err(error)) => return End::Lost(error_text::failure(&error)),
                    // Not an error for lapin: the queue was deleted, or the broker has cancelled the consumer.
                    None => return End::Lost(BrokerError::Unavailable("the broker has ended the consumer".into())),
                },
            }
        }
    }
}

impl QueueConsumer {
    /// It has consumed for a while without any trouble.
    fn is_well(&self, log_once: &LogOnce) {
        self.topology.findings.fits(&self.thing());
        if log_once.reset() {
            tracing::info!(agency = %self.agency, priority = ?self.priority, "consuming again");
        }
    }

    /// Another journal's message. One without a name is of a release that wrote none.
    fn foreign(&self, message: &Message) -> Option<BrokerError> {
        let ours = self.topology.identity.as_ref()?;
        let headers = message.properties.headers().as_ref()?;
        let Some(AMQPValue::LongString(theirs)) = headers.inner().get(JOURNAL_HEADER) else { return None };
        let theirs = String::from_utf8_lossy(theirs.as_bytes()).into_owned();
        if theirs == *ours {
            return None;
        }
        let error = self.topology.foreign(&theirs, ours);
        self.topology.findings.hinders(&self.thing(), error.to_string());
        Some(error)
    }

    fn thing(&self) -> String {
        format!("messages of {}", self.topology.names.work_queue(&self.agency, self.priority))
    }
}

impl OpenConsumer {
    /// Gives another installation's message back untouched, after the consumer has ended, so that its owner gets it.
    async fn leave(self, theirs: Acker, reason: BrokerError, stop: &CancellationToken) -> End {
        let tag = self.consumer.tag();
        let cancelled = answered(self.channel.basic_cancel(tag, BasicCancelOptions::default())).await;
        if cancelled.is_ok() && give_back(&theirs).await.is_ok() {
            self.finish(stop).await;
        }
        End::Lost(reason)
    }

    /// Deliveries that a worker has, or could have, taken and not settled.
    fn in_hand(&self) -> usize {
        self.settle.strong_count().saturating_sub(1)
    }

    /// Takes nothing new, gives back what is on its way, and waits until everything in a worker's hands is settled.
    async fn drain(self, stop: &CancellationToken) -> End {
        let tag = self.consumer.tag();
        if answered(self.channel.basic_cancel(tag, BasicCancelOptions::default())).await.is_ok() {
            self.finish(stop).await;
        }
        End::Over
    }

    /// Once the consumer is cancelled.
    async fn finish(self, stop: &CancellationToken) {
        let Self { channel, mut consumer, settle, mut settled } = self;
        while let Some(Ok(message)) = consumer.next().await {
            if give_back(&message.acker).await.is_err() {
                return;
            }
        }
        drop(settle);
        let all_sent = async {
            while let Some(first) = settled.recv().await
                && send_settlements(first, &mut settled).await.is_ok()
            {}
        };
        tokio::select! { () = stop.cancelled() => {}, () = all_sent => {} }
        let _ = answered(channel.close(200, "done".into())).await;
    }

    /// The end of a channel gives everything back that was not settled.
    async fn shut(self) -> End {
        let _ = answered(self.channel.close(200, "done".into())).await;
        End::Over
    }
}

/// What else has been settled meanwhile goes to the broker with the first.
async fn send_settlements(first: Settled, settled: &mut mpsc::UnboundedReceiver<Settled>) -> Result<(), BrokerError> {
    yield_to_ready_tasks().await;
    let mut all = vec![first];
    while let Ok(more) = settled.try_recv() {
        all.push(more);
    }
    join_all(all.into_iter().map(Settled::send)).await.into_iter().collect()
}

fn delivery(message: Message, settle: mpsc::UnboundedSender<Settled>) -> Delivery {
    let redeliveries = redeliveries(&message);
    let item = WorkItem::from_bytes(&message.data);
    Delivery { item, redeliveries, settle: Box::new(Settlement::new(message.acker, settle)) }
}

/// Quorum queues count in a header, which is missing at the first delivery.
fn redeliveries(message: &Message) -> u32 {
    let headers = message.properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get("x-delivery-count")) {
        Some(AMQPValue::LongLongInt(count)) => u32::try_from(*count).unwrap_or(u32::MAX),
        Some(AMQPValue::LongInt(count)) => u32::try_from(*count).unwrap_or_default(),
        Some(AMQPValue::LongUInt(count)) => *count,
        Some(AMQPValue::ShortUInt(count)) => (*count).into(),
        Some(AMQPValue::ShortShortUInt(count)) => (*count).into(),
        _ => u32::from(message.redelivered),
    }
}
