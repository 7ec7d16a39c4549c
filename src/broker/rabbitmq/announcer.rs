//! Announcing: what has happened in this process comes in, and goes out on the topic exchange of events.
//!
//! Whoever the operator allows to listen hears each by its topic. Our own processes hear those of a moment in one message, by
//! an exchange of their own, so that it costs neither the broker nor them much.
//!
//! Nobody waits for it. What the broker cannot take in time is left out: who listens reads the journal as well.

use super::{
    error_text,
    open_channel::OpenChannel,
    reconnecting::ReconnectingConnection,
    settings::{Peers, RabbitmqSettings},
    topology::Topology,
};
use crate::broker::{Announcement, BrokerError, yield_to_ready_tasks};
use futures_util::future::try_join_all;
use lapin::{BasicProperties, Channel, options::BasicPublishOptions, types::ShortString};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Announcements that may wait for the broker.
const WAITING: usize = 4096;
/// Announcements that are sent together.
const BATCH: usize = 256;

pub(super) struct Announcer {
    waiting: mpsc::Sender<Announcement>,
}

/// What the task works with.
struct Announcing {
    reconnecting: ReconnectingConnection,
    topology: Arc<Topology>,
    /// Of this process, so that it knows its own announcements again.
    sender: String,
    patience: Duration,
    peers: Peers,
    channel: OpenChannel,
    /// A channel of its own: what is wrong with one exchange ends the channel, and harms the other's messages.
    to_peers: OpenChannel,
}

impl Announcer {
    pub(super) fn start(
        reconnecting: ReconnectingConnection,
        topology: Arc<Topology>,
        sender: String,
        settings: &RabbitmqSettings,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (waiting, taken) = mpsc::channel(WAITING);
        let (patience, peers, channel) = (settings.confirm_timeout, settings.peers, OpenChannel::plain());
        let to_peers = OpenChannel::plain();
        let announcing = Announcing { reconnecting, topology, sender, patience, peers, channel, to_peers };
        tasks.spawn(announcing.run(taken, stop));
        Self { waiting }
    }

    pub(super) fn announce(&self, announcement: &Announcement) -> Result<(), BrokerError> {
        let unsent = |_| BrokerError::Unavailable("too many announcements wait for it".into());
        self.waiting.try_send(announcement.clone()).map_err(unsent)
    }
}

impl Announcing {
    async fn run(mut self, mut taken: mpsc::Receiver<Announcement>, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            batch.clear();
            let count = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                count = taken.recv_many(&mut batch, BATCH) => count,
            };
            if count == 0 {
                return;
            }
            yield_to_ready_tasks().await;
            while batch.len() < BATCH
                && let Ok(more) = taken.try_recv()
            {
                batch.push(more);
            }
            if let Err(error) = self.tell_peers(&batch).await {
                self.to_peers.forget();
                tracing::debug!(announcements = batch.len(), %error, "not announced to our other processes");
            }
            if let Err(error) = self.publish(&batch).await {
                self.channel.forget();
                tracing::debug!(announcements = batch.len(), %error, "not all were announced");
            }
        }
    }

    async fn publish(&mut self, batch: &[Announcement]) -> Result<(), BrokerError> {
        let channel = self.channel.get(&self.reconnecting).await?;
        let events = self.topology.names.events_exchange();
        let each = try_join_all(batch.iter().map(|it| {
            let place = (events.clone(), it.topic());
            publish_on(&channel, place, it.to_bytes(), self.properties(it))
        }));
        let published = timeout(self.patience, each).await.map_err(|_| BrokerError::NotConfirmed)?;
        published.map(drop).map_err(|error| error_text::failure(&error))
    }

    async fn tell_peers(&mut self, batch: &[Announcement]) -> Result<(), BrokerError> {
        if self.peers == Peers::None {
            return Ok(());
        }
        let channel = self.to_peers.get(&self.reconnecting).await?;
        let body = serde_json::to_vec(batch).unwrap_or_default();
        let properties = BasicProperties::default()
            .with_content_type(Announcement::BATCH_MEDIA_TYPE.into())
            .with_app_id(self.sender.as_str().into());
        let place = (self.topology.names.peers_exchange(), String::new());
        let published = timeout(self.patience, publish_on(&channel, place, body, properties)).await;
        published.map_err(|_| BrokerError::NotConfirmed)?.map_err(|error| error_text::failure(&error))
    }

    fn properties(&self, announcement: &Announcement) -> BasicProperties {
        let kind = format!("punte.submission.{}.v1", announcement.state);
        let trace = announcement.trace.to_string();
        super::publisher::properties(announcement.submission.to_string(), &kind, Announcement::MEDIA_TYPE, &trace)
            .with_timestamp(super::publisher::seconds(announcement.at))
            .with_app_id(self.sender.as_str().into())
    }
}

/// Without a confirm, and not `mandatory`: whether anybody listens is not our affair.
async fn publish_on(
    channel: &Channel,
    (exchange, key): (ShortString, String),
    body: Vec<u8>,
    properties: BasicProperties,
) -> lapin::Result<()> {
    channel.basic_publish(exchange, key.into(), BasicPublishOptions::default(), &body, properties).await.map(drop)
}
