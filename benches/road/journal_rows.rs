//! SQLite journals filled past Punte: one submission that went the whole way is copied in SQL, as often as is wanted.

use anyhow::ensure;
use rusqlite::{Connection, params};
use std::path::Path;

/// Copies, as they look once the bytes of their attempts have been erased.
pub fn copy_completed(journal: &Path, count: i64) -> anyhow::Result<()> {
    let connection = open(journal)?;
    let submissions = format!(
        "INSERT INTO submissions SELECT {ID}, office, service, agency, effect, priority, accepted_at - n, expires_at - n, \
         trace, notify, body, state, state_data, attempts, tries, in_doubt, due_at, changed_at - n, erased_at, \
         waiting_since FROM submissions, numbers WHERE id = ?1"
    );
    let changes = format!(
        "INSERT INTO changes (submission, at, from_state, to_state, cause) \
         SELECT {ID}, at - n, from_state, to_state, cause FROM numbers, changes WHERE submission = ?1"
    );
    let attempts = format!(
        "INSERT INTO attempts SELECT {ID}, number, begun_at - n, ended_at - n, outcome, NULL, NULL, http_status, truncated, \
         ended_at FROM numbers, attempts WHERE submission = ?1"
    );
    let keys = format!(
        "INSERT INTO idempotency_keys SELECT office, {ID}, body_sha256, {ID}, used_at - n \
         FROM numbers, idempotency_keys WHERE submission = ?1"
    );
    copy(&connection, count, &[submissions, changes, attempts, keys])
}

/// Copies that have just been accepted, in the outbox.
pub fn copy_as_accepted(journal: &Path, count: i64) -> anyhow::Result<()> {
    let connection = open(journal)?;
    let submissions = format!(
        "INSERT INTO submissions SELECT {ID}, office, service, agency, effect, priority, accepted_at, expires_at, trace, \
         notify, body, 'accepted', '{{\"state\":\"accepted\"}}', 0, 0, 0, NULL, accepted_at, NULL, NULL \
         FROM submissions, numbers WHERE id = ?1"
    );
    let changes = format!(
        "INSERT INTO changes (submission, at, from_state, to_state, cause) SELECT {ID}, at, from_state, to_state, cause \
         FROM numbers, changes WHERE submission = ?1 AND to_state = 'accepted'"
    );
    let outbox = format!(
        "INSERT INTO outbox SELECT {ID}, agency, 0, trace, accepted_at + n, accepted_at, NULL, office \
         FROM submissions, numbers WHERE id = ?1"
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
