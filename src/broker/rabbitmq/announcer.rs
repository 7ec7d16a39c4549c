//! Announcing: what has happened in this process comes in, and goes out on the topic exchange of events.
//!
//! Nobody waits for it. What the broker cannot take in time is left out: who listens reads the journal as well.

use super::{
    connection::{Wire, unavailable},
    link::Link,
    topology::Topology,
};
use crate::broker::{Announcement, BrokerError};
use lapin::{BasicProperties, Channel, options::BasicPublishOptions};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Announcements that may wait for the broker.
const WAITING: usize = 4096;

pub(super) struct Announcer {
    waiting: mpsc::Sender<Announcement>,
}

/// What the task works with.
struct Desk {
    link: Link,
    topology: Arc<Topology>,
    /// Of this process, so that it knows its own announcements again.
    sender: String,
    patience: Duration,
    channel: Option<(Arc<Wire>, Channel)>,
}

impl Announcer {
    pub(super) fn start(
        link: Link,
        topology: Arc<Topology>,
        sender: String,
        patience: Duration,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (waiting, taken) = mpsc::channel(WAITING);
        tasks.spawn(Desk { link, topology, sender, patience, channel: None }.run(taken, stop));
        Self { waiting }
    }

    pub(super) fn announce(&self, announcement: &Announcement) -> Result<(), BrokerError> {
        let unsent = |_| BrokerError::Unavailable("too many announcements wait for it".into());
        self.waiting.try_send(announcement.clone()).map_err(unsent)
    }
}

impl Desk {
    async fn run(mut self, mut taken: mpsc::Receiver<Announcement>, stop: CancellationToken) {
        loop {
            let announcement = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                announcement = taken.recv() => announcement,
            };
            let Some(announcement) = announcement else { return };
            if let Err(error) = self.publish(&announcement).await {
                tracing::debug!(submission = %announcement.submission, %error, "not announced to other processes");
            }
        }
    }

    async fn publish(&mut self, announcement: &Announcement) -> Result<(), BrokerError> {
        let channel = self.channel().await?;
        let body = serde_json::to_vec(announcement).map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        let published = channel.basic_publish(
            self.topology.names.events_exchange(),
            announcement.topic().into(),
            BasicPublishOptions::default(),
            &body,
            self.properties(announcement),
        );
        match timeout(self.patience, published).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(unavailable(error)),
            Err(_) => {
                self.channel = None;
                Err(BrokerError::NotConfirmed)
            }
        }
    }

    async fn channel(&mut self) -> Result<Channel, BrokerError> {
        let wire = self.link.now()?;
        if let Some((opened_on, channel)) = &self.channel
            && Arc::ptr_eq(opened_on, &wire)
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        let channel = wire.channel().await?;
        self.channel = Some((wire, channel.clone()));
        Ok(channel)
    }

    fn properties(&self, announcement: &Announcement) -> BasicProperties {
        let kind = format!("punte.submission.{}.v1", announcement.state);
        let trace = announcement.trace.to_string();
        super::publisher::properties(announcement.submission.to_string(), &kind, Announcement::MEDIA_TYPE, &trace)
            .with_timestamp(super::publisher::seconds(announcement.at))
            .with_app_id(self.sender.as_str().into())
    }
}
