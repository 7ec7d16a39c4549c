//! Slow, silent and greedy clients: they cost little, for a short time, and nobody else notices.

use super::{
    environment::{Open, TestEnvironment, submission_request},
    raw::{raw, until_end},
};
use http::StatusCode;
use std::time::{Duration, Instant};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::client::TlsStream;

const DEADLINE: Duration = Duration::from_millis(600);

async fn hasty() -> Open {
    let mut env = TestEnvironment::new();
    env.settings.handshake_timeout = DEADLINE;
    env.settings.header_timeout = DEADLINE;
    env.settings.body_timeout = DEADLINE;
    env.open().await
}

#[tokio::test]
async fn a_client_that_never_finishes_its_handshake_is_dropped() {
    let open = hasty().await;
    let mut stream = TcpStream::connect(open.address).await.unwrap();
    stream.write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    let (_, took) = until_end(stream).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_client_that_never_asks_anything_is_dropped() {
    let open = hasty().await;
    for alpn in [&b"http/1.1"[..], b"h2"] {
        let (_, took) = until_end(raw(&open, alpn).await).await;
        assert!(took < Duration::from_secs(7), "{took:?}");
    }
}

#[tokio::test]
async fn a_client_that_drips_its_headers_is_dropped() {
    let open = hasty().await;
    let (reading, mut writing) = tokio::io::split(raw(&open, b"http/1.1").await);
    let dripping = tokio::spawn(async move {
        writing.write_all(b"GET /v1/services HTTP/1.1\r\nhost: localhost\r\n").await?;
        for _ in 0..100 {
            writing.write_all(b"x-drip: 1\r\n").await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok::<_, std::io::Error>(())
    });
    let (_, took) = until_end(reading).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    dripping.abort();
}

#[tokio::test]
async fn a_client_that_drips_its_body_is_told_and_dropped() {
    let open = hasty().await;
    let (reading, mut writing) = tokio::io::split(raw(&open, b"http/1.1").await);
    let head = "POST /v1/submissions HTTP/1.1\r\nhost: localhost\r\nidempotency-key: k\r\n\
                content-type: application/json\r\ncontent-length: 5000\r\n\r\n";
    let dripping = tokio::spawn(async move {
        writing.write_all(head.as_bytes()).await?;
        for _ in 0..100 {
            writing.write_all(b" ").await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok::<_, std::io::Error>(())
    });
    let (said, took) = until_end(reading).await;
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    assert!(said.contains("office.request.timeout"), "{said}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    dripping.abort();
}

/// Holds a request under way with `bytes` of its body sent.
async fn held(open: &Open, bytes: usize) -> TlsStream<TcpStream> {
    let mut stream = raw(open, b"http/1.1").await;
    let head = "POST /v1/submissions HTTP/1.1\r\nhost: localhost\r\nidempotency-key: held\r\n\
                content-type: application/json\r\ncontent-length: 65000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; bytes]).await.unwrap();
    stream.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    stream
}

#[tokio::test]
async fn bodies_in_memory_have_a_limit_that_comes_back() {
    let mut env = TestEnvironment::new();
    env.settings.max_memory_bytes = 64 << 10;
    let open = env.open().await;
    let office = open.office("shkoder");
    let greedy = held(&open, 64_000).await;
    let mut large = submission_request();
    large["context"]["clerk"] = "x".repeat(20_000).into();
    let said = office.post("k1", &large).await;
    assert_eq!((said.status, said.code()), (StatusCode::SERVICE_UNAVAILABLE, "bus.overloaded"));
    assert!(said.header("retry-after").is_some());
    drop(greedy);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(office.post("k1", &large).await.code(), "office.request.schema");
}

#[tokio::test]
async fn requests_under_way_have_a_limit_that_comes_back() {
    let mut env = TestEnvironment::new();
    env.settings.max_requests = 1;
    let open = env.open().await;
    let office = open.office("shkoder");
    let slow = held(&open, 10).await;
    assert_eq!(office.get("/v1/services").await.code(), "bus.overloaded");
    drop(slow);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(office.get("/v1/services").await.status, StatusCode::OK);
}

#[tokio::test]
async fn connections_have_a_limit_and_silent_ones_make_room() {
    let mut env = TestEnvironment::new();
    env.settings.max_connections = 2;
    env.settings.handshake_timeout = DEADLINE;
    let open = env.open().await;
    let silent = [TcpStream::connect(open.address).await.unwrap(), TcpStream::connect(open.address).await.unwrap()];
    let begun = Instant::now();
    assert_eq!(open.office("causeni").get("/v1/services").await.status, StatusCode::OK);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    drop(silent);
}

#[tokio::test]
async fn a_flood_of_silent_connections_shows_out_its_own() {
    let mut env = TestEnvironment::new();
    env.settings.max_connections = 64;
    let open = env.open().await;
    let mut flood = Vec::new();
    for _ in 0..60 {
        flood.push(TcpStream::connect(open.address).await.unwrap());
    }
    let begun = Instant::now();
    for _ in 0..10 {
        flood.push(TcpStream::connect(open.address).await.unwrap());
        assert_eq!(open.office("causeni").get("/v1/services").await.status, StatusCode::OK);
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let (_, took) = until_end(flood.remove(0)).await;
    assert!(took < Duration::from_secs(2), "the oldest still stands there: {took:?}");
}

#[tokio::test]
async fn one_offices_connections_leave_room_for_anothers() {
    let mut env = TestEnvironment::new();
    env.settings.max_connections = 6;
    let open = env.open().await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(raw(&open, b"h2").await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let said = open.office("causeni").get("/v1/services").await;
    assert_eq!((said.status, said.code()), (StatusCode::TOO_MANY_REQUESTS, "office.rate-limited"));
    assert!(said.header("retry-after").is_some());
    assert_eq!(open.office("shkoder").get("/v1/services").await.status, StatusCode::OK);
    drop(held);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(open.office("causeni").get("/v1/services").await.status, StatusCode::OK);
}

#[tokio::test]
async fn one_offices_bodies_leave_memory_for_anothers() {
    let mut env = TestEnvironment::new();
    env.settings.max_memory_bytes = 160 << 10;
    let open = env.open().await;
    let greedy = held(&open, 64_000).await;
    let mut large = submission_request();
    large["context"]["clerk"] = "x".repeat(30_000).into();
    assert_eq!(open.office("causeni").post("k1", &large).await.code(), "bus.overloaded");
    assert_eq!(open.office("shkoder").post("k1", &large).await.code(), "office.request.schema");
    drop(greedy);
}

#[tokio::test]
async fn many_small_values_count_as_the_memory_they_take() {
    let mut env = TestEnvironment::new();
    env.settings.max_body_bytes = 1 << 20;
    let open = env.open().await;
    let office = open.office("causeni");
    let mut bomb = submission_request();
    bomb["data"] = serde_json::json!(vec![serde_json::json!({"": {}}); 60_000]);
    let said = office.post("k1", &bomb).await;
    assert_eq!((said.status, said.code()), (StatusCode::PAYLOAD_TOO_LARGE, "office.request.too-large"));
    bomb["data"] = serde_json::json!(vec![0; 15_000]);
    assert_eq!(office.post("k1", &bomb).await.code(), "office.request.schema");
}

#[tokio::test]
async fn a_request_under_way_ends_before_the_gateway_does() {
    let open = super::environment::open().await;
    let mut stream = raw(&open, b"http/1.1").await;
    let body = submission_request().to_string();
    let head = format!(
        "POST /v1/submissions HTTP/1.1\r\nhost: localhost\r\nidempotency-key: k\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    open.env.shutdown.cancel();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(TcpStream::connect(open.address).await.is_err());
    stream.write_all(body.as_bytes()).await.unwrap();
    let (said, _) = until_end(stream).await;
    assert!(said.starts_with("HTTP/1.1 202"), "{said}");
    assert!(said.to_lowercase().contains("connection: close"), "{said}");
    tokio::time::timeout(Duration::from_secs(5), open.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn idle_connections_do_not_keep_a_gateway_that_stops() {
    let open = super::environment::open().await;
    // Kept alive by a client that reads nothing and never hangs up, before and after its first request.
    let mut used = raw(&open, b"http/1.1").await;
    used.write_all(b"GET /v1/services HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let unused = raw(&open, b"http/1.1").await;
    let silent = TcpStream::connect(open.address).await.unwrap();
    let modern = open.client(Some(open.identity("causeni")), &[b"h2"]);
    assert_eq!(modern.get("/v1/services").await.status, 200);
    let quiet_http_2 = raw(&open, b"h2").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    open.env.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), open.ended).await.expect("it waits for idle connections").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    drop((used, unused, silent, quiet_http_2));
}
