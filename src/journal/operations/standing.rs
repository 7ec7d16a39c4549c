//! A submission's row comes in; what a change has to know of it goes out.

use crate::journal::{
    JournalError, Standing,
    bulk::{Bulk, ColumnType, ROW_VERSION},
    rows,
    store::{Row, Store},
};
use std::sync::LazyLock;

/// The columns of a [`Standing`], which the version of its row follows.
const STANDING: &str = "id, office, agency, service, priority, trace, notify, state_data, attempts, tries, in_doubt, \
                        waiting_since, effect, erased_at, expires_at";

pub static STANDING_OF: LazyLock<Bulk> = LazyLock::new(|| Bulk {
    many: format!("SELECT {STANDING}, {ROW_VERSION} FROM submissions WHERE id = ANY($1)"),
    ..Bulk::select(&format!("SELECT {STANDING}, '' FROM submissions"), &[("id", ColumnType::Id)], "")
});

/// What [`read_standing`] reads.
pub fn standing<S: Store>() -> String {
    format!("{STANDING}, {}", S::ROW_VERSION)
}

pub fn read_standing(mut row: Row) -> Result<Standing, JournalError> {
    Ok(Standing {
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
