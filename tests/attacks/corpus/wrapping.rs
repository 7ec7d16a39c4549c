//! The signed Body is kept where its digest still fits, and another one stands where readers look.

use super::{Case, EVIL, evil_body, honest, piece, replaced, signed_body};
use crate::forgery::{DS, SOAP11, SOAP12};

pub fn cases() -> Vec<Case> {
    let text = honest();
    let body = signed_body();
    // The Body's place is taken; the signed one goes where the closure puts it.
    let moved = |at: &str, with: &str| replaced(&replaced(&text, &body, &evil_body("")), at, with);
    let mut cases = vec![
        Case::new(
            "body-in-wrapper-in-header",
            "reference-place",
            moved("<s:Header>", &format!("<s:Header><w>{body}</w>")),
        ),
        Case::new("body-as-header", "body-not-signed", moved("<s:Header>", &format!("<s:Header>{body}"))),
        Case::new(
            "body-as-header-that-must-be-understood",
            "reference-place",
            moved(
                "<s:Header>",
                &format!("<s:Header><w s:mustUnderstand=\"0\" s:actor=\"{SOAP11}actor/next\">{body}</w>"),
            ),
        ),
        Case::new("body-in-security", "body-not-signed", moved("</wsse:Security>", &format!("{body}</wsse:Security>"))),
        Case::new(
            "body-in-wrapper-in-security",
            "reference-place",
            moved("</wsse:Security>", &format!("<w>{body}</w></wsse:Security>")),
        ),
        Case::new(
            "body-in-object-of-the-signature",
            "reference-place",
            moved("</ds:Signature>", &format!("<ds:Object>{body}</ds:Object></ds:Signature>")),
        ),
        Case::new("body-in-keyinfo", "reference-place", moved("</ds:KeyInfo>", &format!("<w>{body}</w></ds:KeyInfo>"))),
        Case::new(
            "body-in-a-second-signature",
            "shape",
            moved(
                "</wsse:Security>",
                &format!(
                    "<ds:Signature xmlns:ds=\"{DS}\"><ds:Object>{body}</ds:Object></ds:Signature></wsse:Security>"
                ),
            ),
        ),
        Case::new(
            "body-in-a-second-security-header",
            "reference-place",
            moved("<s:Header>", &format!("<s:Header><wsse:Security s:actor=\"urn:another\">{body}</wsse:Security>")),
        ),
        Case::new(
            "two-bodies-evil-first",
            "envelope-shape",
            replaced(&text, &body, &format!("{}{body}", evil_body(""))),
        ),
        Case::new(
            "two-bodies-evil-last",
            "envelope-shape",
            replaced(&text, &body, &format!("{body}{}", evil_body(""))),
        ),
        Case::new("nested-body", "reference-place", replaced(&text, &body, &format!("<s:Body>{EVIL}{body}</s:Body>"))),
        Case::new(
            "nested-body-deep",
            "reference-place",
            replaced(&text, &body, &format!("<s:Body>{EVIL}<w><w>{body}</w></w></s:Body>")),
        ),
        Case::new(
            "body-in-a-sibling-under-another-name",
            "envelope-shape",
            replaced(&text, &body, &format!("<x>{body}</x>{}", evil_body(""))),
        ),
        Case::new("body-after-a-stranger", "envelope-shape", replaced(&text, &body, &format!("<x/>{body}"))),
        Case::new("stranger-after-the-body", "envelope-shape", replaced(&text, &body, &format!("{body}<x/>"))),
        Case::new(
            "two-headers-security-in-the-second",
            "envelope-shape",
            replaced(&text, "<s:Header>", "<s:Header/><s:Header>"),
        ),
        Case::new("header-behind-the-body", "envelope-shape", header_last(&text)),
        Case::new("no-header", "envelope-shape", replaced(&text, piece(&text, "<s:Header>", "</s:Header>"), "")),
        Case::new("body-of-the-other-soap", "envelope-shape", other_soap_body(&text, &body)),
        Case::new("header-of-the-other-soap", "envelope-shape", other_soap_header(&text)),
        Case::new("all-of-the-other-soap", "digest-mismatch", text.replace(SOAP11, SOAP12)),
        Case::new("envelope-of-no-soap", "not-soap", text.replace(SOAP11, "urn:not-soap")),
        Case::new("soap-namespace-with-a-space", "not-soap", text.replace(SOAP11, &format!("{SOAP11} "))),
    ];
    cases.extend(whole_envelopes(&text, &body));
    cases
}

/// The whole honest envelope inside of an envelope of Eve's.
fn whole_envelopes(text: &str, body: &str) -> Vec<Case> {
    let security = piece(text, "<wsse:Security", "</wsse:Security>");
    let root = piece(text, "<s:Envelope", ">");
    let outer = |header: &str, body: &str| format!("{root}<s:Header>{header}</s:Header>{body}</s:Envelope>");
    let in_body = format!("<s:Body>{EVIL}{text}</s:Body>");
    let stripped = replaced(text, security, "");
    vec![
        Case::new("envelope-in-header", "no-security-header", outer(text, &evil_body(""))),
        Case::new("envelope-in-body", "no-security-header", outer("", &in_body)),
        Case::new(
            "envelope-in-body-security-outside",
            "reference-place",
            outer(security, &format!("<s:Body>{EVIL}{stripped}</s:Body>")),
        ),
        Case::new("envelope-twice-in-body", "duplicate-id", outer(security, &in_body)),
        Case::new(
            "envelope-in-object",
            "reference-place",
            outer(
                &replaced(security, "</ds:Signature>", &format!("<ds:Object>{stripped}</ds:Object></ds:Signature>")),
                &evil_body(""),
            ),
        ),
        Case::new("envelope-as-root-child", "envelope-shape", format!("{root}{text}{}</s:Envelope>", evil_body(""))),
        Case::new("bare-root", "not-soap", body.replace("s:Body", "Body").replace("wsu:Id", "Id")),
        Case::new("envelope-in-another-root", "not-soap", format!("<x>{text}</x>")),
    ]
}

fn header_last(text: &str) -> String {
    let header = piece(text, "<s:Header>", "</s:Header>").to_owned();
    replaced(&replaced(text, &header, ""), "</s:Envelope>", &format!("{header}</s:Envelope>"))
}

fn other_soap_body(text: &str, body: &str) -> String {
    replaced(text, body, &format!("<o:Body xmlns:o=\"{SOAP12}\" wsu:Id=\"BODY\">{EVIL}</o:Body>"))
}

fn other_soap_header(text: &str) -> String {
    let renamed = replaced(text, "<s:Header>", &format!("<o:Header xmlns:o=\"{SOAP12}\">"));
    replaced(&renamed, "</s:Header>", "</o:Header>")
}
