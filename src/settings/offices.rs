//! `offices.toml`: which certificate is which office, what it may use, and where it is told of answers.

use super::{ConfigFaults, Document, Effective, secret::origin};
use crate::domain::{DistinguishedName, Office, OfficeName, ServiceName};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub struct OfficeSettings {
    pub office: Office,
    pub title: String,
    pub certificates: Vec<CertificateMatch>,
    pub webhook: Option<WebhookSettings>,
}

/// What a certificate must have to be an office's. All that is given must hold; at least one thing is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateMatch {
    /// Lower-case hexadecimal SHA-256 of the DER certificate.
    pub fingerprint_sha256: Option<String>,
    /// The whole subject.
    pub subject: Option<DistinguishedName>,
    /// X.520 organizationIdentifier (2.5.4.97) of the subject.
    pub organization_identifier: Option<String>,
    /// One subject alternative name: a DNS name, a URI or a mail address.
    pub alternative_name: Option<String>,
    /// The serial number in lower-case hexadecimal without separators.
    pub serial_number: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    pub url: String,
    /// Each holds a Standard Webhooks secret (`whsec_…`), the first one signs first; more than one while they are rotated.
    pub secret_files: Vec<PathBuf>,
    /// Whether the address may be a private or loopback one.
    pub allow_private_addresses: bool,
    /// The authority of the webhook's server certificate, if it is not a public one. PEM.
    pub ca: Option<PathBuf>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    title: String,
    services: Vec<String>,
    #[serde(default = "default_requests_per_minute")]
    requests_per_minute: u32,
    certificates: Vec<MatchWritten>,
    webhook: Option<WebhookWritten>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct MatchWritten {
    fingerprint_sha256: Option<String>,
    /// RFC 4514 text, in the certificate's order.
    subject: Option<String>,
    organization_identifier: Option<String>,
    alternative_name: Option<String>,
    serial_number: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WebhookWritten {
    /// A path may be as good as a password.
    #[serde(serialize_with = "origin")]
    url: String,
    secret_files: Vec<PathBuf>,
    #[serde(default)]
    allow_private_addresses: bool,
    ca: Option<PathBuf>,
}

fn default_requests_per_minute() -> u32 {
    600
}

/// The offices; the values in effect, and what everybody could do to the file.
pub(super) fn read(
    mut document: Document,
    faults: &mut ConfigFaults,
) -> (Vec<OfficeSettings>, (Vec<Effective>, Vec<String>)) {
    let written = document.sections::<Written>("offices", faults);
    written.iter().for_each(|(name, it)| document.remember(&format!("offices.{name}"), it));
    let offices = written.into_iter().filter_map(|(name, it)| check(&document, &name, it, faults)).collect();
    (offices, document.finish(faults))
}

fn check(document: &Document, name: &str, written: Written, faults: &mut ConfigFaults) -> Option<OfficeSettings> {
    let key = |part: &str| format!("offices.{name}.{part}");
    let office_name = match name.parse::<OfficeName>() {
        Ok(office_name) => Some(office_name),
        Err(error) => {
            faults.add(document.file(), format!("offices.{name}"), error, "mend the name");
            None
        }
    };
    let mut services = std::collections::BTreeSet::new();
    for service in &written.services {
        match service.parse::<ServiceName>() {
            Ok(service) => drop(services.insert(service)),
            Err(error) => faults.add(document.file(), key("services"), error, "mend the name"),
        }
    }
    if written.certificates.is_empty() {
        faults.add(document.file(), key("certificates"), "is empty", "say how the office's certificate is recognised");
    }
    let certificates =
        written.certificates.into_iter().map(|it| check_match(document, &key("certificates"), it, faults)).collect();
    if written.requests_per_minute == 0 {
        faults.add(document.file(), key("requests_per_minute"), "is 0", "must be at least 1");
    }
    let webhook = match written.webhook {
        Some(webhook) => Some(check_webhook(document, &key("webhook"), webhook, faults)?),
        None => None,
    };
    Some(OfficeSettings {
        office: Office {
            name: office_name?,
            services,
            requests_per_minute: written.requests_per_minute,
            has_webhook: webhook.is_some(),
        },
        title: written.title,
        certificates,
        webhook,
    })
}

fn check_match(document: &Document, key: &str, it: MatchWritten, faults: &mut ConfigFaults) -> CertificateMatch {
    let given =
        [&it.fingerprint_sha256, &it.subject, &it.organization_identifier, &it.alternative_name, &it.serial_number];
    if given.iter().all(|part| part.is_none()) {
        faults.add(document.file(), key, "an entry matches every certificate", "give at least one property");
    }
    let texts = [
        ("subject", &it.subject),
        ("organization_identifier", &it.organization_identifier),
        ("alternative_name", &it.alternative_name),
    ];
    for (part, _) in texts.iter().filter(|(_, text)| text.as_deref().is_some_and(|text| text.trim().is_empty())) {
        faults.add(
            document.file(),
            key,
            format!("{part} is empty"),
            "give what the certificate has there, or remove it",
        );
    }
    let is_lower_hex = |text: &str| !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if it.fingerprint_sha256.as_ref().is_some_and(|text| text.len() != 64 || !is_lower_hex(text)) {
        faults.add(document.file(), key, "fingerprint_sha256 is no SHA-256", "write 64 lower-case hexadecimal digits");
    }
    if it.serial_number.as_ref().is_some_and(|text| !is_lower_hex(text.strip_prefix('-').unwrap_or(text))) {
        let remedy = "write lower-case hexadecimal digits, with a minus sign before them if the number is negative";
        faults.add(document.file(), key, "serial_number is no number", remedy);
    }
    let subject = it.subject.and_then(|text| match text.parse::<DistinguishedName>() {
        Ok(subject) => Some(subject),
        Err(error) => {
            let remedy = "write the subject in the certificate's order, such as \"C=MD, O=Town hall, CN=desk\"";
            faults.add(document.file(), key, format!("subject cannot be read: {error}"), remedy);
            None
        }
    });
    CertificateMatch {
        fingerprint_sha256: it.fingerprint_sha256,
        subject,
        organization_identifier: it.organization_identifier,
        alternative_name: it.alternative_name,
        serial_number: it.serial_number,
    }
}

fn check_webhook(
    document: &Document,
    key: &str,
    written: WebhookWritten,
    faults: &mut ConfigFaults,
) -> Option<WebhookSettings> {
    if !written.url.starts_with("https://") {
        faults.add(document.file(), format!("{key}.url"), "is not an https address", "webhooks go over TLS only");
    }
    if written.secret_files.is_empty() {
        let remedy = "name a file that holds a whsec_ secret, as `echo whsec_$(openssl rand -base64 32)` makes one";
        faults.add(document.file(), format!("{key}.secret_files"), "is empty", remedy);
    }
    // Whether these files can be used is for whoever posts there: a bad one stops this webhook and nothing else.
    Some(WebhookSettings {
        url: written.url,
        secret_files: written.secret_files.iter().map(|path| document.path(path)).collect(),
        allow_private_addresses: written.allow_private_addresses,
        ca: written.ca.map(|path| document.path(&path)),
    })
}
