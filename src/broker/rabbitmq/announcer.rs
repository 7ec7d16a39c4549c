//! Announcing: what has happened in this process comes in, and goes out on the topic exchange of events.
//!
//! Nobody waits for it. What the broker cannot take in time is left out: who listens reads the journal as well.

use super::{error_text, open_channel::OpenChannel, reconnecting::ReconnectingConnection, topology::Topology};
use crate::broker::{Announcement, BrokerError};
use futures_util::future::try_join_all;
use lapin::{BasicProperties, Channel, PublisherConfirm, options::BasicPublishOptions};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
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
    /// What it has said of each topic since `asked_since`.
    audiences: HashMap<String, Audience>,
    asked_since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    Somebody,
    Nobody,
}

/// What nobody listens to costs the broker much: all of it would be a third more for each request. So it is asked of each
/// topic whether anybody does, by the announcements themselves. Who begins to listen hears everything from then on at the
/// latest.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Announcements that are asked about at once.
const BATCH: usize = 256;

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
        let announcing = Announcing {
            reconnecting,
            topology,
            sender,
            patience,
            plain: OpenChannel::plain(),
            asking: OpenChannel::confirming(),
            audiences: HashMap::new(),
            asked_since: Instant::now(),
        };
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
            if let Err(error) = self.publish(&batch).await {
                tracing::debug!(announcements = count, %error, "not all were announced to other processes");
            }
        }
    }

    async fn publish(&mut self, batch: &[Announcement]) -> Result<(), BrokerError> {
        if self.asked_since.elapsed() >= ASK_EVERY {
            self.audiences.clear();
            self.asked_since = Instant::now();
        }
        let mut unknown = Vec::new();
        for announcement in batch {
            match self.audiences.get(&announcement.topic()) {
                Some(Audience::Somebody) => self.send(announcement).await?,
                Some(Audience::Nobody) => {}
                None => unknown.push(announcement),
            }
        }
        if unknown.is_empty() { Ok(()) } else { self.ask(&unknown).await }
    }

    async fn send(&mut self, announcement: &Announcement) -> Result<(), BrokerError> {
        let channel = self.plain.get(&self.reconnecting).await?;
        let options = BasicPublishOptions::default();
        let sent = in_time(self.patience, self.publish_on(&channel, announcement, options)).await;
        if sent.is_err() {
            self.plain.forget();
        }
        sent.map(drop)
    }

    /// Sends them, and learns whether they have reached anybody.
    async fn ask(&mut self, announcements: &[&Announcement]) -> Result<(), BrokerError> {
        let channel = self.asking.get(&self.reconnecting).await?;
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let asked = announcements.iter().map(|it| self.publish_on(&channel, it, options));
        let said = async { try_join_all(try_join_all(asked).await?).await };
        let said = in_time(self.patience, said).await.inspect_err(|_| self.asking.forget())?;
        // What reaches nobody is acknowledged, and comes back: with any confirm of the same acknowledgement.
        let returned: HashSet<_> =
            said.into_iter().filter_map(|it| Some(it.take_message()?.routing_key.to_string())).collect();
        for topic in announcements.iter().map(|it| it.topic()) {
            let audience = if returned.contains(&topic) { Audience::Nobody } else { Audience::Somebody };
            self.audiences.insert(topic, audience);
        }
        Ok(())
    }

    async fn publish_on(
        &self,
        channel: &Channel,
        announcement: &Announcement,
        options: BasicPublishOptions,
    ) -> lapin::Result<PublisherConfirm> {
        let body = announcement.to_bytes();
        let (exchange, properties) = (self.topology.names.events_exchange(), self.properties(announcement));
        channel.basic_publish(exchange, announcement.topic().into(), options, &body, properties).await
    }

    fn properties(&self, announcement: &Announcement) -> BasicProperties {
        let kind = format!("punte.submission.{}.v1", announcement.state);
        let trace = announcement.trace.to_string();
        super::publisher::properties(announcement.submission.to_string(), &kind, Announcement::MEDIA_TYPE, &trace)
            .with_timestamp(super::publisher::seconds(announcement.at))
            .with_app_id(self.sender.as_str().into())
    }
}

async fn in_time<T>(patience: Duration, step: impl Future<Output = lapin::Result<T>>) -> Result<T, BrokerError> {
    let done = timeout(patience, step).await.map_err(|_| BrokerError::NotConfirmed)?;
    done.map_err(|error| error_text::failure(&error))
}
