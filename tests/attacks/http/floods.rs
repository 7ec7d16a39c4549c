//! Floods inside one connection of HTTP/2, and bodies that grow when they are unpacked: what they cost has an end, and
//! another office is served meanwhile.

use super::frames::{
    ASKING, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, frame, number,
};
use crate::front::environment::{Open, open, submission_request};
use http::{Method, StatusCode};
use std::time::{Duration, Instant};

const QUIET: Duration = Duration::from_millis(500);
/// What one flood may make the whole process grow by.
const MOST_GROWTH_KIB: u64 = 64 << 10;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Sends it, as far as the gateway takes it, while another office asks. Whether the gateway took all of it.
async fn flood(open: &Open, what: &str, begin: &[u8], piece: &[u8], times: usize) -> bool {
    let before = resident_kib();
    let mut client = Frames::begin(open).await;
    let mut has_taken_all = client.write(begin).await;
    let begun = Instant::now();
    let other = open.office("shkoder");
    let serving = tokio::spawn(async move {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let begun = Instant::now();
            assert_eq!(other.get("/v1/services").await.status, StatusCode::OK);
            slowest = slowest.max(begun.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        slowest
    });
    for _ in 0..times {
        if !client.write(piece).await {
            has_taken_all = false;
            break;
        }
    }
    let heard = client.hear(QUIET).await;
    has_taken_all &= !heard.has_ended;
    let slowest = serving.await.unwrap();
    assert!(slowest < Duration::from_secs(2), "{what}: another office waited {slowest:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{what} took {:?}", begun.elapsed());
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < MOST_GROWTH_KIB, "{what}: {grown} KiB more");
    has_taken_all
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_end_their_own_connection_or_cost_nothing() {
    let open = open().await;
    let asking = block(&ASKING);
    // Streams that are opened and reset at once (CVE-2023-44487).
    let resets: Vec<u8> = (0..20_000_u32)
        .flat_map(|number| {
            let stream = 2 * number + 1;
            let reset = frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
            [frame(HEADERS, END_HEADERS | END_STREAM, stream, &asking), reset].concat()
        })
        .collect();
    assert!(!flood(&open, "rapid reset", &[], &resets, 1).await);
    // Streams that the client makes the server reset ("made you reset"): each asks, and then errs.
    let errors: Vec<u8> = (0..20_000_u32)
        .flat_map(|number| {
            let stream = 2 * number + 1;
            let wrong = frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 0]);
            [frame(HEADERS, END_HEADERS, stream, &asking), wrong].concat()
        })
        .collect();
    assert!(!flood(&open, "made to reset", &[], &errors, 1).await);
    // Headers that never end (CVE-2024-27316).
    let more = frame(CONTINUATION, 0, 1, &block(&[("x", &"y".repeat(8_000))]));
    assert!(!flood(&open, "CONTINUATION", &frame(HEADERS, END_STREAM, 1, &asking), &more, 5_000).await);
    let nothing = frame(CONTINUATION, 0, 1, &[]);
    assert!(
        !flood(&open, "empty CONTINUATION", &frame(HEADERS, END_STREAM, 1, &asking), &nothing.repeat(100), 5_000).await
    );
    // Frames that each want an answer, from a client that does not read one.
    flood(&open, "SETTINGS", &[], &frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]).repeat(100), 2_000).await;
    flood(&open, "PING", &[], &frame(PING, 0, 0, &[0; 8]).repeat(100), 2_000).await;
    flood(&open, "PRIORITY", &[], &frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9]).repeat(100), 2_000).await;
    flood(&open, "empty DATA", &frame(HEADERS, END_HEADERS, 1, &asking), &frame(DATA, 0, 1, &[]).repeat(100), 2_000)
        .await;
    flood(&open, "WINDOW_UPDATE", &[], &frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(100), 2_000).await;
}

/// A long field goes into the table once, and is then named with one byte again and again (CVE-2016-6581).
#[tokio::test(flavor = "multi_thread")]
async fn headers_that_grow_when_they_are_unpacked_are_refused() {
    let open = open().await;
    let mut bomb = block(&ASKING);
    bomb.push(0x40);
    number(&mut bomb, 0, 7, 1);
    bomb.push(b'x');
    number(&mut bomb, 0, 7, 3_900);
    bomb.extend(std::iter::repeat_n(b'y', 3_900));
    bomb.extend(std::iter::repeat_n(0x80 | 62, 11_000));
    let mut client = Frames::begin(&open).await;
    let before = resident_kib();
    for stream in 0..50 {
        client.write(&frame(HEADERS, END_HEADERS | END_STREAM, 2 * stream + 1, &bomb)).await;
    }
    let heard = client.hear(QUIET).await;
    assert!(!String::from_utf8_lossy(&heard.data).contains("ledger-entry"), "{heard:?}");
    assert!(resident_kib().saturating_sub(before) < MOST_GROWTH_KIB);
    assert_eq!(open.office("shkoder").get("/v1/services").await.status, StatusCode::OK);
}

#[tokio::test]
async fn bodies_that_would_have_to_be_unpacked_are_refused_unread() {
    let open = open().await;
    let office = open.office("causeni");
    for coding in ["gzip", "x-gzip", "deflate", "br", "zstd", "compress", "identity", "gzip, gzip", "aes128gcm", ""] {
        let request = office.posting("k", submission_request().to_string()).header("content-encoding", coding);
        let said = office.send(request).await;
        assert_eq!((said.status.as_u16(), said.code()), (415, "office.request.media-type"), "{coding}");
    }
    let file = office.request(Method::POST, "/v1/attachments").header("content-type", "application/xml");
    let said = office.send(file.header("content-encoding", "gzip").body("<a/>")).await;
    assert_eq!((said.status.as_u16(), said.code()), (415, "office.request.media-type"));
    assert!(open.env.journal.list(&Default::default(), 1).await.unwrap().is_empty());
}
