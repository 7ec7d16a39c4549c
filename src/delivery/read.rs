//! Read: what the agency answered comes in; what it means goes out, found on a thread that may take as long as that needs.

use super::{
    AnswerExpectation, Incoming, SentRequest, evaluate,
    job::{Job, exchange_of, gone},
    seal::SentMessage,
};
use crate::{
    adapter::{
        MAX_TIME, Purpose, Reading,
        worker_pool::{self, JobSize, NotDone},
    },
    catalogue::Catalogue,
    domain::{Code, Fault, Stage},
    soap::content,
};
use jiff::Timestamp;
use std::sync::Arc;

pub(super) async fn read(
    incoming: Incoming,
    sent: SentMessage,
    job: &Job<'_>,
    purpose: Purpose,
    catalogue: &Arc<Catalogue>,
    now: Timestamp,
) -> Result<Reading, Fault> {
    let (_, exchange) = exchange_of(job.connection, &job.record.submission, purpose)?;
    let headers_bytes = if exchange.reads_headers() { incoming.headers_bytes() } else { 0 };
    let size_bytes = incoming.body.len() + headers_bytes;
    // What is compressed or in parts may be much larger than it looks.
    let is_plain = content::is_plain(&incoming.headers);
    let (record, connection, catalogue) = (job.record.clone(), job.connection.clone(), catalogue.clone());
    let (earlier, effect) = (job.earlier, job.effect);
    let work = move || {
        let submission = &record.submission;
        let (operation, exchange) = exchange_of(&connection, submission, purpose)?;
        let service = catalogue.get(&submission.service).ok_or_else(|| gone(Code::OperationUnknown))?;
        let sent_request = SentRequest {
            reference: submission.id,
            subject: &submission.subject.id,
            digests: &sent.digests,
            effect,
            correlates: &operation.correlates,
            is_signed: exchange.coverage().is_signed(),
            message: sent.message,
            body_of: sent.body_of,
            earlier,
        };
        let (answer_schema, not_handled) = (&service.answer_schema, &operation.not_handled);
        evaluate(
            &incoming,
            &AnswerExpectation { exchange, connection: &connection, answer_schema, sent_request, not_handled, now },
        )
    };
    let size = if is_plain { JobSize::of(size_bytes) } else { JobSize::Large };
    // Verifying is quick, and mapping ends in the time that filters have.
    let reading = worker_pool::run_aside(size, MAX_TIME, work).await;
    reading.unwrap_or_else(|why| Err(unreadable(why)))
}

fn unreadable(why: NotDone) -> Fault {
    let text = match why {
        NotDone::NoThread => "no thread can be had to read it",
        NotDone::TakesTooLong => "it takes too long",
        // A filter that panics has met an answer that nobody can read.
        NotDone::Panicked => "reading it failed inside",
    };
    Fault::new(Code::AnswerMappingFailed, Stage::Read, text)
}
