//! Tidying up: settings and agencies come in; nothing with their prefix is left in RabbitMQ. For prefixes that were made
//! to be thrown away: what is still in the queues goes with them.

use super::{
    RabbitmqSettings,
    connection::{Wire, answered, unavailable},
};
use crate::{
    broker::BrokerError,
    domain::{AgencyName, Priority},
};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};

/// Deletes the queues of these agencies, and then the exchanges. What is not there is no failure.
pub async fn remove(settings: RabbitmqSettings, agencies: &[AgencyName]) -> Result<(), BrokerError> {
    let target = settings.checked().map_err(|error| BrokerError::Unavailable(error.to_string()))?;
    let names = target.names.clone();
    let wire = Wire::open(&target, "remove").await?;
    let channel = wire.channel().await?;
    for agency in agencies {
        let work = Priority::ALL.map(|priority| names.work_queue(agency, priority));
        for queue in work.into_iter().chain([names.dead_queue(agency)]) {
            let deleting = channel.queue_delete(queue, QueueDeleteOptions::default());
            answered(async { Ok(deleting.await) }).await?.map_err(unavailable)?;
        }
    }
    for exchange in [names.work_exchange(), names.dead_exchange(), names.events_exchange()] {
        let deleting = channel.exchange_delete(exchange, ExchangeDeleteOptions::default());
        answered(async { Ok(deleting.await) }).await?.map_err(unavailable)?;
    }
    wire.close().await;
    Ok(())
}
