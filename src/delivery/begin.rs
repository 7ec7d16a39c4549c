//! Begin: a submission that is to be sent comes in; a lease on it and a sealed request go out, or the news that nothing is
//! to be sent. The lease is recorded before anything leaves that may change something at the agency.

use super::{
    AgencyConnection, Deliverer, HealthSignal,
    deliver::{JOURNAL_PAUSE, key_wait, unsendable},
    exchange::Prepared,
};
use crate::{
    adapter::Operation,
    crash::{self, Point},
    domain::{Effect, Event, Fault, Progress, State, later, whole_microseconds},
    journal::{Entry, JournalError, Record},
};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// An attempt that is ours until its lease runs out.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    pub attempt: u32,
    pub tries: u32,
    pub at: Timestamp,
    pub lease_until: Timestamp,
    pub asks_first: bool,
    /// How often the journal had been held when the record was read.
    pub holds: u64,
    /// Whether the journal knows of it.
    pub is_recorded: bool,
}

pub(super) enum Ready {
    ToSend(Begun, Box<Prepared>),
    /// Nothing is sent, and why is recorded.
    NotSent(HealthSignal),
    /// Somebody else has it.
    Taken,
}

/// A lease outlasts the exchange by this, so that only a dead worker loses it.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(15);
/// No two workers' leases on one attempt end in the same microsecond, so that each knows its own.
const LEASE_SPREAD_MICROS: i64 = 1_000_000;

/// What was known of a submission so long ago may have changed: somebody has taken it back, or another worker has it.
const KNOWN_FOR: SignedDuration = SignedDuration::from_secs(1);

/// A request that has waited longer for its beginning is sealed anew.
const SEALED_FOR: SignedDuration = SignedDuration::from_secs(5);

/// What comes before the request.
#[derive(Clone, Copy)]
pub(super) struct Order {
    pub effect: Effect,
    pub asks_first: bool,
    pub begins_first: bool,
    /// How often the journal had been held when the record was read.
    pub holds: u64,
}

/// Whether the journal must know of an attempt before anything leaves. `known`: how long ago it was to be sent. A read
/// changes nothing: one that nobody knows of, or that two workers send at once, does no harm.
pub fn begins_first(effect: Effect, known: SignedDuration) -> bool {
    effect != Effect::Read || !(SignedDuration::ZERO..KNOWN_FOR).contains(&known)
}

impl Deliverer {
    /// Begins the attempt and seals its request, the two at once where that can do no harm.
    pub(super) async fn ready(
        &self,
        record: &Arc<Record>,
        connection: &Arc<AgencyConnection>,
        operation: &Operation,
        order: Order,
    ) -> Result<Ready, JournalError> {
        let composed = match self.compose(record, connection, order.asks_first).await {
            Ok(composed) => composed,
            Err(fault) => return self.not_sendable(record, fault).await.map(Ready::NotSent),
        };
        let since = self.clock.now();
        let begin = async |is_recorded_first| {
            let first = self.first(record, operation, order);
            if is_recorded_first { self.begin(record, first).await } else { Ok(Some(first)) }
        };
        let seal = async {
            let prepared = composed.seal(record, connection, self.clock.now());
            crash::here(Point::WorkerSealed);
            prepared
        };
        let (begun, prepared) = if order.begins_first && order.effect != Effect::Once {
            // The key works while the disk does. Whoever dies here leaves an attempt that has sent nothing, which does no
            // harm where it may be sent again, or asked about.
            let (begun, prepared) = tokio::join!(biased; begin(true), seal);
            (begun?, prepared)
        } else {
            match seal.await {
                Ok(prepared) => (begin(order.begins_first).await?, Ok(prepared)),
                Err(fault) if order.effect == Effect::Once => {
                    return self.not_sendable(record, fault).await.map(Ready::NotSent);
                }
                Err(fault) => (begin(true).await?, Err(fault)),
            }
        };
        let Some(begun) = begun else { return Ok(Ready::Taken) };
        if begun.is_recorded {
            crash::here(Point::WorkerBegun);
        }
        let prepared = match prepared {
            // Its place in memory is free before another is asked for.
            Ok(old) if self.has_grown_old(since) => {
                drop(old);
                self.prepare(record, connection, order.asks_first).await
            }
            as_before => as_before,
        };
        match prepared {
            Ok(prepared) => Ok(Ready::ToSend(begun, Box::new(prepared))),
            Err(fault) => self.put_back(record, begun.attempt, fault).await.map(Ready::NotSent),
        }
    }

    /// Whether the beginning has waited for the journal: what was sealed before has an old date, and the agency may have been
    /// halted meanwhile.
    fn has_grown_old(&self, since: Timestamp) -> bool {
        !(SignedDuration::ZERO..SEALED_FOR).contains(&self.clock.now().duration_since(since))
    }

    /// Begun, but not to be sent.
    async fn put_back(&self, record: &Record, attempt: u32, fault: Fault) -> Result<HealthSignal, JournalError> {
        let now = self.clock.now();
        let entry =
            Entry { not_before: Some(later(now, key_wait(&fault))), ..Entry::new(Event::PutBack { attempt }, now) };
        match self.with_retry(|| self.submissions.end_unsent(record.submission.id, entry.clone())).await {
            Ok(_) if matches!(unsendable(fault.clone()), Event::GivenBack) => Ok(HealthSignal::None),
            Ok(_) => self.not_sendable(record, fault).await,
            Err(JournalError::Forbidden(_)) => Ok(HealthSignal::None),
            Err(error) => Err(error),
        }
    }

    fn first(&self, record: &Record, operation: &Operation, order: Order) -> Begun {
        let Order { asks_first, holds, .. } = order;
        let (at, Progress { attempts, tries, .. }) = (self.clock.now(), &record.progress);
        let lease_until = whole_microseconds(later(at, lease(operation, asks_first)));
        Begun { attempt: attempts + 1, tries: tries + 1, at, lease_until, asks_first, holds, is_recorded: false }
    }

    /// Waits for the journal if need be. Each try has a lease of its own, because the wait may outlast any lease; and a
    /// try without an answer may have been recorded all the same. What was read before the journal was held begins nothing.
    pub(super) async fn begin(&self, record: &Record, first: Begun) -> Result<Option<Begun>, JournalError> {
        let lease = first.lease_until.duration_since(first.at);
        let (mut begun, mut unanswered) = (first, Vec::new());
        loop {
            if self.journal.continuity().holds() != first.holds {
                return Ok(None);
            }
            match self.submissions.begin(record.submission.id, begun.entry()).await {
                Ok(Progress { tries, .. }) => return Ok(Some(Begun { tries, is_recorded: true, ..begun })),
                Err(error @ (JournalError::Unavailable(_) | JournalError::Held(_))) if !self.abort.is_cancelled() => {
                    tracing::warn!(%error, "waiting for the journal");
                    unanswered.push(begun.lease_until);
                    tokio::time::sleep(JOURNAL_PAUSE).await;
                    let at = self.clock.now();
                    begun = Begun { at, lease_until: whole_microseconds(later(at, lease)), ..begun };
                }
                Err(JournalError::Forbidden(_)) if unanswered.is_empty() => return Ok(None),
                Err(JournalError::Forbidden(_)) => return self.begun_unheard(record, begun, &unanswered).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn begun_unheard(
        &self,
        record: &Record,
        begun: Begun,
        leases: &[Timestamp],
    ) -> Result<Option<Begun>, JournalError> {
        let found = self.with_retry(|| self.submissions.find(record.submission.id)).await?;
        let Some(Record { progress, changed_at: at, .. }) = found else { return Ok(None) };
        match progress.state {
            State::Sending { attempt, lease_until } if attempt == begun.attempt && leases.contains(&lease_until) => {
                Ok(Some(Begun { tries: progress.tries, at, lease_until, is_recorded: true, ..begun }))
            }
            _ => Ok(None),
        }
    }
}

impl Begun {
    pub(super) fn entry(&self) -> Entry {
        let Self { attempt, lease_until, asks_first, .. } = *self;
        Entry::new(Event::Begun { attempt, lease_until, asks_first }, self.at)
    }
}

fn lease(operation: &Operation, asks_first: bool) -> SignedDuration {
    let exchange = SignedDuration::try_from(operation.timeout).unwrap_or(SignedDuration::MAX);
    let exchanges = if asks_first { 2 } else { 1 };
    let spread = SignedDuration::from_micros(rand::random_range(0..LEASE_SPREAD_MICROS));
    exchange.saturating_mul(exchanges).saturating_add(LEASE_MARGIN).saturating_add(spread)
}
