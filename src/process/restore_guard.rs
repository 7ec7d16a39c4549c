//! The restore guard: the journal's mark and its copies come in; while the journal is behind any of them nothing is sent, and
//! otherwise the copies move on with it.

use super::take_over::TakeOver;
use crate::{
    broker::{Broker, BrokerError, BrokerHealth},
    delivery::{MARK_PERIOD, MarkKeeper},
    domain::{Behind, JournalMark, Mark},
    journal::{Found, Journal, JournalError},
};
use jiff::Timestamp;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub struct RestoreGuard {
    journal: Arc<dyn Journal>,
    broker: Arc<dyn Broker>,
    mark_keeper: Arc<MarkKeeper>,
    /// What is to be done before anything is sent, once.
    take_over: Option<TakeOver>,
    /// What the folder knows of the mark.
    found: Found,
    /// It knew one when it was looked at.
    is_in_folder: bool,
    in_broker: Option<Mark>,
    /// Why the broker's copy cannot be read.
    spoilt_in_broker: Option<String>,
    /// A copy of this journal's mark was found outside of it, or need not be there.
    has_copy: bool,
    has_asked_broker: bool,
    /// Since when it is there and does not answer.
    silent_since: Option<Instant>,
    suspended_since: Option<Instant>,
    /// When it was last said that the journal is suspended.
    told_at: Option<Instant>,
    /// What an operator had confirmed when this process suspended the journal.
    confirmed_before: Option<Option<Timestamp>>,
    told_broker_failure: Option<String>,
}

/// How soon a broker that is being connected to is asked again.
const SOON: Duration = Duration::from_millis(50);
const BROKER_PATIENCE: Duration = Duration::from_secs(30);
/// Messages that are given back go to other processes. By then each of them has moved its mark on once more, and has found
/// that the journal is an earlier one.
const GIVE_BACK_AFTER: Duration = MARK_PERIOD.saturating_mul(3);
/// A journal that is suspended is spoken of again.
const REMINDER: Duration = Duration::from_secs(60);

impl RestoreGuard {
    /// Reads all copies that can be had now.
    pub async fn begin(
        journal: Arc<dyn Journal>,
        broker: Arc<dyn Broker>,
        mark_keeper: Arc<MarkKeeper>,
        take_over: Option<TakeOver>,
    ) -> Result<Self, JournalError> {
        let mut guard = Self {
            has_asked_broker: !broker.keeps_marks(),
            journal,
            broker,
            mark_keeper,
            take_over,
            found: Found::default(),
            is_in_folder: false,
            in_broker: None,
            spoilt_in_broker: None,
            has_copy: false,
            silent_since: None,
            suspended_since: None,
            told_at: None,
            confirmed_before: None,
            told_broker_failure: None,
        };
        guard.read_file();
        guard.ask_broker().await;
        guard.compare().await?;
        Ok(guard)
    }

    pub async fn run(mut self, stop: CancellationToken, abort: CancellationToken) {
        let mut newest = self.mark_keeper.newest();
        // Also to a broker that has lost its copy while nothing was sent.
        newest.mark_changed();
        while !stop.is_cancelled() {
            let wait = if self.has_asked_broker { MARK_PERIOD } else { SOON };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(wait) => {}
            }
            if let Err(error) = self.check().await {
                tracing::debug!(%error, "the journal's mark could not be moved on");
            }
            if newest.has_changed().unwrap_or(false) {
                let mark = newest.borrow_and_update().clone();
                self.tell_broker(mark).await;
            }
        }
        // What was sent last is behind the mark, too.
        while self.mark_keeper.advance_if_needed().await.is_ok()
            && self.mark_keeper.is_anything_under_way()
            && !abort.is_cancelled()
        {
            sleep(MARK_PERIOD).await;
        }
        let mark = newest.borrow_and_update().clone();
        self.tell_broker(mark).await;
    }

    async fn check(&mut self) -> Result<(), JournalError> {
        let had_asked = self.has_asked_broker;
        self.ask_broker().await;
        // A new session of the database may have found that it is suspended.
        let is_suspended = self.journal.continuity().suspended_because().is_some();
        if is_suspended {
            // An operator may have mended it, or `punte journal restored` may have made a copy.
            self.read_file();
            self.ask_broker_again().await;
        }
        if is_suspended || self.has_asked_broker != had_asked || self.take_over.is_some() {
            return self.compare().await;
        }
        self.mark_keeper.advance_if_needed().await
    }

    fn read_file(&mut self) {
        self.found = self.mark_keeper.find();
        self.is_in_folder = !self.found.kept.is_empty();
        for (_, kept) in &self.found.kept {
            self.mark_keeper.restored_over(kept.sent_before_restore);
        }
    }

    async fn ask_broker(&mut self) {
        if self.has_asked_broker {
            return;
        }
        match self.broker.mark().await {
            Ok(copy) => {
                if copy.is_none() && self.is_in_folder {
                    tracing::warn!(
                        "the broker has no copy of the journal's mark: it has lost it, or it is a new one; it is made anew"
                    );
                }
                self.in_broker = copy;
            }
            // One that refuses us brings no work either, until somebody has mended it.
            Err(BrokerError::Unavailable(_) | BrokerError::Refused(_) | BrokerError::Foreign { .. })
                if self.may_still_answer() =>
            {
                return;
            }
            Err(error @ BrokerError::NoMark(_)) => self.spoilt_in_broker = Some(error.to_string()),
            Err(error) => tracing::warn!(%error, "the broker's copy of the journal's mark cannot be read"),
        }
        self.has_asked_broker = true;
    }

    /// Another process may have given it the copy that is missing.
    async fn ask_broker_again(&mut self) {
        let is_lost = !self.has_copy && self.in_broker.is_none();
        let is_wanted =
            self.has_asked_broker && self.broker.keeps_marks() && (is_lost || self.spoilt_in_broker.is_some());
        if is_wanted && let Ok(copy) = self.broker.mark().await {
            (self.in_broker, self.spoilt_in_broker) = (copy, None);
        }
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
        let newest = self.journal.continuity().newest();
        let found = self.journal.mark().await?;
        match self.behind(&found, newest.as_ref()) {
            Some(why) => self.suspend(why, &found),
            None => self.resume(found, newest).await?,
        }
        Ok(())
    }

    fn behind(&self, journal: &JournalMark, newest: Option<&Mark>) -> Option<String> {
        let own = newest.map(|mark| (OWN.to_owned(), mark));
        let copies = self.outside().chain(own).map(|(location, copy)| (location, Some(copy)));
        let older = copies
            .chain([("nobody".to_owned(), None)])
            .find_map(|(location, copy)| Some(journal.behind(copy)?.in_words(&location)));
        older.or_else(|| self.doubtful(journal))
    }

    /// Nothing says that it is older, but what might is lost, and no operator has confirmed it since.
    fn doubtful(&self, journal: &JournalMark) -> Option<String> {
        if self.confirmed_before.is_some_and(|before| journal.confirmed_at > before) {
            return None;
        }
        let is_doubtful = |changed_at: Option<Timestamp>| {
            journal
                .confirmed_at
                .is_none_or(|confirmed_at| changed_at.is_none_or(|changed_at| confirmed_at <= changed_at))
        };
        if let Some(it) = self.found.unreadable.iter().find(|it| is_doubtful(it.changed_at)) {
            return Some(Behind::Unreadable { why: it.why.clone() }.in_words(&it.path.display().to_string()));
        }
        if let Some(why) = &self.spoilt_in_broker {
            return Some(Behind::Unreadable { why: why.clone() }.in_words("what the broker has"));
        }
        (self.lacks_copy(journal) && self.has_asked_broker)
            .then(|| Behind::NoCopy { until: journal.mark.at }.in_words(&self.location()))
    }

    fn lacks_copy(&self, journal: &JournalMark) -> bool {
        !self.has_copy && self.outside().next().is_none() && journal.has_been_worked_with()
    }

    /// Copies outside of the journal, and where they are in words.
    fn outside(&self) -> impl Iterator<Item = (String, &Mark)> {
        let kept = self.found.kept.iter().map(|(path, kept)| (path.display().to_string(), &kept.mark));
        kept.chain(self.in_broker.iter().map(|mark| ("the broker".to_owned(), mark)))
    }

    fn location(&self) -> String {
        self.mark_keeper.file().map(|file| file.path().display().to_string()).unwrap_or_default()
    }

    fn suspend(&mut self, why: String, found: &JournalMark) {
        let suspended_since = *self.suspended_since.get_or_insert_with(Instant::now);
        if suspended_since.elapsed() >= GIVE_BACK_AFTER {
            self.mark_keeper.block_sending();
        }
        self.note_what_others_have_done(found);
        self.confirmed_before.get_or_insert(found.confirmed_at);
        if self.told_at.is_none_or(|at| at.elapsed() >= REMINDER) {
            tracing::error!("{why}");
            self.told_at = Some(Instant::now());
        }
        self.journal.continuity().suspend(why);
    }

    /// A journal that another process has found to be a copy tells until when something was done that is missing in it.
    fn note_what_others_have_done(&self, found: &JournalMark) {
        let continuity = self.journal.continuity();
        let is_ours = continuity.newest().is_none_or(|newest| newest.journal == found.mark.journal);
        if found.copied_at.is_some() && is_ours {
            continuity.note(&found.mark);
        }
    }

    async fn resume(&mut self, found: JournalMark, newest: Option<Mark>) -> Result<(), JournalError> {
        // Until the broker is asked nothing is sent, and no copy is made that would hide that there was none.
        let waits_for_copy = self.lacks_copy(&found) && !self.has_asked_broker;
        self.mark_keeper.restored_over(self.sent_before(&found, newest.as_ref()));
        self.suspended_since = None;
        if self.told_at.take().is_some() {
            tracing::info!("an operator has confirmed the journal, or mended why it was suspended; it goes on");
        }
        self.journal.continuity().resume(found.mark.clone());
        if let Some(take_over) = &self.take_over {
            take_over.run().await?;
            self.take_over = None;
        }
        if waits_for_copy {
            return Ok(());
        }
        if self.in_broker.is_some() && self.found == Found::default() {
            let location = self.location();
            tracing::warn!(
                place = location,
                "the copy of the journal's mark in this folder is lost, or the folder is new; it is made anew"
            );
        }
        (self.has_copy, self.confirmed_before) = (true, None);
        (self.in_broker, self.spoilt_in_broker) = (None, None);
        self.mark_keeper.copy(found.mark, std::mem::take(&mut self.found)).await;
        match self.has_asked_broker {
            true => self.mark_keeper.allow_sending(),
            false => self.mark_keeper.block_sending(),
        }
        Ok(())
    }

    /// If an operator has confirmed an earlier state: until when something may have been sent that is missing in it.
    fn sent_before(&self, journal: &JournalMark, newest: Option<&Mark>) -> Option<Timestamp> {
        let known = self.outside().map(|(_, mark)| mark).chain(newest).map(|mark| mark.at).max();
        let is_spoilt = !self.found.unreadable.is_empty() || self.spoilt_in_broker.is_some();
        let is_all_known = !is_spoilt && !self.lacks_copy(journal);
        if is_all_known { known.filter(|known| journal.confirmed_at > Some(*known)) } else { journal.confirmed_at }
    }

    async fn tell_broker(&mut self, mark: Option<Mark>) {
        let Some(mark) = mark.filter(|_| self.has_asked_broker && self.mark_keeper.may_send()) else { return };
        let failure = self.broker.keep_mark(&mark).await.err().map(|error| error.to_string());
        if failure.is_some() && failure != self.told_broker_failure {
            let why = failure.as_deref().unwrap_or_default();
            tracing::warn!(why, "the broker does not keep the copy of the journal's mark");
        }
        self.told_broker_failure = failure;
    }
}

const OWN: &str = "this process";
