//! Certificates that are odd in one way each are refused by name, and names are compared as names.

use super::{
    forge::{Forge, Forged, client_with, meet_server, organisation},
    pki::now,
};
use crate::gateway::environment::{OfficeClient, Said, TestEnvironment};
use punte::{
    domain::{DistinguishedName, SubjectMatch},
    settings::CertificateMatch,
    trust::{AgencyRoots, CertificateFacts, CertificateRefusal, Identity, Purpose},
};
use rcgen::{CertificateParams, CertifiedIssuer, CustomExtension, DnType, DnValue, IsCa, KeyPair, KeyUsagePurpose};

type Change = fn(&mut CertificateParams);

fn custom(params: &mut CertificateParams, oid: &[u64], content: &[u8]) {
    params.custom_extensions.push(CustomExtension::from_oid_content(oid, content.to_vec()));
}

/// As it is written (RFC 5280, section 4.2.1.3).
fn usage(params: &mut CertificateParams, content: &[u8]) {
    params.key_usages.clear();
    custom(params, &[2, 5, 29, 15], content);
}

#[test]
fn a_certificate_that_is_malformed_or_ambiguous_is_refused_by_name_on_both_sides() {
    let forge = Forge::new();
    let trust = forge.trust(&[]).unwrap();
    let roots = AgencyRoots::load(&forge.path("ca.pem")).unwrap();
    let cases: [(Change, &str); 9] = [
        (|params| usage(params, &[3, 1, 0]), "keyUsage names no use"),
        // A bit that nobody has given a name, encipherOnly, decipherOnly.
        (|params| usage(params, &[3, 3, 6, 0, 0x40]), "keyUsage names no use"),
        (|params| usage(params, &[3, 2, 0, 1]), "digitalSignature"),
        (|params| usage(params, &[3, 3, 7, 0, 0x80]), "digitalSignature"),
        (|params| custom(params, &[1, 2, 3, 4], &[]), "1.2.3.4 is empty"),
        (
            |params| {
                params.extended_key_usages.clear();
                custom(params, &[2, 5, 29, 37], &[0x30, 0]);
            },
            "extKeyUsage is empty",
        ),
        (
            |params| {
                custom(params, &[1, 2, 3, 4], &[5, 0]);
                custom(params, &[1, 2, 3, 4], &[5, 0]);
            },
            "1.2.3.4 stands in it twice",
        ),
        (
            |params| {
                params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
                params.key_usages.push(KeyUsagePurpose::KeyCertSign);
            },
            "CA:TRUE",
        ),
        (|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment], "digitalSignature"),
    ];
    for (change, expected) in cases {
        let forged = forge.issue(change);
        let refused = trust.judge(std::slice::from_ref(&forged.der), now());
        assert!(
            matches!(&refused, Err(CertificateRefusal::Invalid(why)) if why.contains(expected)),
            "{expected}: {refused:?}"
        );
        let said = meet_server(&roots, &forged);
        assert!(said.as_ref().is_some_and(|said| said.contains(expected)), "{expected}: {said:?}");
        let facts = CertificateFacts::from_der(&forged.der).unwrap();
        let foreseen = Purpose::TlsServer.objections_to(&facts).join(" ");
        assert!(foreseen.contains(expected), "check foresees it: {expected}: {foreseen}");
    }
}

#[test]
fn a_server_whose_certificate_is_not_for_it_is_told_in_words() {
    let forge = Forge::new();
    let roots = AgencyRoots::load(&forge.path("ca.pem")).unwrap();
    let cases: [(Change, &str); 4] = [
        (|params| params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth], "serverAuth"),
        (
            |params| {
                params.subject_alt_names.clear();
                params.distinguished_name.push(DnType::CommonName, "localhost");
            },
            "common name (localhost) does not count",
        ),
        (
            |params| params.subject_alt_names = vec![rcgen::SanType::DnsName("elsewhere.example".try_into().unwrap())],
            "not valid for the name localhost: it is for elsewhere.example",
        ),
        (|params| params.not_after = rcgen::date_time_ymd(2021, 1, 1), "has expired"),
    ];
    for (change, expected) in cases {
        let said = meet_server(&roots, &forge.issue(change));
        assert!(said.as_ref().is_some_and(|said| said.contains(expected)), "{expected}: {said:?}");
    }
    assert_eq!(meet_server(&roots, &forge.issue(|_| {})), None);
    let stranger = Forge::named("Stranger", |_| {}).issue(|_| {});
    let said = meet_server(&roots, &stranger).unwrap();
    assert!(said.contains("CN=Stranger") && said.contains("not trusted"), "{said}");
}

#[test]
fn an_issuer_that_may_not_sign_certificates_vouches_for_nobody() {
    let forge = Forge::new();
    // digitalSignature, encipherOnly.
    for named in [[3, 2, 7, 0x80], [3, 2, 0, 1]] {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Between");
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        usage(&mut params, &named);
        let between = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &forge.authority).unwrap();
        let mut office = CertificateParams::default();
        office.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        office.not_after = rcgen::date_time_ymd(2099, 1, 1);
        let office = office.signed_by(&KeyPair::generate().unwrap(), &between).unwrap();
        let refused = forge.trust(&[]).unwrap().judge(&[office.der().clone(), between.der().clone()], now());
        assert!(
            matches!(&refused, Err(CertificateRefusal::Invalid(why)) if why.contains("keyCertSign") && why.contains("Between")),
            "{refused:?}"
        );
    }
    let mute = Forge::named("Mute", |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    let said = mute.trust(&[]).err().unwrap().to_string();
    assert!(said.contains("keyCertSign"), "{said}");
    let leaf = forge.write("ca.pem", forge.issue(|_| {}).pem);
    let said = AgencyRoots::load(&leaf).unwrap_err().to_string();
    assert!(said.contains("no authority's certificate"), "{said}");
}

#[test]
fn two_organisation_identifiers_are_nobodys() {
    let forge = Forge::new();
    let oid = DnType::from_oid(&[2, 5, 4, 97]);
    let single = forge.issue(|params| params.distinguished_name.push(oid.clone(), "GOVMD-1"));
    let trust = forge.trust(&[]).unwrap();
    let facts = trust.judge(&[single.der], now()).unwrap();
    assert_eq!(facts.organization_identifier.as_deref(), Some("GOVMD-1"));
    // rcgen keeps one value for each type; OpenSSL does as it is told.
    let key = KeyPair::generate().unwrap();
    forge.write("two.key", key.serialize_pem());
    forge.write("two.cnf", "keyUsage=digitalSignature\nextendedKeyUsage=clientAuth\nbasicConstraints=CA:FALSE\n");
    let shell = "openssl req -new -key two.key -subj '/2.5.4.97=GOVMD-1/2.5.4.97=GOVMD-2/CN=a/CN=b' -out request.pem && \
                 openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -set_serial 7 -extfile two.cnf -days 30 -out two.pem";
    let done = std::process::Command::new("sh").args(["-c", shell]).current_dir(forge.path("")).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    use rustls::pki_types::pem::PemObject;
    let two = rustls::pki_types::CertificateDer::from_pem_file(forge.path("two.pem")).unwrap();
    let facts = CertificateFacts::from_der(&two).unwrap();
    assert_eq!((facts.organization_identifier, facts.common_name), (None, None), "never the first one wins");
    // It is valid from the second in which it was made.
    let refused = trust.judge(&[two], now() + jiff::SignedDuration::from_mins(1));
    assert!(
        matches!(&refused, Err(CertificateRefusal::Invalid(why)) if why.contains("organizationIdentifier")),
        "{refused:?}"
    );
}

#[test]
fn a_subject_is_what_its_attributes_say_in_whatever_string_they_are_written() {
    let forge = Forge::new();
    let facts = |name: &[(DnType, DnValue)]| {
        let forged = forge.issue(|params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            name.iter().for_each(|(kind, value)| params.distinguished_name.push(kind.clone(), value.clone()));
        });
        CertificateFacts::from_der(&forged.der).unwrap()
    };
    let utf8 = |text: &str| DnValue::Utf8String(text.to_owned());
    let configured: DistinguishedName = "C=MD, O=Town hall, CN=desk".parse().unwrap();
    let honest = facts(&[
        (DnType::CountryName, utf8("MD")),
        (DnType::OrganizationName, utf8("Town hall")),
        (DnType::CommonName, utf8("desk")),
    ]);
    assert_eq!(honest.name, configured);
    assert_eq!(honest.subject, "C=MD, O=Town hall, CN=desk");
    let forged = facts(&[(DnType::CountryName, utf8("MD")), (DnType::OrganizationName, utf8("Town hall, CN=desk"))]);
    assert_ne!(forged.name, configured);
    assert_eq!(forged.subject, r"C=MD, O=Town hall\, CN=desk");
    let signer: SubjectMatch = "C=MD, O=Registry, CN=signer".parse().unwrap();
    assert!(!signer.fits(&facts(&[(DnType::CommonName, utf8("C=MD, O=Registry, CN=signer"))]).name));
    let bmp = DnValue::BmpString("Căușeni".try_into().unwrap());
    let universal = DnValue::UniversalString("Căușeni".try_into().unwrap());
    for value in [bmp, universal, utf8("Căușeni")] {
        let facts = facts(&[(DnType::OrganizationName, value.clone()), (DnType::from_oid(&[2, 5, 4, 97]), value)]);
        assert_eq!(facts.name, "O=Căușeni, OID(2.5.4.97)=Căușeni".parse().unwrap());
        assert_eq!(facts.organization_identifier.as_deref(), Some("Căușeni"));
    }
    let hostile = facts(&[(DnType::CommonName, utf8("a\u{1b}[2J\n\u{202e}b\u{9b}"))]);
    assert_eq!(hostile.subject, r"CN=a\1B[2J\0A\E2\80\AEb\C2\9B");
}

#[test]
fn our_own_certificate_is_foreseen_as_the_other_side_will_see_it() {
    let forge = Forge::new();
    let cases: [(Change, Purpose, &str); 4] = [
        (
            |params| params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth],
            Purpose::TlsClient,
            "not clientAuth",
        ),
        (|params| params.subject_alt_names.clear(), Purpose::TlsServer, "no DNS name or address in subjectAltName"),
        (|params| params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained), Purpose::TlsServer, "CA:TRUE"),
        (|params| params.key_usages = vec![KeyUsagePurpose::KeyAgreement], Purpose::Signatures, "digitalSignature"),
    ];
    for (change, purpose, expected) in cases {
        let forged = forge.issue(change);
        let (certificate, key) =
            (forge.write("own.pem", &forged.pem), forge.write("own.key", forged.key.serialize_pem()));
        let told = Identity::load(&certificate, &key, now()).unwrap().warnings_as(purpose, now()).join(" ");
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

/// Of the parts of what is signed: the version is the first, the subject the sixth, extensions are the last.
const VERSION: usize = 0;
const SUBJECT: usize = 5;
const EXTENSIONS: usize = 7;

fn of_version_1(parts: &mut Vec<Vec<u8>>) {
    parts.remove(EXTENSIONS);
    parts.remove(VERSION);
}

/// Changes what is signed.
type Rewrite = fn(&mut Vec<Vec<u8>>);

/// What the gateway's door says to whoever shows this certificate, over both versions of TLS.
async fn told_at_the_door(forge: &Forge, forged: &Forged, subject: Option<&str>) -> Vec<Said> {
    let mut env = TestEnvironment::new();
    env.settings.client_ca = vec![forge.path("ca.pem")];
    env.settings.client_crl = Vec::new();
    let subject = subject.map(|subject| subject.parse().unwrap());
    env.offices[0].certificates = vec![CertificateMatch { subject, ..CertificateMatch::default() }];
    let open = env.open().await;
    let mut said = Vec::new();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let tls = client_with(forged, &open.env.pki.gateway("server-ca.pem"), &[version]);
        let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap();
        let client = OfficeClient { client, base: format!("https://localhost:{}", open.address.port()) };
        said.push(client.get("/v1/services").await);
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_library_reads_is_refused_in_words_in_a_real_handshake_on_both_sides() {
    let forge = Forge::new();
    let roots = AgencyRoots::load(&forge.path("ca.pem")).unwrap();
    let whole = forge.issue(|_| {});
    let cases: [(Rewrite, &str); 2] = [
        (of_version_1, "X.509 certificate of version 1"),
        (|parts| parts[EXTENSIONS] = vec![0xa3, 2, 0x30, 0], "its list of extensions is empty"),
    ];
    for (change, expected) in cases {
        let forged = forge.rewritten(&whole, change);
        for said in told_at_the_door(&forge, &forged, Some("CN=of the forge")).await {
            assert_eq!(said.code(), "office.certificate.invalid", "{}", said.text);
            assert!(said.text.contains(expected), "{expected}: {}", said.text);
        }
        let said = meet_server(&roots, &forged).unwrap();
        assert!(said.contains(expected), "{expected}: {said}");
        let (certificate, key) =
            (forge.write("own.pem", &forged.pem), forge.write("own.key", forged.key.serialize_pem()));
        let own = Identity::load(&certificate, &key, now());
        let foreseen = own.map(|it| it.warnings_as(Purpose::TlsClient, now()).join(" "));
        let foreseen = foreseen.unwrap_or_else(|error| error.to_string());
        assert!(foreseen.contains(expected), "{expected}: {foreseen}");
    }
    let critical = forge.issue(|params| {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    });
    for said in told_at_the_door(&forge, &critical, Some("CN=of the forge")).await {
        assert_eq!((said.status.as_u16(), said.code()), (403, "office.certificate.invalid"), "{}", said.text);
        assert!(said.text.contains("critical extension"), "{}", said.text);
    }
    let said = meet_server(&roots, &critical).unwrap();
    assert!(said.contains("critical extension"), "{said}");
    // Whoever shows such a certificate without its key learns nothing.
    let stranger = forge.issue(|_| {});
    let stolen = Forged { key: stranger.key, ..forge.rewritten(&whole, of_version_1) };
    let tls = client_with(&stolen, &forge.path("ca.pem"), &[&rustls::version::TLS12]);
    assert!(is_refused_by_the_door(&forge, tls).await);
}

/// Whether the handshake itself ends.
async fn is_refused_by_the_door(forge: &Forge, tls: rustls::ClientConfig) -> bool {
    let mut env = TestEnvironment::new();
    let server = forge.issue(|_| {});
    env.settings.certificate = forge.write("server.pem", &server.pem);
    env.settings.key = forge.write("server.key", server.key.serialize_pem());
    let open = env.open().await;
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap();
    let said = client.get(format!("https://localhost:{}/v1/services", open.address.port())).send().await;
    said.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_string_with_letters_beyond_latin_1_is_compared_as_the_text_that_it_is() {
    let forge = Forge::new();
    let whole = forge.issue(|_| {});
    let named = |text: &[u8]| {
        let subject = organisation(20, text);
        forge.rewritten(&whole, |parts| parts[SUBJECT] = subject)
    };
    let in_utf8 = named("Primăria Căușeni, Општина".as_bytes());
    let wanted = r"O=Primăria Căușeni\, Општина";
    assert_eq!(CertificateFacts::from_der(&in_utf8.der).unwrap().subject, wanted);
    for said in told_at_the_door(&forge, &in_utf8, Some(wanted)).await {
        assert_eq!(said.status, http::StatusCode::OK, "{}", said.text);
    }
    // T.61's own letters (a breve before its letter) are read as Latin-1, as everybody does, and told so.
    let in_t61 = named(b"C\xc6au\xcbseni");
    assert_eq!(CertificateFacts::from_der(&in_t61.der).unwrap().subject, "O=CÆauËseni");
    for said in told_at_the_door(&forge, &in_t61, Some("O=Căuşeni")).await {
        assert_eq!(said.code(), "office.certificate.unknown-office", "{}", said.text);
    }
}
