//! Announcing: what has happened in this process comes in, and goes out on the topic exchange of events.
//!
//! Nobody waits for it. What the broker cannot take in time is left out: who listens reads the journal as well.

use super::{error_text, open_channel::OpenChannel, reconnecting::ReconnectingConnection, topology::Topology};
use crate::broker::{Announcement, BrokerError, yield_to_ready_tasks};
use futures_util::future::try_join_all;
use lapin::{BasicProperties, Channel, PublisherConfirm, options::BasicPublishOptions};
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
    channel: OpenChannel,
}

impl Announcer {
    pub(super) fn start(
        reconnecting: ReconnectingConnection,
        topology: Arc<Topology>,
        sender: String,
        patience: Duration,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (waiting, taken) = mpsc::channel(WAITING);
        let announcing = Announcing { reconnecting, topology, sender, patience, channel: OpenChannel::plain() };
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
            if let Err(error) = self.publish(&batch).await {
                self.channel.forget();
                tracing::debug!(announcements = batch.len(), %error, "not all were announced to other processes");
            }
        }
    }

    async fn publish(&mut self, batch: &[Announcement]) -> Result<(), BrokerError> {
        let channel = self.channel.get(&self.reconnecting).await?;
        let published = try_join_all(batch.iter().map(|announcement| self.publish_on(&channel, announcement)));
        let published = timeout(self.patience, published).await.map_err(|_| BrokerError::NotConfirmed)?;
        published.map(drop).map_err(|error| error_text::failure(&error))
    }

    /// Without a confirm, and not `mandatory`: whether anybody listens is not our affair.
    async fn publish_on(&self, channel: &Channel, announcement: &Announcement) -> lapin::Result<PublisherConfirm> {
        let (exchange, topic) = (self.topology.names.events_exchange(), announcement.topic().into());
        let (body, options) = (announcement.to_bytes(), BasicPublishOptions::default());
        channel.basic_publish(exchange, topic, options, &body, self.properties(announcement)).await
    }

    fn properties(&self, announcement: &Announcement) -> BasicProperties {
        let kind = format!("punte.submission.{}.v1", announcement.state);
        let trace = announcement.trace.to_string();
        super::publisher::properties(announcement.submission.to_string(), &kind, Announcement::MEDIA_TYPE, &trace)
            .with_timestamp(super::publisher::seconds(announcement.at))
            .with_app_id(self.sender.as_str().into())
    }
}
