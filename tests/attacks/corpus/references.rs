//! References to elsewhere, and transforms that make the signed thing another than the one that is read.

use super::{Case, honest, replaced, signed};
use crate::forgery::{DS, EXC, WSSE};

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, uri, expected) in [
        ("empty", "=", "external-reference"),
        ("missing", "-", "external-reference"),
        ("bare-hash", "=#", "dangling-reference"),
        ("nowhere", "NOWHERE", "dangling-reference"),
        ("xpointer-root", "=#xpointer(/)", "dangling-reference"),
        ("xpointer-id", "=#xpointer(id('BODY'))", "dangling-reference"),
        ("element-scheme", "=#element(BODY/1)", "dangling-reference"),
        ("percent", "=#%42ODY", "dangling-reference"),
        ("spaces", "=# BODY", "dangling-reference"),
        ("http", "http://localhost/evil", "external-reference"),
        ("https", "https://localhost/evil#BODY", "external-reference"),
        ("file", "file:///etc/passwd", "external-reference"),
        ("unc", "=\\\\localhost\\share\\x", "external-reference"),
        ("attachment", "cid:part@localhost", "external-reference"),
        ("relative", "=body.xml", "external-reference"),
        ("relative-with-fragment", "=.#BODY", "external-reference"),
        ("case", "=#body", "dangling-reference"),
    ] {
        let message = signed(|forgery| forgery.references = vec!["TS", "BODY", uri]);
        cases.push(Case::new(format!("besides-{name}"), expected, message));
        let message = signed(|forgery| forgery.references = vec!["TS", uri]);
        cases.push(Case::new(format!("instead-of-the-body-{name}"), expected, message));
    }
    cases.extend(transforms());
    let text = honest();
    cases.push(Case::new("edited-uri", "signature-mismatch", replaced(&text, "URI=\"#BODY\"", "URI=\"#TS\"")));
    cases.push(Case::new(
        "token-elsewhere",
        "external-reference",
        replaced(&text, "URI=\"#TOKEN\"", "URI=\"http://localhost/token\""),
    ));
    cases.push(Case::new(
        "token-in-a-file",
        "external-reference",
        replaced(&text, "URI=\"#TOKEN\"", "URI=\"file:///etc/ssl/x.pem\""),
    ));
    cases.push(Case::new("token-nowhere", "dangling-reference", replaced(&text, "URI=\"#TOKEN\"", "URI=\"#NOWHERE\"")));
    cases.push(Case::new("token-is-the-body", "key-info", replaced(&text, "URI=\"#TOKEN\"", "URI=\"#BODY\"")));
    cases
}

fn transforms() -> Vec<Case> {
    let exclusive = transform(EXC, "");
    let evil = "<xsl:stylesheet xmlns:xsl=\"http://www.w3.org/1999/XSL/Transform\" version=\"1.0\"><xsl:template match=\"/\"><xsl:value-of select=\"document('file:///etc/passwd')\"/></xsl:template></xsl:stylesheet>";
    let xpath = "http://www.w3.org/TR/1999/REC-xpath-19991116";
    let filter = "<f:XPath xmlns:f=\"http://www.w3.org/2002/06/xmldsig-filter2\" Filter=\"subtract\">//*[local-name()='Name']</f:XPath>";
    let str_transform =
        "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#STR-Transform";
    let foreign = [
        ("xslt", "http://www.w3.org/TR/1999/REC-xslt-19991116", evil),
        ("xpath", xpath, "<ds:XPath>not(ancestor-or-self::a:Name)</ds:XPath>"),
        ("xpath-that-counts-for-ever", xpath, "<ds:XPath>count(//. | //@* | //namespace::*) = 0</ds:XPath>"),
        ("xpath-filter", "http://www.w3.org/2002/06/xmldsig-filter2", filter),
        ("base64", "http://www.w3.org/2000/09/xmldsig#base64", ""),
        ("enveloped", "http://www.w3.org/2000/09/xmldsig#enveloped-signature", ""),
        ("exclusive-with-comments", "http://www.w3.org/2001/10/xml-exc-c14n#WithComments", ""),
        ("inclusive", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315", ""),
        ("inclusive-with-comments", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments", ""),
        ("inclusive-1.1", "http://www.w3.org/2006/12/xml-c14n11", ""),
        ("canonical-2", "http://www.w3.org/2010/xml-c14n2", ""),
        ("token-reference", str_transform, ""),
        ("decryption", "http://www.w3.org/2002/07/decrypt#XML", ""),
        ("unknown", "urn:unknown", ""),
        ("nothing", "", ""),
    ];
    let mut cases = Vec::new();
    for (name, uri, inside) in foreign {
        for (how, transforms) in [
            ("alone", transform(uri, inside)),
            ("behind", exclusive.clone() + &transform(uri, inside)),
            ("before", transform(uri, inside) + &exclusive),
        ] {
            cases.push(Case::new(
                format!("transform-{name}-{how}"),
                "transform",
                signed(|forgery| forgery.transforms = transforms),
            ));
        }
        if name != "nothing" {
            cases.push(Case::new(
                format!("canonicalization-{name}"),
                "canonicalization",
                signed(|forgery| forgery.canonicalization = uri),
            ));
        }
    }
    cases.push(Case::new("no-transform", "transform", signed(|forgery| forgery.transforms = String::new())));
    cases.push(Case::new("transform-twice", "transform", signed(|forgery| forgery.transforms = exclusive.repeat(2))));
    cases.push(Case::new(
        "transform-of-another-namespace",
        "transform",
        signed(|forgery| forgery.transforms = format!("<Transform xmlns=\"{WSSE}\" Algorithm=\"{EXC}\"></Transform>")),
    ));
    // The list of prefixes is part of what is signed: with another one the signature no longer holds.
    let inclusive =
        format!("<e:InclusiveNamespaces xmlns:e=\"{EXC}\" PrefixList=\"s wsse wsu #default\"></e:InclusiveNamespaces>");
    let listed = replaced(&honest(), &exclusive, &transform(EXC, &inclusive));
    cases.push(Case::new("prefixes-are-added", "signature-mismatch", listed));
    let text = honest();
    let method = format!("<ds:CanonicalizationMethod Algorithm=\"{EXC}\">");
    cases.push(Case::new(
        "prefixes-are-added-for-the-signature",
        "signature-mismatch",
        replaced(&text, &method, &format!("{method}{inclusive}")),
    ));
    let manifest = format!(
        "<ds:Object xmlns:ds=\"{DS}\"><ds:Manifest Id=\"M\"><ds:Reference URI=\"#BODY\"/></ds:Manifest></ds:Object></wsse:Security>"
    );
    cases.push(Case::new("manifest-for-the-body", "reference-place", {
        let text = signed(|forgery| {
            forgery.references = vec!["TS", "M"];
        });
        replaced(&text, "</wsse:Security>", &manifest)
    }));
    cases
}

fn transform(uri: &str, inside: &str) -> String {
    format!("<ds:Transform Algorithm=\"{uri}\">{inside}</ds:Transform>")
}
