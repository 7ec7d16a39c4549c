//! Waking: an agency that is there again comes in, some of what waits for it becomes due at once, each office's in its turn.
//!
//! What waits has rows of its own ([`crate::journal::SideRows`]), so that a look costs the same however much waits: of
//! 100,000 a whole wake takes SQLite some ten milliseconds, where sorting all of them took half a second.

use super::{
    Access, Operation,
    change::{STANDING, Standing, change},
    outbox::id_list,
};
use crate::domain::{AgencyName, Event, SubmissionId};
use crate::journal::{
    Entry, JournalError, side_rows,
    store::{Store, statement, values},
};
use jiff::Timestamp;
use std::{collections::BTreeMap, ops::RangeInclusive};

/// How many there were.
pub struct Wake {
    pub agency: AgencyName,
    pub before: Timestamp,
    pub now: Timestamp,
    pub limit: u32,
}

/// Those with something that may be woken: a few index lookups an office, however many rows it has.
const OFFICES: &str = "WITH RECURSIVE offices (office) AS ( \
     SELECT min(office) FROM waiting_for_agencies WHERE agency = $1 \
     UNION ALL \
     SELECT (SELECT min(w.office) FROM waiting_for_agencies w WHERE w.agency = $1 AND w.office > offices.office) \
     FROM offices WHERE offices.office IS NOT NULL) \
     SELECT office FROM offices WHERE office IS NOT NULL AND \
     (SELECT min(w.since) FROM waiting_for_agencies w WHERE w.agency = $1 AND w.office = offices.office) <= $2";
/// How many rows are looked at, if no more are wanted: other workers may have locked some of them.
const LOOKED_AT: usize = 64;
/// Of how many offices rows are looked for, if no more are wanted, and of how many at most.
const OFFICES_AT_ONCE: RangeInclusive<usize> = 8..=64;

impl Operation for Wake {
    type Output = u64;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<u64, JournalError> {
        let offices = self.offices(store).await?;
        loop {
            let ids = self.in_turn(store, &offices).await?;
            let (woken, is_any_stale) = self.wake(store, &ids).await?;
            // Rows that mean nothing any more are gone now, and hide the others no longer.
            if woken > 0 || !is_any_stale {
                return Ok(woken);
            }
        }
    }
}

impl Wake {
    /// The beginning changes with the time, so that in the long run every office is looked at.
    async fn offices<S: Store>(&self, store: &mut S) -> Result<Vec<String>, JournalError> {
        let found = store.query(statement(OFFICES, values![self.agency.as_str(), self.before])).await?;
        let mut offices = found.into_iter().map(|mut row| row.text()).collect::<Result<Vec<_>, _>>()?;
        let begin = usize::try_from(self.now.as_microsecond()).unwrap_or_default() % offices.len().max(1);
        offices.rotate_left(begin);
        offices.truncate((self.limit as usize).clamp(*OFFICES_AT_ONCE.start(), *OFFICES_AT_ONCE.end()));
        Ok(offices)
    }

    /// Of each office one before any second one.
    async fn in_turn<S: Store>(&self, store: &mut S, offices: &[String]) -> Result<Vec<SubmissionId>, JournalError> {
        let sql = "SELECT submission, since FROM waiting_for_agencies WHERE agency = $1 AND office = $2 AND since <= $3 \
                   ORDER BY since, submission LIMIT $4";
        let of_each = (self.limit as usize).max(LOOKED_AT).div_ceil(offices.len().max(1));
        let mut found: Vec<(usize, Timestamp, SubmissionId)> = Vec::new();
        for office in offices {
            let values = values![self.agency.as_str(), office.as_str(), self.before, of_each as u64];
            for (turn, mut row) in store.query(statement(sql, values)).await?.into_iter().enumerate() {
                let (id, since) = (row.id()?, row.time()?);
                found.push((turn, since, id));
            }
        }
        found.sort();
        Ok(found.into_iter().map(|(_, _, id)| id).collect())
    }

    /// How many were woken, and whether there were rows of submissions that do not wait any more: a program that did not
    /// know of these rows has left them.
    async fn wake<S: Store>(&self, store: &mut S, ids: &[SubmissionId]) -> Result<(u64, bool), JournalError> {
        let sql =
            format!("SELECT {STANDING} FROM submissions WHERE id IN ({}) ORDER BY id{}", S::IDS, S::LOCKED_IF_FREE);
        let mut locked = BTreeMap::new();
        for row in store.query(statement(sql, values![id_list(ids)])).await? {
            let standing = Standing::read(row)?;
            locked.insert(standing.id, standing);
        }
        let entry = Entry::new(Event::Requeued, self.now);
        let (mut woken, mut stale, mut statements) = (0, Vec::new(), Vec::new());
        for standing in ids.iter().filter_map(|id| locked.remove(id)) {
            let id = standing.id;
            // It is looked at again once it is locked: another worker may have woken it.
            match side_rows::waits_for_agency(&standing.progress) {
                true if woken == u64::from(self.limit) => break,
                true => match change(standing, &entry)? {
                    Ok((_, changes)) => {
                        statements.extend(changes);
                        woken += 1;
                    }
                    Err(_) => stale.push(id),
                },
                false => stale.push(id),
            }
        }
        let forget = "DELETE FROM waiting_for_agencies WHERE submission = $1";
        statements.extend(stale.iter().map(|id| statement(forget, values![*id])));
        store.execute(statements).await?;
        Ok((woken, !stale.is_empty()))
    }
}
