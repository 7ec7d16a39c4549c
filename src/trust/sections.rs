//! A file's bytes come in; every section of PEM or DER in it goes out with its line, and nothing that was begun is lost.
//!
//! Files are put together by hand: glued without a line's end between two sections, with marks of Windows, with other
//! text around. What can be read is read; what looks like a section and cannot be read is a fault, never passed over.

use super::{
    outside_sections::{Lost, Writing, lost_in},
    section::{Kind, Section, Torn},
};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

const BEGIN: &[u8] = b"-----BEGIN";
const END: &[u8] = b"-----END";
const DASHES: &[u8] = b"-----";

/// Some tools leave the padding away.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn sections(bytes: &[u8]) -> Result<Vec<Section>, Torn> {
    if is_der(bytes) {
        return super::der_file::sections(bytes);
    }
    let decoded = from_utf16(bytes)?;
    let writing = if decoded.is_some() { Writing::Utf16 } else { Writing::Utf8 };
    let bytes = decoded.as_deref().unwrap_or(bytes);
    let mut scanner = Scanner { bytes, writing, at: 0 };
    let mut sections = Vec::new();
    while let Some(section) = scanner.next_section()? {
        sections.push(section);
    }
    Ok(sections)
}

/// A SEQUENCE of more than 127 bytes, or of a length that is told at its end.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x80..=0x84, ..])
}

/// Windows tools write UTF-16 with a mark.
fn from_utf16(bytes: &[u8]) -> Result<Option<Vec<u8>>, Torn> {
    let (rest, unit): (_, fn([u8; 2]) -> u16) = match bytes {
        [0xff, 0xfe, rest @ ..] => (rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => (rest, u16::from_be_bytes),
        _ => return Ok(None),
    };
    let (pairs, odd) = rest.as_chunks::<2>();
    let mut text = String::new();
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).chain(odd.iter().map(|_| Ok('\0'))) {
        match character {
            Ok(character) if character != '\0' => text.push(character),
            _ => {
                let line = 1 + text.matches('\n').count();
                let way_out = "save the whole file as plain text (UTF-8)";
                return Err(format!("line {line}: it begins as UTF-16 and does not go on so; {way_out}"));
            }
        }
    }
    Ok(Some(text.into_bytes()))
}

struct Scanner<'a> {
    bytes: &'a [u8],
    /// Of the file, before it was decoded.
    writing: Writing,
    at: usize,
}

impl Scanner<'_> {
    fn next_section(&mut self) -> Result<Option<Section>, Torn> {
        let rest = &self.bytes[self.at..];
        let Some(begin) = find(rest, BEGIN) else {
            self.check_between(self.at, self.bytes.len())?;
            return Ok(None);
        };
        let begin = self.at + begin;
        self.check_between(self.at, begin)?;
        let line = self.line_of(begin);
        let (label, body) = self.label(begin + BEGIN.len(), line)?;
        let ends = find(&self.bytes[body..], END).map(|end| body + end);
        let next = find(&self.bytes[body..], BEGIN).map_or(usize::MAX, |next| body + next);
        let Some(end) = ends.filter(|end| *end < next) else {
            return Err(format!(
                "line {line}: the section that begins there ({label}) does not end: its END is missing"
            ));
        };
        let (end_label, after) = self.label(end + END.len(), self.line_of(end))?;
        if end_label != label {
            let at = self.line_of(end);
            return Err(format!("line {line}: what begins as {label} ends as {end_label} in line {at}"));
        }
        self.at = after;
        section(&label, &self.bytes[body..end], line).map(Some)
    }

    /// The label between BEGIN or END and the dashes, and where the dashes end.
    fn label(&self, from: usize, line: usize) -> Result<(String, usize), Torn> {
        let rest = &self.bytes[from..];
        let end = rest.iter().position(|byte| matches!(byte, b'-' | b'\r' | b'\n')).unwrap_or(rest.len());
        let label = String::from_utf8_lossy(&rest[..end]).trim().to_owned();
        let is_label = !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        match rest[end..].starts_with(DASHES) && is_label && label.len() <= 64 {
            true => Ok((label, from + end + DASHES.len())),
            false => Err(format!(
                "line {line}: a BEGIN or END that is not written as one, such as -----BEGIN CERTIFICATE-----"
            )),
        }
    }

    /// Text around sections may be anything but the remains of a section, or one in another form.
    fn check_between(&self, from: usize, to: usize) -> Result<(), Torn> {
        match lost_in(&self.bytes[from..to], self.writing) {
            None => Ok(()),
            Some(Lost { at, what }) => Err(format!("line {}: {what}", self.line_of(from + at))),
        }
    }

    fn line_of(&self, at: usize) -> usize {
        let before = &self.bytes[..at.min(self.bytes.len())];
        let feeds = before.iter().filter(|byte| **byte == b'\n').count();
        // Old Macintosh files end their lines with a carriage return alone.
        1 + if feeds == 0 { before.iter().filter(|byte| **byte == b'\r').count() } else { feeds }
    }
}

fn section(label: &str, body: &[u8], line: usize) -> Result<Section, Torn> {
    let text = String::from_utf8_lossy(body);
    // RFC 1421 headers come before an empty line; only encrypted keys have them nowadays.
    let is_encrypted = label.ends_with("PRIVATE KEY") && text.contains("Proc-Type:") && text.contains("ENCRYPTED");
    if is_encrypted {
        return Ok(Section { kind: Kind::EncryptedKey, line, der: Vec::new() });
    }
    let encoded: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    match BASE64.decode(&encoded) {
        Ok(der) if !der.is_empty() => Ok(Section { kind: kind_of(label), line, der }),
        Ok(_) => Err(format!("line {line}: the section that begins there ({label}) is empty")),
        Err(_) => Err(format!("line {line}: the section that begins there ({label}) is not base64 throughout")),
    }
}

fn kind_of(label: &str) -> Kind {
    match label {
        "CERTIFICATE" | "X509 CERTIFICATE" => Kind::Certificate,
        "X509 CRL" | "CRL" => Kind::RevocationList,
        "PRIVATE KEY" => Kind::Pkcs8Key,
        "RSA PRIVATE KEY" => Kind::Pkcs1Key,
        "EC PRIVATE KEY" => Kind::Sec1Key,
        "ENCRYPTED PRIVATE KEY" => Kind::EncryptedKey,
        "EC PARAMETERS" | "DH PARAMETERS" | "X9.42 DH PARAMETERS" => Kind::Parameters,
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Kind::PublicKey,
        "TRUSTED CERTIFICATE" => Kind::TrustedCertificate,
        "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => Kind::Pkcs7,
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Kind::CertificateRequest,
        other => Kind::Other(format!("a section of the kind {other}")),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----";
    const TWO: &str = "-----BEGIN X509 CRL-----\nBAUG\n-----END X509 CRL-----";

    fn read(text: &str) -> Vec<(Kind, usize, Vec<u8>)> {
        let sections = sections(text.as_bytes()).unwrap_or_else(|torn| panic!("{text}: {torn}"));
        sections.into_iter().map(|section| (section.kind, section.line, section.der)).collect()
    }

    #[test]
    fn sections_are_read_however_they_were_put_together() {
        let (one, two) = (vec![1, 2, 3], vec![4, 5, 6]);
        for (text, second) in [
            (format!("{ONE}\n{TWO}\n"), 4),
            (format!("{ONE}{TWO}"), 3),
            (format!("{ONE} {TWO} # the office's list"), 3),
            (format!("\u{feff}{ONE}\n\n  {TWO}\n").replace('\n', "\r\n"), 5),
            (format!("Bag Attributes\n friendlyName: x\n{ONE}\nsubject=CN=a\n{TWO}\ntrailing"), 7),
            (format!("{ONE}\n{TWO}").replace('\n', "\r"), 4),
            (format!("x {ONE}\n{TWO}"), 4),
        ] {
            let read = read(&text);
            assert_eq!(read.len(), 2, "{text}");
            assert_eq!((&read[0].0, &read[0].2), (&Kind::Certificate, &one));
            assert_eq!(read[1], (Kind::RevocationList, second, two.clone()), "{text}");
        }
        let wide: Vec<u8> = [0xfeff_u16].into_iter().chain(ONE.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(sections(&wide).unwrap_or_default().len(), 1);
        assert!(read("no section at all\n").is_empty());
    }

    #[test]
    fn what_was_begun_is_never_passed_over() {
        for (text, line) in [
            (format!("{ONE}\n-----BEGIN X509 CRL-----\nBAUG\n"), 4),
            (format!("-----BEGIN CERTIFICATE-----\nAQID\n{TWO}"), 1),
            (format!("{ONE}\nBAUG\n-----END X509 CRL-----\n"), 5),
            (format!("{ONE}\n----BEGIN X509 CRL-----\nBAUG\n-----END X509 CRL-----\n"), 4),
            (format!("{ONE}\n-----begin x509 crl-----\nBAUG\n-----end x509 crl-----\n"), 4),
            (format!("{ONE}\n–––––BEGIN X509 CRL–––––\nBAUG\n"), 4),
            (format!("{ONE}\nBEGIN CERTIFICATE\n"), 4),
            (format!("{ONE}\n{}\n", "A".repeat(64)), 4),
            ("-----BEGIN CERTIFICATE-----\nAQ!D\n-----END CERTIFICATE-----".into(), 1),
            ("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----".into(), 1),
            ("-----BEGIN CERTIFICATE-----\nAQID\n-----END X509 CRL-----".into(), 1),
            ("-----BEGIN CERTIFICATE----\nAQID\n-----END CERTIFICATE-----".into(), 1),
            (format!("{ONE}\n-----BEGINCERTIFICATE\n"), 4),
            ("-----BEGIN X509 CRL-----\nProc-Type: 4,ENCRYPTED\n\nBAUG\n-----END X509 CRL-----".into(), 1),
        ] {
            let torn = sections(text.as_bytes()).map(|read| read.len()).expect_err(&text);
            assert!(torn.starts_with(&format!("line {line}: ")), "{text}: {torn}");
            assert!(!torn.contains("AQID") && !torn.contains("BAUG"), "{torn}");
        }
    }
}
