//! A DER certificate comes in; what it says (subject, identifiers, dates, usages, fingerprint) goes out as plain facts.

use super::{CertificateFlaw, PublicKey, certificate_flaw::flaws_of, key_usage::names_of};
use crate::domain::{
    distinguished_name::{Attribute, COMMON_NAME, DistinguishedName, ORGANIZATION_IDENTIFIER, RelativeName, Value},
    lower_hex,
};
use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate, X509Name};

const EXPIRY_NOTICE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What a certificate says about itself. Whether to believe it is decided elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    pub name: DistinguishedName,
    /// The name as it is printed.
    pub subject: String,
    /// If there is exactly one: of two, none comes first.
    pub common_name: Option<String>,
    /// OID 2.5.4.97, the identifier of a legal person (ETSI EN 319 412-1), if there is exactly one.
    pub organization_identifier: Option<String>,
    /// Attributes of which one is expected and there are more.
    pub repeated_attributes: Vec<&'static str>,
    /// Lower-case hexadecimal, without leading zero bytes; a negative number with a minus sign before it.
    pub serial_hex: String,
    pub issuer: String,
    pub issuer_name: DistinguishedName,
    pub dns_names: Vec<String>,
    pub uris: Vec<String>,
    pub emails: Vec<String>,
    pub ip_addresses: Vec<IpAddr>,
    /// SHA-256 of the DER, lower-case hexadecimal.
    pub fingerprint_sha256: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// Names as in RFC 5280 §4.2.1.3, e.g. `digitalSignature`; empty when the extension is absent.
    pub key_usages: Vec<&'static str>,
    /// Names as in RFC 5280 §4.2.1.12, e.g. `clientAuth`, or an OID; empty when the extension is absent.
    pub extended_key_usages: Vec<String>,
    /// Whether it says that it is an authority's (basicConstraints, CA:TRUE).
    pub is_authority: bool,
    /// What is wrong with its form.
    pub flaws: Vec<CertificateFlaw>,
}

impl CertificateFacts {
    pub fn from_der(der: &[u8]) -> Result<Self, String> {
        Certificate::from_der(der).map(|certificate| certificate.facts)
    }

    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// What an operator is told of a certificate that ends within 30 days.
    pub fn ends_soon(&self, now: Timestamp) -> Option<String> {
        let is_soon = self.not_after < now.saturating_add(EXPIRY_NOTICE).unwrap_or(now);
        is_soon.then(|| format!("the certificate {} ends on {}", self.subject, self.not_after))
    }

    /// RFC 5280 §4.2.1.3: without the extension any use is allowed.
    pub fn may_sign(&self) -> bool {
        self.allows_any_use()
            || self.key_usages.iter().any(|usage| ["digitalSignature", "nonRepudiation"].contains(usage))
    }

    /// RFC 8446 §4.4.2.2: in a handshake both sides sign, and a certificate that says otherwise is not for it.
    pub fn may_sign_handshakes(&self) -> bool {
        self.allows_any_use() || self.key_usages.contains(&"digitalSignature")
    }

    /// RFC 5280 §4.2.1.3: whoever signs certificates needs keyCertSign.
    pub fn may_sign_certificates(&self) -> bool {
        self.allows_any_use() || self.key_usages.contains(&"keyCertSign")
    }

    /// No extension keyUsage is something else than one that names no use.
    pub(super) fn allows_any_use(&self) -> bool {
        self.key_usages.is_empty() && !self.flaws.contains(&CertificateFlaw::NoUse)
    }
}

/// A parsed certificate with all that is needed to recognise it and to verify with its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub der: CertificateDer<'static>,
    pub facts: CertificateFacts,
    /// `None` for kinds of keys that Punte does not verify with.
    pub public_key: Option<PublicKey>,
    pub(super) subject_key_identifier: Option<Vec<u8>>,
}

impl Certificate {
    pub fn from_der(der: &[u8]) -> Result<Self, String> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| "it is not an X.509 certificate".to_owned())?;
        if !rest.is_empty() {
            return Err("bytes follow the certificate".into());
        }
        let mut certificate = Self {
            der: CertificateDer::from(der.to_vec()),
            facts: facts_of(&parsed, der)?,
            public_key: PublicKey::from_spki(parsed.public_key()),
            subject_key_identifier: None,
        };
        for extension in parsed.extensions() {
            certificate.read_extension(extension.parsed_extension());
        }
        Ok(certificate)
    }

    pub(super) fn thumbprint_sha1(&self) -> digest::Digest {
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.der)
    }

    pub(super) fn thumbprint_sha256(&self) -> digest::Digest {
        digest::digest(&digest::SHA256, &self.der)
    }

    fn read_extension(&mut self, extension: &ParsedExtension<'_>) {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                names.general_names.iter().for_each(|name| self.facts.read_name(name));
            }
            ParsedExtension::KeyUsage(usage) => self.facts.key_usages = names_of(usage),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let known = [
                    (usage.any, "any"),
                    (usage.server_auth, "serverAuth"),
                    (usage.client_auth, "clientAuth"),
                    (usage.code_signing, "codeSigning"),
                    (usage.email_protection, "emailProtection"),
                    (usage.time_stamping, "timeStamping"),
                    (usage.ocsp_signing, "OCSPSigning"),
                ];
                let named = known.iter().filter(|(set, _)| *set).map(|(_, name)| (*name).to_owned());
                self.facts.extended_key_usages =
                    named.chain(usage.other.iter().map(|oid| oid.to_id_string())).collect();
            }
            ParsedExtension::BasicConstraints(constraints) => self.facts.is_authority = constraints.ca,
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_identifier = Some(id.0.to_vec()),
            _ => {}
        }
    }
}

impl CertificateFacts {
    fn read_name(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
            GeneralName::RFC822Name(email) => self.emails.push((*email).to_owned()),
            GeneralName::IPAddress(bytes) => {
                if let Ok(v4) = <[u8; 4]>::try_from(*bytes) {
                    self.ip_addresses.push(IpAddr::V4(Ipv4Addr::from(v4)));
                } else if let Ok(v6) = <[u8; 16]>::try_from(*bytes) {
                    self.ip_addresses.push(IpAddr::V6(Ipv6Addr::from(v6)));
                }
            }
            _ => {}
        }
    }
}

fn facts_of(parsed: &X509Certificate<'_>, der: &[u8]) -> Result<CertificateFacts, String> {
    let (name, issuer_name) = (name_from(parsed.subject()), name_from(parsed.issuer()));
    let single = |oid: &str| name.texts(oid).next().filter(|_| name.count(oid) == 1).map(str::to_owned);
    let expected_once = [(COMMON_NAME, "commonName"), (ORGANIZATION_IDENTIFIER, "organizationIdentifier")];
    let time = |seconds: i64| Timestamp::from_second(seconds).map_err(|_| "its dates are out of range".to_owned());
    Ok(CertificateFacts {
        subject: name.to_string(),
        common_name: single(COMMON_NAME),
        organization_identifier: single(ORGANIZATION_IDENTIFIER),
        repeated_attributes: expected_once
            .iter()
            .filter(|(oid, _)| name.count(oid) > 1)
            .map(|(_, name)| *name)
            .collect(),
        serial_hex: serial_hex(parsed.raw_serial()),
        issuer: issuer_name.to_string(),
        issuer_name,
        dns_names: Vec::new(),
        uris: Vec::new(),
        emails: Vec::new(),
        ip_addresses: Vec::new(),
        fingerprint_sha256: lower_hex(digest::digest(&digest::SHA256, der).as_ref()),
        not_before: time(parsed.validity().not_before.timestamp())?,
        not_after: time(parsed.validity().not_after.timestamp())?,
        key_usages: Vec::new(),
        extended_key_usages: Vec::new(),
        is_authority: false,
        flaws: flaws_of(parsed),
        name,
    })
}

/// Every attribute with its decoded value, in the certificate's order.
pub(super) fn name_from(name: &X509Name<'_>) -> DistinguishedName {
    let relative = name.iter_rdn().map(|attributes| {
        let attributes = attributes.iter().map(|it| Attribute {
            oid: it.attr_type().to_id_string(),
            value: Value::from_der(u8::try_from(it.attr_value().tag().0).unwrap_or_default(), it.attr_value().data),
        });
        RelativeName::new(attributes.collect())
    });
    DistinguishedName::new(relative.collect())
}

/// An INTEGER's bytes as DER wants them: without the first ones that say nothing (X.690, section 8.3).
pub(super) fn minimal(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [0x00, 0x00..=0x7f, ..] | [0xff, 0x80..=0xff, ..] = rest {
        rest = &rest[1..];
    }
    rest
}

/// -255 and 65281 have the same digits but for the zero that says "not negative".
fn serial_hex(bytes: &[u8]) -> String {
    let bytes = minimal(bytes);
    match bytes {
        [] | [0x00] => String::new(),
        [0x00, digits @ ..] => lower_hex(digits),
        [0x01..=0x7f, ..] => lower_hex(bytes),
        [0x80..=0xff, ..] => {
            let negated = bytes.iter().rev().scan(true, |carry, byte| {
                let (negated, more) = (!byte).overflowing_add(u8::from(*carry));
                *carry = more;
                Some(negated)
            });
            let mut digits: Vec<u8> = negated.collect();
            digits.reverse();
            let first = digits.iter().position(|byte| *byte != 0).unwrap_or(digits.len());
            format!("-{}", lower_hex(&digits[first..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_keep_their_sign() {
        for (bytes, told) in [
            (&[0x00][..], ""),
            (&[0x05], "05"),
            (&[0x00, 0x00, 0x05], "05"),
            (&[0x00, 0xff, 0x01], "ff01"),
            (&[0xff, 0x01], "-ff"),
            (&[0xff], "-01"),
            (&[0xff, 0xff, 0xff], "-01"),
            (&[0x80], "-80"),
            (&[0xfe, 0x00], "-0200"),
        ] {
            assert_eq!(serial_hex(bytes), told, "{bytes:?}");
        }
        // A stranger's certificate may have any number of them, and a small stack has to do.
        for (first, last) in [(0x00, 0x05), (0xff, 0x80)] {
            let long = [vec![first; 1_000_000], vec![last]].concat();
            let small = std::thread::Builder::new().stack_size(128 << 10).spawn(move || minimal(&long).to_vec());
            assert_eq!(small.unwrap().join().unwrap(), [last]);
        }
        assert_ne!(minimal(&[0x00, 0xff]), minimal(&[0xff]));
    }
}
