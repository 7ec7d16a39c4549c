//! One standardised request, as it was accepted. Nothing here changes afterwards.

use super::{AgencyName, AttachmentId, Effect, OfficeName, Priority, ServiceName, SubmissionId, TraceParent};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// `Debug` is written by hand: it shows no subject and no data, so no log line can carry them.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    pub id: SubmissionId,
    pub office: OfficeName,
    pub service: ServiceName,
    pub agency: AgencyName,
    /// As the operation declared it when the submission was accepted.
    pub effect: Effect,
    pub priority: Priority,
    pub context: CallContext,
    pub subject: Subject,
    /// Valid against the service's request schema.
    pub data: serde_json::Value,
    pub attachments: Vec<AttachmentRef>,
    pub accepted_at: Timestamp,
    /// When the submission must have ended: the operation's deadline or what the office asked for, whichever is sooner.
    pub expires_at: Timestamp,
    pub trace: TraceParent,
}

/// Who asks, for which body, on what legal basis, and why: every national exchange demands these four.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallContext {
    pub clerk: String,
    pub entity: String,
    pub legal_basis: String,
    pub reason: String,
}

/// The person or thing that the request is about.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    pub scheme: String,
    pub id: String,
}

/// A file that was uploaded before: its bytes are known by their digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentRef {
    pub id: AttachmentId,
    /// Lower-case hexadecimal SHA-256 of the bytes.
    pub sha256: String,
    pub size_bytes: u64,
    pub media_type: String,
    pub name: String,
}

impl std::fmt::Debug for Submission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submission")
            .field("id", &self.id)
            .field("office", &self.office)
            .field("service", &self.service)
            .field("agency", &self.agency)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for CallContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallContext(..)")
    }
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subject(..)")
    }
}
