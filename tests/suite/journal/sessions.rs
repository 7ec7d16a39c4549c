//! Sessions of PostgreSQL that are of no use any more, or not yet: they end, another host is asked, and a person is told
//! why.

use super::{bouncer::Bouncer, *};
use punte::journal::{
    JournalError,
    postgres::{Files, Server},
};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Every session that is open now refuses each change of a submission with this code, for as long as it lives.
async fn condemn_open_sessions(schema: &Schema, code: &str) {
    let script = format!(
        "CREATE TABLE IF NOT EXISTS condemned (pid int);
         INSERT INTO condemned SELECT pid FROM pg_stat_activity WHERE application_name = '{}';
         CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF EXISTS (SELECT 1 FROM {schema}.condemned WHERE pid = pg_backend_pid()) THEN
                 RAISE EXCEPTION 'no more' USING ERRCODE = '{code}';
             END IF;
             RETURN NEW;
         END $$;
         CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON submissions FOR EACH ROW EXECUTE FUNCTION refuse();",
        schema.name,
        schema = schema.name,
    );
    schema.raw().await.batch_execute(&script).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_condemned_ends_and_nobody_notices() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    for code in ["25006", "57P01", "57P02", "57P03", "08006", "0A000", "55000", "XX000", "53200", "26000", "42P05"] {
        // Several sessions are open, and all of them are of no use.
        let all_at_once = (0..8).map(|_| accepted(&journal));
        futures_util::future::join_all(all_at_once).await;
        condemn_open_sessions(&schema, code).await;
        let outcome = journal.accept(&submission(), &fresh_key(), false, None).await;
        assert!(outcome.is_ok(), "{code}: {outcome:?}");
        assert!(journal.ping().await.is_ok(), "{code}");
    }
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_does_not_fit_its_table_any_more_is_made_again() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    let id = accepted(&journal).await;
    progress(&journal, id).await;
    schema.raw().await.batch_execute("ALTER TABLE submissions ALTER COLUMN body TYPE text").await.unwrap();
    // The type of a result has changed: a plan that was made before is refused by the server.
    assert!(journal.find(id).await.unwrap().is_some());
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_caller_that_has_gone_holds_up_nobody_else() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    let id = accepted(&journal).await;
    let raw = schema.raw().await;
    raw.batch_execute("BEGIN; LOCK TABLE submissions").await.unwrap();
    let gone = (0..16).map(|_| tokio::time::timeout(Duration::from_millis(200), journal.find(id)));
    assert!(futures_util::future::join_all(gone).await.iter().all(Result::is_err));
    let begun = Instant::now();
    assert_eq!(journal.attachment(&office(), AttachmentId::new()).await.unwrap(), None);
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    raw.batch_execute("ROLLBACK").await.unwrap();
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_had_no_room_for_a_change_is_not_ready_until_one_is_made() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    journal.ping().await.unwrap();
    let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
                CREATE TRIGGER full_disk BEFORE INSERT ON submissions EXECUTE FUNCTION full_disk();";
    schema.raw().await.batch_execute(full).await.unwrap();
    journal.accept(&submission(), &fresh_key(), false, None).await.unwrap_err();
    let why = journal.ping().await.unwrap_err().to_string();
    assert!(why.contains("53100") && why.contains("make room"), "{why}");
    schema.raw().await.batch_execute("DROP TRIGGER full_disk ON submissions").await.unwrap();
    accepted(&journal).await;
    journal.ping().await.unwrap();
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_is_held_up_by_no_process_that_froze_in_the_middle_of_one() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    journal.ping().await.unwrap();
    let frozen = schema.raw().await;
    let begin = "BEGIN; INSERT INTO write_probes VALUES (gen_random_uuid(), 9e15::bigint, '')";
    frozen.batch_execute(begin).await.unwrap();
    tokio::time::timeout(Duration::from_secs(2), journal.ping()).await.expect("held up").unwrap();
    frozen.batch_execute("ROLLBACK").await.unwrap();
    schema.remove().await;
}

/// `host:port` of the tests' server.
fn server_place(schema: &Schema) -> String {
    schema.server.split(['@', '/']).find(|part| part.contains(':') && !part.ends_with(':')).unwrap().to_owned()
}

async fn why_not(url: &str) -> String {
    match PostgresJournal::open(url, None).await {
        Err(JournalError::Unavailable(why)) => why,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("opened"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_hosts_the_one_that_takes_writes_is_used() {
    let schema = Schema::new();
    let read_only = Bouncer::read_only();
    // One that listens and says nothing, as a machine does that hangs; and one that is not there.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (silent_place, good) = (silent.local_addr().unwrap(), server_place(&schema));
    let begun = Instant::now();
    for hosts in [
        format!("{},{good}", read_only.place()),
        format!("{good},{}", read_only.place()),
        format!("{silent_place},{dead},{},{good}", read_only.place()),
    ] {
        for attrs in ["", "&target_session_attrs=read-write"] {
            let url = format!("postgres://punte@{hosts}/postgres?search_path={}{attrs}", schema.name);
            let journal: Tested = Arc::new(PostgresJournal::open(&url, None).await.unwrap());
            let id = completed(&journal).await;
            assert_eq!(state(&journal, id).await, StateName::Completed);
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let url = format!("postgres://punte@{},{dead}/postgres?search_path={}", read_only.place(), schema.name);
    let why = why_not(&url).await;
    assert!(why.contains("takes no writes") && why.contains(&dead.to_string()), "{why}");
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_start_says_why_and_what_to_do() {
    let schema = Schema::new();
    let raw = schema.raw().await;
    let (server, name) = (server_place(&schema), &schema.name);
    raw.batch_execute(&format!("CREATE ROLE {name} LOGIN")).await.unwrap();
    raw.batch_execute(&format!("CREATE DATABASE {name}_ro")).await.unwrap();
    raw.batch_execute(&format!("ALTER DATABASE {name}_ro SET default_transaction_read_only = on")).await.unwrap();
    for (url, words) in [
        (format!("postgres://punte@{server}/nowhere_{name}"), ["3D000", "create the database"]),
        (format!("postgres://{name}@{server}/postgres?search_path={name}"), ["3F000", "GRANT"]),
        (format!("postgres://{name}@{server}/postgres?search_path={name}_2"), ["42501", "permission denied"]),
        (format!("postgres://punte@{server}/{name}_ro"), ["takes no writes", "name the primary"]),
    ] {
        let why = why_not(&url).await;
        assert!(words.iter().all(|word| why.contains(word)) && why.contains(&server), "{url}: {why}");
    }
    raw.batch_execute(&format!("DROP DATABASE {name}_ro")).await.unwrap();
    raw.batch_execute(&format!("DROP ROLE {name}")).await.unwrap();
    schema.remove().await;
}

/// A server that answers each start of a session so, and ends it.
async fn answering(messages: Vec<Vec<u8>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            for message in &messages {
                let mut startup = [0; 4096];
                if client.read(&mut startup).await.is_err() || client.write_all(message).await.is_err() {
                    break;
                }
            }
            rest(client).await;
        }
    });
    port
}

/// Waits until the other side has read everything.
async fn rest(mut client: TcpStream) {
    let _ = client.shutdown().await;
    let _ = client.read_to_end(&mut Vec::new()).await;
}

/// `AuthenticationCleartextPassword` (protocol, 55.7).
fn asks_for_password() -> Vec<u8> {
    vec![b'R', 0, 0, 0, 8, 0, 0, 0, 3]
}

/// `ErrorResponse`.
fn refusing(code: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C{code}\0Msays no\0\0");
    let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
    [b"E".as_slice(), &length, fields.as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_password_is_called_so_and_one_in_a_file_is_used() {
    let port = answering(vec![asks_for_password()]).await;
    let why = why_not(&format!("postgres://punte@127.0.0.1:{port}/bus")).await;
    assert!(why.contains("asks for a password") && why.contains("passfile"), "{why}");

    let port = answering(vec![asks_for_password(), refusing("28P01")]).await;
    let url = format!("postgres://punte@127.0.0.1:{port}/bus");
    for passfile in ["CANARY-PASSWORD\n".to_owned(), format!("127.0.0.1:{port}:*:punte:CANARY-PASSWORD\n")] {
        let server = Server { url: &url, passfile: Some(&passfile), files: Files::default() };
        let Err(refused) = PostgresJournal::open_at(server, None).await else { panic!("opened") };
        let why = refused.to_string();
        assert!(why.contains("28P01") && why.contains("mend the user or the password"), "{why}");
        assert!(!format!("{why} {refused:?}").contains("CANARY"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lets_nobody_in_says_why() {
    for (code, words) in [("57P03", "wait"), ("53300", "max_connections"), ("28000", "pg_hba.conf")] {
        let port = answering(vec![refusing(code)]).await;
        let why = why_not(&format!("postgres://punte@127.0.0.1:{port}/bus")).await;
        assert!(why.contains(code) && why.contains(words), "{why}");
    }
}
