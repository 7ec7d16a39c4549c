//! A submission's row comes in; what a change has to know of it goes out.

use crate::domain::{
    AgencyName, Effect, Facts, OfficeName, Priority, Progress, ServiceName, StateName, SubmissionId, TraceParent,
};
use crate::journal::{
    JournalError, Moved,
    bulk::{Bulk, ColumnType, ROW_VERSION},
    rows,
    store::{Row, Store},
};
use jiff::Timestamp;
use std::sync::LazyLock;

/// The columns of a [`Standing`], which the version of its row follows.
const STANDING: &str = "id, office, agency, service, priority, trace, notify, state_data, attempts, tries, in_doubt, \
                        waiting_since, effect, erased_at, expires_at";

pub static STANDING_OF: LazyLock<Bulk> = LazyLock::new(|| Bulk {
    many: format!("SELECT {STANDING}, {ROW_VERSION} FROM submissions WHERE id = ANY($1)"),
    ..Bulk::select(&format!("SELECT {STANDING}, '' FROM submissions"), &[("id", ColumnType::Id)], "")
});

/// What a [`Standing`] is read from.
pub fn standing<S: Store>() -> String {
    format!("{STANDING}, {}", S::ROW_VERSION)
}

/// What a change has to know about its submission.
pub struct Standing {
    pub id: SubmissionId,
    pub office: OfficeName,
    pub agency: AgencyName,
    service: ServiceName,
    pub priority: Priority,
    pub trace: TraceParent,
    pub notify: bool,
    pub progress: Progress,
    pub effect: Effect,
    pub erased_at: Option<Timestamp>,
    expires_at: Timestamp,
    /// Of the row that it was read from: what is decided by it is void once the row has changed.
    pub version: String,
}

impl Standing {
    pub fn read(mut row: Row) -> Result<Self, JournalError> {
        Ok(Self {
            id: row.id()?,
            office: rows::parsed(&mut row)?,
            agency: rows::parsed(&mut row)?,
            service: rows::parsed(&mut row)?,
            priority: rows::priority(&mut row)?,
            trace: rows::trace(&mut row)?,
            notify: row.flag()?,
            progress: rows::progress(&mut row)?,
            effect: rows::effect(&mut row)?,
            erased_at: row.optional_time()?,
            expires_at: row.time()?,
            version: row.text()?,
        })
    }

    pub fn moved(self, entered: Vec<StateName>) -> Moved {
        let Self { id: submission, office, agency, service, trace, progress, .. } = self;
        Moved { submission, office, agency, service, trace, progress, entered }
    }

    pub fn facts(&self, at: Timestamp) -> Facts {
        Facts { effect: self.effect, is_erased: self.erased_at.is_some(), is_overdue: at >= self.expires_at }
    }
}
