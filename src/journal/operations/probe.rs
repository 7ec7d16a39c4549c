//! Whether the journal can be written: it is written, with bytes that mean nothing.

use super::{Access, Operation};
use crate::journal::{
    JournalError,
    store::{Store, statement, values},
};
use jiff::{SignedDuration, Timestamp};
use std::sync::LazyLock;
use uuid::Uuid;

/// About as much as a small submission leaves behind until it has ended, and more than the last page has room for.
const PADDING_BYTES: usize = 16 << 10;
/// What processes have left that are no more.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// Each process has a row of its own: one that is frozen in the middle holds up no other.
static PROCESS: LazyLock<Uuid> = LazyLock::new(Uuid::new_v4);

pub struct WriteProbe {
    pub now: Timestamp,
}

impl Operation for WriteProbe {
    type Output = ();
    const ACCESS: Access = Access::Probe;

    async fn run<S: Store>(&self, store: &mut S) -> Result<(), JournalError> {
        let write = "INSERT INTO write_probes (process, written_at, padding) VALUES ($1, $2, $3) ON CONFLICT (process) \
                     DO UPDATE SET written_at = excluded.written_at, padding = excluded.padding";
        let forget = "DELETE FROM write_probes WHERE written_at < $1";
        let before = self.now.checked_sub(FORGOTTEN_AFTER).unwrap_or(Timestamp::MIN);
        let padding = vec![0_u8; PADDING_BYTES];
        let written = statement(write, values![*PROCESS, self.now, padding]);
        store.execute(vec![written, statement(forget, values![before])]).await.map(|_| ())
    }
}
