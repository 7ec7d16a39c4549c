//! What an operator does to PostgreSQL while the journal runs: it is told in words, by requests and by readiness, and Punte
//! goes on by itself when it is over.

use super::*;
use punte::journal::{
    JournalError,
    postgres::{Files, Server},
};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// A user that is no superuser, with all rights to a schema that is there.
async fn with_user(schema: &Schema) -> (Tested, tokio_postgres::Client) {
    let (journal, raw, name) = (schema.open().await, schema.raw().await, &schema.name);
    journal.close().await;
    raw.batch_execute(&format!(
        "CREATE ROLE {name} LOGIN; GRANT CREATE, USAGE ON SCHEMA {name} TO {name}; \
         GRANT ALL ON ALL TABLES IN SCHEMA {name} TO {name}; GRANT ALL ON ALL SEQUENCES IN SCHEMA {name} TO {name}"
    ))
    .await
    .unwrap();
    (Arc::new(PostgresJournal::open(&url_of_user(schema), None).await.unwrap()), raw)
}

fn url_of_user(schema: &Schema) -> String {
    schema.url().replace("//punte@", &format!("//{}@", schema.name))
}

async fn without_user(schema: &Schema, raw: &tokio_postgres::Client) {
    end_sessions(raw, &schema.name).await;
    raw.batch_execute(&format!("DROP OWNED BY {0}; DROP ROLE {0}", schema.name)).await.unwrap();
    schema.remove().await;
}

async fn end_sessions(raw: &tokio_postgres::Client, user: &str) {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1";
    raw.query(end, &[&user]).await.unwrap();
}

fn words_of(outcome: Result<impl std::fmt::Debug, JournalError>) -> String {
    match outcome {
        Err(JournalError::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// Neither a request nor readiness gets through, and both say so.
async fn is_told(journal: &Tested, words: [&str; 2]) {
    let refused = words_of(journal.accept(&submission(), &fresh_key(), false, None).await);
    let unready = words_of(journal.ping().await);
    for why in [refused, unready] {
        assert!(words.iter().all(|word| why.contains(word)) && why.contains("PostgreSQL at "), "{words:?}: {why}");
    }
}

async fn goes_on(journal: &Tested) {
    let id = accepted(journal).await;
    assert_eq!(state(journal, id).await, StateName::Accepted);
    journal.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_comes_to_no_end_is_told_and_its_session_goes_on() {
    let schema = Schema::new();
    let url = format!("{}&options=-c%20statement_timeout%3D300ms", schema.url());
    let journal: Tested = Arc::new(PostgresJournal::open(&url, None).await.unwrap());
    let raw = schema.raw().await;
    goes_on(&journal).await;
    let sessions = "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE application_name = $1";
    let before: Vec<i32> = raw.query_one(sessions, &[&schema.name]).await.unwrap().get(0);
    let slow =
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(30); RETURN NEW; END $$;
                CREATE TRIGGER slow BEFORE INSERT ON submissions FOR EACH ROW EXECUTE FUNCTION slow();";
    raw.batch_execute(slow).await.unwrap();
    is_told(&journal, ["57014", "pg_stat_activity"]).await;
    raw.batch_execute("DROP TRIGGER slow ON submissions").await.unwrap();
    goes_on(&journal).await;
    let after: Vec<i32> = raw.query_one(sessions, &[&schema.name]).await.unwrap().get(0);
    assert_eq!(before, after, "no session was ended");
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lets_no_more_sessions_in_is_told_at_the_start_and_later() {
    let schema = Schema::new();
    let (journal, raw) = with_user(&schema).await;
    goes_on(&journal).await;
    let limit = async |number: i32| {
        raw.batch_execute(&format!("ALTER ROLE {} CONNECTION LIMIT {number}", schema.name)).await.unwrap();
    };
    // The session that is open works on.
    limit(1).await;
    for _ in 0..3 {
        goes_on(&journal).await;
    }
    limit(0).await;
    end_sessions(&raw, &schema.name).await;
    is_told(&journal, ["53300", "CONNECTION LIMIT"]).await;
    let why = words_of(PostgresJournal::open(&url_of_user(&schema), None).await.map(drop));
    assert!(why.contains("53300") && why.contains("max_connections"), "{why}");
    limit(-1).await;
    goes_on(&journal).await;
    without_user(&schema, &raw).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_are_taken_away_while_it_runs_are_told_until_they_are_given_back() {
    let schema = Schema::new();
    let (journal, raw) = with_user(&schema).await;
    goes_on(&journal).await;
    let name = &schema.name;
    for (taken, given) in [
        (format!("REVOKE INSERT ON submissions FROM {name}"), format!("GRANT INSERT ON submissions TO {name}")),
        (
            format!("REVOKE ALL ON ALL TABLES IN SCHEMA {name} FROM {name}"),
            format!("GRANT ALL ON ALL TABLES IN SCHEMA {name} TO {name}"),
        ),
    ] {
        raw.batch_execute(&taken).await.unwrap();
        is_told(&journal, ["42501", "permission denied for table"]).await;
        raw.batch_execute(&given).await.unwrap();
        goes_on(&journal).await;
    }
    without_user(&schema, &raw).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_another_holds_is_told_until_a_change_of_the_same_kind_is_made() {
    let schema = Schema::new();
    let url = format!("{}&options=-c%20lock_timeout%3D300ms", schema.url());
    let journal: Tested = Arc::new(PostgresJournal::open(&url, None).await.unwrap());
    let raw = schema.raw().await;
    for (table, mode) in [("submissions", "ACCESS EXCLUSIVE"), ("submissions", "SHARE"), ("outbox", "SHARE")] {
        raw.batch_execute(&format!("BEGIN; LOCK TABLE {table} IN {mode} MODE")).await.unwrap();
        is_told(&journal, ["55P03", "pg_locks"]).await;
        // Other tables are free, and say nothing of this one.
        journal.advance_mark(Timestamp::now()).await.unwrap();
        let why = words_of(journal.ping().await);
        assert!(why.contains("55P03"), "{why}");
        raw.batch_execute("ROLLBACK").await.unwrap();
        goes_on(&journal).await;
    }
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_lacks_letters_is_refused_at_the_start_and_what_the_server_does_not_take_is_not_tried_for_ever()
{
    let schema = Schema::new();
    let raw = schema.raw().await;
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("{}_{}", schema.name, encoding.to_lowercase());
        let make =
            format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'");
        raw.batch_execute(&make).await.unwrap();
        let (place, _) = schema.server.rsplit_once('/').unwrap();
        let why = words_of(PostgresJournal::open(&format!("{place}/{name}"), None).await.map(drop));
        assert!(why.contains(encoding) && why.contains("ENCODING 'UTF8'") && why.contains("PostgreSQL at "), "{why}");
        raw.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    }
    let journal: Tested = Arc::new(schema.open().await);
    let refuse = "CREATE FUNCTION not_taken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                  RAISE EXCEPTION 'CANARY' USING ERRCODE = '22P05'; END $$;
                  CREATE TRIGGER not_taken BEFORE INSERT ON submissions EXECUTE FUNCTION not_taken();";
    raw.batch_execute(refuse).await.unwrap();
    let refused = journal.accept(&submission(), &fresh_key(), false, None).await.unwrap_err();
    assert!(matches!(&refused, JournalError::NotTaken(why) if why.contains("22P05")), "{refused:?}");
    assert!(!refused.to_string().contains("CANARY"), "{refused}");
    journal.ping().await.unwrap();
    schema.remove().await;
}

/// A PostgreSQL of this test's own, which asks one user for a password.
struct Asking {
    home: tempfile::TempDir,
    place: String,
    raw: tokio_postgres::Client,
}

const USER: &str = "clerk";

impl Asking {
    async fn started() -> Self {
        let home = tempfile::tempdir().unwrap();
        let exports = Self::run("start", home.path());
        let url = exports.lines().find_map(|line| line.strip_prefix("export PUNTE_TEST_POSTGRES_URL=")).unwrap();
        let place = url.split(['@', '/']).find(|part| part.contains(':') && !part.ends_with(':')).unwrap().to_owned();
        let (raw, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        raw.batch_execute(&format!("CREATE ROLE {USER} LOGIN PASSWORD 'first'")).await.unwrap();
        raw.batch_execute(&format!("CREATE DATABASE bus OWNER {USER}")).await.unwrap();
        let rules: String = raw.query_one("SHOW hba_file", &[]).await.unwrap().get(0);
        let before = std::fs::read_to_string(&rules).unwrap();
        std::fs::write(&rules, format!("host all {USER} 127.0.0.1/32 scram-sha-256\n{before}")).unwrap();
        raw.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        // The server reads its rules in its own time.
        tokio::time::sleep(Duration::from_millis(500)).await;
        Self { home, place, raw }
    }

    fn run(action: &str, home: &Path) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/postgres");
        let output = Command::new(script).arg(action).arg(home).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.home.path().join(uuid::Uuid::new_v4().to_string());
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services/postgres");
        let _ = Command::new(script).arg("stop").arg(self.home.path()).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_changed_is_told_and_taken_up_from_its_file_for_new_sessions() {
    let server = Asking::started().await;
    let without = format!("postgres://{USER}@{}/bus", server.place);
    let with = |password: &str| format!("postgres://{USER}:{password}@{}/bus\n", server.place);
    let (passfile, url_file) = (server.file("first\n"), server.file(&with("first")));
    let opened = async |url: &str, passfile: Option<&str>, files: Files<'_>| {
        PostgresJournal::open_at(Server { url, passfile, files }, None).await
    };
    let why = words_of(opened(&without, Some("wrong"), Files::default()).await.map(drop));
    assert!(why.contains("28P01") && !why.contains("wrong"), "{why}");
    let files = Files { url: None, passfile: Some(&passfile) };
    let by_passfile: Tested = Arc::new(opened(&without, Some("first"), files).await.unwrap());
    let files = Files { url: Some(&url_file), passfile: None };
    let by_url: Tested = Arc::new(opened(with("first").trim(), None, files).await.unwrap());
    for journal in [&by_passfile, &by_url] {
        goes_on(journal).await;
    }
    server.raw.batch_execute(&format!("ALTER ROLE {USER} PASSWORD 'second'")).await.unwrap();
    // The sessions that are open work on.
    for journal in [&by_passfile, &by_url] {
        goes_on(journal).await;
    }
    end_sessions(&server.raw, USER).await;
    for journal in [&by_passfile, &by_url] {
        is_told(journal, ["28P01", "passfile"]).await;
    }
    std::fs::write(&passfile, format!("{}:*:{USER}:second\n", server.place)).unwrap();
    std::fs::write(&url_file, with("second")).unwrap();
    for journal in [&by_passfile, &by_url] {
        goes_on(journal).await;
    }
    // One that is just being written over is not believed.
    std::fs::write(&passfile, "").unwrap();
    std::fs::remove_file(&url_file).unwrap();
    end_sessions(&server.raw, USER).await;
    for journal in [&by_passfile, &by_url] {
        goes_on(journal).await;
    }
}
