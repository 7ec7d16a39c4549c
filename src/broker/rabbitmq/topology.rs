//! What must exist in RabbitMQ: agencies come in, their exchanges and queues exist afterwards, or a text says what is wrong.
//!
//! What is there already is used as it is, whoever made it and with whatever properties: a queue with another limit carries
//! messages just as well. Only what cannot carry them hinders, and then one agency only.

use super::{
    connection::AmqpConnection,
    declarer::{DeclareReply, Declarer},
    error_text,
    findings::{Finding, Findings},
    names::{self, Names},
    shape::{Difference, Shape, kind_name, long_string},
};
use crate::{broker::BrokerError, domain::AgencyName, domain::Priority};
use lapin::{ExchangeKind, types::AMQPValue, types::ShortString};
use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard},
};

pub(super) struct Topology {
    pub names: Names,
    pub findings: Findings,
    delivery_limit: u32,
    /// Whose prefix this is.
    pub identity: Option<String>,
    /// Every agency that was ever declared: a broker that lost them gets them back.
    known: Mutex<BTreeSet<AgencyName>>,
}

/// More differences than a thing has properties.
const DIFFERENCES: usize = 12;

impl Topology {
    pub(super) fn new(names: Names, delivery_limit: u32, identity: Option<String>) -> Self {
        Self { names, findings: Findings::default(), delivery_limit, identity, known: Mutex::default() }
    }

    pub(super) fn remember(&self, agencies: &[AgencyName]) {
        self.known().extend(agencies.iter().cloned());
    }

    pub(super) fn is_known(&self, agency: &AgencyName) -> bool {
        self.known().contains(agency)
    }

    /// Declares what is missing. All that hinders is reported together.
    pub(super) async fn declare(
        &self,
        connection: &AmqpConnection,
        agencies: &[AgencyName],
    ) -> Result<(), BrokerError> {
        let mut declarer = Declarer::on(connection);
        self.claim_prefix(&mut declarer).await?;
        let mut misfits = Vec::new();
        collect(&mut misfits, self.declare_exchanges(&mut declarer).await)?;
        for agency in agencies {
            collect(&mut misfits, self.declare_agency(&mut declarer, agency).await)?;
        }
        if misfits.is_empty() { Ok(()) } else { Err(BrokerError::Topology(misfits.join("; "))) }
    }

    /// Declares all that is known. One agency's misfit must not keep the others waiting: it has been told.
    pub(super) async fn restore(&self, connection: &AmqpConnection) -> Result<(), BrokerError> {
        let agencies: Vec<_> = self.known().iter().cloned().collect();
        collect(&mut Vec::new(), self.declare(connection, &agencies).await)
    }

    /// An exchange that nobody publishes to carries our journal's identity in the one argument that RabbitMQ compares. Who
    /// comes first has the prefix; a second installation is refused.
    async fn claim_prefix(&self, declarer: &mut Declarer<'_>) -> Result<(), BrokerError> {
        let Some(identity) = &self.identity else { return Ok(()) };
        let (name, shape) = (self.names.owner_exchange(), self.owner_shape(identity));
        match declarer.declare(&name, &shape).await? {
            DeclareReply::Differs(said) if said.contains("'alternate-exchange'") => {
                // RabbitMQ cuts its sentences at 255 bytes: the other's name may be missing.
                let theirs = Difference::read(&said).and_then(|it| self.names.owner_of(it.theirs.as_deref()?));
                Err(self.foreign(theirs.as_deref().unwrap_or("of somebody else"), identity))
            }
            // Without rights only the messages tell whose they are.
            DeclareReply::Yes
            | DeclareReply::Differs(_)
            | DeclareReply::NoRight(_)
            | DeclareReply::Missing(_)
            | DeclareReply::Locked(_) => Ok(()),
        }
    }

    pub(super) fn owner_shape(&self, identity: &str) -> Shape {
        let fallback = long_string(&self.names.owner_key(identity));
        Shape { internal: true, ..Shape::exchange(ExchangeKind::Fanout) }.with("alternate-exchange", fallback)
    }

    pub(super) fn foreign(&self, theirs: &str, ours: &str) -> BrokerError {
        BrokerError::Foreign {
            prefix: self.names.prefix().to_owned(),
            theirs: theirs.to_owned(),
            ours: ours.to_owned(),
        }
    }

    async fn declare_exchanges(&self, declarer: &mut Declarer<'_>) -> Result<(), BrokerError> {
        let work = self.ensure(declarer, self.names.work_exchange(), Shape::exchange(ExchangeKind::Direct)).await;
        // Without them messages flow all the same.
        let dead = self.ensure(declarer, self.names.dead_exchange(), Shape::exchange(ExchangeKind::Direct)).await;
        collect(&mut Vec::new(), dead)?;
        let events = self.ensure(declarer, self.names.events_exchange(), Shape::exchange(ExchangeKind::Topic)).await;
        collect(&mut Vec::new(), events)?;
        let peers = self.ensure(declarer, self.names.peers_exchange(), Shape::exchange(ExchangeKind::Fanout)).await;
        collect(&mut Vec::new(), peers)?;
        work
    }

    async fn declare_agency(&self, declarer: &mut Declarer<'_>, agency: &AgencyName) -> Result<(), BrokerError> {
        // A missing place for dead letters must not stop the work.
        let dead = (self.names.dead_queue(agency), self.names.dead_exchange(), names::dead_key(agency));
        collect(&mut Vec::new(), self.bound_queue(declarer, dead, Shape::queue()).await)?;
        let mut misfits = Vec::new();
        for priority in Priority::ALL {
            let key = names::work_key(agency, priority);
            let work = (self.names.work_queue(agency, priority), self.names.work_exchange(), key);
            collect(&mut misfits, self.bound_queue(declarer, work, self.work_shape(agency)).await)?;
        }
        if misfits.is_empty() { Ok(()) } else { Err(BrokerError::Topology(misfits.join("; "))) }
    }

    /// At-least-once dead-lettering needs `reject-publish`, or RabbitMQ falls back to at-most-once.
    fn work_shape(&self, agency: &AgencyName) -> Shape {
        Shape::queue()
            .with("x-delivery-limit", AMQPValue::LongLongInt(self.delivery_limit.into()))
            .with("x-dead-letter-exchange", long_string(self.names.dead_exchange().as_str()))
            .with("x-dead-letter-routing-key", long_string(&names::dead_key(agency)))
            .with("x-dead-letter-strategy", long_string("at-least-once"))
            .with("x-overflow", long_string("reject-publish"))
    }

    async fn bound_queue(
        &self,
        declarer: &mut Declarer<'_>,
        (queue, exchange, key): (ShortString, ShortString, String),
        shape: Shape,
    ) -> Result<(), BrokerError> {
        self.ensure(declarer, queue.clone(), shape).await?;
        let thing = format!("the binding of {queue}");
        match declarer.bind(&queue, exchange.clone(), key.clone()).await? {
            DeclareReply::Yes => self.findings.fits(&thing),
            // RabbitMQ tells nobody whether it is bound; a message that finds no queue comes back.
            DeclareReply::NoRight(_) => self.findings.note(&thing, Finding::Given),
            DeclareReply::Differs(said) | DeclareReply::Missing(said) | DeclareReply::Locked(said) => {
                let why = format!(
                    "the queue `{queue}` cannot be bound to the exchange `{exchange}` by the key `{key}` (RabbitMQ says: {said})"
                );
                return self.hinders(&thing, why);
            }
        }
        Ok(())
    }

    /// Declares a thing; if that is refused, takes what is there.
    async fn ensure(
        &self,
        declarer: &mut Declarer<'_>,
        name: ShortString,
        mut shape: Shape,
    ) -> Result<(), BrokerError> {
        let mut differences = Vec::new();
        let refusal = loop {
            match declarer.declare(&name, &shape).await? {
                DeclareReply::Yes => break None,
                DeclareReply::Differs(said) => match Difference::read(&said) {
                    Some(found) if differences.len() < DIFFERENCES && shape.adopt(&found) => {
                        differences.push(found.to_string());
                    }
                    // It cannot be told which: RabbitMQ's own words must do.
                    _ => {
                        differences.push(said.clone());
                        break Some(said);
                    }
                },
                DeclareReply::NoRight(said) | DeclareReply::Missing(said) | DeclareReply::Locked(said) => {
                    break Some(said);
                }
            }
        };
        if let Some(said) = &refusal
            && let Some(why) = missing(&name, &shape, said, declarer.look(&name, &shape).await?)
        {
            return self.hinders(name.as_str(), why);
        }
        if let Some(why) = self.useless(&name, &shape) {
            return self.hinders(name.as_str(), why);
        }
        match (differences.is_empty(), refusal) {
            (true, None) => self.findings.fits(name.as_str()),
            (true, Some(_)) => self.findings.note(name.as_str(), Finding::Given),
            (false, _) => self.findings.note(name.as_str(), Finding::Differs(differences)),
        }
        Ok(())
    }

    /// What can carry no work, however it is used.
    fn useless(&self, name: &ShortString, shape: &Shape) -> Option<String> {
        let carries_work = |kind: &ExchangeKind| matches!(kind, ExchangeKind::Direct | ExchangeKind::Topic);
        match &shape.exchange {
            None if shape.is_stream() => Some(format!(
                "the queue `{name}` is a stream, from which nothing is ever taken: choose another broker.prefix"
            )),
            Some(kind) if *name == self.names.work_exchange() && !carries_work(kind) => Some(format!(
                "the exchange `{name}` is of type {}, which does not go by keys as a direct one does: choose another \
                 broker.prefix",
                kind_name(kind)
            )),
            _ => None,
        }
    }

    fn hinders(&self, thing: &str, why: String) -> Result<(), BrokerError> {
        self.findings.hinders(thing, why.clone());
        Err(BrokerError::Topology(why))
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

/// Why what was refused cannot be used either.
fn missing(name: &ShortString, shape: &Shape, refused: &str, found: DeclareReply) -> Option<String> {
    let kind = if shape.exchange.is_some() { "exchange" } else { "queue" };
    match found {
        // Its properties are unknown, or it may not even be looked at: then consuming and publishing tell.
        DeclareReply::Yes | DeclareReply::Differs(_) | DeclareReply::NoRight(_) => None,
        DeclareReply::Missing(_) if error_text::is_about_a_limit(refused) => Some(format!(
            "the {kind} `{name}` does not exist, and RabbitMQ makes no more: raise the limit with `rabbitmqctl \
             set_vhost_limits`, or remove what nobody needs (RabbitMQ says: {refused})"
        )),
        DeclareReply::Missing(_) => Some(format!(
            "the {kind} `{name}` does not exist, and our user may not make it: give it the right with `rabbitmqctl \
             set_permissions`, or make it beforehand (RabbitMQ says: {refused})"
        )),
        DeclareReply::Locked(said) => Some(format!(
            "the {kind} `{name}` belongs to another connection alone: choose another broker.prefix (RabbitMQ says: {said})"
        )),
    }
}
