//! Failpoints: a step's name comes in; if the environment's FAILPOINTS has armed it, the process ends or freezes there.
//!
//! Without the feature `failpoints` a point is nothing at all. With it, `worker.begun=return(kill)` ends the process as by
//! `kill -9`, and `return(freeze)` stops it as by `kill -STOP`; the rest of the syntax (`20%`, `3*off->`) is the crate's.

/// Every step at which a crash matters. This is the one list of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failpoint {
    /// The request is right; the journal knows nothing of it.
    GatewayValidated,
    /// The journal has it; the office has no number yet.
    GatewayJournaled,
    /// Outbox rows are claimed; nothing is published.
    RelayClaimed,
    /// The broker has confirmed; the journal does not know.
    RelayPublished,
    /// The journal knows that it is queued.
    RelayRecorded,
    /// A message is in a worker's hands.
    WorkerDelivered,
    /// The signed bytes are ready; no attempt is begun.
    WorkerSealed,
    /// The attempt is recorded; nothing has left.
    WorkerBegun,
    /// The last look at the lease was good; nothing has left.
    WorkerSending,
    /// The request has left and an answer begins to come; nothing of it is read.
    WorkerSent,
    /// The answer is in memory, and nowhere else.
    WorkerAnswered,
    /// The agency was asked and has not seen it; it is about to be sent again.
    WorkerAsked,
    /// The outcome is decided and not recorded.
    WorkerSettled,
    /// The outcome is recorded; the message is not acknowledged.
    WorkerRecorded,
    /// The message is acknowledged.
    WorkerAcked,
    /// A circuit has opened: the journal has put a message back that the broker still holds.
    WorkerPutBack,
    /// Something is due; nothing is recorded of it.
    SchedulerDue,
    /// A due retry is back in the outbox.
    SchedulerRequeued,
    /// A dead worker's attempt is decided.
    SchedulerDecided,
    /// A passed deadline is recorded.
    SchedulerExpired,
    /// The broker holds less than the journal; nothing is repaired.
    SchedulerCompared,
    /// What the broker has lost is in the outbox again.
    SchedulerRepaired,
    /// Old bytes are erased; files of attachments are still there.
    SchedulerTidied,
    /// A start has voided the leases of the process before.
    ProcessTookOver,
    /// Notices are the notifier's; nothing is posted.
    NotifierClaimed,
    /// A webhook has been posted; the journal does not know.
    NotifierPosted,
    /// The notice is settled.
    NotifierSettled,
    /// All statements of a transaction are done; SQLite is about to commit.
    SqliteCommitting,
    /// SQLite has committed; nobody has been told.
    SqliteCommitted,
    /// Operations on several submissions are in one batch; PostgreSQL knows nothing of it.
    PostgresGathered,
    /// All statements of a transaction are done; PostgreSQL is about to be told to commit.
    PostgresCommitting,
    /// PostgreSQL has committed; nobody has been told.
    PostgresCommitted,
    /// PostgreSQL has committed a batch; half of its operations have been told, the others have not.
    PostgresAnswering,
}

impl Failpoint {
    pub const ALL: [Failpoint; 33] = [
        Failpoint::GatewayValidated,
        Failpoint::GatewayJournaled,
        Failpoint::RelayClaimed,
        Failpoint::RelayPublished,
        Failpoint::RelayRecorded,
        Failpoint::WorkerDelivered,
        Failpoint::WorkerSealed,
        Failpoint::WorkerBegun,
        Failpoint::WorkerSending,
        Failpoint::WorkerSent,
        Failpoint::WorkerAnswered,
        Failpoint::WorkerAsked,
        Failpoint::WorkerSettled,
        Failpoint::WorkerRecorded,
        Failpoint::WorkerAcked,
        Failpoint::WorkerPutBack,
        Failpoint::SchedulerDue,
        Failpoint::SchedulerRequeued,
        Failpoint::SchedulerDecided,
        Failpoint::SchedulerExpired,
        Failpoint::SchedulerCompared,
        Failpoint::SchedulerRepaired,
        Failpoint::SchedulerTidied,
        Failpoint::ProcessTookOver,
        Failpoint::NotifierClaimed,
        Failpoint::NotifierPosted,
        Failpoint::NotifierSettled,
        Failpoint::SqliteCommitting,
        Failpoint::SqliteCommitted,
        Failpoint::PostgresGathered,
        Failpoint::PostgresCommitting,
        Failpoint::PostgresCommitted,
        Failpoint::PostgresAnswering,
    ];

    /// The name that FAILPOINTS knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Failpoint::GatewayValidated => "gateway.validated",
            Failpoint::GatewayJournaled => "gateway.journaled",
            Failpoint::RelayClaimed => "relay.claimed",
            Failpoint::RelayPublished => "relay.published",
            Failpoint::RelayRecorded => "relay.recorded",
            Failpoint::WorkerDelivered => "worker.delivered",
            Failpoint::WorkerSealed => "worker.sealed",
            Failpoint::WorkerBegun => "worker.begun",
            Failpoint::WorkerSending => "worker.sending",
            Failpoint::WorkerSent => "worker.sent",
            Failpoint::WorkerAnswered => "worker.answered",
            Failpoint::WorkerAsked => "worker.asked",
            Failpoint::WorkerSettled => "worker.settled",
            Failpoint::WorkerRecorded => "worker.recorded",
            Failpoint::WorkerAcked => "worker.acked",
            Failpoint::WorkerPutBack => "worker.put-back",
            Failpoint::SchedulerDue => "scheduler.due",
            Failpoint::SchedulerRequeued => "scheduler.requeued",
            Failpoint::SchedulerDecided => "scheduler.decided",
            Failpoint::SchedulerExpired => "scheduler.expired",
            Failpoint::SchedulerCompared => "scheduler.compared",
            Failpoint::SchedulerRepaired => "scheduler.repaired",
            Failpoint::SchedulerTidied => "scheduler.tidied",
            Failpoint::ProcessTookOver => "process.took-over",
            Failpoint::NotifierClaimed => "notifier.claimed",
            Failpoint::NotifierPosted => "notifier.posted",
            Failpoint::NotifierSettled => "notifier.settled",
            Failpoint::SqliteCommitting => "sqlite.committing",
            Failpoint::SqliteCommitted => "sqlite.committed",
            Failpoint::PostgresGathered => "postgres.gathered",
            Failpoint::PostgresCommitting => "postgres.committing",
            Failpoint::PostgresCommitted => "postgres.committed",
            Failpoint::PostgresAnswering => "postgres.answering",
        }
    }
}

#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_: Failpoint) {}

/// Where the process may end.
#[cfg(feature = "failpoints")]
pub fn hit(point: Failpoint) {
    fail::fail_point!(point.name(), |action| armed::act(point, action.as_deref()));
}

/// Takes up what FAILPOINTS asks for, for as long as the process lives.
#[cfg(feature = "failpoints")]
pub fn arm() {
    std::mem::forget(fail::FailScenario::setup());
}

#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn arm() {}

#[cfg(feature = "failpoints")]
mod armed {
    use super::Failpoint;
    use rustix::process::{Signal, getpid, kill_process};

    pub fn act(point: Failpoint, action: Option<&str>) {
        let signal = match action {
            Some("kill") => Signal::KILL,
            Some("freeze") => Signal::STOP,
            _ => return eprintln!("crash point {}: neither kill nor freeze: {action:?}", point.name()),
        };
        eprintln!("crash point {}: {signal:?}", point.name());
        if let Err(error) = kill_process(getpid(), signal) {
            eprintln!("crash point {}: {error}", point.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_point_is_in_the_list_once_and_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Failpoint::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Failpoint::ALL.len());
        // The last variant's place: a new one that is not in the list shows here.
        assert_eq!(Failpoint::PostgresAnswering as usize + 1, Failpoint::ALL.len());
    }
}
