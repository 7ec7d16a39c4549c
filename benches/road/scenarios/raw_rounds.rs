//! The raw queue's turns among the others', where they are wanted; how much slower Punte is than the queue alone goes out.

use super::Bench;
use crate::{
    figures::{Figures, median, rounded},
    raw_queue::RawQueue,
};
use serde_json::json;
use std::time::Duration;

pub struct RawRounds {
    queue: Option<RawQueue>,
    duration: Duration,
    medians: Vec<f64>,
}

impl RawRounds {
    pub async fn of_one_client(bench: &Bench) -> anyhow::Result<Self> {
        Ok(Self { queue: Some(RawQueue::open(bench.amqp()).await?), ..Self::none(bench) })
    }

    pub fn none(bench: &Bench) -> Self {
        let duration = Duration::from_secs_f64(bench.arguments.seconds / 2.0);
        Self { queue: None, duration, medians: Vec::new() }
    }

    pub async fn round(&mut self) -> anyhow::Result<()> {
        if let Some(queue) = &mut self.queue {
            self.medians.push(queue.publish_to_delivery_ms(self.duration).await?);
        }
        Ok(())
    }

    pub fn report(&self, bench: &Bench, punte: &Figures) {
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
