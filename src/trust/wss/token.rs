//! A signature's KeyInfo comes in; the certificates that the policy allows for it go out.
//!
//! The message only points: at a certificate it carries, which the policy must recognise, or at one that was configured.

use super::{
    WssRefusal, names,
    shape::{Parts, only, plain_text},
};
use crate::{
    domain::lower_hex,
    trust::{AnswerPolicy, Certificate, SignerRefusal, named::Named},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use roxmltree::Node;
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;

/// One certificate, or a few that fit the description equally.
pub(super) fn signers(
    parts: &Parts<'_, '_>,
    identifiers: &HashMap<&str, Node<'_, '_>>,
    policy: &AnswerPolicy,
    now: Timestamp,
) -> Result<Vec<Certificate>, WssRefusal> {
    let key_info = only(parts.signature, names::DS, "KeyInfo").map_err(|()| WssRefusal::Shape("ds:KeyInfo"))?;
    let described = match only(key_info, names::WSSE, "SecurityTokenReference") {
        Ok(reference) => only_element(reference)?,
        Err(()) => only(key_info, names::DS, "X509Data").map_err(|()| unread(elements_of(key_info)))?,
    };
    if described.has_tag_name((names::WSSE, "Reference")) {
        let token = carried_token(described, parts.security, identifiers)?;
        return Ok(vec![policy.signers.recognise(&certificates_of(token)?, now)?]);
    }
    if described.has_tag_name((names::WSSE, "KeyIdentifier")) {
        return by_key_identifier(described, policy, now);
    }
    match described.has_tag_name((names::DS, "X509Data")) {
        true => by_x509_data(described, policy, now),
        false => Err(unread(std::iter::once(described))),
    }
}

/// By the names of the elements that stand where the key is described.
fn unread<'a, 'input: 'a>(elements: impl Iterator<Item = Node<'a, 'input>>) -> WssRefusal {
    let names: Vec<_> = elements.map(|element| element.tag_name().name()).collect();
    WssRefusal::KeyInfo(Named::all(names.into_iter()))
}

fn elements_of<'a, 'input: 'a>(parent: Node<'a, 'input>) -> impl Iterator<Item = Node<'a, 'input>> {
    parent.children().filter(Node::is_element)
}

pub(super) fn only_element<'a, 'input>(parent: Node<'a, 'input>) -> Result<Node<'a, 'input>, WssRefusal> {
    let mut elements = elements_of(parent);
    match (elements.next(), elements.next()) {
        (Some(element), None) => Ok(element),
        _ => Err(unread(elements_of(parent))),
    }
}

/// The BinarySecurityToken must be a child of our own Security header.
pub(super) fn carried_token<'a, 'input>(
    reference: Node<'_, '_>,
    security: Node<'a, 'input>,
    identifiers: &HashMap<&str, Node<'a, 'input>>,
) -> Result<Node<'a, 'input>, WssRefusal> {
    let uri = reference.attribute("URI");
    let identifier = uri.and_then(|uri| uri.strip_prefix('#'));
    let identifier = identifier.ok_or_else(|| WssRefusal::ExternalReference(Named::of(uri)))?;
    let token = *identifiers.get(identifier).ok_or(WssRefusal::DanglingReference)?;
    let is_token = token.has_tag_name((names::WSSE, "BinarySecurityToken")) && token.parent() == Some(security);
    match token.attribute("EncodingType") {
        _ if !is_token => Err(unread(std::iter::once(token))),
        Some(encoding) if encoding != names::BASE64_BINARY => Err(WssRefusal::KeyInfo(Named::of(Some(encoding)))),
        Some(_) | None => Ok(token),
    }
}

/// The signer's own certificate first, then those above it.
fn certificates_of(token: Node<'_, '_>) -> Result<Vec<CertificateDer<'static>>, WssRefusal> {
    const NAME: &str = "wsse:BinarySecurityToken";
    match token.attribute("ValueType") {
        Some(names::X509_V3) => Ok(vec![certificate_in(token, NAME)?]),
        Some(names::X509_PKI_PATH) => {
            let der = STANDARD.decode(plain_text(token, NAME)?).map_err(|_| WssRefusal::NotPlainText(NAME))?;
            let none = || SignerRefusal::Malformed("its path of certificates is no X509PKIPathv1".into());
            Ok(certificates_of_path(&der).ok_or_else(none)?)
        }
        other => Err(WssRefusal::KeyInfo(Named::of(other))),
    }
}

/// `PkiPath ::= SEQUENCE OF Certificate`, the signer's own last (X.509, section 7.6).
fn certificates_of_path(der: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    const MAX_CERTIFICATES: usize = 8;
    let path = sequence(der).filter(|path| path.end == der.len())?;
    let mut left = der.get(path)?;
    let mut certificates = Vec::new();
    while !left.is_empty() && certificates.len() < MAX_CERTIFICATES {
        let (certificate, behind) = left.split_at_checked(sequence(left)?.end)?;
        certificates.push(CertificateDer::from(certificate.to_vec()));
        left = behind;
    }
    certificates.reverse();
    (left.is_empty() && !certificates.is_empty()).then_some(certificates)
}

/// Where the content of the first SEQUENCE is (X.690, section 8.1.3, definite lengths).
fn sequence(der: &[u8]) -> Option<std::ops::Range<usize>> {
    let (head, length) = match der {
        [0x30, short @ 0..=0x7F, ..] => (2, usize::from(*short)),
        [0x30, 0x81, one, ..] => (3, usize::from(*one)),
        [0x30, 0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        _ => return None,
    };
    (head + length <= der.len()).then_some(head..head + length)
}

fn by_key_identifier(
    identifier: Node<'_, '_>,
    policy: &AnswerPolicy,
    now: Timestamp,
) -> Result<Vec<Certificate>, WssRefusal> {
    let value = STANDARD
        .decode(plain_text(identifier, "wsse:KeyIdentifier")?)
        .map_err(|_| WssRefusal::NotPlainText("wsse:KeyIdentifier"))?;
    match identifier.attribute("ValueType") {
        Some(names::KEY_ID_SKI) => {
            configured(policy, now, |known| known.subject_key_identifier.as_ref() == Some(&value))
        }
        Some(names::KEY_ID_THUMBPRINT) => configured(policy, now, |known| known.thumbprint_sha1().as_ref() == value),
        Some(names::X509_V3) => Ok(vec![policy.signers.recognise(&[CertificateDer::from(value)], now)?]),
        other => Err(WssRefusal::KeyInfo(Named::of(other))),
    }
}

fn by_x509_data(data: Node<'_, '_>, policy: &AnswerPolicy, now: Timestamp) -> Result<Vec<Certificate>, WssRefusal> {
    let child = |name: &'static str| data.children().filter(move |child| child.has_tag_name((names::DS, name)));
    // A chain may be carried, the signer's own certificate first.
    if child("X509Certificate").next().is_some() {
        let shown = child("X509Certificate")
            .take(8)
            .map(|node| certificate_in(node, "ds:X509Certificate"))
            .collect::<Result<Vec<_>, _>>()?;
        return Ok(vec![policy.signers.recognise(&shown, now)?]);
    }
    if let Some(issuer_serial) = child("X509IssuerSerial").next() {
        let serial =
            only(issuer_serial, names::DS, "X509SerialNumber").map_err(|()| unread(elements_of(issuer_serial)))?;
        let serial = plain_text(serial, "ds:X509SerialNumber")?;
        // Issuers' names are written in many ways; the serial number selects among the configured certificates.
        let serial = hex_of_decimal(&serial).ok_or_else(|| unread(std::iter::once(issuer_serial)))?;
        return configured(policy, now, |known| known.facts.serial_hex == serial);
    }
    let ski = child("X509SKI").next().ok_or_else(|| unread(elements_of(data)))?;
    let ski = STANDARD.decode(plain_text(ski, "ds:X509SKI")?).map_err(|_| WssRefusal::NotPlainText("ds:X509SKI"))?;
    configured(policy, now, |known| known.subject_key_identifier.as_ref() == Some(&ski))
}

fn configured(
    policy: &AnswerPolicy,
    now: Timestamp,
    fits: impl Fn(&Certificate) -> bool,
) -> Result<Vec<Certificate>, WssRefusal> {
    Ok(policy.signers.usable(now, fits)?)
}

fn certificate_in(node: Node<'_, '_>, name: &'static str) -> Result<CertificateDer<'static>, WssRefusal> {
    let der = STANDARD.decode(plain_text(node, name)?).map_err(|_| WssRefusal::NotPlainText(name))?;
    Ok(CertificateDer::from(der))
}

/// As certificates' facts have it. Some authorities number their certificates below zero.
fn hex_of_decimal(decimal: &str) -> Option<String> {
    match decimal.strip_prefix('-') {
        Some(digits) => Some(format!("-{}", lower_hex(&bytes_of_decimal(digits)?))),
        None => Some(lower_hex(&bytes_of_decimal(decimal)?)),
    }
}

/// Serial numbers have up to 20 bytes (RFC 5280 §4.1.2.2) and are written as a decimal number.
fn bytes_of_decimal(decimal: &str) -> Option<Vec<u8>> {
    if decimal.is_empty() || decimal.len() > 60 {
        return None;
    }
    let mut bytes: Vec<u8> = Vec::new();
    for digit in decimal.chars() {
        let mut carry = digit.to_digit(10)?;
        for byte in bytes.iter_mut().rev() {
            let value = u32::from(*byte) * 10 + carry;
            *byte = (value & 0xFF) as u8;
            carry = value >> 8;
        }
        if carry > 0 {
            bytes.insert(0, carry as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_certificates_is_taken_apart_and_nothing_else() {
        let certificate = |size: u8| [vec![0x30, size], vec![7; size.into()]].concat();
        let path = |content: Vec<u8>| [vec![0x30, 0x82, 0, content.len() as u8], content].concat();
        let read = certificates_of_path(&path([certificate(3), certificate(5)].concat())).unwrap();
        assert_eq!(read.iter().map(|it| it.len()).collect::<Vec<_>>(), [7, 5]);
        for bad in [
            path(vec![]),
            path(certificate(3))[..7].to_vec(),
            [path(certificate(3)), vec![0]].concat(),
            path([certificate(3), vec![0x31, 0]].concat()),
            path(certificate(1).repeat(9)),
            vec![0x30, 0x80, 0, 0],
            vec![],
        ] {
            assert_eq!(certificates_of_path(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_decimal_serial_number_becomes_its_bytes() {
        assert_eq!(bytes_of_decimal("0"), Some(vec![]));
        assert_eq!(bytes_of_decimal("255"), Some(vec![255]));
        assert_eq!(bytes_of_decimal("65536"), Some(vec![1, 0, 0]));
        assert_eq!(bytes_of_decimal("-1"), None);
        assert_eq!(hex_of_decimal("-255").as_deref(), Some("-ff"));
        assert_eq!(bytes_of_decimal(&"9".repeat(61)), None);
    }
}
