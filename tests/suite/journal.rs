//! One suite for both journals: every test in the themes below runs on SQLite and on PostgreSQL.

mod accepting;
mod bouncer;
mod changing;
mod erasing;
mod gathering;
mod housekeeping;
mod marks;
mod notices;
mod outbox;
mod pooler;
mod postgres;
mod reading;
mod recent;
mod scheduling;
mod sequences;
mod sessions;
mod sqlite;
mod troubles;

pub(crate) use sqlite::files_with;

use jiff::{SignedDuration, Timestamp};
use punte::{
    domain::*,
    journal::{
        Acceptance, AttachmentBytes, Entry, IdempotencyKey, Journal, NoRoom, postgres::PostgresJournal,
        sqlite::SqliteJournal,
    },
};
use serde_json::json;
use std::sync::Arc;

type Tested = Arc<dyn Journal>;

/// Makes of each `async fn(Tested)` two tests, and three of all: in memory, without gathering, and through a pooler.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (journal, _home) = crate::journal::on_sqlite();
                super::$name(journal).await;
            })*
        }
        mod in_memory {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn the_same_holds() {
                $(super::$name(std::sync::Arc::new(crate::journal::SqliteJournal::in_memory().unwrap())).await;)*
            }
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let schema = crate::journal::Schema::new();
                super::$name(std::sync::Arc::new(schema.open().await)).await;
                schema.remove().await;
            })*
        }
        mod on_postgres_without_gathering {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn the_same_holds() {
                $({
                    let schema = crate::journal::Schema::new();
                    super::$name(std::sync::Arc::new(schema.open_apart().await)).await;
                    schema.remove().await;
                })*
            }
        }
        mod through_a_pooler {
            /// One after the other: each statement of the journal goes through a PgBouncer that mixes sessions.
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn the_same_holds() {
                use crate::journal::bouncer::{Bouncer, Options};
                let bouncer = Bouncer::started("transaction", Options::PassedOver, 3);
                $({
                    let schema = crate::journal::Schema::new();
                    let journal = schema.open_through(&bouncer).await;
                    super::$name(std::sync::Arc::new(journal)).await;
                    schema.remove().await;
                })*
            }
        }
    };
}
use on_both;

fn on_sqlite() -> (Tested, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    (Arc::new(SqliteJournal::open(&home.path().join("journal.db")).unwrap()), home)
}

/// A test's own schema.
pub struct Schema {
    name: String,
    server: String,
}

impl Schema {
    pub fn new() -> Self {
        let server = std::env::var("PUNTE_TEST_POSTGRES_URL")
            .expect("PUNTE_TEST_POSTGRES_URL is not set: run tests/run, which starts a PostgreSQL for the tests");
        Self { name: format!("test_{}", uuid::Uuid::new_v4().simple()), server }
    }

    fn url(&self) -> String {
        format!("{0}?search_path={1}&application_name={1}", self.server, self.name)
    }

    pub async fn open(&self) -> PostgresJournal {
        PostgresJournal::open(&self.url(), None).await.unwrap()
    }

    async fn open_apart(&self) -> PostgresJournal {
        PostgresJournal::open_apart(&self.url()).await.unwrap()
    }

    async fn open_through(&self, bouncer: &bouncer::Bouncer) -> PostgresJournal {
        PostgresJournal::open(&bouncer.url(&self.name), None).await.unwrap()
    }

    /// A connection past the journal, to look and to spoil.
    pub async fn raw(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.server, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
            .batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {0}; SET search_path = {0}", self.name))
            .await
            .unwrap();
        client
    }

    pub async fn remove(&self) {
        self.raw().await.batch_execute(&format!("DROP SCHEMA {} CASCADE", self.name)).await.unwrap();
    }
}

/// Seconds after the moment at which all tests begin.
fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap() + SignedDuration::from_secs(secs)
}

fn office() -> OfficeName {
    "causeni".parse().unwrap()
}

fn agency() -> AgencyName {
    "civil-registry".parse().unwrap()
}

/// Accepted at the beginning, with a deadline an hour later.
fn submission() -> Submission {
    Submission {
        id: SubmissionId::new(),
        office: office(),
        service: "person-lookup".parse().unwrap(),
        agency: agency(),
        effect: Effect::Lookup,
        priority: Priority::Ordinary,
        context: CallContext {
            clerk: "clerk-7".into(),
            entity: "1007600000000".into(),
            legal_basis: "Law 123".into(),
            reason: "CANARY-REASON".into(),
        },
        subject: Subject { scheme: "idnp".into(), id: "CANARY-SUBJECT".into() },
        data: json!({ "z": 1, "a": ["CANARY-DATA", null, 1.5, "\u{0}", "ș"] }),
        attachments: vec![],
        accepted_at: at(0),
        expires_at: at(3600),
        trace: TraceParent::fresh(),
    }
}

fn fresh_key() -> IdempotencyKey {
    IdempotencyKey { key: uuid::Uuid::new_v4().to_string(), body_sha256: [7; 32] }
}

fn fault(code: Code) -> Fault {
    Fault::new(code, Stage::Send, "test")
}

fn replay() -> Event {
    Event::Replayed { by: "operator".into(), accepts_repeat: None }
}

fn answer() -> Answer {
    Answer(json!({ "name": "CANARY-ANSWER" }))
}

fn wire(sent: &str, received: &str) -> WireRecord {
    WireRecord { sent: sent.into(), received: received.into(), http_status: Some(200), truncated: false }
}

async fn accept(journal: &Tested, submission: &Submission) -> SubmissionId {
    assert_eq!(journal.accept(submission, &fresh_key(), true, None).await.unwrap(), Acceptance::New);
    submission.id
}

async fn accepted(journal: &Tested) -> SubmissionId {
    accept(journal, &submission()).await
}

/// Accepted, and begun with a lease that ends at 60.
async fn sending(journal: &Tested) -> SubmissionId {
    let id = accepted(journal).await;
    record(journal, id, Event::Begun { attempt: 1, lease_until: at(60), asks_first: true }, at(1)).await;
    id
}

/// What [`completed`] has sent.
const SENT: &str = "CANARY-SENT";

/// Sent and answered at 2.
async fn completed(journal: &Tested) -> SubmissionId {
    let id = sending(journal).await;
    let entry = Entry {
        wire: Some(wire(SENT, "CANARY-RECEIVED")),
        ..Entry::new(Event::Answered { attempt: 1, answer: answer() }, at(2))
    };
    journal.record(id, entry).await.unwrap();
    id
}

async fn record(journal: &Tested, id: SubmissionId, event: Event, at: Timestamp) -> Progress {
    journal.record(id, Entry::new(event, at)).await.unwrap().progress
}

async fn progress(journal: &Tested, id: SubmissionId) -> Progress {
    journal.find(id).await.unwrap().unwrap().progress
}

async fn state(journal: &Tested, id: SubmissionId) -> StateName {
    progress(journal, id).await.state.name()
}
