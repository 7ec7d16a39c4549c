//! Consuming one queue for ever: an agency's queue comes in, deliveries go out, through every loss of the connection.

use super::{
    connection::{Wire, answered},
    link::{CALM, Link, Pauses},
    publisher::JOURNAL_HEADER,
    settlement::{Settled, Settlement, give_back},
    topology::Topology,
    words,
};
use crate::{
    broker::{BrokerError, Delivery, Told, WorkItem, after_all_that_is_ready},
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
    pub link: Link,
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
struct Tap {
    channel: Channel,
    consumer: Consumer,
    settle: mpsc::UnboundedSender<Settled>,
    settled: mpsc::UnboundedReceiver<Settled>,
}

impl QueueConsumer {
    /// Consumes until the receiver is closed or the broker's side of this process is.
    pub(super) async fn run(mut self, deliveries: mpsc::Sender<Delivery>) {
        let (mut pauses, told) = (Pauses::new(PAUSE_AT_LEAST, PAUSE_AT_MOST), Told::default());
        loop {
            let wire = tokio::select! {
                () = self.stop.cancelled() => return,
                () = deliveries.closed() => return,
                wire = self.link.wire() => wire,
            };
            let Some(wire) = wire else { return };
            let opened = tokio::select! {
                () = self.stop.cancelled() => return,
                opened = self.open(&wire) => opened,
            };
            let begun = Instant::now();
            let end = match opened {
                Ok(tap) => {
                    pauses.opened();
                    self.pour(tap, &deliveries, &told).await
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
            if told.is_news(&reason.to_string()) {
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
    async fn open(&self, wire: &Wire) -> Result<Tap, BrokerError> {
        self.topology.declare(wire, std::slice::from_ref(&self.agency)).await?;
        let channel = wire.channel().await?;
        answered(channel.basic_qos(self.prefetch, BasicQosOptions::default())).await?;
        let queue = self.topology.names.work_queue(&self.agency, self.priority);
        let options = BasicConsumeOptions::default();
        let consumer = answered(channel.basic_consume(queue, "".into(), options, FieldTable::default())).await?;
        let (settle, settled) = mpsc::unbounded_channel();
        Ok(Tap { channel, consumer, settle, settled })
    }

    async fn pour(&self, mut tap: Tap, deliveries: &mpsc::Sender<Delivery>, told: &Told) -> End {
        let mut idle = std::pin::pin!(sleep(self.renew_after));
        let mut calm = std::pin::pin!(sleep(CALM));
        let mut is_calm = false;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return tap.shut().await,
                () = deliveries.closed() => return tap.drain(&self.stop).await,
                Some(first) = tap.settled.recv() => {
                    let told = tokio::select! {
                        () = self.stop.cancelled() => return tap.shut().await,
                        told = tell(first, &mut tap.settled) => told,
                    };
                    if let Err(error) = told {
                        return End::Lost(error);
                    }
                }
                () = &mut calm, if !is_calm => {
                    is_calm = true;
                    self.is_well(told);
                }
                () = &mut idle => {
                    if tap.in_hand() == 0 {
                        tap.shut().await;
                        return End::Idle;
                    }
                    idle.as_mut().reset(Instant::now() + self.renew_after);
                }
                message = tap.consumer.next() => match message {
                    Some(Ok(message)) => {
                        if let Some(theirs) = self.foreign(&message) {
                            return tap.leave(message.acker, theirs, &self.stop).await;
                        }
                        idle.as_mut().reset(Instant::now() + self.renew_after);
                        let delivery = delivery(message, tap.settle.clone());
                        tokio::select! {
                            () = self.stop.cancelled() => return tap.shut().await,
                            // There is room: the broker gives no more than `prefetch`, and what an earlier connection has
                            // left in the way is settled without this task. A closed receiver drops the delivery, and so
                            // gives it back.
                            _ = deliveries.send(delivery) => {}
                        }
                    }
                    Some(Err(error)) => return End::Lost(words::failure(&error)),
                    // Not an error for lapin: the queue was deleted, or the broker has cancelled the consumer.
                    None => return End::Lost(BrokerError::Unavailable("the broker has ended the consumer".into())),
                },
            }
        }
    }
}

impl QueueConsumer {
    /// It has consumed for a while without any trouble.
    fn is_well(&self, told: &Told) {
        self.topology.findings.fits(&self.thing());
        if told.is_over() {
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

impl Tap {
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
        let all_told = async {
            while let Some(first) = settled.recv().await
                && tell(first, &mut settled).await.is_ok()
            {}
        };
        tokio::select! { () = stop.cancelled() => {}, () = all_told => {} }
        let _ = answered(channel.close(200, "done".into())).await;
    }

    /// The end of a channel gives everything back that was not settled.
    async fn shut(self) -> End {
        let _ = answered(self.channel.close(200, "done".into())).await;
        End::Over
    }
}

/// What else has been settled meanwhile goes to the broker with the first.
async fn tell(first: Settled, settled: &mut mpsc::UnboundedReceiver<Settled>) -> Result<(), BrokerError> {
    after_all_that_is_ready().await;
    let mut all = vec![first];
    while let Ok(more) = settled.try_recv() {
        all.push(more);
    }
    join_all(all.into_iter().map(Settled::tell)).await.into_iter().collect()
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
