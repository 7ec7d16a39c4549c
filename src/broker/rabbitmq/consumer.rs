//! Consuming one queue for ever: an agency's queue comes in, deliveries go out, through every loss of the connection.

use super::{
    connection::{Wire, answered, unavailable},
    link::{Link, pauses},
    settlement::Settlement,
    topology::Topology,
};
use crate::{
    broker::{BrokerError, Delivery, WorkItem},
    domain::{AgencyName, Priority},
};
use backoff::backoff::Backoff;
use futures_util::StreamExt;
use lapin::{
    Acker, Channel, Consumer,
    message::Delivery as Message,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions},
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
pub(super) struct Lane {
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

/// A consumer on its own channel, and the way back for what was not settled.
struct Tap {
    channel: Channel,
    consumer: Consumer,
    give_back: mpsc::UnboundedSender<Acker>,
    given_back: mpsc::UnboundedReceiver<Acker>,
}

impl Lane {
    /// Consumes until the receiver is closed or the broker's side of this process is.
    pub(super) async fn run(mut self, deliveries: mpsc::Sender<Delivery>) {
        let mut pauses = pauses(PAUSE_AT_LEAST, PAUSE_AT_MOST);
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
            let end = match opened {
                Ok(tap) => {
                    pauses.reset();
                    self.pour(tap, &deliveries).await
                }
                Err(error) => End::Lost(error),
            };
            match end {
                End::Over => return,
                End::Idle => continue,
                End::Lost(reason) => {
                    tracing::warn!(agency = %self.agency, priority = ?self.priority, %reason, "consumer lost; starting again");
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(pauses.next_backoff().unwrap_or(PAUSE_AT_MOST)) => {}
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
        let (give_back, given_back) = mpsc::unbounded_channel();
        Ok(Tap { channel, consumer, give_back, given_back })
    }

    async fn pour(&self, mut tap: Tap, deliveries: &mpsc::Sender<Delivery>) -> End {
        let mut idle = std::pin::pin!(sleep(self.renew_after));
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return tap.shut().await,
                () = deliveries.closed() => return tap.drain(&self.stop).await,
                Some(acker) = tap.given_back.recv() => {
                    if let Err(error) = requeue(&acker).await {
                        return End::Lost(error);
                    }
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
                        idle.as_mut().reset(Instant::now() + self.renew_after);
                        let delivery = delivery(message, tap.give_back.clone());
                        tokio::select! {
                            () = self.stop.cancelled() => return tap.shut().await,
                            // A closed receiver drops the delivery, and so gives it back.
                            _ = deliveries.send(delivery) => {}
                        }
                    }
                    Some(Err(error)) => return End::Lost(unavailable(error)),
                    // Not an error for lapin: the queue was deleted, or the broker has cancelled the consumer.
                    None => return End::Lost(BrokerError::Unavailable("the broker has ended the consumer".into())),
                },
            }
        }
    }
}

impl Tap {
    /// Deliveries that a worker has, or could have, taken and not settled.
    fn in_hand(&self) -> usize {
        self.give_back.strong_count().saturating_sub(1)
    }

    /// Takes nothing new, gives back what is on its way, and waits until everything in a worker's hands is settled.
    async fn drain(self, stop: &CancellationToken) -> End {
        let Self { channel, mut consumer, give_back, mut given_back } = self;
        let tag = consumer.tag();
        if answered(channel.basic_cancel(tag, BasicCancelOptions::default())).await.is_err() {
            return End::Over;
        }
        while let Some(Ok(message)) = consumer.next().await {
            if requeue(&message.acker).await.is_err() {
                return End::Over;
            }
        }
        drop(give_back);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                acker = given_back.recv() => match acker {
                    Some(acker) if requeue(&acker).await.is_ok() => {}
                    Some(_) | None => break,
                },
            }
        }
        let _ = answered(channel.close(200, "done".into())).await;
        End::Over
    }

    /// The end of a channel gives everything back that was not settled.
    async fn shut(self) -> End {
        let _ = answered(self.channel.close(200, "done".into())).await;
        End::Over
    }
}

async fn requeue(acker: &Acker) -> Result<(), BrokerError> {
    answered(acker.nack(BasicNackOptions { multiple: false, requeue: true })).await.map(|_| ())
}

fn delivery(message: Message, give_back: mpsc::UnboundedSender<Acker>) -> Delivery {
    let redeliveries = redeliveries(&message);
    let item = WorkItem::from_bytes(&message.data);
    Delivery { item, redeliveries, settle: Box::new(Settlement::new(message.acker, give_back)) }
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
