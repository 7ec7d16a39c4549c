//! What PostgreSQL has counted of its work comes in; what one submission costs it goes out.

use super::Database;
use anyhow::Context;
use std::time::{Duration, Instant};

/// A connection tells what it has done when it ends a transaction, at most once a second, and the rest once it has been idle
/// for ten seconds (pgstat.c of PostgreSQL 15 and later: `PGSTAT_MIN_INTERVAL`, `PGSTAT_IDLE_INTERVAL`).
pub const SETTLING: Duration = Duration::from_millis(11_000);

/// For one submission, or in one second.
#[derive(Debug, Clone, Copy, Default)]
pub struct Work {
    pub transactions: f64,
    pub wal_syncs: f64,
    pub wal_bytes: f64,
}

/// One installation's work, counted on from one look to the next. The write-ahead log is counted for the whole server, so
/// nobody else may work with it meanwhile.
pub struct Tally<'a> {
    database: &'a Database,
    /// In a second in which nothing is asked for.
    pub at_rest: Work,
    last: Counts,
}

/// Everything since the server's start.
#[derive(Clone, Copy)]
struct Counts {
    at: Instant,
    work: Work,
}

impl<'a> Tally<'a> {
    pub async fn begin(database: &'a Database) -> anyhow::Result<Self> {
        let last = Counts::read(database).await?;
        Ok(Self { database, at_rest: Work::default(), last })
    }

    /// Nothing was asked for since the last look.
    pub async fn rested(&mut self) -> anyhow::Result<()> {
        let now = Counts::read(self.database).await?;
        self.at_rest = now.work.minus(self.last.work).times(1.0 / (now.at - self.last.at).as_secs_f64());
        self.last = now;
        Ok(())
    }

    /// What each of so many submissions since the last look has cost. In the time beyond `busy`, Punte did only what it does
    /// at rest.
    pub async fn each(&mut self, submissions: usize, busy: Duration) -> anyhow::Result<Work> {
        let now = Counts::read(self.database).await?;
        let idle = (now.at - self.last.at).saturating_sub(busy);
        let at_rest = self.at_rest.times(idle.as_secs_f64());
        let each = now.work.minus(self.last.work).minus(at_rest).times(1.0 / submissions.max(1) as f64);
        self.last = now;
        Ok(each)
    }
}

impl Counts {
    async fn read(database: &Database) -> anyhow::Result<Self> {
        let client = database.connect_beside().await?;
        let version: i32 = client.query_one("SELECT current_setting('server_version_num')::int", &[]).await?.get(0);
        let wal_syncs = match version {
            ..180_000 => "SELECT wal_sync FROM pg_stat_wal",
            _ => "SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'",
        };
        let sql = format!(
            "SELECT (xact_commit + xact_rollback)::float8, ({wal_syncs})::float8, (SELECT wal_bytes FROM pg_stat_wal)::float8 \
             FROM pg_stat_database WHERE datname = $1"
        );
        let row = client.query_one(&sql, &[&database.name]).await.context("PostgreSQL's counts")?;
        let work = Work { transactions: row.get(0), wal_syncs: row.get(1), wal_bytes: row.get(2) };
        Ok(Self { at: Instant::now(), work })
    }
}

impl Work {
    fn minus(self, other: Self) -> Self {
        Self {
            transactions: self.transactions - other.transactions,
            wal_syncs: self.wal_syncs - other.wal_syncs,
            wal_bytes: self.wal_bytes - other.wal_bytes,
        }
    }

    fn times(self, by: f64) -> Self {
        Self { transactions: self.transactions * by, wal_syncs: self.wal_syncs * by, wal_bytes: self.wal_bytes * by }
    }
}
