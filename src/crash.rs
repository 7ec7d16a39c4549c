//! Crash points: a step's name comes in; if the environment's FAILPOINTS has armed it, the process ends or freezes there.
//!
//! Without the feature `failpoints` a point is nothing at all. With it, `worker.begun=return(kill)` ends the process as by
//! `kill -9`, and `return(freeze)` stops it as by `kill -STOP`; the rest of the syntax (`20%`, `3*off->`) is the crate's.

/// Every step at which a crash matters. This is the one list of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
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
    /// All statements of a transaction are done; PostgreSQL is about to be told to commit.
    PostgresCommitting,
    /// PostgreSQL has committed; nobody has been told.
    PostgresCommitted,
}

impl Point {
    pub const ALL: [Point; 31] = [
        Point::GatewayValidated,
        Point::GatewayJournaled,
        Point::RelayClaimed,
        Point::RelayPublished,
        Point::RelayRecorded,
        Point::WorkerDelivered,
        Point::WorkerSealed,
        Point::WorkerBegun,
        Point::WorkerSending,
        Point::WorkerSent,
        Point::WorkerAnswered,
        Point::WorkerAsked,
        Point::WorkerSettled,
        Point::WorkerRecorded,
        Point::WorkerAcked,
        Point::WorkerPutBack,
        Point::SchedulerDue,
        Point::SchedulerRequeued,
        Point::SchedulerDecided,
        Point::SchedulerExpired,
        Point::SchedulerCompared,
        Point::SchedulerRepaired,
        Point::SchedulerTidied,
        Point::ProcessTookOver,
        Point::NotifierClaimed,
        Point::NotifierPosted,
        Point::NotifierSettled,
        Point::SqliteCommitting,
        Point::SqliteCommitted,
        Point::PostgresCommitting,
        Point::PostgresCommitted,
    ];

    /// The name that FAILPOINTS knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Point::GatewayValidated => "gateway.validated",
            Point::GatewayJournaled => "gateway.journaled",
            Point::RelayClaimed => "relay.claimed",
            Point::RelayPublished => "relay.published",
            Point::RelayRecorded => "relay.recorded",
            Point::WorkerDelivered => "worker.delivered",
            Point::WorkerSealed => "worker.sealed",
            Point::WorkerBegun => "worker.begun",
            Point::WorkerSending => "worker.sending",
            Point::WorkerSent => "worker.sent",
            Point::WorkerAnswered => "worker.answered",
            Point::WorkerAsked => "worker.asked",
            Point::WorkerSettled => "worker.settled",
            Point::WorkerRecorded => "worker.recorded",
            Point::WorkerAcked => "worker.acked",
            Point::WorkerPutBack => "worker.put-back",
            Point::SchedulerDue => "scheduler.due",
            Point::SchedulerRequeued => "scheduler.requeued",
            Point::SchedulerDecided => "scheduler.decided",
            Point::SchedulerExpired => "scheduler.expired",
            Point::SchedulerCompared => "scheduler.compared",
            Point::SchedulerRepaired => "scheduler.repaired",
            Point::SchedulerTidied => "scheduler.tidied",
            Point::ProcessTookOver => "process.took-over",
            Point::NotifierClaimed => "notifier.claimed",
            Point::NotifierPosted => "notifier.posted",
            Point::NotifierSettled => "notifier.settled",
            Point::SqliteCommitting => "sqlite.committing",
            Point::SqliteCommitted => "sqlite.committed",
            Point::PostgresCommitting => "postgres.committing",
            Point::PostgresCommitted => "postgres.committed",
        }
    }
}

#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn here(_: Point) {}

/// Where the process may end.
#[cfg(feature = "failpoints")]
pub fn here(point: Point) {
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
    use super::Point;
    use rustix::process::{Signal, getpid, kill_process};

    pub fn act(point: Point, action: Option<&str>) {
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
        let names: BTreeSet<_> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
        // The last variant's place: a new one that is not in the list shows here.
        assert_eq!(Point::PostgresCommitted as usize + 1, Point::ALL.len());
    }
}
