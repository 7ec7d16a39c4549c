//! One exchange: a begun attempt comes in; it is prepared, sent and read away from the threads that serve the network, and
//! what it came to goes out.

use super::{Answering, Line, Road, Sealed, begin::later, read, seal, send, transform};
use crate::{
    adapter::{Exchange, Operation, Reading, TransformInput},
    crash::{self, Point},
    domain::{Code, Fault, Stage, Verdict, WireRecord},
    journal::Record,
    wire::Received,
};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tokio::time::Instant;

/// An attempt that has been begun.
pub(super) struct Turn<'a> {
    pub record: &'a Arc<Record>,
    pub line: &'a Arc<Line>,
    pub operation: &'a Operation,
    pub lease_until: Timestamp,
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
}

impl Road {
    /// Transform and seal, away from the threads that serve the network.
    pub(super) async fn prepare(
        &self,
        record: &Arc<Record>,
        line: &Arc<Line>,
        is_lookup: bool,
    ) -> Result<Sealed, Fault> {
        let mut attachments = Vec::new();
        for attachment in &record.submission.attachments {
            let lost =
                |error| Fault::new(Code::AttachmentLost, Stage::Transform, format!("{}: {error}", attachment.id));
            attachments.push((attachment.clone(), self.attachments.read(attachment).await.map_err(lost)?));
        }
        let (record, line, now) = (record.clone(), line.clone(), self.clock.now());
        let blocking = tokio::task::spawn_blocking(move || {
            let submission = &record.submission;
            let attempt = record.progress.attempts + 1;
            let input = TransformInput { submission, attempt, now, attachments: &attachments };
            let (_, exchange) = exchange_of(&line, &record, is_lookup)?;
            seal(transform(exchange, &input)?, &line, submission.trace.child(), now)
        });
        blocking.await.map_err(|_| missing(Code::Internal))?
    }

    pub(super) async fn exchange(&self, turn: &Turn<'_>, sealed: Sealed, is_lookup: bool) -> Outcome {
        let timeout = turn.operation.timeout;
        // From before the look at the lease: a pause after it shortens what is left of the exchange.
        let deadline = Instant::now() + timeout;
        let mut wire = WireRecord::default();
        // Whoever wakes up after a long pause may find that others have taken it up meanwhile.
        let latest = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
        if later(self.clock.now(), latest) > turn.lease_until {
            let fault = Fault::new(Code::Interrupted, Stage::Send, "the lease ran out before it was sent");
            return Outcome { ending: Ending::Read(Err(Fault { verdict: Verdict::Retry, ..fault })), wire };
        }
        wire.sent = sealed.as_bytes();
        crash::here(Point::WorkerSending);
        let reading = match send(sealed, turn.line, deadline).await {
            Ok(received) => {
                crash::here(Point::WorkerAnswered);
                wire.http_status = Some(received.status);
                wire.received = received.body.to_vec();
                self.read(turn.record, turn.line, received, is_lookup).await
            }
            Err(fault) => Err(fault),
        };
        Outcome { ending: Ending::Read(reading), wire }
    }

    async fn read(
        &self,
        record: &Arc<Record>,
        line: &Arc<Line>,
        received: Received,
        is_lookup: bool,
    ) -> Result<Reading, Fault> {
        let (record, line, catalogue, now) = (record.clone(), line.clone(), self.catalogue.clone(), self.clock.now());
        let blocking = tokio::task::spawn_blocking(move || {
            let (operation, exchange) = exchange_of(&line, &record, is_lookup)?;
            let service = catalogue.get(&record.submission.service).ok_or_else(|| missing(Code::OperationUnknown))?;
            read(
                &received,
                &Answering {
                    exchange,
                    line: &line,
                    answer_schema: &service.answer_schema,
                    correlates: operation.correlates,
                    reference: record.submission.id,
                    now,
                },
            )
        });
        // A filter that panics has met an answer that nobody can read.
        blocking.await.map_err(|_| Fault::new(Code::AnswerMappingFailed, Stage::Read, "reading it failed inside"))?
    }
}

fn exchange_of<'a>(line: &'a Line, record: &Record, is_lookup: bool) -> Result<(&'a Operation, &'a Exchange), Fault> {
    let operation = line.adapter.operations.get(&record.submission.service);
    let operation = operation.ok_or_else(|| missing(Code::OperationUnknown))?;
    let exchange = if is_lookup { operation.lookup.as_ref() } else { Some(&operation.request) };
    Ok((operation, exchange.ok_or_else(|| missing(Code::OperationUnknown))?))
}

fn missing(code: Code) -> Fault {
    Fault::new(code, Stage::Transform, "it was there a moment ago")
}
