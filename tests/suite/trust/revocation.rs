//! What an authority has signed as revoked is revoked: whichever of its keys has signed it, however its name is written, and
//! whatever other lists stand beside it.

use super::{
    forge::{Forge, Forged, SERIAL, leaf_params, meet_server},
    pki::now,
};
use jiff::SignedDuration;
use punte::trust::{AgencyRoots, CertificateRefusal, ClientTrust, ClientTrustFiles};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType, DnValue, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn named(name: DnValue) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_after = date_time_ymd(2099, 1, 1);
    params
}

fn authority(name: &str, key: KeyPair) -> Authority {
    CertifiedIssuer::self_signed(named(DnValue::Utf8String(name.to_owned())), key).unwrap()
}

fn issue(authority: &Authority, serial: u64) -> Forged {
    let mut params = leaf_params();
    params.serial_number = Some(SerialNumber::from(serial));
    let key = key();
    let certificate = params.signed_by(&key, authority).unwrap();
    Forged { pem: certificate.pem(), der: certificate.der().clone(), key }
}

/// A list of this number that is dated so many hours from now.
fn list(authority: &Authority, serials: &[u64], number: u64, hours: i64) -> String {
    let at = |hours: i64| {
        date_time_ymd(1970, 1, 1)
            + std::time::Duration::from_secs(u64::try_from(now().as_second() + hours * 3600).unwrap())
    };
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2026, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: at(hours),
        next_update: at(hours + 48),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(authority).unwrap().pem().unwrap()
}

/// What becomes of the holder as an office and as an agency's server, in one word each.
fn verdicts(file: &str, holder: &Forged) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, file).unwrap();
    let files = ClientTrustFiles { authorities: vec![path.clone()], revocation_lists: vec![] };
    let judged = ClientTrust::load(&files, now()).unwrap().judge(std::slice::from_ref(&holder.der), now());
    let office = match judged {
        Ok(_) => String::new(),
        Err(CertificateRefusal::Revoked) => "revoked".into(),
        Err(other) => other.to_string(),
    };
    let server = meet_server(&AgencyRoots::load(&path).unwrap(), holder).unwrap_or_default();
    (office, server)
}

fn assert_revoked(file: &str, holder: &Forged, what: &str) {
    let (office, server) = verdicts(file, holder);
    assert!(office.contains("revoked") && server.contains("revoked"), "{what}: {office:?}, {server:?}");
}

fn assert_good(file: &str, holder: &Forged, what: &str) {
    assert_eq!(verdicts(file, holder), (String::new(), String::new()), "{what}");
}

#[test]
fn an_authority_that_has_got_a_new_key_revokes_with_both() {
    let (old, new) = (authority("Office CA", key()), authority("Office CA", key()));
    let (revoked, good, late) = (issue(&old, 1), issue(&new, 2), issue(&old, 3));
    // The new key's list is the newer one, and tells of a certificate of the old key's too.
    for lists in
        [[list(&old, &[1], 9, -72), list(&new, &[3], 1, -1)], [list(&new, &[3], 10, -1), list(&old, &[1], 9, -72)]]
    {
        for authorities in [[old.pem(), new.pem()], [new.pem(), old.pem()]] {
            let file = authorities.concat() + &lists.concat();
            assert_revoked(&file, &revoked, "the old key's list");
            assert_revoked(&file, &late, "the new key's list of the old key's certificate");
            assert_good(&file, &good, "the new key's certificate");
        }
    }
}

#[test]
fn an_authoritys_name_is_the_same_in_every_kind_of_string() {
    let one = key();
    let same = || KeyPair::from_pem(&one.serialize_pem()).unwrap();
    let printable = DnValue::PrintableString("Office CA".try_into().unwrap());
    let all = [
        CertifiedIssuer::self_signed(named(printable), same()).unwrap(),
        authority("Office CA", same()),
        authority("OFFICE  CA", same()),
    ];
    for issuer in &all {
        let (revoked, good) = (issue(issuer, 7), issue(issuer, 8));
        for lists_of in &all {
            for order in [[0, 1, 2], [2, 1, 0]] {
                let authorities = order.map(|place: usize| all[place].pem()).concat();
                let file = authorities + &list(lists_of, &[7], 1, -1);
                assert_revoked(&file, &revoked, "another kind of string");
                assert_good(&file, &good, "not in the list");
            }
        }
    }
}

#[test]
fn the_higher_number_counts_and_lists_of_which_none_is_newer_count_all() {
    let issuer = authority("Office CA", key());
    let (one, two) = (issue(&issuer, 1), issue(&issuer, 2));
    let swapped = |first: String, second: String| [format!("{first}{second}"), format!("{second}{first}")];
    for lists in swapped(list(&issuer, &[1], 1, -1), list(&issuer, &[2], 2, -1)) {
        let file = issuer.pem() + &lists;
        assert_revoked(&file, &two, "the higher number of one second");
        assert_good(&file, &one, "released by the higher number");
    }
    for lists in swapped(list(&issuer, &[1], 7, -1), list(&issuer, &[2], 7, -1)) {
        let file = issuer.pem() + &lists;
        assert_revoked(&file, &one, "equal lists");
        assert_revoked(&file, &two, "equal lists");
    }
    // A counter that began anew: which of them is newer cannot be said.
    for lists in swapped(list(&issuer, &[1], 50, -48), list(&issuer, &[2], 1, -1)) {
        let file = issuer.pem() + &lists;
        assert_revoked(&file, &one, "the higher number");
        assert_revoked(&file, &two, "the later date");
    }
}

#[test]
fn a_list_that_has_not_come_yet_displaces_nothing_until_its_date_and_is_told() {
    let forge = Forge::new();
    let (revoked, named_later) = (forge.issue(|_| {}), issue(&forge.authority, 5));
    let lists = list(&forge.authority, &[SERIAL], 1, -1) + &list(&forge.authority, &[5], 2, 24 * 300);
    let trust = forge.trust(&[&forge.write("lists.crl", lists)]).unwrap();
    for der in [&revoked.der, &named_later.der] {
        assert_eq!(trust.judge(std::slice::from_ref(der), now()), Err(CertificateRefusal::Revoked));
    }
    let told = trust.warnings(now());
    assert!(told.len() == 1 && told[0].contains("has not come yet") && told[0].contains("lists.crl (line"), "{told:?}");
    let then = now() + SignedDuration::from_hours(24 * 300);
    assert!(trust.judge(&[revoked.der], then).is_ok(), "released by the newer list once its time has come");
}

#[test]
fn an_authority_that_stands_in_the_file_is_asked_about_too() {
    let root = authority("Root", key());
    let below = |name: &str, serial: u64, issuer: &Authority| {
        let mut params = named(DnValue::Utf8String(name.to_owned()));
        params.serial_number = Some(SerialNumber::from(serial));
        CertifiedIssuer::signed_by(params, key(), issuer).unwrap()
    };
    let (between, beside) = (below("Between", 66, &root), below("Beside", 67, &root));
    let lowest = below("Lowest", 1, &between);
    let authorities = [root.pem(), between.pem(), beside.pem(), lowest.pem()];
    let reversed: String = authorities.iter().rev().map(String::as_str).collect();
    for authorities in [authorities.concat(), reversed] {
        let file = authorities.clone() + &list(&root, &[66], 1, -1);
        assert_revoked(&file, &issue(&between, 4), "issued by the revoked one");
        assert_revoked(&file, &issue(&lowest, 4), "issued by whom the revoked one has issued");
        assert_good(&file, &issue(&beside, 4), "another one's");
        assert_good(&file, &issue(&root, 4), "the root's own");
        assert_good(&(authorities + &list(&root, &[68], 1, -1)), &issue(&lowest, 4), "nobody is revoked");
    }
    let forge = Forge::new();
    forge.write("ca.pem", root.pem() + &between.pem() + &list(&root, &[66], 1, -1));
    let told = forge.trust(&[]).unwrap().warnings(now());
    assert!(told.iter().any(|told| told.contains("CN=Between has been revoked")), "{told:?}");
    let refused = forge.trust(&[]).unwrap().judge(&[issue(&between, 4).der], now());
    assert!(
        matches!(&refused, Err(CertificateRefusal::Invalid(why)) if why.contains("its issuer, CN=Between, has been revoked")),
        "{refused:?}"
    );
}

#[test]
fn an_authority_that_was_issued_anew_vouches_although_its_old_certificate_was_revoked() {
    let (root, one) = (authority("Root", key()), key());
    let anew = |serial: u64| {
        let mut params = named(DnValue::Utf8String("Between".into()));
        params.serial_number = Some(SerialNumber::from(serial));
        CertifiedIssuer::signed_by(params, KeyPair::from_pem(&one.serialize_pem()).unwrap(), &root).unwrap()
    };
    let (old, new) = (anew(66), anew(67));
    let file = root.pem() + &old.pem() + &new.pem() + &list(&root, &[66], 1, -1);
    assert_good(&file, &issue(&new, 4), "the new certificate stands");
    let file = file + &list(&root, &[66, 67], 2, -1);
    assert_revoked(&file, &issue(&new, 4), "both were revoked");
}
