//! Events of one submission come in; the changes of its state and all rows beside it go into the journal.

use super::{Access, Operation, Timeline};
use crate::domain::{
    AgencyName, AttemptOutcome, Change, Effect, Event, Facts, Forbidden, OfficeName, Priority, Progress, ServiceName,
    State, StateName, SubmissionId, TraceParent, WireRecord, apply,
};
use crate::journal::{
    Entry, JournalError, Moved, SideRows, rows, side_rows,
    store::{Row, Statement, Store, Value, statement, values},
};
use jiff::Timestamp;
use uuid::Uuid;

pub struct RecordChanges {
    pub id: SubmissionId,
    pub entries: Vec<Entry>,
}

impl Operation for RecordChanges {
    /// A forbidden event is an answer here, not an error: its wire bytes may still have to be committed.
    type Output = Result<Moved, Forbidden>;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Self::Output, JournalError> {
        let sql = format!("SELECT {STANDING} FROM submissions WHERE id = $1{}", S::LOCKED);
        let found = store.query(statement(sql, values![self.id])).await?.into_iter().next();
        let standing = Standing::read(found.ok_or(JournalError::NotFound(self.id))?)?;
        match changes(standing, &self.entries)? {
            Ok((moved, statements)) => {
                store.execute(statements).await?;
                Ok(Ok(moved))
            }
            Err(forbidden) => {
                store.execute(self.keep_late_wire().into_iter().collect()).await?;
                Ok(Err(forbidden))
            }
        }
    }
}

impl RecordChanges {
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

    async fn run<S: Store>(&self, store: &mut S) -> Result<Self::Output, JournalError> {
        match self.0.run(store).await? {
            Ok(moved) => Ok(Ok((moved, Timeline(self.0.id).run(store).await?))),
            Err(forbidden) => Ok(Err(forbidden)),
        }
    }
}

/// The columns of a [`Standing`].
pub const STANDING: &str = "id, office, agency, service, priority, trace, notify, state_data, attempts, tries, in_doubt, \
                            waiting_since, effect, erased_at, expires_at";

/// What a change has to know about its submission.
pub struct Standing {
    pub id: SubmissionId,
    office: OfficeName,
    agency: AgencyName,
    service: ServiceName,
    priority: Priority,
    trace: TraceParent,
    notify: bool,
    pub progress: Progress,
    pub effect: Effect,
    is_erased: bool,
    expires_at: Timestamp,
}

impl Standing {
    pub fn read(mut row: Row) -> Result<Self, JournalError> {
        Ok(Self {
            id: row.id()?,
            office: rows::parsed(&mut row)?,
            agency: rows::parsed(&mut row)?,
            service: rows::parsed(&mut row)?,
            priority: rows::priority(&mut row)?,
            trace: rows::trace(&mut row)?,
            notify: row.flag()?,
            progress: rows::progress(&mut row)?,
            effect: rows::effect(&mut row)?,
            is_erased: row.optional_time()?.is_some(),
            expires_at: row.time()?,
        })
    }

    fn moved(self, entered: Vec<StateName>) -> Moved {
        let Self { id: submission, office, agency, service, trace, progress, .. } = self;
        Moved { submission, office, agency, service, trace, progress, entered }
    }

    fn facts(&self, at: Timestamp) -> Facts {
        Facts { effect: self.effect, is_erased: self.is_erased, is_overdue: at >= self.expires_at }
    }
}

type Changed = Result<(Moved, Vec<Statement>), Forbidden>;

/// What becomes of the submission, and what has to be written for it.
pub fn change(standing: Standing, entry: &Entry) -> Result<Changed, JournalError> {
    changes(standing, std::slice::from_ref(entry))
}

/// The same for several: of the progresses only the last is written, and an attempt that begins and ends is one row.
fn changes(mut standing: Standing, entries: &[Entry]) -> Result<Changed, JournalError> {
    let (mut entered, mut all) = (Vec::new(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| entries.get(before));
        let around = Around {
            begun: before.filter(|before| is_whole_attempt(before, entry)),
            is_ended_next: entries.get(index + 1).is_some_and(|next| is_whole_attempt(entry, next)),
        };
        match beside(&standing, entry, around)? {
            Ok((after, statements)) => {
                all.extend(statements);
                entered.extend(Some(after.state.name()).filter(|state| *state != standing.progress.state.name()));
                standing.progress = after;
            }
            Err(forbidden) => return Ok(Err(forbidden)),
        }
    }
    if let Some(last) = entries.last() {
        all.push(update_progress(standing.id, &standing.progress, last)?);
    }
    Ok(Ok((standing.moved(entered), all)))
}

/// What is recorded with an entry.
#[derive(Clone, Copy)]
struct Around<'a> {
    /// The entry before it has begun the attempt that it ends.
    begun: Option<&'a Entry>,
    /// The attempt that it begins is ended by the next.
    is_ended_next: bool,
}

fn is_whole_attempt(first: &Entry, next: &Entry) -> bool {
    let ended = side_rows::ended(&next.event).map(|(number, _)| number);
    matches!(first.event, Event::Begun { attempt, .. } if ended == Some(attempt))
}

/// The next progress, and what has to be written beside it.
fn beside(
    standing: &Standing,
    entry: &Entry,
    around: Around<'_>,
) -> Result<Result<(Progress, Vec<Statement>), Forbidden>, JournalError> {
    let before = &standing.progress;
    let after = match apply(before, standing.facts(entry.at), entry.event.clone()) {
        Ok(after) => after,
        Err(forbidden) => return Ok(Err(forbidden)),
    };
    let side = SideRows::of(before, &entry.event, &after);
    let mut statements = vec![add_change(standing, &after, entry)];
    statements.extend(side.outbox.map(|add| outbox(standing, entry, add)));
    statements.extend(side.waiting.map(|add| waiting(standing, entry, add)));
    let begun = side.begun.filter(|_| !around.is_ended_next);
    statements.extend(begun.map(|number| begin_attempt(standing.id, number, entry)));
    if let Some((number, outcome)) = side.ended {
        statements.push(match around.begun {
            Some(first) => whole_attempt(standing.id, number, first, &outcome, entry)?,
            None => end_attempt(standing.id, number, &outcome, entry)?,
        });
    }
    if standing.is_erased && matches!(after.state, State::Completed { answer: Some(_) } | State::Refused { .. }) {
        // An answer that comes so late is personal content again, and is erased in its time.
        statements.push(statement("UPDATE submissions SET erased_at = NULL WHERE id = $1", values![standing.id]));
    }
    statements.extend(side.notice.filter(|_| standing.notify).map(|state| notice(standing, state, entry)));
    Ok(Ok((after, statements)))
}

fn update_progress(id: SubmissionId, after: &Progress, entry: &Entry) -> Result<Statement, JournalError> {
    let Progress { state, attempts, tries, in_doubt, waiting_since } = after;
    let data = rows::json_column(state)?;
    Ok(statement(
        "UPDATE submissions SET state = $2, state_data = $3, attempts = $4, tries = $5, in_doubt = $6, due_at = $7, \
         changed_at = $8, waiting_since = $9 WHERE id = $1",
        values![
            id,
            state.name().as_str(),
            data,
            *attempts,
            *tries,
            *in_doubt,
            state.due_at(),
            entry.at,
            *waiting_since
        ],
    ))
}

fn add_change(standing: &Standing, after: &Progress, entry: &Entry) -> Statement {
    let (from, to) = (standing.progress.state.name().as_str(), after.state.name().as_str());
    statement(
        "INSERT INTO changes (submission, at, from_state, to_state, cause, actor) VALUES ($1, $2, $3, $4, $5, $6)",
        values![standing.id, entry.at, from, to, entry.event.cause(&after.state), entry.event.actor().to_string()],
    )
}

fn outbox(standing: &Standing, entry: &Entry, add: bool) -> Statement {
    if !add {
        return statement("DELETE FROM outbox WHERE submission = $1", values![standing.id]);
    }
    let urgent = standing.priority == Priority::Urgent;
    let not_before = entry.not_before.unwrap_or(entry.at);
    statement(
        "INSERT INTO outbox (submission, agency, office, urgent, trace, added_at, not_before) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT (submission) DO UPDATE SET added_at = excluded.added_at, not_before = excluded.not_before, \
         claimed_until = NULL",
        values![
            standing.id,
            standing.agency.as_str(),
            standing.office.as_str(),
            urgent,
            standing.trace.to_string(),
            entry.at,
            not_before
        ],
    )
}

fn waiting(standing: &Standing, entry: &Entry, add: bool) -> Statement {
    if !add {
        return statement("DELETE FROM waiting_for_agencies WHERE submission = $1", values![standing.id]);
    }
    statement(
        "INSERT INTO waiting_for_agencies (submission, agency, office, since) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (submission) DO UPDATE SET since = excluded.since",
        values![standing.id, standing.agency.as_str(), standing.office.as_str(), entry.at],
    )
}

fn begin_attempt(id: SubmissionId, number: u32, entry: &Entry) -> Statement {
    statement("INSERT INTO attempts (submission, number, begun_at) VALUES ($1, $2, $3)", values![id, number, entry.at])
}

/// An attempt of which the journal has not heard before it was over.
fn whole_attempt(
    id: SubmissionId,
    number: u32,
    first: &Entry,
    outcome: &AttemptOutcome,
    entry: &Entry,
) -> Result<Statement, JournalError> {
    let mut values = values![id, number, first.at, entry.at, rows::json_column(outcome)?];
    values.extend(match &entry.wire {
        Some(wire) => values![wire.http_status, wire.truncated, wire.sent.clone(), wire.received.clone()],
        None => values![Value::Null, false, Value::Null, Value::Null],
    });
    Ok(statement(
        "INSERT INTO attempts (submission, number, begun_at, ended_at, outcome, http_status, truncated, sent, received) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        values,
    ))
}

/// Ends an attempt, or ends it again: what an answer brings late is added to what was kept before.
fn end_attempt(
    id: SubmissionId,
    number: u32,
    outcome: &AttemptOutcome,
    entry: &Entry,
) -> Result<Statement, JournalError> {
    let mut sql = String::from("UPDATE attempts SET ended_at = $3, outcome = $4");
    let mut values = values![id, number, entry.at, rows::json_column(outcome)?];
    if let Some(wire) = &entry.wire {
        sql.push_str(
            ", http_status = COALESCE($5, http_status), truncated = (truncated OR $6), erased_at = NULL, \
             sent = COALESCE($7, sent, $8), received = COALESCE($9, received, $8)",
        );
        values.extend(wire_values(wire));
    }
    sql.push_str(" WHERE submission = $1 AND number = $2");
    Ok(statement(sql, values))
}

/// `$5` to `$9`: status, truncated, sent if any, no bytes, received if any.
fn wire_values(wire: &WireRecord) -> [Value; 5] {
    let if_any = |bytes: &Vec<u8>| Value::from((!bytes.is_empty()).then(|| bytes.clone()));
    [
        wire.http_status.into(),
        wire.truncated.into(),
        if_any(&wire.sent),
        Value::Bytes(Vec::new()),
        if_any(&wire.received),
    ]
}

fn notice(standing: &Standing, state: StateName, entry: &Entry) -> Statement {
    statement(
        "INSERT INTO notices (id, office, submission, state, happened_at, due_at, tries) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        values![Uuid::now_v7(), standing.office.as_str(), standing.id, state.as_str(), entry.at, entry.at, 0_u32],
    )
}
