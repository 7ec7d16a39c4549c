//! Taking over: a journal that belongs to this process alone comes in; what the process before has left is taken up.

use crate::{
    domain::{AgencyName, Clock},
    failpoints::{self, Failpoint},
    journal::JournalError,
    submissions::Submissions,
};
use std::sync::Arc;

pub struct TakeOver {
    pub submissions: Submissions,
    pub clock: Arc<dyn Clock>,
    /// Those whose queues have gone with the process before.
    pub lost_queues: Vec<AgencyName>,
}

impl TakeOver {
    /// What the process before was doing has ended with it, and an embedded broker is empty.
    pub async fn run(&self) -> Result<(), JournalError> {
        let now = self.clock.now();
        let interrupted = self.submissions.void_leases().await?;
        failpoints::hit(Failpoint::ProcessTookOver);
        let mut requeued = 0;
        for agency in &self.lost_queues {
            requeued += self.submissions.requeue_lost(agency, now, u64::MAX).await?;
        }
        if interrupted + requeued > 0 {
            tracing::info!(interrupted, requeued, "took up what the process before had left");
        }
        Ok(())
    }
}
