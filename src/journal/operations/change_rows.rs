//! The rows of a change: what the transition table has made of each event comes in, what has to be written for all of them goes
//! out.

use crate::domain::{AttemptOutcome, Change, Event, Priority, Progress, State, StateName, SubmissionId};
use crate::journal::{
    Entry, JournalError, SideRows, Standing,
    bulk::{Bulk, ColumnType, RowStatement},
    rows, side_rows,
    store::{Value, values},
};
use std::sync::LazyLock;
use uuid::Uuid;

/// What has to be written for the events of one submission.
#[derive(Default)]
pub struct Written {
    rows: Vec<RowStatement>,
    /// Of several the last counts: each says all there is to say.
    outbox: Option<RowStatement>,
    waiting: Option<RowStatement>,
    /// An answer that comes after the content was erased is personal content again, and is erased in its time.
    has_new_content: bool,
}

const SUBMISSION: &[(&str, ColumnType)] = &[("submission", ColumnType::Id)];

static UPDATE_PROGRESS: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = &[
        ("id", ColumnType::Id),
        ("state", ColumnType::Text),
        ("state_data", ColumnType::Json),
        ("attempts", ColumnType::Whole),
        ("tries", ColumnType::Whole),
        ("in_doubt", ColumnType::Flag),
        ("due_at", ColumnType::Whole),
        ("changed_at", ColumnType::Whole),
        ("waiting_since", ColumnType::Whole),
        ("erased_at", ColumnType::Whole),
        ("version", ColumnType::Text),
    ];
    let assigned = "state = {state}, state_data = {state_data}, attempts = {attempts}, tries = {tries}, \
                    in_doubt = {in_doubt}, due_at = {due_at}, changed_at = {changed_at}, \
                    waiting_since = {waiting_since}, erased_at = {erased_at}";
    Bulk::update("submissions", columns, 1, assigned, "it.id = {id}").of_version()
});

static ADD_CHANGE: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = &[
        ("submission", ColumnType::Id),
        ("at", ColumnType::Whole),
        ("from_state", ColumnType::Text),
        ("to_state", ColumnType::Text),
        ("cause", ColumnType::Text),
        ("actor", ColumnType::Text),
    ];
    Bulk::insert("changes", columns, "")
});

pub static FILL_OUTBOX: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = &[
        ("submission", ColumnType::Id),
        ("agency", ColumnType::Text),
        ("office", ColumnType::Text),
        ("urgent", ColumnType::Flag),
        ("trace", ColumnType::Text),
        ("added_at", ColumnType::Whole),
        ("not_before", ColumnType::Whole),
        ("claimed_until", ColumnType::Whole),
    ];
    let as_new = "ON CONFLICT (submission) DO UPDATE SET added_at = excluded.added_at, not_before = excluded.not_before, \
                  claimed_until = excluded.claimed_until";
    Bulk::insert("outbox", columns, as_new).keyed(1)
});

static LEAVE_OUTBOX: LazyLock<Bulk> = LazyLock::new(|| Bulk::delete("outbox", SUBMISSION));

static BEGIN_WAITING: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = &[
        ("submission", ColumnType::Id),
        ("agency", ColumnType::Text),
        ("office", ColumnType::Text),
        ("since", ColumnType::Whole),
    ];
    let as_new = "ON CONFLICT (submission) DO UPDATE SET since = excluded.since";
    Bulk::insert("waiting_for_agencies", columns, as_new).keyed(1)
});

pub static END_WAITING: LazyLock<Bulk> = LazyLock::new(|| Bulk::delete("waiting_for_agencies", SUBMISSION));

static ADD_ATTEMPT: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = &[
        ("submission", ColumnType::Id),
        ("number", ColumnType::Whole),
        ("begun_at", ColumnType::Whole),
        ("ended_at", ColumnType::Whole),
        ("outcome", ColumnType::Json),
        ("http_status", ColumnType::Whole),
        ("truncated", ColumnType::Flag),
        ("sent", ColumnType::Bytes),
        ("received", ColumnType::Bytes),
    ];
    Bulk::insert("attempts", columns, "")
});

/// Ends an attempt, or ends it again: what an answer brings late is added to what was kept before. `none`: no bytes, where a
/// record of them is there and has none.
static END_ATTEMPT: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = &[
        ("submission", ColumnType::Id),
        ("number", ColumnType::Whole),
        ("ended_at", ColumnType::Whole),
        ("outcome", ColumnType::Json),
        ("http_status", ColumnType::Whole),
        ("truncated", ColumnType::Flag),
        ("sent", ColumnType::Bytes),
        ("received", ColumnType::Bytes),
        ("none", ColumnType::Bytes),
    ];
    let assigned = "ended_at = {ended_at}, outcome = {outcome}, http_status = COALESCE({http_status}, it.http_status), \
                    truncated = (it.truncated OR {truncated}), \
                    erased_at = CASE WHEN {none} IS NULL THEN it.erased_at END, \
                    sent = COALESCE({sent}, it.sent, {none}), received = COALESCE({received}, it.received, {none})";
    Bulk::update("attempts", columns, 2, assigned, "it.submission = {submission} AND it.number = {number}")
});

static ADD_NOTICE: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = &[
        ("id", ColumnType::Id),
        ("office", ColumnType::Text),
        ("submission", ColumnType::Id),
        ("state", ColumnType::Text),
        ("happened_at", ColumnType::Whole),
        ("due_at", ColumnType::Whole),
        ("tries", ColumnType::Whole),
    ];
    Bulk::insert("notices", columns, "")
});

impl Written {
    /// What is written beside the progress. `around`: the entries before and after.
    pub fn add(
        &mut self,
        standing: &Standing,
        entry: &Entry,
        around: (Option<&Entry>, Option<&Entry>),
        change: &Change,
        side: SideRows,
    ) -> Result<(), JournalError> {
        self.rows.push(add_change(standing.id, change));
        self.outbox = side.outbox.map(|add| outbox(standing, entry, add)).or(self.outbox.take());
        self.waiting = side.waiting.map(|add| waiting(standing, entry, add)).or(self.waiting.take());
        // An attempt of which the journal has not heard before it was over is one row.
        let (begun, next) = (around.0.filter(|it| is_whole_attempt(it, entry)), around.1);
        if let Some(number) = side.begun.filter(|_| next.is_none_or(|next| !is_whole_attempt(entry, next))) {
            self.rows.push(begin_attempt(standing.id, number, entry));
        }
        if let Some((number, outcome)) = side.ended {
            self.rows.push(match begun {
                Some(first) => whole_attempt(standing.id, number, first, &outcome, entry)?,
                None => end_attempt(standing.id, number, &outcome, entry)?,
            });
        }
        self.rows.extend(side.notice.filter(|_| standing.notify).map(|state| notice(standing, state, entry)));
        Ok(())
    }

    pub fn note_content(&mut self, after: &State) {
        self.has_new_content |= matches!(after, State::Completed { answer: Some(_) } | State::Refused { .. });
    }

    /// With the progress that the last entry has led to; the guard goes first.
    pub fn finish(self, standing: &mut Standing, last: Option<&Entry>) -> Result<Vec<RowStatement>, JournalError> {
        let Some(last) = last else { return Ok(Vec::new()) };
        standing.erased_at = standing.erased_at.filter(|_| !self.has_new_content);
        let Progress { state, attempts, tries, in_doubt, waiting_since } = &standing.progress;
        let progress = UPDATE_PROGRESS.row(values![
            standing.id,
            state.name().as_str(),
            rows::json_column(state)?,
            *attempts,
            *tries,
            *in_doubt,
            state.due_at(),
            last.at,
            *waiting_since,
            standing.erased_at,
            standing.version.as_str(),
        ]);
        Ok([progress].into_iter().chain(self.rows).chain(self.outbox).chain(self.waiting).collect())
    }
}

fn is_whole_attempt(first: &Entry, next: &Entry) -> bool {
    let ended = side_rows::ended(&next.event).map(|(number, _)| number);
    matches!(first.event, Event::Begun { attempt, .. } if ended == Some(attempt))
}

pub fn add_change(id: SubmissionId, change: &Change) -> RowStatement {
    let Change { at, from, to, cause, by } = change;
    let (from, by) = (from.map(|state| state.as_str()), by.as_ref().map(ToString::to_string));
    ADD_CHANGE.row(values![id, *at, from, to.as_str(), cause.as_str(), by])
}

fn outbox(standing: &Standing, entry: &Entry, add: bool) -> RowStatement {
    if !add {
        return LEAVE_OUTBOX.row(values![standing.id]);
    }
    FILL_OUTBOX.row(values![
        standing.id,
        standing.agency.as_str(),
        standing.office.as_str(),
        standing.priority == Priority::Urgent,
        standing.trace.to_string(),
        entry.at,
        entry.not_before.unwrap_or(entry.at),
        Value::Null,
    ])
}

fn waiting(standing: &Standing, entry: &Entry, add: bool) -> RowStatement {
    if !add {
        return END_WAITING.row(values![standing.id]);
    }
    BEGIN_WAITING.row(values![standing.id, standing.agency.as_str(), standing.office.as_str(), entry.at])
}

fn begin_attempt(id: SubmissionId, number: u32, entry: &Entry) -> RowStatement {
    let none = || Value::Null;
    ADD_ATTEMPT.row(values![id, number, entry.at, none(), none(), none(), false, none(), none()])
}

fn whole_attempt(
    id: SubmissionId,
    number: u32,
    first: &Entry,
    outcome: &AttemptOutcome,
    entry: &Entry,
) -> Result<RowStatement, JournalError> {
    let mut values = values![id, number, first.at, entry.at, rows::json_column(outcome)?];
    values.extend(match &entry.wire {
        Some(wire) => values![wire.http_status, wire.truncated, wire.sent.clone(), wire.received.clone()],
        None => values![Value::Null, false, Value::Null, Value::Null],
    });
    Ok(ADD_ATTEMPT.row(values))
}

fn end_attempt(
    id: SubmissionId,
    number: u32,
    outcome: &AttemptOutcome,
    entry: &Entry,
) -> Result<RowStatement, JournalError> {
    let if_any = |bytes: &Vec<u8>| (!bytes.is_empty()).then(|| bytes.clone());
    let mut values = values![id, number, entry.at, rows::json_column(outcome)?];
    values.extend(match &entry.wire {
        Some(wire) => {
            let (sent, received) = (if_any(&wire.sent), if_any(&wire.received));
            values![wire.http_status, wire.truncated, sent, received, Vec::<u8>::new()]
        }
        None => values![Value::Null, false, Value::Null, Value::Null, Value::Null],
    });
    Ok(END_ATTEMPT.row(values))
}

fn notice(standing: &Standing, state: StateName, entry: &Entry) -> RowStatement {
    let (office, state) = (standing.office.as_str(), state.as_str());
    ADD_NOTICE.row(values![Uuid::now_v7(), office, standing.id, state, entry.at, entry.at, 0_u32])
}
