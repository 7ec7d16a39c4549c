//! The road beside the floor: as it is, with a slow agency, with P-256, with PostgreSQL, with the embedded broker.

use super::Bench;
use crate::{
    baseline::Baseline,
    bus::{Installation, InstallationPlan, Punte},
    figures::{Figures, median, rounded},
    interleaved::{Rules, Subject},
    raw_queue::RawQueue,
};
use serde_json::json;
use std::{sync::atomic::Ordering, time::Duration};

struct Case<'a> {
    scenario: &'static str,
    title: &'static str,
    plan: InstallationPlan<'a>,
    /// How long the agency takes.
    delay: Duration,
    clients: Vec<usize>,
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
    let title = "PostgreSQL in the place of SQLite";
    let url = bench.postgres().await?;
    let plan = InstallationPlan { postgres: Some(&url), ..bench.usual() };
    bench.measure(Case { title, ..bench.case("postgres", plan) }).await
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

    async fn measure(&self, case: Case<'_>) -> anyhow::Result<()> {
        let installation = Installation::prepare(case.plan).await?;
        installation.agency.answer_after(case.delay);
        let punte = installation.open().await?;
        let floor = Baseline::begin(&installation, self.amqp())?;
        let question = floor.question(&installation)?;
        let floor = Subject { name: "floor", pid: floor.process.pid(), question, agency: None, beside: None };
        let rival = self.rival(case.plan, case.delay).await?;
        let mut subjects = vec![floor, Subject::punte("punte", &punte, &installation)?];
        if let Some((punte, installation)) = &rival {
            subjects.push(Subject::punte("rival", punte, installation)?);
        }
        self.report.title(case.title);
        for clients in case.clients {
            let mut raw = RawRounds::new(self, clients == 1 && case.scenario == "road").await?;
            // Clients who begin at once come in bursts from then on, and queue behind each other at whoever is asked.
            let rules = Rules { spread: case.delay, ..self.rules(case.scenario) };
            let figures = rules.interleave_with(&subjects, clients, async || raw.round().await).await?;
            figures.iter().for_each(|it| self.report.figures(it));
            if let [floor, punte, rival @ ..] = figures.as_slice() {
                self.report.ratio(punte, floor);
                rival.iter().for_each(|rival| self.report.ratio(punte, rival));
                raw.report(self, punte);
            }
            if !case.delay.is_zero() {
                figures.iter().for_each(|it| self.beside_ideal(it, case.delay));
            }
        }
        let spot = installation.agency.state.signed_on_the_spot.load(Ordering::Relaxed);
        self.report.note(
            &format!("         answers that the agency had to sign while it was asked: {spot}"),
            json!({"scenario": case.scenario, "signed_on_the_spot": spot}),
        );
        Ok(())
    }

    /// Another build, if one is named: over an installation of its own.
    async fn rival(
        &self,
        plan: InstallationPlan<'_>,
        delay: Duration,
    ) -> anyhow::Result<Option<(Punte, Installation)>> {
        let Some(program) = &self.arguments.rival else { return Ok(None) };
        let database = match plan.postgres {
            Some(_) => Some(self.postgres().await?),
            None => None,
        };
        let installation = Installation::prepare(InstallationPlan { postgres: database.as_deref(), ..plan }).await?;
        installation.agency.answer_after(delay);
        Ok(Some((installation.open_build(program).await?, installation)))
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

/// The raw queue's turns, where they are wanted.
struct RawRounds {
    queue: Option<RawQueue>,
    duration: Duration,
    medians: Vec<f64>,
}

impl RawRounds {
    async fn new(bench: &Bench, is_wanted: bool) -> anyhow::Result<Self> {
        let queue = if is_wanted { Some(RawQueue::open(bench.amqp()).await?) } else { None };
        Ok(Self { queue, duration: Duration::from_secs_f64(bench.arguments.seconds / 2.0), medians: Vec::new() })
    }

    async fn round(&mut self) -> anyhow::Result<()> {
        if let Some(queue) = &mut self.queue {
            self.medians.push(queue.publish_to_delivery_ms(self.duration).await?);
        }
        Ok(())
    }

    /// How much slower than the queue alone.
    fn report(&self, bench: &Bench, punte: &Figures) {
        if self.queue.is_none() {
            return;
        }
        let raw = median(self.medians.clone());
        let more = punte.median.p50_ms - raw;
        bench.report.note(
            &format!(
                "      1  raw quorum queue, publish to delivery: p50 {raw:.2} ms; punte's p50 is {more:.2} ms more"
            ),
            json!({
                "scenario": punte.scenario,
                "subject": "raw queue",
                "clients": 1,
                "publish_to_delivery_p50_ms": rounded(raw, 3),
                "punte_p50_more_ms": rounded(more, 3),
            }),
        );
    }
}
