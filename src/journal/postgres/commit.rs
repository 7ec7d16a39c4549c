//! What becomes of a batch: it is committed and its members are answered, or they are done apart.

use super::{
    batch::{BatchFault, End, Member, Together},
    failure::{Failure, is_refusal},
    held_rows::held,
    member_store::Pass,
    questions::Questions,
    session::{AsOne, PostgresStore, Session, Way},
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
    /// The same, because of some that are still to be found.
    SpoiltBySome,
    /// It was certainly rolled back.
    RolledBack,
    /// Nobody knows.
    Unknown(String),
}

/// What it failed for, and whether it was being committed.
type Failed = (Failure, bool);

/// Commits as many of them together as can be, and answers all.
pub async fn commit(shared: Arc<Shared>, mut batch: Batch) {
    let mut pass = Pass::First;
    while !batch.is_empty() {
        match try_commit(&shared, &mut batch, pass).await {
            Outcome::SpoiltBy(members) => batch = without(batch, &members),
            Outcome::SpoiltBySome => pass = Pass::Again,
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

async fn try_commit(shared: &Shared, batch: &mut Batch, pass: Pass) -> Outcome {
    let mut held = match shared.lanes.take().await {
        Ok(held) => held,
        Err(failure) => return rolled_back(&failure),
    };
    let Ok(session) = held.session() else { return Outcome::RolledBack };
    let host = session.host.clone();
    let tried = timeout(OPERATION_TIMEOUT, run(shared, session, batch, pass)).await;
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

/// In the first pass it is written by one statement, if it can be. That does not say who was outdated.
async fn run(shared: &Shared, session: &mut Session, batch: &mut Batch, pass: Pass) -> Result<Outcome, Failed> {
    shared.compare(session).await.map_err(before_commit)?;
    shared.continuity.check().map_err(|error| before_commit(error.into()))?;
    let Session { client, way, recent, .. } = session;
    let is_direct = matches!(way, Way::Direct(_));
    let mut together = Together::start(batch, is_direct.then(|| recent.clone()), pass);
    let mut left = Questions::default();
    if is_direct && pass == Pass::First {
        let mut store = PostgresStore::new(client, way, recent);
        let questions = match together.read(&mut store).await {
            Ok(questions) => questions,
            Err(fault) => return spoilt(fault, &store),
        };
        match write_as_one(shared, &mut store, &questions).await? {
            Some(AsOne::Written(version)) => {
                together.end(questions, version.as_deref()).await;
                return Ok(Outcome::Committed);
            }
            Some(AsOne::Outdated) => return Ok(Outcome::SpoiltBySome),
            None => left = questions,
        }
    }
    let transaction = begin(client, way).await.map_err(before_commit)?;
    let mut store = PostgresStore::new(transaction.client(), way, recent);
    if let Err(fault) = together.run(&mut store, left).await {
        return spoilt(fault, &store);
    }
    // It may have been suspended since the batch was begun.
    shared.continuity.check().map_err(|error| before_commit(error.into()))?;
    failpoints::hit(Failpoint::PostgresCommitting);
    transaction.commit().await.map_err(|error| (Failure::of(&error, true), true))?;
    failpoints::hit(Failpoint::PostgresCommitted);
    Ok(Outcome::Committed)
}

fn spoilt(fault: BatchFault, store: &PostgresStore<'_>) -> Result<Outcome, Failed> {
    match fault {
        BatchFault::Members(members) => Ok(Outcome::SpoiltBy(members)),
        BatchFault::Store(error) => Err(before_commit(Failure { error, finding: store.finding })),
    }
}

/// `None`: it cannot be done so.
async fn write_as_one(
    shared: &Shared,
    store: &mut PostgresStore<'_>,
    questions: &Questions,
) -> Result<Option<AsOne>, Failed> {
    let Some(groups) = questions.only_writes() else { return Ok(None) };
    if groups.is_empty() {
        return Ok(Some(AsOne::Written(None)));
    }
    let prepared = store.mixture(groups).await.map_err(|error| before_commit(Failure::of(&error, false)))?;
    let Some(prepared) = prepared else { return Ok(None) };
    // It may have been suspended since the batch was begun.
    shared.continuity.check().map_err(|error| before_commit(error.into()))?;
    // Nothing was sent yet that may have been done.
    if store.is_closed() {
        return Err(before_commit(Failure::lost()));
    }
    failpoints::hit(Failpoint::PostgresCommitting);
    let written = match store.write_as_one(&prepared, groups).await {
        Ok(written) => written,
        Err(error) => {
            // A statement that was refused has changed nothing.
            let may_be_committed = !is_refusal(&error) && !store.has_same_backend().await;
            return Err((Failure::of(&error, may_be_committed), may_be_committed));
        }
    };
    failpoints::hit(Failpoint::PostgresCommitted);
    Ok(Some(written))
}

fn before_commit(failure: Failure) -> Failed {
    (failure, false)
}
