//! The journal in PostgreSQL, for several processes: operations come in, each runs in a transaction on a pooled connection.

mod address;
mod connection;

use super::{
    JournalError,
    database::Database,
    migrations::migrate,
    operations::{Access, Operation},
    store::{Store, statement, values},
};
use crate::crash::{self, Point};
use address::{Address, Security};
use connection::{PostgresStore, failed, is_safe_to_repeat};
use deadpool_postgres::{
    Client, GenericClient, Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod,
};
use std::time::Duration;
use tokio_postgres::NoTls;
use tokio_postgres_rustls::MakeRustlsConnect;

const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_initial.sql")];
const CONNECTIONS: usize = 16;
/// For a connection from the pool, and for making one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For a whole operation. The server ends its statements sooner; this is for a server that says nothing at all.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(45);
/// How often an operation that certainly was not done is tried again.
const REPETITIONS: u32 = 3;
/// "punte" in ASCII: who changes the schema holds this advisory lock.
const MIGRATION_LOCK: i64 = 0x70_75_6e_74_65;

pub struct PostgresJournal {
    pool: Pool,
}

impl PostgresJournal {
    /// Connects and brings the schema to the newest version. In the URL, `sslmode` is `disable`, `require` or
    /// `verify-full` (the last two both verify as `tls` says), and `search_path` names the schema, which is created.
    /// Without `sslmode` only the own machine is spoken to in plain text.
    pub async fn open(url: &str, tls: Option<rustls::ClientConfig>) -> Result<Self, JournalError> {
        let Address { config, security, schema } = Address::parse(url)?;
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match (security, tls) {
            (Security::Plain, _) => Manager::from_config(config, NoTls, manager),
            (Security::Tls, Some(tls)) => Manager::from_config(config, MakeRustlsConnect::new(tls), manager),
            (Security::Tls, None) => return Err(address::unusable("TLS is asked for, but no authority is configured")),
        };
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .timeouts(deadpool_postgres::Timeouts {
                wait: Some(CONNECT_TIMEOUT),
                create: Some(CONNECT_TIMEOUT),
                recycle: Some(CONNECT_TIMEOUT),
            })
            .post_create(Hook::async_fn(|client, _| Box::pin(insist_on_durability(client))))
            .build()
            .map_err(|_| JournalError::Unavailable("no pool of connections".into()))?;
        let journal = Self { pool };
        journal.prepare_schema(schema.as_deref()).await?;
        Ok(journal)
    }

    async fn prepare_schema(&self, schema: Option<&str>) -> Result<(), JournalError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(failed)?;
        let mut store = PostgresStore::new(&transaction);
        // Another program that starts at the same moment waits here, however long our scripts take.
        let lock = format!(
            "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
        );
        store.script(&lock).await?;
        if let Some(schema) = schema {
            // Asked first, because `IF NOT EXISTS` wants the right to create even where there is nothing to create.
            let found = statement("SELECT 1 FROM pg_namespace WHERE nspname = $1", values![schema]);
            if store.query(found).await?.is_empty() {
                store.script(&format!("CREATE SCHEMA {schema}")).await?;
            }
        }
        migrate(&mut store, MIGRATIONS).await?;
        transaction.commit().await.map_err(failed)
    }

    async fn client(&self) -> Result<Client, JournalError> {
        self.pool.get().await.map_err(|error| match error {
            deadpool_postgres::PoolError::Backend(error) => failed(error),
            deadpool_postgres::PoolError::Timeout(_) => {
                JournalError::Unavailable("no connection became free in time".into())
            }
            _ => JournalError::Unavailable("the pool gives no connection".into()),
        })
    }

    /// Closes all connections; every later call is `Unavailable`.
    pub async fn close(&self) {
        self.pool.close();
    }
}

/// A server may be set to confirm commits that are not on disk. For a journal that will not do.
async fn insist_on_durability(client: &mut deadpool_postgres::ClientWrapper) -> Result<(), HookError> {
    let sql =
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
    client.batch_execute(sql).await.map_err(HookError::Backend)
}

/// Why an operation failed, and whether it was certainly not done and may succeed at once.
struct Failure {
    error: JournalError,
    may_repeat: bool,
}

impl Database for PostgresJournal {
    async fn perform<O: Operation>(&self, operation: O) -> Result<O::Output, JournalError> {
        let mut repetitions = 0;
        loop {
            let Failure { error, may_repeat } = match self.try_once(&operation).await {
                Ok(output) => return Ok(output),
                Err(failure) => failure,
            };
            if !may_repeat || repetitions == REPETITIONS {
                return Err(error);
            }
            repetitions += 1;
            // Those who collided must not collide again.
            tokio::time::sleep(Duration::from_millis(rand::random_range(1..=20 * u64::from(repetitions)))).await;
        }
    }
}

impl PostgresJournal {
    async fn try_once<O: Operation>(&self, operation: &O) -> Result<O::Output, Failure> {
        let mut client = self.client().await.map_err(Failure::last)?;
        let outcome = match O::ACCESS {
            Access::Read => tokio::time::timeout(OPERATION_TIMEOUT, read(&client, operation)).await,
            Access::Write => tokio::time::timeout(OPERATION_TIMEOUT, write(&mut client, operation)).await,
        };
        outcome.unwrap_or_else(|_| {
            // Whatever this connection waits for, nobody else shall wait for it too.
            drop(Object::take(client));
            Err(Failure::last(JournalError::Unavailable("PostgreSQL did not answer in time".into())))
        })
    }
}

async fn read<O: Operation>(client: &Client, operation: &O) -> Result<O::Output, Failure> {
    run(operation, PostgresStore::new(client)).await
}

async fn write<O: Operation>(client: &mut Client, operation: &O) -> Result<O::Output, Failure> {
    let before_sending =
        |error: tokio_postgres::Error| Failure { may_repeat: is_safe_to_repeat(&error, false), error: failed(error) };
    let transaction = client.transaction().await.map_err(before_sending)?;
    let output = run(operation, PostgresStore::new(&transaction)).await?;
    let while_committing =
        |error: tokio_postgres::Error| Failure { may_repeat: is_safe_to_repeat(&error, true), error: failed(error) };
    crash::here(Point::PostgresCommitting);
    transaction.commit().await.map_err(while_committing)?;
    crash::here(Point::PostgresCommitted);
    Ok(output)
}

async fn run<O: Operation, C: GenericClient>(
    operation: &O,
    mut store: PostgresStore<'_, C>,
) -> Result<O::Output, Failure> {
    let outcome = operation.run(&mut store).await;
    outcome.map_err(|error| Failure { error, may_repeat: store.may_repeat })
}

impl Failure {
    fn last(error: JournalError) -> Self {
        Self { error, may_repeat: false }
    }
}
