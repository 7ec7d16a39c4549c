//! The journal's mark: it is read and moved on, and an earlier state of the journal is made safe to go on with.

use super::{
    Access, CHUNK_ROWS, Operation,
    change::{STANDING, Standing, change},
};
use crate::domain::{Effect, Event, JournalMark, Mark, StateName, SubmissionId};
use crate::journal::{
    Entry, JournalError, Restored,
    store::{Row, Store, statement, values},
};
use jiff::Timestamp;

/// The columns of a [`JournalMark`].
const MARK: &str = "SELECT (SELECT min(applied_at) FROM schema_version WHERE version = 1), mark, confirmed_at, copied_at FROM installation";

pub struct ReadMark;

impl Operation for ReadMark {
    type Output = JournalMark;
    const ACCESS: Access = Access::Read;
    const EVEN_WHEN_HELD: bool = true;

    async fn run<S: Store>(&self, store: &mut S) -> Result<JournalMark, JournalError> {
        let found = store.query(statement(MARK, vec![])).await?.into_iter().next();
        let Some(mut row) = found else { return Err(JournalError::Corrupt("it has no mark".into())) };
        let (mark, confirmed_at) = (read_mark(&mut row)?, row.optional_time()?);
        Ok(JournalMark { mark, confirmed_at, copied_at: row.optional_time()? })
    }
}

/// When the journal was made, to the microsecond: no two have the same, and a copy keeps it.
fn read_mark(row: &mut Row) -> Result<Mark, JournalError> {
    let made_at: i64 = row.whole()?;
    Ok(Mark { journal: format!("{made_at:x}"), at: row.time()? })
}

const ADVANCE: &str = "UPDATE installation SET mark = CASE WHEN mark < $1 THEN $1 ELSE mark + 1 END";

/// Moves it on to the time that it is, and in any case on. What comes out is the journal's mark as it was before, if that
/// is behind the newest one that is known: the server is another one, and nothing was changed.
pub struct AdvanceMark {
    pub to: Timestamp,
    pub newest: Option<Mark>,
}

impl Operation for AdvanceMark {
    type Output = Result<Mark, JournalMark>;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Self::Output, JournalError> {
        let found = ReadMark.run(store).await?;
        if found.behind(self.newest.as_ref()).is_some() {
            return Ok(Err(found));
        }
        store.execute(vec![statement(ADVANCE, values![self.to])]).await?;
        Ok(Ok(ReadMark.run(store).await?.mark))
    }
}

/// The same by an operator, who says that this is the journal.
pub struct ConfirmMark {
    pub to: Timestamp,
}

impl Operation for ConfirmMark {
    type Output = Mark;
    const ACCESS: Access = Access::Write;
    const EVEN_WHEN_HELD: bool = true;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Mark, JournalError> {
        let confirm = statement("UPDATE installation SET confirmed_at = mark, copied_at = NULL", vec![]);
        store.execute(vec![statement(ADVANCE, values![self.to]), confirm]).await?;
        Ok(ReadMark.run(store).await?.mark)
    }
}

/// The next of what was open in an earlier state, at most [`CHUNK_ROWS`], in the order of their identifiers. `None`: these
/// were the last.
pub struct RestoreNext {
    pub after: Option<SubmissionId>,
    pub by: String,
    pub now: Timestamp,
}

impl Operation for RestoreNext {
    type Output = (Restored, Option<SubmissionId>);
    const ACCESS: Access = Access::Write;
    const EVEN_WHEN_HELD: bool = true;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Self::Output, JournalError> {
        let mut values = values![CHUNK_ROWS];
        let mut after = "";
        if let Some(id) = self.after {
            values.push(id.into());
            after = " AND id > $2";
        }
        let sql = format!(
            "SELECT {STANDING} FROM submissions WHERE state IN ('accepted', 'queued', 'sending', 'retrying', 'parked'){after} \
             ORDER BY id LIMIT $1{}",
            S::LOCKED
        );
        let found = store.query(statement(sql, values)).await?;
        let is_last = found.len() < CHUNK_ROWS as usize;
        let entry = Entry::new(Event::Restored { by: self.by.clone() }, self.now);
        let (mut restored, mut last, mut statements) = (Restored::default(), None, Vec::new());
        for row in found {
            let standing = Standing::read(row)?;
            last = Some(standing.id);
            let (before, effect) = (standing.progress.clone(), standing.effect);
            match change(standing, &entry)? {
                Ok((after, changes)) => {
                    restored.count(after.state.name(), effect);
                    if after != before {
                        statements.extend(changes);
                    }
                }
                Err(_) => restored.as_before += 1,
            }
        }
        store.execute(statements).await?;
        Ok((restored, last.filter(|_| !is_last)))
    }
}

impl Restored {
    fn count(&mut self, state: StateName, effect: Effect) {
        match (state, effect) {
            (StateName::Uncertain, _) => self.uncertain += 1,
            (StateName::Parked, _) => self.parked += 1,
            (_, Effect::Lookup) => self.asked_first += 1,
            _ => self.as_before += 1,
        }
    }

    pub fn with(self, more: Self) -> Self {
        Self {
            uncertain: self.uncertain + more.uncertain,
            asked_first: self.asked_first + more.asked_first,
            parked: self.parked + more.parked,
            as_before: self.as_before + more.as_before,
        }
    }
}
