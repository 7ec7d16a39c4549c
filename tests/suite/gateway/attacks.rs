//! Clients that bend HTTP: each gets an answer or an end, no request is taken for another, and other offices notice nothing.

use super::{
    environment::{open, submission_request},
    raw::{raw, said_to, statuses, until_end},
};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn bodies_that_are_not_read_are_never_taken_for_requests() {
    let open = open().await;
    let hidden = "GET /v1/services HTTP/1.1\r\nhost: x\r\n\r\n";
    let head = "POST /v1/submissions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    for (what, request) in [
        ("no key", format!("{head}content-length: {}\r\n\r\n{hidden}", hidden.len())),
        ("chunked", format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len())),
        ("two lengths", format!("{head}content-length: 0\r\ncontent-length: {}\r\n\r\n{hidden}", hidden.len())),
        (
            "two framings",
            format!(
                "{head}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n",
                hidden.len()
            ),
        ),
        (
            "odd framing",
            format!("{head}transfer-encoding: xchunked\r\ncontent-length: {}\r\n\r\n{hidden}", hidden.len()),
        ),
        ("a length that is none", format!("{head}content-length: +5\r\n\r\n{hidden}")),
        ("a chunk without end", format!("{head}transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{hidden}")),
    ] {
        let said = said_to(&open, request.as_bytes()).await;
        assert_eq!(statuses(&said), ["400"], "{what}: {said}");
    }
}

/// Otherwise a client that answers to no word sends its next request into a connection that ends.
#[tokio::test]
async fn after_a_body_that_is_not_read_the_next_request_of_the_connection_is_answered() {
    let open = open().await;
    let mut stream = raw(&open, b"http/1.1").await;
    let without_key = "POST /v1/submissions HTTP/1.1\r\nhost: x\r\n";
    let too_large = format!("{without_key}idempotency-key: k\r\ncontent-type: application/json\r\n");
    for (status, refused, framing) in [
        (400, without_key, "content-length: 300000\r\n\r\n"),
        (400, without_key, "transfer-encoding: chunked\r\n\r\n493e0\r\n"),
        (413, &too_large, "content-length: 300000\r\n\r\n"),
    ] {
        stream.write_all(format!("{refused}{framing}").as_bytes()).await.unwrap();
        let mut said = String::new();
        while !said.ends_with('}') {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).await.unwrap();
            assert!(read > 0, "{framing}: {said}");
            said.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status} ")) && !said.contains("connection: close"),
            "{framing}: {said}"
        );
        stream.write_all(&[b'x'; 300_000]).await.unwrap();
        if framing.starts_with("transfer") {
            stream.write_all(b"\r\n0\r\n\r\n").await.unwrap();
        }
    }
    stream.write_all(b"GET /v1/services HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let (said, _) = until_end(stream).await;
    assert!(said.contains("HTTP/1.1 200 "), "{said}");
}

#[tokio::test]
async fn a_body_that_was_held_back_for_our_word_is_not_asked_for_to_be_thrown_away() {
    let open = open().await;
    let expect = "host: x\r\nexpect: 100-continue\r\ncontent-length";
    let said = said_to(&open, format!("POST /v1/submissions HTTP/1.1\r\n{expect}: 9\r\n\r\n").as_bytes()).await;
    assert_eq!(statuses(&said), ["400"], "{said}");
    assert!(said.contains("\r\nconnection: close\r\n"), "{said}");
    // Without a body nothing is held back, and the connection goes on.
    let get = format!("GET /v1/services HTTP/1.1\r\n{expect}: 0\r\n\r\n");
    let two = format!("{get}{}", get.replace("expect: 100-continue", "connection: close"));
    assert_eq!(statuses(&said_to(&open, two.as_bytes()).await), ["200", "200"]);
}

#[tokio::test]
async fn a_refused_body_that_is_longer_than_what_is_thrown_away_ends_its_connection_and_the_answer_says_so() {
    let open = open().await;
    let length = "host: x\r\ncontent-length: 40000000";
    let said = said_to(&open, format!("POST /v1/submissions HTTP/1.1\r\n{length}\r\n\r\n").as_bytes()).await;
    assert_eq!(statuses(&said), ["400"], "{said}");
    assert!(said.contains("\r\nconnection: close\r\n"), "{said}");
}

#[tokio::test]
async fn a_first_line_that_no_reader_takes_is_refused_in_words() {
    let open = open().await;
    for line in [
        "GET https://[::1/ HTTP/1.1",
        "GET https://[::1/v1/services HTTP/1.1",
        "GET //[/ HTTP/9.9",
        "GET /v1/services HTTP/1.2",
        "GET /v1/services HTTP/2.0",
        "GET  /v1/services HTTP/1.1",
        "GET /v1/services",
        "GE(T /v1/services HTTP/1.1",
        "GET /v1/\u{e9}\"<> HTTP/1.1",
    ] {
        let said = said_to(&open, format!("{line}\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await;
        assert_eq!(statuses(&said), ["400"], "{line}: {said}");
        assert!(said.contains("application/problem+json") && said.contains("office.request.framing"), "{line}: {said}");
    }
}

#[tokio::test]
async fn strange_heads_are_answered_and_change_nothing() {
    let open = open().await;
    let end = "host: x\r\nconnection: close\r\n\r\n";
    for (request, status) in [
        (format!("GET https://elsewhere.example/v1/services HTTP/1.1\r\n{end}"), "400"),
        (format!("GET https://x/v1/services HTTP/1.1\r\n{end}"), "200"),
        (format!("GET /v1/%73ervices HTTP/1.1\r\n{end}"), "404"),
        (format!("GET /v1/submissions/..%2f..%2fetc HTTP/1.1\r\n{end}"), "404"),
        (format!("GET /v1/submissions?cursor=%00%ff&limit=1 HTTP/1.1\r\n{end}"), "400"),
        (format!("BREW /v1/services HTTP/1.1\r\n{end}"), "405"),
        (format!("CONNECT elsewhere.example:443 HTTP/1.1\r\n{end}"), "400"),
        (format!("GET /v1/services HTTP/1.1\r\nx: {}\r\n{end}", "x".repeat(100_000)), "431"),
        (format!("GET /v1/services HTTP/1.1\r\n{}{end}", "x: y\r\n".repeat(500)), "431"),
        (format!("GET /{} HTTP/1.1\r\n{end}", "x".repeat(100_000)), "414"),
        (format!("POST /v1/submissions HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 10\r\n{end}"), "400"),
    ] {
        let said = said_to(&open, request.as_bytes()).await;
        let shown: String = request.chars().take(60).collect();
        // A line that is too long may be taken for a head that is.
        let expected = if status == "414" { &["414", "431"][..] } else { &[status] };
        let statuses = statuses(&said);
        assert!(statuses.len() == 1 && expected.contains(&statuses[0]), "{shown}: {said}");
    }
}

#[tokio::test]
async fn head_is_answered_with_the_head_that_get_is_and_with_nothing_after_it() {
    let open = open().await;
    for (path, status) in [("/v1/submissions", "200"), ("/v1/services/ledger-entry", "200"), ("/v1/nothing", "404")] {
        let answered = async |method: &str| {
            let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            let said = said_to(&open, request.as_bytes()).await;
            let (head, body) = said.split_once("\r\n\r\n").unwrap();
            // These two are of each answer its own.
            let is_lasting = |line: &&str| !line.starts_with("date: ") && !line.starts_with("traceparent: ");
            (head.lines().filter(is_lasting).map(str::to_owned).collect::<Vec<_>>(), body.to_owned())
        };
        let ((head, nothing), (expected, body)) = (answered("HEAD").await, answered("GET").await);
        assert!(head[0].starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head:?}");
        assert_eq!(head, expected, "{path}");
        assert_eq!(nothing, "", "{path}");
        assert!(!body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn headers_that_come_twice_are_not_chosen_from() {
    let open = open().await;
    let body = submission_request().to_string();
    let post = |more: &str| {
        format!(
            "POST /v1/submissions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{more}\r\n{body}",
            body.len()
        )
    };
    let twice = post("content-type: application/json\r\nidempotency-key: a\r\nidempotency-key: b\r\n");
    assert_eq!(statuses(&said_to(&open, twice.as_bytes()).await), ["400"]);
    let twice = post("content-type: application/json\r\ncontent-type: text/plain\r\nidempotency-key: a\r\n");
    assert_eq!(statuses(&said_to(&open, twice.as_bytes()).await), ["415"]);
    assert!(open.env.journal.list(&Default::default(), 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn many_requests_in_one_go_are_answered_in_their_order() {
    let open = open().await;
    let one = "GET /v1/services HTTP/1.1\r\nhost: x\r\n\r\nGET /v1/none HTTP/1.1\r\nhost: x\r\n\r\n".repeat(50);
    let said =
        said_to(&open, format!("{one}GET /v1/none HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await;
    let statuses = statuses(&said);
    assert_eq!(statuses.len(), 101);
    assert!(statuses[..100].chunks(2).all(|pair| pair == ["200", "404"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_streams_that_are_reset_at_once_disturbs_nobody() {
    let open = open().await;
    let flooding = open.client(Some(open.identity("causeni")), &[b"h2"]);
    for _ in 0..20 {
        let requests = (0..100).map(|_| {
            let client = flooding.client.clone();
            let address = format!("https://localhost:{}/v1/submissions", open.address.port());
            tokio::spawn(async move { client.post(address).body(vec![b' '; 10_000]).send().await.map(drop) })
        });
        let requests: Vec<_> = requests.collect();
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        requests.iter().for_each(tokio::task::JoinHandle::abort);
    }
    assert_eq!(open.office("shkoder").get("/v1/services").await.status, StatusCode::OK);
    assert_eq!(open.office("causeni").get("/v1/services").await.status, StatusCode::OK);
}
