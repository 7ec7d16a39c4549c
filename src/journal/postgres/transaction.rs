//! One operation and a session come in; it is done in a transaction, and committed.

use super::{
    failure::Failure,
    session::{PostgresStore, Session, Way},
};
use crate::{
    failpoints::{self, Failpoint},
    journal::operations::{Access, Operation},
};
use tokio_postgres::{Client, Transaction};

/// Behind a pooler, the settings hold for this transaction.
pub async fn begin<'a>(client: &'a mut Client, way: &Way) -> Result<Transaction<'a>, Failure> {
    let before_committing = |error: tokio_postgres::Error| Failure::of(&error, false);
    let transaction = client.transaction().await.map_err(before_committing)?;
    if let Way::Pooler(prelude) = way {
        transaction.batch_execute(prelude).await.map_err(before_committing)?;
    }
    Ok(transaction)
}

pub async fn carry_out<O: Operation>(session: &mut Session, operation: &O) -> Result<O::Output, Failure> {
    let Session { client, way, recent, .. } = session;
    if O::ACCESS == Access::Read && matches!(way, Way::Direct(_)) {
        return run(operation, PostgresStore::new(client, way, recent)).await;
    }
    let transaction = begin(client, way).await?;
    let output = run(operation, PostgresStore::new(transaction.client(), way, recent)).await?;
    failpoints::hit(Failpoint::PostgresCommitting);
    transaction.commit().await.map_err(|error| Failure::of(&error, true))?;
    failpoints::hit(Failpoint::PostgresCommitted);
    Ok(output)
}

async fn run<O: Operation>(operation: &O, mut store: PostgresStore<'_>) -> Result<O::Output, Failure> {
    let outcome = operation.run(&mut store).await;
    outcome.map_err(|error| Failure { error, finding: store.finding })
}
