//! The subscribers of this process: announcements come in, everybody who waits for one of them gets it.

use super::Announcement;
use crate::domain::{StateName, SubmissionId};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{broadcast, watch};

/// A submission's own channel, so that an announcement wakes those who wait for it and nobody else.
#[derive(Clone)]
pub struct LocalSubscribers(Arc<Inner>);

struct Inner {
    everything: broadcast::Sender<Announcement>,
    one: Mutex<HashMap<SubmissionId, watch::Sender<Option<StateName>>>>,
}

/// One submission's announcements, from now on.
pub struct Watch {
    submission: SubmissionId,
    state: watch::Receiver<Option<StateName>>,
    subscribers: LocalSubscribers,
}

impl LocalSubscribers {
    /// `kept`: announcements that a slow receiver of everything may be behind.
    pub fn new(kept: usize) -> Self {
        Self(Arc::new(Inner { everything: broadcast::channel(kept.max(1)).0, one: Mutex::default() }))
    }

    pub fn everything(&self) -> broadcast::Receiver<Announcement> {
        self.0.everything.subscribe()
    }

    pub fn watch(&self, submission: SubmissionId) -> Watch {
        let state = self.one().entry(submission).or_insert_with(|| watch::Sender::new(None)).subscribe();
        Watch { submission, state, subscribers: self.clone() }
    }

    pub fn publish_locally(&self, announcement: &Announcement) {
        if let Some(sender) = self.one().get(&announcement.submission) {
            sender.send_replace(Some(announcement.state));
        }
        if self.0.everything.receiver_count() > 0 {
            // An error only says that the last one has just gone.
            let _ = self.0.everything.send(announcement.clone());
        }
    }

    fn one(&self) -> MutexGuard<'_, HashMap<SubmissionId, watch::Sender<Option<StateName>>>> {
        self.0.one.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// The newest state that was announced and not heard yet. Announcements may be lost: who waits looks at the journal
    /// now and then.
    pub async fn changed(&mut self) -> Option<StateName> {
        match self.state.changed().await {
            Ok(()) => *self.state.borrow_and_update(),
            // Never while the map holds the sender.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut one = self.subscribers.one();
        // Ours is still counted.
        if one.get(&self.submission).is_some_and(|sender| sender.receiver_count() <= 1) {
            one.remove(&self.submission);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TraceParent;

    fn announced(submission: SubmissionId, state: StateName) -> Announcement {
        Announcement {
            submission,
            office: "causeni".parse().unwrap(),
            agency: "civil-registry".parse().unwrap(),
            service: "person-lookup".parse().unwrap(),
            state,
            at: jiff::Timestamp::UNIX_EPOCH,
            trace: TraceParent::fresh(),
        }
    }

    #[tokio::test]
    async fn only_who_waits_for_this_submission_is_woken_and_nothing_stays_behind() {
        let subscribers = LocalSubscribers::new(4);
        let (ours, theirs) = (SubmissionId::new(), SubmissionId::new());
        let (mut first, mut second, mut other) =
            (subscribers.watch(ours), subscribers.watch(ours), subscribers.watch(theirs));
        subscribers.publish_locally(&announced(ours, StateName::Sending));
        subscribers.publish_locally(&announced(ours, StateName::Completed));
        assert_eq!(first.changed().await, Some(StateName::Completed));
        assert_eq!(second.changed().await, Some(StateName::Completed));
        let silence = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(silence, other.changed()).await.is_err());
        drop(first);
        subscribers.publish_locally(&announced(ours, StateName::Parked));
        assert_eq!(second.changed().await, Some(StateName::Parked));
        drop((second, other));
        assert!(subscribers.one().is_empty());
    }
}
