//! Each kind of bad client certificate has its own refusal.

use super::pki::{now, pki};
use jiff::SignedDuration;
use punte::trust::{CertificateRefusal, ClientTrust, ClientTrustFiles, Refreshed, Reloading, TrustError};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::{fs, path::Path};

fn chain(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

fn files() -> ClientTrustFiles {
    ClientTrustFiles {
        authorities: vec![pki().gateway("office-ca.pem")],
        revocation_lists: vec![pki().gateway("office.crl")],
    }
}

fn refusal(chain: &[CertificateDer<'_>]) -> Option<CertificateRefusal> {
    ClientTrust::load(&files(), now()).unwrap().judge(chain, now()).err()
}

#[test]
fn a_good_office_is_recognised() {
    let trust = ClientTrust::load(&files(), now()).unwrap();
    let facts = trust.judge(&chain(&pki().office("strumica.pem")), now()).unwrap();
    assert_eq!(facts.organization_identifier.as_deref(), Some("GOVMK-0000000000003"));
    assert_eq!(trust.subjects().len(), 1);
}

#[test]
fn every_bad_certificate_is_refused_in_its_own_words() {
    let office = |name: &str| chain(&pki().office(name));
    assert_eq!(refusal(&[]), Some(CertificateRefusal::Missing));
    assert_eq!(refusal(&office("expired.pem")), Some(CertificateRefusal::Expired));
    assert_eq!(refusal(&office("not-yet-valid.pem")), Some(CertificateRefusal::NotYetValid));
    assert_eq!(refusal(&office("revoked.pem")), Some(CertificateRefusal::Revoked));
    assert_eq!(refusal(&chain(&pki().rogue("office.pem"))), Some(CertificateRefusal::UnknownIssuer));
    assert_eq!(refusal(&chain(&pki().agency("soap", "client.pem"))), Some(CertificateRefusal::UnknownIssuer));
    for (invalid, told) in [
        (vec![CertificateDer::from(vec![1, 2, 3])], "not an X.509 certificate"),
        (chain(&pki().gateway("office-ca.pem")), "authority's own certificate"),
    ] {
        let refused = refusal(&invalid);
        assert!(matches!(&refused, Some(CertificateRefusal::Invalid(why)) if why.contains(told)), "{refused:?}");
    }
}

#[test]
fn a_server_certificate_is_no_client_certificate() {
    let files = ClientTrustFiles { authorities: vec![pki().gateway("server-ca.pem")], revocation_lists: vec![] };
    let trust = ClientTrust::load(&files, now()).unwrap();
    let verdict = trust.judge(&chain(&pki().gateway("server.pem")), now());
    assert!(matches!(&verdict, Err(CertificateRefusal::Invalid(why)) if why.contains("clientAuth")), "{verdict:?}");
}

#[test]
fn a_strangers_certificate_is_a_strangers_even_when_it_has_expired() {
    let files = ClientTrustFiles { authorities: vec![pki().rogue("ca.pem")], revocation_lists: vec![] };
    let trust = ClientTrust::load(&files, now()).unwrap();
    let expired = chain(&pki().office("expired.pem"));
    assert_eq!(trust.judge(&expired, now()), Err(CertificateRefusal::UnknownIssuer));
}

#[test]
fn without_a_revocation_list_revocation_is_not_checked_and_an_old_list_still_counts() {
    let revoked = chain(&pki().office("revoked.pem"));
    let without = ClientTrustFiles { revocation_lists: vec![], ..files() };
    let trust = ClientTrust::load(&without, now()).unwrap();
    assert!(trust.judge(&revoked, now()).is_ok());
    let trust = ClientTrust::load(&files(), now()).unwrap();
    assert!(trust.warnings(now()).is_empty());
    // Two months later the list should have been renewed, and it still counts.
    let late = now() + SignedDuration::from_hours(24 * 60);
    assert_eq!(trust.warnings(late).len(), 1);
    assert_eq!(trust.judge(&revoked, late), Err(CertificateRefusal::Revoked));
    assert!(trust.judge(&chain(&pki().office("causeni.pem")), late).is_ok());
}

#[test]
fn a_list_that_the_authority_did_not_sign_is_refused_and_the_old_one_kept() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("office.crl");
    fs::copy(pki().gateway("office.crl"), &list).unwrap();
    let files = ClientTrustFiles { revocation_lists: vec![list.clone()], ..files() };
    let reloading = Reloading::<ClientTrust>::load(files.clone(), now()).unwrap();
    fs::write(&list, "no list").unwrap();
    assert!(matches!(reloading.refresh(now()), Refreshed::Refused(TrustError::RevocationList { .. })));
    let revoked = chain(&pki().office("revoked.pem"));
    assert_eq!(reloading.current().judge(&revoked, now()), Err(CertificateRefusal::Revoked));
    let foreign = ClientTrustFiles {
        authorities: vec![pki().rogue("ca.pem")],
        revocation_lists: vec![pki().gateway("office.crl")],
    };
    assert!(matches!(ClientTrust::load(&foreign, now()), Err(TrustError::RevocationList { .. })));
}
