//! WS-Security as other stacks write it: signed tokens, paths of certificates, times without an end; and what is refused is
//! named.

use super::{
    forgery::{DS, EXC, Forgery, SHA256, SOAP11, SOAP12, WSSE, WSU, X509V3, token_reference},
    pki::{agency_signer, certificate, now, pki, policy},
    wss_messages::{profile, verify},
};
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::SignedDuration;
use punte::trust::{Algorithm, AnswerKind, Identity, WssProfile, wss};

const STR_TRANSFORM: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#STR-Transform";
const X509: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0";

#[test]
fn our_token_is_signed_where_the_profile_says_so_and_cannot_be_edited() {
    let signer = agency_signer("soap");
    let profile = WssProfile { sign_token: true, ..profile(Algorithm::RsaSha256) };
    for envelope in [
        format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body><a/></s:Body></s:Envelope>"),
        format!("<Envelope xmlns='{SOAP12}'><Header><x xmlns=''/></Header><Body/></Envelope>"),
        format!("<s:Envelope xmlns:s=\"{SOAP11}\" xmlns=\"urn:default\"><s:Header/><s:Body><a/></s:Body></s:Envelope>"),
    ] {
        let signed = wss::sign(&envelope, &profile, &signer, now()).unwrap();
        let policy = policy("soap", AnswerKind::Wss);
        // Timestamp, the reference to the token, the token, the Body.
        assert_eq!(verify(&signed, &policy).unwrap().signed.len(), 4, "{signed}");
        let edited = signed.replace(" EncodingType=", " x=\"1\" EncodingType=");
        assert_eq!(verify(&edited, &policy).err().map(|it| it.reason()), Some("digest-mismatch"));
        let plain = wss::sign(&envelope, &WssProfile { sign_token: false, ..profile.clone() }, &signer, now()).unwrap();
        assert_eq!(verify(&plain, &policy).unwrap().signed.len(), 2);
    }
}

/// A reference that signs the token by way of `STR`.
fn token_signed(canonical: &str) -> String {
    let digest = STANDARD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
    format!(
        "<ds:Reference URI=\"#STR\"><ds:Transforms><ds:Transform Algorithm=\"{STR_TRANSFORM}\"><wsse:TransformationParameters><ds:CanonicalizationMethod Algorithm=\"{EXC}\"></ds:CanonicalizationMethod></wsse:TransformationParameters></ds:Transform></ds:Transforms><ds:DigestMethod Algorithm=\"{SHA256}\"></ds:DigestMethod><ds:DigestValue>{digest}</ds:DigestValue></ds:Reference>"
    )
}

fn with_signed_token(signer: &Identity, description: &str, canonical: &str) -> String {
    let key_info = token_reference(description)
        .replace("<wsse:SecurityTokenReference>", "<wsse:SecurityTokenReference wsu:Id=\"STR\">");
    Forgery { key_info, extra_reference: token_signed(canonical), ..Forgery::honest(signer, now()) }.write()
}

#[test]
fn an_agency_may_sign_its_token_whether_the_message_carries_it_or_describes_it() {
    let signer = agency_signer("soap");
    let policy = policy("soap", AnswerKind::Wss);
    let token = STANDARD.encode(&signer.certificate.der);
    let carried = format!(
        "<wsse:BinarySecurityToken xmlns=\"\" xmlns:wsse=\"{WSSE}\" xmlns:wsu=\"{WSU}\" ValueType=\"{X509V3}\" wsu:Id=\"TOKEN\">{token}</wsse:BinarySecurityToken>"
    );
    let described = format!(
        "<wsse:BinarySecurityToken xmlns=\"\" xmlns:wsse=\"{WSSE}\" ValueType=\"{X509V3}\">{token}</wsse:BinarySecurityToken>"
    );
    let by_reference = format!("<wsse:Reference URI=\"#TOKEN\" ValueType=\"{X509V3}\"/>");
    let thumbprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &signer.certificate.der);
    let by_thumbprint = format!(
        "<wsse:KeyIdentifier ValueType=\"http://docs.oasis-open.org/wss/oasis-wss-soap-message-security-1.1#ThumbprintSHA1\">{}</wsse:KeyIdentifier>",
        STANDARD.encode(thumbprint)
    );
    for (description, canonical, other) in
        [(&by_reference, &carried, &described), (&by_thumbprint, &described, &carried)]
    {
        let verified = verify(&with_signed_token(&signer, description, canonical), &policy);
        assert!(verified.is_ok(), "{:?}", verified.err());
        let refusal = verify(&with_signed_token(&signer, description, other), &policy).err();
        assert_eq!(refusal.map(|it| it.reason()), Some("digest-mismatch"));
    }
    // Another canonicalization within the transform, or none, is refused by name.
    let inclusive = "http://www.w3.org/2006/12/xml-c14n11";
    let forgery = Forgery {
        key_info: token_reference(&by_reference)
            .replace("<wsse:SecurityTokenReference>", "<wsse:SecurityTokenReference wsu:Id=\"STR\">"),
        extra_reference: token_signed(&carried).replacen(EXC, inclusive, 1),
        ..Forgery::honest(&signer, now())
    };
    let refusal = verify(&forgery.write(), &policy).err().unwrap();
    assert!(refusal.reason() == "transform" && refusal.to_string().contains(inclusive), "{refusal}");
}

#[test]
fn a_token_may_be_a_path_of_certificates() {
    let signer = agency_signer("soap");
    let authority = certificate(&pki().agency("soap", "ca.pem"));
    let key_info = token_reference("<wsse:Reference URI=\"#PATH\"/>");
    let with_path = |certificates: &[&[u8]]| {
        let content = certificates.concat();
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        let path = STANDARD.encode([&[0x30, 0x82], &length[..], &content].concat());
        let extra_in_security = format!(
            "<wsse:BinarySecurityToken wsu:Id=\"PATH\" ValueType=\"{X509}#X509PKIPathv1\">{path}</wsse:BinarySecurityToken>"
        );
        Forgery { key_info: key_info.clone(), extra_in_security, ..Forgery::honest(&signer, now()) }.write()
    };
    let policy = policy("soap", AnswerKind::Wss);
    let own: &[u8] = &signer.certificate.der;
    assert!(verify(&with_path(&[own]), &policy).is_ok());
    assert!(verify(&with_path(&[&authority.der, own]), &policy).is_ok());
    // The signer's own stands last: anything else is somebody else's.
    let refusal = verify(&with_path(&[own, &authority.der]), &policy).err().unwrap();
    assert_eq!(refusal.reason(), "signer-not-trusted");
    assert_eq!(verify(&with_path(&[]), &policy).err().unwrap().reason(), "signer-malformed");
}

#[test]
fn a_time_without_a_zone_is_told_apart_from_what_is_no_time() {
    let (signer, policy) = (agency_signer("soap"), policy("soap", AnswerKind::Wss));
    let refusal = |created: &str| {
        let timestamp = Some(format!("<wsu:Created>{created}</wsu:Created>"));
        verify(&Forgery { timestamp, ..Forgery::honest(&signer, now()) }.write(), &policy).err().unwrap()
    };
    for (created, expected) in [
        ("2026-01-01T10:00:00", "wsu:Created names no time zone"),
        ("2026-01-01T10:00:00.123", "wsu:Created names no time zone"),
        ("2026-01-01", "wsu:Created is not written as xs:dateTime"),
        ("2026-01-01T10:00:00+99:00", "wsu:Created is not written as xs:dateTime"),
        ("2026-13-01T10:00:00", "wsu:Created is not written as xs:dateTime"),
        ("now", "wsu:Created is not written as xs:dateTime"),
        ("", "wsu:Created is not written as xs:dateTime"),
    ] {
        let refusal = refusal(created);
        assert!(refusal.to_string().starts_with(expected), "{created}: {refusal}");
        assert_eq!(refusal.reason(), "time-format");
    }
}

#[test]
fn a_timestamp_without_an_end_counts_for_as_long_as_the_policy_says() {
    let signer = agency_signer("soap");
    let policy = policy("soap", AnswerKind::Wss);
    let aged = |secs: i64| {
        let created = now() - SignedDuration::from_secs(secs);
        let timestamp = Some(format!("<wsu:Created>{created}</wsu:Created>"));
        verify(&Forgery { timestamp, ..Forgery::honest(&signer, now()) }.write(), &policy)
    };
    assert!(aged(0).is_ok() && aged(360).is_ok());
    assert_eq!(aged(361).err().map(|it| it.reason()), Some("stale"));
    assert_eq!(aged(-61).err().map(|it| it.reason()), Some("from-the-future"));
}

#[test]
fn a_refusal_names_the_algorithm_or_the_place_that_it_found() {
    let signer = agency_signer("soap");
    let honest = || Forgery::honest(&signer, now());
    let token = |value_type: &str| Forgery {
        key_info: token_reference("<wsse:Reference URI=\"#T2\"/>"),
        extra_in_security: format!(
            "<wsse:BinarySecurityToken wsu:Id=\"T2\" ValueType=\"{value_type}\">AAAA</wsse:BinarySecurityToken>"
        ),
        ..honest()
    };
    let transform = |uri: &str| format!("<ds:Transform Algorithm=\"{uri}\"></ds:Transform>");
    let rsa_sha512 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512";
    let sha512 = "http://www.w3.org/2001/04/xmlenc#sha512";
    let inclusive = "http://www.w3.org/2006/12/xml-c14n11";
    let enveloped = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
    let pkcs7 = format!("{X509}#PKCS7");
    for (forgery, reason, named) in [
        (Forgery { algorithm_uri: rsa_sha512, ..honest() }, "algorithm", rsa_sha512),
        (Forgery { digest_uri: sha512, ..honest() }, "digest-algorithm", sha512),
        (Forgery { canonicalization: inclusive, ..honest() }, "canonicalization", inclusive),
        (Forgery { transforms: transform(inclusive), ..honest() }, "transform", inclusive),
        (Forgery { transforms: transform(enveloped) + &transform(EXC), ..honest() }, "transform", enveloped),
        (Forgery { references: vec!["TS", "cid:part@x"], ..honest() }, "external-reference", "`cid:part@x`"),
        (token(&pkcs7), "key-info", pkcs7.as_str()),
        (token(""), "key-info", "nothing"),
        (
            Forgery {
                key_info: token_reference("<wsse:KeyIdentifier ValueType=\"urn:x\">AAAA</wsse:KeyIdentifier>"),
                ..honest()
            },
            "key-info",
            "`urn:x`",
        ),
        (Forgery { key_info: token_reference("<wsse:Embedded/>"), ..honest() }, "key-info", "`Embedded`"),
        (
            Forgery { key_info: format!("<ds:KeyName xmlns:ds=\"{DS}\">k</ds:KeyName>"), ..honest() },
            "key-info",
            "`KeyName`",
        ),
    ] {
        let refusal = verify(&forgery.write(), &policy("soap", AnswerKind::Wss)).err().unwrap();
        assert!(refusal.reason() == reason && refusal.to_string().contains(named), "{named}: {refusal}");
    }
}
