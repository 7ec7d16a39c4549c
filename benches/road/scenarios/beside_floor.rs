//! The road beside the floor: as it is, with a slow agency, with P-256, with PostgreSQL and there with several processes, with
//! the embedded broker.

use super::{Bench, database_work::DatabaseWork, raw_rounds::RawRounds};
use crate::{
    baseline::Baseline,
    bus::{Installation, InstallationPlan},
    figures::{Figures, rounded},
    interleaved::{Rules, Subject},
    roles::{Layout, Punte},
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Duration,
};

pub struct Case<'a> {
    pub scenario: &'static str,
    title: &'static str,
    pub plan: InstallationPlan<'a>,
    /// How long the agency takes.
    pub delay: Duration,
    pub clients: Vec<usize>,
}

/// A build of Punte over an installation of its own.
pub struct Contestant {
    pub name: &'static str,
    pub program: PathBuf,
    pub installation: Installation,
    punte: Punte,
}

const SLOW: Duration = Duration::from_millis(200);

pub async fn road(bench: &Bench) -> anyhow::Result<()> {
    let title = "The road: RabbitMQ quorum queue, SQLite with full sync, mutual TLS, RSA-2048, an instant agency";
    bench.measure(Case { title, ..bench.case("road", bench.usual()) }).await
}

pub async fn slow_agency(bench: &Bench) -> anyhow::Result<()> {
    let title = "An agency that takes 200 ms";
    let clients = vec![bench.most_clients()];
    bench.measure(Case { title, delay: SLOW, clients, ..bench.case("slow-agency", bench.usual()) }).await
}

pub async fn p256(bench: &Bench) -> anyhow::Result<()> {
    let title = "P-256 in the place of RSA-2048";
    let plan = InstallationPlan { algorithm: "ecdsa-sha256", ..bench.usual() };
    bench.measure(Case { title, ..bench.case("p256", plan) }).await
}

pub async fn postgres(bench: &Bench) -> anyhow::Result<()> {
    bench.over_postgres("postgres", "PostgreSQL in the place of SQLite", Layout::Together).await
}

pub async fn apart(bench: &Bench) -> anyhow::Result<()> {
    let title = "PostgreSQL, and three processes: gateway, worker, scheduler with notifier";
    bench.over_postgres("apart", title, Layout::Apart).await
}

pub async fn several(bench: &Bench) -> anyhow::Result<()> {
    let title = "PostgreSQL, and five processes: two gateways, two workers, scheduler with notifier";
    bench.over_postgres("several", title, Layout::Several).await
}

pub async fn embedded(bench: &Bench) -> anyhow::Result<()> {
    let title = "The embedded broker in the place of RabbitMQ (the floor keeps RabbitMQ)";
    let plan = InstallationPlan { amqp: None, ..bench.usual() };
    bench.measure(Case { title, ..bench.case("embedded", plan) }).await
}

impl Bench {
    fn case<'a>(&self, scenario: &'static str, plan: InstallationPlan<'a>) -> Case<'a> {
        let clients = self.arguments.clients.clone();
        Case { scenario, title: "", plan, delay: Duration::ZERO, clients }
    }

    async fn over_postgres(&self, scenario: &'static str, title: &'static str, layout: Layout) -> anyhow::Result<()> {
        let database = self.database().await?;
        let plan = InstallationPlan { postgres: Some(&database), layout, ..self.usual() };
        self.measure(Case { title, ..self.case(scenario, plan) }).await
    }

    async fn measure(&self, case: Case<'_>) -> anyhow::Result<()> {
        let contestants = self.contestants(&case).await?;
        let first = &contestants[0].installation;
        let floor = Baseline::begin(first, self.amqp())?;
        let (question, pids) = (floor.question(first)?, vec![floor.process.pid()]);
        let mut subjects = vec![Subject { name: "floor", pids, database: None, question, agency: None, beside: None }];
        for Contestant { name, punte, installation, .. } in &contestants {
            subjects.push(Subject::punte(name, punte, installation)?);
        }
        let mut database_work = DatabaseWork::begin(self, &case, &contestants).await?;
        self.report.title(case.title);
        for clients in &case.clients {
            let mut raw = match (case.scenario, clients) {
                ("road", 1) => RawRounds::of_one_client(self).await?,
                _ => RawRounds::none(self),
            };
            // Clients who begin at once come in bursts from then on, and queue behind each other at whoever is asked.
            let rules = Rules { spread: case.delay, ..self.rules(case.scenario) };
            let figures = rules.interleave_with(&subjects, *clients, async || raw.round().await).await?;
            figures.iter().for_each(|it| self.report.figures(it));
            if let [floor, punte, rival @ ..] = figures.as_slice() {
                self.report.ratio(punte, floor);
                rival.iter().for_each(|rival| self.report.ratio(punte, rival));
                raw.report(self, punte);
            }
            database_work.report(&figures[1..]).await?;
            if !case.delay.is_zero() {
                figures.iter().for_each(|it| self.beside_ideal(it, case.delay));
            }
        }
        database_work.report_traffic(&contestants).await?;
        let spot = first.agency.state.signed_on_the_spot.load(Ordering::Relaxed);
        self.report.note(
            &format!("         answers that the agency had to sign while it was asked: {spot}"),
            json!({"scenario": case.scenario, "signed_on_the_spot": spot}),
        );
        Ok(())
    }

    /// This build, and another one if one is named.
    async fn contestants(&self, case: &Case<'_>) -> anyhow::Result<Vec<Contestant>> {
        let this = Path::new(env!("CARGO_BIN_EXE_punte"));
        let mut contestants = vec![Contestant::open("punte", this, case.plan, case.delay).await?];
        if let Some(program) = &self.arguments.rival {
            let database = match case.plan.postgres {
                Some(_) => Some(self.rivals_database().await?),
                None => None,
            };
            let plan = InstallationPlan { postgres: database.as_ref(), ..case.plan };
            contestants.push(Contestant::open("rival", program, plan, case.delay).await?);
        }
        Ok(contestants)
    }

    /// Nothing can be quicker than the agency.
    fn beside_ideal(&self, figures: &Figures, delay: Duration) {
        let ideal = figures.clients as f64 / delay.as_secs_f64();
        let share = figures.median.per_second / ideal;
        self.report.note(
            &format!("{:>7}  {} ÷ ideal of {ideal:.0}/s: {share:.3}", figures.clients, figures.subject),
            json!({
                "scenario": figures.scenario,
                "ratio": format!("{}/ideal", figures.subject),
                "clients": figures.clients,
                "ideal_per_second": rounded(ideal, 1),
                "requests_per_second": rounded(share, 3),
            }),
        );
    }
}

impl Contestant {
    async fn open(
        name: &'static str,
        program: &Path,
        plan: InstallationPlan<'_>,
        delay: Duration,
    ) -> anyhow::Result<Self> {
        let installation = Installation::prepare(plan).await?;
        installation.agency.answer_after(delay);
        let punte = installation.open_build(program).await?;
        Ok(Self { name, program: program.to_owned(), installation, punte })
    }
}
