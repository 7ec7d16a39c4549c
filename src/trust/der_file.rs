//! A file of DER comes in; its certificates and revocation lists go out, one after the other.

use super::section::{Kind, Section, Torn};
use x509_parser::{
    prelude::{FromDer, X509Certificate},
    revocation_list::CertificateRevocationList,
};

/// 1.2.840.113549.1.7.2, signed data.
const PKCS7: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

pub(super) fn sections(bytes: &[u8]) -> Result<Vec<Section>, Torn> {
    let mut sections = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = whole_length(rest).filter(|length| *length <= rest.len());
        let Some((der, after)) = length.and_then(|length| rest.split_at_checked(length)) else {
            let at = bytes.len() - rest.len();
            return Err(format!(
                "byte {at}: it begins as DER and does not go on so: it is cut short, or other bytes follow"
            ));
        };
        sections.push(Section { kind: kind_of(der), line: 1, der: der.to_vec() });
        rest = after;
    }
    Ok(sections)
}

/// Of a SEQUENCE with its own head.
fn whole_length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        // Of unknown length: it is PKCS#7 in BER if anything, and no other thing that can be read here.
        [0x30, 0x80, ..] => Some(bytes.len()),
        [0x30, length @ 0..=127, ..] => Some(2 + usize::from(*length)),
        [0x30, marker @ 0x81..=0x84, ..] => {
            let count = usize::from(marker & 0x0f);
            let length = bytes.get(2..2 + count)?.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
            length.checked_add(2 + count)
        }
        _ => None,
    }
}

fn kind_of(der: &[u8]) -> Kind {
    let head = der.get(..24.min(der.len())).unwrap_or_default();
    let is_key = |first: &[u8]| head.windows(first.len()).take(6).any(|window| window == first);
    if X509Certificate::from_der(der).is_ok() {
        Kind::Certificate
    } else if CertificateRevocationList::from_der(der).is_ok() {
        Kind::RevocationList
    } else if head.windows(PKCS7.len()).any(|window| window == PKCS7) {
        Kind::Pkcs7
    } else if is_key(&[0x02, 0x01, 0x00, 0x30]) {
        Kind::Pkcs8Key
    } else if is_key(&[0x02, 0x01, 0x00, 0x02]) {
        Kind::Pkcs1Key
    } else if is_key(&[0x02, 0x01, 0x01, 0x04]) {
        Kind::Sec1Key
    } else {
        Kind::Other("DER of an unknown kind".into())
    }
}
