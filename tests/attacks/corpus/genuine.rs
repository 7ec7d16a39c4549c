//! Messages of unusual looks that mean what the agency signed: refusing them would be a defect too.

use super::{Case, honest, piece, replaced, signed};
use crate::{
    forgery::{Forgery, SOAP12},
    pki::{agency_signer, now},
};
use jiff::SignedDuration;

pub fn cases() -> Vec<Case> {
    let text = honest();
    let mut messages = vec![
        ("as-usual".to_owned(), text.clone()),
        ("soap-1.2".into(), signed(|forgery| forgery.soap = SOAP12)),
        (
            "for-the-ultimate-receiver".into(),
            signed(|forgery| {
                forgery.soap = SOAP12;
                forgery.security_attributes = " s:role=\"http://www.w3.org/2003/05/soap-envelope/role/ultimateReceiver\" s:mustUnderstand=\"true\"";
            }),
        ),
        ("with-a-list-of-prefixes".into(), signed(|forgery| forgery.prefixes = &["s", "wsu", "wsse"])),
        (
            "with-unknown-and-default-prefixes".into(),
            signed(|forgery| forgery.prefixes = &["#default", "nobody", "xml"]),
        ),
        (
            "a-minute-old".into(),
            signed(|forgery| {
                forgery.created = now() - SignedDuration::from_secs(60);
                forgery.expires = now() + SignedDuration::from_secs(1);
            }),
        ),
        ("just-within-the-skew".into(), signed(|forgery| forgery.created = now() + SignedDuration::from_secs(59))),
        ("signed-token".into(), signed(|forgery| forgery.references = vec!["TS", "BODY", "TOKEN"])),
        ("body-first".into(), signed(|forgery| forgery.references = vec!["BODY", "TS"])),
        ("with-a-mark".into(), format!("\u{FEFF}{text}")),
        ("declared".into(), format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n{text}\r\n")),
        ("comments-around".into(), format!("<!-- a -->{text}<!-- b -->")),
        ("comment-between-elements".into(), replaced(&text, "<a:Name>", "<!-- c --><a:Name>")),
        ("white-space-in-the-values".into(), text.replace("<ds:SignatureValue>", "<ds:SignatureValue>\n    ")),
        ("default-namespace-undone-once-more".into(), replaced(&text, "<s:Body ", "<s:Body xmlns=\"\" ")),
        ("cdata-for-text".into(), replaced(&text, "Ana", "<![CDATA[Ana]]>")),
        ("references-for-characters".into(), replaced(&text, "Ana", "&#65;n&#x61;")),
        ("other-quotes-and-spaces".into(), replaced(&text, "<s:Body wsu:Id=\"BODY\">", "<s:Body\n wsu:Id='BODY'  >")),
        ("another-header".into(), replaced(&text, "<s:Header>", "<s:Header><x xmlns=\"urn:x\" id=\"1\"/>")),
        (
            "security-for-somebody-else-too".into(),
            replaced(&text, "</s:Header>", "<wsse:Security s:actor=\"urn:another\"/></s:Header>"),
        ),
        (
            "bases-and-languages-outside".into(),
            replaced(
                &text,
                "<s:Envelope ",
                "<s:Envelope xml:base=\"http://localhost/\" xml:lang=\"mk\" xml:space=\"preserve\" ",
            ),
        ),
        (
            "prefixes-outside-that-nobody-uses".into(),
            replaced(&text, "<s:Envelope ", "<s:Envelope xmlns:unused=\"urn:u\" xmlns=\"urn:default\" "),
        ),
        (
            "identifiers-in-the-data".into(),
            signed(|forgery| forgery.body = forgery.body.replace("<a:Name>", "<a:Name id=\"1\" ID=\"1\" Id=\"1\">")),
        ),
    ];
    let signer = agency_signer("soap");
    for (name, key_info) in super::keys::forms(&signer) {
        messages.push((format!("key-by-{name}"), Forgery { key_info, ..Forgery::honest(&signer, now()) }.write()));
    }
    let value = piece(&text, "<ds:SignatureValue>", "</ds:SignatureValue>");
    let lines: Vec<String> = value.as_bytes()[19..value.len() - 20]
        .chunks(64)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    messages.push((
        "value-in-lines".into(),
        replaced(&text, value, &format!("<ds:SignatureValue>{}</ds:SignatureValue>", lines.join("\r\n"))),
    ));
    messages.into_iter().map(|(name, text)| Case::new(name, "accepted", text)).collect()
}

/// A signature within XML is about characters, in whatever encoding they come.
pub fn in_other_encodings() -> Vec<Case> {
    let text = honest();
    let wide = |text: &str, order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    let declared = format!("<?xml version='1.0' encoding='ISO-8859-1'?>{text}");
    vec![
        Case::new("utf16-big", "accepted", wide(&format!("\u{FEFF}{text}"), u16::to_be_bytes)),
        Case::new("utf16-little", "accepted", wide(&format!("\u{FEFF}{text}"), u16::to_le_bytes)),
        Case::new("utf16-big-without-mark", "accepted", wide(&text, u16::to_be_bytes)),
        Case::new("utf16-little-without-mark", "accepted", wide(&text, u16::to_le_bytes)),
        Case::new("declared-latin1", "accepted", declared),
    ]
}
