//! Compose: a submission comes in, the request in the agency's format goes out.

use super::{
    AgencyConnection, Contents,
    contents::{Base64, Held},
    job::{Job, exchange_of, gone},
};
use crate::{
    adapter::{ComposeError, LARGE_BYTES, Purpose, TransformInput, WireRequest},
    domain::{Code, Fault, MessageId, Stage, SubmissionId},
    journal::Record,
    json::is_small,
    trust::{
        Seal,
        wss::{self, WssError},
    },
};
use jiff::Timestamp;
use roxmltree::Document;
use std::sync::Arc;

/// A request that has not been signed yet, and therefore cannot be sent.
pub(super) struct Composed {
    pub request: WireRequest,
    /// Of an envelope that WS-Security is to sign: what was made of it while it was parsed, or why it cannot be signed.
    pub prepared: Option<Result<wss::Prepared, WssError>>,
    pub reference: SubmissionId,
    pub message: MessageId,
    /// Where to work on it, so that it keeps nobody waiting.
    pub size: Size,
    /// The memory permit for the attachments that the request contains.
    pub held: Option<Held>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// To sign it costs less than a millisecond: another thread would cost more than it spares.
    Small,
    Large,
}

/// Attachments are read only if the template uses what is in them, which it tells by asking for it.
pub(super) async fn compose(
    contents: &Contents,
    job: &Job<'_>,
    purpose: Purpose,
    now: Timestamp,
) -> Result<Composed, Fault> {
    let composed = match is_small(&job.record.submission.data, LARGE_BYTES) {
        true => composed(job.record, job.connection, purpose, None, now)?,
        false => composed_aside(job, purpose, None, now).await?,
    };
    if let Some(composed) = composed {
        return Ok(composed);
    }
    let held = contents.place(job.record).await;
    let read = contents.read(&job.record.submission).await?;
    let composed = composed_aside(job, purpose, Some(read), now).await?.ok_or_else(|| gone(Code::Internal))?;
    Ok(Composed { held: Some(held), ..composed })
}

async fn composed_aside(
    job: &Job<'_>,
    purpose: Purpose,
    contents: Option<Vec<Base64>>,
    now: Timestamp,
) -> Result<Option<Composed>, Fault> {
    let (record, connection) = (job.record.clone(), job.connection.clone());
    let blocking = move || {
        let composed = composed(&record, &connection, purpose, contents.as_deref(), now)?;
        Ok(composed.map(|it| Composed { size: Size::Large, ..it }))
    };
    tokio::task::spawn_blocking(blocking).await.map_err(|_| gone(Code::Internal))?
}

/// `None`: the template uses the contents of attachments, and the input is without them.
fn composed(
    record: &Arc<Record>,
    connection: &AgencyConnection,
    purpose: Purpose,
    contents: Option<&[Base64]>,
    now: Timestamp,
) -> Result<Option<Composed>, Fault> {
    let (submission, attempt, message) = (&record.submission, record.progress.attempts + 1, MessageId::new());
    let (_, exchange) = exchange_of(connection, submission, purpose)?;
    let prepare = |document: &Document<'_>| match &connection.seal {
        Seal::Wss(profile) => Some(wss::prepare(document, profile)),
        Seal::None | Seal::Jws(_) | Seal::HttpSignature(_) => None,
    };
    let input = TransformInput { submission, attempt, message, now, contents };
    match exchange.compose_and_look(&input, prepare) {
        Ok((request, prepared)) => {
            let (prepared, reference) = (prepared.flatten(), submission.id);
            Ok(Some(Composed { request, prepared, reference, message, size: Size::Small, held: None }))
        }
        Err(ComposeError::ContentsWanted) => Ok(None),
        Err(error @ (ComposeError::Template { .. } | ComposeError::AttachmentUnread { .. })) => {
            Err(Fault::new(Code::TemplateFailed, Stage::Transform, error))
        }
        Err(error @ ComposeError::Contract(_)) => Err(Fault::new(Code::ContractBroken, Stage::Transform, error)),
    }
}
