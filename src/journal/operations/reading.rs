//! Questions that change nothing.

use super::{Access, Operation};
use crate::domain::{Attempt, Change, IdPart, StateName, SubmissionId};
use crate::journal::{
    JournalError, LastKnown, ListFilter, Record, Standing, StateCount,
    bulk::{Bulk, ColumnType},
    rows,
    store::{Statement, Store, Value, statement, values},
};
use std::{cmp::Reverse, sync::LazyLock};

/// When the journal was made, to the microsecond: no two have the same, and a copy or a restored one keeps it.
pub struct Identity;

impl Operation for Identity {
    type Output = String;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<String, JournalError> {
        let sql = "SELECT min(applied_at) FROM schema_version WHERE version = 1";
        let made = store.query(statement(sql, vec![])).await?.into_iter().next();
        let made = made.map_or(Ok(None), |mut row| row.optional_whole())?;
        made.map(|made| format!("{made:x}"))
            .ok_or_else(|| JournalError::Corrupt("the schema has no first version".into()))
    }
}

pub struct Find(pub SubmissionId);

impl Operation for Find {
    type Output = Option<Record>;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Option<Record>, JournalError> {
        let found = store.query(self.select::<S>()).await?.into_iter().next();
        let Some(mut row) = found else { return Ok(None) };
        let (record, notify, version) = (rows::record(&mut row)?, row.flag()?, row.text()?);
        let Record { submission, progress, erased_at, .. } = &record;
        // Whoever reads it may be about to change it.
        if !version.is_empty() && !progress.state.name().is_terminal() {
            let standing =
                Standing { erased_at: *erased_at, ..Standing::of(submission, progress.clone(), notify, version) };
            store.remember(LastKnown { standing, timeline: None });
        }
        Ok(Some(record))
    }
}

impl Find {
    /// The version of the row comes last.
    fn select<S: Store>(&self) -> Statement {
        let sql = format!("SELECT {}, notify, {} FROM submissions WHERE id = $1", rows::RECORD, S::ROW_VERSION);
        statement(sql, values![self.0])
    }
}

/// Whose id begins or ends like this, newest first.
pub struct FindNamed {
    pub part: IdPart,
    pub limit: u32,
}

impl Operation for FindNamed {
    type Output = Vec<Record>;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Vec<Record>, JournalError> {
        let mut found = store.query(self.that_begin()).await?;
        if self.part.whole().is_none() {
            found.extend(store.query(self.that_end()).await?);
        }
        let mut named: Vec<_> = found.into_iter().map(|mut row| rows::record(&mut row)).collect::<Result<_, _>>()?;
        named.sort_by_key(|record| Reverse(record.submission.id));
        named.dedup_by_key(|record| record.submission.id);
        named.truncate(self.limit as usize);
        Ok(named)
    }
}

impl FindNamed {
    /// A range of the primary key.
    fn that_begin(&self) -> Statement {
        let sql =
            format!("SELECT {} FROM submissions WHERE id BETWEEN $1 AND $2 ORDER BY id DESC LIMIT $3", rows::LISTED);
        let (first, last) = self.part.beginning();
        statement(sql, values![first, last, self.limit])
    }

    /// The primary key's index is read through, and no row that does not fit.
    fn that_end(&self) -> Statement {
        let sql = format!(
            "SELECT {} FROM submissions WHERE id IN \
             (SELECT id FROM submissions WHERE CAST(id AS text) LIKE $1 ORDER BY id DESC LIMIT $2)",
            rows::LISTED
        );
        statement(sql, values![format!("%{}", self.part.end()), self.limit])
    }
}

/// With its timeline.
pub struct FindWhole(pub SubmissionId);

impl Operation for FindWhole {
    type Output = Option<(Record, Vec<Change>)>;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Self::Output, JournalError> {
        let asked = vec![Find(self.0).select::<S>(), statement(TIMELINE_OF.one.as_str(), values![self.0])];
        let mut found = store.query_together(asked).await?.into_iter();
        let (record, changes) = (found.next().into_iter().flatten().next(), found.next().into_iter().flatten());
        let Some(record) = record.map(|mut row| rows::record(&mut row)).transpose()? else { return Ok(None) };
        Ok(Some((record, changes.map(rows::change).collect::<Result<_, _>>()?)))
    }
}

pub struct Timeline(pub SubmissionId);

pub(super) static TIMELINE_OF: LazyLock<Bulk> = LazyLock::new(|| {
    let selected = "SELECT submission, at, from_state, to_state, cause, actor FROM changes";
    Bulk::select(selected, &[("submission", ColumnType::Id)], "ORDER BY submission, id")
});

impl Operation for Timeline {
    type Output = Vec<Change>;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Vec<Change>, JournalError> {
        let found = store.rows_of(vec![TIMELINE_OF.row(values![self.0])]).await?;
        found.into_iter().flatten().map(rows::change).collect()
    }
}

pub struct Attempts(pub SubmissionId);

impl Operation for Attempts {
    type Output = Vec<Attempt>;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Vec<Attempt>, JournalError> {
        let sql = format!("SELECT {} FROM attempts WHERE submission = $1 ORDER BY number", rows::ATTEMPT);
        store.query(statement(sql, values![self.0])).await?.into_iter().map(rows::attempt).collect()
    }
}

pub struct List {
    pub filter: ListFilter,
    pub limit: u32,
}

impl Operation for List {
    type Output = Vec<Record>;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Vec<Record>, JournalError> {
        store.query(self.select()).await?.into_iter().map(|mut row| rows::record(&mut row)).collect()
    }
}

impl List {
    /// Only the conditions that are asked for, so that each question finds its index.
    fn select(&self) -> Statement {
        let ListFilter { office, agency, service, state, since, before } = &self.filter;
        let conditions: [(&str, Option<Value>); 6] = [
            ("office = ", office.as_ref().map(|it| it.as_str().into())),
            ("agency = ", agency.as_ref().map(|it| it.as_str().into())),
            ("service = ", service.as_ref().map(|it| it.as_str().into())),
            ("state = ", state.map(|it| it.as_str().into())),
            ("accepted_at >= ", since.map(Value::from)),
            ("(accepted_at, id) < (SELECT accepted_at, id FROM submissions WHERE id = ", before.map(Value::from)),
        ];
        let mut sql = format!("SELECT {} FROM submissions WHERE 1 = 1", rows::LISTED);
        let mut values = Vec::new();
        for (condition, value) in conditions {
            let Some(value) = value else { continue };
            values.push(value);
            let closing = if condition.contains('(') { ")" } else { "" };
            sql.push_str(&format!(" AND {condition}${}{closing}", values.len()));
        }
        values.push(self.limit.into());
        sql.push_str(&format!(" ORDER BY accepted_at DESC, id DESC LIMIT ${}", values.len()));
        statement(sql, values)
    }
}

pub struct Counts;

impl Operation for Counts {
    type Output = Vec<StateCount>;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Vec<StateCount>, JournalError> {
        // One look into the index for each agency and state: what is over is never read, however much there is of it.
        let states = StateName::ALL.into_iter().filter(|it| !it.is_terminal()).map(|it| format!("('{it}')"));
        let sql = format!(
            "WITH RECURSIVE agencies(agency) AS (SELECT min(agency) FROM submissions UNION ALL \
             SELECT (SELECT min(agency) FROM submissions WHERE agency > agencies.agency) FROM agencies \
             WHERE agency IS NOT NULL), states(state) AS (VALUES {}) \
             SELECT agency, state, (SELECT count(*) FROM submissions AS it \
             WHERE it.agency = agencies.agency AND it.state = states.state) \
             FROM agencies CROSS JOIN states WHERE agency IS NOT NULL ORDER BY agency, state",
            states.collect::<Vec<_>>().join(", ")
        );
        let rows = store.query(statement(sql, vec![])).await?;
        let counts: Vec<_> = rows.into_iter().map(rows::state_count).collect::<Result<_, _>>()?;
        Ok(counts.into_iter().filter(|it| it.count > 0).collect())
    }
}
