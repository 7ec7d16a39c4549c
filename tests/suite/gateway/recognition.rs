//! Who is let in: each certificate gets its own clear answer.

use super::{
    bad_requests::Lines,
    environment::{TestEnvironment, office, open, submission_request},
};
use http::StatusCode;
use punte::{domain::ManualClock, roles::gateway::GatewayError, settings::CertificateMatch};
use std::sync::Arc;

#[tokio::test]
async fn each_certificate_that_is_refused_gets_its_own_code() {
    let open = open().await;
    let rogue = (open.env.pki.rogue("office.pem"), open.env.pki.rogue("office.key"));
    let server = (open.env.pki.gateway("server.pem"), open.env.pki.gateway("server.key"));
    for (identity, code) in [
        (None, "office.certificate.missing"),
        (Some(open.identity("expired")), "office.certificate.expired"),
        (Some(open.identity("not-yet-valid")), "office.certificate.not-yet-valid"),
        (Some(open.identity("revoked")), "office.certificate.revoked"),
        (Some(open.identity("strumica")), "office.certificate.unknown-office"),
        (Some(rogue), "office.certificate.unknown-issuer"),
        (Some(server), "office.certificate.invalid"),
    ] {
        for alpn in [&b"http/1.1"[..], b"h2"] {
            let client = open.client(identity.clone(), &[alpn]);
            for path in ["/v1/services", "/nowhere"] {
                let said = client.get(path).await;
                assert_eq!((said.status, said.code()), (StatusCode::FORBIDDEN, code), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn nobody_is_refused_without_a_line_in_the_log() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    // With one subscriber alone, a line that another test's thread reaches first would be taken for unwanted for good.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let open = open().await;
    let rogue = (open.env.pki.rogue("office.pem"), open.env.pki.rogue("office.key"));
    let identity = |name| Some(open.identity(name));
    for (identity, expected) in [
        (None, "has shown no certificate"),
        (identity("expired"), "has expired"),
        (identity("not-yet-valid"), "not valid yet"),
        (identity("revoked"), "has been revoked"),
        (identity("strumica"), "is no office's"),
        (Some(rogue), "issuer is not trusted"),
    ] {
        lines.0.lock().unwrap().clear();
        assert_eq!(open.client(identity, &[b"h2"]).get("/v1/services").await.status, StatusCode::FORBIDDEN);
        let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains(expected), "{expected}: {log}");
    }
    // An alert in place of a handshake.
    let mut stream = tokio::net::TcpStream::connect(open.address).await.unwrap();
    stream.write_all(&[0x15, 3, 3, 0, 2, 2, 40]).await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("handshake failed") && log.contains("handshake_failure"), "{log}");
}

#[tokio::test]
async fn a_refused_connection_is_closed_after_its_answer() {
    let open = open().await;
    let said = open.client(None, &[b"http/1.1"]).get("/v1/services").await;
    assert_eq!(said.header("connection"), Some("close"));
}

#[tokio::test]
async fn an_office_is_served_over_both_versions_of_http() {
    let open = open().await;
    for alpn in [&[&b"http/1.1"[..]][..], &[b"h2"], &[]] {
        let client = open.client(Some(open.identity("causeni")), alpn);
        assert_eq!(client.get("/v1/services").await.status, StatusCode::OK);
        assert_eq!(client.post("k1", &submission_request()).await.status, StatusCode::ACCEPTED);
    }
}

#[tokio::test]
async fn a_certificate_that_fits_two_offices_is_nobodys() {
    let mut env = TestEnvironment::new();
    let subject = punte::trust::CertificateFacts::from_der(&der(&env)).unwrap().name;
    env.offices[1].certificates = vec![CertificateMatch { subject: Some(subject), ..CertificateMatch::default() }];
    let open = env.open().await;
    let said = open.office("causeni").get("/v1/services").await;
    assert_eq!(said.code(), "office.certificate.unknown-office");
}

fn der(env: &TestEnvironment) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject;
    let path = env.pki.office("causeni.pem");
    rustls::pki_types::CertificateDer::from_pem_file(path).unwrap().to_vec()
}

#[tokio::test]
async fn two_offices_that_one_certificate_would_certainly_fit_stop_the_start() {
    let mut env = TestEnvironment::new();
    let mut twin = office("causeni", &env.pki);
    twin.office.name = "twin".parse().unwrap();
    twin.certificates[0].serial_number = Some("01".into());
    env.offices.push(twin);
    assert!(matches!(env.try_open().await, Err(GatewayError::Offices(_))));
}

#[tokio::test]
async fn a_certificate_is_judged_by_the_clock_of_the_gateway() {
    let mut env = TestEnvironment::new();
    let clock = Arc::new(ManualClock::at(jiff::Timestamp::now()));
    env.clock = clock.clone();
    let open = env.open().await;
    assert_eq!(open.office("causeni").get("/v1/services").await.status, StatusCode::OK);
    clock.advance(jiff::SignedDuration::from_hours(24 * 400));
    assert_eq!(open.office("causeni").get("/v1/services").await.code(), "office.certificate.expired");
}

#[tokio::test]
async fn a_certificate_is_judged_again_while_its_connection_lasts() {
    let mut env = TestEnvironment::new();
    let clock = Arc::new(ManualClock::at(jiff::Timestamp::now()));
    env.clock = clock.clone();
    let open = env.open().await;
    let office = open.client(Some(open.identity("causeni")), &[b"h2"]);
    assert_eq!(office.get("/v1/services").await.status, StatusCode::OK);
    clock.advance(jiff::SignedDuration::from_hours(24 * 400));
    assert_eq!(office.get("/v1/services").await.code(), "office.certificate.expired");
}

#[tokio::test]
async fn an_authority_that_is_replaced_counts_without_a_restart_and_a_broken_file_does_not() {
    let mut env = TestEnvironment::new();
    let clock = Arc::new(ManualClock::at(jiff::Timestamp::now()));
    env.clock = clock.clone();
    env.settings.client_crl = Vec::new();
    let open = env.open().await;
    let (path, rogue) = (open.env.pki.gateway("office-ca.pem"), open.env.pki.rogue("ca.pem"));
    let code = async || {
        open.reload.notify_one();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        open.office("causeni").get("/v1/services").await.code().to_owned()
    };
    std::fs::write(&path, "broken").unwrap();
    assert_eq!(code().await, "");
    let long_lived = open.client(Some(open.identity("causeni")), &[b"h2"]);
    assert_eq!(long_lived.get("/v1/services").await.status, StatusCode::OK);
    std::fs::copy(&rogue, &path).unwrap();
    assert_eq!(code().await, "office.certificate.unknown-issuer");
    clock.advance(jiff::SignedDuration::from_secs(61));
    assert_eq!(long_lived.get("/v1/services").await.code(), "office.certificate.unknown-issuer");
    let theirs = (open.env.pki.rogue("office.pem"), open.env.pki.rogue("office.key"));
    assert_eq!(open.client(Some(theirs), &[b"h2"]).get("/v1/services").await.status, StatusCode::OK);
}
