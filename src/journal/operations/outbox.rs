//! What the broker has carried, or not: rows are done with, or given back.

use super::{
    Access, Operation,
    change::change,
    standing::{read_standing, standing},
};
use crate::domain::{Event, SubmissionId};
use crate::journal::{
    Entry, JournalError, Moved,
    store::{Store, Value, statement, values},
};
use jiff::Timestamp;
use std::fmt::Display;

pub struct Published {
    pub ids: Vec<SubmissionId>,
    pub now: Timestamp,
}

impl Operation for Published {
    type Output = Vec<Moved>;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Vec<Moved>, JournalError> {
        // A worker may have taken it and put it back before the confirm came: that is a new outbox row, which nobody has
        // claimed, and this confirm does not speak of it. One that another transaction holds is moving on.
        let sql = format!(
            "SELECT {} FROM submissions WHERE id IN ({}) AND state = 'accepted' AND EXISTS \
             (SELECT 1 FROM outbox WHERE submission = submissions.id AND claimed_until IS NOT NULL) ORDER BY id{}",
            standing::<S>(),
            S::IDS,
            S::LOCKED_IF_FREE
        );
        let found = store.query(statement(sql, values![id_list(&self.ids)])).await?;
        let entry = Entry::new(Event::Published, self.now);
        let (mut all, mut rows) = (Vec::new(), Vec::new());
        for row in found {
            let standing = read_standing(row)?;
            // What is known of it without reading is true no longer.
            drop(store.recall(standing.id));
            if let Ok((moved, changes)) = change(standing, &entry)? {
                rows.extend(changes);
                all.push(moved);
            }
        }
        store.write(rows).await?;
        Ok(all)
    }
}

pub struct UnclaimOutbox {
    pub ids: Vec<SubmissionId>,
}

impl Operation for UnclaimOutbox {
    type Output = ();
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<(), JournalError> {
        let sql = format!("UPDATE outbox SET claimed_until = NULL WHERE submission IN ({})", S::IDS);
        store.execute(vec![statement(sql, values![id_list(&self.ids)])]).await.map(|_| ())
    }
}

/// For [`Store::IDS`].
pub(super) fn id_list<I: Display>(ids: &[I]) -> Value {
    let quoted: Vec<String> = ids.iter().map(|id| format!("\"{id}\"")).collect();
    Value::Text(format!("[{}]", quoted.join(",")))
}
