//! The demo's own queues in somebody's RabbitMQ: a URI comes in; names of their own, a check that the broker is there, and
//! their removal go out.

use crate::{
    broker::{
        Broker, BrokerError, BrokerHealth,
        rabbitmq::{RabbitmqSettings, SettingsError, TO_TLS_PORT, remove},
    },
    domain::AgencyName,
    settings::broker_uri_fault,
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
    // Nor has it certificates.
    let why = why.replace(PLAIN_ONLY.0, PLAIN_ONLY.1);
    why.replace(", or in the file that broker.uri_file names", "").replace("broker.uri", "--broker")
}

/// What the bus advises, and what it comes to here.
const PLAIN_ONLY: (&str, &str) =
    (TO_TLS_PORT, "the demo speaks to the plain port alone, having no certificates: name that one with --broker");

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
    // Found here, it is about the option, and not about a file that the demo writes.
    if let Some((problem, remedy)) = broker_uri_fault(text) {
        return Err(format!("{problem}; {remedy}"));
    }
    let settings = RabbitmqSettings::new(text);
    settings.check().map(|()| text.to_owned()).map_err(|error| match error {
        SettingsError::PlaintextRefused(host) => {
            format!("amqp to `{host}` would send the password in plain text: name a RabbitMQ of this machine")
        }
        error => error.to_string().replace("amqps://", "amqp://"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_bus_advises_is_told_as_far_as_the_demo_can_follow_it() {
        let told = of_the_demo(&format!("nobody listens: is broker.uri right? amqp:// is plain: {TO_TLS_PORT}"));
        assert!(!told.contains("broker.") && !told.contains("amqps://"), "{told}");
        assert!(told.contains("is --broker right?") && told.contains("the plain port alone"), "{told}");
    }

    #[test]
    fn only_a_plain_uri_to_this_machine_is_taken() {
        assert!(amqp_uri("amqp://guest:guest@localhost:5672/%2f").is_ok());
        for bad in ["amqp://guest:p@ss@localhost/%2f", "amqp://guest:50%@localhost", "amqp://localhost?frame_max=1&x=1"]
        {
            let told = amqp_uri(bad).unwrap_err();
            assert!(!told.contains("p@ss") && !told.contains("broker.uri"), "{told}");
        }
        for bad in ["amqps://localhost", "localhost:5672", "http://localhost", "amqp://broker.example"] {
            assert!(amqp_uri(bad).is_err(), "{bad}");
        }
    }
}
