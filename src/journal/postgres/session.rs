//! One connection or transaction: statements come in, rows go out, and the server's errors lose what they tell of a row.

use super::{
    bulk_rows::{Group, grouped},
    failure::{Failure, Finding, of_data},
    one_statement::{self, Parts, parts},
    recent::Recent,
    value::{parameters, row, typed_parameters},
};
use crate::domain::SubmissionId;
use crate::journal::{
    JournalError, LastKnown,
    bulk::{ROW_VERSION, RowStatement},
    store::{Row, Statement, Store},
};
use futures_util::{StreamExt, future::try_join_all, stream::FuturesOrdered};
use std::{collections::HashMap, sync::Arc};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// Statements that travel together, without waiting for each other's answers.
const PIPELINE_STATEMENTS: usize = 16;
/// How many statements a session keeps prepared. There are fewer; agencies' names in some of them vary their number.
const PREPARED_STATEMENTS: usize = 256;
/// The same of those that are made of several, for every mixture of operations another one. PostgreSQL takes up to 300 KiB of
/// memory for each.
const PREPARED_MIXTURES: usize = 32;

/// A connection that was found fit for the journal.
pub struct Session {
    pub client: Client,
    pub way: Way,
    /// Of the server, as people are told of it.
    pub host: Arc<str>,
    /// Whether the journal that it shows was compared with what is known.
    pub is_compared: bool,
    pub recent: Arc<Recent>,
    /// Reads from the network until the session is dropped.
    reader: JoinHandle<()>,
}

/// Who is at the other end.
pub enum Way {
    /// The server itself: the settings hold for the whole session, and so do prepared statements.
    Direct(Prepared),
    /// A pooler, which may give each transaction to another session of the server: nothing is prepared, and every
    /// transaction begins with this statement, which makes the settings.
    Pooler(Arc<str>),
}

/// Statements that the server knows by a name.
#[derive(Default)]
pub struct Prepared {
    by_text: HashMap<String, tokio_postgres::Statement>,
    mixtures: HashMap<Parts, tokio_postgres::Statement>,
    /// The server's process that works for this session, once a mixture was prepared.
    backend: Option<i32>,
}

const BACKEND: &str = "SELECT pg_backend_pid()";

impl Session {
    pub fn new(client: Client, way: Way, host: Arc<str>, recent: Arc<Recent>, reader: JoinHandle<()>) -> Self {
        Self { client, way, host, is_compared: false, recent, reader }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

pub struct PostgresStore<'a> {
    client: &'a Client,
    /// `None`: statements have no names.
    prepared: Option<&'a mut Prepared>,
    /// `None`: what is behind a pooler may change without our noticing, and number its transactions anew.
    recent: Option<&'a Arc<Recent>>,
    /// What the error that came last means.
    pub finding: Finding,
}

impl<'a> PostgresStore<'a> {
    pub fn new(client: &'a Client, way: &'a mut Way, recent: &'a Arc<Recent>) -> Self {
        let (prepared, recent) = match way {
            Way::Direct(prepared) => (Some(prepared), Some(recent)),
            Way::Pooler(_) => (None, None),
        };
        Self { client, prepared, recent, finding: Finding::default() }
    }

    fn noted(&mut self, error: &tokio_postgres::Error) -> JournalError {
        let Failure { error: in_general, finding } = Failure::of(error, false);
        self.finding = finding;
        of_data(error).unwrap_or(in_general)
    }

    /// `None`: it is sent without a name.
    async fn prepared(&mut self, sql: &str) -> Result<Option<tokio_postgres::Statement>, tokio_postgres::Error> {
        let Some(Prepared { by_text: known, .. }) = &mut self.prepared else { return Ok(None) };
        if let Some(prepared) = known.get(sql) {
            return Ok(Some(prepared.clone()));
        }
        if known.len() == PREPARED_STATEMENTS {
            return Ok(None);
        }
        let prepared = self.client.prepare(sql).await?;
        known.insert(sql.to_owned(), prepared.clone());
        Ok(Some(prepared))
    }

    async fn all_prepared(
        &mut self,
        sql: impl Iterator<Item = &str>,
    ) -> Result<Vec<Option<tokio_postgres::Statement>>, tokio_postgres::Error> {
        let mut prepared = Vec::new();
        for sql in sql {
            prepared.push(self.prepared(sql).await?);
        }
        Ok(prepared)
    }

    async fn query_now(&mut self, statements: &[Statement]) -> Result<Vec<Vec<Row>>, tokio_postgres::Error> {
        let prepared = self.all_prepared(statements.iter().map(|it| it.sql.as_ref())).await?;
        let client = self.client;
        let found = prepared.into_iter().zip(statements).map(|(prepared, statement)| async move {
            let found = match prepared {
                Some(prepared) => client.query(&prepared, &parameters(statement)).await?,
                None => client.query_typed(&statement.sql, &typed_parameters(statement)).await?,
            };
            found.iter().map(row).collect()
        });
        try_join_all(found).await
    }

    async fn execute_now(&mut self, statements: &[Statement]) -> Result<u64, tokio_postgres::Error> {
        let prepared = self.all_prepared(statements.iter().map(|it| it.sql.as_ref())).await?;
        let client = self.client;
        let changed = prepared.into_iter().zip(statements).map(|(prepared, statement)| async move {
            match prepared {
                Some(prepared) => client.execute(&prepared, &parameters(statement)).await,
                None => client.execute_typed(&statement.sql, &typed_parameters(statement)).await,
            }
        });
        Ok(try_join_all(changed).await?.into_iter().sum())
    }

    /// The transaction must not be committed: what came after the guard may have failed, or be done.
    fn unless_outdated(&mut self, outdated: &[usize]) -> Result<(), JournalError> {
        if outdated.is_empty() {
            return Ok(());
        }
        let Failure { error, finding } = Failure::changed_meanwhile();
        self.finding = finding;
        Err(error)
    }

    /// `None`: they cannot be one.
    pub async fn mixture(
        &mut self,
        groups: &[Group],
    ) -> Result<Option<tokio_postgres::Statement>, tokio_postgres::Error> {
        let (Some(Prepared { mixtures, backend, .. }), Some(parts)) = (&mut self.prepared, parts(groups)) else {
            return Ok(None);
        };
        if backend.is_none() {
            *backend = Some(self.client.query_one(BACKEND, &[]).await?.try_get(0)?);
        }
        if let Some(prepared) = mixtures.get(&parts) {
            return Ok(Some(prepared.clone()));
        }
        if mixtures.len() == PREPARED_MIXTURES
            && let Some(any) = mixtures.keys().next().cloned()
        {
            mixtures.remove(&any);
        }
        let prepared = self.client.prepare(&one_statement::sql(groups)).await?;
        mixtures.insert(parts, prepared.clone());
        Ok(Some(prepared))
    }

    /// Whether the process that was asked for a mixture still answers: then what has failed was refused by itself, and not by
    /// somebody between us who has lost it.
    pub async fn has_same_backend(&self) -> bool {
        let known = self.prepared.as_ref().and_then(|prepared| prepared.backend);
        let now = self.client.query_one(BACKEND, &[]).await.and_then(|row| row.try_get(0));
        known.is_some() && now.ok() == known
    }

    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// A transaction of its own.
    pub async fn write_as_one(
        &self,
        prepared: &tokio_postgres::Statement,
        groups: &[Group],
    ) -> Result<AsOne, tokio_postgres::Error> {
        let parameters: Vec<_> = groups.iter().flat_map(Group::parameters).collect();
        match self.client.query_one(prepared, &parameters).await {
            Ok(row) => row.try_get(1).map(AsOne::Written),
            Err(error) if error.code() == Some(&one_statement::OUTDATED) => Ok(AsOne::Outdated),
            Err(error) => Err(error),
        }
    }

    /// Sends all of them at once.
    pub async fn run_groups(&mut self, groups: &[Group]) -> Result<Ran, JournalError> {
        let mut ran = Ran::default();
        for together in groups.chunks(PIPELINE_STATEMENTS) {
            let prepared = self.all_prepared(together.iter().map(|group| group.bulk.many.as_str())).await;
            let prepared = prepared.map_err(|error| self.noted(&error))?;
            let client = self.client;
            let sent = prepared.into_iter().zip(together);
            let mut sent: FuturesOrdered<_> =
                sent.map(|(prepared, group)| run_group(client, prepared, group)).collect();
            for group in together {
                let Some(found) = sent.next().await else { break };
                let found = found.map_err(|error| self.noted(&error))?;
                if group.bulk.is_guarded {
                    let there: Vec<_> = found.iter().filter_map(|row| row.first().cloned()).collect();
                    ran.outdated.extend(group.owners_without(&there));
                }
                if !ran.outdated.is_empty() {
                    return Ok(ran);
                }
                if group.bulk.tells_version {
                    ran.version = found.first().and_then(Row::second_text).or(ran.version);
                }
                ran.rows.push(found);
            }
        }
        Ok(ran)
    }
}

/// What one statement has come to.
pub enum AsOne {
    /// It is committed. The version of the rows that it has written.
    Written(Option<String>),
    /// Nothing was written: a guarded row was changed since it was read.
    Outdated,
}

/// What groups have come to.
#[derive(Default)]
pub struct Ran {
    /// Of each group.
    pub rows: Vec<Vec<Row>>,
    /// The owners of guarded rows that were changed since they were read. If there are any, nothing that comes after the guard
    /// counts, and whether it has failed says nothing.
    pub outdated: Vec<usize>,
    /// Of all rows that the transaction has written.
    pub version: Option<String>,
}

async fn run_group(
    client: &Client,
    prepared: Option<tokio_postgres::Statement>,
    group: &Group,
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let found = match prepared {
        Some(prepared) => client.query(&prepared, &group.parameters()).await?,
        None => client.query_typed(&group.bulk.many, &group.typed_parameters()).await?,
    };
    found.iter().map(row).collect()
}

impl Store for PostgresStore<'_> {
    const LOCKED: &'static str = " FOR UPDATE";
    const LOCKED_IF_FREE: &'static str = " FOR UPDATE SKIP LOCKED";
    const IN_TURN: &'static str = "SELECT pg_advisory_xact_lock(hashtextextended('punte.' || current_schema(), 0))";
    const IDS: &'static str = "SELECT listed::uuid FROM json_array_elements_text($1) AS list (listed)";
    const ROW_VERSION: &'static str = ROW_VERSION;

    async fn query(&mut self, statement: Statement) -> Result<Vec<Row>, JournalError> {
        let found = self.query_together(vec![statement]).await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn query_together(&mut self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>, JournalError> {
        self.query_now(&statements).await.map_err(|error| self.noted(&error))
    }

    async fn execute(&mut self, statements: Vec<Statement>) -> Result<u64, JournalError> {
        let mut changed = 0;
        for together in statements.chunks(PIPELINE_STATEMENTS) {
            changed += self.execute_now(together).await.map_err(|error| self.noted(&error))?;
        }
        Ok(changed)
    }

    async fn rows_of(&mut self, asked: Vec<RowStatement>) -> Result<Vec<Vec<Row>>, JournalError> {
        let groups: Vec<_> = asked.into_iter().map(|row| Group::of_one(0, row)).collect();
        let ran = self.run_groups(&groups).await?;
        self.unless_outdated(&ran.outdated).map(|()| ran.rows)
    }

    async fn write(&mut self, rows: Vec<RowStatement>) -> Result<Option<String>, JournalError> {
        let groups = grouped(rows.into_iter().map(|row| (0, row)));
        let ran = self.run_groups(&groups).await?;
        self.unless_outdated(&ran.outdated).map(|()| ran.version)
    }

    fn recall(&mut self, id: SubmissionId) -> Option<LastKnown> {
        self.recent?.recall(id)
    }

    fn remember(&mut self, known: LastKnown) {
        if let Some(recent) = self.recent {
            recent.remember(known);
        }
    }

    async fn script(&mut self, sql: &str) -> Result<(), JournalError> {
        self.client.batch_execute(sql).await.map_err(|error| self.noted(&error))
    }
}
