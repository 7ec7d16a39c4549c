//! Standstill: while the agency does not take our certificate, nothing is sent to it by anybody, and no submission is the
//! probe.

use super::{Lane, lane::PAUSE};
use crate::road::Line;
use std::{sync::Arc, time::Instant};
use tokio_util::sync::CancellationToken;

impl Lane {
    pub(super) async fn stand_still(&self, line: &Line, stop: &CancellationToken) {
        self.metrics.halted(&self.adapter.agency, true);
        while let Some(halted) = line.halt.halted() {
            if halted.next_look <= Instant::now() {
                line.look_again().await;
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE.min(halted.next_look.saturating_duration_since(Instant::now()))) => {}
            }
        }
        self.metrics.halted(&self.adapter.agency, false);
    }

    pub(super) fn halted_line(&self) -> Option<Arc<Line>> {
        self.road.lines.get(&self.adapter.agency)?.ok().filter(|line| line.halt.halted().is_some())
    }
}
