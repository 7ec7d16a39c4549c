//! Worker: one step of delivery after the other, in production's order. Between any two it may be slow, frozen, cut off from
//! the broker, or dead.

use super::{
    agency::{DEEDS, Deed},
    moves::{Model, goes_wrong},
    rules::{Outcome, START, TIMEOUT, after_start, lease_end},
    world::{Acceptance, Breach, Came, Doubt, Step, Turn, Worker, World},
};
use jiff::SignedDuration;
use punte::{
    delivery::{Asked, Case, settled_at},
    domain::{Attempt, AttemptOutcome, Code, Effect, Event, Fault, Progress, Stage, StateName, SubmissionId},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    Takes,
    /// So many have come after it that its process has forgotten it.
    TakesWhatIsForgotten,
    /// What has become of the acceptance.
    HearsOfIt,
    CannotPrepare {
        mends_itself: bool,
    },
    /// The agency's circuit is open.
    HoldsBack,
    Begins,
    /// The journal learns of it later.
    BeginsUnrecorded,
    LooksAtItsLease,
    Leaves,
    /// No connection: it has certainly not left.
    IsNotConnected,
    AgencyIsAsked,
    AgencyMeetsIt(Deed),
    Hears,
    GivesUp,
    /// Somebody on the way, who has passed the request on or will, says unsigned that it is at fault.
    IsBlamed,
    /// The exchange takes so long that the journal learns of it meanwhile.
    RecordsItsBeginning,
    Records,
    /// The journal has done it, but its word does not reach the worker, which says it again.
    RecordsUnheard,
    Acks,
    /// The broker gives the message to somebody else; the worker goes on.
    IsCutOff,
    /// For longer than the lease that nobody else knows of.
    Freezes,
    Crashes,
}

pub fn is_fault(it: Move) -> bool {
    matches!(
        it,
        Move::TakesWhatIsForgotten
            | Move::CannotPrepare { .. }
            | Move::IsBlamed
            | Move::IsNotConnected
            | Move::RecordsUnheard
            | Move::IsCutOff
            | Move::Freezes
            | Move::Crashes
    )
}

pub fn moves(worker: &Worker) -> Vec<Move> {
    let mut moves = match worker.step {
        Step::Idle => return vec![Move::Takes, Move::TakesWhatIsForgotten],
        Step::Absent => return vec![],
        // It dies with its gateway.
        Step::Waits => return vec![Move::HearsOfIt, Move::IsCutOff],
        Step::Found { .. } => {
            let cannot = |mends_itself| Move::CannotPrepare { mends_itself };
            vec![Move::Begins, Move::BeginsUnrecorded, cannot(true), cannot(false), Move::HoldsBack]
        }
        Step::Begun(_) | Step::Cleared(_) => vec![Move::LooksAtItsLease, Move::IsNotConnected],
        Step::Leaving(_) => vec![Move::Leaves],
        Step::Asking { heard: None, .. } => vec![Move::AgencyIsAsked, Move::GivesUp],
        Step::Sent { said: None, .. } => DEEDS
            .into_iter()
            .map(Move::AgencyMeetsIt)
            .chain([Move::GivesUp, Move::IsBlamed, Move::RecordsItsBeginning])
            .collect(),
        Step::Asking { heard: Some(_), .. } | Step::Sent { said: Some(_), .. } => vec![Move::Hears, Move::GivesUp],
        Step::Heard { .. } => vec![Move::Records, Move::RecordsUnheard],
        Step::Done => vec![Move::Acks],
    };
    moves.extend([Move::IsCutOff, Move::Freezes, Move::Crashes]);
    moves
}

pub fn step(model: &Model, world: &mut World, place: usize, it: Move) -> Option<()> {
    let step = world.workers[place].step;
    let next = match (it, step) {
        (Move::Takes, Step::Idle) => {
            let is_kept = std::mem::take(&mut world.is_kept);
            takes(world, place)?;
            if is_kept { kept(model, world) } else { found(model, world) }
        }
        (Move::TakesWhatIsForgotten, Step::Idle) => {
            std::mem::take(&mut world.is_kept).then_some(())?;
            goes_wrong(world)?;
            takes(world, place)?;
            found(model, world)
        }
        (Move::HearsOfIt, Step::Waits) => {
            (world.acceptance != Acceptance::UnderWay).then_some(())?;
            kept(model, world)
        }
        (Move::CannotPrepare { mends_itself }, Step::Found { .. }) => {
            goes_wrong(world)?;
            let code = if mends_itself { Code::IdentityUnusable } else { Code::TemplateFailed };
            model.record(world, (model.rules.unsendable)(fault(code)));
            Step::Done
        }
        // What is not queued in the journal yet stays in hand.
        (Move::HoldsBack, Step::Found { .. }) => {
            let (due_at, since) = (START, START);
            let event = Event::HeldBack { due_at, since, fault: fault(Code::AgencyAway) };
            (model.record(world, event) || world.state() != StateName::Accepted).then_some(())?;
            Step::Done
        }
        (Move::Begins, Step::Found { attempts, asks, kept }) => match begins(model, world, attempts + 1, asks) {
            Some(tries) => {
                Step::Begun(Turn { attempt: attempts + 1, tries, asks, lease_over: false, recorded: true, kept })
            }
            None => after_all(model, world, kept),
        },
        (Move::BeginsUnrecorded, Step::Found { attempts, asks, kept }) => {
            (!(model.rules.leases_first)(model.effect, SignedDuration::ZERO)).then_some(())?;
            let tries = world.journal.progress.tries + 1;
            Step::Begun(Turn { attempt: attempts + 1, tries, asks, lease_over: false, recorded: false, kept })
        }
        (Move::RecordsItsBeginning, Step::Sent { turn, said: None }) => {
            (!turn.recorded).then_some(())?;
            match begins(model, world, turn.attempt, turn.asks) {
                Some(tries) => Step::Sent { turn: Turn { tries, recorded: true, ..turn }, said: None },
                None => {
                    goes_astray(world, None);
                    after_all(model, world, turn.kept)
                }
            }
        }
        (Move::LooksAtItsLease, Step::Begun(turn) | Step::Cleared(turn)) if !is_leased(model, turn) => {
            Step::Heard { turn, came: Came::LeaseOver }
        }
        (Move::LooksAtItsLease, Step::Begun(turn)) if turn.asks => {
            Step::Asking { turn, early: world.journal.doubt == Doubt::Fresh, heard: None }
        }
        (Move::LooksAtItsLease, Step::Begun(turn) | Step::Cleared(turn)) => {
            if model.rules.order.looks_and_sends_at_once { leaves(model, world, turn) } else { Step::Leaving(turn) }
        }
        (Move::Leaves, Step::Leaving(turn)) => leaves(model, world, turn),
        // Whoever could not ask leaves the doubt as it was.
        (Move::IsNotConnected, Step::Begun(turn)) if turn.asks => {
            goes_wrong(world)?;
            Step::Heard { turn, came: Came::NotAsked }
        }
        (Move::IsNotConnected, Step::Begun(turn) | Step::Cleared(turn)) => {
            goes_wrong(world)?;
            Step::Heard { turn, came: Came::NotConnected }
        }
        (Move::AgencyIsAsked, Step::Asking { turn, early, heard: None }) => {
            let heard = world.agency.known().unwrap_or(Came::NotSeen);
            if heard == Came::Waiting {
                world.agency.taken = turn.attempt.max(world.agency.taken);
            }
            Step::Asking { turn, early, heard: Some(heard) }
        }
        (Move::AgencyMeetsIt(deed), Step::Sent { turn, said: None }) => {
            let said = world.agency.act(model.effect, deed, turn.attempt)?;
            Step::Sent { turn, said: Some(said) }
        }
        (Move::Hears, Step::Sent { turn, said: Some(came) }) => Step::Heard { turn, came },
        (Move::Hears, Step::Asking { turn, early, heard: Some(came) }) => {
            told(model, world, turn, outcome(came), early)
        }
        (Move::GivesUp, Step::Sent { turn, said }) => {
            is_silent(model, world, turn)?;
            goes_astray(world, said);
            Step::Heard { turn, came: Came::Lost }
        }
        (Move::IsBlamed, Step::Sent { turn, said: None }) => {
            // A read leaves no doubt, so that it would only be another way to be parked.
            (model.effect != Effect::Read).then_some(())?;
            goes_wrong(world)?;
            goes_astray(world, None);
            Step::Heard { turn, came: Came::Blamed }
        }
        (Move::GivesUp, Step::Asking { turn, early, .. }) => {
            is_silent(model, world, turn)?;
            told(model, world, turn, outcome(Came::Lost), early)
        }
        (Move::Records, Step::Heard { turn, came }) => {
            records(model, world, turn, came);
            Step::Done
        }
        (Move::RecordsUnheard, Step::Heard { turn, came }) => {
            goes_wrong(world)?;
            records(model, world, turn, came);
            step
        }
        (Move::Acks, Step::Done) => {
            world.workers[place].holds_message = false;
            Step::Idle
        }
        (Move::IsCutOff, _) => {
            gives_back(world, place)?;
            goes_wrong(world)?;
            step
        }
        (Move::Freezes, _) => {
            let turn = world.workers[place].step.turn_mut().filter(|turn| !turn.recorded && !turn.lease_over)?;
            turn.lease_over = true;
            goes_wrong(world)?;
            world.workers[place].step
        }
        (Move::Crashes, _) => {
            goes_wrong(world)?;
            dies(world, place);
            Step::Idle
        }
        _ => return None,
    };
    world.workers[place].step = next;
    Some(())
}

pub fn dies(world: &mut World, place: usize) {
    gives_back(world, place);
    if let Step::Sent { said, .. } = world.workers[place].step {
        goes_astray(world, said);
    }
    if world.workers[place].step != Step::Absent {
        world.workers[place].step = Step::Idle;
    }
}

fn takes(world: &mut World, place: usize) -> Option<()> {
    world.ready = world.ready.checked_sub(1)?;
    world.workers[place].holds_message = true;
    Some(())
}

/// What its own process has kept of it: as it was accepted, once the journal has it.
fn kept(model: &Model, world: &World) -> Step {
    match world.acceptance {
        Acceptance::UnderWay if model.rules.order.waits_for_the_journal => Step::Waits,
        Acceptance::UnderWay | Acceptance::Accepted if !world.deadline_passed => {
            let asks = (model.rules.asks_first)(model.effect, &Progress::accepted());
            Step::Found { attempts: 0, asks, kept: true }
        }
        Acceptance::UnderWay | Acceptance::Accepted | Acceptance::Unheard | Acceptance::Never => Step::Done,
    }
}

/// As the journal has it.
fn found(model: &Model, world: &World) -> Step {
    let progress = &world.journal.progress;
    let is_to_do = world.acceptance.is_in_journal() && (model.rules.is_to_do)(progress.state.name());
    if !is_to_do || world.deadline_passed {
        return Step::Done;
    }
    Step::Found { attempts: progress.attempts, asks: (model.rules.asks_first)(model.effect, progress), kept: false }
}

/// It is not as it was when it was kept, so that the journal is asked how it is. Who has asked it already leaves it to others.
fn after_all(model: &Model, world: &World, kept: bool) -> Step {
    if kept { found(model, world) } else { Step::Done }
}

/// Its tries, unless somebody else has it.
fn begins(model: &Model, world: &mut World, attempt: u32, asks_first: bool) -> Option<u32> {
    let is_ours = model.record(world, Event::Begun { attempt, lease_until: lease_end(), asks_first });
    is_ours.then_some(world.journal.progress.tries)
}

fn is_leased(model: &Model, turn: Turn) -> bool {
    (model.rules.may_leave)(if turn.lease_over { lease_end() } else { START }, TIMEOUT, lease_end())
}

fn leaves(model: &Model, world: &mut World, turn: Turn) -> Step {
    // Two reads of which the journal does not know may bear one number, and the answer to the one ends the other as well.
    if model.effect != Effect::Read && !world.is_sending(turn.attempt) && model.rules.order.looks_and_sends_at_once {
        world.breach = Some(Breach::SentWhatIsNotBeingSent);
    }
    if !world.acceptance.is_in_journal() {
        world.breach = Some(Breach::SentWhatIsNotAccepted);
    }
    Step::Sent { turn, said: None }
}

fn told(model: &Model, world: &World, turn: Turn, outcome: Outcome, early: bool) -> Step {
    let early =
        if model.rules.order.judges_by_the_time_of_asking { early } else { world.journal.doubt == Doubt::Fresh };
    let through = 2 * TIMEOUT.as_secs() as i64;
    let now = if early { START } else { after_start(through) };
    let came = came_of(&outcome);
    match (model.rules.after_asking)(outcome, now, settled_at(&attempts(world), TIMEOUT)) {
        Asked::NeverSeen => Step::Cleared(turn),
        Asked::TooEarly(_) => Step::Heard { turn, came: Came::TooEarly },
        Asked::Told(Ok(_)) => Step::Heard { turn, came },
        Asked::Told(Err(_)) => Step::Heard { turn, came: Came::Lost },
    }
}

/// The one attempt that counts: the last whose outcome nobody knows.
fn attempts(world: &World) -> Vec<Attempt> {
    if world.journal.doubt == Doubt::None {
        return vec![];
    }
    let submission = SubmissionId::from(uuid::Uuid::nil());
    let outcome = Some(AttemptOutcome::Failed { fault: fault(Code::NetworkTimeout) });
    vec![Attempt { submission, number: 1, begun_at: START, ended_at: Some(START), outcome, wire: None }]
}

fn records(model: &Model, world: &mut World, turn: Turn, came: Came) {
    let Turn { attempt, tries, .. } = turn;
    let (effect, schedule, pause) = (model.effect, &model.schedule, SignedDuration::ZERO);
    let case = Case { effect, attempt, tries, schedule, now: START, waiting_since: None, is_halted: false, pause };
    let event = match came {
        Came::TooEarly | Came::LeaseOver => Event::PutBack { attempt },
        Came::NotAsked => match (model.rules.after_asking)(outcome(came), START, START) {
            Asked::Told(told) => (model.rules.settle)(told, case),
            Asked::NeverSeen | Asked::TooEarly(_) => Event::PutBack { attempt },
        },
        _ => (model.rules.settle)(outcome(came), case),
    };
    // Forbidden is an answer as well: somebody has taken it up meanwhile. Both are recorded, or neither.
    let begun = Event::Begun { attempt, lease_until: lease_end(), asks_first: turn.asks };
    if (turn.recorded || model.record_of_before_deadline(world, begun)) && model.record(world, event) {
        // What has not left for want of time goes out again at once.
        let row = world.journal.outbox.as_mut().filter(|_| came == Came::LeaseOver);
        row.into_iter().for_each(|row| row.waits_for_agency = false);
    }
}

/// Silence uses no try, so it has to be bounded here: as often as there are tries it costs nothing, and then it is one of the few
/// faults that a run allows.
fn is_silent(model: &Model, world: &mut World, turn: Turn) -> Option<()> {
    if turn.attempt > model.schedule.max_attempts() { goes_wrong(world) } else { Some(()) }
}

fn outcome(came: Came) -> Outcome {
    match came {
        Came::Blamed => Err(fault(Code::AgencySoapClientFault)),
        Came::NotConnected | Came::NotAsked => Err(fault(Code::NetworkConnect)),
        _ => came.reading().ok_or_else(|| fault(Code::NetworkReset)),
    }
}

fn came_of(outcome: &Outcome) -> Came {
    let all = [Came::Answered, Came::Refused, Came::Waiting, Came::Transient, Came::NotSeen];
    let is_it = |came: &Came| outcome.is_ok() && came.reading().as_ref() == outcome.as_ref().ok();
    all.into_iter().find(is_it).unwrap_or(Came::Lost)
}

fn gives_back(world: &mut World, place: usize) -> Option<()> {
    std::mem::take(&mut world.workers[place].holds_message).then_some(())?;
    world.ready += 1;
    Some(())
}

/// Whoever gives up ends nothing at the agency. One on its way is as bad as more.
fn goes_astray(world: &mut World, said: Option<Came>) {
    if said.is_none() {
        world.agency.strays = 1;
    }
}

fn fault(code: Code) -> Fault {
    Fault::new(code, Stage::Send, "")
}
