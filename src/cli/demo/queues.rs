//! The demo's own queues in somebody's RabbitMQ: a URI comes in; names of their own, a check that the broker is there, and
//! their removal go out.

use crate::{
    broker::{
        Broker, BrokerError, BrokerHealth,
        rabbitmq::{RabbitmqSettings, remove},
    },
    domain::AgencyName,
};
use anyhow::{Result, bail};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

pub struct Queues {
    pub uri: String,
    /// What all their names begin with: new each time, so that two demos do not meet.
    pub prefix: String,
    was_there: AtomicBool,
}

const PATIENCE: Duration = Duration::from_secs(5);

impl Queues {
    pub fn new(uri: String) -> Self {
        Self {
            uri,
            prefix: format!("punte-demo-{:06x}", rand::random::<u32>() & 0xff_ffff),
            was_there: AtomicBool::new(false),
        }
    }

    /// The bus itself would wait for a broker as long as it takes; who watches a demo would rather know.
    pub async fn wait_for(&self, broker: &dyn Broker) -> Result<()> {
        let begun = Instant::now();
        loop {
            match broker.health() {
                BrokerHealth::Connected => {
                    self.was_there.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                BrokerHealth::Blocked(why) => bail!("RabbitMQ takes no messages: {why}"),
                BrokerHealth::Disconnected(why) if begun.elapsed() > PATIENCE => {
                    bail!("RabbitMQ cannot be reached by the URI given with --broker: {why}")
                }
                BrokerHealth::Disconnected(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Whether there was anything to remove.
    pub async fn remove(&self, agencies: &[AgencyName]) -> Result<bool, BrokerError> {
        if !self.was_there.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let settings = RabbitmqSettings { prefix: self.prefix.clone(), ..RabbitmqSettings::new(&self.uri) };
        remove(settings, agencies).await.map(|()| true)
    }
}

/// Never repeats the URI, which holds a password.
pub fn amqp_uri(text: &str) -> Result<String, String> {
    if text.starts_with("amqps://") {
        return Err("the demo has no certificates for amqps; name it in the configuration of `punte serve`".into());
    }
    let settings = RabbitmqSettings::new(text);
    settings.check().map(|()| text.to_owned()).map_err(|error| error.to_string().replace("amqps://", "amqp://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_uri_to_this_machine_is_taken() {
        assert!(amqp_uri("amqp://guest:guest@localhost:5672/%2f").is_ok());
        for bad in ["amqps://localhost", "localhost:5672", "http://localhost", "amqp://broker.example"] {
            assert!(amqp_uri(bad).is_err(), "{bad}");
        }
    }
}
