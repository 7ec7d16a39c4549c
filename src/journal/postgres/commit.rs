//! What becomes of a batch: it is committed and its members are answered, or they are done apart.

use super::{
    batch::{BatchFault, End, Member, run_together},
    failure::Failure,
    held_rows::held,
    session::{PostgresStore, Session},
    shared::{OPERATION_TIMEOUT, Shared, late},
    transaction::begin,
};
use crate::{
    domain::SubmissionId,
    failpoints::{self, Failpoint},
};
use std::sync::Arc;
use tokio::time::timeout;

type Batch = Vec<Box<dyn Member>>;

/// How a transaction has ended.
enum Outcome {
    Committed,
    /// It was certainly rolled back, because of these of its members.
    SpoiltBy(Vec<usize>),
    /// It was certainly rolled back.
    RolledBack,
    /// Nobody knows.
    Unknown(String),
}

/// What it failed for, and whether it was being committed.
type Failed = (Failure, bool);

/// Commits as many of them together as can be, and answers all.
pub async fn commit(shared: Arc<Shared>, mut batch: Batch) {
    while !batch.is_empty() {
        match try_commit(&shared, &mut batch).await {
            Outcome::SpoiltBy(members) => batch = without(batch, &members),
            Outcome::Committed => return answer(batch, End::Committed),
            Outcome::RolledBack => return answer(batch, End::Apart),
            Outcome::Unknown(why) => return answer(batch, End::Failed(&why)),
        }
    }
}

fn answer(batch: Batch, end: End<'_>) {
    let half = batch.len() / 2;
    for (index, member) in batch.into_iter().enumerate() {
        if index == half {
            failpoints::hit(Failpoint::PostgresAnswering);
        }
        member.answer(end);
    }
}

/// The others; these are told that they are done apart.
fn without(batch: Batch, members: &[usize]) -> Batch {
    let (mut others, before) = (Vec::new(), batch.len());
    for (index, member) in batch.into_iter().enumerate() {
        if members.contains(&index) {
            member.answer(End::Apart);
        } else {
            others.push(member);
        }
    }
    tracing::debug!(operations = before, apart = before - others.len(), "a batch is tried again without some of it");
    others
}

async fn try_commit(shared: &Shared, batch: &mut Batch) -> Outcome {
    let mut held = match shared.lanes.take().await {
        Ok(held) => held,
        Err(failure) => return rolled_back(&failure),
    };
    let Ok(session) = held.session() else { return Outcome::RolledBack };
    let host = session.host.clone();
    let tried = timeout(OPERATION_TIMEOUT, run(shared, session, batch)).await;
    match tried.unwrap_or_else(|_| Err((late(), true))) {
        Ok(outcome) => {
            held.give_back();
            outcome
        }
        Err((failure, is_committing)) => {
            let failure = failure.at(&host);
            let outcome = match is_committing && !failure.finding.is_retryable {
                true => Outcome::Unknown(failure.text()),
                false if failure.finding.is_held => {
                    let submissions = batch.iter().map(|member| member.submission()).collect();
                    without_held(session, submissions, &failure).await
                }
                false => rolled_back(&failure),
            };
            match failure.finding.ends_session {
                true => shared.lanes.end(held, &failure),
                false => held.give_back(),
            }
            outcome
        }
    }
}

/// Why is told by those that are done apart, if they fail as well.
fn rolled_back(failure: &Failure) -> Outcome {
    tracing::debug!(error = %failure.error, "a batch was rolled back, and its operations are done apart");
    Outcome::RolledBack
}

/// Those that wait for a row that another session holds keep no other waiting.
async fn without_held(session: &mut Session, submissions: Vec<SubmissionId>, failure: &Failure) -> Outcome {
    match held(session, &submissions).await {
        Ok(members) if !members.is_empty() => Outcome::SpoiltBy(members),
        _ => rolled_back(failure),
    }
}

async fn run(shared: &Shared, session: &mut Session, batch: &mut Batch) -> Result<Outcome, Failed> {
    shared.compare(session).await.map_err(before_commit)?;
    shared.continuity.check().map_err(|error| before_commit(error.into()))?;
    let Session { client, way, recent, .. } = session;
    let transaction = begin(client, way).await.map_err(before_commit)?;
    let mut store = PostgresStore::new(transaction.client(), way, recent);
    match run_together(batch, &mut store).await {
        Ok(()) => {}
        Err(BatchFault::Members(members)) => return Ok(Outcome::SpoiltBy(members)),
        Err(BatchFault::Store(error)) => return Err(before_commit(Failure { error, finding: store.finding })),
    }
    // It may have been suspended since the batch was begun.
    shared.continuity.check().map_err(|error| before_commit(error.into()))?;
    failpoints::hit(Failpoint::PostgresCommitting);
    transaction.commit().await.map_err(|error| (Failure::of(&error, true), true))?;
    failpoints::hit(Failpoint::PostgresCommitted);
    Ok(Outcome::Committed)
}

fn before_commit(failure: Failure) -> Failed {
    (failure, false)
}
