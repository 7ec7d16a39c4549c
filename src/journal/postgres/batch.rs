//! One batch: operations on different submissions come in, and what each of them reads and writes is sent together with what
//! the others do.

use super::{
    member_store::{Asked, MemberStore, Pass, Round},
    questions::{AskedRows, Questions},
    recent::Recent,
    session::{PostgresStore, Ran},
};
use crate::{
    domain::SubmissionId,
    journal::{
        JournalError,
        store::{Row, Store, Value},
    },
};
use futures_util::future::BoxFuture;
use std::{
    collections::HashMap,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll},
};
use tokio::task::unconstrained;

/// An operation in a batch. It may be run again after its transaction was rolled back.
pub trait Member: Send {
    fn submission(&self) -> SubmissionId;
    /// Nobody waits for it any more.
    fn is_given_up(&self) -> bool;
    /// Whether it has come to what may be committed.
    fn run(&mut self, store: MemberStore) -> BoxFuture<'_, bool>;
    fn answer(self: Box<Self>, end: End<'_>);
}

/// What has become of a member's transaction.
#[derive(Clone, Copy)]
pub enum End<'a> {
    Committed,
    /// It was rolled back, and this member is to be done alone.
    Apart,
    /// Nobody knows whether it was committed.
    Failed(&'a str),
}

/// Why a batch cannot be committed.
pub enum BatchFault {
    /// Because of these members: the others may be tried again together.
    Members(Vec<usize>),
    /// What the store has found says more.
    Store(JournalError),
}

impl From<JournalError> for BatchFault {
    fn from(error: JournalError) -> Self {
        Self::Store(error)
    }
}

/// The operations of a batch, which go on together: what all of them ask is asked at once.
pub struct Together<'a> {
    round: Round,
    running: Running<'a>,
    of_submission: Vec<(Value, usize)>,
    have_written: Vec<usize>,
}

impl<'a> Together<'a> {
    pub fn start(members: &'a mut [Box<dyn Member>], recent: Option<Arc<Recent>>, pass: Pass) -> Self {
        let round = Round::new(recent, pass);
        let of_submission = members.iter().enumerate().map(|(index, it)| (Value::from(it.submission()), index));
        let of_submission = of_submission.collect();
        let running = members.iter_mut().enumerate();
        let running = running.map(|(member, it)| Some(it.run(MemberStore { member, round: round.clone() })));
        let running = Running { members: running.collect(), failed: Vec::new(), panicked: Vec::new() };
        Self { round, running, of_submission, have_written: Vec::new() }
    }

    /// Until all of them wait for the database, or are done. What they ask.
    async fn go_on(&mut self) -> Result<Vec<(usize, Asked)>, BatchFault> {
        let running = &mut self.running;
        // Without tokio's budget, which would let a member wait that has its answer.
        unconstrained(poll_fn(|context| running.poll(context))).await;
        let half_done = running.failed.drain(..).filter(|member| self.have_written.contains(member));
        let spoilt: Vec<_> = half_done.chain(running.panicked.drain(..)).collect();
        if spoilt.is_empty() { Ok(self.round.take()) } else { Err(BatchFault::Members(spoilt)) }
    }

    /// Answers whatever only reads, which needs no transaction. What is left when nobody reads any more.
    pub async fn read(&mut self, store: &mut PostgresStore<'_>) -> Result<Questions, BatchFault> {
        let mut left = Vec::new();
        loop {
            let (writes, reads): (Vec<_>, Vec<_>) =
                self.go_on().await?.into_iter().partition(|(_, asked)| asked.writes());
            left.extend(writes);
            if reads.is_empty() {
                // Who had nothing to read has come first; the members are in the order in which locks are taken.
                left.sort_by_key(|(member, _)| *member);
                return Ok(Questions::of(left));
            }
            self.answer(store, Questions::of(reads)).await?;
        }
    }

    /// Answers all that they ask, in a transaction, until they are done; first what is left.
    pub async fn run(&mut self, store: &mut PostgresStore<'_>, left: Questions) -> Result<(), BatchFault> {
        let mut questions = left;
        loop {
            self.have_written.append(&mut questions.writers);
            self.answer(store, questions).await?;
            questions = Questions::of(self.go_on().await?);
            if questions.is_empty() {
                return self.running.end();
            }
        }
    }

    /// All is committed: they hear it, and end.
    pub async fn end(mut self, mut written: Questions, version: Option<&str>) {
        self.have_written.append(&mut written.writers);
        written.are_written(version);
        if self.go_on().await.is_err() || self.running.end().is_err() {
            tracing::error!(
                "an operation of the journal went on after it had written, and will say that it has failed"
            );
        }
    }

    async fn answer(&mut self, store: &mut PostgresStore<'_>, questions: Questions) -> Result<(), BatchFault> {
        let Ran { rows, outdated, version } = store.run_groups(&questions.groups).await?;
        if !outdated.is_empty() {
            return Err(BatchFault::Members(outdated));
        }
        let mut told: HashMap<(usize, usize), Vec<Row>> = HashMap::new();
        for (lookup, rows) in rows.into_iter().enumerate() {
            for row in rows {
                let owner = self.of_submission.iter().find(|(id, _)| row.first() == Some(id));
                let Some((_, member)) = owner else { continue };
                told.entry((lookup, *member)).or_default().push(row);
            }
        }
        let Questions { asked, written, queries, executes, .. } = questions;
        // A member that is gone needs no answer.
        for AskedRows { member, lookups, answer } in asked {
            let found = lookups.into_iter().map(|lookup| told.remove(&(lookup, member)).unwrap_or_default());
            let _ = answer.send(found.collect());
        }
        for answer in written {
            let _ = answer.send(version.clone());
        }
        for (statement, answer) in queries {
            let _ = answer.send(store.query(statement).await?);
        }
        for (statements, answer) in executes {
            let _ = answer.send(store.execute(statements).await?);
        }
        Ok(())
    }
}

/// The members' operations, as far as they are not done.
struct Running<'a> {
    members: Vec<Option<BoxFuture<'a, bool>>>,
    failed: Vec<usize>,
    panicked: Vec<usize>,
}

impl Running<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for (index, slot) in self.members.iter_mut().enumerate() {
            let Some(member) = slot else { continue };
            match catch_unwind(AssertUnwindSafe(|| member.as_mut().poll(context))) {
                Ok(Poll::Pending) => continue,
                Ok(Poll::Ready(is_good)) => self.failed.extend((!is_good).then_some(index)),
                // It panics once more when it is done apart, and harms no other.
                Err(_) => self.panicked.push(index),
            }
            *slot = None;
        }
        Poll::Ready(())
    }

    fn end(&self) -> Result<(), BatchFault> {
        match self.members.iter().all(Option::is_none) {
            true => Ok(()),
            false => {
                Err(JournalError::Unavailable("an operation waited for something else than the journal".into()).into())
            }
        }
    }
}
