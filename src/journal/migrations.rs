//! Brings a database to the newest schema: numbered scripts and an open transaction come in, a fitting schema goes out.

use super::{
    JournalError,
    store::{Row, Store, statement, values},
};
use jiff::Timestamp;

/// Applies the scripts that the database has not seen. The caller's transaction keeps other processes out meanwhile.
pub async fn migrate<S: Store>(store: &mut S, scripts: &[&str]) -> Result<(), JournalError> {
    store
        .script("CREATE TABLE IF NOT EXISTS schema_version (version bigint PRIMARY KEY, applied_at bigint NOT NULL)")
        .await?;
    let found = store.query(statement("SELECT max(version) FROM schema_version", vec![])).await?;
    let version = found.into_iter().next().as_mut().map(Row::optional_whole).transpose()?.flatten().unwrap_or(0);
    let applied = applied(version, scripts)?;
    for (number, script) in (1_u32..).zip(scripts).skip(applied) {
        store.script(script).await?;
        let insert = "INSERT INTO schema_version (version, applied_at) VALUES ($1, $2)";
        store.execute(vec![statement(insert, values![number, Timestamp::now()])]).await?;
    }
    Ok(())
}

/// How many of the scripts a database of this version has seen; a newer one is refused.
pub fn applied(version: i64, scripts: &[&str]) -> Result<usize, JournalError> {
    let known = scripts.len();
    usize::try_from(version).ok().filter(|applied| *applied <= known).ok_or_else(|| {
        JournalError::Corrupt(format!("schema version {version} is newer than this program, which knows {known}"))
    })
}
