//! The raw quorum queue: how long one message takes from its publishing to its delivery, one at a time.

use crate::floor::queue::{Queue, ack};
use anyhow::Context;
use futures_util::StreamExt;
use lapin::Consumer;
use std::time::{Duration, Instant};

pub struct RawQueue {
    queue: Queue,
    consumer: Consumer,
}

/// As long as the message that Punte publishes.
const MESSAGE: [u8; 200] = [b'x'; 200];

impl RawQueue {
    pub async fn open(uri: &str) -> anyhow::Result<Self> {
        let name = format!("raw-{}", uuid::Uuid::new_v4().simple());
        let (queue, consumer) = Queue::open(uri, &name).await?;
        Ok(Self { queue, consumer })
    }

    /// The median, in milliseconds, over so long a time.
    pub async fn publish_to_delivery_ms(&mut self, duration: Duration) -> anyhow::Result<f64> {
        let (begun, mut latencies) = (Instant::now(), Vec::new());
        while begun.elapsed() < duration {
            let sent = Instant::now();
            let confirm = self.queue.publish(&MESSAGE).await?;
            let delivery = self.consumer.next().await.context("the consumer has ended")??;
            latencies.push(sent.elapsed().as_secs_f64() * 1000.0);
            ack(&delivery).await?;
            confirm.await?;
        }
        Ok(crate::figures::median(latencies))
    }
}
