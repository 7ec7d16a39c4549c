//! What a change has to know about its submission.

use super::Moved;
use crate::domain::{
    AgencyName, Change, Effect, Facts, OfficeName, Priority, Progress, ServiceName, StateName, Submission,
    SubmissionId, TraceParent, whole_microseconds,
};
use jiff::Timestamp;

#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub id: SubmissionId,
    pub office: OfficeName,
    pub agency: AgencyName,
    pub service: ServiceName,
    pub priority: Priority,
    pub trace: TraceParent,
    pub notify: bool,
    pub progress: Progress,
    pub effect: Effect,
    pub erased_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    /// Of the row that it was read from: what is decided by it is void once the row has changed.
    pub version: String,
}

/// How a submission stood when it was last read or written.
#[derive(Debug, Clone, PartialEq)]
pub struct LastKnown {
    pub standing: Standing,
    /// `None`: it would have to be read.
    pub timeline: Option<Vec<Change>>,
}

impl Standing {
    pub fn of(submission: &Submission, progress: Progress, notify: bool, version: String) -> Self {
        let Submission { id, office, agency, service, priority, trace, effect, expires_at, .. } = submission;
        let (office, agency, service) = (office.clone(), agency.clone(), service.clone());
        Self {
            id: *id,
            office,
            agency,
            service,
            priority: *priority,
            trace: *trace,
            notify,
            progress,
            effect: *effect,
            erased_at: None,
            expires_at: whole_microseconds(*expires_at),
            version,
        }
    }

    pub fn moved(self, entered: Vec<StateName>) -> Moved {
        let Self { id: submission, office, agency, service, trace, progress, .. } = self;
        Moved { submission, office, agency, service, trace, progress, entered }
    }

    pub fn facts(&self, at: Timestamp) -> Facts {
        Facts { effect: self.effect, is_erased: self.erased_at.is_some(), is_overdue: at >= self.expires_at }
    }
}
