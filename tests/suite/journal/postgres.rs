//! What only the PostgreSQL journal promises: many processes, broken connections, no plain text to strangers.

use super::*;
use punte::journal::JournalError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_start_at_once_make_the_schema_once() {
    let schema = Schema::new();
    let opened = futures_util::future::join_all((0..6).map(|_| schema.open())).await;
    assert_eq!(opened.len(), 6);
    let versions = schema.raw().await.query("SELECT version FROM schema_version", &[]).await.unwrap();
    assert_eq!(versions.len(), 1);
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_of_a_newer_program_is_refused() {
    let schema = Schema::new();
    schema.open().await.close().await;
    schema.raw().await.batch_execute("INSERT INTO schema_version VALUES (99, 0)").await.unwrap();
    let Err(JournalError::Corrupt(why)) = PostgresJournal::open(&schema.url(), None).await else { panic!("opened") };
    assert!(why.contains("newer"), "{why}");
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_broke_while_idle_is_not_noticed() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    let id = accepted(&journal).await;
    for _ in 0..3 {
        let end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
        let ended = schema.raw().await.query(end_all, &[&schema.name]).await.unwrap();
        assert!(!ended.is_empty());
        assert_eq!(state(&journal, id).await, StateName::Accepted);
        accepted(&journal).await;
    }
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_one_schema() {
    let schema = Schema::new();
    let journals: [Tested; 2] = [Arc::new(schema.open().await), Arc::new(schema.open().await)];
    let key = fresh_key();
    let calls = (0..40).map(|number| {
        let (journal, key) = (journals[number % 2].clone(), key.clone());
        async move { journal.accept(&submission(), &key, false).await.unwrap() }
    });
    let outcomes = futures_util::future::join_all(calls).await;
    assert_eq!(outcomes.iter().filter(|it| **it == Acceptance::New).count(), 1);
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_shows_nothing_of_a_row() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    let twice = submission();
    accept(&journal, &twice).await;
    let broken = journal.accept(&twice, &fresh_key(), false).await.unwrap_err();
    assert!(matches!(broken, JournalError::Corrupt(_)));
    assert!(!format!("{broken} {broken:?}").contains(&twice.id.to_string()), "{broken}");
    schema.raw().await.batch_execute(r#"UPDATE submissions SET body = '{"context": "CANARY"}'"#).await.unwrap();
    let unreadable = journal.find(twice.id).await.unwrap_err();
    assert!(matches!(unreadable, JournalError::Corrupt(_)));
    assert!(!format!("{unreadable} {unreadable:?}").contains("CANARY"), "{unreadable:?}");
    schema.remove().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_keeps_the_password() {
    let nowhere = PostgresJournal::open("postgres://punte:s3cret@127.0.0.1:1/punte", None).await;
    let Err(error @ JournalError::Unavailable(_)) = nowhere else { panic!("opened") };
    assert!(!format!("{error:?}").contains("s3cret"));
}

#[tokio::test]
async fn tls_is_never_left_out_when_it_was_asked_for() {
    let schema = Schema::new();
    let url = format!("{}&sslmode=require", schema.url());
    assert!(matches!(PostgresJournal::open(&url, None).await, Err(JournalError::Unavailable(_))));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    // The server of the tests speaks no TLS: rather no journal than a plain one.
    assert!(matches!(PostgresJournal::open(&url, Some(tls)).await, Err(JournalError::Unavailable(_))));
}
