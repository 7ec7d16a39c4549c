//! Requests that two readers of HTTP/1.1 would split differently: the second one that is hidden in each must never be
//! carried out, whatever is done with the first.

use crate::front::{
    environment::{open, submission_request},
    raw::{said_to, statuses},
};

/// A whole request that would be accepted if it ever were taken for one.
fn hidden() -> String {
    let body = submission_request().to_string();
    format!(
        "POST /v1/submissions HTTP/1.1\r\nhost: x\r\nidempotency-key: smuggled\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn post(framing: &str, body: &str) -> Vec<u8> {
    let head =
        "POST /v1/submissions HTTP/1.1\r\nhost: x\r\nidempotency-key: first\r\ncontent-type: application/json\r\n";
    format!("{head}{framing}\r\n\r\n{body}").into_bytes()
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

fn forms() -> Vec<(&'static str, Vec<u8>)> {
    let hidden = hidden();
    let end = format!("0\r\n\r\n{hidden}");
    let length = end.len();
    let te = |field: &str| post(&format!("{field}\r\ncontent-length: {length}"), &end);
    let cl = |field: &str| post(field, &hidden);
    let chunk = |head: &str| post("transfer-encoding: chunked", &format!("{head}\r\n{hidden}\r\n0\r\n\r\n"));
    let size = format!("{:x}", hidden.len());
    let many = format!("{size};{}", "x=y;".repeat(20_000));
    let trailer = format!("0\r\n{}\r\n\r\n{hidden}", "x: y\r\n".repeat(20_000));
    vec![
        ("CL.TE", te("transfer-encoding: chunked")),
        ("TE.CL", post("content-length: 4\r\ntransfer-encoding: chunked", &chunked(&hidden))),
        ("TE with a space before the colon", te("transfer-encoding : chunked")),
        ("TE after a tab", te("transfer-encoding:\tchunked")),
        ("TE with a vertical tab", te("transfer-encoding: \x0bchunked")),
        ("TE in a folded line", te("transfer-encoding:\r\n chunked")),
        ("TE folded into another", te("x: y\r\n transfer-encoding: chunked")),
        ("TE twice", te("transfer-encoding: chunked\r\ntransfer-encoding: identity")),
        ("TE twice, chunked last", te("transfer-encoding: identity\r\ntransfer-encoding: chunked")),
        ("TE of two codings", te("transfer-encoding: gzip, chunked")),
        ("TE chunked not last", te("transfer-encoding: chunked, identity")),
        ("TE quoted", te("transfer-encoding: \"chunked\"")),
        ("TE in odd case", te("Transfer-Encoding: cHuNkEd")),
        ("TE with a suffix", te("transfer-encoding: chunked;q=1")),
        ("TE xchunked", te("transfer-encoding: xchunked")),
        ("TE empty", te("transfer-encoding:")),
        ("TE with a nul", te("transfer-encoding: chunked\0")),
        ("TE behind a bare line feed", te("x: y\ntransfer-encoding: chunked")),
        ("TE behind a bare carriage return", te("x: y\rtransfer-encoding: chunked")),
        ("TE with an underscore", te("transfer_encoding: chunked")),
        ("CL twice, different", cl(&format!("content-length: 0\r\ncontent-length: {}", hidden.len()))),
        ("CL as a list", cl(&format!("content-length: 0, {}", hidden.len()))),
        ("CL negative", cl("content-length: -1")),
        ("CL with a sign", cl("content-length: +0")),
        ("CL in hexadecimal", cl("content-length: 0x0")),
        ("CL with a space inside", cl("content-length: 0 0")),
        ("CL beyond 64 bits", cl("content-length: 18446744073709551616")),
        ("CL huge", cl("content-length: 9999999999999999999999999999")),
        ("CL that is no number", cl("content-length: zero")),
        ("CL empty", cl("content-length:")),
        ("CL in Arabic digits", cl("content-length: ٠")),
        ("CL with a space before the colon", cl("content-length : 0")),
        ("chunk size beyond 64 bits", chunk(&format!("1{}{size}", "0".repeat(16)))),
        ("chunk size with a sign", chunk(&format!("+{size}"))),
        ("chunk size with 0x", chunk(&format!("0x{size}"))),
        ("chunk size negative", chunk("-1")),
        ("chunk size with a space", chunk(&format!("{size} {size}"))),
        ("chunk size missing", chunk("")),
        ("chunk extension without end", chunk(&many)),
        ("chunk extension with a bare line feed", chunk(&format!("{size};a=\n0"))),
        ("chunk ended by a bare line feed", post("transfer-encoding: chunked", &format!("0\n\n{hidden}"))),
        ("chunk longer than its size", post("transfer-encoding: chunked", &format!("1\r\nab0\r\n\r\n{hidden}"))),
        ("trailers without end", post("transfer-encoding: chunked", &trailer)),
        ("a field name with a space", cl("content length: 0\r\nx : y\r\ncontent-length: 0x")),
        ("no version", format!("GET /v1/services\r\n\r\n{hidden}").into_bytes()),
        ("version 0.9", format!("GET /v1/services HTTP/0.9\r\n\r\n{hidden}").into_bytes()),
        (
            "version 1.2",
            format!("GET /v1/services HTTP/1.2\r\nhost: x\r\nconnection: close\r\n\r\n{hidden}").into_bytes(),
        ),
        ("TE in version 1.0", te("transfer-encoding: chunked").replace_version()),
        ("the preface of HTTP/2", format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{hidden}").into_bytes()),
    ]
}

trait Older {
    fn replace_version(self) -> Self;
}

impl Older for Vec<u8> {
    fn replace_version(self) -> Self {
        String::from_utf8(self).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1).into_bytes()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_hidden_in_another_is_never_carried_out() {
    let mut env = crate::front::environment::TestEnvironment::new();
    env.settings.body_timeout = std::time::Duration::from_millis(900);
    env.settings.header_timeout = std::time::Duration::from_millis(900);
    let open = env.open().await;
    let forms = forms();
    assert!(forms.len() >= 45);
    for (what, bytes) in forms {
        let said = said_to(&open, &bytes).await;
        let statuses = statuses(&said);
        assert!(statuses.len() <= 1, "{what}: {said}");
        let is_refused = statuses.iter().all(|status| status.starts_with('4') || *status == "505");
        assert!(is_refused, "{what}: {said}");
        let accepted = open.env.journal.list(&Default::default(), 10).await.unwrap();
        assert!(accepted.is_empty(), "{what}: {} submissions, {said}", accepted.len());
    }
}

/// The first request of each form: whole, and good but for its framing.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_framing_readers_understand_differently_is_not_carried_out_itself() {
    let open = open().await;
    let body = submission_request().to_string();
    let (length, chunks) = (body.len(), chunked(&body));
    let in_chunks = chunks.len();
    let host = "POST /v1/submissions HTTP/1.1\r\nidempotency-key: first\r\ncontent-type: application/json\r\n";
    let with_host = |fields: &str| format!("{host}{fields}content-length: {length}\r\n\r\n{body}").into_bytes();
    let with_target = |target: &str| {
        let whole = String::from_utf8(with_host("host: x\r\n")).unwrap();
        whole.replacen("/v1/submissions", target, 1).into_bytes()
    };
    let halves = body.split_at(length / 2);
    let forms: Vec<(&str, Vec<u8>)> = vec![
        ("both, TE first", post(&format!("transfer-encoding: chunked\r\ncontent-length: {in_chunks}"), &chunks)),
        ("both, CL first", post(&format!("content-length: {in_chunks}\r\ntransfer-encoding: chunked"), &chunks)),
        ("CL twice, the same", post(&format!("content-length: {length}\r\ncontent-length: {length}"), &body)),
        ("CL as a list of the same", post(&format!("content-length: {length}, {length}"), &body)),
        ("CL with a sign", post(&format!("content-length: +{length}"), &body)),
        ("TE twice", post("transfer-encoding: chunked\r\ntransfer-encoding: chunked", &chunks)),
        ("TE as a list", post("transfer-encoding: chunked, chunked", &chunks)),
        ("TE of identity and chunked", post("transfer-encoding: identity, chunked", &chunks)),
        ("TE in a folded line", post("transfer-encoding:\r\n chunked", &chunks)),
        ("a folded line elsewhere", post(&format!("x: y\r\n z\r\ncontent-length: {length}"), &body)),
        ("TE in version 1.0", post("transfer-encoding: chunked", &chunks).replace_version()),
        (
            "bare line feeds",
            String::from_utf8(post(&format!("content-length: {length}"), &body)).unwrap().replace("\r\n", "\n").into(),
        ),
        ("one bare line feed", post(&format!("x: y\ncontent-length: {length}"), &body)),
        ("a name with a space before its colon", post(&format!("x : y\r\ncontent-length: {length}"), &body)),
        ("a name of the server's own", post(&format!("punte-refused-framing: x\r\ncontent-length: {length}"), &body)),
        ("a chunk with a bare line feed", post("transfer-encoding: chunked", &chunks.replacen("\r\n", "\n", 1))),
        ("a chunk's size with a space", post("transfer-encoding: chunked", &chunks.replacen("\r\n", " \r\n", 1))),
        (
            "a bare line feed in a chunk's extension",
            post("transfer-encoding: chunked", &chunks.replacen("\r\n", ";a=\nb\r\n", 1)),
        ),
        (
            "a chunk that is shorter than it says",
            post(
                "transfer-encoding: chunked",
                &format!(
                    "{:x}\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n",
                    halves.0.len() + 1,
                    halves.0,
                    halves.1.len(),
                    halves.1
                ),
            ),
        ),
        ("no host", with_host("")),
        ("two hosts", with_host("host: x\r\nhost: x\r\n")),
        ("two different hosts", with_host("host: x\r\nhost: y\r\n")),
        ("an empty host", with_host("host:\r\n")),
        ("a host with a space", with_host("host: a b\r\n")),
        ("hosts in a list", with_host("host: x, y\r\n")),
        ("a host with a user", with_host("host: a@x\r\n")),
        ("a host with a path", with_host("host: x/y\r\n")),
        ("a host with a port that is none", with_host("host: x:99999\r\n")),
        ("a host with a port with a sign", with_host("host: x:+443\r\n")),
        ("a host with nothing between brackets", with_host("host: []\r\n")),
        ("a host with no address between brackets", with_host("host: [xyz]\r\n")),
        ("a host with brackets inside", with_host("host: a[b]c\r\n")),
        ("a target of another host", with_target("https://evil.example/v1/submissions")),
        ("a target of another port", with_target("https://x:8443/v1/submissions")),
        ("a target with a user", with_target("https://a@x/v1/submissions")),
        ("a target of another scheme", with_target("http://x/v1/submissions")),
        ("a target with a fragment", with_target("/v1/submissions#a")),
    ];
    for (what, bytes) in forms {
        let begun = std::time::Instant::now();
        let said = said_to(&open, &bytes).await;
        assert_eq!(statuses(&said), ["400"], "{what}: {said}");
        assert!(said.contains("office.request.framing"), "{what}: {said}");
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{what} took {:?}", begun.elapsed());
        let accepted = open.env.journal.list(&Default::default(), 10).await.unwrap();
        assert!(accepted.is_empty(), "{what}: {said}");
    }
}

/// The same hidden request is accepted where it stands alone: the test above could fail.
#[tokio::test]
async fn what_is_hidden_there_is_a_request_that_is_carried_out() {
    let open = open().await;
    assert_eq!(statuses(&said_to(&open, hidden().as_bytes()).await), ["202"]);
    let whole = post("transfer-encoding: chunked", &chunked(&submission_request().to_string()));
    let both = [whole, hidden().into_bytes()].concat();
    assert_eq!(statuses(&said_to(&open, &both).await), ["202", "202"]);
    let extended = chunked(&submission_request().to_string())
        .replacen("\r\n", ";a=\"b\"\r\n", 1)
        .replace("0\r\n\r\n", "0\r\nx: y\r\n\r\n");
    let good = post("Transfer-Encoding:  Chunked ", &extended);
    let both = [good, hidden().into_bytes()].concat();
    assert_eq!(statuses(&said_to(&open, &both).await), ["202", "202"]);
}

#[tokio::test]
async fn upgrades_tunnels_and_other_hosts_lead_nowhere() {
    let open = open().await;
    let end = "connection: close\r\n\r\n";
    for (request, status) in [
        (
            "GET /v1/services HTTP/1.1\r\nhost: x\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nconnection: upgrade, http2-settings, close\r\n\r\n".to_owned(),
            "200",
        ),
        (
            "GET /v1/services HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade, close\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".to_owned(),
            "200",
        ),
        (format!("CONNECT 127.0.0.1:22 HTTP/1.1\r\nhost: 127.0.0.1:22\r\n{end}"), "404"),
        (format!("GET http://169.254.169.254/latest/meta-data HTTP/1.1\r\nhost: x\r\n{end}"), "400"),
        (format!("GET https://X/v1/services HTTP/1.1\r\nhost: x\r\n{end}"), "200"),
        (format!("TRACE /v1/services HTTP/1.1\r\nhost: x\r\nx-secret: never-echoed\r\n{end}"), "405"),
        (format!("OPTIONS * HTTP/1.1\r\nhost: x\r\n{end}"), "404"),
        (format!("GET //v1/services HTTP/1.1\r\nhost: x\r\n{end}"), "404"),
        (format!("GET /v1/../v1/services HTTP/1.1\r\nhost: x\r\n{end}"), "404"),
        (format!("GET /v1/services;x=y HTTP/1.1\r\nhost: x\r\n{end}"), "404"),
        (format!("GET /v1/services%00 HTTP/1.1\r\nhost: x\r\n{end}"), "404"),
        (format!("GET /v1/services#frag HTTP/1.1\r\nhost: x\r\n{end}"), "400"),
        (
            format!(
                "POST /v1/submissions HTTP/1.1\r\nhost: x\r\nx-http-method-override: DELETE\r\ncontent-length: 0\r\n{end}"
            ),
            "400",
        ),
    ] {
        let said = said_to(&open, request.as_bytes()).await;
        let statuses = statuses(&said);
        let shown = request.lines().next().unwrap();
        let fits = statuses.len() == 1 && statuses[0] == status;
        assert!(fits && !said.contains("never-echoed"), "{shown}: {said}");
    }
}
