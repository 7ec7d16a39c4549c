//! Declaring one thing after another: a name and a shape come in, what RabbitMQ says of it goes out.

use super::{
    connection::{Wire, answered},
    shape::Shape,
    words,
};
use crate::broker::BrokerError;
use lapin::{
    Channel, ErrorKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{FieldTable, ShortString},
};
use std::future::Future;

/// A refusal ends its channel, so that the next declaration has a new one.
pub(super) struct Declaring<'a> {
    wire: &'a Wire,
    channel: Option<Channel>,
}

/// What RabbitMQ says, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Yes,
    /// It is there with other properties.
    Differs(String),
    /// Our user has no right to it.
    NoRight(String),
    Missing(String),
    /// It is another connection's alone.
    Locked(String),
}

impl<'a> Declaring<'a> {
    pub(super) fn on(wire: &'a Wire) -> Self {
        Self { wire, channel: None }
    }

    pub(super) async fn declare(&mut self, name: &ShortString, shape: &Shape) -> Result<Said, BrokerError> {
        self.tell(name, shape, false).await
    }

    /// Whether it is there at all, whatever it is like. Needs no right.
    pub(super) async fn look(&mut self, name: &ShortString, shape: &Shape) -> Result<Said, BrokerError> {
        self.tell(name, shape, true).await
    }

    async fn tell(&mut self, name: &ShortString, shape: &Shape, passive: bool) -> Result<Said, BrokerError> {
        let (channel, arguments) = (self.channel().await?, shape.arguments.clone());
        let Shape { durable, auto_delete, internal, .. } = *shape;
        match &shape.exchange {
            Some(kind) => {
                let options = ExchangeDeclareOptions { passive, durable, auto_delete, internal, ..Default::default() };
                self.said(channel.exchange_declare(name.clone(), kind.clone(), options, arguments)).await
            }
            None => {
                let options = QueueDeclareOptions { passive, durable, auto_delete, ..Default::default() };
                self.said(channel.queue_declare(name.clone(), options, arguments)).await
            }
        }
    }

    pub(super) async fn bind(
        &mut self,
        queue: &ShortString,
        exchange: ShortString,
        key: String,
    ) -> Result<Said, BrokerError> {
        let (channel, options) = (self.channel().await?, QueueBindOptions::default());
        self.said(channel.queue_bind(queue.clone(), exchange, key.into(), options, FieldTable::default())).await
    }

    async fn channel(&mut self) -> Result<Channel, BrokerError> {
        match &self.channel {
            Some(channel) if channel.status().connected() => Ok(channel.clone()),
            _ => Ok(self.channel.insert(self.wire.channel().await?).clone()),
        }
    }

    /// Tells a refusal, which somebody has to mend, from a broker that is merely away.
    async fn said<T>(&mut self, declaring: impl Future<Output = lapin::Result<T>>) -> Result<Said, BrokerError> {
        let Err(error) = answered(async { Ok(declaring.await) }).await? else { return Ok(Said::Yes) };
        self.channel = None;
        let ErrorKind::ProtocolError(refusal) = error.kind() else { return Err(words::failure(&error)) };
        let said = words::said(refusal);
        match refusal.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => Ok(Said::Differs(said)),
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Ok(Said::NoRight(said)),
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Ok(Said::Missing(said)),
            AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED) => Ok(Said::Locked(said)),
            _ => Err(words::failure(&error)),
        }
    }
}
