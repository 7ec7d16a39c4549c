//! Texts that mean something to a machine further on: to templates, XML, JSON, jq, SQL, logs, headers, spreadsheets. They
//! stay texts, or are refused.

use crate::{
    environment::{TestEnvironment, request},
    front::environment::open,
    program::Program,
};
use http::Method;
use punte::kit::test_stack::{OFFICE, TestStack, TestStackPlan};
use serde_json::{Value, json};
use std::path::Path;
use tokio::io::AsyncWriteExt;

const TEXTS: [&str; 32] = [
    "{{ 7*7 }}",
    "{% for x in [1] %}x{% endfor %}",
    "{% raw %}{{ secret }}{% endraw %}",
    "{{ self.__init__.__globals__ }}",
    "{# comment #}",
    "{{ '}}' }}{%",
    "${7*7}#{7*7}<%= 7*7 %>",
    "]]></cr:CallReason><cr:CallReason>",
    "</cr:Note><cr:PersonalNumber>1</cr:PersonalNumber>",
    "</soap:Body></soap:Envelope>",
    "<!-- comment -->",
    "<![CDATA[x]]>",
    "<?pi x?>",
    "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>&e;",
    "&amp;&lt;&#65;&xxe;",
    "<xi:include href='file:///etc/passwd' parse='text'/>",
    "\" onload=\"x\" '",
    "\"}, {\"event_id\": \"x\"",
    "\\\" \\u0022 \\n \\",
    "\\(env) | $__prog_args | input",
    "a\r\nSOAPAction: x\r\n\r\nPOST / HTTP/1.1",
    "a\nb\tc",
    "\u{2028}\u{2029}\u{85}",
    "\u{202e}rtl\u{2066}",
    "'; DROP TABLE submissions; --",
    "$1 ? %s %n {} {0}",
    "$(id) `id` | id; id && id",
    "=HYPERLINK(\"http://x\")",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "%0d%0aX: y %00 ..%2f",
    "../../etc/passwd",
    "a\u{fffd}\u{10ffff}\u{e000}",
];
/// XML 1.0 cannot hold these, and no escape helps (section 2.2): they must not get into a message.
const IMPOSSIBLE: [&str; 4] = ["\u{1b}[31mred", "\u{0}", "\u{8}", "\u{fffe}"];

fn with(service: &str, text: &str) -> Value {
    let mut request = request(service, crate::environment::CITIZEN);
    for field in ["clerk", "entity", "legal_basis", "reason"] {
        request["context"][field] = json!(text);
    }
    let field = if service == "legal-event" { "message" } else { "note" };
    request["data"][field] = json!(text);
    request
}

/// The bodies that were sent for a submission.
async fn sent(env: &TestEnvironment, id: &str) -> Vec<String> {
    let journal = &env.stack.process().unwrap().journal;
    let attempts = journal.attempts(id.parse().unwrap()).await.unwrap();
    let bytes = attempts.into_iter().filter_map(|attempt| Some(attempt.wire?.sent));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().split_once("\r\n\r\n").unwrap().1.to_owned();
    bytes.filter(|bytes| !bytes.is_empty()).map(text).collect()
}

/// What a compact JWS signs (RFC 7515, section 7.1).
fn payload(token: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let part = token.trim().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn texts_in(xml: &str, wanted: &[&str]) -> (usize, Vec<String>) {
    let document = roxmltree::Document::parse(xml).unwrap();
    let text = |name: &str| {
        let found: Vec<_> = document.descendants().filter(|node| node.tag_name().name() == name).collect();
        assert_eq!(found.len(), 1, "{name} in {xml}");
        found[0].text().unwrap_or_default().to_owned()
    };
    (
        document.descendants().filter(|node| node.is_element()).count(),
        wanted.iter().map(|name| text(name)).collect::<Vec<_>>(),
    )
}

const FIELDS: [&str; 5] = ["CallingUser", "CallingEntity", "CallBasis", "CallReason", "Note"];

#[tokio::test(flavor = "multi_thread")]
async fn an_offices_text_is_a_text_in_every_message() {
    let env =
        TestEnvironment::planned(|plan| plan.retry = "first_wait_secs = 0.1\nmax_wait_secs = 0.2\nmax_attempts = 1\n")
            .await;
    let plain = env.post_request(&with("civil-status-extract", "plain")).await;
    env.ends(&plain, "completed").await;
    let (elements, _) = texts_in(&sent(&env, &plain).await[0], &FIELDS);
    for text in TEXTS {
        let extract = env.post_request(&with("civil-status-extract", text)).await;
        let event = env.post_request(&with("legal-event", text)).await;
        env.until(&extract, &["completed", "refused", "parked"]).await;
        env.until(&event, &["completed", "refused", "parked"]).await;
        let (seen, texts) = texts_in(&sent(&env, &extract).await[0], &FIELDS);
        assert_eq!((seen, texts), (elements, vec![text.to_owned(); 5]), "{text}");
        let body = payload(&sent(&env, &event).await[0]);
        for member in ["event_message", "legal_basis", "legal_reason", "user", "legal_entity"] {
            assert_eq!(body[member], text, "{body}");
        }
        assert_eq!(body.as_object().unwrap().len(), 12, "{body}");
    }
    for text in IMPOSSIBLE {
        let (status, shown) = env.post_raw(&with("civil-status-extract", text)).await;
        if status >= 400 {
            continue;
        }
        let id = shown["id"].as_str().unwrap();
        env.ends(id, "parked").await;
        assert!(sent(&env, id).await.is_empty(), "{text:?} was sent");
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_an_office_sends_begins_a_line_of_the_log() {
    for format in ["text", "json"] {
        let stack = TestStack::prepare(TestStackPlan::of_project(Path::new(env!("CARGO_MANIFEST_DIR")))).await.unwrap();
        let office = stack.client(OFFICE).unwrap();
        let arguments = ["--log-format", format, "--log", "trace"];
        let program = Program::start(&stack, &office, &arguments, &[]).await;
        let forged = "2026-01-01T00:00:00Z  INFO punte: forged";
        for path in [
            "/v1/services/%0a",
            "/v1/submissions?x=%0d%0aforged%1b[2J",
            "/v1/submissions?state=%0a",
            "/%1b]0;forged%07",
        ] {
            office.get(program.url(path)).send().await.unwrap();
        }
        for text in [format!("x\n{forged}"), format!("x\r\n{forged}\u{1b}[2J"), "\u{2028}forged".into()] {
            for service in ["civil-status-extract", "legal-event"] {
                let mut request = with(service, &text);
                for at in ["service", "priority"] {
                    let post = office.post(program.url("/v1/submissions")).header("content-type", "application/json");
                    post.header("idempotency-key", uuid::Uuid::new_v4().to_string())
                        .body(request.to_string())
                        .send()
                        .await
                        .unwrap();
                    request[at] = json!(text);
                }
            }
        }
        // Bytes that no client library lets through: after a tab, above ASCII, in names and values.
        for field in [
            "user-agent: a\tforged\u{1b}[2J",
            "x-forwarded-for: forged",
            "traceparent: 00-forged",
            "idempotency-key: \u{e9}\u{9b}forged",
        ] {
            raw(
                &stack,
                &program,
                &format!("POST /v1/submissions HTTP/1.1\r\nhost: x\r\n{field}\r\ncontent-length: 0\r\n\r\n"),
            )
            .await;
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let said = program.said();
        assert!(said.lines().count() > 20 && said.contains("accepted"), "{said}");
        assert!(!said.contains("forged") && !said.contains('\u{1b}') && !said.contains('\r'), "{said}");
        for line in said.lines() {
            match format {
                "json" => assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}"),
                _ => assert!(line.get(..10).is_some_and(|date| date.starts_with("20")), "{line}"),
            }
        }
    }
}

async fn raw(stack: &TestStack, program: &Program, text: &str) {
    let mut stream = crate::http::idle::connect(stack, OFFICE, program.port, b"http/1.1").await;
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.flush().await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

#[tokio::test]
async fn nothing_that_an_office_sends_gets_into_a_header_of_ours() {
    let open = open().await;
    let office = open.office("causeni");
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let adopted = office.send(office.request(Method::GET, "/v1/services").header("traceparent", good)).await;
    assert!(adopted.header("traceparent").unwrap().contains("0af7651916cd43dd8448eb211c80319c"));
    let long = format!("00-{}-b7ad6b7169203331-01", "a".repeat(5_000));
    for text in [
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-<script>alert(1)</script>xxxxxxx-b7ad6b7169203331-01",
        "canary",
        &long,
    ] {
        let said = office.send(office.request(Method::GET, "/v1/nothing").header("traceparent", text)).await;
        let ours = said.header("traceparent").unwrap();
        let is_ours = ours.len() == 55 && ours.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
        assert!(is_ours && !text.contains(&ours[3..35]), "{text}: {ours}");
        assert_eq!(said.json["trace_id"], ours[3..35]);
    }
    let file = office.request(Method::POST, "/v1/attachments").header("content-type", "application/xml");
    let name = "attachment; filename*=UTF-8''a%0d%0aX-Y:%20z%1b%00%2f%3Cb%3E=1.xml";
    let said = office.send(file.header("content-disposition", name).body("<a/>")).await;
    assert_eq!(said.json["name"], "b1.xml", "{}", said.text);
    for (name, value) in &said.headers {
        assert!(!value.to_str().unwrap().contains("X-Y"), "{name}");
    }
}
