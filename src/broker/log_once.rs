//! Logging once: a text comes in; whether it should be logged goes out. A state that lasts is logged when it begins, not each
//! time that it is met, and neither is one that is met in two ways by turns.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What was logged, and when it was met last; the latest at the end.
#[derive(Debug, Default)]
pub struct LogOnce(Mutex<Vec<(String, Instant)>>);

/// So many texts may take turns.
const AT_MOST: usize = 8;
/// What was not met for so long has been over meanwhile. Longer than the pause between two tries.
const OVER_AFTER: Duration = Duration::from_secs(10 * 60);

impl LogOnce {
    /// Whether it was not logged yet, or has been over meanwhile. The text counts as logged from now on.
    pub fn should_log(&self, text: &str) -> bool {
        self.should_log_at(text, Instant::now())
    }

    fn should_log_at(&self, text: &str, now: Instant) -> bool {
        let mut texts = self.texts();
        texts.retain(|(_, met)| now.saturating_duration_since(*met) < OVER_AFTER);
        let before = texts.len();
        texts.retain(|(logged, _)| logged != text);
        let should_log = texts.len() == before;
        if texts.len() == AT_MOST {
            texts.remove(0);
        }
        texts.push((text.to_owned(), now));
        should_log
    }

    /// It is over. Whether anything had been logged.
    pub fn reset(&self) -> bool {
        !std::mem::take(&mut *self.texts()).is_empty()
    }

    fn texts(&self) -> MutexGuard<'_, Vec<(String, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_logged_once_until_it_is_over() {
        let log_once = LogOnce::default();
        assert!(!log_once.reset());
        assert!(log_once.should_log("away") && !log_once.should_log("away"));
        assert!(log_once.should_log("refused"));
        assert!(log_once.reset() && !log_once.reset());
        assert!(log_once.should_log("refused"));
    }

    #[test]
    fn what_is_met_in_two_ways_by_turns_is_logged_once_each_way() {
        let (log_once, begun) = (LogOnce::default(), Instant::now());
        let after = |secs| begun + Duration::from_secs(secs);
        let should_log =
            (0..100).filter(|at| log_once.should_log_at(["away", "no AMQP"][at % 2], after(*at as u64))).count();
        assert_eq!(should_log, 2);
        assert!(log_once.should_log_at("away", after(99 + 600)), "it was something else for ten minutes");
        let kinds = (0..1000).map(|it| format!("{it}"));
        assert_eq!(kinds.filter(|text| log_once.should_log_at(text, after(700))).count(), 1000);
        assert_eq!(log_once.texts().len(), AT_MOST);
    }
}
