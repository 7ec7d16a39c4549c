//! What the broker is to carry next: each agency's window and the outbox come in, rows of each office in its turn go out.

use super::{Access, Operation};
use crate::domain::{AgencyName, Priority, SubmissionId};
use crate::journal::{
    JournalError, OutboxItem, Windows, rows,
    store::{Store, statement, values},
};
use jiff::Timestamp;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

pub struct ClaimOutbox {
    pub limit: u32,
    pub now: Timestamp,
    pub lease_until: Timestamp,
    pub except: Vec<AgencyName>,
    pub windows: Windows,
}

/// Offices with something in the outbox, each with its agency.
type Waiting = (String, String);

/// Of how many offices rows are looked for in one transaction.
const OFFICES_AT_ONCE: usize = 64;

/// A few index lookups an office, however many rows it has: the next office of the same agency, or the first of the next.
const WAITING: &str = "WITH RECURSIVE waiting (agency, office) AS ( \
     SELECT (SELECT min(agency) FROM outbox), \
            (SELECT min(office) FROM outbox WHERE agency = (SELECT min(agency) FROM outbox)) \
     UNION ALL \
     SELECT CASE WHEN (SELECT min(o.office) FROM outbox o WHERE o.agency = waiting.agency \
                       AND o.office > waiting.office) IS NOT NULL THEN waiting.agency \
            ELSE (SELECT min(o.agency) FROM outbox o WHERE o.agency > waiting.agency) END, \
            COALESCE((SELECT min(o.office) FROM outbox o WHERE o.agency = waiting.agency AND o.office > waiting.office), \
            (SELECT min(o.office) FROM outbox o WHERE o.agency = \
             (SELECT min(p.agency) FROM outbox p WHERE p.agency > waiting.agency))) \
     FROM waiting WHERE waiting.agency IS NOT NULL) \
     SELECT agency, office FROM waiting WHERE agency IS NOT NULL";

impl Operation for ClaimOutbox {
    type Output = Vec<OutboxItem>;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Vec<OutboxItem>, JournalError> {
        let mut waiting = self.waiting(store).await?;
        let rooms = self.rooms(store, &waiting).await?;
        waiting.retain(|of| rooms.get(of).is_some_and(|room| *room > 0));
        // The beginning changes with the time, so that in the long run every office is looked at.
        let begin = usize::try_from(self.now.as_microsecond()).unwrap_or_default() % waiting.len().max(1);
        waiting.rotate_left(begin);
        let mut found = Vec::new();
        for of in waiting.iter().take(OFFICES_AT_ONCE) {
            let room = rooms.get(of).copied().unwrap_or_default();
            found.extend(self.rows_of(store, of, room).await?);
        }
        found.sort();
        found.truncate(self.limit as usize);
        self.claim(store, found.into_iter().map(|(_, id)| id).collect()).await
    }
}

impl ClaimOutbox {
    async fn waiting<S: Store>(&self, store: &mut S) -> Result<Vec<Waiting>, JournalError> {
        let mut waiting = Vec::new();
        for mut row in store.query(statement(WAITING, vec![])).await? {
            let (agency, office) = (row.text()?, row.text()?);
            if !self.except.iter().any(|except| except.as_str() == agency) {
                waiting.push((agency, office));
            }
        }
        Ok(waiting)
    }

    /// How many more of each office's may be with the broker: of an agency's window each office has the same share.
    async fn rooms<S: Store>(
        &self,
        store: &mut S,
        waiting: &[Waiting],
    ) -> Result<BTreeMap<Waiting, u32>, JournalError> {
        let mut rooms = BTreeMap::new();
        let agencies: BTreeSet<&String> = waiting.iter().map(|(agency, _)| agency).collect();
        for agency in agencies {
            let busy = busy(store, agency).await?;
            let offices = || waiting.iter().filter(|(of, _)| of == agency).map(|(_, office)| office);
            let active = offices().chain(busy.keys()).collect::<BTreeSet<_>>().len();
            let share = agency.parse::<AgencyName>().ok().and_then(|agency| self.windows.share(&agency, active));
            let share = share.unwrap_or(u32::MAX);
            for office in offices() {
                let busy = busy.get(office).copied().unwrap_or_default();
                rooms.insert((agency.clone(), office.clone()), share.saturating_sub(busy));
            }
        }
        Ok(rooms)
    }

    /// Its urgent ones first, then its oldest; each with what the order among offices goes by.
    async fn rows_of<S: Store>(
        &self,
        store: &mut S,
        (agency, office): &Waiting,
        room: u32,
    ) -> Result<Vec<((bool, usize, Timestamp), SubmissionId)>, JournalError> {
        // What was added in the future was added by a clock that has been set back since: it waits no longer.
        let sql = format!(
            "SELECT submission, urgent, added_at FROM outbox WHERE agency = $1 AND office = $2 \
             AND (not_before <= $3 OR added_at > $3) AND (claimed_until IS NULL OR claimed_until <= $3) \
             ORDER BY urgent DESC, added_at, submission LIMIT $4{}",
            S::LOCKED_IF_FREE
        );
        let values = values![agency.as_str(), office.as_str(), self.now, room.min(self.limit)];
        let found = store.query(statement(sql, values)).await?;
        let ranked = found.into_iter().enumerate().map(|(rank, mut row)| {
            let (id, urgent, added_at) = (row.id()?, row.flag()?, row.time()?);
            Ok(((!urgent, rank, added_at), id))
        });
        ranked.collect()
    }

    async fn claim<S: Store>(&self, store: &mut S, ids: Vec<SubmissionId>) -> Result<Vec<OutboxItem>, JournalError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(
            "UPDATE outbox SET claimed_until = $2 WHERE submission IN ({}) \
             RETURNING submission, agency, office, urgent, trace, added_at",
            S::IDS
        );
        let claimed = store.query(statement(sql, values![super::outbox::id_list(&ids), self.lease_until])).await?;
        let mut items = Vec::with_capacity(claimed.len());
        for mut row in claimed {
            let item = rows::outbox_item(&mut row)?;
            items.push((Reverse(item.priority == Priority::Urgent), row.time()?, item));
        }
        items.sort_by_key(|(urgent, added_at, item)| (*urgent, *added_at, item.submission));
        Ok(items.into_iter().map(|(_, _, item)| item).collect())
    }
}

/// How many of each office's the broker or a worker has.
async fn busy<S: Store>(store: &mut S, agency: &str) -> Result<BTreeMap<String, u32>, JournalError> {
    let sql = "SELECT office, count(*) FROM submissions WHERE agency = $1 AND state IN ('queued', 'sending') \
               GROUP BY office";
    let counted = store.query(statement(sql, values![agency])).await?;
    counted.into_iter().map(|mut row| Ok((row.text()?, row.whole()?))).collect()
}
