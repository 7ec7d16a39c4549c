//! Announcing: what has happened in this process comes in, and goes out on the topic exchange of events.
//!
//! Whoever the operator allows to listen hears each by its topic, after a moment: what comes together costs the broker and us
//! less. Our own processes, where somebody may wait for it, hear at once what there is, in one message, by an exchange of their
//! own; but also after a moment as long as none of them has said that it listens.
//!
//! Nobody waits for it. What the broker cannot take in time is left out: who listens reads the journal as well.

use super::{
    error_text,
    open_channel::OpenChannel,
    peers_heard::PeersHeard,
    reconnecting::ReconnectingConnection,
    settings::{Peers, RabbitmqSettings},
    topology::Topology,
};
use crate::broker::{Announcement, BrokerError, yield_to_ready_tasks};
use futures_util::future::try_join_all;
use lapin::{BasicProperties, Channel, options::BasicPublishOptions, types::ShortString};
use std::{future::pending, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Announcements that may wait for the broker.
const WAITING: usize = 4096;
/// Announcements that are sent together.
const BATCH: usize = 256;
/// So long an announcement waits for others. At 16 waiting clients over PostgreSQL this brings a twentieth more requests a second
/// (`cargo bench --features jemalloc --bench road -- postgres --clients 16 --rival PATH`), at 64 nothing that can be measured.
const LINGER: Duration = Duration::from_millis(50);

pub(super) struct Announcer {
    to_listeners: mpsc::Sender<Announcement>,
    /// `None`: there are no other processes.
    to_peers: Option<mpsc::Sender<Announcement>>,
}

enum Audience {
    Listeners,
    /// `None`: they are not heard here.
    Peers(Option<Arc<PeersHeard>>),
}

/// What a task works with. Each audience has one, and a channel of its own: what is wrong with one exchange ends the channel, and
/// harms the other's messages.
struct Announcing {
    audience: Audience,
    reconnecting: ReconnectingConnection,
    topology: Arc<Topology>,
    /// Of this process, so that it knows its own announcements again.
    sender: String,
    patience: Duration,
    channel: OpenChannel,
}

impl Announcer {
    /// What waits when it is told to stop is still sent.
    pub(super) fn start(
        reconnecting: &ReconnectingConnection,
        topology: &Arc<Topology>,
        sender: &str,
        settings: &RabbitmqSettings,
        heard: &Arc<PeersHeard>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let start = |audience| {
            let (waiting, taken) = mpsc::channel(WAITING);
            let announcing = Announcing {
                audience,
                reconnecting: reconnecting.clone(),
                topology: topology.clone(),
                sender: sender.to_owned(),
                patience: settings.confirm_timeout,
                channel: OpenChannel::plain(),
            };
            tasks.spawn(announcing.run(taken, stop.clone()));
            waiting
        };
        let to_peers = match settings.peers {
            Peers::None => None,
            Peers::Told => Some(start(Audience::Peers(None))),
            Peers::ToldAndHeard => Some(start(Audience::Peers(Some(heard.clone())))),
        };
        Self { to_listeners: start(Audience::Listeners), to_peers }
    }

    pub(super) fn announce(&self, announcement: &Announcement) -> Result<(), BrokerError> {
        let takes = |audience: &mpsc::Sender<Announcement>| audience.try_send(announcement.clone()).is_ok();
        let (by_listeners, by_peers) = (takes(&self.to_listeners), self.to_peers.as_ref().is_none_or(takes));
        match by_listeners && by_peers {
            true => Ok(()),
            false => Err(BrokerError::Unavailable("closed, or too many announcements wait for it".into())),
        }
    }
}

impl Audience {
    fn may_wait(&self) -> bool {
        match self {
            Self::Listeners => true,
            Self::Peers(None) => false,
            Self::Peers(Some(heard)) => !heard.lately(),
        }
    }

    /// A greeting is to be sent, which is a batch of nothing.
    async fn greeting(&self) {
        match self {
            Self::Listeners | Self::Peers(None) => pending().await,
            Self::Peers(Some(heard)) => heard.greeting().await,
        }
    }
}

impl Announcing {
    async fn run(mut self, mut taken: mpsc::Receiver<Announcement>, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            batch.clear();
            let is_greeting = tokio::select! {
                _ = taken.recv_many(&mut batch, BATCH) => false,
                () = self.audience.greeting() => true,
                () = stop.cancelled() => {
                    taken.close();
                    false
                }
            };
            if !is_greeting {
                match self.audience.may_wait() && batch.len() < BATCH {
                    true => tokio::select! { () = sleep(LINGER) => {}, () = stop.cancelled() => {} },
                    false => yield_to_ready_tasks().await,
                }
                while batch.len() < BATCH
                    && let Ok(more) = taken.try_recv()
                {
                    batch.push(more);
                }
                // Nothing more will come.
                if batch.is_empty() {
                    return;
                }
            }
            let sent = match self.audience {
                Audience::Listeners => self.publish(&batch).await,
                Audience::Peers(_) => self.tell_peers(&batch).await,
            };
            if let Err(error) = sent {
                self.channel.forget();
                tracing::debug!(announcements = batch.len(), %error, "not all were announced");
                // The process has no time for a broker that does not answer.
                if stop.is_cancelled() {
                    return;
                }
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
        let channel = self.channel.get(&self.reconnecting).await?;
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
