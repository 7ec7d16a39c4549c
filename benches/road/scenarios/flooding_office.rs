//! One office offers a thousand requests a second where it may ask for ten; another office waits for its answers, with
//! and without that.

use super::Bench;
use crate::{
    bus::{Installation, InstallationPlan},
    interleaved::{Beside, Subject},
    load_client::Expected,
};
use punte::kit::{dev_pki, test_stack::OFFICE};

const FLOODERS: usize = 20;
const PER_SECOND: f64 = 1000.0;
/// As offices have if nothing else is written.
const PER_MINUTE: u32 = 600;

pub async fn run(bench: &Bench) -> anyhow::Result<()> {
    let installation = Installation::prepare(InstallationPlan { first_office: PER_MINUTE, ..bench.usual() }).await?;
    let punte = installation.open().await?;
    let [_, (other, _), _] = dev_pki::OFFICES;
    let subject = |name, beside| {
        let answer = Expected::Answer("\"state\":\"completed\"");
        let question = installation.question_of(&punte, other, installation.services(), answer)?;
        anyhow::Ok(Subject { question, beside, ..Subject::punte(name, &punte, &installation)? })
    };
    let question = installation.question_of(&punte, OFFICE, installation.services(), Expected::Anything)?;
    let flood = Beside { question, clients: FLOODERS, per_second: PER_SECOND };
    let subjects = [subject("no flood", None)?, subject("one office floods", Some(flood))?];
    bench.report.title(&format!(
        "One office offers {PER_SECOND} requests/s where it may ask for {PER_MINUTE} a minute; another"
    ));
    let figures = bench.rules("flooding-office").interleaved(&subjects, bench.some_clients()).await?;
    figures.iter().for_each(|it| bench.report.figures(it));
    if let [quiet, flooded] = figures.as_slice() {
        bench.report.ratio(flooded, quiet);
    }
    Ok(())
}
