//! Events of one submission come in; the changes of its state and all rows beside it go into the journal.

use super::{
    Access, GATHERED_BYTES, Operation, Sharing,
    change_rows::Written,
    reading::TIMELINE_OF,
    standing::{STANDING_OF, read_standing},
};
use crate::domain::{Change, Event, Finding, Forbidden, Progress, StateName, SubmissionId, apply, whole_microseconds};
use crate::journal::{
    Entry, JournalError, LastKnown, Moved, SideRows, Standing,
    bulk::RowStatement,
    rows, side_rows,
    store::{Statement, Store, statement, storable, values},
};
use crate::json::is_small;

pub struct RecordChanges {
    pub id: SubmissionId,
    pub entries: Vec<Entry>,
}

impl Operation for RecordChanges {
    /// A forbidden event is an answer here, not an error: its wire bytes may still have to be committed.
    type Output = Result<Moved, Forbidden>;
    const ACCESS: Access = Access::Write;

    fn sharing(&self) -> Sharing {
        Sharing::of(self.id, self.entries.iter().all(is_small_entry))
    }

    async fn run<S: Store>(&self, store: &mut S) -> Result<Self::Output, JournalError> {
        Ok(self.record(store, Timeline::Unread).await?.map(|(moved, _)| moved))
    }
}

/// A packed message may be small, and hold a large answer.
fn is_small_entry(entry: &Entry) -> bool {
    let wire_bytes = entry.wire.as_ref().map_or(0, |wire| wire.sent.len() + wire.received.len());
    let is_small_answer = match &entry.event {
        Event::Answered { answer, .. }
        | Event::Resolved { finding: Finding::Happened { answer: Some(answer) }, .. } => {
            is_small(&answer.0, GATHERED_BYTES)
        }
        _ => true,
    };
    wire_bytes <= GATHERED_BYTES && is_small_answer
}

/// Whether the timeline is wanted as well.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Timeline {
    Read,
    Unread,
}

impl RecordChanges {
    /// With the timeline, if it is known or was to be read.
    async fn record<S: Store>(
        &self,
        store: &mut S,
        wanted: Timeline,
    ) -> Result<Result<(Moved, Option<Vec<Change>>), Forbidden>, JournalError> {
        let suffices = |it: &LastKnown| wanted == Timeline::Unread || it.timeline.is_some();
        // It may have moved on: what is permitted counts only by the guard, and what is forbidden is decided by what is read.
        if let Some(known) = store.recall(self.id).filter(suffices)
            && let Ok(changed) = changes(known, &self.entries)?
            && !changed.rows.is_empty()
        {
            return changed.write(store).await.map(Ok);
        }
        match changes(self.find(store, wanted).await?, &self.entries)? {
            Ok(changed) => changed.write(store).await.map(Ok),
            Err(forbidden) => {
                store.execute(self.keep_late_wire().into_iter().collect()).await?;
                Ok(Err(forbidden))
            }
        }
    }

    async fn find<S: Store>(&self, store: &mut S, wanted: Timeline) -> Result<LastKnown, JournalError> {
        let timeline = (wanted == Timeline::Read).then_some(&*TIMELINE_OF);
        let asked = [&*STANDING_OF].into_iter().chain(timeline).map(|bulk| bulk.row(values![self.id]));
        let mut found = store.rows_of(asked.collect()).await?.into_iter();
        let standing = found.next().into_iter().flatten().next().ok_or(JournalError::NotFound(self.id))?;
        let timeline = found.next().map(|lines| lines.into_iter().map(rows::change).collect()).transpose()?;
        Ok(LastKnown { standing: read_standing(standing)?, timeline })
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

    fn sharing(&self) -> Sharing {
        self.0.sharing()
    }

    async fn run<S: Store>(&self, store: &mut S) -> Result<Self::Output, JournalError> {
        let recorded = self.0.record(store, Timeline::Read).await?;
        Ok(recorded.map(|(moved, timeline)| (moved, timeline.unwrap_or_default())))
    }
}

/// What becomes of the submission, and what has to be written for it.
struct Changed {
    /// As it stands afterwards.
    known: LastKnown,
    /// The states that it enters.
    entered: Vec<StateName>,
    rows: Vec<RowStatement>,
}

impl Changed {
    async fn write<S: Store>(self, store: &mut S) -> Result<(Moved, Option<Vec<Change>>), JournalError> {
        let Self { mut known, entered, rows } = self;
        if let Some(version) = store.write(rows).await? {
            known.standing.version = version;
            if !known.standing.progress.state.name().is_terminal() {
                store.remember(known.clone());
            }
        }
        Ok((known.standing.moved(entered), known.timeline))
    }
}

pub fn change(
    standing: Standing,
    entry: &Entry,
) -> Result<Result<(Moved, Vec<RowStatement>), Forbidden>, JournalError> {
    let changed = changes(LastKnown { standing, timeline: None }, std::slice::from_ref(entry))?;
    Ok(changed.map(|Changed { known, entered, rows }| (known.standing.moved(entered), rows)))
}

/// The same for several: of the progresses only the last is written, and an attempt that begins and ends is one row.
fn changes(known: LastKnown, entries: &[Entry]) -> Result<Result<Changed, Forbidden>, JournalError> {
    let LastKnown { mut standing, mut timeline } = known;
    let (mut entered, mut written) = (Vec::new(), Written::default());
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
        timeline.iter_mut().for_each(|timeline| timeline.push(change.clone()));
        entered.extend(Some(after.state.name()).filter(|state| *state != before.state.name()));
        standing.progress = after;
    }
    let rows = written.finish(&mut standing, entries.last())?;
    Ok(Ok(Changed { known: LastKnown { standing, timeline }, entered, rows }))
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
