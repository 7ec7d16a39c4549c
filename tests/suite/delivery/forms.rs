//! Answers as agencies send them: compressed, in parts, in other encodings than UTF-8, on the whole way; and what stays
//! refused is named.

use super::{
    belief::unsealed,
    hostile::{Hostile, env_that_tries, env_with},
};
use crate::environment::{CITIZEN, TestEnvironment};
use flate2::{Compression, write};
use serde_json::Value;
use std::io::Write;

const NAME: &str = "Şćepanović";

fn person() -> String {
    format!(
        "<cr:LookUpPersonResponse xmlns:cr=\"urn:example:civil-registry:1\"><cr:PersonalNumber>{CITIZEN}</cr:PersonalNumber><cr:FamilyName>{NAME}</cr:FamilyName><cr:GivenName><![CDATA[<Ana> ]]>&amp;&#x20;B</cr:GivenName><cr:BirthDate>1980-02-29</cr:BirthDate><cr:Citizenship>MD</cr:Citizenship></cr:LookUpPersonResponse>"
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = write::GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = write::DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn windows_1250(text: &str) -> Vec<u8> {
    let (bytes, _, is_lossy) = encoding_rs::WINDOWS_1250.encode(text);
    assert!(!is_lossy);
    bytes.into_owned()
}

async fn completes(env: &TestEnvironment, what: &str) {
    let id = env.post("person-lookup").await;
    let shown = env.ends(&id, "completed").await;
    let person = &shown["answer"]["person"];
    assert_eq!((&person["family_name"], &person["given_name"]), (&NAME.into(), &"<Ana> & B".into()), "{what}");
}

async fn detail(env: &TestEnvironment, service: &str, state: &str, code: &str) -> String {
    let id = env.post(service).await;
    let shown = env.ends(&id, state).await;
    assert_eq!(shown["fault"]["code"], code, "{shown:#}");
    let journal = &env.stack.process().unwrap().journal;
    let record = journal.find(id.parse().unwrap()).await.unwrap().unwrap();
    record.progress.state.fault().unwrap().detail.clone()
}

/// The same signed envelope each time: a signature within XML is about characters.
fn says_in(hostile: &Hostile, head: &str, body: impl FnOnce(String) -> Vec<u8>) {
    let envelope = hostile.signed_envelope(&person());
    hostile.says(200, head, body(envelope));
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_answers_and_those_in_other_encodings_complete() {
    let (env, hostile) = env_with("civil-registry", |text| text).await;
    says_in(&hostile, "content-type: text/xml\r\ncontent-encoding: gzip\r\n", |it| gzip(it.as_bytes()));
    completes(&env, "gzip").await;
    assert!(hostile.heard().to_ascii_lowercase().contains("\r\naccept-encoding: identity\r\n"), "{}", hostile.heard());
    says_in(&hostile, "Content-Type: text/xml\r\ncontent-encoding: deflate, x-gzip\r\n", |it| {
        gzip(&deflate(it.as_bytes()))
    });
    completes(&env, "deflate and gzip").await;
    says_in(&hostile, "content-type: text/xml; charset=utf-8\r\n", |it| format!("\u{feff}{it}").into_bytes());
    completes(&env, "a mark").await;
    let utf16 = |it: String| -> Vec<u8> { format!("\u{feff}{it}").encode_utf16().flat_map(u16::to_be_bytes).collect() };
    says_in(&hostile, "content-type: text/xml\r\n", utf16);
    completes(&env, "UTF-16").await;
    says_in(&hostile, "content-type: text/xml; charset=\"Windows-1250\"\r\n", |it| windows_1250(&it));
    completes(&env, "windows-1250 by its header").await;
    says_in(&hostile, "content-type: text/xml\r\n", |it| {
        windows_1250(&format!("<?xml version=\"1.0\" encoding=\"windows-1250\"?>{it}"))
    });
    completes(&env, "windows-1250 by its declaration").await;
    env.leave().await;
}

const XOP: &str =
    "content-type: multipart/related; boundary=\"b=1\"; type=\"application/xop+xml\"; start-info=\"text/xml\"";

/// In parts, the root the last of them.
fn in_parts(root: &str) -> Vec<u8> {
    let part = "--b=1\r\nContent-ID: <p@x>\r\nContent-Type: text/plain\r\n\r\nS\r\n";
    let root = format!(
        "--b=1\r\nContent-Type: application/xop+xml; charset=UTF-8\r\nContent-ID: <root@x>\r\n\r\n{root}\r\n--b=1--\r\n"
    );
    format!("{part}{root}").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_in_parts_are_read_from_their_root_and_so_are_the_faults_in_it() {
    let (env, hostile) = env_with("civil-registry", |text| text).await;
    says_in(&hostile, &format!("{XOP}; start=\"<root@x>\"\r\n"), |it| in_parts(&it));
    completes(&env, "the root that start names").await;
    // The content that was sent as a part is signed where it belongs: in base64, in its place.
    let signed = hostile.signed_envelope(&person().replace(NAME, "Uw=="));
    let include = "<x:Include xmlns:x=\"http://www.w3.org/2004/08/xop/include\" href=\"cid:p%40x\"/>";
    hostile.says(200, &format!("{XOP}; start=root@x\r\n"), in_parts(&signed.replace("Uw==", include)));
    let id = env.post("person-lookup").await;
    assert_eq!(env.ends(&id, "completed").await["answer"]["person"]["family_name"], "Uw==");
    let fault = "<s:Fault><faultcode>s:Server</faultcode><faultstring>f</faultstring></s:Fault>";
    hostile.says(500, &format!("{XOP}; start=root@x\r\n"), in_parts(&hostile.signed_envelope(fault)));
    detail(&env, "person-lookup", "parked", "agency.soap-fault.server").await;
    // Without `start`, the first part is the root: here it is none.
    says_in(&hostile, &format!("{XOP}\r\n"), |it| in_parts(&it));
    let told = detail(&env, "person-lookup", "parked", "agency.answer.media-type").await;
    assert!(told.contains("its Content-Type is `text/plain`, and it begins `a`"), "{told}");
    says_in(&hostile, &format!("{XOP}; start=root@x\r\n"), |it| in_parts(&it)[..200].to_vec());
    let told = detail(&env, "person-lookup", "parked", "agency.answer.encoding").await;
    assert!(told.contains("cut short"), "{told}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_refused_is_named_and_says_that_the_agency_has_answered() {
    let once = |text: String| {
        text.replace("effect = \"read\"", "effect = \"once\"\ncorrelates = { cannot = \"it names nobody\" }")
    };
    let (env, hostile) = env_with("civil-registry", once).await;
    let bomb = gzip(&vec![b' '; 5 << 20]);
    for (head, body, code, named) in [
        ("", b"%PDF-1.4".to_vec(), "media-type", "it has no Content-Type, and it begins `%PDF\u{2026}`"),
        (
            "content-type: application/json\r\n",
            br#"{"nume": "Maria Ionescu"}"#.to_vec(),
            "media-type",
            "`application/json`, and it begins `{\"aaaa\": \"aaaaa aaaaaaa\"}`",
        ),
        ("content-type: Maria Ionescu\r\n", b"<a/>".to_vec(), "media-type", "its Content-Type is `\u{2026}`"),
        ("content-type: text/xml; charset=\"Maria Ionescu\"\r\n", b"<a/>".to_vec(), "not-xml", "encoding `\u{2026}`"),
        ("content-type: text/xml\r\ncontent-encoding: br\r\n", vec![0x0B, 0x02], "encoding", "compressed as `br`"),
        (
            "content-type: text/xml\r\ncontent-encoding: gzip\r\n",
            b"<a/>".to_vec(),
            "encoding",
            "compressed as gzip, and is not; it begins `<a/>`",
        ),
        (
            "content-type: text/xml\r\ncontent-encoding: gzip\r\n",
            [gzip(b"<a/>"), b"Maria".to_vec()].concat(),
            "encoding",
            "bytes follow behind the end of the compressed data",
        ),
        ("content-type: text/xml\r\ncontent-encoding: gzip\r\n", bomb, "too-large", "4,194,304 bytes"),
        ("content-type: text/xml; charset=cp852\r\n", b"<a/>".to_vec(), "not-xml", "`cp852`"),
        (
            "content-type: text/xml; charset=iso-8859-2\r\n",
            b"<a>\x9A</a>".to_vec(),
            "not-xml",
            "ISO-8859-2, but byte 3 (9A)",
        ),
        (
            "content-type: text/xml\r\ncontent-type: text/html\r\n",
            b"<a/>".to_vec(),
            "encoding",
            "two headers Content-Type",
        ),
    ] {
        hostile.says(200, head, body);
        let told = detail(&env, "person-lookup", "uncertain", &format!("agency.answer.{code}")).await;
        assert!(told.starts_with("the agency has answered with HTTP status 200, but "), "{told}");
        // Thirteen digits are a person.
        assert!(told.contains(named) && !told.contains(CITIZEN) && !told.contains("Maria"), "{named}: {told}");
    }
    hostile.says(200, "content-type: text/html\r\n", b"<html>2000000000001\r\n");
    let told = detail(&env, "person-lookup", "uncertain", "agency.http.no-verdict").await;
    let named = "`text/html`, and it begins `<html\u{2026}`";
    assert!(told.starts_with("HTTP status 200 with a page for people, unsigned: ") && told.contains(named), "{told}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn white_space_or_a_mark_alone_is_an_empty_answer_where_no_bytes_are_signed() {
    let blanks = [&b"\r\n"[..], b" ", b"\xEF\xBB\xBF", b"\xEF\xBB\xBF\r\n"];
    let head = "content-type: text/html\r\n";
    let (env, hostile) = env_with("civil-registry", |text| unsealed(&text, "")).await;
    for blank in blanks {
        hostile.says(202, head, blank);
        let told = detail(&env, "civil-status-extract", "parked", "agency.answer.unexpected").await;
        assert!(told.contains("it is empty, with HTTP status 202"), "{told}");
    }
    env.leave().await;
    let (env, hostile) = env_with("civil-registry", |text| text).await;
    hostile.says(202, head, b"\r\n");
    let told = detail(&env, "civil-status-extract", "parked", "agency.answer.signature").await;
    assert!(told.contains("the answer is empty and unsigned, with HTTP status 202"), "{told}");
    env.leave().await;
    // Of a digest, one byte more is another message.
    let (env, hostile) = env_with("legal-events", |text| text).await;
    hostile.says(202, &format!("{head}x-jws-signature: {}\r\n", hostile.token_of(b"")), b"\r\n");
    env.post_and_end("legal-event", "parked", "agency.answer.media-type").await;
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_jws_is_about_what_was_compressed_and_comes_before_mark_and_charset() {
    let (env, hostile) = env_with("legal-events", |text| text).await;
    // It belongs to another request: that can only be known of an answer that was verified and read.
    let json = "{\"uid\":\"1\",\"event_id\":\"01990000-0000-7000-8000-000000000011\",\"registered_at\":\"2026-03-02T08:30:01Z\"}";
    let marked = format!("\u{feff}{json}").into_bytes();
    let utf16: Vec<u8> = json.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let head =
        |token: String, more: &str| format!("content-type: application/json{more}\r\nx-jws-signature: {token}\r\n");
    const GZIP: &str = "\r\ncontent-encoding: gzip";
    for (what, token, more, body, code) in [
        ("gzip", hostile.token_of(json.as_bytes()), GZIP, gzip(json.as_bytes()), "mismatched"),
        ("gzip and a mark", hostile.token_of(&marked), GZIP, gzip(&marked), "mismatched"),
        ("UTF-16", hostile.token_of(&utf16), "; charset=utf-16le", utf16.clone(), "mismatched"),
        (
            "about the compressed bytes",
            hostile.token_of(&gzip(json.as_bytes())),
            GZIP,
            gzip(json.as_bytes()),
            "signature",
        ),
        ("about other bytes", hostile.token_of(json.as_bytes()), "", marked.clone(), "signature"),
        ("its mark", hostile.token_of(&marked), "; charset=windows-1251", marked.clone(), "mismatched"),
    ] {
        hostile.says(200, &head(token, more), body);
        let shown: Value = env.post_and_end("legal-event", "parked", &format!("agency.answer.{code}")).await;
        assert!(shown["answer"].is_null(), "{what}");
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_digest_is_about_what_was_sent_and_a_coding_counts_only_if_it_is_signed() {
    let signs = |text: String| {
        let jws = "kind = \"jws-detached\"\nheader = \"x-jws-signature\"\n";
        assert!(text.contains(jws), "{text}");
        text.replace(jws, "kind = \"http-signature\"\n")
    };
    let retry = "first_wait_secs = 0.1\nmax_wait_secs = 0.2\nmax_attempts = 3\n";
    let (env, hostile) = env_that_tries("legal-events", retry, signs).await;
    let lines = [("content-type", "application/json"), ("content-encoding", "gzip")];
    for (what, is_about_the_sent_bytes, covered, code) in [
        ("the sent bytes", true, &["content-encoding"][..], None),
        ("the plain bytes", false, &["content-encoding"], Some("signature")),
        ("a coding that nobody has signed", true, &["content-type"], Some("encoding")),
    ] {
        // In doubt, so that the log is asked. What it says then names the submission.
        hostile.says(500, "content-type: application/json\r\n", "{}");
        let id = env.post("legal-event").await;
        env.until(&id, &["retrying"]).await;
        let event = serde_json::json!({"event_id": id, "uid": NAME, "registered_at": "2026-03-02T08:30:01Z"});
        let json = serde_json::json!({"result": [event]}).to_string();
        let sent = gzip(json.as_bytes());
        let digested = if is_about_the_sent_bytes { &sent } else { json.as_bytes() };
        hostile.says(200, &hostile.signed_head(&lines, covered, digested), sent.clone());
        let shown = env.until(&id, &["completed", "parked"]).await;
        match code {
            None => assert_eq!(shown["answer"]["uid"], NAME, "{what}: {shown:#}"),
            Some(code) => {
                assert!(shown["answer"].is_null(), "{what}: {shown:#}");
                assert_eq!(shown["fault"]["code"], format!("agency.answer.{code}"), "{what}: {shown:#}");
            }
        }
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_not_signed_decides_neither_which_signed_bytes_are_read_nor_how() {
    let retry = "first_wait_secs = 0.1\nmax_wait_secs = 0.2\nmax_attempts = 3\n";
    let (env, hostile) = env_that_tries("legal-events", retry, |text| text).await;
    let head =
        |content_type: &str, token: String| format!("content-type: {content_type}\r\nx-jws-signature: {token}\r\n");
    for charset in ["ibm866", "macintosh", "koi8-u", "windows-1250"] {
        // In doubt, so that the log is asked. What it says then names the submission.
        hostile.says(500, "content-type: application/json\r\n", "{}");
        let id = env.post("legal-event").await;
        env.until(&id, &["retrying"]).await;
        let event = serde_json::json!({"event_id": id, "uid": NAME, "registered_at": "2026-03-02T08:30:01Z"});
        let json = serde_json::json!({"result": [event]}).to_string();
        let token = hostile.token_of(json.as_bytes());
        hostile.says(200, &head(&format!("application/json; charset={charset}"), token), json);
        assert_eq!(env.ends(&id, "completed").await["answer"]["uid"], NAME, "{charset}");
    }
    hostile.says(500, "content-type: application/json\r\n", "{}");
    let id = env.post("legal-event").await;
    env.until(&id, &["retrying"]).await;
    // The agency has signed a text in which an office has written this part.
    let event = serde_json::json!({"event_id": id, "uid": "FORGED", "registered_at": "2026-03-02T08:30:01Z"});
    let part = serde_json::json!({"result": [event]});
    let text = format!("{{\r\n--b\r\nContent-Type: application/json\r\n\r\n{part}\r\n--b--\r\n}}");
    hostile.says(200, &head("multipart/related; boundary=b", hostile.token_of(text.as_bytes())), text.clone());
    let shown = env.ends(&id, "parked").await;
    assert_eq!(
        (&shown["answer"], &shown["fault"]["code"]),
        (&Value::Null, &"agency.answer.encoding".into()),
        "{shown:#}"
    );
    env.leave().await;
}
