//! The journal's mark: it is read and moved on, and an earlier state of the journal is made safe to go on with.

use super::{
    Access, CHUNK_ROWS, Operation,
    change::change,
    outbox::id_list,
    standing::{read_standing, standing},
};
use crate::domain::{Effect, Event, JournalMark, Mark, StateName, SubmissionId};
use crate::journal::{
    Entry, JournalError, Known, Left, Restored,
    store::{Row, Store, statement, values},
};
use jiff::Timestamp;
use std::collections::HashSet;

/// The columns of a [`JournalMark`].
const MARK: &str = "SELECT (SELECT min(applied_at) FROM schema_version WHERE version = 1), mark, confirmed_at, copied_at FROM installation";

pub struct ReadMark;

impl Operation for ReadMark {
    type Output = JournalMark;
    const ACCESS: Access = Access::Read;
    const EVEN_WHEN_SUSPENDED: bool = true;

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

/// The mark, held against what a process knows. With it comes, if the journal lacks something of that, until when it was done:
/// then it is an earlier state, a standby that has taken over, say.
pub struct Recognise(pub Known);

impl Operation for Recognise {
    type Output = (JournalMark, Option<Timestamp>);
    const ACCESS: Access = Access::Read;
    const EVEN_WHEN_SUSPENDED: bool = true;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Self::Output, JournalError> {
        let Known { newest, left } = &self.0;
        let found = ReadMark.run(store).await?;
        if found.copied_at.is_some() || found.mark.journal != newest.journal {
            return Ok((found, None));
        }
        let is_earlier = found.behind(Some(newest)).is_some() || lacks_any(store, &found, left).await?;
        let done_until = is_earlier.then(|| left.iter().map(|it| it.begun_at).fold(newest.at, Timestamp::max));
        Ok((found, done_until))
    }
}

/// Notes in the journal that it is an earlier state: another process may know less, and would go on with it.
pub struct CallEarlier {
    pub done_until: Timestamp,
}

impl Operation for CallEarlier {
    type Output = JournalMark;
    const ACCESS: Access = Access::Write;
    const EVEN_WHEN_SUSPENDED: bool = true;

    async fn run<S: Store>(&self, store: &mut S) -> Result<JournalMark, JournalError> {
        let sql = "UPDATE installation SET copied_at = mark, mark = CASE WHEN mark < $1 THEN $1 ELSE mark + 1 END \
                   WHERE copied_at IS NULL";
        store.execute(vec![statement(sql, values![self.done_until])]).await?;
        ReadMark.run(store).await
    }
}

/// Of what has left since an operator has confirmed the journal.
async fn lacks_any<S: Store>(store: &mut S, found: &JournalMark, left: &[Left]) -> Result<bool, JournalError> {
    let left: Vec<_> =
        left.iter().filter(|it| found.confirmed_at.is_none_or(|confirmed_at| confirmed_at <= it.mark)).collect();
    if left.is_empty() {
        return Ok(false);
    }
    let ids: Vec<SubmissionId> = left.iter().map(|it| it.submission).collect();
    let sql = format!("SELECT submission, number, begun_at FROM attempts WHERE submission IN ({})", S::IDS);
    let mut there = HashSet::new();
    for mut row in store.query(statement(sql, values![id_list(&ids)])).await? {
        there.insert((row.id::<SubmissionId>()?, row.whole::<u32>()?, row.time()?));
    }
    Ok(left.iter().any(|it| !there.contains(&(it.submission, it.attempt, it.begun_at))))
}

const ADVANCE: &str = "UPDATE installation SET mark = CASE WHEN mark < $1 THEN $1 ELSE mark + 1 END";

/// Moves it on to the time that it is, and in any case on, unless the journal is an earlier one than is known: then the
/// server is another one, and what comes out is what it shows.
pub struct AdvanceMark {
    pub to: Timestamp,
    pub known: Option<Known>,
}

impl Operation for AdvanceMark {
    type Output = Result<Mark, JournalMark>;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Self::Output, JournalError> {
        let found = match &self.known {
            Some(known) => match Recognise(known.clone()).run(store).await? {
                (_, Some(done_until)) => CallEarlier { done_until }.run(store).await?,
                (found, None) => found,
            },
            None => ReadMark.run(store).await?,
        };
        if found.behind(self.known.as_ref().map(|known| &known.newest)).is_some() {
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
    const EVEN_WHEN_SUSPENDED: bool = true;

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
    const EVEN_WHEN_SUSPENDED: bool = true;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Self::Output, JournalError> {
        let mut values = values![CHUNK_ROWS];
        let mut after = "";
        if let Some(id) = self.after {
            values.push(id.into());
            after = " AND id > $2";
        }
        let sql = format!(
            "SELECT {} FROM submissions WHERE state IN ('accepted', 'queued', 'sending', 'retrying', 'parked'){after} \
             ORDER BY id LIMIT $1{}",
            standing::<S>(),
            S::LOCKED
        );
        let found = store.query(statement(sql, values)).await?;
        let is_last = found.len() < CHUNK_ROWS as usize;
        let entry = Entry::new(Event::Restored { by: self.by.clone() }, self.now);
        let (mut restored, mut last, mut rows) = (Restored::default(), None, Vec::new());
        for row in found {
            let standing = read_standing(row)?;
            last = Some(standing.id);
            let (before, effect) = (standing.progress.clone(), standing.effect);
            match change(standing, &entry)? {
                Ok((moved, changes)) => {
                    restored.count(moved.progress.state.name(), effect);
                    if moved.progress != before {
                        rows.extend(changes);
                    }
                }
                Err(_) => restored.as_before += 1,
            }
        }
        store.write(rows).await?;
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
