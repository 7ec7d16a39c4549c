//! RabbitMQ's address: its text comes in; what is wrong with it, or would be passed over by the client library, goes out with the
//! way out, without any part of the text itself.

use super::address::{fault_of_form, is_percent_encoded};
use std::{collections::BTreeSet, ops::RangeInclusive};

/// The problem and the remedy.
pub fn broker_uri_fault(uri: &str) -> Option<(String, String)> {
    let owned = |(problem, remedy): (&str, &str)| (problem.to_owned(), remedy.to_owned());
    let of_form = fault_of_form(uri).or_else(|| fault_of_host(uri)).or_else(|| fault_of_virtual_host(uri));
    let of_form = of_form.or_else(|| fault_of_password(uri)).or_else(|| fault_of_mechanism(uri));
    of_form.map(owned).or_else(|| fault_of_parameters(uri))
}

/// What stands between the scheme and the virtual host, and the parameters.
fn parts(uri: &str) -> (&str, &str) {
    let rest = uri.split_once("://").map_or("", |(_, rest)| rest);
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    (before.split('/').next().unwrap_or_default(), query)
}

/// The client library takes a list for one name, and this machine in the place of none.
fn fault_of_host(uri: &str) -> Option<(&'static str, &'static str)> {
    let authority = uri.contains("://").then(|| parts(uri).0)?;
    let host = authority.rsplit('@').next().unwrap_or_default();
    match host {
        _ if host.contains(',') => Some(("names several hosts", "name one only: a load balancer, or one node")),
        _ if host.is_empty() || host.starts_with(':') => {
            Some(("names no host", "write amqps://USER:PASSWORD@HOST/VHOST"))
        }
        _ if host.rsplit_once(':').is_some_and(|(_, port)| port.parse() == Ok(0)) => {
            Some(("names port 0, at which nobody listens", "name the broker's port, or leave it out"))
        }
        _ => None,
    }
}

/// What stands after the `/` is the name, and no broker has a virtual host without one (AMQP URI specification, appendix A).
fn fault_of_virtual_host(uri: &str) -> Option<(&'static str, &'static str)> {
    let (_, rest) = uri.split_once("://")?;
    let address = rest.split('?').next().unwrap_or_default();
    let vhost = address.split_once('/').map(|(_, vhost)| vhost)?;
    if !is_percent_encoded(vhost) || vhost.contains("%00") {
        return Some((
            "names a virtual host with a % that begins no percent-encoded character of a name",
            "write % itself as %25, and / as %2f",
        ));
    }
    vhost.is_empty().then_some((
        "names the virtual host with the empty name",
        "leave out the / at the end, or write /%2f, for the virtual host `/`; or name another",
    ))
}

/// The certificate is that of TLS.
fn fault_of_mechanism(uri: &str) -> Option<(&'static str, &'static str)> {
    (uri.starts_with("amqp://") && is_by_certificate(uri)).then_some((
        "asks for `auth_mechanism=external`, which is by a certificate of TLS, and amqp:// has none",
        "write amqps:// and name broker.certificate and broker.key, or remove the parameter and give user and password",
    ))
}

pub(super) fn is_by_certificate(uri: &str) -> bool {
    parts(uri).1.split('&').any(|pair| pair.eq_ignore_ascii_case("auth_mechanism=external"))
}

/// The client library takes `guest` in the place of a user or a password that is not there.
fn fault_of_password(uri: &str) -> Option<(&'static str, &'static str)> {
    let (authority, _) = parts(uri);
    let (credentials, _) = authority.rsplit_once('@')?;
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let is_whole = is_by_certificate(uri) || !(user.is_empty() || password.is_empty());
    (!is_whole).then_some(("lacks the user or the password", "write amqps://USER:PASSWORD@HOST/VHOST"))
}

enum Takes {
    Number(RangeInclusive<u32>),
    OneOf(&'static [&'static str]),
}

/// What the client library heeds. Below this `frame_max` RabbitMQ 4 ends the connection; without heartbeats a broken one would
/// not be found out.
const PARAMETERS: [(&str, Takes); 3] = [
    ("heartbeat", Takes::Number(1..=600)),
    ("frame_max", Takes::Number(8192..=131_072)),
    ("auth_mechanism", Takes::OneOf(&["plain", "external"])),
];

/// The client library passes over what it does not know, and all but the first of what is given twice.
fn fault_of_parameters(uri: &str) -> Option<(String, String)> {
    let mut seen = BTreeSet::new();
    let (_, query) = parts(uri);
    query.split('&').filter(|pair| !pair.is_empty()).find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some((name, takes)) = PARAMETERS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<_> = PARAMETERS.iter().map(|(name, _)| *name).collect();
            let problem = format!("has a parameter that is not known here: {}", shown(pair));
            return Some((problem, format!("remove it; known are: {}", known.join(", "))));
        };
        if !seen.insert(*name) {
            return Some((format!("has `{name}` twice"), "keep one of the two".into()));
        }
        let wanted = takes.refuses(value)?;
        Some((format!("`{name}` must be {wanted}"), "mend its value, or remove it".into()))
    })
}

/// Only a name, and only if it is one: what has no value may be the rest of a password.
fn shown(pair: &str) -> String {
    let is_name = |name: &&str| {
        (1..40).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let name = pair.split_once('=').map(|(name, _)| name).filter(is_name);
    name.map_or_else(|| "its name is no word".into(), |name| format!("`{name}`"))
}

impl Takes {
    /// What it takes, if not this.
    fn refuses(&self, value: &str) -> Option<String> {
        match self {
            Takes::Number(range) => {
                let fits = value.parse().is_ok_and(|number: u32| range.contains(&number));
                (!fits).then(|| format!("a number from {} to {}", range.start(), range.end()))
            }
            Takes::OneOf(words) => {
                let fits = words.iter().any(|word| word.eq_ignore_ascii_case(value));
                (!fits).then(|| words.join(" or "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(uri: &str) -> String {
        broker_uri_fault(uri).map(|(problem, remedy)| format!("{problem} → {remedy}")).unwrap_or_default()
    }

    #[test]
    fn what_the_client_library_would_pass_over_is_a_fault_in_words() {
        for (uri, words) in [
            ("amqp://h/v?connection_timeout=5", "not known here: `connection_timeout`"),
            ("amqp://h/v?channel_max=1", "not known here: `channel_max`"),
            ("amqp://h/v?s3cret", "its name is no word"),
            ("amqp://h/v?=1", "its name is no word"),
            ("amqp://h/v?heartbeat=abc", "`heartbeat` must be a number from 1 to 600"),
            ("amqp://h/v?heartbeat=70000", "`heartbeat` must be a number from 1 to 600"),
            ("amqp://h/v?heartbeat=0", "`heartbeat` must be a number from 1 to 600"),
            ("amqp://h/v?frame_max=64", "`frame_max` must be a number from 8192"),
            ("amqp://h/v?auth_mechanism=x", "`auth_mechanism` must be plain or external"),
            ("amqp://h/v?heartbeat=5&heartbeat=6", "has `heartbeat` twice"),
            ("amqps://u:s3cret@mq1,mq2:5671/v", "one only"),
            ("amqp:///v", "names no host"),
            ("amqp://u:s3cret@:5672/v", "names no host"),
            ("amqp://u:s3cret@h:0/v", "names port 0"),
            ("amqp://u:s3cret@h/%zz", "begins no percent-encoded character"),
            ("amqp://u:s3cret@h/%00", "begins no percent-encoded character"),
            ("amqp://u:s3cret@h/", "virtual host with the empty name"),
            ("amqp://h/?heartbeat=5", "write /%2f"),
            ("amqp://u:s3cret@h/v?auth_mechanism=external", "amqp:// has none"),
            ("amqp://clerk@h/v", "lacks the user or the password"),
            ("amqp://clerk:@h/v", "lacks the user or the password"),
            ("amqp://:s3cret@h/v", "lacks the user or the password"),
        ] {
            let told = told(uri);
            assert!(told.contains(words) && !told.contains("s3cret") && !told.contains("clerk"), "{uri}: {told}");
        }
        for good in [
            "amqp://h/v?",
            "amqp://h/v?heartbeat=5&",
            "amqp://h",
            "amqp://u:p@h/%2f",
            "amqp://h/v?&&frame_max=8192&auth_mechanism=PLAIN",
            "amqps://clerk@h/v?auth_mechanism=EXTERNAL",
            "amqp://[::1]:5672/v",
        ] {
            assert_eq!(told(good), "", "{good}");
        }
    }
}
