//! Weaker algorithms than the policy's, and those that would make a public key a secret.

use super::{Case, honest, piece, replaced, signed};
use crate::{
    forgery::{RSA_SHA1, RSA_SHA256, SHA1},
    pki::agency_signer,
};
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use punte::trust::Algorithm;

const HMAC_SHA1: &str = "http://www.w3.org/2000/09/xmldsig#hmac-sha1";
const HMAC_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256";

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, uri) in [
        ("hmac-sha1", HMAC_SHA1),
        ("hmac-sha256", HMAC_SHA256),
        ("hmac-sha512", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha512"),
        ("rsa-md5", "http://www.w3.org/2001/04/xmldsig-more#rsa-md5"),
        ("rsa-ripemd160", "http://www.w3.org/2001/04/xmldsig-more#rsa-ripemd160"),
        ("dsa-sha1", "http://www.w3.org/2000/09/xmldsig#dsa-sha1"),
        ("ecdsa-sha1", "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha1"),
        ("pss", "http://www.w3.org/2007/05/xmldsig-more#rsa-pss"),
        ("pss-sha256", "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1"),
        ("none", "none"),
        ("nothing", ""),
        ("jose-name", "RS256"),
        ("policy-name", "rsa-sha256"),
        ("upper-case", "HTTP://WWW.W3.ORG/2001/04/XMLDSIG-MORE#RSA-SHA256"),
        ("with-a-space", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256 "),
    ] {
        cases.push(Case::new(name, "algorithm", signed(|forgery| forgery.algorithm_uri = uri)));
        cases.push(Case::new(format!("edited-to-{name}"), "algorithm", replaced(&honest(), RSA_SHA256, uri)));
    }
    cases.push(Case::new(
        "rsa-sha1",
        "algorithm",
        signed(|forgery| {
            (forgery.algorithm, forgery.algorithm_uri, forgery.digest_uri) = (Algorithm::RsaSha1, RSA_SHA1, SHA1);
        }),
    ));
    cases.push(Case::new(
        "sha1-digests-under-rsa-sha256",
        "digest-algorithm",
        signed(|forgery| forgery.digest_uri = SHA1),
    ));
    for (name, uri) in [
        ("md5", "http://www.w3.org/2001/04/xmldsig-more#md5"),
        ("sha224", "http://www.w3.org/2001/04/xmldsig-more#sha224"),
        ("nothing", ""),
    ] {
        cases.push(Case::new(format!("digest-{name}"), "digest-algorithm", signed(|forgery| forgery.digest_uri = uri)));
    }
    cases.push(Case::new(
        "the-other-key-kind",
        "signature-mismatch",
        signed(|forgery| {
            forgery.algorithm_uri = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256";
        }),
    ));
    cases.extend(public_keys_as_secrets());
    for (name, bits) in [("truncated-to-nothing", "0"), ("truncated-to-a-byte", "8"), ("truncated-not-at-all", "160")] {
        let length: &str = &format!("<ds:HMACOutputLength>{bits}</ds:HMACOutputLength>");
        let signer = agency_signer("soap");
        let mut forgery = crate::forgery::Forgery::honest(&signer, crate::pki::now());
        forgery.parameters = length;
        cases.push(Case::new(format!("{name}-under-rsa"), "algorithm", forgery.write()));
        forgery.algorithm_uri = HMAC_SHA1;
        cases.push(Case::new(name, "algorithm", forgery.write()));
    }
    cases.extend(broken_values());
    cases
}

/// The certificate, which everybody has, as the key of an HMAC.
fn public_keys_as_secrets() -> Vec<Case> {
    let certificate = agency_signer("soap").certificate.der;
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
    let secrets = [
        ("certificate", certificate.to_vec()),
        ("certificate-base64", STANDARD.encode(&certificate).into_bytes()),
        ("key", parsed.public_key().raw.to_vec()),
    ];
    let of = |(name, secret): (&str, Vec<u8>)| {
        let text = replaced(&honest(), RSA_SHA256, HMAC_SHA256);
        let signed_info = piece(&text, "<ds:SignedInfo", "</ds:SignedInfo>");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed_info.as_bytes());
        Case::new(format!("hmac-with-the-{name}"), "algorithm", with_value(&text, &STANDARD.encode(tag)))
    };
    secrets.into_iter().map(of).collect()
}

fn broken_values() -> Vec<Case> {
    let text = honest();
    let value = piece(&text, "<ds:SignatureValue>", "</ds:SignatureValue>");
    let value = value.trim_start_matches("<ds:SignatureValue>").trim_end_matches("</ds:SignatureValue>");
    let bytes = STANDARD.decode(value).unwrap();
    let zeros = STANDARD.encode(vec![0; bytes.len()]);
    let ones = STANDARD.encode(vec![0xFF; bytes.len()]);
    let longer = STANDARD.encode([&[0], bytes.as_slice()].concat());
    let shorter = STANDARD.encode(&bytes[..bytes.len() - 1]);
    let of = |(name, value, expected): (&str, &str, &'static str)| Case::new(name, expected, with_value(&text, value));
    [
        ("value-empty", "", "signature-mismatch"),
        ("value-zeros", zeros.as_str(), "signature-mismatch"),
        ("value-ones", ones.as_str(), "signature-mismatch"),
        ("value-with-a-leading-zero", longer.as_str(), "signature-mismatch"),
        ("value-cut", shorter.as_str(), "signature-mismatch"),
        ("value-without-padding", value.trim_end_matches('='), "not-plain-text"),
        ("value-url-safe", "-_-_", "not-plain-text"),
        ("value-with-garbage-behind", &format!("{value}AAAA"), "not-plain-text"),
    ]
    .into_iter()
    .map(of)
    .collect()
}

fn with_value(text: &str, value: &str) -> String {
    let old = piece(text, "<ds:SignatureValue>", "</ds:SignatureValue>");
    replaced(text, old, &format!("<ds:SignatureValue>{value}</ds:SignatureValue>"))
}
