//! The parameters of PostgreSQL's URL: a query comes in; one that would be misread, would count twice or would have no effect is
//! refused by its name, and what the client library has to know goes out.

use super::unusable::unusable;
use crate::journal::JournalError;
use std::{collections::BTreeSet, net::IpAddr, ops::RangeInclusive};

/// As far as they are not for the client library.
#[derive(Debug, Default)]
pub struct Parameters {
    /// For the library.
    pub others: Vec<String>,
    pub sslmode: Option<String>,
    pub schema: Option<String>,
    pub has_keepalives_idle: bool,
    /// One for each host, or one for all.
    pub ports: Vec<u16>,
    pub has_host: bool,
}

enum Takes {
    Text,
    Number(RangeInclusive<u32>),
    OneOf(&'static [&'static str]),
    /// Divided by commas; what each must be.
    Each(fn(&str) -> bool, &'static str),
}

/// All that are known, and what each takes.
const KNOWN: [(&str, Takes); 20] = [
    ("user", Takes::Text),
    ("password", Takes::Text),
    ("dbname", Takes::Text),
    ("host", Takes::Text),
    ("hostaddr", Takes::Each(|it| it.parse::<IpAddr>().is_ok(), "addresses, divided by commas")),
    (
        "port",
        Takes::Each(|it| it.parse().is_ok_and(|port: u16| port > 0), "numbers from 1 to 65535, divided by commas"),
    ),
    ("options", Takes::Text),
    ("application_name", Takes::Text),
    ("search_path", Takes::Text),
    ("sslmode", Takes::OneOf(&["disable", "require", "verify-full"])),
    ("sslnegotiation", Takes::OneOf(&["postgres"])),
    ("channel_binding", Takes::OneOf(&["disable", "prefer", "require"])),
    ("target_session_attrs", Takes::OneOf(&["any", "read-write"])),
    ("load_balance_hosts", Takes::OneOf(&["disable"])),
    ("connect_timeout", Takes::Number(1..=60)),
    // In seconds as all others here, and not in milliseconds as libpq's.
    ("tcp_user_timeout", Takes::Number(1..=600)),
    ("keepalives", Takes::Number(0..=1)),
    ("keepalives_idle", Takes::Number(1..=86_400)),
    ("keepalives_interval", Takes::Number(1..=3600)),
    ("keepalives_retries", Takes::Number(1..=100)),
];

impl Parameters {
    pub fn read(query: &str) -> Result<Self, JournalError> {
        let (mut read, mut seen) = (Self::default(), BTreeSet::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            // Without a value it may be the rest of a password.
            let (name, value) = pair.split_once('=').ok_or_else(|| unusable("it has a parameter without a value"))?;
            check(name, value)?;
            if !seen.insert(name) {
                return Err(unusable(&format!("{name} is given twice: keep one of the two")));
            }
            read.take(name, value)?;
        }
        Ok(read)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), JournalError> {
        match name {
            "sslmode" => self.sslmode = Some(value.to_owned()),
            "search_path" if is_schema_name(value) => self.schema = Some(value.to_owned()),
            "search_path" => return Err(unusable("search_path must be one name of a-z, 0-9 and _, at most 63 long")),
            // The library adds them to those of the address.
            "port" => self.ports = value.split(',').filter_map(|port| port.parse().ok()).collect(),
            // The library takes several for one.
            "host" => self.others.extend(value.split(',').map(|host| parameter(name, host))),
            _ => self.others.push(parameter(name, value)),
        }
        self.has_host |= name == "host";
        self.has_keepalives_idle |= name == "keepalives_idle";
        Ok(())
    }
}

/// The library takes all that stands before an `@`, wherever it is, for user and password.
fn parameter(name: &str, value: &str) -> String {
    format!("{name}={}", value.replace('@', "%40"))
}

fn check(name: &str, value: &str) -> Result<(), JournalError> {
    if let Some(remedy) = of_others(name) {
        return Err(unusable(remedy));
    }
    let Some((_, takes)) = KNOWN.iter().find(|(known, _)| *known == name) else { return Err(unknown(name)) };
    let wanted = match takes {
        Takes::Text => return Ok(()),
        Takes::Number(range) if value.parse().is_ok_and(|number: u32| range.contains(&number)) => return Ok(()),
        Takes::OneOf(words) if words.contains(&value) => return Ok(()),
        Takes::Each(fits, _) if value.split(',').all(fits) => return Ok(()),
        Takes::Number(range) => format!("a number from {} to {}", range.start(), range.end()),
        Takes::OneOf(words) => words.join(" or "),
        Takes::Each(_, wanted) => (*wanted).to_owned(),
    };
    Err(unusable(&format!("{name} must be {wanted}")))
}

/// The name is shown only if it is one: it may be the rest of a password.
fn unknown(name: &str) -> JournalError {
    let is_name = name.len() < 40 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let name = if is_name && !name.is_empty() { name } else { "one whose name is no word" };
    let known: Vec<_> = KNOWN.iter().map(|(name, _)| *name).collect();
    unusable(&format!("it has a parameter that is not known here: {name}; known are {}", known.join(", ")))
}

/// Parameters that people know from other programs.
fn of_others(name: &str) -> Option<&'static str> {
    match name {
        "sslrootcert" => Some("sslrootcert is not known here: name the file in [journal] ca"),
        "passfile" => Some("passfile is not known here: name the file in [journal] passfile"),
        "sslcert" | "sslkey" | "sslpassword" | "sslcertmode" => {
            Some("sslcert and sslkey are not known here: the journal's user has a password and no certificate")
        }
        "sslcrl" | "sslcrldir" => Some("sslcrl is not known here: remove it"),
        "service" | "servicefile" => Some("service is not known here: write the whole address into the URL"),
        "gssencmode" | "krbsrvname" | "gsslib" | "require_auth" | "requirepeer" => {
            Some("GSSAPI and peer authentication are not known here: remove the parameter, and use a password")
        }
        "keepalives_count" => Some("keepalives_count is called keepalives_retries here"),
        "schema" | "currentSchema" => Some("a schema is named with search_path here"),
        "pgbouncer" => Some("pgbouncer is not known here: remove it; a pooler is found out"),
        "client_encoding" => Some("client_encoding is not known here: remove it; it is always UTF-8"),
        _ => None,
    }
}

fn is_schema_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_misread_or_has_no_effect_is_named_with_what_would_do() {
        for (query, words) in [
            ("target_session_attrs=primary", "target_session_attrs must be any or read-write"),
            ("connect_timeout=5s", "connect_timeout must be a number from 1 to 60"),
            ("connect_timeout=0", "connect_timeout must be a number from 1 to 60"),
            ("connect_timeout=", "connect_timeout must be a number from 1 to 60"),
            ("tcp_user_timeout=10000", "tcp_user_timeout must be a number from 1 to 600"),
            ("port=5432,x", "port must be numbers"),
            ("port=0", "port must be numbers from 1"),
            ("hostaddr=db.example", "hostaddr must be addresses"),
            ("keepalives_count=3", "keepalives_retries"),
            ("load_balance_hosts=random", "load_balance_hosts must be disable"),
            ("sslnegotiation=direct", "sslnegotiation must be postgres"),
            ("sslmode=verify-full&sslmode=disable", "sslmode is given twice"),
            ("pgbouncer=true", "pgbouncer"),
            ("schema=x", "search_path"),
            ("client_encoding=utf8", "always UTF-8"),
            ("no_such=1", "not known here: no_such; known are user, "),
            ("password=a&secret", "a parameter without a value"),
            ("S3cret=1", "one whose name is no word"),
            ("=1", "one whose name is no word"),
        ] {
            let error = Parameters::read(query).unwrap_err().to_string();
            assert!(
                error.contains(words) && !error.contains(" secret") && !error.to_lowercase().contains("s3cret"),
                "{query}: {error}"
            );
        }
    }

    #[test]
    fn empty_pieces_are_passed_over_and_an_at_sign_stays_in_its_value() {
        let read = Parameters::read("&password=p@ss&&host=a,b&").unwrap();
        assert_eq!(read.others, ["password=p%40ss", "host=a", "host=b"]);
    }
}
