//! The fast path: what spares a submission some waiting if the process that has accepted it delivers it as well. It lies beside
//! the plain way, and every promise holds without it.
//!
//! | | the plain way | the fast path |
//! | --- | --- | --- |
//! | accepted here | the worker reads the submission from the journal | it is given the submission that the gateway has in memory |
//! | published early | a message is published once the journal has its submission | it is published while the journal's disk still works, and its worker waits for the journal |
//! | waiters here | who waits at the gateway reads the journal | is given what the worker has just recorded |
//! | reads recorded late | an attempt is recorded before anything leaves | one that changes nothing is recorded together with its outcome, or after 50 ms |
//!
//! What it brings, on 2 cores beside a build without it, over RabbitMQ and SQLite with 1, 16 and 64 waiting clients: 1.23, 1.28
//! and 1.28 × the requests a second, 0.82, 0.77 and 0.78 × the time of half of them, 0.76 to 0.79 × the CPU. To measure it again,
//! build a program whose `Installation::load` says [`FastPathMode::Off`], and give it its turn:
//! `cargo bench --features jemalloc --bench road -- --rounds 9 --seconds 2 --rival PATH`.

use super::{AcceptedCache, PendingAccept, Taken};
use crate::{
    domain::{Effect, SubmissionId},
    journal::{JournalError, Record},
    submissions::{Awaiting, LocalWaiters},
};
use jiff::SignedDuration;
use std::{future::Future, pin::pin, sync::Arc, time::Duration};
use tokio::time::timeout;

/// One in each process, made at its start. Its gateway and its worker hold it.
pub struct FastPath {
    /// What the gateway is accepting or has just accepted. The worker takes each out once, and what nobody takes makes place for
    /// newer ones.
    accepted: AcceptedCache,
    /// Who waits at the gateway. Each is there for as long as its request waits.
    waiters: Arc<LocalWaiters>,
    /// Whether all who may get a message live in this process, and so wait for the journal.
    publishes_early: bool,
    mode: FastPathMode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FastPathMode {
    #[default]
    On,
    /// Everything goes the plain way. For tests and measurements.
    Off,
}

/// Where the workers live that deliver what this process accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// In this process, and in no other.
    AllHere,
    /// In this process, and perhaps in others.
    SomeHere,
    Elsewhere,
}

/// When the journal is told that an attempt has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseOrder {
    BeforeSending,
    /// Together with the outcome, or once that takes longer than [`SOON`].
    WithOutcome,
}

/// Submissions of some kilobytes each, far more than are on their way to a worker while no backlog builds up.
const ACCEPTED_KEPT: usize = 512;
/// A read that is answered within this time is recorded in one change; nobody needs to see the state `sending` for so
/// short a time.
const SOON: Duration = Duration::from_millis(50);
/// What was known of a submission so long ago may have changed: somebody has taken it back, or another worker has it.
const KNOWN_FOR: SignedDuration = SignedDuration::from_secs(1);

impl FastPath {
    pub fn new(workers: Workers, mode: FastPathMode) -> Self {
        let kept = match (workers, mode) {
            (Workers::AllHere | Workers::SomeHere, FastPathMode::On) => ACCEPTED_KEPT,
            (Workers::Elsewhere, _) | (_, FastPathMode::Off) => 0,
        };
        let publishes_early = workers == Workers::AllHere && mode == FastPathMode::On;
        Self { accepted: AcceptedCache::new(kept), waiters: Arc::default(), publishes_early, mode }
    }

    // ── for the gateway ──────────────────────────────────────────────────────────────────────────────────────────

    /// The gateway is about to give this to the journal. `None`: its worker is to read it there.
    pub fn accepting(&self, record: &Arc<Record>) -> Option<PendingAccept> {
        self.accepted.put(record)
    }

    /// Whether the message may be published before the journal has its submission.
    pub fn publishes_early(&self, accepting: Option<&PendingAccept>) -> bool {
        self.publishes_early && accepting.is_some()
    }

    /// Somebody waits at the gateway until what is returned is dropped.
    pub fn wait(&self, submission: SubmissionId) -> Awaiting {
        self.waiters.wait(submission)
    }

    // ── for the worker ───────────────────────────────────────────────────────────────────────────────────────────

    /// What this process knows of a submission, once it is known whether the journal has it.
    pub async fn take(&self, submission: SubmissionId) -> Taken {
        self.accepted.take(submission).await
    }

    /// Whether it is being accepted here, and the journal does not have it yet.
    pub fn is_coming(&self, submission: SubmissionId) -> bool {
        self.accepted.is_coming(submission)
    }

    /// For whoever records what is settled, and gives it to those who wait here.
    pub fn waiters(&self) -> Arc<LocalWaiters> {
        match self.mode {
            FastPathMode::On => self.waiters.clone(),
            FastPathMode::Off => Arc::default(),
        }
    }

    /// `known`: how long ago the submission was to be sent.
    pub fn lease_order(&self, effect: Effect, known: SignedDuration) -> LeaseOrder {
        match self.mode {
            FastPathMode::On if !leases_first(effect, known) => LeaseOrder::WithOutcome,
            FastPathMode::On | FastPathMode::Off => LeaseOrder::BeforeSending,
        }
    }

    /// What is answered soon needs no lease of its own: it is recorded together with its outcome. What takes longer is leased
    /// meanwhile. `None`: somebody else has it, and what the agency says is left to them.
    pub(super) async fn lease_meanwhile<L, O, F>(
        &self,
        first: L,
        exchange: impl Future<Output = O>,
        lease: impl FnOnce(L) -> F,
    ) -> Result<Option<(L, O)>, JournalError>
    where
        L: Copy,
        F: Future<Output = Result<Option<L>, JournalError>>,
    {
        let mut exchange = pin!(exchange);
        if let Ok(outcome) = timeout(SOON, &mut exchange).await {
            return Ok(Some((first, outcome)));
        }
        let mut leasing = pin!(lease(first));
        let (leased, answered) = tokio::select! {
            leased = &mut leasing => (leased?, None),
            outcome = &mut exchange => (leasing.await?, Some(outcome)),
        };
        let Some(leased) = leased else { return Ok(None) };
        let outcome = match answered {
            Some(outcome) => outcome,
            None => exchange.await,
        };
        Ok(Some((leased, outcome)))
    }
}

/// Whether the journal must know of an attempt before anything leaves. `known`: how long ago it was to be sent. A read
/// changes nothing: one that nobody knows of, or that two workers send at once, does no harm.
pub fn leases_first(effect: Effect, known: SignedDuration) -> bool {
    effect != Effect::Read || !(SignedDuration::ZERO..KNOWN_FOR).contains(&known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submissions::tests::submission;

    #[tokio::test]
    async fn where_it_is_off_nothing_goes_by_it() {
        let record = Arc::new(Record::accepted(submission()));
        let id = record.submission.id;
        for workers in [Workers::AllHere, Workers::SomeHere, Workers::Elsewhere] {
            let off = FastPath::new(workers, FastPathMode::Off);
            let accepting = off.accepting(&record);
            assert!(accepting.is_none() && !off.publishes_early(accepting.as_ref()) && !off.is_coming(id));
            assert!(matches!(off.take(id).await, Taken::Unknown));
            let _waits = off.wait(id);
            assert!(!off.waiters().is_awaited(id));
            for effect in Effect::ALL {
                assert_eq!(off.lease_order(effect, SignedDuration::ZERO), LeaseOrder::BeforeSending);
            }
        }
    }

    #[tokio::test]
    async fn it_is_as_fast_as_the_place_of_the_workers_allows() {
        let record = Arc::new(Record::accepted(submission()));
        for (workers, is_kept, is_early) in
            [(Workers::AllHere, true, true), (Workers::SomeHere, true, false), (Workers::Elsewhere, false, false)]
        {
            let on = FastPath::new(workers, FastPathMode::On);
            let accepting = on.accepting(&record);
            assert_eq!((accepting.is_some(), on.publishes_early(accepting.as_ref())), (is_kept, is_early));
            let _waits = on.wait(record.submission.id);
            assert!(on.waiters().is_awaited(record.submission.id));
            assert_eq!(on.lease_order(Effect::Read, SignedDuration::ZERO), LeaseOrder::WithOutcome);
            assert_eq!(on.lease_order(Effect::Read, KNOWN_FOR), LeaseOrder::BeforeSending);
            assert_eq!(on.lease_order(Effect::Once, SignedDuration::ZERO), LeaseOrder::BeforeSending);
        }
    }
}
