//! The journal through PgBouncer: whatever it does with sessions, settings hold and no statement is lost; or it is refused
//! in words.

use super::{
    bouncer::{Bouncer, Options},
    *,
};
use punte::journal::JournalError;

async fn opened(bouncer: &Bouncer, schema: &Schema) -> Tested {
    Arc::new(schema.open_through(bouncer).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transaction_pooling_mixes_up_no_statements_whether_it_refuses_settings_or_passes_them_over() {
    for options in [Options::Refused, Options::PassedOver] {
        let (bouncer, schema) = (Bouncer::started("transaction", options, 3), Schema::new());
        // Two processes, whose statements would have equal names.
        let journals = [opened(&bouncer, &schema).await, opened(&bouncer, &schema).await];
        let rounds = (0..24).map(|number| {
            let journal = journals[number % 2].clone();
            async move {
                for _ in 0..5 {
                    let id = completed(&journal).await;
                    assert_eq!(state(&journal, id).await, StateName::Completed);
                    journal.list(&Default::default(), 3).await.unwrap();
                }
            }
        });
        futures_util::future::join_all(rounds).await;
        schema.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_behind_a_session_pooler_works() {
    for options in [Options::Refused, Options::PassedOver] {
        let (bouncer, schema) = (Bouncer::started("session", options, 20), Schema::new());
        let journal = opened(&bouncer, &schema).await;
        let id = completed(&journal).await;
        assert_eq!(state(&journal, id).await, StateName::Completed);
        schema.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_keeps_no_transaction_together_is_refused_in_words() {
    for options in [Options::Refused, Options::PassedOver] {
        let (bouncer, schema) = (Bouncer::started("statement", options, 3), Schema::new());
        let refused = PostgresJournal::open(&bouncer.url(&schema.name), None).await;
        let Err(JournalError::Unavailable(why)) = refused else { panic!("opened") };
        assert!(why.contains("pool_mode"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_a_lock_is_not_waited_for_longer_than_the_settings_say() {
    for options in [Options::Refused, Options::PassedOver] {
        let (bouncer, schema) = (Bouncer::started("transaction", options, 3), Schema::new());
        let url = format!("{}&options=-c%20lock_timeout%3D300ms", bouncer.url(&schema.name));
        let journal: Tested = Arc::new(PostgresJournal::open(&url, None).await.unwrap());
        let id = accepted(&journal).await;
        let raw = schema.raw().await;
        raw.batch_execute("BEGIN; LOCK TABLE submissions").await.unwrap();
        let begun = std::time::Instant::now();
        let blocked = journal.find(id).await.unwrap_err().to_string();
        assert!(blocked.contains("55P03") && blocked.contains("pg_locks"), "{blocked}");
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
        raw.batch_execute("ROLLBACK").await.unwrap();
        schema.remove().await;
    }
}
