//! A quorum queue, bare: one connection to publish with confirm, another to consume. The floor stands on it, and the
//! measurement of the raw queue does.

use anyhow::Context;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, PublisherConfirm,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};

pub struct Queue {
    channel: Channel,
    name: String,
    _connections: [Connection; 2],
}

const PREFETCH: u16 = 256;
const PERSISTENT: u8 = 2;

impl Queue {
    pub async fn open(uri: &str, name: &str) -> anyhow::Result<(Self, Consumer)> {
        let connect = || Connection::connect(uri, ConnectionProperties::default());
        let (publishing, consuming) = (connect().await?, connect().await?);
        let channel = publishing.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let taps = consuming.create_channel().await?;
        let mut quorum = FieldTable::default();
        quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        taps.queue_declare(name.into(), QueueDeclareOptions::durable(), quorum).await?;
        taps.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = taps.basic_consume(name.into(), "".into(), options, none).await?;
        Ok((Self { channel, name: name.into(), _connections: [publishing, consuming] }, consumer))
    }

    /// What comes back is the broker's confirm, still to come.
    pub async fn publish(&self, body: &[u8]) -> anyhow::Result<PublisherConfirm> {
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let (key, options) = (self.name.as_str().into(), BasicPublishOptions { mandatory: true, ..Default::default() });
        self.channel.basic_publish("".into(), key, options, body, properties).await.context("publishing")
    }
}

pub async fn consume(mut consumer: Consumer, take: impl Fn(Delivery)) {
    while let Some(Ok(delivery)) = consumer.next().await {
        take(delivery);
    }
    eprintln!("floor: the consumer has ended");
}

pub async fn ack(delivery: &Delivery) -> anyhow::Result<()> {
    delivery.acker.ack(BasicAckOptions::default()).await.context("ack")?;
    Ok(())
}
