//! Declaring one thing after another: a name and a shape come in, what RabbitMQ says of it goes out.

use super::{
    connection::{AmqpConnection, answered},
    error_text,
    shape::Shape,
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
pub(super) struct Declarer<'a> {
    connection: &'a AmqpConnection,
    channel: Option<Channel>,
}

/// Whether what is missing is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Declare {
    Create,
    /// Only asks whether it is there (AMQP: `passive`).
    Check,
}

/// What RabbitMQ says, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DeclareReply {
    Yes,
    /// It is there with other properties.
    Differs(String),
    /// Our user has no right to it.
    NoRight(String),
    Missing(String),
    /// It is another connection's alone.
    Locked(String),
}

impl<'a> Declarer<'a> {
    pub(super) fn on(connection: &'a AmqpConnection) -> Self {
        Self { connection, channel: None }
    }

    pub(super) async fn declare(&mut self, name: &ShortString, shape: &Shape) -> Result<DeclareReply, BrokerError> {
        self.send(name, shape, Declare::Create).await
    }

    /// Whether it is there at all, whatever it is like. Needs no right.
    pub(super) async fn look(&mut self, name: &ShortString, shape: &Shape) -> Result<DeclareReply, BrokerError> {
        self.send(name, shape, Declare::Check).await
    }

    async fn send(&mut self, name: &ShortString, shape: &Shape, declare: Declare) -> Result<DeclareReply, BrokerError> {
        let passive = declare == Declare::Check;
        let (channel, arguments) = (self.channel().await?, shape.arguments.clone());
        let Shape { durable, auto_delete, internal, .. } = *shape;
        match &shape.exchange {
            Some(kind) => {
                let options = ExchangeDeclareOptions { passive, durable, auto_delete, internal, ..Default::default() };
                self.reply(channel.exchange_declare(name.clone(), kind.clone(), options, arguments)).await
            }
            None => {
                let options = QueueDeclareOptions { passive, durable, auto_delete, ..Default::default() };
                self.reply(channel.queue_declare(name.clone(), options, arguments)).await
            }
        }
    }

    pub(super) async fn bind(
        &mut self,
        queue: &ShortString,
        exchange: ShortString,
        key: String,
    ) -> Result<DeclareReply, BrokerError> {
        let (channel, options) = (self.channel().await?, QueueBindOptions::default());
        self.reply(channel.queue_bind(queue.clone(), exchange, key.into(), options, FieldTable::default())).await
    }

    async fn channel(&mut self) -> Result<Channel, BrokerError> {
        match &self.channel {
            Some(channel) if channel.status().connected() => Ok(channel.clone()),
            _ => Ok(self.channel.insert(self.connection.channel().await?).clone()),
        }
    }

    /// Tells a refusal, which somebody has to mend, from a broker that is merely away.
    async fn reply<T>(
        &mut self,
        declaring: impl Future<Output = lapin::Result<T>>,
    ) -> Result<DeclareReply, BrokerError> {
        let Err(error) = answered(async { Ok(declaring.await) }).await? else { return Ok(DeclareReply::Yes) };
        self.channel = None;
        let ErrorKind::ProtocolError(refusal) = error.kind() else { return Err(error_text::failure(&error)) };
        let said = error_text::said(refusal);
        match refusal.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => Ok(DeclareReply::Differs(said)),
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Ok(DeclareReply::NoRight(said)),
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Ok(DeclareReply::Missing(said)),
            AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED) => Ok(DeclareReply::Locked(said)),
            _ => Err(error_text::failure(&error)),
        }
    }
}
