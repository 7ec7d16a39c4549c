//! The notifier's loop: notices that are due are claimed from the journal with a lease, and a delivery is begun for each.

use super::{
    delivery::{deliver, give_up},
    state::{Admission, HeldNotice, NotifierState},
    webhook_client::WebhookClient,
};
use crate::{
    domain::later,
    journal::{JournalError, Notice},
};
use jiff::{SignedDuration, Timestamp};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// At the files of webhooks.
const REFRESH_EVERY: Duration = Duration::from_secs(5);
const CLAIMED_AT_ONCE: u32 = 100;
/// As many quick deliveries as one office may have here take less. What a slow receiver does not get to goes back untried.
const LEASE: SignedDuration = SignedDuration::from_secs(180);

/// Ends after `shutdown`, when the last delivery has.
pub(super) async fn run(state: Arc<NotifierState>, shutdown: CancellationToken) {
    let deliveries = TaskTracker::new();
    let mut refreshed = Instant::now();
    while !shutdown.is_cancelled() {
        if refreshed.elapsed() > REFRESH_EVERY {
            let (clients, now) = (state.clients.clone(), state.clock.now());
            // What was refused is logged where it is refused.
            let _ = tokio::task::spawn_blocking(move || clients.refresh(now)).await;
            refreshed = Instant::now();
        }
        let claimed = claim(&state).await;
        let is_full = claimed.len() == CLAIMED_AT_ONCE as usize;
        let lease_until = lease_from(state.clock.now());
        for notice in claimed {
            begin(&state, notice, lease_until, &deliveries, &shutdown);
        }
        if is_full {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.cancelled() => {}
        }
    }
    // What had begun ends within its timeout; what waited goes back when its lease runs out.
    deliveries.close();
    deliveries.wait().await;
}

async fn claim(state: &NotifierState) -> Vec<Notice> {
    let now = state.clock.now();
    match state.journal.claim_notices(CLAIMED_AT_ONCE, now, lease_from(now)).await {
        Ok(notices) => notices,
        Err(error) => {
            match error {
                // The restore guard logs why the journal is suspended.
                JournalError::Suspended(_) => tracing::debug!(%error, "notices could not be read"),
                _ => tracing::warn!(%error, "notices could not be read"),
            }
            Vec::new()
        }
    }
}

fn lease_from(now: Timestamp) -> Timestamp {
    later(now, LEASE)
}

fn begin(
    state: &Arc<NotifierState>,
    notice: Notice,
    lease_until: Timestamp,
    deliveries: &TaskTracker,
    shutdown: &CancellationToken,
) {
    let (state, shutdown) = (state.clone(), shutdown.clone());
    match state.deliveries.admit(&notice.office) {
        Admission::Held(held) => {
            drop(
                deliveries
                    .spawn(async move { when_its_turn_comes(&state, notice, held, lease_until, &shutdown).await }),
            );
        }
        Admission::NoWebhook => {
            drop(deliveries.spawn(async move { give_up(&state.journal, &state.metrics, &notice).await }));
        }
        Admission::Full => {}
    }
}

async fn when_its_turn_comes(
    state: &NotifierState,
    notice: Notice,
    held: HeldNotice,
    lease_until: Timestamp,
    shutdown: &CancellationToken,
) {
    let Some(client) = usable(state, &notice, lease_until, shutdown).await else { return };
    let turn = tokio::select! {
        turn = held.turn() => turn,
        () = shutdown.cancelled() => None,
    };
    if turn.is_some() && state.clock.now() < lease_until {
        deliver(state, &client, &notice).await;
    }
}

/// While a webhook is stopped its notices wait, and use no tries: what has waited too long goes back to the journal.
async fn usable(
    state: &NotifierState,
    notice: &Notice,
    lease_until: Timestamp,
    shutdown: &CancellationToken,
) -> Option<Arc<WebhookClient>> {
    loop {
        let client = state.clients.get(&notice.office);
        if client.is_some() || state.clock.now() >= lease_until {
            return client;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shutdown.cancelled() => return None,
        }
    }
}
