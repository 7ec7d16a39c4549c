//! `punte trust verify`: the verdict on each kind of message, from files alone.

use super::{
    http_signature::profile as http_profile,
    jws::profile as jws_profile,
    pki::{agency_signer, now, pki},
    wss_messages::profile as wss_profile,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use punte::{
    cli::trust_verify::{self, PolicyArguments, Verify},
    kit::signature_check::{Verdict, verify_message},
    trust::{
        Algorithm, JwsForm, KeyIdForm,
        http_signature::{self, HttpMessage, HttpStart},
        jws, wss,
    },
};
use std::{fs, path::PathBuf, process::ExitCode};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The certificate lies beside the profile, so that its path is relative.
    fn profile(&self, agency: &str, answer: &str) -> PathBuf {
        fs::copy(pki().agency(agency, "answer-signing.pem"), self.0.path().join("answer.pem")).unwrap();
        let text = format!(
            "name = \"other tables are not looked at\"\n[seal]\nkind = \"none\"\n[seal.answer]\n{answer}\nalgorithms = [\"rsa-sha256\", \"ecdsa-sha256\"]\ncertificates = [\"answer.pem\"]\n"
        );
        self.put("profile.toml", text)
    }

    fn verdict(&self, profile: &std::path::Path, message: impl AsRef<[u8]>) -> Verdict {
        verify_message(profile, &self.put("message", message), None, now())
    }
}

fn envelope() -> String {
    format!("<s:Envelope xmlns:s=\"{}\"><s:Body><a>Ana</a></s:Body></s:Envelope>", super::forgery::SOAP11)
}

#[test]
fn a_soap_message_is_judged() {
    let folder = Folder::new();
    let profile = folder.profile("soap", "kind = \"wss\"");
    let signed = wss::sign(&envelope(), &wss_profile(Algorithm::RsaSha256), &agency_signer("soap"), now()).unwrap();
    let verdict = folder.verdict(&profile, &signed);
    assert!(verdict.accepted, "{verdict:?}");
    assert!(verdict.signer.is_some_and(|signer| signer.contains("Demo soap")));
    assert_eq!(folder.verdict(&profile, signed.replace("Ana", "Eve")).reason, "digest-mismatch");
    assert_eq!(folder.verdict(&profile, envelope()).reason, "envelope-shape");
    assert_eq!(folder.verdict(&profile, b"\xFF\xFE<\0").reason, "xml");
}

#[test]
fn the_exit_code_is_the_verdict() {
    let folder = Folder::new();
    let profile = folder.profile("soap", "kind = \"wss\"");
    let now = jiff::Timestamp::now();
    let signed = wss::sign(&envelope(), &wss_profile(Algorithm::RsaSha256), &agency_signer("soap"), now).unwrap();
    let (good, bad) = (folder.put("good", &signed), folder.put("bad", signed.replace("Ana", "Eve")));
    let exit = |message: Vec<PathBuf>, json: bool, in_sequence: bool| {
        let policy = PolicyArguments { profile: Some(profile.clone()), ..PolicyArguments::default() };
        trust_verify::run(&Verify { policy, message, payload: None, now: None, in_sequence, json })
    };
    assert_eq!(exit(vec![good.clone()], true, false), ExitCode::SUCCESS);
    assert_eq!(exit(vec![bad.clone()], false, false), ExitCode::FAILURE);
    assert_eq!(exit(vec![good.clone(), good.clone()], false, false), ExitCode::SUCCESS);
    assert_eq!(exit(vec![good.clone(), good.clone()], false, true), ExitCode::FAILURE, "a repetition");
    assert_eq!(exit(vec![good, bad], true, false), ExitCode::FAILURE);
    let empty = folder.0.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert_eq!(exit(vec![empty], false, false), ExitCode::FAILURE, "nothing was accepted");
}

#[test]
fn a_jws_is_judged_whole_and_detached() {
    let folder = Folder::new();
    let signer = agency_signer("rest");
    let how = jws_profile(JwsForm::Compact, Algorithm::EcdsaSha256, KeyIdForm::Serial);
    let profile = folder.profile("rest", "kind = \"jws-compact\"");
    let token = jws::sign_compact(b"{}", &how, &signer).unwrap();
    assert!(folder.verdict(&profile, format!("{token}\n")).accepted);
    assert_eq!(folder.verdict(&profile, token.replace('.', "..")).reason, "format");
    let profile = folder.profile("rest", "kind = \"jws-detached\"\nheader = \"x-jws-signature\"");
    let token = folder.put("token", jws::sign_detached(b"{}", &how, &signer).unwrap());
    let (payload, other) = (folder.put("payload", "{}"), folder.put("other", "[]"));
    assert!(verify_message(&profile, &token, Some(&payload), now()).accepted);
    assert_eq!(verify_message(&profile, &token, Some(&other), now()).reason, "signature-mismatch");
    assert_eq!(verify_message(&profile, &token, None, now()).reason, "payload");
}

#[test]
fn an_http_message_is_judged_with_either_kind_of_line_ends() {
    let folder = Folder::new();
    let profile = folder.profile("rest", "kind = \"http-signature\"\ncomponents = [\"@status\", \"content-digest\"]");
    let mut headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"))]);
    let start = HttpStart::Response { status: StatusCode::OK };
    let message = HttpMessage { start, headers: &headers.clone(), body: b"one\n\ntwo" };
    let how = http_profile(Algorithm::EcdsaSha256, &["@status", "content-type", "content-digest"]);
    http_signature::sign(&message, &how, &agency_signer("rest"), now()).unwrap().insert_into(&mut headers);
    for end in ["\r\n", "\n"] {
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}: {}{end}", value.to_str().unwrap())).collect();
        let text = format!("HTTP/1.1 200 OK{end}{lines}{end}one\n\ntwo");
        let verdict = folder.verdict(&profile, &text);
        assert!(verdict.accepted, "{verdict:?}");
        assert_eq!(folder.verdict(&profile, text.replace("200 OK", "201 OK")).reason, "signature-mismatch");
        assert_eq!(folder.verdict(&profile, text.replace("two", "three")).reason, "digest-mismatch");
    }
    for broken in ["", "HTTP/1.1 200 OK", "no\n\n", "HTTP/1.1 200 OK\nbad header\n\n", "POST / HTTP/1.1\n\n"] {
        assert_eq!(folder.verdict(&profile, broken).reason, "format", "{broken}");
    }
}

#[test]
fn a_bad_profile_is_a_refusal_that_names_the_key() {
    let folder = Folder::new();
    for (text, named) in [
        ("", "seal"),
        ("[seal]\nkind = \"none\"\nspelling = 1", "spelling"),
        ("[seal]\nkind = \"none\"\n[seal.answer]\nkind = \"wss\"\ncertificates = [\"x.pem\"]", "answer.algorithms"),
        (
            "[seal]\nkind = \"none\"\n[seal.answer]\nkind = \"wss\"\nalgorithms = [\"rsa-sha256\"]\ncertificates = [\"x.pem\"]",
            "x.pem",
        ),
    ] {
        let verdict = folder.verdict(&folder.put("profile.toml", text), "");
        assert_eq!(verdict.reason, "profile");
        assert!(verdict.text.contains(named), "{}", verdict.text);
    }
    let verdict = verify_message(&folder.0.path().join("nowhere"), &folder.put("m", ""), None, now());
    assert_eq!(verdict.reason, "profile");
    let profile = folder.profile("rest", "kind = \"jws-compact\"");
    assert_eq!(verify_message(&profile, &folder.0.path().join("nowhere"), None, now()).reason, "unreadable");
    let unsigned = folder.put("unsigned.toml", "[seal]\nkind = \"none\"\n[seal.answer]\nkind = \"none\"");
    assert_eq!(folder.verdict(&unsigned, "x").reason, "unsigned");
}

#[test]
fn a_message_is_read_as_the_worker_reads_an_answer() {
    let folder = Folder::new();
    let profile = folder.profile("soap", "kind = \"wss\"");
    let named = envelope().replace("Ana", "Şćepan");
    let signed = wss::sign(&named, &wss_profile(Algorithm::RsaSha256), &agency_signer("soap"), now()).unwrap();
    let legacy = |text: &str| encoding_rs::WINDOWS_1250.encode(text).0.into_owned();
    let utf16 = |text: &str, order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    let gzip = |bytes: &[u8]| {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let response = |head: &str, body: &[u8]| [format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes(), body].concat();
    let declared = format!("<?xml version=\"1.0\" encoding=\"windows-1250\"?>{signed}");
    let parts = "content-type: multipart/related; boundary=b; type=\"text/xml\"";
    let in_parts = format!("--b\r\ncontent-type: text/xml\r\n\r\n{signed}\r\n--b--\r\n");
    for (how, message) in [
        ("a mark", format!("\u{feff}{signed}").into_bytes()),
        ("UTF-16 with a mark", utf16(&format!("\u{feff}{signed}"), u16::to_be_bytes)),
        ("UTF-16", utf16(&signed, u16::to_le_bytes)),
        ("an encoding of its declaration", legacy(&declared)),
        ("an encoding of its header", response("content-type: text/xml; charset=windows-1250", &legacy(&signed))),
        ("compressed", response("content-type: text/xml\r\ncontent-encoding: gzip", &gzip(signed.as_bytes()))),
        ("in parts", response(parts, in_parts.as_bytes())),
    ] {
        let verdict = folder.verdict(&profile, message);
        assert!(verdict.accepted, "{how}: {verdict:?}");
    }
    assert_eq!(folder.verdict(&profile, legacy(&signed)).reason, "xml", "no encoding is named");
    let ill = folder.verdict(&profile, response("content-type: text/xml\r\ncontent-encoding: br", b"x"));
    assert!(ill.reason == "encoding" && ill.text.contains("`br`"), "{ill:?}");
    // A whole response holds the token and what it is about.
    let profile = folder.profile("rest", "kind = \"jws-detached\"\nheader = \"x-jws-signature\"");
    let how = jws_profile(JwsForm::Compact, Algorithm::EcdsaSha256, KeyIdForm::Serial);
    let token = jws::sign_detached(b"{}", &how, &agency_signer("rest")).unwrap();
    let head = format!("content-encoding: gzip\r\nx-jws-signature: {token}");
    assert!(folder.verdict(&profile, response(&head, &gzip(b"{}"))).accepted);
    assert_eq!(folder.verdict(&profile, response(&head, &gzip(b"[]"))).reason, "signature-mismatch");
    assert_eq!(folder.verdict(&profile, response("a: b", b"{}")).reason, "missing");
}
