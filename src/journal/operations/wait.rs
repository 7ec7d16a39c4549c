//! Waiting: an agency that nothing is sent to for now comes in; what lies in its queue is told to wait for it, and stays there.

use super::{
    Access, Operation,
    change::change,
    standing::{read_standing, standing},
};
use crate::domain::AgencyName;
use crate::journal::{
    Entry, JournalError,
    store::{Store, statement, values},
};
use jiff::Timestamp;
use std::ops::Range;

/// How many there were.
pub struct KeepWaiting {
    pub agency: AgencyName,
    /// Since when they have been `queued`.
    pub of: Range<Timestamp>,
    pub entry: Entry,
    pub limit: u32,
}

impl Operation for KeepWaiting {
    type Output = u64;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<u64, JournalError> {
        // What another transaction holds is about to be sent, or to end.
        let sql = format!(
            "SELECT {} FROM submissions WHERE agency = $1 AND state = 'queued' AND changed_at >= $2 \
             AND changed_at < $3 AND waiting_since IS NULL ORDER BY changed_at, id LIMIT $4{}",
            standing::<S>(),
            S::LOCKED_IF_FREE
        );
        let Range { start, end } = self.of;
        let found = store.query(statement(sql, values![self.agency.as_str(), start, end, self.limit])).await?;
        let (mut count, mut rows) = (0, Vec::new());
        for row in found {
            if let Ok((_, changes)) = change(read_standing(row)?, &self.entry)? {
                rows.extend(changes);
                count += 1;
            }
        }
        store.write(rows).await?;
        Ok(count)
    }
}
