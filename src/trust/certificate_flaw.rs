//! A parsed certificate comes in; what is wrong with its form, whoever has signed it, goes out by name.

use super::key_usage::names_of;
use crate::domain::lower_hex;
use std::collections::HashSet;
use x509_parser::prelude::{ParsedExtension, X509Certificate, X509Extension, X509Version};

/// Two programs would read such a certificate in two ways, or nobody can read it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CertificateFlaw {
    #[error("it is an X.509 certificate of version {0}, which says nothing of what it is for; version 3 is needed")]
    Version(u32),
    #[error("its list of extensions is empty")]
    NoExtensions,
    #[error("the extension {0} stands in it twice")]
    Repeated(String),
    #[error("its extension {0} is empty")]
    Empty(String),
    #[error("its extension {0} is malformed")]
    Malformed(String),
    #[error("its extension keyUsage names no use that is known")]
    NoUse,
}

const KEY_USAGE: &str = "2.5.29.15";

/// OID, name, whether it is a list that holds at least one thing, and whether it decides something here.
const KNOWN: &[(&str, &str, bool, bool)] = &[
    ("2.5.29.14", "subjectKeyIdentifier", false, true),
    (KEY_USAGE, "keyUsage", false, true),
    ("2.5.29.17", "subjectAltName", true, true),
    ("2.5.29.18", "issuerAltName", true, false),
    ("2.5.29.19", "basicConstraints", false, true),
    ("2.5.29.30", "nameConstraints", true, true),
    ("2.5.29.31", "cRLDistributionPoints", true, false),
    ("2.5.29.32", "certificatePolicies", true, false),
    ("2.5.29.35", "authorityKeyIdentifier", false, false),
    ("2.5.29.37", "extKeyUsage", true, true),
    ("1.3.6.1.5.5.7.1.1", "authorityInfoAccess", true, false),
];

/// All of them, the first one the worst.
pub(super) fn flaws_of(certificate: &X509Certificate<'_>) -> Vec<CertificateFlaw> {
    let mut flaws = Vec::new();
    if certificate.version() != X509Version::V3 {
        flaws.push(CertificateFlaw::Version(certificate.version().0.saturating_add(1)));
    }
    // Extensions are the last of what is signed: [3] with a SEQUENCE of nothing.
    if certificate.tbs_certificate.as_ref().ends_with(&[0xa3, 0x02, 0x30, 0x00]) {
        flaws.push(CertificateFlaw::NoExtensions);
    }
    let mut seen = HashSet::new();
    for extension in certificate.extensions() {
        if !seen.insert(extension.oid.to_id_string()) {
            flaws.push(CertificateFlaw::Repeated(name_of(extension)));
        }
        flaws.extend(flaw_of(extension));
    }
    flaws
}

fn flaw_of(extension: &X509Extension<'_>) -> Option<CertificateFlaw> {
    let oid = extension.oid.to_id_string();
    let known = KNOWN.iter().find(|(known, ..)| *known == oid);
    let (is_list, decides) = known.map_or((false, false), |(_, _, is_list, decides)| (*is_list, *decides));
    let is_empty = match extension.value {
        [] => true,
        [0x30, 0x00] => is_list,
        [0x04, 0x00] => oid == "2.5.29.14",
        _ => false,
    };
    match extension.parsed_extension() {
        _ if is_empty => Some(CertificateFlaw::Empty(name_of(extension))),
        ParsedExtension::KeyUsage(usage) if names_of(usage).is_empty() => Some(CertificateFlaw::NoUse),
        ParsedExtension::ParseError { .. } if decides => Some(CertificateFlaw::Malformed(name_of(extension))),
        _ => None,
    }
}

/// Its name in RFC 5280, or its OID.
fn name_of(extension: &X509Extension<'_>) -> String {
    let oid = extension.oid.to_id_string();
    match KNOWN.iter().find(|(known, ..)| *known == oid) {
        Some((_, name, ..)) => (*name).to_owned(),
        // An OID of more than its share is told by its bytes.
        None if oid.len() > 100 => lower_hex(&extension.oid.as_bytes()[..16]),
        None => oid,
    }
}
