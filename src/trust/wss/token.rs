//! A signature's KeyInfo comes in; the certificates that the policy allows for it go out.
//!
//! The message only points: at a certificate it carries, which the policy must recognise, or at one that was configured.

use super::{
    WssRefusal, names,
    shape::{Parts, only, plain_text},
};
use crate::trust::{AnswerPolicy, Certificate, SignerRefusal, policy::check_usable};
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
        Err(()) => only(key_info, names::DS, "X509Data").map_err(|()| WssRefusal::KeyInfo)?,
    };
    if described.has_tag_name((names::WSSE, "Reference")) {
        let der = carried_token(described, parts.security, identifiers)?;
        return Ok(vec![policy.signers.recognise(&[der], now)?]);
    }
    if described.has_tag_name((names::WSSE, "KeyIdentifier")) {
        return by_key_identifier(described, policy, now);
    }
    match described.has_tag_name((names::DS, "X509Data")) {
        true => by_x509_data(described, policy, now),
        false => Err(WssRefusal::KeyInfo),
    }
}

fn only_element<'a, 'input>(parent: Node<'a, 'input>) -> Result<Node<'a, 'input>, WssRefusal> {
    let mut elements = parent.children().filter(Node::is_element);
    match (elements.next(), elements.next()) {
        (Some(element), None) => Ok(element),
        _ => Err(WssRefusal::KeyInfo),
    }
}

/// The BinarySecurityToken must be a child of our own Security header.
fn carried_token(
    reference: Node<'_, '_>,
    security: Node<'_, '_>,
    identifiers: &HashMap<&str, Node<'_, '_>>,
) -> Result<CertificateDer<'static>, WssRefusal> {
    let uri = reference.attribute("URI").and_then(|uri| uri.strip_prefix('#')).ok_or(WssRefusal::ExternalReference)?;
    let token = *identifiers.get(uri).ok_or(WssRefusal::DanglingReference)?;
    let is_token = token.has_tag_name((names::WSSE, "BinarySecurityToken"))
        && token.parent() == Some(security)
        && token.attribute("ValueType") == Some(names::X509_V3)
        && token.attribute("EncodingType").is_none_or(|encoding| encoding == names::BASE64_BINARY);
    match is_token {
        true => certificate_in(token, "wsse:BinarySecurityToken"),
        false => Err(WssRefusal::KeyInfo),
    }
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
        _ => Err(WssRefusal::KeyInfo),
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
        let serial = only(issuer_serial, names::DS, "X509SerialNumber").map_err(|()| WssRefusal::KeyInfo)?;
        let serial = plain_text(serial, "ds:X509SerialNumber")?;
        // Issuers' names are written in many ways; the serial number selects among the configured certificates.
        let serial = bytes_of_decimal(&serial).ok_or(WssRefusal::KeyInfo)?;
        return configured(policy, now, |known| known.serial_bytes == serial);
    }
    let ski = child("X509SKI").next().ok_or(WssRefusal::KeyInfo)?;
    let ski = STANDARD.decode(plain_text(ski, "ds:X509SKI")?).map_err(|_| WssRefusal::KeyInfo)?;
    configured(policy, now, |known| known.subject_key_identifier.as_ref() == Some(&ski))
}

fn configured(
    policy: &AnswerPolicy,
    now: Timestamp,
    fits: impl Fn(&Certificate) -> bool,
) -> Result<Vec<Certificate>, WssRefusal> {
    let found: Vec<_> = policy.signers.pinned().iter().filter(|known| fits(known)).cloned().collect();
    match found.first() {
        Some(first) => check_usable(first, now)?,
        None => return Err(SignerRefusal::NotTrusted.into()),
    }
    Ok(found.into_iter().filter(|certificate| check_usable(certificate, now).is_ok()).collect())
}

fn certificate_in(node: Node<'_, '_>, name: &'static str) -> Result<CertificateDer<'static>, WssRefusal> {
    let der = STANDARD.decode(plain_text(node, name)?).map_err(|_| WssRefusal::NotPlainText(name))?;
    Ok(CertificateDer::from(der))
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
    fn a_decimal_serial_number_becomes_its_bytes() {
        assert_eq!(bytes_of_decimal("0"), Some(vec![]));
        assert_eq!(bytes_of_decimal("255"), Some(vec![255]));
        assert_eq!(bytes_of_decimal("65536"), Some(vec![1, 0, 0]));
        assert_eq!(bytes_of_decimal("-1"), None);
        assert_eq!(bytes_of_decimal(&"9".repeat(61)), None);
    }
}
