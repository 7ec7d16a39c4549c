//! Resolve: an operator has found out about a submission that may have been done, or has its agency asked once more.

use super::Submissions;
use crate::{
    catalogue::{Catalogue, SchemaFault},
    domain::{Answer, Event, Finding, Progress, ServiceName},
    journal::{JournalError, Record},
    json::{self, JsonFault, Rules},
};

/// Why an answer that an operator brings is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    #[error("it is no JSON that is taken: {0}")]
    Json(#[from] JsonFault),
    #[error("there is no service {0} whose schema it could be held against")]
    NoService(ServiceName),
    #[error("it does not fit the answer schema of {service}: {}", told(.faults))]
    Schema { service: ServiceName, faults: Vec<SchemaFault> },
}

/// What an operator brings in the agency's place is held against the same schema as what the agency sends.
pub fn answer_of(bytes: &[u8], service: &ServiceName, catalogue: &Catalogue) -> Result<Answer, NoAnswer> {
    let contract = catalogue.get(service).ok_or_else(|| NoAnswer::NoService(service.clone()))?;
    let value = json::parse(bytes, Rules::AGENCY)?;
    let faults = contract.answer_schema.faults(&value);
    match faults.is_empty() {
        true => Ok(Answer(value)),
        false => Err(NoAnswer::Schema { service: service.clone(), faults }),
    }
}

impl Submissions {
    /// `seen`: the submission as the operator has seen it. Should another operator, or a late answer, have been quicker, the
    /// journal refuses this decision.
    pub async fn resolve(&self, seen: &Record, by: &str, finding: Finding) -> Result<Progress, JournalError> {
        let event = Event::Resolved { by: by.to_owned(), seen: seen.progress.attempts, finding };
        self.happened(seen.submission.id, event).await
    }
}

/// Where it does not fit; what stands there may be of a person.
fn told(faults: &[SchemaFault]) -> String {
    faults.iter().map(|fault| format!("{} {}", fault.pointer, fault.problem)).collect::<Vec<_>>().join("; ")
}
