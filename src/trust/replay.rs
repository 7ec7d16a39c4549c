//! A verified message's fingerprint comes in; whether it was seen before goes out. The memory is bounded.

use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

/// The SHA-256 of what was signed, not of the signature: an ECDSA signature has a mirror image that holds as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub fn of(signed: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, signed).as_ref());
        Self(bytes)
    }
}

/// Remembers the fingerprints of accepted messages for as long as they would still count as fresh.
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
    until: HashMap<Fingerprint, Timestamp>,
    by_time: BTreeSet<(Timestamp, Fingerprint)>,
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

    /// `true` the first time, `false` for a repetition.
    #[must_use]
    pub fn is_first(&self, fingerprint: Fingerprint, until: Timestamp, now: Timestamp) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((time, _)) = seen.by_time.first()
            && *time < now
        {
            seen.forget_first();
        }
        if seen.until.contains_key(&fingerprint) {
            return false;
        }
        if seen.until.len() >= self.capacity {
            if seen.is_to_warn(now) {
                tracing::warn!(capacity = self.capacity, "the replay memory is full; its oldest entries make room");
            }
            seen.forget_first();
        }
        seen.until.insert(fingerprint, until);
        seen.by_time.insert((until, fingerprint));
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

    fn forget_first(&mut self) {
        if let Some((_, fingerprint)) = self.by_time.pop_first() {
            self.until.remove(&fingerprint);
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
        assert!(cache.is_first(Fingerprint([1; 32]), at(100), at(0)));
        assert!(!cache.is_first(Fingerprint([1; 32]), at(100), at(99)));
        assert!(cache.is_first(Fingerprint([2; 32]), at(100), at(99)));
        assert!(cache.is_first(Fingerprint([1; 32]), at(200), at(101)));
    }

    #[test]
    fn the_memory_never_grows_beyond_its_capacity() {
        let cache = ReplayCache::with_capacity(3);
        for index in 0..100_u8 {
            assert!(cache.is_first(Fingerprint([index; 32]), at(1000 + i64::from(index)), at(0)));
        }
        assert_eq!(cache.seen.lock().unwrap().until.len(), 3);
        assert!(!cache.is_first(Fingerprint([99; 32]), at(2000), at(0)));
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
