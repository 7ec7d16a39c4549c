//! One submission that is to be sent: to which agency, by which of its operations, and by the rules of which effect.

use super::{AgencyConnection, AgencyConnections, EarlierReplies};
use crate::{
    adapter::{Exchange, Operation, Purpose},
    domain::{Code, Effect, Fault, Stage, Submission},
    journal::Record,
};
use std::sync::Arc;

#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub record: &'a Arc<Record>,
    pub connection: &'a Arc<AgencyConnection>,
    pub operation: &'a Operation,
    /// The stricter of what the adapter declares and what it declared when the submission was accepted.
    pub effect: Effect,
    /// What may have been said of its reference before.
    pub earlier: EarlierReplies,
}

impl Job<'_> {
    /// Whoever may have acted on an earlier attempt is asked first.
    pub fn first_purpose(&self) -> Purpose {
        let Self { record, effect, .. } = self;
        let effects = [*effect, record.submission.effect];
        match effects.iter().any(|effect| record.progress.is_to_be_asked_about(*effect)) {
            true => Purpose::Lookup,
            false => Purpose::Submit,
        }
    }
}

/// The connection to the submission's agency, and the agency's operation for the service.
pub(super) fn operation_of<'a>(
    connections: &'a AgencyConnections,
    submission: &Submission,
) -> Result<(Arc<AgencyConnection>, &'a Operation), Fault> {
    let unknown = |code| Fault::new(code, Stage::Transform, format!("{} of {}", submission.service, submission.agency));
    let adapter = connections.adapter(&submission.agency).ok_or_else(|| unknown(Code::AgencyUnknown))?;
    let operation = adapter.operations.get(&submission.service);
    let operation = operation.ok_or_else(|| unknown(Code::OperationUnknown))?;
    Ok((connections.get(&submission.agency).ok_or_else(|| unknown(Code::AgencyUnknown))??, operation))
}

/// The same operation as [`operation_of`] has found, for work on another thread that cannot borrow it, and its exchange for
/// this purpose.
pub(super) fn exchange_of<'a>(
    connection: &'a AgencyConnection,
    submission: &Submission,
    purpose: Purpose,
) -> Result<(&'a Operation, &'a Exchange), Fault> {
    let operation = connection.adapter.operations.get(&submission.service);
    let operation = operation.ok_or_else(|| gone(Code::OperationUnknown))?;
    let exchange = match purpose {
        Purpose::Submit => Some(&operation.request),
        Purpose::Lookup => operation.lookup.as_ref(),
    };
    Ok((operation, exchange.ok_or_else(|| gone(Code::OperationUnknown))?))
}

pub(super) fn gone(code: Code) -> Fault {
    Fault::new(code, Stage::Transform, "it was there a moment ago")
}
