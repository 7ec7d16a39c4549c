//! One try to deliver, with what went over the wire.

use super::{Fault, SubmissionId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An attempt as the journal keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    pub submission: SubmissionId,
    /// From 1, in the order of beginning.
    pub number: u32,
    pub begun_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub outcome: Option<AttemptOutcome>,
    /// What was sent and received, as far as it is kept; `None` once erased.
    pub wire: Option<WireRecord>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum AttemptOutcome {
    Answered,
    Refused {
        code: String,
    },
    Waiting,
    /// Nothing was sent, and the attempt does not count.
    PutBack,
    Failed {
        fault: Fault,
    },
}

/// The bytes of one exchange, each cut at the journal's limit. `Debug` shows sizes only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WireRecord {
    pub sent: Vec<u8>,
    pub received: Vec<u8>,
    pub http_status: Option<u16>,
    /// Whether bytes were cut off to respect the size limit.
    pub truncated: bool,
}

impl std::fmt::Debug for WireRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WireRecord")
            .field("sent_bytes", &self.sent.len())
            .field("received_bytes", &self.received.len())
            .field("http_status", &self.http_status)
            .finish_non_exhaustive()
    }
}
