//! The road as it is: RabbitMQ, SQLite with full sync, mutual TLS, RSA-2048, an agency that answers at once; and the floor.

use super::Hall;
use crate::{
    bus::{Furnishing, Installation},
    contest::{Rules, Subject},
    figures::{median, rounded},
    raw_queue::RawQueue,
    yardstick::Yardstick,
};
use serde_json::json;
use std::time::Duration;

pub async fn run(hall: &Hall) -> anyhow::Result<()> {
    let amqp = hall.amqp()?;
    let plan = Furnishing { amqp: Some(amqp), postgres: None, algorithm: "rsa-sha256" };
    let installation = Installation::furnish(plan).await?;
    let punte = installation.open().await?;
    let floor = Yardstick::begin(&installation, amqp)?;
    let arguments = &hall.arguments;
    let broker = hall.rabbitmq.pid();
    let rules = Rules { scenario: "road", rounds: arguments.rounds, seconds: arguments.seconds, broker };
    let subjects = [
        Subject { name: "floor", pid: floor.process.pid(), question: floor.question(&installation)?, agency: None },
        Subject {
            name: "punte",
            pid: punte.process.pid(),
            question: punte.question(installation.office()?),
            agency: Some(&installation.agency),
        },
    ];
    hall.report
        .title("The road: RabbitMQ quorum queue, SQLite with full sync, mutual TLS, RSA-2048, an instant agency");
    for clients in &arguments.clients {
        let figures = rules.contest(&subjects, *clients).await?;
        figures.iter().for_each(|it| hall.report.figures(it));
        if let [floor, punte] = figures.as_slice() {
            hall.report.ratio(punte, floor);
            if *clients == 1 {
                beside_raw_queue(hall, punte.median.p50_ms).await?;
            }
        }
    }
    let spot = installation.agency.desk.signed_on_the_spot.load(std::sync::atomic::Ordering::Relaxed);
    hall.report.note(
        &format!("         answers that the agency had to sign while it was asked: {spot}"),
        json!({"scenario": "road", "signed_on_the_spot": spot}),
    );
    Ok(())
}

/// How much slower than the queue alone.
async fn beside_raw_queue(hall: &Hall, p50_ms: f64) -> anyhow::Result<()> {
    let mut queue = RawQueue::open(hall.amqp()?).await?;
    let mut rounds = Vec::new();
    for _ in 0..hall.arguments.rounds {
        rounds.push(queue.publish_to_delivery_ms(Duration::from_secs_f64(hall.arguments.seconds / 3.0)).await?);
    }
    let raw = median(rounds);
    let more = p50_ms - raw;
    hall.report.note(
        &format!("      1  raw quorum queue, publish to delivery: p50 {raw:.2} ms; punte's p50 is {more:.2} ms more"),
        json!({
            "scenario": "road",
            "subject": "raw queue",
            "clients": 1,
            "publish_to_delivery_p50_ms": rounded(raw, 3),
            "punte_p50_more_ms": rounded(more, 3),
        }),
    );
    Ok(())
}
