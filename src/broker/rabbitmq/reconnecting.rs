//! A connection that reconnects for ever: a target comes in; the open connection, or why there is none, goes out.

use super::{connection::AmqpConnection, error_text, settings::Target, topology::Topology};
use crate::broker::{BrokerError, LogOnce};
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder, backoff::Backoff};
use futures_util::StreamExt;
use lapin::Event;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[derive(Clone)]
pub(super) enum ConnectionState {
    Up(Arc<AmqpConnection>),
    /// The broker's memory or disk alarm: it reads nothing from this connection.
    Blocked(Arc<AmqpConnection>, String),
    Down(BrokerError),
}

#[derive(Clone)]
pub(super) struct ReconnectingConnection {
    state: watch::Receiver<ConnectionState>,
}

impl ReconnectingConnection {
    /// Begins to connect in the background, and goes on until `stop`.
    pub(super) fn start(
        target: Arc<Target>,
        purpose: &'static str,
        topology: Arc<Topology>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (sender, state) = watch::channel(ConnectionState::Down(not_yet()));
        tasks.spawn(keep(target, purpose, topology, sender, stop));
        Self { state }
    }

    pub(super) fn state(&self) -> ConnectionState {
        self.state.borrow().clone()
    }

    /// Whether the first try is still under way.
    pub(super) fn is_new(&self) -> bool {
        matches!(&*self.state.borrow(), ConnectionState::Down(reason) if *reason == not_yet())
    }

    /// The open connection, if the broker can be written to now.
    pub(super) fn now(&self) -> Result<Arc<AmqpConnection>, BrokerError> {
        match self.state() {
            ConnectionState::Up(connection) => Ok(connection),
            ConnectionState::Blocked(_, reason) => {
                Err(BrokerError::Unavailable(format!("it takes no messages: {reason}")))
            }
            ConnectionState::Down(reason) => Err(reason),
        }
    }

    /// Waits until one is open; `None` when the reconnecting has ended.
    pub(super) async fn wait_until_open(&mut self) -> Option<Arc<AmqpConnection>> {
        let is_there = |state: &ConnectionState| !matches!(state, ConnectionState::Down(_));
        match &*self.state.wait_for(is_there).await.ok()? {
            ConnectionState::Up(connection) | ConnectionState::Blocked(connection, _) => Some(connection.clone()),
            ConnectionState::Down(_) => None,
        }
    }
}

/// A connection that has lived for so long was a good one: what comes after it is something new.
pub(super) const CALM: Duration = Duration::from_secs(5);

fn not_yet() -> BrokerError {
    BrokerError::Unavailable("not connected yet".into())
}

async fn keep(
    target: Arc<Target>,
    purpose: &'static str,
    topology: Arc<Topology>,
    sender: watch::Sender<ConnectionState>,
    stop: CancellationToken,
) {
    let settings = &target.settings;
    let mut pauses = Pauses::new(settings.reconnect_after_at_least, settings.reconnect_after_at_most);
    let log_once = LogOnce::default();
    while !stop.is_cancelled() {
        let begun = Instant::now();
        let reason = tokio::select! {
            () = stop.cancelled() => break,
            opened = open(&target, purpose, &topology) => match opened {
                Ok(connection) => {
                    pauses.opened();
                    tracing::info!(purpose, "connected to the broker");
                    live(Arc::new(connection), &sender, &stop).await
                }
                Err(error) => error,
            },
        };
        if begun.elapsed() >= CALM + settings.connect_timeout {
            pauses.reset();
            log_once.reset();
        }
        if !stop.is_cancelled() && log_once.should_log(&reason.to_string()) {
            tracing::warn!(purpose, reason = %reason.reason(), "no connection to the broker; trying again");
        }
        let pause = pauses.after(&reason);
        sender.send_replace(ConnectionState::Down(reason));
        tokio::select! { () = stop.cancelled() => break, () = tokio::time::sleep(pause) => {} }
    }
    sender.send_replace(ConnectionState::Down(BrokerError::Unavailable("closed".into())));
}

async fn open(target: &Target, purpose: &str, topology: &Topology) -> Result<AmqpConnection, BrokerError> {
    let connection = AmqpConnection::open(target, purpose).await?;
    topology.restore(&connection).await?;
    Ok(connection)
}

/// Watches a connection until it breaks or is no longer wanted; why it ended.
async fn live(
    connection: Arc<AmqpConnection>,
    sender: &watch::Sender<ConnectionState>,
    stop: &CancellationToken,
) -> BrokerError {
    let mut events = std::pin::pin!(connection.events());
    sender.send_replace(ConnectionState::Up(connection.clone()));
    let mut reason = None;
    // An event can be missed between connecting and listening: the state itself is looked at as well.
    let mut look = tokio::time::interval(Duration::from_secs(1));
    while connection.is_open() {
        tokio::select! {
            () = stop.cancelled() => {
                connection.close().await;
                return BrokerError::Unavailable("closed".into());
            }
            _ = look.tick() => {}
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(why)) => {
                    tracing::warn!(reason = %why, "the broker takes no messages now");
                    sender.send_replace(ConnectionState::Blocked(connection.clone(), why));
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!("the broker takes messages again");
                    sender.send_replace(ConnectionState::Up(connection.clone()));
                }
                Some(Event::Error(error)) => reason = Some(error_text::failure(&error)),
                Some(_) => {}
                None => break,
            },
        }
    }
    reason.unwrap_or_else(|| BrokerError::Unavailable("the connection broke".into()))
}

/// How long to wait before the next try: short while the broker is merely away, longer and longer where only a person can
/// mend it.
pub(super) struct Pauses {
    away: ExponentialBackoff,
    refused: ExponentialBackoff,
}

/// For what a person has to mend. With its jitter of a half it is a minute at most.
const REFUSED_AT_MOST: Duration = Duration::from_secs(40);

impl Pauses {
    pub(super) fn new(at_least: Duration, at_most: Duration) -> Self {
        Self { away: growing(at_least, at_most), refused: growing(at_least, REFUSED_AT_MOST) }
    }

    pub(super) fn after(&mut self, error: &BrokerError) -> Duration {
        let pause = match error.needs_a_person() {
            true => self.refused.next_backoff(),
            false => {
                self.refused.reset();
                self.away.next_backoff()
            }
        };
        pause.unwrap_or(REFUSED_AT_MOST)
    }

    /// It is there again: if it goes away once more, it is looked for at once.
    pub(super) fn opened(&mut self) {
        self.away.reset();
    }

    pub(super) fn reset(&mut self) {
        self.away.reset();
        self.refused.reset();
    }
}

fn growing(at_least: Duration, at_most: Duration) -> ExponentialBackoff {
    ExponentialBackoffBuilder::new()
        .with_initial_interval(at_least)
        .with_max_interval(at_most)
        .with_multiplier(2.0)
        .with_max_elapsed_time(None)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_has_to_mend_is_tried_less_and_less_often() {
        let mut pauses = Pauses::new(Duration::from_millis(100), Duration::from_secs(3));
        let (refused, away) = (BrokerError::Refused("no".into()), BrokerError::Unavailable("away".into()));
        let longest = |pauses: &mut Pauses, error| (0..30).map(|_| pauses.after(error)).max().unwrap_or_default();
        assert!(longest(&mut pauses, &away) <= Duration::from_millis(4_500));
        let refusals = longest(&mut pauses, &refused);
        assert!(refusals > Duration::from_secs(20) && refusals <= Duration::from_secs(60), "{refusals:?}");
        pauses.reset();
        assert!(pauses.after(&refused) < Duration::from_secs(1));
    }
}
