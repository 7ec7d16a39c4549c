//! What must exist in RabbitMQ: agencies come in, their exchanges and queues exist afterwards, or a text says what is wrong.

use super::{
    connection::{Wire, answered, unavailable},
    names::{self, Names},
};
use crate::{broker::BrokerError, domain::AgencyName, domain::Priority};
use lapin::{
    Channel, ErrorKind, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use std::{
    collections::BTreeSet,
    future::Future,
    sync::{Mutex, MutexGuard},
};

pub(super) struct Topology {
    pub names: Names,
    delivery_limit: u32,
    /// Every agency that was ever declared: a broker that lost them gets them back.
    known: Mutex<BTreeSet<AgencyName>>,
}

impl Topology {
    pub(super) fn new(names: Names, delivery_limit: u32) -> Self {
        Self { names, delivery_limit, known: Mutex::default() }
    }

    pub(super) fn remember(&self, agencies: &[AgencyName]) {
        self.known().extend(agencies.iter().cloned());
    }

    pub(super) fn is_known(&self, agency: &AgencyName) -> bool {
        self.known().contains(agency)
    }

    /// Declares what is missing. All misfits are reported together.
    pub(super) async fn declare(&self, wire: &Wire, agencies: &[AgencyName]) -> Result<(), BrokerError> {
        let mut misfits = Vec::new();
        collect(&mut misfits, self.declare_exchanges(wire).await)?;
        for agency in agencies {
            collect(&mut misfits, self.declare_agency(wire, agency).await)?;
        }
        if misfits.is_empty() { Ok(()) } else { Err(BrokerError::Topology(misfits.join("; "))) }
    }

    /// Declares all that is known. One agency's misfit must not keep the others waiting, so it is only logged.
    pub(super) async fn restore(&self, wire: &Wire) -> Result<(), BrokerError> {
        let agencies: Vec<_> = self.known().iter().cloned().collect();
        match self.declare(wire, &agencies).await {
            Err(BrokerError::Topology(misfits)) => {
                tracing::error!(%misfits, "the broker's topology does not fit");
                Ok(())
            }
            other => other,
        }
    }

    async fn declare_exchanges(&self, wire: &Wire) -> Result<(), BrokerError> {
        let channel = wire.channel().await?;
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        for (name, kind) in [
            (self.names.work_exchange(), ExchangeKind::Direct),
            (self.names.dead_exchange(), ExchangeKind::Direct),
            (self.names.events_exchange(), ExchangeKind::Topic),
        ] {
            let declared = channel.exchange_declare(name.clone(), kind, options, FieldTable::default());
            fitting("exchange", &name, declared).await?;
        }
        Ok(())
    }

    async fn declare_agency(&self, wire: &Wire, agency: &AgencyName) -> Result<(), BrokerError> {
        let channel = wire.channel().await?;
        let dead_queue = self.names.dead_queue(agency);
        declare_queue(&channel, &dead_queue, quorum()).await?;
        bind(&channel, &dead_queue, self.names.dead_exchange(), names::dead_key(agency)).await?;
        for priority in Priority::ALL {
            let queue = self.names.work_queue(agency, priority);
            declare_queue(&channel, &queue, self.work_arguments(agency)).await?;
            bind(&channel, &queue, self.names.work_exchange(), names::work_key(agency, priority)).await?;
        }
        Ok(())
    }

    /// At-least-once dead-lettering needs `reject-publish`, or RabbitMQ falls back to at-most-once.
    fn work_arguments(&self, agency: &AgencyName) -> FieldTable {
        let mut arguments = quorum();
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(self.delivery_limit.into()));
        for (key, value) in [
            ("x-dead-letter-exchange", self.names.dead_exchange().to_string()),
            ("x-dead-letter-routing-key", names::dead_key(agency)),
            ("x-dead-letter-strategy", "at-least-once".into()),
            ("x-overflow", "reject-publish".into()),
        ] {
            arguments.insert(key.into(), long_string(&value));
        }
        arguments
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<AgencyName>> {
        self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Keeps a misfit for later; any other failure ends the whole.
fn collect(misfits: &mut Vec<String>, declared: Result<(), BrokerError>) -> Result<(), BrokerError> {
    match declared {
        Err(BrokerError::Topology(misfit)) => {
            misfits.push(misfit);
            Ok(())
        }
        other => other,
    }
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), long_string("quorum"));
    arguments
}

fn long_string(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

async fn declare_queue(channel: &Channel, name: &ShortString, arguments: FieldTable) -> Result<(), BrokerError> {
    let declared = channel.queue_declare(name.clone(), QueueDeclareOptions::durable(), arguments);
    fitting("queue", name, declared).await
}

async fn bind(channel: &Channel, queue: &ShortString, exchange: ShortString, key: String) -> Result<(), BrokerError> {
    let bound =
        channel.queue_bind(queue.clone(), exchange, key.into(), QueueBindOptions::default(), FieldTable::default());
    fitting("binding of queue", queue, bound).await
}

/// Tells a refusal, which an operator must mend, from a broker that is merely away.
async fn fitting<T>(
    kind: &str,
    name: &ShortString,
    declaring: impl Future<Output = lapin::Result<T>>,
) -> Result<(), BrokerError> {
    let Err(error) = answered(async { Ok(declaring.await) }).await? else { return Ok(()) };
    let soft = match error.kind() {
        ErrorKind::ProtocolError(refusal) => match refusal.kind() {
            AMQPErrorKind::Soft(soft) => Some((soft.clone(), refusal.get_message().to_string())),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    };
    match soft {
        Some((AMQPSoftError::PRECONDITIONFAILED, said)) => Err(BrokerError::Topology(format!(
            "the {kind} `{name}` exists with other properties than Punte needs; stop its users, move its messages away and \
             delete it, and it will be made again, or choose another prefix (the broker says: {said})"
        ))),
        Some((AMQPSoftError::ACCESSREFUSED, said)) => Err(BrokerError::Topology(format!(
            "the user may not declare the {kind} `{name}`; give it configure, write and read permission on names with \
             the prefix (the broker says: {said})"
        ))),
        _ => Err(unavailable(error)),
    }
}
