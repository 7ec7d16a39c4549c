//! A PostgreSQL journal filled past Punte: one submission that went the whole way is copied in the server, as often as is
//! wanted. Columns are taken as they are found, so that the journal may get more of them.

use super::Database;
use anyhow::ensure;
use tokio_postgres::Client;

/// Copies of the one completed submission. How many bytes the database has then.
pub async fn copy_completed(database: &Database, count: i64) -> anyhow::Result<i64> {
    let client = database.connect().await?;
    let found = client.query("SELECT id::text FROM submissions WHERE state = 'completed'", &[]).await?;
    ensure!(found.len() == 1, "{} submissions are completed, where one was meant to be", found.len());
    let model: String = found[0].get(0);
    // What is copied is right as it is, and it may be lost: no need to look whether each copy's submission is there, or to sync.
    client.batch_execute("SET session_replication_role = replica; SET synchronous_commit = off").await?;
    let statements = statements(&client).await?;
    for first in (1..=count).step_by(usize::try_from(AT_A_TIME)?) {
        let last = (first + AT_A_TIME - 1).min(count);
        for statement in &statements {
            let numbers = format!("generate_series({first}::bigint, {last}::bigint) AS numbers(n)");
            client.batch_execute(&statement.replace(NUMBERS, &numbers).replace(MODEL, &format!("'{model}'"))).await?;
        }
    }
    let there: i64 = client.query_one("SELECT count(*) FROM submissions", &[]).await?.get(0);
    ensure!(there == count + 1, "{there} submissions are there, where {count} copies of one were meant to be");
    // Else it is done while something is measured.
    client.batch_execute("VACUUM (ANALYZE)").await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok(client.query_one("SELECT pg_database_size(current_database())", &[]).await?.get(0))
}

/// In one transaction.
const AT_A_TIME: i64 = 100_000;
/// The copies' identifiers: UUIDs of version 7, older than any that is made now.
const ID: &str = "('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))";
/// What stands in the statements for a table with the numbers `n` of the copies, and for the model's identifier.
const NUMBERS: &str = "{numbers}";
const MODEL: &str = "{model}";

/// For the submissions, and for every table with rows that belong to one.
async fn statements(client: &Client) -> anyhow::Result<Vec<String>> {
    let sql = "SELECT table_name::text, array_agg(column_name::text ORDER BY ordinal_position) \
               FROM information_schema.columns \
               WHERE table_schema = current_schema() AND is_identity = 'NO' AND is_generated = 'NEVER' \
               GROUP BY table_name";
    let mut statements = Vec::new();
    for row in client.query(sql, &[]).await? {
        let (table, columns): (String, Vec<String>) = (row.get(0), row.get(1));
        let owner = match table.as_str() {
            "submissions" => "id",
            _ => "submission",
        };
        if columns.iter().any(|column| column == owner) {
            statements.push(copying(&table, &columns, owner));
        }
    }
    Ok(statements)
}

fn copying(table: &str, columns: &[String], owner: &str) -> String {
    let copied: Vec<_> = columns.iter().map(|column| copied(column, owner)).collect();
    format!(
        "INSERT INTO {table} ({}) SELECT {} FROM {NUMBERS}, {table} WHERE {owner} = {MODEL}",
        columns.join(", "),
        copied.join(", ")
    )
}

/// Each copy is an identifier of its own, a key of its own, and a microsecond earlier than the one before.
fn copied(column: &str, owner: &str) -> String {
    match column {
        _ if column == owner => format!("{ID}::uuid"),
        "key" => ID.to_owned(),
        "at" | "accepted_at" | "expires_at" | "changed_at" | "begun_at" | "ended_at" | "used_at" => {
            format!("{column} - n")
        }
        _ => column.to_owned(),
    }
}
