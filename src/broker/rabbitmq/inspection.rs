//! How a queue stands: its name comes in, its messages and consumers, as the broker counts them, go out.

use super::{
    connection::{AmqpConnection, answered_soon},
    error_text,
};
use crate::{
    broker::{BrokerError, QueueDepth},
    domain::AgencyName,
};
use lapin::{
    ErrorKind,
    options::QueueDeclareOptions,
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{FieldTable, ShortString},
};

/// A passive declaration ends its channel if the queue is missing, so each has a channel of its own.
pub(super) async fn inspect(
    connection: &AmqpConnection,
    queue: ShortString,
    agency: &AgencyName,
) -> Result<QueueDepth, BrokerError> {
    let channel = connection.channel_to_look().await?;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let declaring = channel.queue_declare(queue, options, FieldTable::default());
    match answered_soon(async { Ok(declaring.await) }).await? {
        Ok(queue) => Ok(QueueDepth { ready: queue.message_count().into(), consumers: queue.consumer_count().into() }),
        Err(error) if is_not_found(&error) => Err(BrokerError::Unroutable(agency.clone())),
        Err(error) => Err(error_text::failure(&error)),
    }
}

fn is_not_found(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) => matches!(refusal.kind(), AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)),
        _ => false,
    }
}
