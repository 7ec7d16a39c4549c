//! Whether the journal takes writes, asked by anybody as often as they like: it is written at most once a second, and never
//! twice at the same time.

use super::component::ComponentHealth;
use crate::journal::Journal;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// How long an outcome is good for.
const FRESH: Duration = Duration::from_secs(1);

type Asked = Shared<BoxFuture<'static, ComponentHealth>>;

pub struct JournalProbe {
    journal: Arc<dyn Journal>,
    patience: Duration,
    /// What was asked last, and when.
    last: Mutex<Option<(Instant, Asked)>>,
}

impl JournalProbe {
    /// A journal that has not written within `patience` is down; what it was asked is given up then.
    pub fn new(journal: Arc<dyn Journal>, patience: Duration) -> Self {
        Self { journal, patience, last: Mutex::default() }
    }

    pub fn ask(&self) -> BoxFuture<'static, ComponentHealth> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((asked_at, asked)) = &*last
            && (asked.peek().is_none() || asked_at.elapsed() < FRESH)
        {
            return asked.clone().boxed();
        }
        let asked = write(self.journal.clone(), self.patience).boxed().shared();
        *last = Some((Instant::now(), asked.clone()));
        // It comes to its end also if whoever asks goes away.
        tokio::spawn(asked.clone());
        asked.boxed()
    }
}

async fn write(journal: Arc<dyn Journal>, patience: Duration) -> ComponentHealth {
    match timeout(patience, journal.ping()).await {
        Ok(Ok(())) => ComponentHealth::Up,
        Ok(Err(error)) => ComponentHealth::Down(error.to_string()),
        Err(_) => ComponentHealth::Down("it cannot be written: it did not answer in time".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::sqlite::SqliteJournal;

    #[tokio::test]
    async fn many_who_ask_share_one_write() {
        let journal = Arc::new(SqliteJournal::in_memory().unwrap());
        let probe = JournalProbe::new(journal.clone(), Duration::from_secs(5));
        for _ in 0..20 {
            let asked = futures_util::future::join_all((0..5).map(|_| probe.ask())).await;
            assert!(asked.iter().all(|state| *state == ComponentHealth::Up), "{asked:?}");
        }
        // The second may have ended meanwhile.
        assert!((1..=2).contains(&journal.writer_counts().commands), "{:?}", journal.writer_counts());
    }

    #[tokio::test]
    async fn a_journal_that_another_holds_for_long_is_down_in_time_and_up_again_afterwards() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("journal.db");
        let journal = Arc::new(SqliteJournal::open(&path).unwrap());
        let probe = JournalProbe::new(journal, Duration::from_millis(200));
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let begun = Instant::now();
        assert!(matches!(probe.ask().await, ComponentHealth::Down(why) if why.contains("in time")));
        assert!(begun.elapsed() < Duration::from_secs(2));
        other.execute_batch("ROLLBACK").unwrap();
        let until_up = async {
            while probe.ask().await != ComponentHealth::Up {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(20), until_up).await.unwrap();
    }
}
