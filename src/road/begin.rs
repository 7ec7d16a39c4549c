//! Begin: a submission that is to be sent comes in; a lease on it and a sealed request go out, the lease recorded before
//! anything leaves, or the news that nothing is to be sent.

use super::{
    Line, Road, Sign,
    deliver::{JOURNAL_PAUSE, KEY_WAIT, unsendable},
    exchange::Prepared,
};
use crate::{
    adapter::Operation,
    crash::{self, Point},
    domain::{Effect, Event, Fault, State, whole_microseconds},
    journal::{Entry, JournalError, Record},
};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// An attempt that is ours until its lease runs out.
pub(super) struct Begun {
    pub attempt: u32,
    pub tries: u32,
    pub at: Timestamp,
    pub lease_until: Timestamp,
}

pub(super) enum Ready {
    ToSend(Begun, Box<Prepared>),
    /// Nothing is sent, and why is recorded.
    NotSent(Sign),
    /// Somebody else has it.
    Taken,
}

/// A lease outlasts the exchange by this, so that only a dead worker loses it.
const LEASE_MARGIN: SignedDuration = SignedDuration::from_secs(15);
/// No two workers' leases on one attempt end in the same microsecond, so that each knows its own.
const LEASE_SPREAD_MICROS: i64 = 1_000_000;

impl Road {
    /// Begins the attempt and seals its request, the two at once where that can do no harm.
    pub(super) async fn ready(
        &self,
        record: &Arc<Record>,
        line: &Arc<Line>,
        operation: &Operation,
        asks_first: bool,
    ) -> Result<Ready, JournalError> {
        let composed = match self.compose(record, line, asks_first).await {
            Ok(composed) => composed,
            Err(fault) => return self.not_sendable(record, fault).await.map(Ready::NotSent),
        };
        let begin = self.begin(record, operation, asks_first);
        let seal = async {
            let prepared = composed.seal(record, line, self.clock.now());
            crash::here(Point::WorkerSealed);
            prepared
        };
        let (begun, prepared) = if operation.effect == Effect::Once {
            match seal.await {
                Ok(prepared) => (begin.await?, Ok(prepared)),
                Err(fault) => return self.not_sendable(record, fault).await.map(Ready::NotSent),
            }
        } else {
            // The key works while the disk does. Whoever dies here leaves an attempt that has sent nothing, which does no
            // harm where it may be sent again, or asked about.
            let (begun, prepared) = tokio::join!(biased; begin, seal);
            (begun?, prepared)
        };
        let Some(begun) = begun else { return Ok(Ready::Taken) };
        crash::here(Point::WorkerBegun);
        match prepared {
            Ok(prepared) => Ok(Ready::ToSend(begun, Box::new(prepared))),
            Err(fault) => self.put_back(record, begun.attempt, fault).await.map(Ready::NotSent),
        }
    }

    /// Begun, but not to be sent.
    async fn put_back(&self, record: &Record, attempt: u32, fault: Fault) -> Result<Sign, JournalError> {
        let now = self.clock.now();
        let entry = Entry { not_before: Some(later(now, KEY_WAIT)), ..Entry::new(Event::PutBack { attempt }, now) };
        match self.patiently(|| self.reply.record(&record.submission, entry.clone())).await {
            Ok(_) if matches!(unsendable(fault.clone()), Event::Requeued) => Ok(Sign::None),
            Ok(_) => self.not_sendable(record, fault).await,
            Err(JournalError::Forbidden(_)) => Ok(Sign::None),
            Err(error) => Err(error),
        }
    }

    /// Waits for the journal if need be. Each try has a lease of its own, because the wait may outlast any lease; and a
    /// try without an answer may have been recorded all the same.
    async fn begin(
        &self,
        record: &Record,
        operation: &Operation,
        asks_first: bool,
    ) -> Result<Option<Begun>, JournalError> {
        let attempt = record.progress.attempts + 1;
        let mut unanswered = Vec::new();
        loop {
            let at = self.clock.now();
            let lease_until = whole_microseconds(later(at, lease(operation, asks_first)));
            let entry = Entry::new(Event::Begun { attempt, lease_until }, at);
            match self.reply.record(&record.submission, entry).await {
                Ok(progress) => return Ok(Some(Begun { attempt, tries: progress.tries, at, lease_until })),
                Err(JournalError::Unavailable(error)) if !self.abort.is_cancelled() => {
                    tracing::warn!(%error, "the journal does not answer; waiting for it");
                    unanswered.push(lease_until);
                    tokio::time::sleep(JOURNAL_PAUSE).await;
                }
                Err(JournalError::Forbidden(_)) if unanswered.is_empty() => return Ok(None),
                Err(JournalError::Forbidden(_)) => return self.begun_unheard(record, attempt, &unanswered).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn begun_unheard(
        &self,
        record: &Record,
        attempt: u32,
        leases: &[Timestamp],
    ) -> Result<Option<Begun>, JournalError> {
        let found = self.patiently(|| self.journal.find(record.submission.id)).await?;
        let Some(Record { progress, changed_at: at, .. }) = found else { return Ok(None) };
        match progress.state {
            State::Sending { attempt: current, lease_until } if current == attempt && leases.contains(&lease_until) => {
                Ok(Some(Begun { attempt, tries: progress.tries, at, lease_until }))
            }
            _ => Ok(None),
        }
    }
}

fn lease(operation: &Operation, asks_first: bool) -> SignedDuration {
    let exchange = SignedDuration::try_from(operation.timeout).unwrap_or(SignedDuration::MAX);
    let exchanges = if asks_first { 2 } else { 1 };
    let spread = SignedDuration::from_micros(rand::random_range(0..LEASE_SPREAD_MICROS));
    exchange.saturating_mul(exchanges).saturating_add(LEASE_MARGIN).saturating_add(spread)
}

pub(super) fn later(from: Timestamp, by: SignedDuration) -> Timestamp {
    from.saturating_add(by).unwrap_or(Timestamp::MAX)
}
