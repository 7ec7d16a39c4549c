//! The network between Punte and RabbitMQ fails in every way a proxy can: cut at every kind of frame that is ever seen,
//! half-open, a byte at a time, late, refused.

use super::{
    frames::{Frame, Kind, Way},
    proxy::{Cut, Mode, Proxy, place},
    servers::Rabbitmq,
    trial::Trial,
};
use crate::harness::is_long;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const PREFIX: &str = "wired";
/// What certainly comes on a healthy day, so that a proxy that reads nothing cannot pass.
const EXPECTED: [&str; 15] = [
    "→ greeting",
    "→ connection.open",
    "→ queue.declare",
    "→ basic.consume",
    "→ confirm.select",
    "→ basic.publish",
    "→ header",
    "→ body",
    "→ basic.ack",
    "← connection.start",
    "← queue.declare-ok",
    "← basic.deliver",
    "← basic.ack",
    "← body",
    "← heartbeat",
];

/// Heartbeats are asked for every second, so that a dead line is noticed soon.
async fn wired(node: &Rabbitmq) -> (Proxy, String) {
    let proxy = Proxy::before(&[place(&node.url)]).await;
    let url = format!("{}?heartbeat=1", proxy.instead_of(&node.url));
    (proxy, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_at_any_kind_of_frame_costs_only_time() {
    let node = Rabbitmq::started().await;
    let (proxy, url) = wired(&node).await;
    let mut trial = Trial::begin("frames", &[&[]], |plan| plan.rabbitmq = Some((url, PREFIX.into()))).await;
    sleep(Duration::from_secs(3)).await;
    // What comes only at the first start of all (the mark of a new journal is looked for once) does not come again.
    let at_first = proxy.seen();
    proxy.cut_all();
    sleep(Duration::from_secs(3)).await;
    let often = proxy.seen();
    let comes_again = |frame: &&Frame| often.get(*frame) > at_first.get(*frame);
    let mut seen: Vec<Frame> = often.keys().filter(comes_again).copied().collect();
    // What comes once when a connection begins does not come again later on the line.
    let most_spare = |frame: &Frame| (often.get(frame).unwrap_or(&0) / proxy.connections().max(1)).saturating_sub(1);
    // A busy line needs none of ours; between two cuts it may, or not.
    let beat = Frame { way: Way::ToServer, kind: Kind::Heartbeat };
    if !seen.contains(&beat) {
        seen.push(beat);
    }
    let names: Vec<_> = seen.iter().map(ToString::to_string).collect();
    for expected in EXPECTED {
        assert!(names.iter().any(|name| name == expected), "{expected} was not seen among {names:?}");
    }
    assert!(!seen.iter().any(|frame| matches!(frame.kind, Kind::Unknown(_))), "{names:?}");
    let (begun, mut cut, mut missed) = (Instant::now(), Vec::new(), Vec::new());
    for round in 0..if is_long() { 20 } else { 1 } {
        for (number, frame) in seen.iter().enumerate() {
            // In one run each kind is cut one way, in long ones both ways and later on the line.
            let where_to = if (number + round) % 2 == 0 { Cut::Within } else { Cut::After };
            match cut_once(&proxy, *frame, where_to, most_spare(frame).min(round / 2)).await {
                true => {
                    trial.count(&format!("cut at {frame}"));
                    cut.push(*frame);
                }
                false => missed.push(frame.to_string()),
            }
        }
    }
    println!(
        "frames: {} cuts at {} kinds of frames in {:.1?}, not come again: {missed:?}",
        cut.len(),
        seen.len(),
        begun.elapsed()
    );
    assert_eq!(proxy.cuts(), cut.len());
    missed.retain(|frame| *frame != beat.to_string());
    assert!(missed.is_empty(), "these did not come again: {missed:?}");
    trial.end_at_first_attempts().await;
}

/// Whether such a frame came in time. What only comes when a connection begins is provoked.
async fn cut_once(proxy: &Proxy, frame: Frame, cut: Cut, spare: usize) -> bool {
    proxy.arm(frame, cut, spare);
    let begun = Instant::now();
    let mut is_provoked = false;
    while proxy.is_armed() {
        if begun.elapsed() > Duration::from_millis(1_200) && !is_provoked {
            proxy.cut_all();
            is_provoked = true;
        }
        if begun.elapsed() > Duration::from_secs(15) {
            proxy.disarm();
            return false;
        }
        sleep(Duration::from_millis(10)).await;
    }
    // The line is used again before it is cut again.
    let before = proxy.seen().get(&DELIVER).copied();
    let begun = Instant::now();
    while proxy.seen().get(&DELIVER).copied() == before && begun.elapsed() < Duration::from_secs(5) {
        sleep(Duration::from_millis(10)).await;
    }
    true
}

const DELIVER: Frame = Frame { way: Way::ToClient, kind: Kind::Method { class: 60, method: 60 } };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_half_open_slow_late_or_refused_costs_only_time() {
    let node = Rabbitmq::started().await;
    let (proxy, url) = wired(&node).await;
    let mut trial = Trial::begin("line", &[&[]], |plan| plan.rabbitmq = Some((url, PREFIX.into()))).await;
    let long = Duration::from_secs(if is_long() { 60 } else { 5 });
    for (what, mode) in [
        ("half-open", Mode::Swallow),
        ("one byte a second", Mode::Drip(Duration::from_secs(1))),
        ("half a second late", Mode::Delay(Duration::from_millis(500))),
        ("refused", Mode::Refuse),
    ] {
        let connections = proxy.connections();
        let blow = async {
            proxy.set(mode);
            sleep(long).await;
            proxy.set(Mode::Through);
        };
        trial.blow(what, blow).await;
        if matches!(mode, Mode::Swallow | Mode::Refuse) {
            assert!(proxy.connections() > connections, "{what} was not noticed");
        }
    }
    trial.end_at_first_attempts().await;
}
