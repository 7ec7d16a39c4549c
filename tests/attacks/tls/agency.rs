//! Punte as the client of an agency that is not the agency: the request stays here.

use super::{
    certificates::{Certificates, Flaw, Side},
    stranger::{Stranger, Switchboard},
};
use crate::environment::TestEnvironment;
use std::{
    path::Path,
    time::{Duration, Instant},
};

const AGENCY: &str = "civil-registry";
/// In every request to the agency: its envelope, its SOAP action, the citizen.
const PAYLOAD: [&str; 4] = ["POST /", "Envelope", "soapaction", crate::environment::CITIZEN];

async fn env_with(certificates: &Certificates, board: &Switchboard) -> TestEnvironment {
    let (authority, port) = (certificates.authority_with_revocations(), board.port);
    let begin = move |keys: &Path| {
        let secrets = keys.parent().unwrap().parent().unwrap();
        std::fs::copy(authority, secrets.join("agencies").join(AGENCY).join("ca.pem")).unwrap();
        format!("https://localhost:{port}/x")
    };
    let patient = |_: &str, text: String| {
        text.replace("failures = 5", "failures = 1000").replace("timeout_secs = 20", "timeout_secs = 4")
    };
    TestEnvironment::with_adapters(patient, |plan| {
        plan.retry = "first_wait_secs = 5\nmax_wait_secs = 5\nmax_attempts = 1\n";
        plan.external_agencies.insert(AGENCY.parse().unwrap(), Box::new(begin));
    })
    .await
}

/// The code with which the submission waits for the agency; it is taken back, so that it meets no other agency.
async fn code(env: &TestEnvironment, what: &str) -> String {
    let begun = Instant::now();
    let id = env.post("person-lookup").await;
    let shown = env.until(&id, &["retrying"]).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{what} took {:?}", begun.elapsed());
    while env.cancel(&id).await.0 != 200 {
        assert!(begun.elapsed() < Duration::from_secs(25), "{what}: it cannot be taken back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shown["fault"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agency_with_bad_certificates_or_old_tls_is_told_nothing() {
    let (certificates, board) = (Certificates::new(), Switchboard::open());
    let env = env_with(&certificates, &board).await;
    let certificate = "agency.certificate";
    for (flaw, more, wanted) in [
        (Flaw::Expired, &[][..], certificate),
        (Flaw::NotYetValid, &[], certificate),
        (Flaw::Revoked, &[], certificate),
        (Flaw::OtherName, &[], certificate),
        (Flaw::OtherExtendedUsage, &[], certificate),
        (Flaw::OtherUsage, &[], certificate),
        (Flaw::OtherAuthority, &[], certificate),
        (Flaw::SelfSigned, &[], certificate),
        (Flaw::IsAuthority, &[], certificate),
        (Flaw::Sha1, &[], certificate),
        (Flaw::Expired, &["-tls1_2"], certificate),
        (Flaw::Revoked, &["-tls1_2"], certificate),
        // Its signature in the handshake is not accepted, or it cannot even make one that is.
        (Flaw::ShortKey, &[], "network.tls"),
        (Flaw::ShortKey, &["-tls1_2"], "network.tls"),
        (Flaw::None, &["-tls1_1"], "network.tls"),
        (Flaw::None, &["-tls1"], "network.tls"),
        (Flaw::None, &["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"], "network.tls"),
        (Flaw::None, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"], "network.tls"),
        (Flaw::None, &["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0", "-nocert"], "network.tls"),
    ] {
        let what = format!("{flaw:?} {more:?}");
        let stranger = Stranger::begin(&certificates.issue(Side::Server, flaw), more);
        board.connect_to(Some(stranger.port));
        let code = code(&env, &what).await;
        assert!(code == wanted || (wanted == "network.tls" && code == certificate), "{what}: {code}");
        let heard = stranger.heard();
        assert!(PAYLOAD.iter().all(|part| !heard.contains(part)), "{what} was told {heard}");
    }
    board.connect_to(None);
    assert_eq!(code(&env, "plain HTTP").await, "network.tls");
    let said = board.said_plainly.lock().unwrap().clone();
    assert_eq!(said[..2], [0x16, 3], "a handshake and nothing else");
    assert!(PAYLOAD.iter().all(|part| !String::from_utf8_lossy(&said).contains(part)));
    env.leave().await;
}

/// The same agency with good certificates hears the request: the test above could fail.
#[tokio::test(flavor = "multi_thread")]
async fn an_agency_with_good_certificates_hears_the_request_and_cannot_negotiate_again() {
    let (certificates, board) = (Certificates::new(), Switchboard::open());
    let env = env_with(&certificates, &board).await;
    for more in [&["-tls1_2"][..], &["-tls1_3"]] {
        let mut stranger = Stranger::begin(&certificates.issue(Side::Server, Flaw::None), more);
        board.connect_to(Some(stranger.port));
        let id = env.post("person-lookup").await;
        let begun = Instant::now();
        while !PAYLOAD.iter().all(|part| stranger.heard().contains(part)) {
            assert!(begun.elapsed() < Duration::from_secs(15), "{more:?}: {}", stranger.heard());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // A new handshake in the middle of the answer, which asks for the client's certificate once more.
        stranger.say("R\n");
        tokio::time::sleep(Duration::from_millis(300)).await;
        stranger.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let shown = env.until(&id, &["parked", "retrying"]).await;
        let code = shown["fault"]["code"].as_str().unwrap();
        match more {
            ["-tls1_2"] => assert_eq!(code, "agency.tls.renegotiation", "{shown:#}"),
            _ => assert!(code.starts_with("network.") || code.starts_with("agency.answer."), "{more:?}: {shown:#}"),
        }
        assert_eq!(
            stranger.heard().matches("Envelope xmlns").count(),
            1,
            "the request was said again: {}",
            stranger.heard()
        );
        env.cancel(&id).await;
    }
    env.leave().await;
}
