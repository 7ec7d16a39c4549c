//! What was told before comes in; whether a text is news goes out. A state that lasts is logged when it begins, not each time
//! that it is met, and neither is one that is met in two ways by turns.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What was told, and when it was met last; the latest at the end.
#[derive(Debug, Default)]
pub struct Told(Mutex<Vec<(String, Instant)>>);

/// So many texts may take turns.
const AT_MOST: usize = 8;
/// What was not met for so long has been over meanwhile. Longer than the pause between two tries.
const OVER_AFTER: Duration = Duration::from_secs(10 * 60);

impl Told {
    /// Whether it was not told yet, or has been over meanwhile. The text counts as told from now on.
    pub fn is_news(&self, text: &str) -> bool {
        self.is_news_at(text, Instant::now())
    }

    fn is_news_at(&self, text: &str, now: Instant) -> bool {
        let mut texts = self.texts();
        texts.retain(|(_, met)| now.saturating_duration_since(*met) < OVER_AFTER);
        let before = texts.len();
        texts.retain(|(told, _)| told != text);
        let is_news = texts.len() == before;
        if texts.len() == AT_MOST {
            texts.remove(0);
        }
        texts.push((text.to_owned(), now));
        is_news
    }

    /// It is over. Whether anything had been told.
    pub fn is_over(&self) -> bool {
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
    fn a_text_is_news_once_until_it_is_over() {
        let told = Told::default();
        assert!(!told.is_over());
        assert!(told.is_news("away") && !told.is_news("away"));
        assert!(told.is_news("refused"));
        assert!(told.is_over() && !told.is_over());
        assert!(told.is_news("refused"));
    }

    #[test]
    fn what_is_met_in_two_ways_by_turns_is_told_once_each_way() {
        let (told, begun) = (Told::default(), Instant::now());
        let after = |secs| begun + Duration::from_secs(secs);
        let is_news = (0..100).filter(|at| told.is_news_at(["away", "no AMQP"][at % 2], after(*at as u64))).count();
        assert_eq!(is_news, 2);
        assert!(told.is_news_at("away", after(99 + 600)), "it was something else for ten minutes");
        let kinds = (0..1000).map(|it| format!("{it}"));
        assert_eq!(kinds.filter(|text| told.is_news_at(text, after(700))).count(), 1000);
        assert_eq!(told.texts().len(), AT_MOST);
    }
}
