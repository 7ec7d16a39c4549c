//! The gathering writer: operations on single submissions come in; those that wait at the same time share a transaction, and
//! one wait for the disk.
//!
//! Two operations on one submission are never in a batch, nor in two at once. A batch that cannot be committed is rolled back and
//! its operations are done apart, so that one of them spoils no other.
//!
//! What it brings, with all that goes with it, at 64 waiting clients beside a build without it
//! (`cargo bench --features jemalloc --bench road -- postgres --clients 64 --rival PATH`): 1.5 × the requests a second; a submission
//! then took 1.8 statements, 1.1 round trips, 0.29 transactions and 0.21 waits for the disk in the place of 15, 9.3, 2.1 and 1.3,
//! now that what is known (`recent.rs`) is not read, 1.3, 0.7, 0.20 and 0.18, and now that a batch is one statement
//! (`one_statement.rs`), 0.25, 0.25, 0.18 and 0.16.

use super::{
    batch::{End, Member},
    member_store::MemberStore,
};
use crate::{
    domain::SubmissionId,
    failpoints::{self, Failpoint},
    journal::{JournalError, operations::Operation},
};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// Batches that are under way at the same time, each on a connection of its own.
pub const LANES: usize = 3;
/// Operations in one batch at most.
const BATCH_OPERATIONS: usize = 128;
/// Operations that may wait before callers have to.
const WAITING_OPERATIONS: usize = 1024;
/// While another batch is under way, one waits so long for more, unless so many wait already.
const LINGER: Duration = Duration::from_micros(1500);
const ENOUGH_OPERATIONS: usize = 24;

/// What has become of an operation.
pub enum Gathered<O: Operation> {
    Done(Result<O::Output, JournalError>),
    /// It was not done, and is to be done alone.
    Apart(O),
}

/// The journal holds it. Its task ends once this is dropped and all is done.
pub struct Writer(mpsc::Sender<Box<dyn Member>>);

struct Pending<O: Operation> {
    submission: SubmissionId,
    operation: O,
    outcome: Result<O::Output, JournalError>,
    answer: oneshot::Sender<Gathered<O>>,
}

impl Writer {
    /// `commit` tries a batch and answers its members.
    pub fn start(commit: impl Fn(Vec<Box<dyn Member>>) -> BoxFuture<'static, ()> + Send + 'static) -> Self {
        let (sender, coming) = mpsc::channel(WAITING_OPERATIONS);
        tokio::spawn(write_until_closed(coming, commit));
        Self(sender)
    }

    pub async fn write<O: Operation>(&self, submission: SubmissionId, operation: O) -> Gathered<O> {
        let (answer, answered) = oneshot::channel();
        let pending = Pending { submission, operation, outcome: Err(stopped()), answer };
        if self.0.send(Box::new(pending)).await.is_err() {
            return Gathered::Done(Err(stopped()));
        }
        answered.await.unwrap_or_else(|_| Gathered::Done(Err(stopped())))
    }
}

fn stopped() -> JournalError {
    JournalError::Unavailable("the journal's writer has stopped".into())
}

impl<O: Operation> Member for Pending<O> {
    fn submission(&self) -> SubmissionId {
        self.submission
    }

    fn is_given_up(&self) -> bool {
        self.answer.is_closed()
    }

    fn run(&mut self, mut store: MemberStore) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            self.outcome = self.operation.run(&mut store).await;
            self.outcome.is_ok()
        })
    }

    fn answer(self: Box<Self>, end: End<'_>) {
        let Self { operation, outcome, answer, .. } = *self;
        // A caller that has gone away needs no answer.
        let _ = answer.send(match end {
            End::Committed => Gathered::Done(outcome),
            End::Apart => Gathered::Apart(operation),
            End::Failed(why) => Gathered::Done(Err(JournalError::Unavailable(why.to_owned()))),
        });
    }
}

/// What waits, and what is under way.
struct Waiting {
    members: VecDeque<Box<dyn Member>>,
    /// When the first of them has come.
    since: Instant,
    under_way: HashSet<SubmissionId>,
}

async fn write_until_closed(
    mut coming: mpsc::Receiver<Box<dyn Member>>,
    commit: impl Fn(Vec<Box<dyn Member>>) -> BoxFuture<'static, ()>,
) {
    let mut waiting = Waiting { members: VecDeque::new(), since: Instant::now(), under_way: HashSet::new() };
    let mut lanes = FuturesUnordered::new();
    let mut is_open = true;
    while is_open || !lanes.is_empty() || !waiting.members.is_empty() {
        let mut more = Vec::new();
        let linger = waiting.since + LINGER;
        let has_room = waiting.members.len() < WAITING_OPERATIONS;
        let lingers = !waiting.members.is_empty() && lanes.len() < LANES && !waiting.is_stuck();
        tokio::select! {
            Some(done) = lanes.next(), if !lanes.is_empty() => waiting.is_over(done),
            count = coming.recv_many(&mut more, BATCH_OPERATIONS), if is_open && has_room => {
                is_open = count > 0;
                waiting.add(more);
                if lanes.is_empty() {
                    let_others_come().await;
                }
            }
            () = sleep_until(linger), if lingers => {}
        }
        while waiting.members.len() < WAITING_OPERATIONS
            && let Ok(member) = coming.try_recv()
        {
            waiting.add(vec![member]);
        }
        while lanes.len() < LANES && waiting.may_begin(lanes.is_empty()) {
            let batch = waiting.take();
            if batch.is_empty() {
                break;
            }
            failpoints::hit(Failpoint::PostgresGathered);
            let submissions: Vec<_> = batch.iter().map(|member| member.submission()).collect();
            lanes.push(ended(tokio::spawn(commit(batch)), submissions));
        }
    }
}

/// What is not under way any more.
async fn ended(committing: JoinHandle<()>, submissions: Vec<SubmissionId>) -> Vec<SubmissionId> {
    // What a panic says may be about a person.
    if committing.await.is_err() {
        tracing::error!("a batch of the journal's operations came to no end");
    }
    submissions
}

/// What is ready to run now may have something to write as well. Further rounds brought nothing that could be measured.
async fn let_others_come() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

impl Waiting {
    fn add(&mut self, members: Vec<Box<dyn Member>>) {
        if self.members.is_empty() {
            self.since = Instant::now();
        }
        self.members.extend(members);
    }

    fn is_over(&mut self, submissions: Vec<SubmissionId>) {
        self.under_way.retain(|submission| !submissions.contains(submission));
    }

    /// All that wait are about submissions that are under way.
    fn is_stuck(&self) -> bool {
        self.members.iter().all(|member| self.under_way.contains(&member.submission()))
    }

    fn may_begin(&self, is_idle: bool) -> bool {
        is_idle || self.members.len() >= ENOUGH_OPERATIONS || self.since.elapsed() >= LINGER
    }

    /// Those that may be done now; each submission once, and in the order of their identifiers, in which every process takes its
    /// locks. What nobody waits for any more is not done.
    fn take(&mut self) -> Vec<Box<dyn Member>> {
        let (mut batch, mut left) = (Vec::new(), VecDeque::new());
        let mut passed_over = HashSet::new();
        for member in self.members.drain(..).filter(|member| !member.is_given_up()) {
            let submission = member.submission();
            let is_free = batch.len() < BATCH_OPERATIONS && !passed_over.contains(&submission);
            if is_free && self.under_way.insert(submission) {
                batch.push(member);
            } else {
                passed_over.insert(submission);
                left.push_back(member);
            }
        }
        (self.members, self.since) = (left, Instant::now());
        batch.sort_by_key(|member| member.submission());
        batch
    }
}
