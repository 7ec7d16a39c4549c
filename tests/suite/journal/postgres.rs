//! What only the PostgreSQL journal promises: many processes, broken connections, no plain text to strangers.

use super::*;
use punte::journal::JournalError;
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_start_at_once_make_the_schema_once() {
    let schema = Schema::new();
    let opened = futures_util::future::join_all((0..6).map(|_| schema.open())).await;
    assert_eq!(opened.len(), 6);
    let versions = schema.raw().await.query("SELECT version FROM schema_version ORDER BY version", &[]).await.unwrap();
    let versions: Vec<i64> = versions.iter().map(|row| row.get(0)).collect();
    assert!(versions.iter().copied().eq(1..=versions.len() as i64), "{versions:?}");
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_prepared_again_if_running_programs_held_what_it_wanted() {
    let schema = Schema::new();
    schema.open().await.close().await;
    let running = schema.raw().await;
    // The newest script may be run again. It wants the changes first, and the outbox afterwards.
    let hold = "DELETE FROM schema_version WHERE version = 10; SET deadlock_timeout = '30s'; \
                BEGIN; SELECT 1 FROM outbox";
    running.batch_execute(hold).await.unwrap();
    let url = schema.url();
    let starting = tokio::spawn(async move { PostgresJournal::open(&url, None).await });
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    running.batch_execute("SELECT 1 FROM changes; COMMIT").await.unwrap();
    let journal: Tested = Arc::new(starting.await.unwrap().unwrap());
    accepted(&journal).await;
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
        async move { journal.accept(&submission(), &key, false, None).await.unwrap() }
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
    let broken = journal.accept(&twice, &fresh_key(), false, None).await.unwrap_err();
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
    let tls = trusting(rustls::RootCertStore::empty());
    // The server of the tests speaks no TLS: rather no journal than a plain one.
    assert!(matches!(PostgresJournal::open(&url, Some(tls)).await, Err(JournalError::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_only_the_expected_server_is_spoken_to() {
    let schema = Schema::new();
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let port = speak_tls_before(&schema.server, &issued).await;
    let url =
        |host: &str| format!("postgres://punte@{host}:{port}/postgres?sslmode=verify-full&search_path={}", schema.name);

    let mut roots = RootCertStore::empty();
    roots.add(issued.cert.der().clone()).unwrap();
    let journal: Tested =
        Arc::new(PostgresJournal::open(&url("localhost"), Some(trusting(roots.clone()))).await.unwrap());
    accepted(&journal).await;

    let other_name = PostgresJournal::open(&url("127.0.0.1"), Some(trusting(roots))).await;
    assert!(matches!(other_name, Err(JournalError::Unavailable(why)) if why.contains("certificate")));
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(stranger.cert.der().clone()).unwrap();
    let other_issuer = PostgresJournal::open(&url("localhost"), Some(trusting(roots))).await;
    assert!(matches!(other_issuer, Err(JournalError::Unavailable(why)) if why.contains("certificate")));
    schema.remove().await;
}

fn trusting(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A port that takes up PostgreSQL's `SSLRequest` (protocol, 55.2.10), speaks TLS and hands on to the server in plain text.
async fn speak_tls_before(server: &str, issued: &rcgen::CertifiedKey<rcgen::KeyPair>) -> u16 {
    let address = server.split(['@', '/']).find(|part| part.contains(':') && !part.ends_with(':')).unwrap().to_owned();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(issued.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (acceptor, address) = (acceptor.clone(), address.clone());
            tokio::spawn(async move {
                let mut request = [0; 8];
                client.read_exact(&mut request).await?;
                assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47], "not an SSLRequest");
                client.write_all(b"S").await?;
                let mut client = acceptor.accept(client).await?;
                copy_bidirectional(&mut client, &mut TcpStream::connect(address).await?).await
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_read_keeps_no_other_from_being_due() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    let (newer, good) = (sending(&journal).await, sending(&journal).await);
    let spoil =
        format!(r#"UPDATE submissions SET state_data = '{{"state": "of-a-newer-program"}}' WHERE id = '{newer}'"#);
    schema.raw().await.batch_execute(&spoil).await.unwrap();
    let due = journal.due(at(60), 10).await.unwrap();
    assert_eq!(due.into_iter().map(|it| it.id).collect::<Vec<_>>(), [good]);
    schema.remove().await;
}
