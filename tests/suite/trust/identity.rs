//! Identities from files: every usual form of key, every fault of a pair, and reloading without a restart.

use super::{
    forge::Forge,
    pki::{identity, now, pki},
};
use jiff::SignedDuration;
use punte::trust::{Algorithm, Identity, IdentityFiles, Purpose, Refreshed, Reloading, TrustError};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use std::{fs, path::Path, sync::Mutex};

fn load(certificate: &Path, key: &Path) -> Result<Identity, TrustError> {
    Identity::load(certificate, key, now())
}

#[test]
fn a_certificate_says_who_it_is_for() {
    let office = identity(&pki().office("causeni"));
    let facts = office.facts();
    assert_eq!(facts.common_name.as_deref(), Some("Demo office causeni"));
    assert_eq!(facts.organization_identifier.as_deref(), Some("GOVMD-0000000000001"));
    assert_eq!(facts.key_usages, ["digitalSignature"]);
    assert_eq!(facts.extended_key_usages, ["clientAuth"]);
    assert_eq!(facts.fingerprint_sha256.len(), 64);
    assert!(facts.subject.contains("Demo office causeni") && facts.issuer.contains("Demo offices CA"));
    assert!(facts.is_valid_at(now()) && !facts.is_valid_at(now() + SignedDuration::from_hours(24 * 366)));
    let server = identity(&pki().gateway("server"));
    assert_eq!(server.facts().dns_names, ["localhost"]);
    assert_eq!(server.facts().ip_addresses.len(), 2);
    assert!(office.warnings.is_empty());
}

#[test]
fn a_key_may_be_written_in_pkcs8_pkcs1_or_sec1() {
    let dir = tempfile::tempdir().unwrap();
    for (agency, form, algorithm) in [("soap", "rsa", Algorithm::RsaSha256), ("rest", "ec", Algorithm::EcdsaSha256)] {
        let stem = pki().simulator(agency, "signing");
        assert_eq!(identity(&stem).signer().default_algorithm(), algorithm);
        let old = dir.path().join(form);
        let mut openssl = std::process::Command::new("openssl");
        openssl.arg(form).arg("-in").arg(stem.with_extension("key")).arg("-out").arg(&old);
        if form == "rsa" {
            openssl.arg("-traditional");
        }
        assert!(openssl.output().unwrap().status.success());
        assert!(!matches!(PrivateKeyDer::from_pem_file(&old).unwrap(), PrivateKeyDer::Pkcs8(_)));
        let loaded = load(&stem.with_extension("pem"), &old).unwrap();
        assert_eq!(loaded.signer().default_algorithm(), algorithm);
    }
}

#[test]
fn a_pair_that_does_not_fit_or_is_out_of_date_is_refused() {
    let office = pki().office("causeni.pem");
    let mismatch = load(&office, &pki().office("shkoder.key"));
    assert!(matches!(mismatch, Err(TrustError::PairMismatch { .. })), "{mismatch:?}");
    let other_kind = load(&office, &pki().simulator("soap", "signing.key"));
    assert!(matches!(other_kind, Err(TrustError::PairMismatch { .. })));
    let expired = load(&pki().office("expired.pem"), &pki().office("expired.key"));
    assert!(matches!(expired, Err(TrustError::Expired { .. })));
    let early = load(&pki().office("not-yet-valid.pem"), &pki().office("not-yet-valid.key"));
    assert!(matches!(early, Err(TrustError::NotYetValid { .. })));
    assert!(matches!(load(&pki().office("nobody.pem"), &office), Err(TrustError::File { .. })));
    assert!(matches!(load(&office, &office), Err(TrustError::Key { .. })));
    assert!(matches!(load(&pki().office("causeni.key"), &office), Err(TrustError::Certificate { .. })));
}

#[test]
fn no_error_and_no_debug_text_shows_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let key = fs::read_to_string(pki().office("causeni.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    let broken = dir.path().join("broken.key");
    fs::write(&broken, key.replace("-----END", "!!!\n-----END")).unwrap();
    let error = load(&pki().office("causeni.pem"), &broken).unwrap_err();
    let identity = identity(&pki().office("causeni"));
    for text in [format!("{error} {error:?}"), format!("{identity:?}"), format!("{:?}", identity.signer())] {
        assert!(!text.contains(&secret[..16]), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn a_key_that_everybody_can_read_is_warned_of_but_works() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("open.key");
    fs::copy(pki().office("causeni.key"), &key).unwrap();
    let warnings = |mode| {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        load(&pki().office("causeni.pem"), &key).unwrap().warnings
    };
    assert!(warnings(0o640).is_empty());
    let told = warnings(0o644);
    assert!(told.len() == 1 && told[0].contains("(mode 0644): chmod 640 "), "{told:?}");
    // Where they are put in its place while it runs, and where only the rights change.
    let files =
        IdentityFiles { certificate: pki().office("causeni.pem"), key: key.clone(), purpose: Purpose::TlsClient };
    warnings(0o600);
    let reloading = Reloading::<Identity>::load(files, now()).unwrap();
    assert!(matches!(reloading.refresh(now()), Refreshed::Unchanged));
    warnings(0o666);
    assert!(matches!(reloading.refresh(now()), Refreshed::Reloaded));
    assert_eq!(reloading.current().warnings.len(), 1);
    let mode = fs::metadata(pki().office("causeni.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_short_rsa_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (key, certificate) = (dir.path().join("short.key"), dir.path().join("short.pem"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=short", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output();
    assert!(made.unwrap().status.success());
    let refused = Identity::load(&certificate, &key, jiff::Timestamp::now());
    assert!(matches!(refused, Err(TrustError::Key { .. })), "{refused:?}");
}

#[test]
fn new_files_are_taken_up_and_bad_ones_leave_the_old_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let files = IdentityFiles {
        certificate: dir.path().join("a.pem"),
        key: dir.path().join("a.key"),
        purpose: Purpose::TlsClient,
    };
    let put = |certificate: &str, key: &str| {
        fs::copy(pki().office(certificate), &files.certificate).unwrap();
        fs::copy(pki().office(key), &files.key).unwrap();
    };
    put("causeni.pem", "causeni.key");
    let reloading = Reloading::<Identity>::load(files.clone(), now()).unwrap();
    let name = || reloading.current().facts().common_name.clone().unwrap();
    assert!(matches!(reloading.refresh(now()), Refreshed::Unchanged));
    put("shkoder.pem", "causeni.key");
    assert!(matches!(reloading.refresh(now()), Refreshed::Refused(TrustError::PairMismatch { .. })));
    assert_eq!(name(), "Demo office causeni");
    assert!(matches!(reloading.refresh(now()), Refreshed::Unchanged), "a bad pair is reported once");
    put("shkoder.pem", "shkoder.key");
    assert!(matches!(reloading.refresh(now()), Refreshed::Reloaded));
    assert_eq!(name(), "Demo office shkoder");
    fs::remove_file(&files.key).unwrap();
    assert!(matches!(reloading.refresh(now()), Refreshed::Refused(TrustError::File { .. })));
    assert_eq!(name(), "Demo office shkoder");
    // A certificate whose time has not come is taken up when it has, though the files stay as they are.
    put("not-yet-valid.pem", "not-yet-valid.key");
    assert!(matches!(reloading.refresh(now()), Refreshed::Refused(TrustError::NotYetValid { .. })));
    assert!(matches!(reloading.refresh(now()), Refreshed::Unchanged));
    let tomorrow = now() + SignedDuration::from_hours(25);
    assert!(matches!(reloading.refresh(tomorrow), Refreshed::Reloaded));
    assert_eq!(name(), "Demo office not-yet-valid");
    // Back to the good pair after a bad one.
    put("shkoder.pem", "shkoder.key");
    assert!(matches!(reloading.refresh(now()), Refreshed::Reloaded));
}

#[test]
fn a_pair_that_is_not_for_its_purpose_is_told_when_it_is_taken_up() {
    let lines = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt().with_writer(Mutex::new(lines.reopen().unwrap())).finish();
    // With one subscriber alone, a line that another test's thread reaches first would be unwanted for good.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let _guard = tracing::subscriber::set_default(subscriber);
    let forge = Forge::new();
    for (purpose, usage, expected) in [
        (Purpose::TlsClient, ExtendedKeyUsagePurpose::ServerAuth, "it is not for TLS clients"),
        (Purpose::TlsServer, ExtendedKeyUsagePurpose::ClientAuth, "it is not for TLS servers"),
    ] {
        let put = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
            let leaf = forge.issue(|params| change(params));
            let certificate = forge.write("own.pem", leaf.pem);
            IdentityFiles { certificate, key: forge.write("own.key", leaf.key.serialize_pem()), purpose }
        };
        let reloading = Reloading::<Identity>::load(put(&|_| {}), now()).unwrap();
        assert!(!reloading.warnings(now()).join(" ").contains("will not be taken"));
        put(&|params| params.extended_key_usages = vec![usage.clone()]);
        assert!(matches!(reloading.refresh(now()), Refreshed::Reloaded));
        assert!(reloading.warnings(now()).join(" ").contains(expected));
        put(&|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
        assert!(matches!(reloading.refresh(now()), Refreshed::Reloaded));
        let log = fs::read_to_string(lines.path()).unwrap();
        assert!(log.contains(expected), "{log}");
    }
    let log = fs::read_to_string(lines.path()).unwrap();
    assert_eq!(log.matches("CA:TRUE").count(), 2, "{log}");
}

#[test]
fn a_key_of_an_unsupported_kind_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("ed25519.key");
    let pair = aws_lc_rs::signature::Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
    let der = PrivatePkcs8KeyDer::from(pair.as_ref().to_vec());
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der.secret_pkcs8_der());
    fs::write(&key, format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")).unwrap();
    assert!(matches!(load(&pki().office("causeni.pem"), &key), Err(TrustError::Key { .. })));
}
