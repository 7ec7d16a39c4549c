//! Listening to announcements: what other processes of ours have sent comes in, announcements go out to all of this process.

use super::{
    connection::{AmqpConnection, answered},
    error_text,
    peers_heard::{GREETING_EVERY, PeersHeard},
    reconnecting::{CALM, Pauses, ReconnectingConnection},
    topology::Topology,
};
use crate::broker::{Announcement, BrokerError, local_subscribers::LocalSubscribers, message::without_values};
use futures_util::StreamExt;
use lapin::{
    Channel, Consumer,
    message::Delivery as Message,
    options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use serde_json::value::RawValue;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// More than this many announcements that nobody fetches are forgotten, oldest first.
const QUEUE_LIMIT: i64 = 10_000;
const PAUSE_AT_LEAST: Duration = Duration::from_millis(100);
const PAUSE_AT_MOST: Duration = Duration::from_secs(3);

/// Greetings are answered no more often than this, because an answer is a greeting as well.
const ANSWER_PAUSE: Duration = Duration::from_secs(1);

/// What it is called among the findings.
const ANNOUNCEMENTS: &str = "announcements";

pub(super) struct Subscriber {
    pub reconnecting: ReconnectingConnection,
    pub topology: Arc<Topology>,
    pub subscribers: LocalSubscribers,
    /// What this process writes under its own announcements: everybody here has heard them already.
    pub ourselves: String,
    pub heard: Arc<PeersHeard>,
    pub is_listening: Arc<AtomicBool>,
    pub stop: CancellationToken,
}

impl Subscriber {
    pub(super) async fn run(mut self) {
        let mut pauses = Pauses::new(PAUSE_AT_LEAST, PAUSE_AT_MOST);
        loop {
            let connection = tokio::select! {
                () = self.stop.cancelled() => return,
                connection = self.reconnecting.wait_until_open() => connection,
            };
            let Some(connection) = connection else { return };
            let queue = self.topology.names.own_events_queue();
            let opened = tokio::select! {
                () = self.stop.cancelled() => return,
                opened = self.open(&connection, &queue) => opened,
            };
            let begun = Instant::now();
            let reason = match opened {
                Ok((channel, consumer)) => {
                    pauses.opened();
                    self.topology.findings.fits(ANNOUNCEMENTS);
                    self.listen(channel, consumer).await
                }
                Err(error) => error,
            };
            if self.stop.is_cancelled() {
                return;
            }
            if begun.elapsed() >= CALM {
                pauses.reset();
            }
            match reason.needs_a_person() {
                true => self.topology.findings.hinders(ANNOUNCEMENTS, self.consequence(&reason, &queue)),
                false => tracing::debug!(%reason, "not listening to announcements; starting again"),
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(pauses.after(&reason)) => {}
            }
        }
    }

    /// The queue is this process's own, and ends with its connection. Its name has our prefix, so that a user's rights need
    /// not reach any further.
    async fn open(&self, connection: &AmqpConnection, queue: &ShortString) -> Result<(Channel, Consumer), BrokerError> {
        match self.topology.declare(connection, &[]).await {
            // Announcements have an exchange of their own.
            Ok(()) | Err(BrokerError::Topology(_)) => {}
            Err(error) => return Err(error),
        }
        let channel = connection.channel().await?;
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(QUEUE_LIMIT));
        answered(channel.queue_declare(queue.clone(), options, arguments)).await?;
        let (peers, options) = (self.topology.names.peers_exchange(), QueueBindOptions::default());
        answered(channel.queue_bind(queue.clone(), peers, "".into(), options, FieldTable::default())).await?;
        let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..Default::default() };
        let consumer =
            answered(channel.basic_consume(queue.clone(), "".into(), options, FieldTable::default())).await?;
        Ok((channel, consumer))
    }

    /// Hands on until the consumer is lost; why it was. The channel is kept here, because its end ends the consumer.
    async fn listen(&self, _channel: Channel, mut consumer: Consumer) -> BrokerError {
        self.is_listening.store(true, Ordering::Relaxed);
        let (mut greeting, mut answered_at) = (interval(GREETING_EVERY), None::<Instant>);
        greeting.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let reason = loop {
            let message = tokio::select! {
                () = self.stop.cancelled() => break BrokerError::Unavailable("closed".into()),
                _ = greeting.tick() => {
                    self.heard.greet();
                    continue;
                }
                message = consumer.next() => message,
            };
            match message {
                Some(Ok(message)) => {
                    let is_answered = answered_at.is_some_and(|at| at.elapsed() < ANSWER_PAUSE);
                    if self.hand_on(&message) && !is_answered {
                        answered_at = Some(Instant::now());
                        self.heard.greet();
                    }
                }
                Some(Err(error)) => break error_text::failure(&error),
                None => break BrokerError::Unavailable("the broker has ended the consumer".into()),
            }
        };
        self.is_listening.store(false, Ordering::Relaxed);
        reason
    }

    /// Whether it is a greeting, which has no announcements. Others may publish to the exchange as well: what is neither is passed
    /// over.
    fn hand_on(&self, message: &Message) -> bool {
        if message.properties.app_id().as_ref().is_some_and(|sender| sender.as_str() == self.ourselves) {
            return false;
        }
        match serde_json::from_slice::<Vec<&RawValue>>(&message.data) {
            Ok(batch) if batch.is_empty() => {
                self.heard.note();
                return true;
            }
            Ok(batch) => batch.into_iter().for_each(|announcement| self.hand_on_one(announcement)),
            Err(error) => not_an_announcement(&error),
        }
        false
    }

    /// One that only a newer program understands keeps none of the others from being heard.
    fn hand_on_one(&self, announcement: &RawValue) {
        match serde_json::from_str::<Announcement>(announcement.get()) {
            Ok(announcement) => self.subscribers.publish_locally(&announcement),
            Err(error) => not_an_announcement(&error),
        }
    }

    fn consequence(&self, reason: &BrokerError, queue: &ShortString) -> String {
        let reason = self.topology.names.without_random(&reason.reason(), queue);
        format!(
            "announcements of other processes are not heard, so that offices that wait are answered later: {reason}"
        )
    }
}

fn not_an_announcement(error: &serde_json::Error) {
    tracing::debug!(error = without_values(error), "what came by the exchange of our processes is not an announcement");
}
