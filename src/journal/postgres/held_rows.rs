//! Submissions come in; which of their rows other sessions hold goes out, without waiting for any.

use super::{
    bulk_rows::Group,
    failure::Failure,
    session::{PostgresStore, Session},
    transaction::begin,
};
use crate::{
    domain::SubmissionId,
    journal::{
        bulk::{Bulk, ColumnType},
        store::{Row, Value},
    },
};
use std::sync::LazyLock;

static HELD: LazyLock<Bulk> = LazyLock::new(|| Bulk {
    many: "WITH free AS MATERIALIZED (SELECT id FROM submissions WHERE id = ANY($1) FOR NO KEY UPDATE SKIP LOCKED) \
           SELECT id FROM submissions WHERE id = ANY($1) AND id NOT IN (SELECT id FROM free)"
        .into(),
    ..Bulk::select("SELECT id FROM submissions", &[("id", ColumnType::Id)], "")
});

/// Their places among these.
pub async fn held(session: &mut Session, submissions: &[SubmissionId]) -> Result<Vec<usize>, Failure> {
    let Session { client, way, recent, .. } = session;
    let transaction = begin(client, way).await?;
    let mut store = PostgresStore::new(transaction.client(), way, recent);
    let mut group = Group::new(&HELD);
    submissions.iter().enumerate().for_each(|(index, id)| group.add(index, vec![(*id).into()]));
    let found = store.run_groups(&[group]).await?.rows;
    let found: Vec<_> = found.iter().flatten().filter_map(Row::first).collect();
    let members = submissions.iter().enumerate().filter(|(_, id)| found.contains(&&Value::from(**id)));
    Ok(members.map(|(index, _)| index).collect())
}
