//! What was told last comes in; whether a text is news goes out. A state that lasts is logged when it begins, not each time
//! that it is met.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub struct Told(Mutex<Option<String>>);

impl Told {
    /// Whether something else, or nothing, was told last. The text counts as told from now on.
    pub fn is_news(&self, text: &str) -> bool {
        let mut last = self.last();
        if last.as_deref() == Some(text) {
            return false;
        }
        *last = Some(text.to_owned());
        true
    }

    /// It is over. Whether anything had been told.
    pub fn is_over(&self) -> bool {
        self.last().take().is_some()
    }

    fn last(&self) -> MutexGuard<'_, Option<String>> {
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
}
