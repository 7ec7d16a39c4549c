//! One batch: operations on different submissions come in, and what each of them reads and writes is sent together with what
//! the others do, in one transaction.

use super::{
    bulk_rows::{Group, grouped},
    member_store::{Asked, MemberStore, Round},
    session::{PostgresStore, Ran},
};
use crate::{
    domain::SubmissionId,
    journal::{
        JournalError,
        bulk::RowStatement,
        store::{Row, Statement, Store, Value},
    },
};
use futures_util::future::BoxFuture;
use std::{
    collections::HashMap,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
};
use tokio::{sync::oneshot, task::unconstrained};

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

/// Runs all of them until they wait for the database, sends what they have asked, and goes on so until all are done.
pub async fn run_together(members: &mut [Box<dyn Member>], store: &mut PostgresStore<'_>) -> Result<(), BatchFault> {
    let round = Round::new(store.recent.cloned());
    let of_submission = members.iter().enumerate().map(|(index, it)| (Value::from(it.submission()), index));
    let of_submission: Vec<_> = of_submission.collect();
    let running = members.iter_mut().enumerate();
    let running = running.map(|(member, it)| Some(it.run(MemberStore { member, round: round.clone() })));
    let mut running = Running { members: running.collect(), failed: Vec::new(), panicked: Vec::new() };
    let mut have_written = Vec::new();
    loop {
        // Without tokio's budget, which would let a member wait that has its answer.
        unconstrained(poll_fn(|context| running.poll(context))).await;
        let half_done = running.failed.drain(..).filter(|member| have_written.contains(member));
        let spoilt: Vec<_> = half_done.chain(running.panicked.drain(..)).collect();
        if !spoilt.is_empty() {
            return Err(BatchFault::Members(spoilt));
        }
        let asked = round.take();
        if asked.is_empty() {
            return running.end();
        }
        have_written.extend(asked.iter().filter(|(_, asked)| asked.writes()).map(|(member, _)| *member));
        answer(store, asked, &of_submission).await?;
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

impl Asked {
    fn writes(&self) -> bool {
        match self {
            Asked::RowsOf(asked, _) => asked.iter().any(|asked| asked.bulk.writes()),
            // A query may write as well.
            Asked::Query(..) | Asked::Execute(..) | Asked::Write(..) => true,
        }
    }
}

/// What the members have asked, kind by kind.
#[derive(Default)]
struct Sorted {
    queries: Vec<(Statement, oneshot::Sender<Vec<Row>>)>,
    executes: Vec<(Vec<Statement>, oneshot::Sender<u64>)>,
    rows: Vec<(usize, RowStatement)>,
    written: Vec<oneshot::Sender<Option<String>>>,
    lookups: Vec<Group>,
    asked: Vec<AskedRows>,
}

/// Which of the lookups a member has asked.
struct AskedRows {
    member: usize,
    lookups: Vec<usize>,
    answer: oneshot::Sender<Vec<Vec<Row>>>,
}

impl Sorted {
    fn add(&mut self, member: usize, asked: Asked) {
        match asked {
            Asked::Query(statement, answer) => self.queries.push((statement, answer)),
            Asked::Execute(statements, answer) => self.executes.push((statements, answer)),
            Asked::Write(rows, answer) => {
                self.rows.extend(rows.into_iter().map(|row| (member, row)));
                self.written.push(answer);
            }
            Asked::RowsOf(asked, answer) => {
                let lookups = asked.into_iter().map(|asked| self.look_up(member, asked)).collect();
                self.asked.push(AskedRows { member, lookups, answer });
            }
        }
    }

    fn look_up(&mut self, member: usize, asked: RowStatement) -> usize {
        let known = self.lookups.iter().position(|group| std::ptr::eq(group.bulk, asked.bulk));
        let lookup = known.unwrap_or_else(|| {
            self.lookups.push(Group::new(asked.bulk));
            self.lookups.len() - 1
        });
        self.lookups[lookup].add(member, asked.values);
        lookup
    }
}

async fn answer(
    store: &mut PostgresStore<'_>,
    asked: Vec<(usize, Asked)>,
    of_submission: &[(Value, usize)],
) -> Result<(), BatchFault> {
    let mut sorted = Sorted::default();
    asked.into_iter().for_each(|(member, asked)| sorted.add(member, asked));
    let Sorted { queries, executes, rows, written, lookups, asked } = sorted;
    let groups: Vec<_> = lookups.into_iter().chain(grouped(rows)).collect();
    let Ran { rows, outdated, version } = store.run_groups(&groups).await?;
    if !outdated.is_empty() {
        return Err(BatchFault::Members(outdated));
    }
    let mut told: HashMap<(usize, usize), Vec<Row>> = HashMap::new();
    for (lookup, rows) in rows.into_iter().enumerate() {
        for row in rows {
            let owner = of_submission.iter().find(|(id, _)| row.first() == Some(id));
            let Some((_, member)) = owner else { continue };
            told.entry((lookup, *member)).or_default().push(row);
        }
    }
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
