//! Something that counts is not signed: the Body, the Timestamp, or all but a part of them.

use super::{Case, EVIL, honest, piece, replaced, signed, signed_body};
use crate::forgery::{CONTENT, DS, SOAP11, SOAP12, WSU};

pub fn cases() -> Vec<Case> {
    let text = honest();
    let only = |references: &[&'static str]| signed(|forgery| forgery.references = references.to_vec());
    let signature = piece(&text, "<ds:Signature ", "</ds:Signature>");
    let timestamp = piece(&text, "<wsu:Timestamp", "</wsu:Timestamp>");
    let fresh = timestamp.replace(" wsu:Id=\"TS\"", "");
    let child = CONTENT.replace("<a:Answer", "<a:Answer wsu:Id=\"CHILD\"");
    let child_body = format!("<s:Body wsu:Id=\"BODY\">{child}</s:Body>");
    let only_child = signed(|forgery| {
        forgery.body = child_body.clone();
        forgery.references = vec!["TS", "CHILD"];
    });
    vec![
        Case::new("nothing-is-signed", "shape", replaced(&text, signature, "")),
        Case::new("only-the-timestamp", "body-not-signed", only(&["TS"])),
        Case::new("only-timestamp-and-token", "body-not-signed", only(&["TS", "TOKEN"])),
        Case::new("only-the-body", "timestamp-not-signed", only(&["BODY"])),
        Case::new("only-a-child-of-the-body", "reference-place", only_child.clone()),
        Case::new(
            "a-child-of-the-body-with-evil-beside-it",
            "reference-place",
            replaced(&only_child, &child, &format!("{EVIL}{child}")),
        ),
        Case::new(
            "evil-behind-the-signed-content",
            "digest-mismatch",
            replaced(&text, CONTENT, &format!("{CONTENT}{EVIL}")),
        ),
        Case::new("no-reference", "reference-count", only(&[])),
        Case::new("nine-references", "reference-count", only(&["BODY"; 9])),
        Case::new(
            "references-are-removed",
            "signature-mismatch",
            replaced(&text, piece(&text, "<ds:Reference URI=\"#BODY\">", "</ds:Reference>"), ""),
        ),
        Case::new(
            "timestamp-replaced-signed-one-in-wrapper",
            "reference-place",
            replaced(&replaced(&text, timestamp, &fresh), "<s:Header>", &format!("<s:Header><w>{timestamp}</w>")),
        ),
        Case::new(
            "timestamp-replaced-signed-one-as-header",
            "timestamp-not-signed",
            replaced(&replaced(&text, timestamp, &fresh), "<s:Header>", &format!("<s:Header>{timestamp}")),
        ),
        Case::new(
            "timestamp-nested-in-another",
            "reference-place",
            replaced(&text, timestamp, &format!("<wsu:Timestamp>{timestamp}</wsu:Timestamp>")),
        ),
        Case::new("two-timestamps-fresh-first", "shape", replaced(&text, timestamp, &format!("{fresh}{timestamp}"))),
        Case::new("two-timestamps-fresh-last", "shape", replaced(&text, timestamp, &format!("{timestamp}{fresh}"))),
        Case::new("no-timestamp", "dangling-reference", replaced(&text, timestamp, "")),
        Case::new("never-a-timestamp", "shape", never_a_timestamp()),
        Case::new(
            "two-security-headers-empty-first",
            "second-security-header",
            replaced(&text, "<s:Header>", "<s:Header><wsse:Security/>"),
        ),
        Case::new(
            "two-security-headers-empty-last",
            "second-security-header",
            replaced(&text, "</s:Header>", "<wsse:Security s:mustUnderstand=\"1\"/></s:Header>"),
        ),
        Case::new(
            "two-security-headers-one-with-empty-actor",
            "second-security-header",
            replaced(&text, "</s:Header>", "<wsse:Security s:actor=\"\"/></s:Header>"),
        ),
        Case::new(
            "security-for-another",
            "no-security-header",
            replaced(&text, "<wsse:Security>", "<wsse:Security s:actor=\"urn:another\">"),
        ),
        Case::new(
            "security-for-the-next",
            "no-security-header",
            replaced(
                &text,
                "<wsse:Security>",
                &format!("<wsse:Security s:actor=\"{SOAP11}actor/next\" s:mustUnderstand=\"1\">"),
            ),
        ),
        Case::new(
            "security-for-another-role",
            "no-security-header",
            signed(|forgery| {
                forgery.soap = SOAP12;
                forgery.security_attributes = " s:role=\"urn:another\"";
            }),
        ),
        Case::new(
            "security-in-wrapper",
            "no-security-header",
            replaced(
                &replaced(&text, "<wsse:Security>", "<w><wsse:Security>"),
                "</wsse:Security>",
                "</wsse:Security></w>",
            ),
        ),
        Case::new(
            "no-security",
            "no-security-header",
            replaced(&text, piece(&text, "<wsse:Security", "</wsse:Security>"), ""),
        ),
        Case::new(
            "two-signatures-valid-first",
            "shape",
            replaced(&text, "</ds:Signature>", &format!("</ds:Signature><ds:Signature xmlns:ds=\"{DS}\"/>")),
        ),
        Case::new(
            "two-signatures-valid-last",
            "shape",
            replaced(&text, "<ds:Signature ", &format!("<ds:Signature xmlns:ds=\"{DS}\"/><ds:Signature ")),
        ),
        Case::new("two-signatures-both-valid", "shape", replaced(&text, signature, &format!("{signature}{signature}"))),
        Case::new("signature-in-the-body", "shape", in_the_body(&text, signature)),
        Case::new(
            "two-signed-infos",
            "shape",
            replaced(&text, "<ds:SignatureValue>", &format!("<ds:SignedInfo xmlns:ds=\"{DS}\"/><ds:SignatureValue>")),
        ),
        Case::new(
            "two-signature-values",
            "shape",
            replaced(&text, "<ds:SignatureValue>", "<ds:SignatureValue>AA==</ds:SignatureValue><ds:SignatureValue>"),
        ),
        Case::new("two-key-infos", "shape", replaced(&text, "<ds:KeyInfo>", "<ds:KeyInfo/><ds:KeyInfo>")),
        Case::new(
            "a-type-is-injected",
            "digest-mismatch",
            replaced(
                &text,
                "<a:Name>",
                "<a:Name xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"a:Other\">",
            ),
        ),
        Case::new(
            "nil-is-injected",
            "digest-mismatch",
            replaced(
                &text,
                "<a:Name>",
                "<a:Name xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:nil=\"true\">",
            ),
        ),
        Case::new(
            "base-is-injected",
            "digest-mismatch",
            replaced(
                &text,
                &signed_body(),
                &signed_body().replace("<s:Body", "<s:Body xml:base=\"http://localhost/\""),
            ),
        ),
        Case::new(
            "the-prefix-is-bound-anew",
            "digest-mismatch",
            replaced(&text, "xmlns:a=\"urn:demo\"", "xmlns:a=\"urn:evil\""),
        ),
        Case::new(
            "wsu-is-bound-anew-for-the-timestamp",
            "digest-mismatch",
            replaced(
                &text,
                "<wsu:Timestamp ",
                &format!("<wsu:Timestamp xmlns:wsu=\"{WSU}\" xmlns:s=\"urn:evil\" s:x=\"\" "),
            ),
        ),
    ]
}

fn never_a_timestamp() -> String {
    let text = signed(|forgery| forgery.references = vec!["BODY"]);
    replaced(&text, piece(&text, "<wsu:Timestamp", "</wsu:Timestamp>"), "")
}

fn in_the_body(text: &str, signature: &str) -> String {
    let without = replaced(text, signature, "");
    replaced(&without, "</s:Body>", &format!("{signature}</s:Body>"))
}
