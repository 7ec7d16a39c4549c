//! List: conditions come in, the submissions that meet them go out, newest first.

use super::Submissions;
use crate::{
    domain::{AgencyName, StateName},
    journal::{Due, JournalError, ListFilter, Record},
};
use jiff::Timestamp;

/// How many are read at a time where all are wanted.
const PAGE: u32 = 1000;

impl Submissions {
    /// A page, without what may be large.
    pub async fn list(&self, filter: &ListFilter, limit: u32) -> Result<Vec<Record>, JournalError> {
        self.journal.list(filter, limit).await
    }

    /// All that are in a state; of one agency if it is named.
    pub async fn all_in(&self, state: StateName, agency: Option<&AgencyName>) -> Result<Vec<Record>, JournalError> {
        let mut filter = ListFilter { state: Some(state), agency: agency.cloned(), ..ListFilter::default() };
        let mut all = Vec::new();
        loop {
            let page = self.list(&filter, PAGE).await?;
            filter.before = page.last().map(|record| record.submission.id);
            let is_last = page.len() < PAGE as usize;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Those whose retry is due or whose lease has run out, soonest first.
    pub async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Due>, JournalError> {
        self.journal.due(now, limit).await
    }

    /// Those past their deadline that no worker has.
    pub async fn overdue(&self, now: Timestamp, limit: u32) -> Result<Vec<Due>, JournalError> {
        self.journal.overdue(now, limit).await
    }

    /// The soonest time at which something is due, over its deadline, or to be published.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, JournalError> {
        self.journal.next_due().await
    }
}
