//! The corpus of forged messages: each case has a name, the reason for which it is refused, and is made anew for each run.
//!
//! `PUNTE_CORPUS=FOLDER cargo test --test attacks the_corpus` leaves the messages, the certificate and the profile there.

mod algorithms;
mod coverage;
mod genuine;
mod identifiers;
mod keys;
mod references;
mod texts;
mod times;
mod wrapping;
mod xml_tricks;

use crate::{
    forgery::{CONTENT, Forgery},
    pki::{agency_signer, now},
};

/// What Eve would have us read.
pub const EVIL: &str = "<a:Answer xmlns:a=\"urn:demo\"><a:Name>Eve</a:Name></a:Answer>";

pub struct Case {
    pub name: String,
    /// The stable reason, or `accepted` for messages that mean what was signed.
    pub expected: &'static str,
    pub message: Vec<u8>,
}

impl Case {
    fn new(name: impl Into<String>, expected: &'static str, message: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), expected, message: message.into() }
    }
}

/// Everything that must be refused.
pub fn forged() -> Vec<Case> {
    let classes: [(&str, Vec<Case>); 9] = [
        ("wrapping", wrapping::cases()),
        ("identifiers", identifiers::cases()),
        ("coverage", coverage::cases()),
        ("references", references::cases()),
        ("algorithms", algorithms::cases()),
        ("keys", keys::cases()),
        ("texts", texts::cases()),
        ("times", times::cases()),
        ("xml", xml_tricks::cases()),
    ];
    classes.into_iter().flat_map(|(class, cases)| under(class, cases)).collect()
}

/// What looks odd, and means exactly what the agency signed.
pub fn genuine() -> Vec<Case> {
    let encoded = genuine::in_other_encodings();
    under("genuine", genuine::cases().into_iter().chain(encoded).collect())
}

fn under(class: &str, mut cases: Vec<Case>) -> Vec<Case> {
    for case in &mut cases {
        case.name = format!("{class}-{}", case.name);
    }
    cases
}

fn honest() -> String {
    Forgery::honest(&agency_signer("soap"), now()).write()
}

/// The honest message with something else inside, signed by the agency.
fn signed(change: impl FnOnce(&mut Forgery<'_>)) -> String {
    let signer = agency_signer("soap");
    let mut forgery = Forgery::honest(&signer, now());
    change(&mut forgery);
    forgery.write()
}

fn signed_body() -> String {
    format!("<s:Body wsu:Id=\"BODY\">{CONTENT}</s:Body>")
}

fn evil_body(attributes: &str) -> String {
    format!("<s:Body{attributes}>{EVIL}</s:Body>")
}

/// From the start of the first `from` to the end of the first `until` after it.
fn piece<'a>(text: &'a str, from: &str, until: &str) -> &'a str {
    let start = text.find(from).unwrap();
    let end = start + text[start..].find(until).unwrap() + until.len();
    &text[start..end]
}

/// `text` with one occurrence replaced; it must be there.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not there");
    text.replacen(from, to, 1)
}
