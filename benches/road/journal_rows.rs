//! SQLite journals filled past Punte: one submission that went the whole way is copied in SQL, as often as is wanted.

use anyhow::ensure;
use rusqlite::{Connection, params};
use std::path::Path;

/// Copies, as they look once the bytes of their attempts have been erased.
pub fn copy_completed(journal: &Path, count: i64) -> anyhow::Result<()> {
    let connection = open(journal)?;
    let earlier =
        [("accepted_at", "accepted_at - n"), ("expires_at", "expires_at - n"), ("changed_at", "changed_at - n")];
    let submissions = copying(&connection, "submissions", "id", &earlier)?;
    let changes = copying(&connection, "changes", "submission", &[("id", "NULL"), ("at", "at - n")])?;
    let erased = [
        ("begun_at", "begun_at - n"),
        ("ended_at", "ended_at - n"),
        ("sent", "NULL"),
        ("received", "NULL"),
        ("erased_at", "ended_at"),
    ];
    let attempts = copying(&connection, "attempts", "submission", &erased)?;
    let keys = copying(&connection, "idempotency_keys", "submission", &[("key", ID), ("used_at", "used_at - n")])?;
    copy(&connection, count, &[submissions, changes, attempts, keys])
}

/// Copies that have just been accepted, in the outbox.
pub fn copy_as_accepted(journal: &Path, count: i64) -> anyhow::Result<()> {
    let connection = open(journal)?;
    let accepted = [
        ("state", "'accepted'"),
        ("state_data", "'{\"state\":\"accepted\"}'"),
        ("attempts", "0"),
        ("tries", "0"),
        ("in_doubt", "0"),
        ("due_at", "NULL"),
        ("changed_at", "accepted_at"),
        ("erased_at", "NULL"),
        ("waiting_since", "NULL"),
    ];
    let submissions = copying(&connection, "submissions", "id", &accepted)?;
    let changes = copying(&connection, "changes", "submission", &[("id", "NULL")])?;
    let changes = format!("{changes} AND to_state = 'accepted'");
    let outbox = format!(
        "INSERT INTO outbox (submission, agency, urgent, trace, added_at, not_before, claimed_until, office) \
         SELECT {ID}, agency, 0, trace, accepted_at + n, accepted_at, NULL, office FROM submissions, numbers WHERE id = ?1"
    );
    copy(&connection, count, &[submissions, changes, outbox])
}

pub fn completed(journal: &Path) -> anyhow::Result<i64> {
    let sql = "SELECT count(*) FROM submissions WHERE state = 'completed'";
    Ok(open(journal)?.query_row(sql, [], |row| row.get(0))?)
}

/// The copies' identifiers: UUIDs of version 7, older than any that is made now.
const ID: &str = "printf('01900000-0000-7000-8000-%012x', n)";
/// In one transaction.
const AT_A_TIME: i64 = 50_000;

fn open(journal: &Path) -> anyhow::Result<Connection> {
    ensure!(journal.is_file(), "there is no journal at {}", journal.display());
    let connection = Connection::open(journal)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(connection)
}

/// The rows of a table that belong to the model, with all columns that are found there, so that the journal may get more of
/// them. `owner` is the column that names the submission; some columns get something else than the model has.
fn copying(connection: &Connection, table: &str, owner: &str, changed: &[(&str, &str)]) -> anyhow::Result<String> {
    let mut columns = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let columns = columns.query_map([table], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let value = |column: &String| match changed.iter().find(|(name, _)| name == column) {
        Some((_, value)) => (*value).to_owned(),
        None if column == owner => ID.to_owned(),
        None => column.clone(),
    };
    let values: Vec<_> = columns.iter().map(value).collect();
    let (columns, values) = (columns.join(", "), values.join(", "));
    Ok(format!("INSERT INTO {table} ({columns}) SELECT {values} FROM numbers, {table} WHERE {owner} = ?1"))
}

/// Each statement sees a table `numbers` with the numbers `n` of the copies, and the model's identifier as `?1`.
fn copy(connection: &Connection, count: i64, statements: &[String]) -> anyhow::Result<()> {
    let model: String =
        connection.query_row("SELECT id FROM submissions WHERE state = 'completed' LIMIT 1", [], |row| row.get(0))?;
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000")?;
    for first in (1..=count).step_by(usize::try_from(AT_A_TIME)?) {
        let last = (first + AT_A_TIME - 1).min(count);
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for statement in statements {
            let sql = format!(
                "WITH RECURSIVE numbers(n) AS (VALUES(?2) UNION ALL SELECT n + 1 FROM numbers WHERE n < ?3) {statement}"
            );
            connection.execute(&sql, params![model, first, last])?;
        }
        connection.execute_batch("COMMIT")?;
    }
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    // Whoever closes the file last says so, and the process that had it was killed: its log is in the file now.
    connection.execute("UPDATE installation SET in_use = 0", [])?;
    // Else the kernel writes gigabytes while something is measured.
    Ok(std::fs::File::open(connection.path().unwrap_or_default())?.sync_all()?)
}
