//! `[broker]`: which queues carry the work.

use super::{
    ConfigFaults, Document, Secret,
    broker_uri::{broker_uri_fault, is_by_certificate},
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub enum BrokerSettings {
    Embedded,
    Rabbitmq(RabbitmqServer),
}

#[derive(Debug, Clone)]
pub struct RabbitmqServer {
    pub uri: Secret,
    /// The key under which it was found.
    pub uri_key: &'static str,
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
    prefix: Option<String>,
    delivery_limit: Option<u32>,
    allow_plaintext: Option<bool>,
}

const DEFAULT_PREFIX: &str = "punte";
const DEFAULT_DELIVERY_LIMIT: u32 = 5;

pub(super) fn read(main: &mut Document, faults: &mut ConfigFaults) -> Option<BrokerSettings> {
    let mut written: Written = main.section("broker", faults)?;
    if matches!(written.kind, Kind::Rabbitmq) {
        written.prefix.get_or_insert_with(|| DEFAULT_PREFIX.into());
        written.delivery_limit.get_or_insert(DEFAULT_DELIVERY_LIMIT);
        written.allow_plaintext.get_or_insert(false);
    }
    main.remember("broker", &written);
    match written.kind {
        Kind::Embedded => {
            let given = [
                ("broker.uri", written.uri.is_some()),
                ("broker.uri_file", written.uri_file.is_some()),
                ("broker.ca", written.ca.is_some()),
                ("broker.certificate", written.certificate.is_some()),
                ("broker.key", written.key.is_some()),
                ("broker.prefix", written.prefix.is_some()),
                ("broker.delivery_limit", written.delivery_limit.is_some()),
                ("broker.allow_plaintext", written.allow_plaintext.is_some()),
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

fn rabbitmq(main: &mut Document, written: Written, faults: &mut ConfigFaults) -> Option<RabbitmqServer> {
    let uri = uri(main, &written, faults);
    check_files(uri.as_ref(), &written, main, faults);
    let prefix = written.prefix.unwrap_or_else(|| DEFAULT_PREFIX.into());
    if prefix == "amq" || prefix.starts_with("amq.") {
        let remedy = "take another one: RabbitMQ keeps names that begin with amq. for itself";
        faults.add(main.file(), "broker.prefix", "cannot be used", remedy);
    }
    let delivery_limit = written.delivery_limit.unwrap_or(DEFAULT_DELIVERY_LIMIT);
    if !(1..=1000).contains(&delivery_limit) {
        faults.add(main.file(), "broker.delivery_limit", "is out of range", "must be from 1 to 1000");
    }
    let mut file = |key, path: &Option<PathBuf>| path.as_ref().and_then(|path| main.existing(key, path, faults));
    Some(RabbitmqServer {
        ca: file("broker.ca", &written.ca),
        certificate: file("broker.certificate", &written.certificate),
        key: file("broker.key", &written.key),
        uri: uri?,
        uri_key: if written.uri_file.is_some() { "broker.uri_file" } else { "broker.uri" },
        prefix,
        delivery_limit,
        allow_plaintext: written.allow_plaintext.unwrap_or(false),
    })
}

/// Each is of use, and none is missing.
fn check_files(uri: Option<&Secret>, written: &Written, main: &Document, faults: &mut ConfigFaults) {
    let is_encrypted = uri.is_some_and(|uri| uri.reveal().starts_with("amqps://"));
    let files =
        [("broker.ca", &written.ca), ("broker.certificate", &written.certificate), ("broker.key", &written.key)];
    for (key, _) in files.iter().filter(|(_, path)| uri.is_some() && !is_encrypted && path.is_some()) {
        let problem = "is given, but nothing would be encrypted: the URI begins with amqp://";
        faults.add(main.file(), *key, problem, "write amqps:// in the URI, or remove it");
    }
    if is_encrypted && written.ca.is_none() {
        faults.add(main.file(), "broker.ca", "is missing", "name the PEM file of the broker's authority");
    }
    if written.certificate.is_some() != written.key.is_some() {
        faults.add(main.file(), "broker.key", "certificate and key go together", "name both, or none");
    }
    if uri.is_some_and(|uri| is_encrypted && is_by_certificate(uri.reveal())) && written.certificate.is_none() {
        let problem = "is missing, though the URI asks for `auth_mechanism=external`, which is by it";
        faults.add(main.file(), "broker.certificate", problem, "name certificate and key, or remove the parameter");
    }
    if is_encrypted && written.allow_plaintext == Some(true) {
        let problem = "is given, but the URI begins with amqps://: nothing is sent in plain text";
        faults.add(main.file(), "broker.allow_plaintext", problem, "remove it");
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn keys_that_would_have_no_effect_are_faults() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        for (section, keys) in [
            (
                "prefix = 'x'\ndelivery_limit = 5\nallow_plaintext = false",
                &["prefix", "delivery_limit", "allow_plaintext"][..],
            ),
            (
                "kind = 'rabbitmq'\nuri = 'amqp://localhost'\ncertificate = 'file'\nkey = 'file'",
                &["certificate", "key"],
            ),
            ("kind = 'rabbitmq'\nuri = 'amqps://localhost'\nca = 'file'\nallow_plaintext = true", &["allow_plaintext"]),
            ("kind = 'rabbitmq'\nuri = 'amqps://localhost/v?auth_mechanism=external'\nca = 'file'", &["certificate"]),
            ("kind = 'rabbitmq'\nuri = 'amqp://localhost'\nprefix = 'x'\ndelivery_limit = 6", &[]),
        ] {
            let mut faults = ConfigFaults::default();
            let file: &Path = &folder.path().join("punte.toml");
            let mut main = Document::parse(file, &format!("[broker]\n{section}"), &mut faults).unwrap();
            read(&mut main, &mut faults);
            let found: Vec<_> = faults.0.iter().map(|fault| fault.key.trim_start_matches("broker.")).collect();
            assert_eq!(found, keys, "{section}");
        }
    }
}
