//! Keys that are too weak, or of kinds that Punte does not know: they vouch for nothing, even where they are pinned.

use crate::{forgery::Forgery, pki::agency_signer};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::Value;
use std::{fs, path::Path, process::Command};

/// (OpenSSL's words for the key, what the program says of the agency's message that it signed)
const KEYS: [(&str, &[&str], &str); 6] = [
    ("rsa-512", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:512"], "refused"),
    ("rsa-1024", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"], "refused"),
    ("rsa-2040", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2040"], "refused"),
    (
        "rsa-2048-with-the-exponent-3",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_keygen_pubexp:3"],
        "accepted",
    ),
    ("p-384", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], "refused"),
    ("ed25519", &["-algorithm", "ED25519"], "refused"),
];

#[test]
fn a_weak_key_vouches_for_nothing_even_if_it_is_pinned() {
    for (name, how, expected) in KEYS {
        let folder = tempfile::tempdir().unwrap();
        make_key(folder.path(), how);
        // The certificate has begun by now.
        let now = Timestamp::now();
        fs::write(folder.path().join("message.xml"), signed_by_openssl(folder.path(), name, now)).unwrap();
        let verdict = verdict(folder.path(), now);
        let found = if verdict["accepted"] == true { "accepted" } else { "refused" };
        assert_eq!(found, expected, "{name}: {verdict}");
    }
}

fn make_key(folder: &Path, how: &[&str]) {
    openssl(folder, &[&["genpkey", "-out", "key.pem"], how].concat());
    let request = ["req", "-x509", "-key", "key.pem", "-out", "agency.pem", "-subj", "/CN=Weak", "-days", "30"];
    openssl(folder, &[&request[..], &["-addext", "keyUsage=critical,digitalSignature"]].concat());
    openssl(folder, &["x509", "-in", "agency.pem", "-outform", "DER", "-out", "agency.der"]);
}

/// The honest message, its token and its signature's value replaced.
fn signed_by_openssl(folder: &Path, name: &str, now: Timestamp) -> String {
    let signer = agency_signer("soap");
    let honest = Forgery::honest(&signer, now).write();
    let token = STANDARD.encode(fs::read(folder.join("agency.der")).unwrap());
    let text = honest.replace(&STANDARD.encode(&signer.certificate.der), &token);
    let (from, until) = (text.find("<ds:SignedInfo").unwrap(), text.find("</ds:SignedInfo>").unwrap() + 16);
    fs::write(folder.join("signed-info"), &text[from..until]).unwrap();
    let out = ["-out", "signature", "signed-info"];
    match name {
        "ed25519" => fs::write(folder.join("signature"), [0; 64]).unwrap(),
        _ => openssl(folder, &[&["dgst", "-sha256", "-sign", "key.pem"], &out[..]].concat()),
    }
    let (from, until) = (text.find("<ds:SignatureValue>").unwrap() + 19, text.find("</ds:SignatureValue>").unwrap());
    let mut text = text.clone();
    text.replace_range(from..until, &STANDARD.encode(fs::read(folder.join("signature")).unwrap()));
    text
}

fn verdict(folder: &Path, now: Timestamp) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_punte"));
    let policy = ["trust", "verify", "--certificate", "agency.pem", "--message", "message.xml", "--json"];
    let done = command.current_dir(folder).args(policy).args(["--now", &now.to_string()]).output().unwrap();
    let verdict: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(if verdict["accepted"] == true { 0 } else { 1 }));
    verdict
}

fn openssl(folder: &Path, words: &[&str]) {
    let done =
        Command::new("openssl").current_dir(folder).args(words).output().expect("openssl is missing: run tests/run");
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
}
