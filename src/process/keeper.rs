//! The keeper: the journal's mark and its copies come in; while the journal is behind any of them nothing is sent, and
//! otherwise the copies move on with it.

use super::take_over::TakeOver;
use crate::{
    broker::{Broker, BrokerError, BrokerHealth},
    domain::{JournalMark, Mark},
    journal::{Journal, JournalError},
    road::{MARK_PERIOD, Marks},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub struct Keeper {
    journal: Arc<dyn Journal>,
    broker: Arc<dyn Broker>,
    marks: Arc<Marks>,
    /// What is to be done before anything is sent, once.
    take_over: Option<TakeOver>,
    /// Copies outside of the journal, with their places in words.
    copies: Vec<(String, Mark)>,
    has_asked_broker: bool,
    /// Since when it is there and does not answer.
    silent_since: Option<Instant>,
    /// When it was last said that the journal is held.
    told_at: Option<Instant>,
    told_broker_failure: Option<String>,
}

/// How soon a broker that is being connected to is asked again.
const SOON: Duration = Duration::from_millis(50);
const BROKER_PATIENCE: Duration = Duration::from_secs(30);
/// A journal that is held is spoken of again.
const REMINDER: Duration = Duration::from_secs(60);

impl Keeper {
    /// Looks at all copies that can be had now.
    pub async fn begin(
        journal: Arc<dyn Journal>,
        broker: Arc<dyn Broker>,
        marks: Arc<Marks>,
        take_over: Option<TakeOver>,
    ) -> Result<Self, JournalError> {
        let mut keeper = Self {
            has_asked_broker: !broker.keeps_marks(),
            journal,
            broker,
            marks,
            take_over,
            copies: Vec::new(),
            silent_since: None,
            told_at: None,
            told_broker_failure: None,
        };
        keeper.read_file();
        keeper.ask_broker().await;
        keeper.compare().await?;
        Ok(keeper)
    }

    pub async fn run(mut self, stop: CancellationToken, abort: CancellationToken) {
        let mut newest = self.marks.newest();
        while !stop.is_cancelled() {
            let wait = if self.has_asked_broker { MARK_PERIOD } else { SOON };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(wait) => {}
            }
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "the journal's mark could not be moved on");
            }
            if newest.has_changed().unwrap_or(false) {
                let mark = newest.borrow_and_update().clone();
                self.tell_broker(mark).await;
            }
        }
        // What was sent last is behind the mark, too.
        while self.marks.tick().await.is_ok() && self.marks.is_anything_under_way() && !abort.is_cancelled() {
            sleep(MARK_PERIOD).await;
        }
        let mark = newest.borrow_and_update().clone();
        self.tell_broker(mark).await;
    }

    async fn look(&mut self) -> Result<(), JournalError> {
        let had_asked = self.has_asked_broker;
        self.ask_broker().await;
        // A new session of the database may have found that it is held.
        let is_held = self.journal.continuity().held().is_some();
        if is_held || self.has_asked_broker != had_asked || self.take_over.is_some() {
            return self.compare().await;
        }
        self.marks.tick().await
    }

    fn read_file(&mut self) {
        let Some(place) = self.marks.file().map(|file| file.path().display().to_string()) else { return };
        match self.marks.kept() {
            Ok(Some(kept)) => {
                self.marks.restored_over(kept.sent_before_restore);
                self.copies.push((place, kept.mark));
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(place, %error, "the copy of the journal's mark cannot be read, and is made anew");
            }
        }
    }

    async fn ask_broker(&mut self) {
        if self.has_asked_broker {
            return;
        }
        match self.broker.mark().await {
            Ok(copy) => {
                if copy.is_none() && !self.copies.is_empty() {
                    tracing::warn!("the broker has no copy of the journal's mark: it has lost it, or it is a new one");
                }
                self.copies.extend(copy.map(|copy| ("the broker".to_owned(), copy)));
            }
            // One that refuses us brings no work either, until somebody has mended it.
            Err(BrokerError::Unavailable(_) | BrokerError::Refused(_) | BrokerError::Foreign { .. })
                if self.may_still_answer() =>
            {
                return;
            }
            Err(error) => tracing::warn!(%error, "the broker's copy of the journal's mark cannot be read"),
        }
        self.has_asked_broker = true;
    }

    /// A broker that is away comes back, and brings no work before; one that is there and does not answer this is not
    /// waited for.
    fn may_still_answer(&mut self) -> bool {
        if matches!(self.broker.health(), BrokerHealth::Disconnected(_)) {
            self.silent_since = None;
            return true;
        }
        self.silent_since.get_or_insert_with(Instant::now).elapsed() < BROKER_PATIENCE
    }

    /// The copies were read earlier. The journal's mark can only have moved on since, so a comparison finds no false lag.
    async fn compare(&mut self) -> Result<(), JournalError> {
        if let Some(newest) = self.journal.continuity().newest() {
            self.copies.retain(|(place, _)| place != OWN);
            self.copies.push((OWN.to_owned(), newest));
        }
        let found = self.journal.mark().await?;
        let copies = self.copies.iter().map(|(place, copy)| (place.as_str(), Some(copy)));
        let behind =
            copies.chain([("nobody", None)]).find_map(|(place, copy)| Some(found.behind(copy)?.in_words(place)));
        match behind {
            Some(why) => self.hold(why),
            None => self.go_on(found).await?,
        }
        Ok(())
    }

    fn hold(&mut self, why: String) {
        self.marks.let_send(false);
        if self.told_at.is_none_or(|at| at.elapsed() >= REMINDER) {
            tracing::error!("{why}");
            self.told_at = Some(Instant::now());
        }
        self.journal.continuity().hold(why);
    }

    async fn go_on(&mut self, found: JournalMark) -> Result<(), JournalError> {
        let sent_until = self.copies.iter().map(|(_, copy)| copy.at).max();
        if found.confirmed_at.is_some() && found.confirmed_at > sent_until {
            self.marks.restored_over(sent_until);
        }
        if self.copies.is_empty() && found.has_been_worked_with() {
            let place = self.marks.file().map(|file| file.path().display().to_string()).unwrap_or_default();
            tracing::warn!(
                until = %found.mark.at, place,
                "the journal has been worked with, but no copy of its mark is here: should it be a restored one, or a copy of \
                 another installation's, stop now and run `punte journal restored`"
            );
        }
        if self.told_at.take().is_some() {
            tracing::info!("an operator has confirmed the journal; it goes on");
        }
        self.journal.continuity().goes_on(found.mark.clone());
        if let Some(take_over) = &self.take_over {
            take_over.run().await?;
            self.take_over = None;
        }
        self.copies.clear();
        self.marks.copy(found.mark).await;
        self.marks.let_send(self.has_asked_broker);
        Ok(())
    }

    async fn tell_broker(&mut self, mark: Option<Mark>) {
        let Some(mark) = mark.filter(|_| self.has_asked_broker && self.marks.may_send()) else { return };
        let failure = self.broker.keep_mark(&mark).await.err().map(|error| error.to_string());
        if failure.is_some() && failure != self.told_broker_failure {
            let why = failure.as_deref().unwrap_or_default();
            tracing::warn!(why, "the broker does not keep the copy of the journal's mark");
        }
        self.told_broker_failure = failure;
    }
}

const OWN: &str = "this process";
