//! One attribute of a name: its type, an OID that people write by a short name, and its value.

use super::Value;
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attribute {
    /// In dotted form.
    pub oid: String,
    pub value: Value,
}

/// OID, the name that is printed, and other names of the same.
const KNOWN: &[(&str, &str, &[&str])] = &[
    ("2.5.4.3", "CN", &["commonName"]),
    ("2.5.4.4", "surname", &["SN"]),
    ("2.5.4.5", "serialNumber", &[]),
    ("2.5.4.6", "C", &["countryName"]),
    ("2.5.4.7", "L", &["localityName"]),
    ("2.5.4.8", "ST", &["S", "stateOrProvinceName"]),
    ("2.5.4.9", "streetAddress", &["street"]),
    ("2.5.4.10", "O", &["organizationName"]),
    ("2.5.4.11", "OU", &["organizationalUnit", "organizationalUnitName"]),
    ("2.5.4.12", "title", &["T"]),
    ("2.5.4.13", "description", &[]),
    ("2.5.4.15", "businessCategory", &[]),
    ("2.5.4.16", "postalAddress", &[]),
    ("2.5.4.17", "postalCode", &[]),
    ("2.5.4.20", "telephoneNumber", &[]),
    ("2.5.4.41", "name", &[]),
    ("2.5.4.42", "givenName", &["GN", "G"]),
    ("2.5.4.43", "initials", &[]),
    ("2.5.4.44", "generationQualifier", &[]),
    ("2.5.4.45", "uniqueIdentifier", &["x500UniqueIdentifier"]),
    ("2.5.4.46", "dnQualifier", &[]),
    ("2.5.4.65", "pseudonym", &[]),
    ("2.5.4.97", "organizationIdentifier", &[]),
    ("0.9.2342.19200300.100.1.1", "UID", &["userId"]),
    ("0.9.2342.19200300.100.1.25", "DC", &["domainComponent"]),
    ("1.2.840.113549.1.9.1", "emailAddress", &["Email", "E"]),
    ("1.2.840.113549.1.9.2", "unstructuredName", &[]),
];

/// The OID of a type as people write it: a short name, `2.5.4.97`, `OID.2.5.4.97` or `OID(2.5.4.97)`.
pub(super) fn oid_of(written: &str) -> Option<String> {
    let is = |name: &str| name.eq_ignore_ascii_case(written);
    if let Some((oid, _, _)) = KNOWN.iter().find(|(_, name, others)| is(name) || others.iter().any(|other| is(other))) {
        return Some((*oid).to_owned());
    }
    let prefix = written.get(..4).filter(|prefix| prefix.to_ascii_lowercase().starts_with("oid"));
    let dotted = match prefix.and_then(|prefix| prefix.chars().last()) {
        Some('.') => written.get(4..)?,
        Some('(') => written.get(4..)?.strip_suffix(')')?,
        _ => written,
    };
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (dotted.contains('.') && dotted.split('.').all(is_number)).then(|| dotted.to_owned())
}

/// What people call it: its short name, or the OID itself.
pub fn name_of(oid: &str) -> &str {
    KNOWN.iter().find(|(known, _, _)| *known == oid).map_or(oid, |(_, name, _)| name)
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", name_of(&self.oid), self.value)
    }
}
