//! The notifier as the client of a webhook that is not its office's: the notice stays here.

use super::{
    certificates::{Certificates, Flaw, Side},
    stranger::{Stranger, Switchboard},
};
use crate::environment::TestEnvironment;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::time::{Duration, Instant};

const PAYLOAD: [&str; 3] = ["POST /", "webhook-signature", "submission.completed"];

async fn tried(env: &TestEnvironment) -> u64 {
    let text = env.operations("/metrics").await;
    let counted = text.lines().filter(|line| line.starts_with("punte_webhooks_total"));
    counted.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_with_bad_certificates_or_old_tls_is_told_nothing() {
    let (certificates, board) = (Certificates::new(), Switchboard::open());
    let secret = certificates.authority().with_file_name("whsec");
    std::fs::write(&secret, format!("whsec_{}", STANDARD.encode([7; 32]))).unwrap();
    let env = TestEnvironment::planned(|plan| {
        plan.more_office = format!(
            "[offices.causeni.webhook]\nurl = \"https://localhost:{}/hook\"\nsecret_files = [{:?}]\nca = {:?}\n\
             allow_private_addresses = true\n",
            board.port,
            secret.display().to_string(),
            certificates.authority_with_revocations().display().to_string(),
        );
        // Each notice is tried once: each case has its own.
        plan.more_config = "[webhooks]\nfirst_wait_secs = 0.1\nmax_wait_secs = 0.2\nmax_attempts = 1\n".into();
    })
    .await;
    for (flaw, more) in [
        (Flaw::Expired, &[][..]),
        (Flaw::NotYetValid, &[]),
        (Flaw::Revoked, &[]),
        (Flaw::OtherName, &[]),
        (Flaw::OtherExtendedUsage, &[]),
        (Flaw::OtherUsage, &[]),
        (Flaw::OtherAuthority, &[]),
        (Flaw::SelfSigned, &[]),
        (Flaw::Sha1, &[]),
        (Flaw::ShortKey, &[]),
        (Flaw::None, &["-tls1_1"]),
        (Flaw::None, &["-tls1"]),
    ] {
        let what = format!("{flaw:?} {more:?}");
        let stranger = Stranger::begin(&certificates.issue(Side::Server, flaw), more);
        board.connect_to(Some(stranger.port));
        notify(&env).await;
        let heard = stranger.heard();
        assert!(PAYLOAD.iter().all(|part| !heard.contains(part)), "{what} was told {heard}");
    }
    board.connect_to(None);
    notify(&env).await;
    let said = board.said_plainly.lock().unwrap().clone();
    assert_eq!(said[..2], [0x16, 3], "a handshake and nothing else");
    assert!(PAYLOAD.iter().all(|part| !String::from_utf8_lossy(&said).contains(part)));
    // And with good certificates it is told.
    let stranger = Stranger::begin(&certificates.issue(Side::Server, Flaw::None), &["-tls1_3"]);
    board.connect_to(Some(stranger.port));
    env.post("person-lookup").await;
    let begun = Instant::now();
    while !PAYLOAD.iter().all(|part| stranger.heard().contains(part)) {
        assert!(begun.elapsed() < Duration::from_secs(15), "{}", stranger.heard());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(stranger);
    env.leave().await;
}

/// One submission to its end, and its notice until it was given up.
async fn notify(env: &TestEnvironment) {
    let before = tried(env).await;
    let id = env.post("person-lookup").await;
    env.ends(&id, "completed").await;
    let begun = Instant::now();
    while tried(env).await == before {
        assert!(begun.elapsed() < Duration::from_secs(30), "the notice was never tried");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
