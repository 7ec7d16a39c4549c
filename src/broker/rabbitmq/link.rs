//! A connection that comes back for ever: a target comes in, the wire as it is now, or why there is none, goes out.

use super::{connection::Wire, settings::Target, topology::Topology};
use crate::broker::BrokerError;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder, backoff::Backoff};
use futures_util::StreamExt;
use lapin::Event;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[derive(Clone)]
pub(super) enum LinkState {
    Up(Arc<Wire>),
    /// The broker's memory or disk alarm: it reads nothing from this connection.
    Blocked(Arc<Wire>, String),
    Down(String),
}

#[derive(Clone)]
pub(super) struct Link {
    state: watch::Receiver<LinkState>,
}

impl Link {
    /// Begins to connect in the background, and goes on until `stop`.
    pub(super) fn start(
        target: Arc<Target>,
        purpose: &'static str,
        topology: Arc<Topology>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (sender, state) = watch::channel(LinkState::Down("not connected yet".into()));
        tasks.spawn(keep(target, purpose, topology, sender, stop));
        Self { state }
    }

    pub(super) fn state(&self) -> LinkState {
        self.state.borrow().clone()
    }

    /// The wire, if the broker can be written to now.
    pub(super) fn now(&self) -> Result<Arc<Wire>, BrokerError> {
        match self.state() {
            LinkState::Up(wire) => Ok(wire),
            LinkState::Blocked(_, reason) => Err(BrokerError::Unavailable(format!("it takes no messages: {reason}"))),
            LinkState::Down(reason) => Err(BrokerError::Unavailable(reason)),
        }
    }

    /// Waits until there is a wire; `None` when the link has ended.
    pub(super) async fn wire(&mut self) -> Option<Arc<Wire>> {
        let is_there = |state: &LinkState| !matches!(state, LinkState::Down(_));
        match &*self.state.wait_for(is_there).await.ok()? {
            LinkState::Up(wire) | LinkState::Blocked(wire, _) => Some(wire.clone()),
            LinkState::Down(_) => None,
        }
    }
}

async fn keep(
    target: Arc<Target>,
    purpose: &'static str,
    topology: Arc<Topology>,
    sender: watch::Sender<LinkState>,
    stop: CancellationToken,
) {
    let mut pauses = pauses(target.settings.reconnect_after_at_least, target.settings.reconnect_after_at_most);
    while !stop.is_cancelled() {
        let reason = tokio::select! {
            () = stop.cancelled() => break,
            opened = open(&target, purpose, &topology) => match opened {
                Ok(wire) => {
                    pauses.reset();
                    tracing::info!(purpose, "connected to the broker");
                    live(Arc::new(wire), &sender, &stop).await
                }
                Err(error) => error.to_string(),
            },
        };
        if !stop.is_cancelled() {
            tracing::warn!(purpose, %reason, "no connection to the broker; trying again");
        }
        sender.send_replace(LinkState::Down(reason));
        let pause = pauses.next_backoff().unwrap_or(target.settings.reconnect_after_at_most);
        tokio::select! { () = stop.cancelled() => break, () = tokio::time::sleep(pause) => {} }
    }
    sender.send_replace(LinkState::Down("closed".into()));
}

async fn open(target: &Target, purpose: &str, topology: &Topology) -> Result<Wire, BrokerError> {
    let wire = Wire::open(target, purpose).await?;
    topology.restore(&wire).await?;
    Ok(wire)
}

/// Watches a wire until it breaks or is no longer wanted; why it ended.
async fn live(wire: Arc<Wire>, sender: &watch::Sender<LinkState>, stop: &CancellationToken) -> String {
    let mut events = std::pin::pin!(wire.events());
    sender.send_replace(LinkState::Up(wire.clone()));
    let mut reason = None;
    // An event can be missed between connecting and listening: the state itself is looked at as well.
    let mut look = tokio::time::interval(Duration::from_secs(1));
    while wire.is_open() {
        tokio::select! {
            () = stop.cancelled() => {
                wire.close().await;
                return "closed".into();
            }
            _ = look.tick() => {}
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(why)) => {
                    tracing::warn!(reason = %why, "the broker takes no messages now");
                    sender.send_replace(LinkState::Blocked(wire.clone(), why));
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!("the broker takes messages again");
                    sender.send_replace(LinkState::Up(wire.clone()));
                }
                Some(Event::Error(error)) => reason = Some(error.to_string()),
                Some(_) => {}
                None => break,
            },
        }
    }
    reason.unwrap_or_else(|| "the connection broke".into())
}

pub(super) fn pauses(at_least: Duration, at_most: Duration) -> ExponentialBackoff {
    ExponentialBackoffBuilder::new()
        .with_initial_interval(at_least)
        .with_max_interval(at_most)
        .with_multiplier(2.0)
        .with_max_elapsed_time(None)
        .build()
}
