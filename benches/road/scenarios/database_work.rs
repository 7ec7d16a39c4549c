//! What a submission costs PostgreSQL, told beside the figures of whoever has its journal there.

use super::{
    Bench,
    beside_floor::{Case, Contestant},
};
use crate::{
    bus::{Installation, InstallationPlan},
    database::{
        counts::{SETTLING, Tally, Work},
        proxy::CountingProxy,
    },
    figures::{Figures, rounded},
    load_client::{Run, ask},
};
use anyhow::Context;
use serde_json::json;
use std::{sync::atomic::Ordering, time::Duration};

pub struct DatabaseWork<'a> {
    bench: &'a Bench,
    case: &'a Case<'a>,
    /// In the order of the contestants; none if their journals are not in PostgreSQL.
    tallies: Vec<Tally<'a>>,
    settling: Duration,
}

/// What is made once, prepared statements say, is made before the traffic is counted.
const WARMING_UP: Duration = Duration::from_millis(500);
/// Signed answers for a turn whose rate is not known.
const ANSWERS: usize = 4000;
/// What a process does after its last answer belongs to its requests.
const AFTERMATH: Duration = Duration::from_millis(150);

impl<'a> DatabaseWork<'a> {
    pub async fn begin(bench: &'a Bench, case: &'a Case<'a>, contestants: &'a [Contestant]) -> anyhow::Result<Self> {
        let settling = if bench.arguments.smoke { Duration::from_millis(100) } else { SETTLING };
        let mut work = Self { bench, case, tallies: Vec::new(), settling };
        if case.plan.postgres.is_none() {
            return Ok(work);
        }
        tokio::time::sleep(settling).await;
        for Contestant { installation, .. } in contestants {
            let database = installation.database.as_ref().context("no database")?;
            work.tallies.push(Tally::begin(database).await?);
        }
        tokio::time::sleep(settling).await;
        for (tally, contestant) in work.tallies.iter_mut().zip(contestants) {
            tally.rested().await?;
            bench.report_rest(case.scenario, contestant.name, tally.at_rest);
        }
        Ok(work)
    }

    /// What the rounds that have just ended have cost.
    pub async fn report(&mut self, figures: &[Figures]) -> anyhow::Result<()> {
        if self.tallies.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(self.settling).await;
        let turns = Duration::from_secs_f64(self.bench.arguments.seconds * self.bench.arguments.rounds as f64);
        for (tally, figures) in self.tallies.iter_mut().zip(figures) {
            // Each client has had one answer before each turn.
            let submissions = figures.median.requests + figures.rounds.len() * figures.clients;
            self.bench.report_work(figures, tally.each(submissions, turns).await?);
        }
        Ok(())
    }

    /// Statements and round trips, in turns that are not timed, because whoever counts them is in the way.
    pub async fn report_traffic(&self, contestants: &[Contestant]) -> anyhow::Result<()> {
        if self.tallies.is_empty() {
            return Ok(());
        }
        for contestant in contestants {
            self.traffic(contestant).await?;
        }
        Ok(())
    }

    async fn traffic(&self, contestant: &Contestant) -> anyhow::Result<()> {
        let database = self.bench.database().await?;
        let proxy = CountingProxy::before(&database).await?;
        let database = database.through(proxy.port)?;
        let plan = InstallationPlan { postgres: Some(&database), ..self.case.plan };
        let installation = Installation::prepare(plan).await?;
        installation.agency.answer_after(self.case.delay);
        let punte = installation.open_build(&contestant.program).await?;
        let question = installation.question(&punte)?;
        let answered = &installation.agency.state.answered;
        for clients in self.case.clients.iter().copied() {
            installation.agency.stock_up(ANSWERS).await?;
            let run = |duration| Run { clients, duration, spread: self.case.delay };
            ask(&question, run(WARMING_UP), || ()).await?;
            tokio::time::sleep(AFTERMATH).await;
            let (before, asked_before) = (proxy.traffic(), answered.load(Ordering::Relaxed));
            ask(&question, run(Duration::from_secs_f64(self.bench.arguments.seconds)), || ()).await?;
            tokio::time::sleep(AFTERMATH).await;
            let (after, asked) = (proxy.traffic(), answered.load(Ordering::Relaxed) - asked_before);
            let each = |from: u64, to: u64| (to - from) as f64 / asked.max(1) as f64;
            let statements = each(before.statements, after.statements);
            let round_trips = each(before.round_trips, after.round_trips);
            self.bench.report_traffic(self.case.scenario, contestant.name, clients, [statements, round_trips]);
        }
        Ok(())
    }
}

impl Bench {
    fn report_rest(&self, scenario: &'static str, subject: &str, work: Work) {
        self.report.note(
            &format!(
                "\nPostgreSQL when nothing is asked of {subject}: {:.1} transactions/s, {:.1} WAL syncs/s, {:.0} WAL bytes/s",
                work.transactions, work.wal_syncs, work.wal_bytes
            ),
            json!({
                "scenario": scenario,
                "subject": subject,
                "database_at_rest": {
                    "transactions_per_second": rounded(work.transactions, 2),
                    "wal_syncs_per_second": rounded(work.wal_syncs, 2),
                    "wal_bytes_per_second": rounded(work.wal_bytes, 0),
                },
            }),
        );
    }

    fn report_work(&self, figures: &Figures, work: Work) {
        let Figures { scenario, subject, clients, median, .. } = figures;
        self.report.note(
            &format!(
                "{clients:>7}  {subject}, PostgreSQL a submission: {:.2} transactions, {:.2} WAL syncs, {:.0} WAL bytes, {:.3} CPU-ms",
                work.transactions, work.wal_syncs, work.wal_bytes, median.database_cpu_ms
            ),
            json!({
                "scenario": scenario,
                "subject": subject,
                "clients": clients,
                "database_per_submission": {
                    "transactions": rounded(work.transactions, 3),
                    "wal_syncs": rounded(work.wal_syncs, 3),
                    "wal_bytes": rounded(work.wal_bytes, 0),
                    "cpu_ms": rounded(median.database_cpu_ms, 3),
                },
            }),
        );
    }

    fn report_traffic(&self, scenario: &'static str, subject: &str, clients: usize, each: [f64; 2]) {
        let [statements, round_trips] = each;
        self.report.note(
            &format!(
                "{clients:>7}  {subject}, PostgreSQL a submission: {statements:.2} statements, {round_trips:.2} round trips \
                 (counted in a turn of its own)"
            ),
            json!({
                "scenario": scenario,
                "subject": subject,
                "clients": clients,
                "database_per_submission": {
                    "statements": rounded(statements, 3),
                    "round_trips": rounded(round_trips, 3),
                },
            }),
        );
    }
}
