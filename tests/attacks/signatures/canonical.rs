//! Exclusive canonicalization, compared with libxml2's own, byte for byte, on generated documents and their subtrees.
//!
//! `PUNTE_CANONICAL` makes more of them, `PUNTE_CANONICAL_SEED` repeats a run.

use super::documents::{Document, Generator};
use punte::xml;
use rand::Rng;
use std::{
    io::Write,
    process::{Command, Stdio},
};

#[test]
fn our_canonical_form_is_libxml2s_byte_for_byte() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("PUNTE_CANONICAL_SEED").unwrap_or_else(|| rand::rng().random());
    let count = number("PUNTE_CANONICAL").unwrap_or(4000);
    println!("PUNTE_CANONICAL_SEED={seed}");
    let documents: Vec<_> = (0..count).map(|number| Generator::new(seed.wrapping_add(number)).document()).collect();
    let theirs = by_libxml2(&documents);
    assert_eq!(theirs.len(), documents.len());
    let mut bytes = 0;
    for (document, theirs) in documents.iter().zip(theirs) {
        let ours = ours(document);
        bytes += ours.len();
        assert_eq!(
            String::from_utf8_lossy(&ours),
            String::from_utf8_lossy(&theirs),
            "seed {seed}: element {}, prefixes {:?} of {}",
            document.apex,
            document.prefixes,
            document.text
        );
    }
    println!("{count} subtrees, {bytes} canonical bytes, all the same");
}

#[test]
fn the_canonical_form_is_its_own_canonical_form() {
    for seed in 0..500 {
        let once = String::from_utf8(ours(&Document { apex: 0, prefixes: vec![], ..Generator::new(seed).document() }))
            .unwrap();
        let twice = ours(&Document { text: once.clone(), apex: 0, prefixes: vec![] });
        assert_eq!(once, String::from_utf8_lossy(&twice), "seed {seed}");
    }
}

/// Without the guard, which would refuse the processing instructions.
fn ours(document: &Document) -> Vec<u8> {
    let parsed =
        roxmltree::Document::parse(&document.text).unwrap_or_else(|error| panic!("{error}: {}", document.text));
    let index = document.apex.to_string();
    let apex = parsed.descendants().find(|node| node.attribute("i") == Some(&index)).unwrap();
    let mut canonical = Vec::new();
    xml::canonicalize(apex, &document.prefixes, &mut canonical);
    canonical
}

/// One process for all.
fn by_libxml2(documents: &[Document]) -> Vec<Vec<u8>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/attacks/signatures/canonical.py");
    let mut python = Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = python.stdin.take().unwrap();
    let asked = |document: &Document| serde_json::json!({"text": document.text, "i": document.apex.to_string(), "prefixes": document.prefixes});
    let lines: String = documents.iter().map(|document| format!("{}\n", asked(document))).collect();
    let writing = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let done = python.wait_with_output().unwrap();
    assert!(done.status.success());
    writing.join().unwrap().unwrap();
    let bytes = |line: &str| -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
        (0..line.len()).step_by(2).map(digit).collect()
    };
    String::from_utf8(done.stdout).unwrap().lines().map(bytes).collect()
}
