//! Texts that one reader sees whole and another one cut short: comments, instructions and elements inside of values.

use super::{Case, honest, replaced, signed};
use crate::forgery::{Forgery, token_reference};
use crate::pki::{agency_signer, now};

pub fn cases() -> Vec<Case> {
    let text = honest();
    let mut cases = Vec::new();
    for (value, expected) in [
        ("ds:DigestValue", "not-plain-text"),
        ("ds:SignatureValue", "not-plain-text"),
        ("wsu:Created", "comment-in-text"),
        ("wsu:Expires", "comment-in-text"),
    ] {
        let (open, close) = (format!("<{value}>"), format!("</{value}>"));
        let short = value.split_once(':').unwrap().1.to_lowercase();
        for (place, edited) in [
            ("before", replaced(&text, &open, &format!("{open}<!-- -->"))),
            ("behind", replaced(&text, &close, &format!("<!-- -->{close}"))),
            ("between", inside(&text, &open, "<!---->")),
        ] {
            cases.push(Case::new(format!("comment-{place}-{short}"), expected, edited));
        }
        cases.push(Case::new(format!("instruction-in-{short}"), "xml", inside(&text, &open, "<?x?>")));
        // An element inside changes what was digested, except in the signature's own value.
        let of_element = match value {
            "ds:SignatureValue" => "not-plain-text",
            "ds:DigestValue" => "signature-mismatch",
            _ => "digest-mismatch",
        };
        cases.push(Case::new(format!("element-in-{short}"), of_element, inside(&text, &open, "<x/>")));
    }
    for (name, value) in [
        ("comment-cuts-a-value", "A<!-- -->na"),
        ("comment-before-a-value", "<!-- -->Ana"),
        ("comment-behind-a-value", "Ana<!-- x -->"),
        ("comment-hides-in-cdata-neighbours", "<![CDATA[A]]><!-- -->na"),
        ("two-comments-cut-a-value", "A<!-- --><!-- -->na"),
    ] {
        cases.push(Case::new(name, "comment-in-text", replaced(&text, "Ana", value)));
    }
    cases.push(Case::new("instruction-cuts-a-value", "xml", replaced(&text, "Ana", "A<?x y?>na")));
    cases.push(Case::new("entity-cuts-a-value", "xml", replaced(&text, "Ana", "A&x;na")));
    cases.push(Case::new("value-is-changed", "digest-mismatch", replaced(&text, "Ana", "Eve")));
    cases.push(Case::new("value-in-another-case", "digest-mismatch", replaced(&text, "Ana", "ana")));
    cases.push(Case::new("value-with-a-space", "digest-mismatch", replaced(&text, "Ana", "Ana ")));
    cases.push(Case::new("value-with-a-line-end", "digest-mismatch", replaced(&text, "Ana", "Ana\r\n")));
    cases.push(Case::new("value-with-a-hidden-character", "digest-mismatch", replaced(&text, "Ana", "A\u{200B}na")));
    cases.push(Case::new(
        "value-not-composed-alike",
        "digest-mismatch",
        replaced(&with_value("\u{E9}"), "\u{E9}", "e\u{301}"),
    ));
    cases.push(Case::new("white-space-between-elements", "digest-mismatch", replaced(&text, "<a:Name>", " <a:Name>")));
    cases.push(Case::new("digest-is-edited", "signature-mismatch", inside(&text, "<ds:DigestValue>", "A")));
    let signer = agency_signer("soap");
    let key_info = token_reference(
        "<wsse:KeyIdentifier ValueType=\"http://docs.oasis-open.org/wss/oasis-wss-soap-message-security-1.1#ThumbprintSHA1\">AA<!-- -->AA</wsse:KeyIdentifier>",
    );
    cases.push(Case::new(
        "comment-in-key-identifier",
        "not-plain-text",
        Forgery { key_info, ..Forgery::honest(&signer, now()) }.write(),
    ));
    let token = replaced(&text, "</wsse:BinarySecurityToken>", "<!-- --></wsse:BinarySecurityToken>");
    cases.push(Case::new("comment-in-token", "not-plain-text", token));
    cases
}

/// `what` four characters into the text of the element that `open` opens.
fn inside(text: &str, open: &str, what: &str) -> String {
    let at = text.find(open).unwrap() + open.len() + 4;
    format!("{}{what}{}", &text[..at], &text[at..])
}

fn with_value(value: &str) -> String {
    signed(|forgery| forgery.body = forgery.body.replace("Ana", value))
}
