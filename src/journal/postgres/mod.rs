//! The journal in PostgreSQL, for several processes: operations come in, each runs in a transaction on a pooled connection.

mod address;
mod batch;
mod bulk_rows;
mod commit;
mod connector;
mod failure;
mod held_rows;
mod member_store;
mod one_statement;
mod parameters;
mod passfile;
mod passwords;
mod pool;
mod questions;
mod recent;
mod server;
mod shared;
mod session;
mod session_settings;
mod transaction;
mod unusable;
mod value;
mod writer;

use super::{
    Continuity, JournalError,
    database::Database,
    migrations::migrate,
    operations::{Access, Operation, Sharing},
    store::{Store, statement, values},
};
use address::Address;
use connector::Connector;
use failure::Failure;
use passwords::Passwords;
use pool::Sessions;
use recent::Recent;
pub use server::{Files, Server, ServerFault};
use session::{PostgresStore, Session};
use session_settings as settings;
use shared::{OPERATION_TIMEOUT, Shared, late};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use transaction::{begin, carry_out};
use writer::{Gathered, LANES, Writer};

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_write_probes.sql"),
    include_str!("migrations/0003_mark.sql"),
    include_str!("migrations/0004_forgotten_files.sql"),
    include_str!("migrations/0005_waiting_for_agencies.sql"),
    include_str!("migrations/0006_outbox_by_office.sql"),
    include_str!("migrations/0007_waking.sql"),
    include_str!("migrations/0008_attachment_sums.sql"),
    include_str!("migrations/0009_actors.sql"),
    include_str!("migrations/0010_rows_written_together.sql"),
];
/// Connections for operations that are done alone. Batches have their own.
const SESSIONS: usize = 13;
const LARGE_AT_ONCE: usize = 4;
/// How often an operation that certainly was not done is tried again.
const REPETITIONS: u32 = 3;
/// The same for one that was void because others have changed its submission meanwhile: each time one of them has succeeded.
const COLLISIONS: u32 = 16;
/// For how long a server that refused one change, for want of room or rights or for a lock, is believed to refuse others of the
/// same kind, if none was made since. Longer than a statement waits for a lock, so that one that is held is told all the time.
const REFUSAL: Duration = Duration::from_secs(20);
/// A kind of operation, by the name of its type.
type Kind = &'static str;
/// "punte" in ASCII: who changes the schema holds this advisory lock.
const MIGRATION_LOCK: i64 = 0x70_75_6e_74_65;

pub struct PostgresJournal {
    shared: Arc<Shared>,
    /// Operations on single submissions share transactions through it. `None`: each has one of its own.
    writer: Option<Writer>,
    /// What is too large to share a transaction takes only some of the connections.
    large: Semaphore,
    /// The last change of each kind that the server refused for a reason that lasts: a probe, and changes of other kinds, may
    /// still be let through.
    refused: Mutex<BTreeMap<Kind, (Instant, String)>>,
}

impl PostgresJournal {
    /// The journal at a URL that holds its password, if there is one.
    pub async fn open(url: &str, tls: Option<rustls::ClientConfig>) -> Result<Self, JournalError> {
        Self::open_at(Server { url, passfile: None, files: Files::default() }, tls).await
    }

    /// The same without gathering: each operation has a transaction of its own. For tests and measurements.
    pub async fn open_apart(url: &str) -> Result<Self, JournalError> {
        Ok(Self { writer: None, ..Self::open(url, None).await? })
    }

    /// Connects and brings the schema to the newest version. In the URL, `sslmode` is `disable`, `require` or
    /// `verify-full` (the last two both verify as `tls` says), and `search_path` names the schema, which is created.
    /// Without `sslmode` only the own machine is spoken to in plain text. Of several hosts, one that takes writes is used.
    pub async fn open_at(server: Server<'_>, tls: Option<rustls::ClientConfig>) -> Result<Self, JournalError> {
        let fault = |fault: ServerFault| unusable::unusable(&format!("the authority of its certificate {fault}"));
        server.check(tls.is_some()).map_err(|found| match found {
            ServerFault::Url(error) => error,
            found => fault(found),
        })?;
        let tls = tls.map(MakeRustlsConnect::new);
        let address = Address::parse(server.url, server.passfile)?;
        let schema = address.schema.clone();
        let for_batches = Address { settings: settings::for_batches(&address.settings), ..address.clone() };
        let recent = Arc::<Recent>::default();
        let connector = |address| Connector::new(address, Passwords::of(&server), tls.clone(), recent.clone());
        let shared = Arc::new(Shared {
            sessions: Sessions::new(connector(address), SESSIONS)?,
            lanes: Sessions::new(connector(for_batches), LANES)?,
            continuity: Continuity::default(),
        });
        prepare_schema(&shared.sessions, schema.as_deref()).await?;
        let of_writer = shared.clone();
        let writer = Writer::start(move |batch| Box::pin(commit::commit(of_writer.clone(), batch)));
        Ok(Self { shared, writer: Some(writer), large: Semaphore::new(LARGE_AT_ONCE), refused: Mutex::default() })
    }

    /// Closes all connections; every later call is `Unavailable`.
    pub async fn close(&self) {
        self.shared.sessions.close();
        self.shared.lanes.close();
    }
}

/// Programs that run already may hold what a script wants, and want what it holds: then it is tried again.
async fn prepare_schema(sessions: &Sessions, schema: Option<&str>) -> Result<(), JournalError> {
    let mut held = sessions.take().await.map_err(|failure| failure.error)?;
    let session = held.session()?;
    let host = session.host.clone();
    let mut repetitions = 0;
    loop {
        match migrate_session(session, schema).await {
            Ok(()) => break,
            Err(failure) if failure.finding.is_held && repetitions < REPETITIONS => {
                repetitions += 1;
                sleep(Duration::from_millis(rand::random_range(100..=1000))).await;
            }
            Err(failure) => return Err(failure.at(&host).error),
        }
    }
    held.give_back();
    Ok(())
}

impl Database for PostgresJournal {
    fn continuity(&self) -> &Continuity {
        &self.shared.continuity
    }

    async fn perform<O: Operation>(&self, operation: O) -> Result<O::Output, JournalError> {
        match (&self.writer, operation.sharing()) {
            (Some(writer), Sharing::With(submission)) => {
                match timeout(OPERATION_TIMEOUT, writer.write(submission, operation)).await {
                    Ok(Gathered::Done(outcome)) => outcome.and_then(|output| self.done::<O>(output)),
                    Ok(Gathered::Apart(operation)) => self.perform_alone(operation).await,
                    Err(_) => Err(late().error),
                }
            }
            (Some(_), Sharing::TooLarge) => {
                let _turn = timeout(OPERATION_TIMEOUT, self.large.acquire()).await.map_err(|_| late().error)?;
                self.perform_alone(operation).await
            }
            _ => self.perform_alone(operation).await,
        }
    }

    /// Dead rows are the server's own affair, and so is its log: SECURITY.md says how long they stay.
    async fn leave_no_trace(&self) -> Result<(), JournalError> {
        Ok(())
    }
}

impl PostgresJournal {
    /// In a transaction of its own.
    async fn perform_alone<O: Operation>(&self, operation: O) -> Result<O::Output, JournalError> {
        let mut repetitions = 0;
        loop {
            let failure = match self.try_once(&operation).await {
                Ok(output) => return self.done::<O>(output),
                Err(failure) => failure,
            };
            if failure.finding.is_lasting && O::ACCESS != Access::Read {
                self.refused().insert(std::any::type_name::<O>(), (Instant::now(), failure.text()));
            }
            let most = if failure.finding.is_outdated { COLLISIONS } else { REPETITIONS };
            if !failure.finding.is_retryable || repetitions >= most {
                return Err(failure.error);
            }
            repetitions += 1;
            // Those who collided must not collide again.
            sleep(Duration::from_millis(rand::random_range(1..=20 * u64::from(repetitions)))).await;
        }
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, BTreeMap<Kind, (Instant, String)>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change that was made shows that there are room, rights and no lock for its kind. A probe may have found its own old
    /// room again, and shows nothing beside a change that was refused a moment ago.
    fn done<O: Operation>(&self, output: O::Output) -> Result<O::Output, JournalError> {
        let mut refused = self.refused();
        if O::ACCESS != Access::Read {
            refused.remove(std::any::type_name::<O>());
        }
        if O::ACCESS == Access::Probe {
            refused.retain(|_, (at, _)| at.elapsed() < REFUSAL);
            if let Some((_, why)) = refused.values().next() {
                return Err(JournalError::Unavailable(why.clone()));
            }
        }
        Ok(output)
    }

    async fn try_once<O: Operation>(&self, operation: &O) -> Result<O::Output, Failure> {
        let sessions = &self.shared.sessions;
        let mut held = sessions.take().await?;
        let session = held.session()?;
        let host = session.host.clone();
        let outcome = timeout(OPERATION_TIMEOUT, self.guarded(session, operation)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(late())).map_err(|failure| failure.at(&host));
        match &outcome {
            Err(failure) if failure.finding.ends_session => sessions.end(held, failure),
            _ => held.give_back(),
        }
        outcome
    }
}

impl PostgresJournal {
    async fn guarded<O: Operation>(&self, session: &mut Session, operation: &O) -> Result<O::Output, Failure> {
        self.shared.compare(session).await?;
        if !O::EVEN_WHEN_SUSPENDED {
            self.shared.continuity.check()?;
        }
        carry_out(session, operation).await
    }
}

async fn migrate_session(session: &mut Session, schema: Option<&str>) -> Result<(), Failure> {
    let Session { client, way, recent, .. } = session;
    let transaction = begin(client, way).await?;
    let mut store = PostgresStore::new(transaction.client(), way, recent);
    if let Err(error) = prepare(&mut store, schema).await {
        return Err(Failure { error, finding: store.finding });
    }
    transaction.commit().await.map_err(|error| Failure::of(&error, true))
}

async fn prepare<S: Store>(store: &mut S, schema: Option<&str>) -> Result<(), JournalError> {
    // Another program that starts at the same moment waits here, however long our scripts take.
    let lock = format!(
        "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
    );
    store.script(&lock).await?;
    check_encoding(store).await?;
    if let Some(schema) = schema {
        // Asked first, because `IF NOT EXISTS` wants the right to create even where there is nothing to create.
        let found = statement("SELECT 1 FROM pg_namespace WHERE nspname = $1", values![schema]);
        if store.query(found).await?.is_empty() {
            store.script(&format!("CREATE SCHEMA {schema}")).await?;
        }
    }
    migrate(store, MIGRATIONS).await
}

/// What offices and agencies write has letters of all languages, and none of them may be refused one by one later.
async fn check_encoding<S: Store>(store: &mut S) -> Result<(), JournalError> {
    let asked = statement("SELECT current_setting('server_encoding'), CAST(current_database() AS text)", vec![]);
    let found = store.query(asked).await?.into_iter().next();
    let Some(mut row) = found else { return Ok(()) };
    let (encoding, database) = (row.text()?, row.text()?);
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(JournalError::Unavailable(format!(
        "the database {database} is encoded in {encoding}, which lacks most letters, and the journal needs UTF8: make one with \
         `CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`, and name it in the journal's URL"
    )))
}
