//! World: one submission and everybody who touches it, as small as it can be said. Workers have no names: a world in which
//! two have changed places is the same world.

use jiff::Timestamp;
use punte::domain::{Code, Fault, Progress, Stage, State, StateName};
use std::hash::{Hash, Hasher};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub acceptance: Acceptance,
    /// Its process keeps the submission for the worker that comes first with its message.
    pub is_kept: bool,
    pub journal: Ledger,
    /// Messages in the broker's queue that nobody has in hand.
    pub ready: u8,
    pub relay: Relay,
    pub workers: [Worker; 2],
    pub agency: Agency,
    pub deadline_passed: bool,
    /// What may still go wrong, and how often an operator may still replay.
    pub faults_left: u8,
    pub replays_left: u8,
    pub restores_left: u8,
    /// Replays for which an operator has said that the effect may repeat.
    pub repeats_allowed: u8,
    /// The journal as it was at some moment.
    pub backup: Option<Box<Ledger>>,
    /// It is back in the journal's place, and nothing is sent until an operator has said so.
    pub is_held: bool,
    pub breach: Option<Breach>,
}

/// How far the gateway has come with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Acceptance {
    /// The journal is at it, and the message is with the broker already.
    UnderWay,
    Accepted,
    /// The journal has it, but whoever waits in its process is told otherwise.
    Unheard,
    /// The journal does not have it, and never will.
    Never,
}

/// The journal's truth, and what time has done to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    pub progress: Progress,
    pub outbox: Option<OutboxRow>,
    pub lease_over: bool,
    pub retry_due: bool,
    /// The last attempt that ended without anybody knowing its outcome.
    pub doubt: Doubt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OutboxRow {
    pub claimed: bool,
    /// Since it was added, though the claim may have run out.
    pub was_claimed: bool,
    /// Not before the agency is through with what was sent.
    pub waits_for_agency: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doubt {
    None,
    /// The agency may still be at it.
    Fresh,
    Old,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relay {
    Idle,
    Claimed,
    /// The broker has it, the journal does not know yet.
    Published,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Worker {
    pub step: Step,
    /// The broker counts on this worker's ack.
    pub holds_message: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    Idle,
    /// For the journal to have the submission.
    Waits,
    /// It has read the record, which may be old by now.
    Found {
        attempts: u32,
        asks: bool,
        /// Not from the journal, but from its own process, where it was accepted.
        kept: bool,
    },
    Begun(Turn),
    Asking {
        turn: Turn,
        /// Asked while the agency might still be at it.
        early: bool,
        heard: Option<Came>,
    },
    /// The agency has certainly not seen it.
    Cleared(Turn),
    /// The lease was good a moment ago.
    Leaving(Turn),
    Sent {
        turn: Turn,
        /// What the agency has said, once it has acted.
        said: Option<Came>,
    },
    Heard {
        turn: Turn,
        came: Came,
    },
    Done,
    /// There is no such worker in this world.
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Turn {
    pub attempt: u32,
    pub tries: u32,
    pub asks: bool,
    pub lease_over: bool,
    /// The journal knows of it.
    pub recorded: bool,
    /// The record was kept in the worker's own process.
    pub kept: bool,
}

/// What came of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Came {
    Answered,
    Refused,
    Waiting,
    Transient,
    /// Also: there was something that nobody can read.
    Lost,
    /// An unsigned word that the request is at fault.
    Blamed,
    LeaseOver,
    /// It has not left.
    NotConnected,
    /// The question has not left.
    NotAsked,
    NotSeen,
    TooEarly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Agency {
    pub effects: u8,
    pub refused: bool,
    /// It has taken this attempt, and works on it or has an answer for it that it may bring at any time, also twice.
    pub taken: u32,
    pub works: bool,
    /// Requests that no worker waits for any longer, and that have not arrived yet.
    pub strays: u8,
}

/// Something has happened that must never happen; no state alone would show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Breach {
    SentWhatIsNotBeingSent,
    SentWhatIsNotAccepted,
    AnEndHasChanged,
    TheMachineLeftUncertain,
}

impl World {
    pub fn new(workers: u8, faults: u8, replays: u8) -> Self {
        let idle = Worker { step: Step::Idle, holds_message: false };
        let nobody = Worker { step: Step::Absent, holds_message: false };
        Self {
            acceptance: Acceptance::Accepted,
            is_kept: false,
            journal: Ledger {
                progress: Progress::accepted(),
                outbox: Some(OutboxRow { claimed: false, was_claimed: false, waits_for_agency: false }),
                lease_over: false,
                retry_due: false,
                doubt: Doubt::None,
            },
            ready: 0,
            relay: Relay::Idle,
            workers: [idle, if workers > 1 { idle } else { nobody }],
            agency: Agency { effects: 0, refused: false, taken: 0, works: false, strays: 0 },
            deadline_passed: false,
            faults_left: faults,
            replays_left: replays,
            restores_left: 0,
            backup: None,
            is_held: false,
            repeats_allowed: 0,
            breach: None,
        }
    }

    /// The same, but the message is quicker than the journal.
    pub fn early(workers: u8, faults: u8, replays: u8) -> Self {
        let mut world = Self::new(workers, faults, replays);
        (world.acceptance, world.is_kept) = (Acceptance::UnderWay, true);
        (world.journal.outbox, world.relay, world.ready) = (None, Relay::Published, 1);
        world
    }

    /// Nothing more is to be done, or an operator is to do it.
    pub fn is_settled(&self) -> bool {
        self.acceptance == Acceptance::Never || self.state().is_settled()
    }

    pub fn state(&self) -> StateName {
        self.journal.progress.state.name()
    }

    pub fn is_sending(&self, attempt: u32) -> bool {
        matches!(self.journal.progress.state, State::Sending { attempt: current, .. } if current == attempt)
    }

    /// The agency has acted, or has it in hand.
    pub fn is_done_or_taken(&self) -> bool {
        self.agency.effects > 0 || self.agency.works
    }
}

impl Step {
    pub fn turn_mut(&mut self) -> Option<&mut Turn> {
        match self {
            Step::Begun(turn)
            | Step::Asking { turn, .. }
            | Step::Cleared(turn)
            | Step::Leaving(turn)
            | Step::Sent { turn, .. }
            | Step::Heard { turn, .. } => Some(turn),
            Step::Idle | Step::Waits | Step::Found { .. } | Step::Done | Step::Absent => None,
        }
    }
}

impl Acceptance {
    pub fn is_in_journal(self) -> bool {
        matches!(self, Acceptance::Accepted | Acceptance::Unheard)
    }
}

impl Ledger {
    /// Words and times decide nothing and would make many states of one.
    pub fn forget_words(&mut self) {
        let wordless = Fault { detail: String::new(), ..Fault::new(Code::Internal, Stage::Settle, "") };
        self.progress.waiting_since = None;
        match &mut self.progress.state {
            State::Retrying { due_at, fault } => (*due_at, *fault) = (Timestamp::UNIX_EPOCH, wordless),
            State::Parked { fault } | State::Uncertain { fault } | State::Expired { fault } => *fault = wordless,
            _ => {}
        }
    }
}

impl Eq for Ledger {}

impl Hash for Ledger {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // Since when it waits decides nothing.
        let Progress { state, attempts, tries, in_doubt, .. } = &self.progress;
        let by = if let State::Cancelled { by } = state { by.as_str() } else { "" };
        (state.name(), attempts, tries, in_doubt, by).hash(hasher);
        (self.outbox, self.lease_over, self.retry_due, self.doubt).hash(hasher);
    }
}
