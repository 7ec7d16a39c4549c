//! How submissions stood that this process has just read or written: what is recorded of them next needs no reading. And which
//! Idempotency-Keys it has met: one that comes again is looked for.
//!
//! Never the truth: whatever is decided by it counts only if the row still has the version that is known here, or nobody else has
//! taken the key.

use crate::{
    domain::{OfficeName, SubmissionId},
    journal::LastKnown,
    newest::Newest,
};
use std::{
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Of a few kilobytes at most: they hold neither content nor messages, and only short timelines.
const KEPT: usize = 1024;
/// A longer timeline is read again.
const LINES: usize = 16;
/// Half a megabyte.
const KEYS: usize = 16_384;

/// One for each journal; its sessions hold it.
pub struct Recent {
    newest: Mutex<Newest<SubmissionId, LastKnown>>,
    /// By their hashes: another key of the same hash is looked for in vain.
    keys: Mutex<Newest<u64, ()>>,
    hasher: RandomState,
}

impl Default for Recent {
    fn default() -> Self {
        let (newest, keys) = (Mutex::new(Newest::new(KEPT)), Mutex::new(Newest::new(KEYS)));
        Self { newest, keys, hasher: RandomState::new() }
    }
}

impl Recent {
    /// What is over, and may hold a whole answer, is not kept: hardly anything is recorded of it any more.
    pub fn remember(&self, known: LastKnown) {
        if known.standing.progress.state.name().is_terminal() {
            return;
        }
        let timeline = known.timeline.filter(|lines| lines.len() <= LINES);
        self.newest().insert(known.standing.id, LastKnown { timeline, ..known });
    }

    /// Once: whoever decides by it makes it outdated.
    pub fn recall(&self, id: SubmissionId) -> Option<LastKnown> {
        self.newest().remove(&id)
    }

    /// Whether it comes for the first time, as far as is known here.
    pub fn meet_key(&self, office: &OfficeName, key: &str) -> bool {
        let hash = self.hasher.hash_one((office.as_str(), key));
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(hash, ()).is_none()
    }

    /// Another server may have another past.
    pub fn forget_all(&self) {
        self.newest().clear();
    }

    fn newest(&self) -> MutexGuard<'_, Newest<SubmissionId, LastKnown>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Answer, Change, Effect, Priority, Progress, State, StateName, TraceParent},
        journal::Standing,
    };
    use jiff::Timestamp;

    fn known(state: State, lines: usize) -> LastKnown {
        let progress = Progress { state, ..Progress::accepted() };
        let line = Change {
            at: Timestamp::UNIX_EPOCH,
            from: None,
            to: StateName::Accepted,
            cause: "accepted".into(),
            by: None,
        };
        let standing = Standing {
            id: SubmissionId::new(),
            office: "causeni".parse().unwrap(),
            agency: "civil-registry".parse().unwrap(),
            service: "person-lookup".parse().unwrap(),
            priority: Priority::Ordinary,
            trace: TraceParent::fresh(),
            notify: false,
            progress,
            effect: Effect::Lookup,
            erased_at: None,
            expires_at: Timestamp::UNIX_EPOCH,
            version: "1".into(),
        };
        LastKnown { standing, timeline: Some(vec![line; lines]) }
    }

    #[test]
    fn what_may_be_large_is_not_kept() {
        let recent = Recent::default();
        let short = known(State::Queued, LINES);
        let long = known(State::Queued, LINES + 1);
        let over = known(State::Completed { answer: Some(Answer(serde_json::json!({}))) }, 1);
        for it in [&short, &long, &over] {
            recent.remember(it.clone());
        }
        assert_eq!(recent.recall(short.standing.id), Some(short.clone()));
        assert_eq!(recent.recall(short.standing.id), None, "each once");
        assert_eq!(recent.recall(long.standing.id).unwrap().timeline, None);
        assert_eq!(recent.recall(over.standing.id), None);
        recent.remember(short.clone());
        recent.forget_all();
        assert_eq!(recent.recall(short.standing.id), None);
    }

    #[test]
    fn a_key_is_new_once_in_each_office() {
        let recent = Recent::default();
        let (here, there) = ("causeni".parse().unwrap(), "hirbovat".parse().unwrap());
        assert!(recent.meet_key(&here, "1") && recent.meet_key(&there, "1") && recent.meet_key(&here, "2"));
        assert!(!recent.meet_key(&here, "1") && !recent.meet_key(&there, "1"));
    }
}
