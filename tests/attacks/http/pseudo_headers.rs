//! Requests of HTTP/2 that no HTTP/1.1 could say: none reaches a handler as another request, and none gets a second answer.

use super::frames::{ASKING, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PUSH_PROMISE, block, frame};
use crate::front::environment::{open, submission_request};
use std::time::Duration;

const QUIET: Duration = Duration::from_millis(300);

fn asking_with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&ASKING[..], more].concat()
}

fn replaced(name: &str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    ASKING.iter().map(|(have, old)| if *have == name { (*have, value) } else { (*have, *old) }).collect()
}

/// Each is malformed (RFC 9113, sections 8.2 and 8.3): the stream or the connection ends, and nothing is answered with 2xx.
fn malformed() -> Vec<(&'static str, Vec<(&'static str, &'static str)>)> {
    vec![
        ("no path", ASKING[..3].to_vec()),
        ("no method", ASKING[1..].to_vec()),
        ("no scheme", vec![ASKING[0], ASKING[2], ASKING[3]]),
        ("an empty path", replaced(":path", "")),
        ("two paths", asking_with(&[(":path", "/v1/submissions")])),
        ("two methods", asking_with(&[(":method", "DELETE")])),
        ("an unknown one", asking_with(&[(":office", "shkoder")])),
        ("one of a response", asking_with(&[(":status", "200")])),
        ("nothing between an authority's brackets", replaced(":authority", "[]")),
        ("no address between an authority's brackets", replaced(":authority", "[xyz]")),
        ("brackets inside an authority", replaced(":authority", "a[b]c")),
        ("one after a field", vec![ASKING[0], ("x", "y"), ASKING[1], ASKING[2], ASKING[3]]),
        ("upper case", asking_with(&[("X-Upper", "y")])),
        ("connection", asking_with(&[("connection", "close")])),
        ("transfer-encoding", asking_with(&[("transfer-encoding", "chunked")])),
        ("upgrade", asking_with(&[("upgrade", "h2c")])),
        ("keep-alive", asking_with(&[("keep-alive", "timeout=5")])),
        ("proxy-connection", asking_with(&[("proxy-connection", "close")])),
        ("te", asking_with(&[("te", "gzip")])),
        ("a line in the path", replaced(":path", "/v1/services HTTP/1.1\r\nhost: x\r\n\r\nGET /v1/services")),
        ("a line in the method", replaced(":method", "GET /v1/services HTTP/1.1\r\n\r\nPOST")),
        ("a space in the method", replaced(":method", "GET /")),
        ("a line in a value", asking_with(&[("x", "y\r\ntransfer-encoding: chunked")])),
        ("a nul in a value", asking_with(&[("x", "y\0z")])),
        ("a colon in a name", asking_with(&[("x:y", "z")])),
        ("a line in a name", asking_with(&[("x\r\ny", "z")])),
        ("a space in a name", asking_with(&[("x y", "z")])),
        ("an empty name", asking_with(&[("", "z")])),
        ("extended CONNECT", vec![(":method", "CONNECT"), (":protocol", "websocket"), ASKING[1], ASKING[2], ASKING[3]]),
        ("CONNECT with a path", replaced(":method", "CONNECT")),
        ("content-length without a body", asking_with(&[("content-length", "10")])),
        ("two content-lengths", asking_with(&[("content-length", "0"), ("content-length", "5")])),
        ("a content-length that is none", asking_with(&[("content-length", "+0")])),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_heads_of_http_2_are_answered_by_no_handler() {
    let open = open().await;
    for (what, fields) in malformed() {
        let mut client = Frames::begin(&open).await;
        client.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))).await;
        let heard = client.hear(QUIET).await;
        let said = String::from_utf8_lossy(&heard.data);
        assert!(!said.contains("ledger-entry"), "{what} was served: {said}");
        let is_over = heard.has_ended || heard.goaway.is_some() || !heard.resets.is_empty();
        let is_problem = said.contains("urn:punte:problem:office") || heard.headers.len() == 1 && said.is_empty();
        assert!(is_over || is_problem, "{what}: {heard:?}");
        assert!(heard.headers.len() <= 1, "{what}: {heard:?}");
    }
    let mut honest = Frames::begin(&open).await;
    honest.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&ASKING))).await;
    assert!(String::from_utf8_lossy(&honest.hear(QUIET).await.data).contains("ledger-entry"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_another_length_than_was_said_is_not_accepted() {
    let open = open().await;
    let body = submission_request().to_string();
    for length in [body.len() - 1, body.len() + 1, 0] {
        let length = length.to_string();
        let fields = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", "/v1/submissions"),
            ("content-type", "application/json"),
            ("idempotency-key", "k"),
            ("content-length", &length),
        ];
        let mut client = Frames::begin(&open).await;
        client.write(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await;
        client.write(&frame(DATA, END_STREAM, 1, body.as_bytes())).await;
        client.hear(QUIET).await;
        assert!(open.env.journal.list(&Default::default(), 1).await.unwrap().is_empty(), "{length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_in_the_wrong_place_end_the_connection() {
    let open = open().await;
    let asking = block(&ASKING);
    for (what, bytes) in [
        ("DATA on no stream", frame(DATA, 0, 0, b"x")),
        ("HEADERS on no stream", frame(HEADERS, END_HEADERS, 0, &asking)),
        ("an even stream", frame(HEADERS, END_HEADERS | END_STREAM, 2, &asking)),
        ("a promise of a client", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])),
        ("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, &asking)),
        ("a frame between the headers", [frame(HEADERS, 0, 1, &asking), frame(DATA, 0, 1, b"x")].concat()),
        ("a frame beyond the largest", frame(HEADERS, END_HEADERS, 1, &vec![0; 20_000])),
        ("padding beyond the frame", frame(DATA, 8, 1, &[255, 0])),
        ("settings of an odd length", frame(4, 0, 0, &[0; 5])),
        ("a window beyond 31 bits", frame(4, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff])),
        ("no window", frame(8, 0, 0, &[0; 4])),
        ("windows that add up beyond 31 bits", frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2)),
        ("an index beyond the table", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0x7f])),
        ("a table beyond what was allowed", frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x3f, 0xff, 0xff, 0x7f])),
        ("HTTP/1.1", b"GET /v1/services HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
    ] {
        let mut client = Frames::begin(&open).await;
        client.write(&bytes).await;
        let heard = client.hear(Duration::from_secs(1)).await;
        assert!(heard.has_ended && heard.data.is_empty(), "{what}: {heard:?}");
    }
}
