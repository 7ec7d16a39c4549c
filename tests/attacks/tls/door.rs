//! Punte as the server: clients with bad certificates, old protocols and none at all meet the gateway and the operators' listener.

use super::certificates::{ANYTHING_GOES, Certificates, Flaw, Side};
use crate::{
    environment,
    front::{
        environment::{Open, TestEnvironment, submission_request},
        raw::until_end,
    },
};
use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

async fn open(certificates: &Certificates) -> Open {
    let mut env = TestEnvironment::new();
    env.settings.client_ca = vec![certificates.authority()];
    env.settings.client_crl = vec![certificates.revocations()];
    env.settings.handshake_timeout = Duration::from_secs(3);
    env.open().await
}

/// Everything that OpenSSL's client says and hears, with this request after the handshake.
fn heard(open: &Open, identity: Option<&(PathBuf, PathBuf)>, more: &[&str], request: &str) -> String {
    let mut command = Command::new("openssl");
    command.args([
        "s_client",
        "-connect",
        &open.address.to_string(),
        "-servername",
        "localhost",
        "-cipher",
        ANYTHING_GOES,
    ]);
    command.args(["-ign_eof"]).args(more);
    if let Some((certificate, key)) = identity {
        command.arg("-cert").arg(certificate).arg("-key").arg(key);
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(request.as_bytes());
    let done = child.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

fn posting() -> String {
    let body = submission_request().to_string();
    format!(
        "POST /v1/submissions HTTP/1.1\r\nhost: localhost\r\nidempotency-key: k\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn nothing_was_accepted(open: &Open, what: &str) {
    assert!(open.env.journal.list(&Default::default(), 1).await.unwrap().is_empty(), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_bad_certificates_is_told_why_and_is_served_nothing() {
    let certificates = Certificates::new();
    let open = open(&certificates).await;
    for (flaw, code) in [
        (Flaw::Expired, "office.certificate.expired"),
        (Flaw::NotYetValid, "office.certificate.not-yet-valid"),
        (Flaw::Revoked, "office.certificate.revoked"),
        (Flaw::OtherExtendedUsage, "office.certificate.invalid"),
        (Flaw::OtherUsage, "office.certificate.invalid"),
        (Flaw::OtherAuthority, "office.certificate.unknown-issuer"),
        (Flaw::SelfSigned, "office.certificate.unknown-issuer"),
        (Flaw::IsAuthority, "office.certificate.invalid"),
        (Flaw::Sha1, "office.certificate."),
    ] {
        for version in ["-tls1_2", "-tls1_3"] {
            let what = format!("{flaw:?} {version}");
            let said = heard(&open, Some(&certificates.issue(Side::Client, flaw)), &[version], &posting());
            let is_refused = said.contains("HTTP/1.1 403") && said.contains(code);
            assert!(is_refused && !said.contains("HTTP/1.1 2"), "{what}: {said}");
            nothing_was_accepted(&open, &what).await;
        }
    }
    // Whoever shows none at all, and whoever's key is too short for a signature that counts.
    let said = heard(&open, None, &[], &posting());
    assert!(said.contains("office.certificate.missing"), "{said}");
    for version in ["-tls1_2", "-tls1_3"] {
        let said = heard(&open, Some(&certificates.issue(Side::Client, Flaw::ShortKey)), &[version], &posting());
        assert!(!said.contains("HTTP/1.1 2"), "{version}: {said}");
    }
    nothing_was_accepted(&open, "a short key").await;
    // The same certificates without a flaw are served: the tests above could fail.
    for version in ["-tls1_2", "-tls1_3"] {
        let said = heard(&open, Some(&certificates.issue(Side::Client, Flaw::None)), &[version], &posting());
        assert!(said.contains("HTTP/1.1 202"), "{version}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_weak_ciphers_and_new_negotiations_are_refused() {
    let certificates = Certificates::new();
    let open = open(&certificates).await;
    let good = certificates.issue(Side::Client, Flaw::None);
    for more in [
        &["-tls1"][..],
        &["-tls1_1"],
        &["-tls1_2", "-cipher", "AES128-SHA:AES256-SHA:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "aNULL:eNULL:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "DHE:@SECLEVEL=0"],
        &["-tls1_2", "-cipher", "PSK:SRP:@SECLEVEL=0"],
        &["-tls1_3", "-groups", "secp521r1:ffdhe2048"],
    ] {
        let said = heard(&open, Some(&good), more, &posting());
        assert!(!said.contains("HTTP/1.1"), "{more:?}: {said}");
    }
    nothing_was_accepted(&open, "old versions").await;
    // A line that holds nothing but R makes OpenSSL negotiate again (CVE-2009-3555), without -ign_eof.
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-connect", &open.address.to_string(), "-tls1_2", "-cert"])
        .arg(&good.0)
        .arg("-key")
        .arg(&good.1);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let _ = input.write_all(b"R\n");
    std::thread::sleep(Duration::from_millis(500));
    let _ = input.write_all(posting().as_bytes());
    std::thread::sleep(Duration::from_millis(500));
    drop(input);
    let done = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("RENEGOTIATING") && !said.contains("HTTP/1.1 2"), "{said}");
    nothing_was_accepted(&open, "a new negotiation").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_on_the_port_of_tls_is_told_so_and_noise_gets_an_end() {
    let certificates = Certificates::new();
    let open = open(&certificates).await;
    let others =
        ["GET / HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n", "PROPFIND / HTTP/1.1\r\n", "get /\r\n"];
    for plain in [posting()].into_iter().chain(others.map(str::to_owned)) {
        for piece in [1, plain.len()] {
            let mut stream = TcpStream::connect(open.address).await.unwrap();
            for piece in plain.as_bytes().chunks(piece) {
                let _ = stream.write_all(piece).await;
            }
            let (said, took) = until_end(stream).await;
            assert!(said.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{said}");
            assert!(said.contains("https://") && said.contains("office.request.plain-http"), "{said}");
            assert!(took < Duration::from_secs(7), "{took:?}");
        }
    }
    for bytes in [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        // SSL 2, a heartbeat (CVE-2014-0160), a record without end, an alert, noise.
        vec![0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10],
        vec![0x18, 3, 2, 0, 3, 1, 0x40, 0],
        vec![0x16, 3, 1, 0xff, 0xff, 1],
        vec![0x15, 3, 3, 0, 2, 2, 40],
        vec![0; 5_000],
    ] {
        let mut stream = TcpStream::connect(open.address).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let (said, took) = until_end(stream).await;
        assert!(!said.contains("HTTP") && said.len() < 64, "{said:?}");
        assert!(took < Duration::from_secs(7), "{took:?}");
    }
    nothing_was_accepted(&open, "noise").await;
}

/// It speaks plain HTTP, on loopback unless the operator says otherwise, and holds nothing of anybody.
#[tokio::test(flavor = "multi_thread")]
async fn the_operators_listener_knows_no_submissions_and_ends_what_is_not_http() {
    let env = environment::TestEnvironment::started().await;
    let id = env.post("person-lookup").await;
    env.ends(&id, "completed").await;
    for path in
        ["/v1/submissions", &format!("/v1/submissions/{id}"), "/v1/services", "/", "/../etc/passwd", "/debug/pprof"]
    {
        assert!(env.operations(path).await.starts_with("HTTP/1.1 404"), "{path}");
    }
    for path in ["/metrics", "/healthz/ready", "/healthz/live"] {
        let said = env.operations(path).await;
        assert!(
            said.starts_with("HTTP/1.1 200") && !said.contains(&id) && !said.contains(environment::CITIZEN),
            "{said}"
        );
    }
    let address = env.stack.process().unwrap().operations_address;
    assert!(address.ip().is_loopback());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3]).await.unwrap();
    let (said, _) = until_end(stream).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 400"), "{said:?}");
    env.leave().await;
}
