//! Events of one submission come in; the changes of its state and all rows beside it go into the journal.

use super::{
    Access, Operation,
    change_rows::Written,
    reading::TIMELINE_OF,
    standing::{STANDING_OF, Standing},
};
use crate::domain::{Change, Forbidden, Progress, SubmissionId, apply, whole_microseconds};
use crate::journal::{
    Entry, JournalError, Moved, SideRows,
    bulk::RowStatement,
    rows, side_rows,
    store::{Row, Statement, Store, statement, storable, values},
};

pub struct RecordChanges {
    pub id: SubmissionId,
    pub entries: Vec<Entry>,
}

impl Operation for RecordChanges {
    /// A forbidden event is an answer here, not an error: its wire bytes may still have to be committed.
    type Output = Result<Moved, Forbidden>;
    const ACCESS: Access = Access::Write;

    fn gathered_by(&self) -> Option<SubmissionId> {
        Some(self.id)
    }

    async fn run<S: Store>(&self, store: &mut S) -> Result<Self::Output, JournalError> {
        let found = store.rows_of(vec![STANDING_OF.row(values![self.id])]).await?;
        Ok(self.decide(store, found.into_iter().flatten().next()).await?.map(|(moved, _)| moved))
    }
}

impl RecordChanges {
    /// What becomes of it, as it was found, is written; with the changes that are new in its timeline.
    async fn decide<S: Store>(
        &self,
        store: &mut S,
        found: Option<Row>,
    ) -> Result<Result<(Moved, Vec<Change>), Forbidden>, JournalError> {
        let standing = Standing::read(found.ok_or(JournalError::NotFound(self.id))?)?;
        match changes(standing, &self.entries)? {
            Ok(Changed { moved, rows, timeline }) => {
                store.write(rows).await?;
                Ok(Ok((moved, timeline)))
            }
            Err(forbidden) => {
                store.execute(self.keep_late_wire().into_iter().collect()).await?;
                Ok(Err(forbidden))
            }
        }
    }

    /// The worker of an attempt whose lease has run out may come too late to change anything, but what it has sent and
    /// received is kept. Of an attempt that was not begun there is no row, or it is somebody else's.
    fn keep_late_wire(&self) -> Option<Statement> {
        let [entry] = self.entries.as_slice() else { return None };
        let (number, _) = side_rows::ended(&entry.event)?;
        let wire = entry.wire.as_ref()?;
        Some(statement(
            "UPDATE attempts SET sent = $3, received = $4, http_status = $5, truncated = $6 \
             WHERE submission = $1 AND number = $2 AND sent IS NULL AND erased_at IS NULL",
            values![self.id, number, wire.sent.clone(), wire.received.clone(), wire.http_status, wire.truncated],
        ))
    }
}

/// With the timeline that it makes.
pub struct RecordWhole(pub RecordChanges);

impl Operation for RecordWhole {
    type Output = Result<(Moved, Vec<Change>), Forbidden>;
    const ACCESS: Access = Access::Write;

    fn gathered_by(&self) -> Option<SubmissionId> {
        self.0.gathered_by()
    }

    async fn run<S: Store>(&self, store: &mut S) -> Result<Self::Output, JournalError> {
        let id = || values![self.0.id];
        let mut found = store.rows_of(vec![STANDING_OF.row(id()), TIMELINE_OF.row(id())]).await?.into_iter();
        let standing = found.next().into_iter().flatten().next();
        let before = found.flatten().map(rows::change).collect::<Result<Vec<_>, _>>()?;
        let decided = self.0.decide(store, standing).await?;
        Ok(decided.map(|(moved, new)| (moved, before.into_iter().chain(new).collect())))
    }
}

/// What becomes of the submission, and what has to be written for it.
struct Changed {
    moved: Moved,
    rows: Vec<RowStatement>,
    /// The same as lines of its timeline.
    timeline: Vec<Change>,
}

pub fn change(
    standing: Standing,
    entry: &Entry,
) -> Result<Result<(Moved, Vec<RowStatement>), Forbidden>, JournalError> {
    let changed = changes(standing, std::slice::from_ref(entry))?;
    Ok(changed.map(|Changed { moved, rows, .. }| (moved, rows)))
}

/// The same for several: of the progresses only the last is written, and an attempt that begins and ends is one row.
fn changes(mut standing: Standing, entries: &[Entry]) -> Result<Result<Changed, Forbidden>, JournalError> {
    let (mut entered, mut timeline, mut written) = (Vec::new(), Vec::new(), Written::default());
    for (index, entry) in entries.iter().enumerate() {
        let before = &standing.progress;
        let after = match apply(before, standing.facts(entry.at), entry.event.clone()) {
            Ok(after) => after,
            Err(forbidden) => return Ok(Err(forbidden)),
        };
        let side = SideRows::of(before, &entry.event, &after);
        let around = (index.checked_sub(1).and_then(|before| entries.get(before)), entries.get(index + 1));
        let change = as_change(before, entry, &after);
        written.add(&standing, entry, around, &change, side)?;
        written.note_content(&after.state);
        timeline.push(change);
        entered.extend(Some(after.state.name()).filter(|state| *state != before.state.name()));
        standing.progress = after;
    }
    let rows = written.finish(&standing, entries.last())?;
    Ok(Ok(Changed { moved: standing.moved(entered), rows, timeline }))
}

fn as_change(before: &Progress, entry: &Entry, after: &Progress) -> Change {
    Change {
        at: whole_microseconds(entry.at),
        from: Some(before.state.name()),
        to: after.state.name(),
        cause: storable(entry.event.cause(&after.state).to_string()),
        by: Some(entry.event.actor()),
    }
}
