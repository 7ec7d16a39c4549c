//! Many agencies, one in twenty of them dead, while their offices go on asking for them; beside a second Punte over the
//! same number of agencies, all of them alive and asked as much. Only the living are measured.

use super::Bench;
use crate::{
    bus::{Installation, InstallationPlan},
    interleaved::{Beside, Subject},
    load_client::Expected,
    roles::Punte,
};
use punte::kit::test_stack::OFFICE;

/// What is asked of each agency that is dead, or could be.
const PER_SECOND: f64 = 10.0;

pub async fn run(bench: &Bench) -> anyhow::Result<()> {
    let agencies = bench.arguments.agencies;
    let few = agencies.div_ceil(20);
    let plan = |dead| InstallationPlan { algorithm: "ecdsa-sha256", agencies, dead, ..bench.usual() };
    let (healthy, ill) = (Installation::prepare(plan(0)).await?, Installation::prepare(plan(few)).await?);
    let (one, other) = (healthy.open().await?, ill.open().await?);
    let subjects = [subject("all alive", &one, &healthy, few)?, subject("some dead", &other, &ill, few)?];
    bench
        .report
        .title(&format!("{agencies} agencies, of which {few} are dead and asked all the same; the living (P-256)"));
    let figures = bench.rules("dead-agencies").interleaved(&subjects, bench.some_clients()).await?;
    figures.iter().for_each(|it| bench.report.figures(it));
    if let [alive, dead] = figures.as_slice() {
        bench.report.ratio(dead, alive);
    }
    Ok(())
}

fn subject<'a>(
    name: &'static str,
    punte: &Punte,
    installation: &'a Installation,
    few: usize,
) -> anyhow::Result<Subject<'a>> {
    let (living, others) = installation.services().split_at(installation.services().len() - few);
    let answer = Expected::Answer("\"state\":\"completed\"");
    let question = installation.question_of(punte, OFFICE, others, Expected::Anything)?;
    Ok(Subject {
        question: installation.question_of(punte, OFFICE, living, answer)?,
        beside: Some(Beside { question, clients: few, per_second: PER_SECOND * few as f64 }),
        ..Subject::punte(name, punte, installation)?
    })
}
