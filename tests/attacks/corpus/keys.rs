//! Keys of Eve's, of other agencies, and words about keys that lead nowhere.

use super::{Case, honest, piece, replaced};
use crate::{
    forgery::{DS, Forgery, WSSE, X509V3, reference_to_token, token_reference},
    pki::{agency_signer, now, rogue_signer},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use punte::trust::{Algorithm, Identity};

pub fn cases() -> Vec<Case> {
    let (agency, rogue, other) = (agency_signer("soap"), rogue_signer(), agency_signer("rest"));
    let by = |signer: &Identity, key_info: String| Forgery { key_info, ..Forgery::honest(signer, now()) }.write();
    let mut cases = Vec::new();
    for (name, key_info) in forms(&agency) {
        let expected = if name == "token" { "signer-not-trusted" } else { "signature-mismatch" };
        cases.push(Case::new(
            format!("rogue-signs-in-the-name-of-the-agency-by-{name}"),
            expected,
            by(&rogue, key_info),
        ));
    }
    for (name, key_info) in forms(&rogue) {
        cases.push(Case::new(
            format!("rogue-signs-in-her-own-name-by-{name}"),
            "signer-not-trusted",
            by(&rogue, key_info.clone()),
        ));
        let expected = if name == "token" { continue } else { "signer-not-trusted" };
        cases.push(Case::new(
            format!("agencys-signature-under-rogues-name-by-{name}"),
            expected,
            by(&agency, key_info),
        ));
    }
    cases.push(Case::new(
        "another-agencys-valid-signature",
        "signer-not-trusted",
        Forgery {
            algorithm: Algorithm::EcdsaSha256,
            algorithm_uri: "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
            ..Forgery::honest(&other, now())
        }
        .write(),
    ));
    let text = honest();
    let (ours, theirs) = (STANDARD.encode(&agency.certificate.der), STANDARD.encode(&rogue.certificate.der));
    let rogues = Forgery::honest(&rogue, now()).write();
    cases.push(Case::new("agencys-token-rogues-signature", "signature-mismatch", replaced(&rogues, &theirs, &ours)));
    cases.push(Case::new("rogues-token-agencys-signature", "signer-not-trusted", replaced(&text, &ours, &theirs)));
    let first = format!(
        "<wsse:BinarySecurityToken wsu:Id=\"FIRST\" ValueType=\"{X509V3}\">{ours}</wsse:BinarySecurityToken><wsse:BinarySecurityToken"
    );
    cases.push(Case::new(
        "agencys-token-stands-first-rogues-is-used",
        "signer-not-trusted",
        replaced(&rogues, "<wsse:BinarySecurityToken", &first),
    ));
    cases.push(Case::new(
        "rogues-chain-behind-the-agencys-certificate",
        "signature-mismatch",
        by(
            &rogue,
            x509_data(&format!(
                "<ds:X509Certificate>{ours}</ds:X509Certificate><ds:X509Certificate>{theirs}</ds:X509Certificate>"
            )),
        ),
    ));
    cases.push(Case::new(
        "agencys-certificate-behind-rogues",
        "signer-not-trusted",
        by(
            &rogue,
            x509_data(&format!(
                "<ds:X509Certificate>{theirs}</ds:X509Certificate><ds:X509Certificate>{ours}</ds:X509Certificate>"
            )),
        ),
    ));
    cases.extend(useless(&rogue, &agency));
    cases.extend(tokens(&text, &ours));
    cases
}

/// KeyInfo that names no configured certificate and no token, whoever signs.
fn useless(rogue: &Identity, agency: &Identity) -> Vec<Case> {
    let wss = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0";
    let mut cases = Vec::new();
    for (name, key_info, expected) in [
        ("empty", String::new(), "key-info"),
        ("key-name", format!("<ds:KeyName xmlns:ds=\"{DS}\">CN=Demo soap, messages</ds:KeyName>"), "key-info"),
        (
            "key-value",
            format!(
                "<ds:KeyValue xmlns:ds=\"{DS}\"><ds:RSAKeyValue><ds:Modulus>AQAB</ds:Modulus><ds:Exponent>AQAB</ds:Exponent></ds:RSAKeyValue></ds:KeyValue>"
            ),
            "key-info",
        ),
        (
            "retrieval-method",
            format!("<ds:RetrievalMethod xmlns:ds=\"{DS}\" URI=\"http://localhost/key\"/>"),
            "key-info",
        ),
        (
            "retrieval-method-of-a-file",
            format!("<ds:RetrievalMethod xmlns:ds=\"{DS}\" URI=\"file:///etc/passwd\"/>"),
            "key-info",
        ),
        ("pgp", format!("<ds:PGPData xmlns:ds=\"{DS}\"/>"), "key-info"),
        (
            "der-key",
            "<d:DEREncodedKeyValue xmlns:d=\"http://www.w3.org/2009/xmldsig11#\">AQAB</d:DEREncodedKeyValue>".into(),
            "key-info",
        ),
        ("empty-x509-data", x509_data(""), "key-info"),
        ("subject-name-only", x509_data("<ds:X509SubjectName>CN=Demo soap, messages</ds:X509SubjectName>"), "key-info"),
        ("empty-reference", token_reference(""), "key-info"),
        ("two-references", reference_to_token().repeat(2), "key-info"),
        ("two-directions", token_reference(&"<wsse:Reference URI=\"#TOKEN\"/>".repeat(2)), "key-info"),
        ("embedded-token", token_reference("<wsse:Embedded><wsse:BinarySecurityToken/></wsse:Embedded>"), "key-info"),
        ("reference-of-another-namespace", token_reference("<Reference xmlns=\"urn:x\" URI=\"#TOKEN\"/>"), "key-info"),
        (
            "saml",
            token_reference(
                "<wsse:KeyIdentifier ValueType=\"http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.0#SAMLAssertionID\">AAAA</wsse:KeyIdentifier>",
            ),
            "key-info",
        ),
        ("identifier-without-a-type", token_reference("<wsse:KeyIdentifier>AAAA</wsse:KeyIdentifier>"), "key-info"),
        (
            "identifier-is-empty",
            token_reference(&format!(
                "<wsse:KeyIdentifier ValueType=\"{wss}#X509SubjectKeyIdentifier\"></wsse:KeyIdentifier>"
            )),
            "signer-not-trusted",
        ),
        ("certificate-is-garbage", x509_data("<ds:X509Certificate>AAAA</ds:X509Certificate>"), "signer-not-trusted"),
        ("certificate-is-no-base64", x509_data("<ds:X509Certificate>%%%</ds:X509Certificate>"), "not-plain-text"),
        ("serial-is-negative", issuer_serial("-1"), "signer-not-trusted"),
        ("serial-is-hexadecimal", issuer_serial("0x1f"), "key-info"),
        ("serial-is-endless", issuer_serial(&"9".repeat(10_000)), "key-info"),
        ("serial-is-empty", issuer_serial(""), "key-info"),
        ("serial-is-zero", issuer_serial("0"), "signer-not-trusted"),
    ] {
        for (who, signer) in [("rogue", rogue), ("agency", agency)] {
            let message = Forgery { key_info: key_info.clone(), ..Forgery::honest(signer, now()) }.write();
            cases.push(Case::new(format!("{name}-from-{who}"), expected, message));
        }
    }
    let text = honest();
    cases.push(Case::new("no-key-info", "shape", replaced(&text, piece(&text, "<ds:KeyInfo>", "</ds:KeyInfo>"), "")));
    cases
}

/// The token itself: where it stands, and what it says it is.
fn tokens(text: &str, certificate: &str) -> Vec<Case> {
    let token = piece(text, "<wsse:BinarySecurityToken", "</wsse:BinarySecurityToken>");
    let without = replaced(text, token, "");
    let value_type = format!("ValueType=\"{X509V3}\"");
    let with_type = |uri: &str| replaced(text, token, &token.replace(&value_type, &format!("ValueType=\"{uri}\"")));
    vec![
        Case::new("token-in-the-header", "key-info", replaced(&without, "<s:Header>", &format!("<s:Header>{token}"))),
        Case::new("token-in-the-body", "key-info", replaced(&without, "</s:Body>", &format!("{token}</s:Body>"))),
        Case::new(
            "token-in-a-wrapper",
            "key-info",
            replaced(&without, "<wsu:Timestamp", &format!("<w>{token}</w><wsu:Timestamp")),
        ),
        Case::new(
            "token-in-another-security",
            "key-info",
            replaced(
                &without,
                "<s:Header>",
                &format!("<s:Header><wsse:Security s:actor=\"urn:x\">{token}</wsse:Security>"),
            ),
        ),
        Case::new("token-is-gone", "dangling-reference", without.clone()),
        Case::new(
            "token-of-another-name",
            "key-info",
            replaced(text, token, &token.replace("wsse:BinarySecurityToken", "wsse:UsernameToken")),
        ),
        Case::new(
            "token-is-called-a-path-and-is-none",
            "signer-malformed",
            with_type("http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509PKIPathv1"),
        ),
        Case::new(
            "token-is-pkcs7",
            "key-info",
            with_type("http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#PKCS7"),
        ),
        Case::new(
            "token-is-kerberos",
            "key-info",
            with_type("http://docs.oasis-open.org/wss/oasis-wss-kerberos-token-profile-1.1#Kerberosv5_AP_REQ"),
        ),
        Case::new("token-is-of-no-type", "key-info", replaced(text, token, &token.replace(&value_type, ""))),
        Case::new(
            "token-in-hexadecimal",
            "key-info",
            replaced(
                text,
                token,
                &token.replace(&value_type, &format!("{value_type} EncodingType=\"{WSSE}#HexBinary\"")),
            ),
        ),
        Case::new(
            "token-with-an-element",
            "not-plain-text",
            replaced(text, certificate, &format!("<x>{certificate}</x>")),
        ),
        Case::new(
            "token-is-cut",
            "signer-not-trusted",
            replaced(text, certificate, &certificate[..certificate.len() / 8 * 4]),
        ),
        Case::new("token-has-two-certificates", "signer-not-trusted", {
            let der = STANDARD.decode(certificate).unwrap();
            replaced(text, certificate, &STANDARD.encode([der.as_slice(), der.as_slice()].concat()))
        }),
    ]
}

/// Every form in which a certificate may be named.
pub fn forms(identity: &Identity) -> Vec<(&'static str, String)> {
    let der = &identity.certificate.der;
    let (_, parsed) = x509_parser::parse_x509_certificate(der).unwrap();
    let ski = subject_key_identifier(&parsed);
    let thumbprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, der);
    let x509 = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0";
    let wss11 = "http://docs.oasis-open.org/wss/oasis-wss-soap-message-security-1.1";
    let identifier = |kind: &str, value: &[u8]| {
        let value = STANDARD.encode(value);
        token_reference(&format!("<wsse:KeyIdentifier ValueType=\"{kind}\">{value}</wsse:KeyIdentifier>"))
    };
    let certificate = x509_data(&format!("<ds:X509Certificate>{}</ds:X509Certificate>", STANDARD.encode(der)));
    vec![
        ("token", reference_to_token()),
        ("ski", identifier(&format!("{x509}#X509SubjectKeyIdentifier"), &ski)),
        ("thumbprint", identifier(&format!("{wss11}#ThumbprintSHA1"), thumbprint.as_ref())),
        ("identifier", identifier(X509V3, der)),
        ("issuer-serial", issuer_serial(&parsed.serial.to_string())),
        ("x509-ski", x509_data(&format!("<ds:X509SKI>{}</ds:X509SKI>", STANDARD.encode(&ski)))),
        ("certificate-in-reference", token_reference(&certificate)),
        ("certificate", certificate),
    ]
}

fn x509_data(inner: &str) -> String {
    format!("<ds:X509Data xmlns:ds=\"{DS}\">{inner}</ds:X509Data>")
}

fn issuer_serial(serial: &str) -> String {
    token_reference(&x509_data(&format!(
        "<ds:X509IssuerSerial><ds:X509IssuerName>CN=any</ds:X509IssuerName><ds:X509SerialNumber>{serial}</ds:X509SerialNumber></ds:X509IssuerSerial>"
    )))
}

fn subject_key_identifier(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<u8> {
    let of = |extension: &x509_parser::extensions::X509Extension<'_>| match extension.parsed_extension() {
        x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    };
    certificate.iter_extensions().find_map(of).unwrap()
}
