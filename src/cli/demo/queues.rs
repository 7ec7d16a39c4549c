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
/// What lasts for so long is no passing state.
const MOMENT: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);

fn refused(why: &str) -> String {
    format!("RabbitMQ does not let the demo work: {}", of_the_demo(why))
}

/// The demo has no configuration: its address stands on the command line.
fn of_the_demo(why: &str) -> String {
    why.replace(", or in the file that broker.uri_file names", "").replace("broker.uri", "--broker")
}

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
            let health = broker.health();
            if matches!(health, BrokerHealth::Connected | BrokerHealth::Degraded(_)) {
                self.was_there.store(true, Ordering::Relaxed);
            }
            match health {
                BrokerHealth::Connected => return Ok(()),
                BrokerHealth::Blocked(why) => bail!("RabbitMQ takes no messages: {why}"),
                BrokerHealth::Degraded(why) if begun.elapsed() > MOMENT => bail!("{}", refused(&why)),
                BrokerHealth::Disconnected(why) if begun.elapsed() > PATIENCE => {
                    bail!("RabbitMQ cannot be reached by the URI given with --broker: {}", of_the_demo(&why))
                }
                BrokerHealth::Degraded(_) | BrokerHealth::Disconnected(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Ends when RabbitMQ has refused something for a moment; what it has said.
    pub async fn refusal(&self, broker: &dyn Broker) -> String {
        let mut since = None;
        loop {
            match broker.health() {
                BrokerHealth::Degraded(why) if since.get_or_insert_with(Instant::now).elapsed() > MOMENT => {
                    return refused(&why);
                }
                BrokerHealth::Degraded(_) => {}
                BrokerHealth::Connected | BrokerHealth::Blocked(_) | BrokerHealth::Disconnected(_) => since = None,
            }
            tokio::time::sleep(LOOK_EVERY).await;
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
