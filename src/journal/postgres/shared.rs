//! What the journal and its writer share: sessions, and what is known of the journal that they show.

use super::{failure::Failure, pool::Sessions, session::Session, transaction::carry_out};
use crate::journal::{Continuity, operations as op};
use std::time::Duration;

/// For a whole operation. The server ends its statements sooner; this is for a server that says nothing at all.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(45);

/// Whatever the connection waits for, nobody else shall wait for it too.
pub fn late() -> Failure {
    let mut failure = Failure::said("it did not answer in time");
    failure.finding.ends_session = true;
    failure
}

/// What the journal and its writer work with.
pub struct Shared {
    /// For operations that are done alone.
    pub sessions: Sessions,
    /// For batches.
    pub lanes: Sessions,
    pub continuity: Continuity,
}

impl Shared {
    /// A session that is new is compared with what is known: a standby that has taken over may know less.
    pub async fn compare(&self, session: &mut Session) -> Result<(), Failure> {
        if session.is_compared {
            return Ok(());
        }
        session.recent.forget_all();
        if let Some(known) = self.continuity.known() {
            let newest = known.newest.clone();
            let found = match carry_out(session, &op::Recognise(known)).await? {
                (_, Some(done_until)) => carry_out(session, &op::CallEarlier { done_until }).await?,
                (found, None) => found,
            };
            self.continuity.compare(&newest, &found);
        }
        session.is_compared = true;
        Ok(())
    }
}
