//! Tidying up: settings and agencies come in; nothing with their prefix is left in RabbitMQ. For prefixes that were made
//! to be thrown away: what is still in the queues goes with them.

use super::{
    RabbitmqSettings,
    connection::{AmqpConnection, answered},
    declarer::{DeclareReply, Declarer},
    shape::Shape,
    topology::Topology,
};
use crate::{
    broker::BrokerError,
    domain::{AgencyName, Priority},
};
use lapin::{
    options::{ExchangeDeleteOptions, QueueDeleteOptions, QueuePurgeOptions},
    types::ShortString,
};

/// Deletes the queues of these agencies, and then the exchanges. What is not there is no failure.
pub async fn remove(settings: RabbitmqSettings, agencies: &[AgencyName]) -> Result<(), BrokerError> {
    let target = settings.checked().map_err(|error| BrokerError::Refused(error.to_string()))?;
    let names = target.names.clone();
    let connection = AmqpConnection::open(&target, "remove").await?;
    let channel = connection.channel().await?;
    for agency in agencies {
        let work = Priority::ALL.map(|priority| names.work_queue(agency, priority));
        for queue in work.into_iter().chain([names.dead_queue(agency)]) {
            let deleting = channel.queue_delete(queue, QueueDeleteOptions::default());
            answered(deleting).await?;
        }
    }
    answered(channel.queue_delete(names.mark_queue(), QueueDeleteOptions::default())).await?;
    let events = [names.events_exchange(), names.peers_exchange()];
    for exchange in [names.work_exchange(), names.dead_exchange(), names.owner_exchange()].into_iter().chain(events) {
        let deleting = channel.exchange_delete(exchange, ExchangeDeleteOptions::default());
        answered(deleting).await?;
    }
    connection.close().await;
    Ok(())
}

/// The prefix becomes this installation's, whoever had it. What waits in the work queues of these agencies is removed, because
/// it may be the other's; what is ours is published again from the journal. How many messages there were.
pub async fn take_over(settings: RabbitmqSettings, agencies: &[AgencyName]) -> Result<u64, BrokerError> {
    let target = settings.checked().map_err(|error| BrokerError::Refused(error.to_string()))?;
    let names = target.names.clone();
    let Some(identity) = target.settings.identity.clone() else { return Ok(0) };
    let connection = AmqpConnection::open(&target, "take over").await?;
    let mut removed = 0;
    for agency in agencies {
        for priority in Priority::ALL {
            removed += purged(&connection, names.work_queue(agency, priority)).await?;
        }
    }
    // What the other journal has done is no measure of ours.
    purged(&connection, names.mark_queue()).await?;
    let channel = connection.channel().await?;
    answered(channel.exchange_delete(names.owner_exchange(), ExchangeDeleteOptions::default())).await?;
    let topology = Topology::new(names, target.settings.delivery_limit, Some(identity));
    topology.declare(&connection, &[]).await?;
    connection.close().await;
    Ok(removed)
}

/// How many messages it held; none if it is not there.
async fn purged(connection: &AmqpConnection, queue: ShortString) -> Result<u64, BrokerError> {
    if Declarer::on(connection).look(&queue, &Shape::queue()).await? != DeclareReply::Yes {
        return Ok(0);
    }
    let channel = connection.channel().await?;
    Ok(answered(channel.queue_purge(queue, QueuePurgeOptions::default())).await?.into())
}
