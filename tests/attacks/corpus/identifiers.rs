//! An identifier that stands twice, in every spelling that some reader knows, before and behind the signed element.

use super::{Case, EVIL, evil_body, honest, replaced, signed_body};
use crate::forgery::WSU;

const SPELLINGS: [(&str, &str); 9] = [
    ("wsu", "wsu:Id=\"#\""),
    ("wsu-by-another-prefix", "xmlns:z=\"WSU\" z:Id=\"#\""),
    ("xml", "xml:id=\"#\""),
    ("bare", "Id=\"#\""),
    ("upper", "ID=\"#\""),
    ("lower", "id=\"#\""),
    ("saml1", "AssertionID=\"#\""),
    ("of-another-namespace", "xmlns:z=\"urn:z\" z:Id=\"#\""),
    ("old-wsu", "xmlns:z=\"http://schemas.xmlsoap.org/ws/2003/06/utility\" z:Id=\"#\""),
];

pub fn cases() -> Vec<Case> {
    let text = honest();
    let mut cases = Vec::new();
    for (name, spelling) in SPELLINGS {
        for target in ["BODY", "TS"] {
            let attribute = spelling.replace('#', target).replace("WSU", WSU);
            let decoy = format!("<x {attribute}>{EVIL}</x>");
            let before = replaced(&text, "<s:Header>", &format!("<s:Header>{decoy}"));
            let behind = replaced(&text, "</s:Header>", &format!("{decoy}</s:Header>"));
            let inside = replaced(&text, "</ds:Signature>", &format!("<ds:Object>{decoy}</ds:Object></ds:Signature>"));
            let name = |place: &str| format!("{name}-{target}-{place}").to_lowercase();
            cases.push(Case::new(name("before"), "duplicate-id", before));
            cases.push(Case::new(name("behind"), "duplicate-id", behind));
            cases.push(Case::new(name("in-object"), "duplicate-id", inside));
        }
        // The signed Body has gone; what stands there only looks as if it were meant.
        let attribute = format!(" {}", spelling.replace('#', "BODY").replace("WSU", WSU));
        let expected = match name {
            "wsu" | "wsu-by-another-prefix" | "xml" => "digest-mismatch",
            _ => "dangling-reference",
        };
        cases.push(Case::new(
            format!("{name}-instead"),
            expected,
            replaced(&text, &signed_body(), &evil_body(&attribute)),
        ));
    }
    let object = "<ds:Object Id=\"BODY\"/></ds:Signature>";
    cases.push(Case::new("object-of-the-same-name", "duplicate-id", replaced(&text, "</ds:Signature>", object)));
    let both = replaced(&text, "wsu:Id=\"BODY\"", "wsu:Id=\"BODY\" xml:id=\"BODY\"");
    cases.push(Case::new("both-on-one-element", "duplicate-id", both));
    let signature = replaced(&text, "<ds:Signature ", "<ds:Signature Id=\"BODY\" ");
    cases.push(Case::new("the-signature-itself", "duplicate-id", signature));
    cases.push(Case::new(
        "two-tokens",
        "duplicate-id",
        replaced(
            &text,
            "<wsse:BinarySecurityToken",
            "<wsse:BinarySecurityToken wsu:Id=\"TOKEN\">AA==</wsse:BinarySecurityToken><wsse:BinarySecurityToken",
        ),
    ));
    cases
}
