//! Waking: an agency that is there again comes in, some of what waits for it becomes due at once, each office's in its turn.
//!
//! What waits has rows of its own ([`crate::journal::SideRows`]), so that a look costs the same however much waits: of
//! 100,000 a whole wake takes SQLite some ten milliseconds, where sorting all of them took half a second.

use super::{
    Access, Operation,
    change::change,
    change_rows::END_WAITING,
    outbox::id_list,
    standing::{read_standing, standing},
};
use crate::domain::{AgencyName, Event, OfficeName, SubmissionId};
use crate::journal::{
    Entry, JournalError, Moved, rows, side_rows,
    store::{Store, statement, values},
};
use jiff::Timestamp;
use std::{collections::BTreeMap, ops::RangeInclusive};

pub struct Wake {
    pub agency: AgencyName,
    pub before: Timestamp,
    pub now: Timestamp,
    pub limit: u32,
    /// How often each office's have failed; whose have not is not there.
    pub failures: BTreeMap<OfficeName, usize>,
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

/// How many of its office's wait longer, since when it waits, which it is, and whose.
type Waiting = (usize, Timestamp, SubmissionId, OfficeName);

impl Operation for Wake {
    type Output = Vec<Moved>;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Vec<Moved>, JournalError> {
        let offices = self.offices(store).await?;
        loop {
            let waiting = self.in_turn(store, &offices).await?;
            let (woken, is_any_stale) = self.wake(store, waiting).await?;
            // Rows that mean nothing any more are gone now, and hide the others no longer.
            if !woken.is_empty() || !is_any_stale {
                return Ok(woken);
            }
        }
    }
}

impl Wake {
    /// Those that have failed least come first. Of equal ones the beginning changes with the time, so that in the long run
    /// every office is looked at.
    async fn offices<S: Store>(&self, store: &mut S) -> Result<Vec<OfficeName>, JournalError> {
        let found = store.query(statement(OFFICES, values![self.agency.as_str(), self.before])).await?;
        let mut offices = found.into_iter().map(|mut row| rows::parsed(&mut row)).collect::<Result<Vec<_>, _>>()?;
        let begin = usize::try_from(self.now.as_microsecond()).unwrap_or_default() % offices.len().max(1);
        offices.rotate_left(begin);
        offices.sort_by_key(|office| self.failures_of(office));
        offices.truncate((self.limit as usize).clamp(*OFFICES_AT_ONCE.start(), *OFFICES_AT_ONCE.end()));
        Ok(offices)
    }

    fn failures_of(&self, office: &OfficeName) -> usize {
        self.failures.get(office).copied().unwrap_or_default()
    }

    /// Of each office one before any second one, and in each turn those first whose office has failed least.
    async fn in_turn<S: Store>(&self, store: &mut S, offices: &[OfficeName]) -> Result<Vec<Waiting>, JournalError> {
        let sql = "SELECT submission, since FROM waiting_for_agencies WHERE agency = $1 AND office = $2 AND since <= $3 \
                   ORDER BY since, submission LIMIT $4";
        let of_each = (self.limit as usize).max(LOOKED_AT).div_ceil(offices.len().max(1));
        let mut found = Vec::new();
        for office in offices {
            let values = values![self.agency.as_str(), office.as_str(), self.before, of_each as u64];
            for (turn, mut row) in store.query(statement(sql, values)).await?.into_iter().enumerate() {
                let (id, since) = (row.id()?, row.time()?);
                found.push((turn, since, id, office.clone()));
            }
        }
        found.sort_by_key(|(turn, since, id, office)| (*turn, self.failures_of(office), *since, *id));
        Ok(found)
    }

    /// What was woken, and whether there were rows of submissions that do not wait any more: a program that did not
    /// know of these rows has left them.
    async fn wake<S: Store>(&self, store: &mut S, waiting: Vec<Waiting>) -> Result<(Vec<Moved>, bool), JournalError> {
        let ids: Vec<_> = waiting.iter().map(|(_, _, id, _)| *id).collect();
        let sql = format!(
            "SELECT {} FROM submissions WHERE id IN ({}) ORDER BY id{}",
            standing::<S>(),
            S::IDS,
            S::LOCKED_IF_FREE
        );
        let mut locked = BTreeMap::new();
        for row in store.query(statement(sql, values![id_list(&ids)])).await? {
            let standing = read_standing(row)?;
            locked.insert(standing.id, standing);
        }
        let entry = Entry::new(Event::Requeued, self.now);
        let (mut woken, mut stale, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for (_, _, id, _) in waiting {
            let Some(standing) = locked.remove(&id) else { continue };
            // It is looked at again once it is locked: another worker may have woken it.
            match side_rows::waits_for_agency(&standing.progress) {
                true if woken.len() == self.limit as usize => break,
                true => match change(standing, &entry)? {
                    Ok((moved, changes)) => {
                        rows.extend(changes);
                        woken.push(moved);
                    }
                    Err(_) => stale.push(id),
                },
                false => stale.push(id),
            }
        }
        rows.extend(stale.iter().map(|id| END_WAITING.row(values![*id])));
        store.write(rows).await?;
        Ok((woken, !stale.is_empty()))
    }
}
