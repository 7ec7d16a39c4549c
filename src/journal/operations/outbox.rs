//! What the broker has to carry: rows are claimed, given back, or done with.

use super::{
    Access, Operation,
    change::{STANDING, Standing, change},
};
use crate::domain::{AgencyName, Event, Priority, SubmissionId};
use crate::journal::{
    Entry, JournalError, OutboxItem, rows,
    store::{Store, Value, statement, values},
};
use jiff::Timestamp;
use std::cmp::Reverse;

pub struct ClaimOutbox {
    pub limit: u32,
    pub now: Timestamp,
    pub lease_until: Timestamp,
    pub except: Vec<AgencyName>,
}

impl Operation for ClaimOutbox {
    type Output = Vec<OutboxItem>;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Vec<OutboxItem>, JournalError> {
        // Materialized, because PostgreSQL may otherwise run a locking subquery more than once and claim too many.
        let except: String = (4..).zip(&self.except).map(|(number, _)| format!(" AND agency <> ${number}")).collect();
        // What was added in the future was added by a clock that has been set back since: it waits no longer.
        let mut values = values![self.now, self.limit, self.lease_until];
        values.extend(self.except.iter().map(|agency| Value::from(agency.as_str())));
        let sql = format!(
            "WITH picked AS MATERIALIZED (SELECT submission FROM outbox WHERE (not_before <= $1 OR added_at > $1) \
             AND (claimed_until IS NULL OR claimed_until <= $1){except} \
             ORDER BY urgent DESC, added_at, submission LIMIT $2{}) \
             UPDATE outbox SET claimed_until = $3 WHERE submission IN (SELECT submission FROM picked) \
             RETURNING submission, agency, urgent, trace, added_at",
            S::LOCKED_IF_FREE
        );
        let claimed = store.query(statement(sql, values)).await?;
        let mut items = Vec::with_capacity(claimed.len());
        for mut row in claimed {
            let item = rows::outbox_item(&mut row)?;
            items.push((Reverse(item.priority == Priority::Urgent), row.time()?, item));
        }
        items.sort_by_key(|(urgent, added_at, item)| (*urgent, *added_at, item.submission));
        Ok(items.into_iter().map(|(_, _, item)| item).collect())
    }
}

pub struct Published {
    pub ids: Vec<SubmissionId>,
    pub now: Timestamp,
}

impl Operation for Published {
    type Output = ();
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<(), JournalError> {
        // A worker may have taken it and put it back before the confirm came: that is a new outbox row, which nobody has
        // claimed, and this confirm does not speak of it.
        let sql = format!(
            "SELECT {STANDING} FROM submissions WHERE id IN ({}) AND state = 'accepted' AND (attempts = 0 OR EXISTS \
             (SELECT 1 FROM outbox WHERE submission = submissions.id AND claimed_until IS NOT NULL)) ORDER BY id{}",
            S::IDS,
            S::LOCKED
        );
        let found = store.query(statement(sql, values![id_list(&self.ids)])).await?;
        let entry = Entry::new(Event::Published, self.now);
        let mut statements = Vec::new();
        for row in found {
            if let Ok((_, changes)) = change(Standing::read(row)?, &entry)? {
                statements.extend(changes);
            }
        }
        store.execute(statements).await.map(|_| ())
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

fn id_list(ids: &[SubmissionId]) -> Value {
    let quoted: Vec<String> = ids.iter().map(|id| format!("\"{id}\"")).collect();
    Value::Text(format!("[{}]", quoted.join(",")))
}
