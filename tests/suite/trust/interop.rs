//! Other people's code agrees with ours, in both directions: xmlsec1, signxml, zeep, jwcrypto, PyJWT, http-message-signatures.

use super::{
    forgery::{CONTENT, DS, EXC, RSA_SHA256, SHA256, SOAP11, SOAP12, WSSE, WSU},
    http_signature::profile as http_profile,
    jws::{detached, profile as jws_profile},
    pki::{agency_signer, now, pki, policy},
    wss_messages::profile as wss_profile,
};
use http::{HeaderMap, HeaderName, Method, Uri};
use punte::{
    trust::{
        Algorithm, AnswerKind, JwsForm, KeyIdForm, ReplayCache, WssProfile,
        http_signature::{self, HttpMessage, HttpStart},
        jws, wss,
    },
    xml,
};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn python(script: &str, arguments: &[&dyn AsRef<OsStr>]) -> Output {
    let Ok(python) = std::env::var("PUNTE_TEST_PYTHON") else {
        panic!("PUNTE_TEST_PYTHON is not set: run tests/run, or eval \"$(tests/interop/setup DIR)\"");
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(script);
    Command::new(python).arg(script).args(arguments).output().unwrap()
}

fn accepts(output: &Output) -> bool {
    let said = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        println!("{}{}", said.0, said.1);
    }
    output.status.success() && said.0.contains("accepted")
}

fn must(output: Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn agency_of(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RsaSha256 | Algorithm::RsaSha1 => "soap",
        Algorithm::EcdsaSha256 => "rest",
    }
}

fn certificate(agency: &str) -> PathBuf {
    pki().simulator(agency, "signing.pem")
}

fn key(agency: &str) -> PathBuf {
    pki().simulator(agency, "signing.key")
}

fn envelope(soap: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<env:Envelope xmlns:env=\"{soap}\" xmlns:unused=\"urn:u\">\n  <env:Header/>\n  <env:Body>{CONTENT}<x y='&#10;' z=\"é\">&#13;<![CDATA[<raw>]]></x></env:Body>\n</env:Envelope>"
    )
}

fn xmlsec1(message: &Path, certificate: &Path, soap: &str) -> bool {
    let output = Command::new("xmlsec1")
        .args(["--verify", "--pubkey-cert-pem"])
        .arg(certificate)
        .args(["--id-attr:Id", &format!("{soap}:Body"), "--id-attr:Id", &format!("{WSU}:Timestamp")])
        .arg(message)
        .output()
        .expect("xmlsec1 is missing: run tests/run");
    output.status.success()
}

#[test]
fn xmlsec1_signxml_and_zeep_accept_what_we_sign_and_refuse_it_edited() {
    let dir = tempfile::tempdir().unwrap();
    for algorithm in [Algorithm::RsaSha256, Algorithm::EcdsaSha256] {
        for soap in [SOAP11, SOAP12] {
            let agency = agency_of(algorithm);
            let profile = WssProfile { ..wss_profile(algorithm) };
            // The libraries look at the clock themselves.
            let now = jiff::Timestamp::now();
            let signed = wss::sign(&envelope(soap), &profile, &agency_signer(agency), now).unwrap();
            let (good, edited) = (dir.path().join("good.xml"), dir.path().join("edited.xml"));
            fs::write(&good, &signed).unwrap();
            fs::write(&edited, signed.replace("Ana", "Eve")).unwrap();
            assert!(xmlsec1(&good, &certificate(agency), soap), "{algorithm} {soap}");
            assert!(!xmlsec1(&edited, &certificate(agency), soap));
            assert!(accepts(&python("wss_verify.py", &[&good, &certificate(agency)])), "{algorithm} {soap}");
            assert!(!accepts(&python("wss_verify.py", &[&edited, &certificate(agency)])));
        }
    }
}

#[test]
fn the_token_that_we_sign_has_the_digest_that_libxml2_finds() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token.xml");
    for soap in [envelope(SOAP11), format!("<Envelope xmlns='{SOAP12}'><Body>{CONTENT}</Body></Envelope>")] {
        let profile = WssProfile { sign_token: true, ..wss_profile(Algorithm::RsaSha256) };
        let signed = wss::sign(&soap, &profile, &agency_signer("soap"), now()).unwrap();
        fs::write(&file, &signed).unwrap();
        assert!(accepts(&python("wss_token.py", &[&file])), "{signed}");
        fs::write(&file, signed.replace(" EncodingType=", " x=\"\" EncodingType=")).unwrap();
        assert!(!accepts(&python("wss_token.py", &[&file])));
    }
}

#[test]
fn xmlsec1_accepts_our_sha1_too() {
    let dir = tempfile::tempdir().unwrap();
    let signed = wss::sign(&envelope(SOAP11), &wss_profile(Algorithm::RsaSha1), &agency_signer("soap"), now()).unwrap();
    let file = dir.path().join("sha1.xml");
    fs::write(&file, signed).unwrap();
    assert!(xmlsec1(&file, &certificate("soap"), SOAP11));
}

#[test]
fn we_accept_what_zeep_and_signxml_sign_and_refuse_it_edited() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source.xml"), dir.path().join("signed.xml"));
    for (form, agency) in
        [("zeep-issuer-serial", "soap"), ("zeep-binary", "soap"), ("signxml-rsa", "soap"), ("signxml-ecdsa", "rest")]
    {
        for soap in [SOAP11, SOAP12] {
            fs::write(&source, envelope(soap)).unwrap();
            must(python("wss_sign.py", &[&form, &key(agency), &certificate(agency), &source, &target]));
            let text = fs::read_to_string(&target).unwrap();
            let verify = |text: &str| {
                let document = xml::parse(text).unwrap();
                let policy = policy(agency, AnswerKind::Wss);
                wss::verify(&document, &policy, jiff::Timestamp::now(), &ReplayCache::default())
                    .map(|verified| verified.signed.len())
                    .map_err(|refusal| refusal.reason())
            };
            assert_eq!(verify(&text), Ok(2), "{form} {soap}: {text}");
            assert_eq!(verify(&text.replace("Ana", "Eve")), Err("digest-mismatch"), "{form} {soap}");
        }
    }
}

/// As WSS4J does: prefixes that stand in values, and are not visibly used, are named to be canonicalized inclusively.
fn template_with_prefix_lists() -> String {
    let method =
        |list: &str| format!("Algorithm=\"{EXC}\"><ec:InclusiveNamespaces xmlns:ec=\"{EXC}\" PrefixList=\"{list}\"/>");
    let reference = |id: &str, list: &str| {
        format!(
            "<ds:Reference URI=\"#{id}\"><ds:Transforms><ds:Transform {}</ds:Transform></ds:Transforms><ds:DigestMethod Algorithm=\"{SHA256}\"/><ds:DigestValue/></ds:Reference>",
            method(list)
        )
    };
    let moment = |seconds: i64| (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string();
    format!(
        "<env:Envelope xmlns=\"urn:default\" xmlns:env=\"{SOAP11}\" xmlns:xsi=\"urn:xsi\" xmlns:t=\"urn:types\" xmlns:wsu=\"{WSU}\"><env:Header><wsse:Security xmlns:wsse=\"{WSSE}\"><wsu:Timestamp wsu:Id=\"TS\"><wsu:Created>{}</wsu:Created><wsu:Expires>{}</wsu:Expires></wsu:Timestamp><ds:Signature xmlns:ds=\"{DS}\"><ds:SignedInfo><ds:CanonicalizationMethod {}</ds:CanonicalizationMethod><ds:SignatureMethod Algorithm=\"{RSA_SHA256}\"/>{}{}</ds:SignedInfo><ds:SignatureValue/><ds:KeyInfo><ds:X509Data/></ds:KeyInfo></ds:Signature></wsse:Security></env:Header><env:Body wsu:Id=\"BODY\"><t:Answer xsi:type=\"t:Kind\"><inner xmlns=\"\"/>Ana</t:Answer></env:Body></env:Envelope>",
        moment(0),
        moment(60),
        method("env t"),
        reference("TS", "env #default"),
        reference("BODY", "t xsi wsu #default"),
    )
}

#[test]
fn we_accept_what_xmlsec1_signs_with_prefixes_canonicalized_inclusively() {
    let dir = tempfile::tempdir().unwrap();
    let (template, target) = (dir.path().join("template.xml"), dir.path().join("signed.xml"));
    fs::write(&template, template_with_prefix_lists()).unwrap();
    let pair = format!("{},{}", key("soap").display(), certificate("soap").display());
    let output = Command::new("xmlsec1")
        .args(["--sign", "--privkey-pem", &pair, "--output"])
        .arg(&target)
        .args(["--id-attr:Id", &format!("{SOAP11}:Body"), "--id-attr:Id", &format!("{WSU}:Timestamp")])
        .arg(&template)
        .output();
    must(output.expect("xmlsec1 is missing: run tests/run"));
    let text = fs::read_to_string(&target).unwrap();
    let verify = |text: &str| {
        let (policy, now) = (policy("soap", AnswerKind::Wss), jiff::Timestamp::now());
        let verified = wss::verify(&xml::parse(text).unwrap(), &policy, now, &ReplayCache::default());
        verified.map(|verified| verified.signed.len()).map_err(|refusal| refusal.reason())
    };
    assert_eq!(verify(&text), Ok(2), "{text}");
    // The prefix list is what binds the meaning of `t:Kind`.
    let rebound = text.replace("xmlns:xsi=\"urn:xsi\"", "xmlns:xsi=\"urn:other\"");
    assert_eq!(verify(&rebound), Err("digest-mismatch"));
}

#[test]
fn jwcrypto_and_pyjwt_agree_with_us_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    fs::write(file("payload"), "{\"name\":\"Ána\"}").unwrap();
    fs::write(file("other"), "{}").unwrap();
    for (algorithm, name) in [(Algorithm::RsaSha256, "RS256"), (Algorithm::EcdsaSha256, "ES256")] {
        let agency = agency_of(algorithm);
        let (signer, payload) = (agency_signer(agency), fs::read(file("payload")).unwrap());
        for key_id in [KeyIdForm::Serial, KeyIdForm::Thumbprint] {
            let profile = jws_profile(JwsForm::Compact, algorithm, key_id);
            fs::write(file("compact"), jws::sign_compact(&payload, &profile, &signer).unwrap()).unwrap();
            fs::write(file("detached"), jws::sign_detached(&payload, &profile, &signer).unwrap()).unwrap();
            for token in ["compact", "detached"] {
                let verify =
                    |payload: &str| python("jws.py", &[&"verify", &file(token), &file(payload), &certificate(agency)]);
                assert!(accepts(&verify("payload")), "{name} {token}");
                assert!(!accepts(&verify("other")), "{name} {token}");
            }
        }
        must(python("jws.py", &[&"sign", &name, &file("payload"), &key(agency), &file("theirs")]));
        let compact = fs::read_to_string(file("theirs.compact")).unwrap();
        let verified = jws::verify_compact(&compact, &policy(agency, AnswerKind::JwsCompact), now());
        assert_eq!(verified.unwrap().payload, payload);
        let token = fs::read_to_string(file("theirs.detached")).unwrap();
        assert!(jws::verify_detached(&token, &payload, &policy(agency, detached()), now()).is_ok());
        assert!(jws::verify_detached(&token, b"{}", &policy(agency, detached()), now()).is_err());
    }
}

/// As the Python script reads and writes it.
fn request_json(headers: &HeaderMap, body: &str) -> serde_json::Value {
    let headers: serde_json::Map<_, _> =
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().into())).collect();
    serde_json::json!({"method": "POST", "url": TARGET, "headers": headers, "body": body})
}

const TARGET: &str = "https://registry.test/v1/events?kind=a%20b&x=";
const COVERED: [&str; 4] = ["@method", "@target-uri", "content-type", "content-digest"];
const BODY: &str = "{\"event\":\"marriage\"}";

#[test]
fn http_message_signatures_accepts_our_requests_and_refuses_them_edited() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("request.json");
    for (algorithm, name) in [(Algorithm::RsaSha256, "rsa"), (Algorithm::EcdsaSha256, "ecdsa")] {
        let agency = agency_of(algorithm);
        let (method, uri) = (Method::POST, Uri::from_static(TARGET));
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        let start = HttpStart::Request { method: &method, uri: &uri };
        let message = HttpMessage { start, headers: &headers, body: BODY.as_bytes() };
        let now = jiff::Timestamp::now();
        let seal = http_signature::sign(&message, &http_profile(algorithm, &COVERED), &agency_signer(agency), now);
        seal.unwrap().insert_into(&mut headers);
        let verify = |body: &str| {
            fs::write(&file, request_json(&headers, body).to_string()).unwrap();
            accepts(&python("http_signature.py", &[&"verify", &name, &file, &certificate(agency)]))
        };
        assert!(verify(BODY), "{name}");
        assert!(!verify("{}"), "{name}");
    }
}

#[test]
fn we_accept_the_requests_of_http_message_signatures_and_refuse_them_edited() {
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (dir.path().join("source.json"), dir.path().join("signed.json"));
    for (algorithm, name) in [(Algorithm::RsaSha256, "rsa"), (Algorithm::EcdsaSha256, "ecdsa")] {
        let agency = agency_of(algorithm);
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        fs::write(&source, request_json(&headers, BODY).to_string()).unwrap();
        must(python("http_signature.py", &[&"sign", &name, &source, &key(agency), &target]));
        let signed: serde_json::Value = serde_json::from_slice(&fs::read(&target).unwrap()).unwrap();
        let headers: HeaderMap = signed["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.as_str().unwrap().parse().unwrap()))
            .collect();
        let (method, uri) = (Method::POST, Uri::from_static(TARGET));
        let policy = policy(agency, AnswerKind::HttpSignature { components: COVERED.map(str::to_owned).to_vec() });
        let verify = |body: &str| {
            let start = HttpStart::Request { method: &method, uri: &uri };
            let message = HttpMessage { start, headers: &headers, body: body.as_bytes() };
            let now = jiff::Timestamp::now();
            http_signature::verify(&message, &policy, now, &ReplayCache::default())
                .err()
                .map(|refusal| refusal.reason())
        };
        assert_eq!(verify(BODY), None, "{name}");
        assert_eq!(verify("{}"), Some("digest-mismatch"), "{name}");
    }
}
