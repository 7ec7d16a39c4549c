//! One exchange: a begun attempt comes in; it is prepared, sent and read, what takes long away from the threads that serve
//! the network, and what it came to goes out.

use super::{
    AgencyConnection, AnswerExpectation, Deliverer, Earlier, Incoming, Ours, Sealed,
    begin::Begun,
    contents::{Base64, Held},
    digests, read, seal, send, transform,
    transform::Transformed,
};
use crate::{
    adapter::{
        BRIEF_BYTES, BodyOf, Exchange, LARGE_BYTES, MAX_TIME, Operation, Reading, TransformInput,
        worker_pool::{self, NotDone},
    },
    crash::{self, Point},
    domain::{Code, Effect, Fault, MessageId, Stage, WireRecord, later},
    journal::{JournalError, Record},
    soap::content,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// An attempt that has been begun; a read perhaps without the journal knowing yet.
#[derive(Clone, Copy)]
pub(super) struct Turn<'a> {
    pub record: &'a Arc<Record>,
    pub connection: &'a Arc<AgencyConnection>,
    pub operation: &'a Operation,
    /// The stricter of what the adapter declares and what it declared when the submission was accepted.
    pub effect: Effect,
    pub lease_until: Timestamp,
    /// What may have been said of its reference before.
    pub earlier: Earlier,
}

/// A request in the agency's format.
pub(super) struct Composed {
    request: Request,
    /// The memory permit for the attachments that the request contains.
    held: Option<Held>,
}

enum Request {
    Transformed(Transformed),
    /// A large one is sealed at once, where it does not keep anybody waiting.
    Sealed(Sealed),
}

/// A request that may leave.
pub(super) struct Prepared {
    sealed: Sealed,
    /// The memory permit for the attachments that the request contains.
    held: Option<Held>,
}

/// Of a message that has left, what its answer may name.
struct Sent {
    message: MessageId,
    /// Empty where the filter names none.
    digests: Vec<String>,
    body_of: BodyOf,
}

/// What one attempt came to.
pub(super) struct Outcome {
    pub ending: Ending,
    pub wire: WireRecord,
}

pub(super) enum Ending {
    Read(Result<Reading, Fault>),
    /// The agency has not seen it, but until then an earlier attempt may still be on its way through the agency.
    TooEarly(Timestamp),
    /// Nothing has left, because the lease would have run out meanwhile.
    LeaseOver,
}

/// A read that is answered within this time is recorded in one change; nobody needs to see the state `sending` for so
/// short a time.
const SOON: Duration = Duration::from_millis(50);

impl Deliverer {
    /// Composed and sealed.
    pub(super) async fn prepare(
        &self,
        record: &Arc<Record>,
        connection: &Arc<AgencyConnection>,
        is_lookup: bool,
    ) -> Result<Prepared, Fault> {
        self.compose(record, connection, is_lookup).await?.seal(record, connection, self.clock.now())
    }

    /// Attachments are read only if the template uses what is in them, which it tells by asking for it.
    pub(super) async fn compose(
        &self,
        record: &Arc<Record>,
        connection: &Arc<AgencyConnection>,
        is_lookup: bool,
    ) -> Result<Composed, Fault> {
        let request = if is_small(&record.submission.data, &mut { LARGE_BYTES }) {
            transformed(record, connection, None, is_lookup, self.clock.now())?.map(Request::Transformed)
        } else {
            self.sealed_aside(record, connection, None, is_lookup).await?.map(Request::Sealed)
        };
        if let Some(request) = request {
            return Ok(Composed { request, held: None });
        }
        let held = self.contents.place(record).await;
        let contents = self.contents_of(&record.submission).await?;
        let sealed = self.sealed_aside(record, connection, Some(contents), is_lookup).await?;
        let request = Request::Sealed(sealed.ok_or_else(|| missing(Code::Internal))?);
        Ok(Composed { request, held: Some(held) })
    }

    async fn sealed_aside(
        &self,
        record: &Arc<Record>,
        connection: &Arc<AgencyConnection>,
        contents: Option<Vec<Base64>>,
        is_lookup: bool,
    ) -> Result<Option<Sealed>, Fault> {
        let (record, connection, now) = (record.clone(), connection.clone(), self.clock.now());
        let blocking = move || {
            let transformed = transformed(&record, &connection, contents.as_deref(), is_lookup, now)?;
            transformed.map(|it| seal(it, &connection, record.submission.trace.child(), now)).transpose()
        };
        tokio::task::spawn_blocking(blocking).await.map_err(|_| missing(Code::Internal))?
    }

    /// What is answered soon is begun and ended in one change of the journal; what takes longer is begun meanwhile. `None`:
    /// somebody else has it, and what the agency says is left to them.
    pub(super) async fn exchange_and_begin(
        &self,
        turn: &Turn<'_>,
        first: Begun,
        prepared: Prepared,
    ) -> Result<Option<(Begun, Outcome)>, JournalError> {
        let mut exchange = pin!(self.exchange(turn, prepared, false));
        if let Ok(outcome) = timeout(SOON, &mut exchange).await {
            return Ok(Some((first, outcome)));
        }
        let mut begin = pin!(self.begin(turn.record, first));
        let (begun, answered) = tokio::select! {
            begun = &mut begin => (begun?, None),
            outcome = &mut exchange => (begin.await?, Some(outcome)),
        };
        let Some(begun) = begun else { return Ok(None) };
        crash::here(Point::WorkerBegun);
        let outcome = match answered {
            Some(outcome) => outcome,
            None => exchange.await,
        };
        Ok(Some((begun, outcome)))
    }

    pub(super) async fn exchange(&self, turn: &Turn<'_>, prepared: Prepared, is_lookup: bool) -> Outcome {
        let limit = turn.operation.timeout;
        // From before the look at the lease: a pause after it shortens what is left of the exchange.
        let deadline = Instant::now() + limit;
        let mut wire = WireRecord::default();
        if !may_leave(self.clock.now(), limit, turn.lease_until) {
            tracing::warn!(submission = %turn.record.submission.id, "the lease ran out before it was sent");
            return Outcome { ending: Ending::LeaseOver, wire };
        }
        let Prepared { sealed, held } = prepared;
        (wire.sent, wire.truncated) = sealed.beginning(self.wire_max_bytes);
        let by_digest = exchange_of(turn.connection, turn.record, is_lookup).is_ok_and(|(_, it)| it.binds_by_digest());
        let digests = if by_digest { digests(sealed.body()) } else { Vec::new() };
        let sent = Sent { message: sealed.message(), digests, body_of: sealed.body_of() };
        crash::here(Point::WorkerSending);
        let effect = if is_lookup { Effect::Read } else { turn.effect };
        let answer = send(sealed, turn.connection, effect, &turn.operation.not_handled, deadline).await;
        // Of what was sent, no more is left than the journal keeps.
        drop(held);
        let reading = match answer {
            Ok(received) => {
                crash::here(Point::WorkerAnswered);
                wire.http_status = Some(received.status);
                wire.received = received.body[..received.body.len().min(self.wire_max_bytes)].to_vec();
                wire.truncated |= received.body.len() > self.wire_max_bytes;
                self.read(turn, received, sent, is_lookup).await
            }
            Err(unanswered) => {
                wire.http_status = unanswered.http_status;
                Err(unanswered.fault)
            }
        };
        turn.connection.heed_answer(&turn.record.submission, &reading);
        Outcome { ending: Ending::Read(reading), wire }
    }

    async fn read(&self, turn: &Turn<'_>, received: Incoming, sent: Sent, is_lookup: bool) -> Result<Reading, Fault> {
        let (_, exchange) = exchange_of(turn.connection, turn.record, is_lookup)?;
        let headers_bytes = if exchange.reads_headers() { received.headers_bytes() } else { 0 };
        let size_bytes = received.body.len() + headers_bytes;
        // What is compressed or in parts may be much larger than it looks.
        let is_plain = content::is_plain(&received.headers);
        let is_brief = size_bytes <= BRIEF_BYTES && is_plain && exchange.reads_briefly();
        let (record, connection, catalogue) = (turn.record.clone(), turn.connection.clone(), self.catalogue.clone());
        let (now, earlier, effect) = (self.clock.now(), turn.earlier, turn.effect);
        let work = move || {
            let (operation, exchange) = exchange_of(&connection, &record, is_lookup)?;
            let service = catalogue.get(&record.submission.service).ok_or_else(|| missing(Code::OperationUnknown))?;
            let ours = Ours {
                reference: record.submission.id,
                subject: &record.submission.subject.id,
                digests: &sent.digests,
                effect,
                correlates: &operation.correlates,
                is_signed: exchange.coverage().is_signed(),
                message: sent.message,
                body_of: sent.body_of,
                earlier,
            };
            let (answer_schema, not_handled) = (&service.answer_schema, &operation.not_handled);
            read(
                &received,
                &AnswerExpectation { exchange, connection: &connection, answer_schema, ours, not_handled, now },
            )
        };
        // Verifying is quick, and mapping ends in the time that filters have.
        let reading = match is_brief {
            true => worker_pool::run_here(work),
            false => worker_pool::run_aside(size_bytes > LARGE_BYTES || !is_plain, MAX_TIME, work).await,
        };
        let unreadable = |text: &str| Err(Fault::new(Code::AnswerMappingFailed, Stage::Read, text));
        reading.unwrap_or_else(|why| match why {
            NotDone::NoThread => unreadable("no thread can be had to read it"),
            NotDone::TakesTooLong => unreadable("it takes too long"),
            // A filter that panics has met an answer that nobody can read.
            NotDone::BreaksOff => unreadable("reading it failed inside"),
        })
    }
}

impl Composed {
    /// A small one costs less than a millisecond, most of it the signature: another thread would cost more than it spares.
    pub(super) fn seal(
        self,
        record: &Record,
        connection: &AgencyConnection,
        now: Timestamp,
    ) -> Result<Prepared, Fault> {
        let sealed = match self.request {
            Request::Transformed(transformed) => seal(transformed, connection, record.submission.trace.child(), now)?,
            Request::Sealed(sealed) => sealed,
        };
        Ok(Prepared { sealed, held: self.held })
    }
}

/// Whether all texts and members together take no more than what is left of `bytes`.
pub(super) fn is_small(value: &Value, bytes: &mut usize) -> bool {
    let own = match value {
        Value::String(text) => text.len(),
        Value::Object(members) => members.keys().map(String::len).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => 0,
    };
    let Some(left) = bytes.checked_sub(own + size_of::<Value>()) else { return false };
    *bytes = left;
    match value {
        Value::Array(items) => items.iter().all(|item| is_small(item, bytes)),
        Value::Object(members) => members.values().all(|member| is_small(member, bytes)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// `None`: the contents of its attachments are needed.
fn transformed(
    record: &Record,
    connection: &AgencyConnection,
    contents: Option<&[Base64]>,
    is_lookup: bool,
    now: Timestamp,
) -> Result<Option<Transformed>, Fault> {
    let submission = &record.submission;
    let attempt = record.progress.attempts + 1;
    let input = TransformInput { submission, attempt, message: MessageId::new(), now, contents };
    let (_, exchange) = exchange_of(connection, record, is_lookup)?;
    transform(exchange, &input)
}

/// Whoever wakes up after a long pause may find that others have taken it up meanwhile.
pub fn may_leave(now: Timestamp, timeout: Duration, lease_until: Timestamp) -> bool {
    let latest = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
    later(now, latest) <= lease_until
}

fn exchange_of<'a>(
    connection: &'a AgencyConnection,
    record: &Record,
    is_lookup: bool,
) -> Result<(&'a Operation, &'a Exchange), Fault> {
    let operation = connection.adapter.operations.get(&record.submission.service);
    let operation = operation.ok_or_else(|| missing(Code::OperationUnknown))?;
    let exchange = if is_lookup { operation.lookup.as_ref() } else { Some(&operation.request) };
    Ok((operation, exchange.ok_or_else(|| missing(Code::OperationUnknown))?))
}

fn missing(code: Code) -> Fault {
    Fault::new(code, Stage::Transform, "it was there a moment ago")
}
