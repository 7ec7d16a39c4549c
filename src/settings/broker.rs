//! `[broker]`: which queues carry the work.

use super::{ConfigFaults, Document, Secret, address::fault_of_form};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub enum BrokerSettings {
    Embedded,
    Rabbitmq(RabbitmqPlace),
}

#[derive(Debug, Clone)]
pub struct RabbitmqPlace {
    pub uri: Secret,
    /// For `amqps`: the broker's authority and our certificate and key, PEM.
    pub ca: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// What all exchanges' and queues' names begin with.
    pub prefix: String,
    /// How often a message may come back unsettled before it goes to the dead letters.
    pub delivery_limit: u32,
    /// Allows `amqp://`, unencrypted, to another machine.
    pub allow_plaintext: bool,
}

#[derive(Deserialize, Serialize, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Embedded,
    Rabbitmq,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    kind: Kind,
    uri: Option<Secret>,
    uri_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    #[serde(default = "default_prefix")]
    prefix: String,
    #[serde(default = "default_delivery_limit")]
    delivery_limit: u32,
    #[serde(default)]
    allow_plaintext: bool,
}

fn default_prefix() -> String {
    "punte".into()
}
fn default_delivery_limit() -> u32 {
    5
}

pub(super) fn read(main: &mut Document, faults: &mut ConfigFaults) -> Option<BrokerSettings> {
    let written: Written = main.effective_section("broker", faults)?;
    match written.kind {
        Kind::Embedded => {
            let given = [
                ("broker.uri", written.uri.is_some()),
                ("broker.uri_file", written.uri_file.is_some()),
                ("broker.ca", written.ca.is_some()),
                ("broker.certificate", written.certificate.is_some()),
                ("broker.key", written.key.is_some()),
            ];
            for (key, _) in given.iter().filter(|(_, is_given)| *is_given) {
                faults.add(
                    main.file(),
                    *key,
                    "is of use only with RabbitMQ",
                    "write kind = \"rabbitmq\", or remove it",
                );
            }
            Some(BrokerSettings::Embedded)
        }
        Kind::Rabbitmq => rabbitmq(main, written, faults).map(BrokerSettings::Rabbitmq),
    }
}

fn rabbitmq(main: &mut Document, written: Written, faults: &mut ConfigFaults) -> Option<RabbitmqPlace> {
    let uri = uri(main, &written, faults);
    let is_encrypted = uri.as_ref().is_some_and(|uri| uri.reveal().starts_with("amqps://"));
    if uri.is_some() && !is_encrypted && written.ca.is_some() {
        let problem = "is given, but nothing would be encrypted: the URI begins with amqp://";
        faults.add(main.file(), "broker.ca", problem, "write amqps:// in the URI, or remove ca");
    }
    if written.prefix == "amq" || written.prefix.starts_with("amq.") {
        let remedy = "take another one: RabbitMQ keeps names that begin with amq. for itself";
        faults.add(main.file(), "broker.prefix", "cannot be used", remedy);
    }
    if is_encrypted && written.ca.is_none() {
        faults.add(main.file(), "broker.ca", "is missing", "name the PEM file of the broker's authority");
    }
    if written.certificate.is_some() != written.key.is_some() {
        faults.add(main.file(), "broker.key", "certificate and key go together", "name both, or none");
    }
    if !(1..=1000).contains(&written.delivery_limit) {
        faults.add(main.file(), "broker.delivery_limit", "is out of range", "must be from 1 to 1000");
    }
    let mut file = |key, path: &Option<PathBuf>| path.as_ref().and_then(|path| main.existing(key, path, faults));
    Some(RabbitmqPlace {
        ca: file("broker.ca", &written.ca),
        certificate: file("broker.certificate", &written.certificate),
        key: file("broker.key", &written.key),
        uri: uri?,
        prefix: written.prefix,
        delivery_limit: written.delivery_limit,
        allow_plaintext: written.allow_plaintext,
    })
}

fn uri(main: &mut Document, written: &Written, faults: &mut ConfigFaults) -> Option<Secret> {
    if written.uri.is_some() && written.uri_file.is_some() {
        let problem = "is given twice: in uri and in uri_file";
        faults.add(main.file(), "broker.uri", problem, "keep one of the two (the environment counts as well)");
        return None;
    }
    let uri = match (&written.uri, &written.uri_file) {
        (Some(uri), None) => Some(uri.clone()),
        (None, Some(path)) => Some(main.secret("broker.uri_file", path, faults)?),
        _ => None,
    };
    if let Some((problem, remedy)) = uri.as_ref().and_then(|uri| broker_uri_fault(uri.reveal())) {
        let key = if written.uri.is_some() { "broker.uri" } else { "broker.uri_file" };
        faults.add(main.file(), key, problem, remedy);
        return None;
    }
    let uri = uri.filter(|uri| uri.reveal().starts_with("amqp://") || uri.reveal().starts_with("amqps://"));
    if uri.is_none() {
        let remedy = "name the broker in exactly one of uri and uri_file, as amqps://USER:PASSWORD@HOST/VHOST";
        faults.add(main.file(), "broker.uri", "is missing or cannot be used", remedy);
    }
    uri
}

/// What is wrong with the form of RabbitMQ's address, and the way out. Neither shows any part of it.
pub fn broker_uri_fault(uri: &str) -> Option<(String, String)> {
    if let Some((problem, remedy)) = fault_of_form(uri) {
        return Some((problem.to_owned(), remedy.to_owned()));
    }
    let problem = format!("has a parameter that is not known here: {}", unknown_parameter(uri)?);
    Some((problem, format!("remove it; known are: {}", PARAMETERS.join(", "))))
}

const PARAMETERS: [&str; 5] = ["frame_max", "channel_max", "heartbeat", "connection_timeout", "auth_mechanism"];

/// The client library passes over what it does not know. Only the name is shown, and only if it is one.
fn unknown_parameter(uri: &str) -> Option<String> {
    let (_, query) = uri.split_once('?')?;
    let mut names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default());
    let unknown = names.find(|name| !PARAMETERS.contains(name))?;
    let is_name = unknown.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    Some(if is_name && unknown.len() < 40 { format!("`{unknown}`") } else { "its name is no word".into() })
}
