//! Messages that somebody tampered with, each refused for the right reason.

use super::{profile, verify};
use crate::{
    forgery::{CONTENT, DS, EXC, Forgery, SOAP11, WSSE, WSU},
    pki::{agency_signer, now, policy, rogue_signer},
};
use jiff::SignedDuration;
use punte::{
    trust::{Algorithm, AnswerKind, Identity, ReplayCache, wss},
    xml,
};

const EVIL: &str = "<a:Answer xmlns:a=\"urn:demo\"><a:Name>Eve</a:Name></a:Answer>";

fn honest(signer: &Identity) -> String {
    Forgery::honest(signer, now()).write()
}

fn reason(text: &str) -> &'static str {
    match verify(text, &policy("soap", AnswerKind::Wss)) {
        Ok(_) => "accepted",
        Err(refusal) => refusal.reason(),
    }
}

/// The signed Body's element, as it stands in an honest message.
fn signed_body() -> String {
    format!("<s:Body wsu:Id=\"BODY\">{CONTENT}</s:Body>")
}

#[test]
fn the_honest_message_is_accepted() {
    assert_eq!(reason(&honest(&agency_signer("soap"))), "accepted");
}

#[test]
fn a_signed_body_that_was_moved_away_does_not_vouch_for_another() {
    let text = honest(&agency_signer("soap"));
    let evil = |id: &str| format!("<s:Body{id}>{EVIL}</s:Body>");
    let without = |replacement: &str| text.replace(&signed_body(), replacement);
    // Into a wrapper in the Header.
    let wrapped = without(&evil("")).replace("<s:Header>", &format!("<s:Header><w>{}</w>", signed_body()));
    assert_eq!(reason(&wrapped), "reference-place");
    // As a direct child of the Header.
    let child = without(&evil("")).replace("<s:Header>", &format!("<s:Header>{}", signed_body()));
    assert_eq!(reason(&child), "body-not-signed");
    // Into the Security header.
    let inside = without(&evil("")).replace("</wsse:Security>", &format!("{}</wsse:Security>", signed_body()));
    assert_eq!(reason(&inside), "body-not-signed");
    // Into the new Body.
    let nested = without(&format!("<s:Body>{EVIL}{}</s:Body>", signed_body()));
    assert_eq!(reason(&nested), "reference-place");
    // Into the Signature, as an Object.
    let object = format!("<ds:Object>{}</ds:Object></ds:Signature>", signed_body());
    assert_eq!(reason(&without(&evil("")).replace("</ds:Signature>", &object)), "reference-place");
    // Beside the root's children, under another name.
    let sibling = without(&format!("<x>{}</x>{}", signed_body(), evil("")));
    assert_eq!(reason(&sibling), "envelope-shape");
}

#[test]
fn an_identifier_that_stands_twice_is_refused_in_every_spelling() {
    let text = honest(&agency_signer("soap"));
    for attribute in [
        "wsu:Id=\"BODY\"",
        "xml:id=\"BODY\"",
        "xmlns:z=\"http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd\" z:Id=\"BODY\"",
    ] {
        let twice = text.replace("<s:Header>", &format!("<s:Header><x {attribute}>{EVIL}</x>"));
        assert_eq!(reason(&twice), "duplicate-id", "{attribute}");
    }
    let object = "<ds:Object Id=\"BODY\"/></ds:Signature>";
    assert_eq!(reason(&text.replace("</ds:Signature>", object)), "duplicate-id");
    // An attribute that merely looks like one is no identifier, and so is no target either.
    let decoy = text.replace(&signed_body(), &format!("<s:Body Id=\"BODY\">{EVIL}</s:Body>"));
    assert_eq!(reason(&decoy), "dangling-reference");
}

#[test]
fn an_envelope_has_one_header_and_one_body() {
    let text = honest(&agency_signer("soap"));
    let second = format!("<s:Body>{EVIL}</s:Body>");
    assert_eq!(reason(&text.replace(&signed_body(), &format!("{}{second}", signed_body()))), "envelope-shape");
    assert_eq!(reason(&text.replace(&signed_body(), &format!("{second}{}", signed_body()))), "envelope-shape");
    assert_eq!(reason(&text.replace(&signed_body(), &format!("<s:Header/>{}", signed_body()))), "envelope-shape");
    assert_eq!(reason(&text.replace(SOAP11, "urn:not-soap")), "not-soap");
    assert_eq!(reason("<a/>"), "not-soap");
}

#[test]
fn only_the_security_header_for_us_counts_and_only_one_may() {
    let signer = agency_signer("soap");
    let for_another = Forgery { security_attributes: " s:actor=\"urn:another\"", ..Forgery::honest(&signer, now()) };
    assert_eq!(reason(&for_another.write()), "no-security-header");
    let text = honest(&signer);
    let empty = "<s:Header><wsse:Security/>";
    assert_eq!(reason(&text.replace("<s:Header>", empty)), "second-security-header");
    let elsewhere = "<s:Header><wsse:Security s:actor=\"urn:another\"/>";
    assert_eq!(reason(&text.replace("<s:Header>", elsewhere)), "accepted");
    let body = text.find("<wsse:Security").unwrap()..text.find("</wsse:Security>").unwrap() + 16;
    assert_eq!(reason(&text.replace(&text[body], "")), "no-security-header");
    let second = format!("<ds:Signature xmlns:ds=\"{DS}\"/></wsse:Security>");
    assert_eq!(reason(&text.replace("</wsse:Security>", &second)), "shape");
}

#[test]
fn edited_content_does_not_fit_its_digest() {
    let text = honest(&agency_signer("soap"));
    assert_eq!(reason(&text.replace("Ana", "Eve")), "digest-mismatch");
    let later = (now() + SignedDuration::from_secs(60)).to_string();
    let much_later = (now() + SignedDuration::from_secs(6000)).to_string();
    assert_eq!(reason(&text.replace(&later, &much_later)), "digest-mismatch");
    let value = text.find("<ds:DigestValue>").unwrap() + 16;
    let mut edited = text.clone();
    edited.replace_range(value..value + 2, "AA");
    assert_eq!(reason(&edited), "signature-mismatch");
}

#[test]
fn what_must_be_signed_must_be_signed() {
    let signer = agency_signer("soap");
    let only = |references: &[&'static str]| {
        Forgery { references: references.to_vec(), ..Forgery::honest(&signer, now()) }.write()
    };
    assert_eq!(reason(&only(&["BODY"])), "timestamp-not-signed");
    assert_eq!(reason(&only(&["TS"])), "body-not-signed");
    assert_eq!(reason(&only(&["TS", "TOKEN"])), "body-not-signed");
    assert_eq!(reason(&only(&[])), "reference-count");
    assert_eq!(reason(&only(&["BODY"; 9])), "reference-count");
    assert_eq!(reason(&only(&["TS", "BODY", "NOWHERE"])), "dangling-reference");
    assert_eq!(reason(&only(&["TS", "BODY", "http://localhost/evil"])), "external-reference");
    assert_eq!(reason(&only(&["TS", "BODY", "file:///etc/passwd"])), "external-reference");
    // A second Timestamp beside the signed one leaves it open which one counts.
    let second = format!("<wsu:Timestamp xmlns:wsu=\"{WSU}\"/>");
    let two = Forgery { extra_in_security: second, ..Forgery::honest(&signer, now()) }.write();
    assert_eq!(reason(&two), "shape");
}

#[test]
fn time_counts_on_both_sides() {
    let signer = agency_signer("soap");
    let at = |created: i64, expires: i64| {
        let (created, expires) = (SignedDuration::from_secs(created), SignedDuration::from_secs(expires));
        reason(
            &Forgery { created: now() + created, expires: now() + expires, ..Forgery::honest(&signer, now()) }.write(),
        )
    };
    assert_eq!(at(-30, 30), "accepted");
    assert_eq!(at(59, 120), "accepted");
    assert_eq!(at(-100, -59), "accepted");
    assert_eq!(at(61, 120), "from-the-future");
    assert_eq!(at(-120, -61), "stale");
    assert_eq!(at(-361, 9999), "stale");
}

#[test]
fn a_message_is_accepted_once() {
    let text = honest(&agency_signer("soap"));
    let (policy, replays) = (policy("soap", AnswerKind::Wss), ReplayCache::default());
    let document = xml::parse(&text).unwrap();
    assert!(wss::verify(&document, &policy, now(), &replays).is_ok());
    for seconds in [0, 1, 59, 119] {
        let later = now() + SignedDuration::from_secs(seconds);
        let refusal = wss::verify(&document, &policy, later, &replays).err().map(|refusal| refusal.reason());
        assert_eq!(refusal, Some("replayed"), "after {seconds} s");
    }
    // White space around the value makes no new message of it.
    let spaced = text.replace("<ds:SignatureValue>", "<ds:SignatureValue>\n ");
    let refusal = wss::verify(&xml::parse(&spaced).unwrap(), &policy, now(), &replays).err();
    assert_eq!(refusal.map(|refusal| refusal.reason()), Some("replayed"));
}

/// `(r, n - s)` is as good a signature as `(r, s)`: the memory must not be of signatures.
#[test]
fn the_mirrored_ecdsa_signature_is_a_repetition_too() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let signer = agency_signer("rest");
    let envelope = format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body>{CONTENT}</s:Body></s:Envelope>");
    let signed = wss::sign(&envelope, &profile(Algorithm::EcdsaSha256), &signer, now()).unwrap();
    let value = signed.split("SignatureValue>").nth(1).unwrap().trim_end_matches("</ds:");
    let mut mirrored = STANDARD.decode(value).unwrap();
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let mut borrow = 0;
    for index in (0..32).rev() {
        let digit = i32::from_str_radix(&order[index * 2..index * 2 + 2], 16).unwrap();
        let difference = digit - i32::from(mirrored[32 + index]) - borrow;
        borrow = i32::from(difference < 0);
        mirrored[32 + index] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    let mirrored = signed.replace(value, &STANDARD.encode(mirrored));
    let (policy, replays) = (policy("rest", AnswerKind::Wss), ReplayCache::default());
    assert!(verify(&mirrored, &policy).is_ok(), "the mirrored signature holds by itself");
    assert!(wss::verify(&xml::parse(&signed).unwrap(), &policy, now(), &replays).is_ok());
    let refusal = wss::verify(&xml::parse(&mirrored).unwrap(), &policy, now(), &replays).err();
    assert_eq!(refusal.map(|refusal| refusal.reason()), Some("replayed"));
}

#[test]
fn a_strangers_key_counts_for_nothing_however_well_it_signs() {
    let rogue = rogue_signer();
    assert_eq!(reason(&honest(&rogue)), "signer-not-trusted");
    // With the agency's certificate shown, and the stranger's key used.
    let signer = agency_signer("soap");
    use base64::{Engine, engine::general_purpose::STANDARD};
    let (ours, theirs) = (STANDARD.encode(&rogue.certificate.der), STANDARD.encode(&signer.certificate.der));
    assert_eq!(reason(&honest(&rogue).replace(&ours, &theirs)), "signature-mismatch");
    // A bare key says nothing about whose it is.
    let bare = format!("<ds:KeyValue xmlns:ds=\"{DS}\"><ds:RSAKeyValue/></ds:KeyValue>");
    let forgery = Forgery { key_info: bare, ..Forgery::honest(&rogue, now()) };
    assert_eq!(reason(&forgery.write()), "key-info");
}

#[test]
fn the_token_must_stand_in_our_own_header() {
    let signer = agency_signer("soap");
    let text = honest(&signer);
    let (from, until) =
        (text.find("<wsse:BinarySecurityToken").unwrap(), text.find("</wsse:BinarySecurityToken>").unwrap() + 27);
    let token = text[from..until].to_owned();
    let moved = text.replace(&token, "").replace("<s:Header>", &format!("<s:Header>{token}"));
    assert_eq!(reason(&moved), "key-info");
    assert_eq!(reason(&text.replace("URI=\"#TOKEN\"", "URI=\"http://localhost/token\"")), "external-reference");
    assert_eq!(reason(&text.replace("URI=\"#TOKEN\"", "URI=\"#NOWHERE\"")), "dangling-reference");
}

#[test]
fn algorithms_come_from_the_policy_and_the_key() {
    let signer = agency_signer("soap");
    let with = |uri: &'static str| reason(&Forgery { algorithm_uri: uri, ..Forgery::honest(&signer, now()) }.write());
    assert_eq!(with("http://www.w3.org/2000/09/xmldsig#hmac-sha1"), "algorithm");
    assert_eq!(with("http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"), "algorithm");
    assert_eq!(with("http://www.w3.org/2000/09/xmldsig#rsa-sha1"), "algorithm");
    assert_eq!(with("http://www.w3.org/2001/04/xmldsig-more#rsa-md5"), "algorithm");
    assert_eq!(with(""), "algorithm");
    assert_eq!(with("http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256"), "signature-mismatch");
    let mut narrow = policy("soap", AnswerKind::Wss);
    narrow.algorithms = vec![Algorithm::EcdsaSha256];
    assert_eq!(verify(&honest(&signer), &narrow).err().map(|refusal| refusal.reason()), Some("algorithm"));
    let digest =
        Forgery { digest_uri: "http://www.w3.org/2001/04/xmldsig-more#md5", ..Forgery::honest(&signer, now()) };
    assert_eq!(reason(&digest.write()), "digest-algorithm");
}

#[test]
fn transforms_are_exactly_exclusive_canonicalization() {
    let signer = agency_signer("soap");
    let exclusive = format!("<ds:Transform Algorithm=\"{EXC}\"></ds:Transform>");
    let with = |transforms: String| reason(&Forgery { transforms, ..Forgery::honest(&signer, now()) }.write());
    let other = |uri: &str| format!("<ds:Transform Algorithm=\"{uri}\"></ds:Transform>");
    assert_eq!(with(String::new()), "transform");
    assert_eq!(with(exclusive.clone() + &exclusive), "transform");
    for uri in [
        "http://www.w3.org/TR/1999/REC-xslt-19991116",
        "http://www.w3.org/TR/1999/REC-xpath-19991116",
        "http://www.w3.org/2002/06/xmldsig-filter2",
        "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
        "http://www.w3.org/2001/10/xml-exc-c14n#WithComments",
        "http://www.w3.org/TR/2001/REC-xml-c14n-20010315",
    ] {
        assert_eq!(with(other(uri)), "transform", "{uri}");
        assert_eq!(with(exclusive.clone() + &other(uri)), "transform", "{uri}");
    }
    let inclusive = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315";
    let forgery = Forgery { canonicalization: inclusive, ..Forgery::honest(&signer, now()) };
    assert_eq!(reason(&forgery.write()), "canonicalization");
}

#[test]
fn a_comment_cannot_cut_a_text_short() {
    let signer = agency_signer("soap");
    let text = honest(&signer);
    // Canonicalization drops comments, so the digest still fits: the rule must catch it.
    assert_eq!(reason(&text.replace("Ana", "A<!-- -->na")), "comment-in-text");
    assert_eq!(reason(&text.replace("<a:Name>", "<!-- harmless --><a:Name>")), "accepted");
    for (tag, name) in [("ds:SignatureValue", "<ds:SignatureValue>"), ("ds:DigestValue", "<ds:DigestValue>")] {
        let split = text.replace(name, &format!("{name}<!-- -->"));
        assert_eq!(reason(&split), "not-plain-text", "{tag}");
    }
    assert_eq!(reason(&text.replace("<wsu:Created>", "<wsu:Created><!-- -->")), "comment-in-text");
}

#[test]
fn xml_itself_is_no_weapon() {
    let refusal = |text: &str| reason(text);
    let text = honest(&agency_signer("soap"));
    assert_eq!(refusal(&format!("<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>{text}")), "xml");
    assert_eq!(refusal(&format!("<!DOCTYPE x [<!ATTLIST x Id ID #IMPLIED>]>{text}")), "xml");
    assert_eq!(
        refusal(&text.replace("<s:Header>", &format!("<s:Header>{}{}", "<x>".repeat(200), "</x>".repeat(200)))),
        "xml"
    );
    let wide: String = (0..100).map(|index| format!(" a{index}=\"\"")).collect();
    assert_eq!(refusal(&text.replace("<s:Header>", &format!("<s:Header{wide}>"))), "xml");
    assert_eq!(refusal(&text.replace("Ana", &"x".repeat(17 << 20))), "xml");
    assert_eq!(refusal(&text[..text.len() / 2]), "xml");
    assert_eq!(refusal(""), "xml");
}

#[test]
fn no_cut_or_single_edit_of_a_message_is_ever_accepted_with_other_content() {
    let signer = agency_signer("rest");
    let envelope = format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body>{CONTENT}</s:Body></s:Envelope>");
    let signed = wss::sign(&envelope, &profile(Algorithm::EcdsaSha256), &signer, now()).unwrap();
    let policy = policy("rest", AnswerKind::Wss);
    assert!(signed.contains(WSSE) && verify(&signed, &policy).is_ok());
    for at in (0..signed.len()).step_by(7) {
        let mut edited = signed.clone().into_bytes();
        edited[at] = if edited[at] == b'x' { b'y' } else { b'x' };
        let edited = String::from_utf8(edited).unwrap();
        if let Ok(verified) = verify(&edited, &policy) {
            let document = xml::parse(&edited).unwrap();
            let body = document.get_node(verified.body).unwrap();
            let name =
                body.descendants().find(|node| node.has_tag_name(("urn:demo", "Name"))).and_then(|node| node.text());
            assert_eq!(name, Some("Ana"), "byte {at}");
        }
    }
}
