//! Where PostgreSQL is: a URL comes in, a configuration goes out that cannot speak plain text to another machine unasked.

use crate::journal::JournalError;
use std::{net::IpAddr, time::Duration};
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    Plain,
    Tls,
}

pub struct Address {
    pub config: Config,
    pub security: Security,
    /// The schema that `search_path` names.
    pub schema: Option<String>,
}

/// No statement of the journal is slow enough to be worth compiling, and no other transaction holds its rows for long.
const SESSION: &str =
    "-c statement_timeout=30s -c lock_timeout=15s -c idle_in_transaction_session_timeout=60s -c jit=off";

pub fn unusable(remedy: &str) -> JournalError {
    JournalError::Unavailable(format!("the URL of PostgreSQL cannot be used: {remedy}"))
}

impl Address {
    /// The errors name no part of the URL: it may hold a password.
    pub fn parse(url: &str) -> Result<Self, JournalError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(unusable("it must begin with postgres://"));
        }
        let Parameters { rest, sslmode, schema } = Parameters::split(url)?;
        let mut config: Config = rest.parse().map_err(|_| unusable("it must be postgres://user@host:port/database"))?;
        let security = security(&config, sslmode.as_deref())?;
        config.ssl_mode(if security == Security::Tls { SslMode::Require } else { SslMode::Disable });
        config.options(session(&config, schema.as_deref()));
        if config.get_application_name().is_none() {
            config.application_name("punte");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(5));
        }
        config.tcp_user_timeout(Duration::from_secs(20));
        Ok(Self { config, security, schema })
    }
}

/// The two parameters that the client library does not know, and the URL without them.
struct Parameters {
    rest: String,
    sslmode: Option<String>,
    schema: Option<String>,
}

impl Parameters {
    fn split(url: &str) -> Result<Self, JournalError> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut others, mut sslmode, mut schema) = (Vec::new(), None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", mode)) => sslmode = Some(mode.to_owned()),
                Some(("search_path", name)) if is_schema_name(name) => schema = Some(name.to_owned()),
                Some(("search_path", _)) => {
                    return Err(unusable("search_path must be one name of a-z, 0-9 and _, at most 63 long"));
                }
                _ => others.push(pair),
            }
        }
        let rest = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        Ok(Self { rest, sslmode, schema })
    }
}

fn is_schema_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn security(config: &Config, sslmode: Option<&str>) -> Result<Security, JournalError> {
    match sslmode {
        Some("disable") => Ok(Security::Plain),
        Some("require" | "verify-full") => Ok(Security::Tls),
        Some(_) => Err(unusable("sslmode must be disable, require or verify-full")),
        None if is_this_machine(config) => Ok(Security::Plain),
        None => Err(unusable("it names another machine: add sslmode=verify-full, or sslmode=disable if you must")),
    }
}

fn is_this_machine(config: &Config) -> bool {
    let is_local = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
    };
    config.get_hosts().iter().all(is_local) && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

fn session(config: &Config, schema: Option<&str>) -> String {
    let mut options = SESSION.to_owned();
    if let Some(schema) = schema {
        options.push_str(&format!(" -c search_path={schema}"));
    }
    // Later settings win, so the URL's own options have the last word.
    if let Some(own) = config.get_options() {
        options.push_str(&format!(" {own}"));
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn security_of(url: &str) -> Option<Security> {
        Address::parse(url).ok().map(|address| address.security)
    }

    #[test]
    fn another_machine_is_never_spoken_to_in_plain_text_unasked() {
        assert_eq!(security_of("postgres://punte@db.example/punte"), None);
        assert_eq!(security_of("postgres://punte@localhost,db.example/punte"), None);
        assert_eq!(security_of("postgres://punte@localhost/punte?hostaddr=192.0.2.1"), None);
        assert_eq!(security_of("postgres://punte@db.example/punte?sslmode=prefer"), None);
        assert_eq!(security_of("postgres://punte@db.example/punte?sslmode=disable"), Some(Security::Plain));
        assert_eq!(security_of("postgres://punte@db.example/punte?sslmode=require"), Some(Security::Tls));
        assert_eq!(security_of("postgres://punte@db.example/punte?sslmode=verify-full"), Some(Security::Tls));
    }

    #[test]
    fn this_machine_may_be_spoken_to_in_plain_text() {
        for host in ["localhost", "127.0.0.1", "[::1]", "%2Frun%2Fpostgresql"] {
            assert_eq!(security_of(&format!("postgres://punte@{host}/punte")), Some(Security::Plain), "{host}");
        }
    }

    #[test]
    fn the_schema_is_a_plain_name_and_nothing_else() {
        let schema_of = |name: &str| Address::parse(&format!("postgres://u@localhost/p?search_path={name}"));
        assert_eq!(schema_of("bus_1").ok().and_then(|it| it.schema).as_deref(), Some("bus_1"));
        for bad in ["", "a,b", "a b", "a%20-c%20x=y", "A", "1a", "\"a\"", &"a".repeat(64)] {
            assert!(schema_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_error_shows_the_password() {
        for url in
            ["postgres://u:s3cret@db.example/p", "postgres://u:s3cret@:x/p", "s3cret", "postgres://u:s3cret@h?s3cret=1"]
        {
            let Err(error) = Address::parse(url) else { panic!("{url}") };
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
