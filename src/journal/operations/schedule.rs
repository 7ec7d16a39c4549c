//! What the scheduler asks, and the changes that it makes to many submissions at once.

use super::{
    Access, Operation,
    change::change,
    standing::{read_standing, standing},
};
use crate::domain::{AgencyName, Event, StateName};
use crate::journal::{
    Due, Entry, JournalError, Moved, rows,
    store::{Row, Store, statement, values},
};
use jiff::Timestamp;

pub struct DueNow {
    pub now: Timestamp,
    pub limit: u32,
}

impl Operation for DueNow {
    type Output = Vec<Due>;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Vec<Due>, JournalError> {
        let sql = format!("SELECT {} FROM submissions WHERE due_at <= $1 ORDER BY due_at, id LIMIT $2", rows::DUE);
        Ok(readable(store.query(statement(sql, values![self.now, self.limit])).await?))
    }
}

/// In the words of the partial index, or the databases would not use it.
const OPEN: &str = "(state = 'accepted' OR state = 'queued' OR state = 'retrying' OR state = 'waiting')";

pub struct Overdue {
    pub now: Timestamp,
    pub limit: u32,
}

impl Operation for Overdue {
    type Output = Vec<Due>;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Vec<Due>, JournalError> {
        let sql = format!(
            "SELECT {} FROM submissions WHERE {OPEN} AND expires_at <= $1 ORDER BY expires_at, id LIMIT $2",
            rows::DUE
        );
        Ok(readable(store.query(statement(sql, values![self.now, self.limit])).await?))
    }
}

/// One row that a newer program has written, or that is damaged, must not keep all others waiting.
fn readable(found: Vec<Row>) -> Vec<Due> {
    let told = |error: &JournalError| tracing::error!(%error, "a submission that is due cannot be read");
    found.into_iter().filter_map(|row| rows::due(row).inspect_err(told).ok()).collect()
}

pub struct NextDue;

impl Operation for NextDue {
    type Output = Option<Timestamp>;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Option<Timestamp>, JournalError> {
        let sql = format!(
            "SELECT (SELECT min(due_at) FROM submissions WHERE due_at IS NOT NULL), \
             (SELECT min(expires_at) FROM submissions WHERE {OPEN}), \
             (SELECT min(COALESCE(claimed_until, not_before)) FROM outbox)"
        );
        let Some(mut row) = store.query(statement(sql, vec![])).await?.into_iter().next() else { return Ok(None) };
        Ok([row.optional_time()?, row.optional_time()?, row.optional_time()?].into_iter().flatten().min())
    }
}

pub struct QueuedSince {
    pub agency: AgencyName,
    pub before: Timestamp,
}

impl Operation for QueuedSince {
    type Output = u64;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<u64, JournalError> {
        let sql = "SELECT count(*) FROM submissions WHERE agency = $1 AND state = 'queued' AND changed_at < $2";
        let counted = store.query(statement(sql, values![self.agency.as_str(), self.before])).await?;
        counted.into_iter().next().map_or(Ok(0), |mut row| row.whole())
    }
}

pub struct OldestQueued(pub AgencyName);

impl Operation for OldestQueued {
    type Output = Option<Timestamp>;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Option<Timestamp>, JournalError> {
        let sql = "SELECT min(changed_at) FROM submissions WHERE agency = $1 AND state = 'queued'";
        let oldest = store.query(statement(sql, values![self.0.as_str()])).await?;
        oldest.into_iter().next().map_or(Ok(None), |mut row| row.optional_time())
    }
}

/// Which of an agency's submissions the broker may have lost.
pub enum Lost {
    /// Those that have been queued since before then.
    Before(Timestamp),
    /// Those that a clock wrote which was ahead: nothing can have happened after then.
    Ahead(Timestamp),
}

pub struct Requeue {
    pub agency: AgencyName,
    pub lost: Lost,
    pub now: Timestamp,
    pub limit: u32,
}

impl Operation for Requeue {
    type Output = Vec<Moved>;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Vec<Moved>, JournalError> {
        let (condition, time) = match self.lost {
            Lost::Before(time) => ("state = 'queued' AND changed_at < $2", time),
            Lost::Ahead(time) => ("state IN ('queued', 'retrying') AND changed_at > $2", time),
        };
        let sql = format!(
            "SELECT {} FROM submissions WHERE agency = $1 AND {condition} ORDER BY changed_at, id LIMIT $3{}",
            standing::<S>(),
            S::LOCKED
        );
        let found = store.query(statement(sql, values![self.agency.as_str(), time, self.limit])).await?;
        let entry = Entry::new(Event::Requeued, self.now);
        let (mut all, mut rows) = (Vec::new(), Vec::new());
        for row in found {
            if let Ok((moved, changes)) = change(read_standing(row)?, &entry)? {
                rows.extend(changes);
                all.push(moved);
            }
        }
        store.write(rows).await?;
        Ok(all)
    }
}

pub struct VoidLeases {
    pub now: Timestamp,
}

impl Operation for VoidLeases {
    type Output = Vec<Moved>;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Vec<Moved>, JournalError> {
        let sql = format!(
            "SELECT {} FROM submissions WHERE due_at > $1 AND state = $2 ORDER BY id{}",
            standing::<S>(),
            S::LOCKED
        );
        let found = store.query(statement(sql, values![self.now, StateName::Sending.as_str()])).await?;
        let (mut all, mut rows, mut statements) = (Vec::new(), Vec::new(), Vec::new());
        for row in found {
            let standing = read_standing(row)?;
            let entry = Entry::new(Event::LeaseVoided { attempt: standing.progress.attempts, at: self.now }, self.now);
            if let Ok((moved, changes)) = change(standing, &entry)? {
                rows.extend(changes);
                all.push(moved);
            }
        }
        store.write(rows).await?;
        for table in ["outbox", "notices"] {
            let sql = format!("UPDATE {table} SET claimed_until = NULL WHERE claimed_until IS NOT NULL");
            statements.push(statement(sql, vec![]));
        }
        store.execute(statements).await?;
        Ok(all)
    }
}
