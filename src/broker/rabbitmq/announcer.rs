//! Announcing: what has happened in this process comes in, and goes out on the topic exchange of events.
//!
//! Nobody waits for it. What the broker cannot take in time is left out: who listens reads the journal as well.

use super::{error_text, open_channel::OpenChannel, reconnecting::ReconnectingConnection, topology::Topology};
use crate::broker::{Announcement, BrokerError};
use lapin::{BasicProperties, Channel, PublisherConfirm, options::BasicPublishOptions};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Announcements that may wait for the broker.
const WAITING: usize = 4096;

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
    plain: OpenChannel,
    /// On it the broker says of each message whether anybody gets it.
    asking: OpenChannel,
    audience: Option<Audience>,
}

/// What the broker has said last.
struct Audience {
    is_there: bool,
    asked_at: Instant,
}

/// What nobody listens to costs the broker more than anything else that we do, so it is asked whether anybody does. Who
/// begins to listen hears everything from then on at the latest.
const ASK_EVERY: Duration = Duration::from_millis(500);

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
        let (plain, asking) = (OpenChannel::plain(), OpenChannel::confirming());
        let announcing = Announcing { reconnecting, topology, sender, patience, plain, asking, audience: None };
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
        match &self.audience {
            Some(audience) if audience.asked_at.elapsed() < ASK_EVERY => match audience.is_there {
                true => self.send(announcement).await,
                false => Ok(()),
            },
            _ => {
                let is_there = self.ask(announcement).await?;
                self.audience = Some(Audience { is_there, asked_at: Instant::now() });
                Ok(())
            }
        }
    }

    async fn send(&mut self, announcement: &Announcement) -> Result<(), BrokerError> {
        let channel = self.plain.get(&self.reconnecting).await?;
        let sent = self.publish_on(&channel, announcement, BasicPublishOptions::default()).await;
        if sent.is_err() {
            self.plain.forget();
        }
        sent.map(drop)
    }

    /// Whether it has reached anybody.
    async fn ask(&mut self, announcement: &Announcement) -> Result<bool, BrokerError> {
        let channel = self.asking.get(&self.reconnecting).await?;
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let said = async {
            let confirm = self.publish_on(&channel, announcement, options).await?;
            confirm.await.map_err(|error| error_text::failure(&error))
        };
        match timeout(self.patience, said).await.unwrap_or(Err(BrokerError::NotConfirmed)) {
            // A message that reaches nobody is acknowledged, and comes back.
            Ok(said) => Ok(said.take_message().is_none()),
            Err(error) => {
                self.asking.forget();
                Err(error)
            }
        }
    }

    async fn publish_on(
        &self,
        channel: &Channel,
        announcement: &Announcement,
        options: BasicPublishOptions,
    ) -> Result<PublisherConfirm, BrokerError> {
        let body = serde_json::to_vec(announcement).map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        let (exchange, properties) = (self.topology.names.events_exchange(), self.properties(announcement));
        let published = channel.basic_publish(exchange, announcement.topic().into(), options, &body, properties);
        timeout(self.patience, published)
            .await
            .map_err(|_| BrokerError::NotConfirmed)?
            .map_err(|error| error_text::failure(&error))
    }

    fn properties(&self, announcement: &Announcement) -> BasicProperties {
        let kind = format!("punte.submission.{}.v1", announcement.state);
        let trace = announcement.trace.to_string();
        super::publisher::properties(announcement.submission.to_string(), &kind, Announcement::MEDIA_TYPE, &trace)
            .with_timestamp(super::publisher::seconds(announcement.at))
            .with_app_id(self.sender.as_str().into())
    }
}
