//! How to reach RabbitMQ: settings come in as given, a target that is safe to connect to goes out.

use super::names::Names;
use lapin::uri::{AMQPScheme, AMQPUri};
use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

/// `Debug` shows neither the URI's password nor its user.
#[derive(Clone)]
pub struct RabbitmqSettings {
    /// `amqps://user:password@host:port/vhost`; the vhost is percent-encoded (`%2f` is the default one).
    pub uri: String,
    /// Our trust anchors and client certificate. Required for `amqps`; the system's trust store is never used.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Allows `amqp` (no encryption) to a host that is not this machine.
    pub allow_plaintext: bool,
    /// The first part of every name in RabbitMQ.
    pub prefix: String,
    /// How often a message may come back unsettled before it is a dead letter.
    pub delivery_limit: u32,
    pub connect_timeout: Duration,
    /// How long a batch of publishes may wait for its confirms.
    pub confirm_timeout: Duration,
    pub heartbeat_secs: u16,
    /// After how long without a message a consumer begins anew, in case the broker has forgotten it.
    pub renew_idle_consumers_after: Duration,
    pub reconnect_after_at_least: Duration,
    pub reconnect_after_at_most: Duration,
    /// Whose prefix this is: the journal's identity. `None`: nobody asks.
    pub identity: Option<String>,
    pub peers: Peers,
}

/// Other processes of the same installation, and what they and this one have to tell each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peers {
    /// There is none.
    None,
    /// They are told what happens here.
    Told,
    /// And somebody here waits for what happens there.
    ToldAndHeard,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The text never repeats the URI, which may hold a password.
    #[error("the broker's URI is not of the form amqps://user:password@host:port/vhost")]
    Uri,
    #[error("the broker's URI holds an IPv6 address, which is not understood there: use a host name")]
    Ipv6Address,
    #[error("amqps needs a trust anchor of ours and a client certificate, and none is configured")]
    TlsMissing,
    #[error("amqp to `{0}` would send the password in plain text: use amqps, or set broker.allow_plaintext = true")]
    PlaintextRefused(String),
    #[error("`{0}` cannot be a prefix of names: 1 to 64 of a-z, A-Z, 0-9, `.`, `_` and `-`")]
    Prefix(String),
}

/// lapin keeps room for 64 frames a connection, and lets go of it when the connection breaks. Of RabbitMQ's own 128 KiB that
/// would be 8 MiB, and our messages are smaller than one KiB.
const FRAME_MAX_BYTES: u32 = 16 << 10;

/// Settings that have been checked.
#[derive(Clone)]
pub(super) struct Target {
    pub uri: AMQPUri,
    pub tls: Option<Arc<rustls::ClientConfig>>,
    pub names: Names,
    pub settings: RabbitmqSettings,
}

impl RabbitmqSettings {
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            tls: None,
            allow_plaintext: false,
            prefix: "punte".into(),
            delivery_limit: 5,
            connect_timeout: Duration::from_secs(10),
            confirm_timeout: Duration::from_secs(10),
            heartbeat_secs: 20,
            renew_idle_consumers_after: Duration::from_secs(60),
            reconnect_after_at_least: Duration::from_millis(200),
            reconnect_after_at_most: Duration::from_secs(3),
            identity: None,
            peers: Peers::ToldAndHeard,
        }
    }

    /// Whether a broker could be started with them.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.clone().checked().map(drop)
    }

    pub(super) fn checked(self) -> Result<Target, SettingsError> {
        let mut uri: AMQPUri = self.uri.parse().map_err(|_| SettingsError::Uri)?;
        if has_ipv6_address(&self.uri) {
            return Err(SettingsError::Ipv6Address);
        }
        let names = Names::new(&self.prefix).ok_or_else(|| SettingsError::Prefix(self.prefix.clone()))?;
        uri.query.heartbeat.get_or_insert(self.heartbeat_secs);
        uri.query.frame_max.get_or_insert(FRAME_MAX_BYTES);
        let host = &uri.authority.host;
        let tls = match uri.scheme {
            AMQPScheme::AMQPS => Some(self.tls.clone().ok_or(SettingsError::TlsMissing)?),
            AMQPScheme::AMQP if self.allow_plaintext || is_loopback(host) => None,
            AMQPScheme::AMQP => return Err(SettingsError::PlaintextRefused(host.clone())),
        };
        Ok(Target { uri, tls, names, settings: self })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// lapin's parser puts `localhost` in the place of such an address, without a word.
fn has_ipv6_address(uri: &str) -> bool {
    let after_scheme = uri.split_once("://").map_or("", |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().is_some_and(|host| host.starts_with('['))
}

impl fmt::Debug for RabbitmqSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = self.uri.parse::<AMQPUri>().ok();
        let shown = uri.map(|uri| format!("{}://{}:{}", uri.scheme, uri.authority.host, uri.authority.port));
        f.debug_struct("RabbitmqSettings").field("uri", &shown).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(uri: &str) -> Option<SettingsError> {
        RabbitmqSettings::new(uri).checked().err()
    }

    #[test]
    fn plaintext_goes_to_this_machine_only_unless_it_is_allowed() {
        for ours in ["amqp://localhost/%2f", "amqp://127.0.0.1:1/%2f", "amqp://127.8.0.1"] {
            assert_eq!(fault(ours), None, "{ours}");
        }
        for theirs in ["amqp://broker.example", "amqp://10.0.0.1", "amqp://localhost.example"] {
            assert!(matches!(fault(theirs), Some(SettingsError::PlaintextRefused(_))), "{theirs}");
        }
        let allowed = RabbitmqSettings { allow_plaintext: true, ..RabbitmqSettings::new("amqp://broker.example") };
        assert!(allowed.checked().is_ok());
    }

    #[test]
    fn amqps_without_a_tls_configuration_is_refused() {
        assert_eq!(fault("amqps://localhost"), Some(SettingsError::TlsMissing));
    }

    #[test]
    fn a_bad_uri_or_prefix_is_refused_without_repeating_the_password() {
        for bad in ["", "http://user:geheim@localhost", "amqp://user:geheim@localhost:x", "nonsense"] {
            assert_eq!(fault(bad), Some(SettingsError::Uri), "{bad}");
        }
        let bad = RabbitmqSettings { prefix: "a b".into(), ..RabbitmqSettings::new("amqp://localhost") };
        assert_eq!(bad.checked().err(), Some(SettingsError::Prefix("a b".into())));
    }

    #[test]
    fn an_ipv6_address_is_refused_rather_than_taken_for_this_machine() {
        for uri in ["amqp://[fe80::1]", "amqps://user:pass@[::1]:5671/%2f"] {
            assert_eq!(fault(uri), Some(SettingsError::Ipv6Address), "{uri}");
        }
    }

    #[test]
    fn debug_prints_no_secret() {
        let printed = format!("{:?}", RabbitmqSettings::new("amqp://clerk:geheim@localhost:1/%2f"));
        assert!(printed.contains("localhost:1") && !printed.contains("geheim") && !printed.contains("clerk"));
    }
}
