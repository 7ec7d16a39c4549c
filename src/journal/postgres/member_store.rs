//! The store of one operation of a batch: what it asks is noted, and answered together with what the others ask.

use super::{recent::Recent, session::PostgresStore};
use crate::domain::{OfficeName, SubmissionId};
use crate::journal::{
    JournalError, LastKnown,
    bulk::RowStatement,
    store::{Row, Statement, Store},
};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// What all members of a batch ask before any of them is answered. They and whoever answers them hold it.
#[derive(Clone)]
pub struct Round {
    asked: Arc<Mutex<Vec<(usize, Asked)>>>,
    recent: Option<Arc<Recent>>,
    pass: Pass,
}

/// What is known of a batch before its members are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Nothing: what may be refused is tried, because it hardly ever is.
    First,
    /// Something was refused, and is to be found.
    Again,
}

pub enum Asked {
    Query(Statement, oneshot::Sender<Vec<Row>>),
    Execute(Vec<Statement>, oneshot::Sender<u64>),
    RowsOf(Vec<RowStatement>, oneshot::Sender<Vec<Vec<Row>>>),
    Write(Vec<RowStatement>, oneshot::Sender<Option<String>>),
}

impl Round {
    pub fn new(recent: Option<Arc<Recent>>, pass: Pass) -> Self {
        Self { asked: Arc::default(), recent, pass }
    }

    pub fn take(&self) -> Vec<(usize, Asked)> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn ask<T>(&self, member: usize, asked: impl FnOnce(oneshot::Sender<T>) -> Asked) -> Result<T, JournalError> {
        let (answer, answered) = oneshot::channel();
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push((member, asked(answer)));
        answered.await.map_err(|_| JournalError::Unavailable("the transaction was given up".into()))
    }
}

impl Asked {
    pub fn writes(&self) -> bool {
        match self {
            Asked::RowsOf(asked, _) => asked.iter().any(|asked| asked.bulk.writes()),
            // A query may write as well.
            Asked::Query(..) | Asked::Execute(..) | Asked::Write(..) => true,
        }
    }
}

pub struct MemberStore {
    pub member: usize,
    pub round: Round,
}

impl Store for MemberStore {
    const LOCKED: &'static str = PostgresStore::LOCKED;
    const LOCKED_IF_FREE: &'static str = PostgresStore::LOCKED_IF_FREE;
    const IN_TURN: &'static str = PostgresStore::IN_TURN;
    const IDS: &'static str = PostgresStore::IDS;
    const ROW_VERSION: &'static str = PostgresStore::ROW_VERSION;

    async fn query(&mut self, statement: Statement) -> Result<Vec<Row>, JournalError> {
        self.round.ask(self.member, |answer| Asked::Query(statement, answer)).await
    }

    async fn query_together(&mut self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>, JournalError> {
        let mut found = Vec::with_capacity(statements.len());
        for statement in statements {
            found.push(self.query(statement).await?);
        }
        Ok(found)
    }

    async fn execute(&mut self, statements: Vec<Statement>) -> Result<u64, JournalError> {
        if statements.is_empty() {
            return Ok(0);
        }
        self.round.ask(self.member, |answer| Asked::Execute(statements, answer)).await
    }

    async fn rows_of(&mut self, asked: Vec<RowStatement>) -> Result<Vec<Vec<Row>>, JournalError> {
        self.round.ask(self.member, |answer| Asked::RowsOf(asked, answer)).await
    }

    async fn write(&mut self, rows: Vec<RowStatement>) -> Result<Option<String>, JournalError> {
        self.round.ask(self.member, |answer| Asked::Write(rows, answer)).await
    }

    fn recall(&mut self, id: SubmissionId) -> Option<LastKnown> {
        self.round.recent.as_ref()?.recall(id)
    }

    fn meet_key(&mut self, office: &OfficeName, key: &str) -> bool {
        let recent = self.round.recent.as_ref().filter(|_| self.round.pass == Pass::First);
        recent.is_some_and(|recent| recent.meet_key(office, key))
    }

    fn remember(&mut self, known: LastKnown) {
        if let Some(recent) = &self.round.recent {
            recent.remember(known);
        }
    }

    async fn script(&mut self, _: &str) -> Result<(), JournalError> {
        Err(JournalError::Unavailable("a script would be run for all operations of a batch".into()))
    }
}
