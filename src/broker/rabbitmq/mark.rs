//! The copy of the journal's mark: a durable queue that holds the newest one alone.

use super::{
    connection::answered,
    names::{MARK_KEY, Names},
    open_channel::OpenChannel,
    reconnecting::ReconnectingConnection,
};
use crate::{broker::BrokerError, domain::Mark};
use lapin::{
    BasicProperties, Channel, Confirmation, ExchangeKind,
    options::{
        BasicGetOptions, BasicNackOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, LongString},
};
use std::time::Duration;
use tokio::{sync::Mutex, time::sleep};

pub(super) struct MarkQueue {
    reconnecting: ReconnectingConnection,
    names: Names,
    channel: Mutex<OpenChannel>,
}

/// Another process may have it in hand for a moment.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(100);
/// A message that is read is given back. RabbitMQ 4 drops what came back twenty times, if nothing else is said.
const READINGS: i64 = 1_000_000_000;

impl MarkQueue {
    pub(super) fn new(reconnecting: ReconnectingConnection, names: Names) -> Self {
        Self { reconnecting, names, channel: Mutex::new(OpenChannel::confirming()) }
    }

    pub(super) async fn read(&self) -> Result<Option<Mark>, BrokerError> {
        let mut open = self.channel.lock().await;
        // It may have been made for a user who may make none, so it is asked first; a refusal ends the channel.
        if let Ok(found) = self.look(&open.get(&self.reconnecting).await?).await {
            return Ok(found);
        }
        open.forget();
        let channel = open.get(&self.reconnecting).await?;
        let declared = self.declare(&channel).await;
        if let Err(error) = declared {
            open.forget();
            // The broker is there, and this queue cannot be had.
            return Err(if self.reconnecting.now().is_ok() { BrokerError::Topology(error.to_string()) } else { error });
        }
        self.look(&channel).await
    }

    async fn look(&self, channel: &Channel) -> Result<Option<Mark>, BrokerError> {
        for _ in 0..TRIES {
            let got = answered(channel.basic_get(self.names.mark_queue(), BasicGetOptions::default())).await?;
            if let Some(message) = got {
                let mark = serde_json::from_slice(&message.delivery.data);
                let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
                answered(async { message.delivery.acker.nack(options).await.map(|_| ()) }).await?;
                // It may say that the journal is an older one: that is not "there is none".
                return mark.map(Some).map_err(|_| BrokerError::NoMark(self.names.mark_queue().to_string()));
            }
            sleep(PAUSE).await;
        }
        Ok(None)
    }

    pub(super) async fn keep(&self, mark: &Mark) -> Result<(), BrokerError> {
        let mut open = self.channel.lock().await;
        let channel = open.get(&self.reconnecting).await?;
        if self.put(&channel, mark).await? {
            return Ok(());
        }
        let queue = self.names.mark_queue();
        tracing::warn!(%queue, "the queue with the copy of the journal's mark was removed; it is made anew");
        self.declare(&channel).await?;
        if self.put(&channel, mark).await? { Ok(()) } else { Err(BrokerError::NotConfirmed) }
    }

    /// `false`: there is no queue for it.
    async fn put(&self, channel: &Channel, mark: &Mark) -> Result<bool, BrokerError> {
        let bytes = serde_json::to_vec(mark).unwrap_or_default();
        let persistent = BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let publishing =
            channel.basic_publish(self.names.work_exchange(), MARK_KEY.into(), options, &bytes, persistent);
        let confirm = answered(async { publishing.await?.await }).await?;
        match confirm {
            Confirmation::Ack(returned) => Ok(returned.is_none()),
            Confirmation::Nack(_) | Confirmation::NotRequested => Err(BrokerError::NotConfirmed),
        }
    }

    async fn declare(&self, channel: &Channel) -> Result<(), BrokerError> {
        let exchange = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let (work, queue) = (self.names.work_exchange(), self.names.mark_queue());
        let declared = async {
            channel.exchange_declare(work.clone(), ExchangeKind::Direct, exchange, FieldTable::default()).await?;
            channel.queue_declare(queue.clone(), QueueDeclareOptions::durable(), arguments()).await?;
            channel.queue_bind(queue, work, MARK_KEY.into(), QueueBindOptions::default(), FieldTable::default()).await
        };
        answered(declared).await
    }
}

fn arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    for (key, value) in [("x-queue-type", "quorum"), ("x-overflow", "drop-head")] {
        arguments.insert(key.into(), AMQPValue::LongString(LongString::from(value)));
    }
    for (key, value) in [("x-max-length", 1), ("x-delivery-limit", READINGS)] {
        arguments.insert(key.into(), AMQPValue::LongLongInt(value));
    }
    arguments
}
