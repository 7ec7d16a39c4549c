//! A verified message's fingerprint comes in; whether it was seen before goes out. The memory is bounded.

use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, PoisonError},
};

/// Half of the SHA-256 of what was signed: nobody finds another message with the same. Not of the signature: an ECDSA
/// signature has a mirror image that holds as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    pub fn of(signed: &[u8]) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest::digest(&digest::SHA256, signed).as_ref()[..16]);
        Self(bytes)
    }
}

/// A message's fingerprint, and until when it would count as fresh: what says whether it came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayKey {
    pub fingerprint: Fingerprint,
    pub until: Timestamp,
}

/// Remembers the fingerprints of accepted messages for as long as they would still count as fresh, to the full second.
///
/// Only messages whose signature holds get here, so a stranger cannot fill it. When it is full, the entry that
/// would be forgotten soonest makes room.
#[derive(Debug)]
pub struct ReplayCache {
    capacity: usize,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    all: HashSet<Fingerprint>,
    /// By the second in which they are forgotten; no second is without any.
    by_second: BTreeMap<i64, Vec<Fingerprint>>,
    warned_at: Option<Timestamp>,
}

/// Once it is full, every message would say so.
const WARNING_PAUSE: SignedDuration = SignedDuration::from_mins(1);

impl Default for ReplayCache {
    fn default() -> Self {
        Self::with_capacity(100_000)
    }
}

impl ReplayCache {
    pub fn with_capacity(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), seen: Mutex::default() }
    }

    #[must_use]
    pub fn is_new(&self, replay_key: ReplayKey, now: Timestamp) -> bool {
        self.is_first(replay_key.fingerprint, replay_key.until, now)
    }

    /// `true` the first time, `false` for a repetition.
    #[must_use]
    pub fn is_first(&self, fingerprint: Fingerprint, until: Timestamp, now: Timestamp) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((second, _)) = seen.by_second.first_key_value()
            && *second < now.as_second()
        {
            seen.forget_second();
        }
        if seen.all.contains(&fingerprint) {
            return false;
        }
        if seen.all.len() >= self.capacity {
            if seen.is_to_warn(now) {
                tracing::warn!(capacity = self.capacity, "the replay memory is full; its oldest entries make room");
            }
            seen.forget_first();
        }
        seen.all.insert(fingerprint);
        seen.by_second.entry(until.as_second()).or_default().push(fingerprint);
        true
    }
}

impl Seen {
    fn is_to_warn(&mut self, now: Timestamp) -> bool {
        // By its amount, because a clock may be set back.
        let is_due = self.warned_at.is_none_or(|at| now.duration_since(at).abs() >= WARNING_PAUSE);
        if is_due {
            self.warned_at = Some(now);
        }
        is_due
    }

    fn forget_second(&mut self) {
        for fingerprint in self.by_second.pop_first().into_iter().flat_map(|(_, fingerprints)| fingerprints) {
            self.all.remove(&fingerprint);
        }
    }

    fn forget_first(&mut self) {
        let Some(mut first) = self.by_second.first_entry() else { return };
        if let Some(fingerprint) = first.get_mut().pop() {
            self.all.remove(&fingerprint);
        }
        if first.get().is_empty() {
            first.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_repetition_is_noticed_until_its_time_has_passed() {
        let cache = ReplayCache::default();
        assert!(cache.is_first(Fingerprint([1; 16]), at(100), at(0)));
        assert!(!cache.is_first(Fingerprint([1; 16]), at(100), at(99)));
        assert!(cache.is_first(Fingerprint([2; 16]), at(100), at(99)));
        assert!(cache.is_first(Fingerprint([1; 16]), at(200), at(101)));
    }

    #[test]
    fn what_counts_within_the_second_is_remembered_to_its_end() {
        let (cache, half) = (ReplayCache::default(), SignedDuration::from_millis(500));
        assert!(cache.is_first(Fingerprint([1; 16]), at(100) + half, at(0)));
        assert!(!cache.is_first(Fingerprint([1; 16]), at(100) + half, at(100) + half));
        assert!(cache.is_first(Fingerprint([1; 16]), at(200), at(101)));
        assert_eq!(cache.seen.lock().unwrap().by_second.len(), 1);
    }

    #[test]
    fn the_memory_never_grows_beyond_its_capacity() {
        let cache = ReplayCache::with_capacity(3);
        for index in 0..100_u8 {
            assert!(cache.is_first(Fingerprint([index; 16]), at(1000 + i64::from(index)), at(0)));
        }
        assert_eq!(cache.seen.lock().unwrap().all.len(), 3);
        assert!(!cache.is_first(Fingerprint([99; 16]), at(2000), at(0)));
    }

    #[test]
    fn a_full_memory_says_so_once_a_minute() {
        let lines = tempfile::NamedTempFile::new().unwrap();
        let log = tracing_subscriber::fmt().with_writer(Mutex::new(lines.reopen().unwrap())).finish();
        // With one subscriber alone, a line that another test's thread reaches first would be unwanted for good.
        let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
        let _guard = tracing::subscriber::set_default(log);
        let cache = ReplayCache::with_capacity(1);
        let warnings_after = |seconds: std::ops::RangeInclusive<i64>| {
            for second in seconds {
                assert!(cache.is_first(Fingerprint::of(&second.to_be_bytes()), at(second + 600), at(second)));
            }
            std::fs::read_to_string(lines.path()).unwrap().matches("the replay memory is full").count()
        };
        // The first one fills it.
        assert_eq!(warnings_after(0..=60), 1);
        assert_eq!(warnings_after(61..=120), 2);
    }
}
