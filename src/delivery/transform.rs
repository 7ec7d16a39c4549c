//! Transform: a submission comes in, the request in the agency's form goes out.

use crate::{
    adapter::{ComposeError, Exchange, TransformInput, WireRequest},
    domain::{Code, Fault, MessageId, Stage, SubmissionId},
};

/// A request that has not been signed yet, and therefore cannot be sent.
pub struct Transformed {
    pub(super) request: WireRequest,
    pub(super) reference: SubmissionId,
    pub(super) message: MessageId,
}

/// `None`: the template uses the contents of attachments, and the input is without them.
pub fn transform(exchange: &Exchange, input: &TransformInput<'_>) -> Result<Option<Transformed>, Fault> {
    match exchange.compose(input) {
        Ok(request) => Ok(Some(Transformed { request, reference: input.submission.id, message: input.message })),
        Err(ComposeError::ContentsWanted) => Ok(None),
        Err(error @ (ComposeError::Template { .. } | ComposeError::AttachmentUnread { .. })) => {
            Err(Fault::new(Code::TemplateFailed, Stage::Transform, error))
        }
        Err(error @ ComposeError::Contract(_)) => Err(Fault::new(Code::ContractBroken, Stage::Transform, error)),
    }
}
