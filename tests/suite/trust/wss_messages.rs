//! What we sign, we accept; and all the forms in which an agency may name its key.

use super::{
    forgery::{CONTENT, DS, Forgery, RSA_SHA1, SHA1, SOAP11, SOAP12, token_reference},
    pki::{agency_signer, certificate, now, pki, policy, rogue_signer},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::SignedDuration;
use punte::{
    trust::{
        Algorithm, AnswerKind, AnswerPolicy, AnswerProfile, Certificate, Identity, ReplayCache, SignedHeader,
        SignersAsFiles, WssProfile,
        wss::{self, VerifiedEnvelope, WssError, WssRefusal},
    },
    xml,
};

pub fn profile(algorithm: Algorithm) -> WssProfile {
    WssProfile {
        algorithm,
        ttl: SignedDuration::from_secs(300),
        sign_headers: Vec::new(),
        must_understand: true,
        sign_token: false,
    }
}

pub fn verify(text: &str, policy: &AnswerPolicy) -> Result<VerifiedEnvelope, WssRefusal> {
    wss::verify(&xml::parse(text)?, policy, now(), &ReplayCache::default())
}

fn sign(envelope: &str, signer: &Identity) -> Result<String, WssError> {
    wss::sign(envelope, &profile(signer.signer().default_algorithm()), signer, now())
}

#[test]
fn envelopes_of_every_shape_are_signed_and_verify() {
    let envelopes = [
        format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body>{CONTENT}</s:Body></s:Envelope>"),
        format!("<s:Envelope xmlns:s=\"{SOAP12}\"><s:Header/><s:Body>{CONTENT}</s:Body></s:Envelope>"),
        format!("<Envelope xmlns='{SOAP11}'><Header a='>' /><Body/></Envelope>"),
        format!(
            "\u{FEFF}<?xml version='1.0' encoding='utf-8'?>\n<Envelope:Envelope xmlns:Envelope='{SOAP12}'><Envelope:Body\n x='&lt;&#10;'>é ]]&gt; &#13;<b><!-- c --></b></Envelope:Body></Envelope:Envelope>\n"
        ),
        format!(
            "<s:Envelope xmlns:s=\"{SOAP11}\" xmlns:wsu=\"urn:other\"><s:Header><x xmlns=\"urn:x\">1</x></s:Header><s:Body><wsu:a/></s:Body></s:Envelope>"
        ),
    ];
    for (agency, envelope) in envelopes.iter().flat_map(|envelope| [("soap", envelope), ("rest", envelope)]) {
        let signed = sign(envelope, &agency_signer(agency)).unwrap();
        let document = xml::parse(&signed).unwrap();
        let verified = wss::verify(&document, &policy(agency, AnswerKind::Wss), now(), &ReplayCache::default());
        let verified = verified.unwrap_or_else(|refusal| panic!("{refusal}: {signed}"));
        assert!(document.get_node(verified.body).is_some_and(|body| body.tag_name().name() == "Body"));
        assert_eq!(verified.signed.len(), 2);
        assert_eq!(verified.created, now());
    }
}

#[test]
fn named_headers_are_signed_too_and_cannot_be_edited() {
    let signer = agency_signer("soap");
    let envelope = format!(
        "<s:Envelope xmlns:s=\"{SOAP11}\"><s:Header><c:Caller xmlns:c=\"urn:c\">town-hall</c:Caller><c:Other xmlns:c=\"urn:c\"/></s:Header><s:Body>{CONTENT}</s:Body></s:Envelope>"
    );
    let header = SignedHeader { namespace: "urn:c".into(), name: "Caller".into() };
    let profile = WssProfile { sign_headers: vec![header], ..profile(Algorithm::RsaSha256) };
    let signed = wss::sign(&envelope, &profile, &signer, now()).unwrap();
    let policy = policy("soap", AnswerKind::Wss);
    assert_eq!(verify(&signed, &policy).unwrap().signed.len(), 3);
    let edited = signed.replace("town-hall", "ministry");
    assert_eq!(verify(&edited, &policy).err(), Some(WssRefusal::DigestMismatch));
    let missing = envelope.replace("Caller", "Gone");
    assert_eq!(wss::sign(&missing, &profile, &signer, now()), Err(WssError::SignedHeader("Caller".into())));
}

#[test]
fn envelopes_that_cannot_be_signed_safely_are_refused() {
    let signer = agency_signer("rest");
    let signed = sign(&format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body/></s:Envelope>"), &signer).unwrap();
    assert_eq!(sign(&signed, &signer), Err(WssError::AlreadySecured));
    assert_eq!(sign("<a/>", &signer), Err(WssError::NotSoap));
    for shape in ["", "<s:Body/><s:Body/>", "<s:Body/><s:Header/>", "<s:Header/><s:Header/><s:Body/>"] {
        let envelope = format!("<s:Envelope xmlns:s=\"{SOAP11}\">{shape}</s:Envelope>");
        assert_eq!(sign(&envelope, &signer), Err(WssError::EnvelopeShape), "{shape}");
    }
    assert!(matches!(sign("<!DOCTYPE a><a/>", &signer), Err(WssError::Xml(_))));
    let unfit = wss::sign("<a/>", &profile(Algorithm::RsaSha256), &signer, now());
    assert_eq!(unfit, Err(WssError::NotSoap));
    let envelope = format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body/></s:Envelope>");
    assert!(matches!(wss::sign(&envelope, &profile(Algorithm::RsaSha256), &signer, now()), Err(WssError::Key(_))));
}

#[test]
fn a_configured_certificate_may_be_named_in_every_standard_form() {
    let signer = agency_signer("soap");
    let policy = policy("soap", AnswerKind::Wss);
    for key_info in key_infos(&signer) {
        let forgery = Forgery { key_info: key_info.clone(), ..Forgery::honest(&signer, now()) };
        let verified = verify(&forgery.write(), &policy);
        assert!(verified.is_ok(), "{:?}: {key_info}", verified.err());
        // The same words about a stranger's certificate lead nowhere.
        let rogue = rogue_signer();
        let forgery = Forgery { key_info, ..Forgery::honest(&rogue, now()) };
        let refusal = verify(&forgery.write(), &policy).err().unwrap();
        assert!(matches!(refusal, WssRefusal::SignatureMismatch | WssRefusal::Signer(_)), "{refusal:?}");
    }
}

fn subject_key_identifier(signer: &Identity) -> Vec<u8> {
    let (_, parsed) = x509_parser::parse_x509_certificate(&signer.certificate.der).unwrap();
    let mut extensions = parsed.iter_extensions();
    let identifier = extensions.find_map(|extension| match extension.parsed_extension() {
        x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    identifier.unwrap()
}

fn key_infos(signer: &Identity) -> Vec<String> {
    let der = &signer.certificate.der;
    let (_, parsed) = x509_parser::parse_x509_certificate(der).unwrap();
    let ski = subject_key_identifier(signer);
    let thumbprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, der);
    let x509 = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0";
    let wss11 = "http://docs.oasis-open.org/wss/oasis-wss-soap-message-security-1.1";
    let identifier = |kind: &str, value: &[u8]| {
        token_reference(&format!(
            "<wsse:KeyIdentifier ValueType=\"{kind}\">{}</wsse:KeyIdentifier>",
            STANDARD.encode(value)
        ))
    };
    let certificate = format!(
        "<ds:X509Data xmlns:ds=\"{DS}\"><ds:X509Certificate>{}</ds:X509Certificate></ds:X509Data>",
        STANDARD.encode(der)
    );
    vec![
        super::forgery::reference_to_token(),
        identifier(&format!("{x509}#X509SubjectKeyIdentifier"), &ski),
        identifier(&format!("{wss11}#ThumbprintSHA1"), thumbprint.as_ref()),
        token_reference(&format!(
            "<ds:X509Data xmlns:ds=\"{DS}\"><ds:X509IssuerSerial><ds:X509IssuerName>CN=any</ds:X509IssuerName><ds:X509SerialNumber>{}</ds:X509SerialNumber></ds:X509IssuerSerial></ds:X509Data>",
            parsed.serial
        )),
        token_reference(&certificate),
        certificate,
    ]
}

#[test]
fn an_agency_may_be_known_by_its_authority_and_subject() {
    let with = |subject: Option<&str>, path: std::path::PathBuf| {
        let profile = AnswerProfile {
            kind: AnswerKind::Wss,
            algorithms: vec![Algorithm::RsaSha256],
            signers: SignersAsFiles::Authority { path, subject: subject.map(|subject| subject.parse().unwrap()) },
            max_clock_skew: SignedDuration::from_secs(60),
            replay_window: SignedDuration::from_secs(300),
        };
        AnswerPolicy::load(&profile, now()).unwrap()
    };
    let signed = Forgery::honest(&agency_signer("soap"), now()).write();
    let ca = pki().agency("soap", "ca.pem");
    assert!(verify(&signed, &with(None, ca.clone())).is_ok());
    assert!(verify(&signed, &with(Some("Demo soap, messages"), ca.clone())).is_ok());
    let refusal = |policy: AnswerPolicy| verify(&signed, &policy).err().unwrap().reason();
    assert_eq!(refusal(with(Some("Somebody else"), ca)), "signer-not-trusted");
    assert_eq!(refusal(with(None, pki().agency("rest", "ca.pem"))), "signer-not-trusted");
    assert_eq!(refusal(with(None, pki().rogue("ca.pem"))), "signer-not-trusted");
}

#[test]
fn a_revocation_list_beside_the_signers_authority_counts() {
    use super::forge::{Forge, SERIAL};
    let forge = Forge::new();
    let signer = forge.issue(|_| {});
    let (certificate, key) = (forge.write("own.pem", &signer.pem), forge.write("own.key", signer.key.serialize_pem()));
    let signer = Identity::load(&certificate, &key, now()).unwrap();
    let with = |file: &str, text: String| {
        let profile = AnswerProfile {
            kind: AnswerKind::Wss,
            algorithms: vec![Algorithm::EcdsaSha256],
            signers: SignersAsFiles::Authority { path: forge.write(file, text), subject: None },
            max_clock_skew: SignedDuration::from_secs(60),
            replay_window: SignedDuration::from_secs(300),
        };
        AnswerPolicy::load(&profile, now()).unwrap()
    };
    let envelope = format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body>{CONTENT}</s:Body></s:Envelope>");
    let signed = wss::sign(&envelope, &profile(Algorithm::EcdsaSha256), &signer, now()).unwrap();
    assert!(verify(&signed, &with("alone.pem", forge.authority.pem())).is_ok());
    let both = forge.authority.pem().trim_end().to_owned() + &forge.list(&[&format!("{SERIAL:X}")], "");
    assert_eq!(verify(&signed, &with("both.pem", both)).err().unwrap().reason(), "signer-revoked");
}

#[test]
fn sha1_is_signed_and_accepted_only_where_the_profile_says_so() {
    let signer = agency_signer("soap");
    let envelope = format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body>{CONTENT}</s:Body></s:Envelope>");
    let ours = wss::sign(&envelope, &profile(Algorithm::RsaSha1), &signer, now()).unwrap();
    let forgery = Forgery {
        algorithm: Algorithm::RsaSha1,
        algorithm_uri: RSA_SHA1,
        digest_uri: SHA1,
        ..Forgery::honest(&signer, now())
    };
    let mut policy = policy("soap", AnswerKind::Wss);
    for signed in [ours.as_str(), &forgery.write()] {
        assert_eq!(verify(signed, &policy).err().map(|it| it.reason()), Some("algorithm"));
    }
    // A modern signature over SHA-1 digests is no better.
    let mixed = Forgery { digest_uri: SHA1, ..Forgery::honest(&signer, now()) }.write();
    assert_eq!(verify(&mixed, &policy).err().map(|it| it.reason()), Some("digest-algorithm"));
    policy.algorithms = vec![Algorithm::RsaSha1];
    for signed in [ours.as_str(), &forgery.write()] {
        assert!(verify(signed, &policy).is_ok());
    }
}

#[test]
fn a_pinned_certificate_that_can_verify_nothing_is_warned_of() {
    let mut policy = policy("soap", AnswerKind::Wss);
    assert!(policy.warnings(now()).is_empty());
    assert_eq!(policy.warnings(now() + SignedDuration::from_hours(24 * 400)).len(), 1);
    policy.algorithms = vec![Algorithm::EcdsaSha256];
    assert_eq!(policy.warnings(now()).len(), 1);
}

#[test]
fn a_certificate_that_was_renewed_with_the_same_key_counts_beside_the_one_that_has_expired() {
    let signer = agency_signer("soap");
    let key = std::fs::read_to_string(pki().simulator("soap", "signing").with_extension("key")).unwrap();
    let mut expired = rcgen::CertificateParams::new(vec![]).unwrap();
    expired.not_before = rcgen::date_time_ymd(2019, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2021, 1, 1);
    expired.is_ca = rcgen::IsCa::ExplicitNoCa;
    expired.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(subject_key_identifier(&signer));
    let expired = expired.self_signed(&rcgen::KeyPair::from_pem(&key).unwrap()).unwrap();
    let expired = Certificate::from_der(expired.der()).unwrap();
    let known = certificate(&pki().agency("soap", "answer-signing.pem"));
    for pinned in [vec![expired.clone(), known.clone()], vec![known, expired.clone()]] {
        let policy = AnswerPolicy::pinned(AnswerKind::Wss, vec![Algorithm::RsaSha256], pinned);
        for key_info in key_infos(&signer) {
            let forgery = Forgery { key_info: key_info.clone(), ..Forgery::honest(&signer, now()) };
            let verified = verify(&forgery.write(), &policy);
            assert!(verified.is_ok(), "{:?}: {key_info}", verified.err());
        }
    }
    let policy = AnswerPolicy::pinned(AnswerKind::Wss, vec![Algorithm::RsaSha256], vec![expired]);
    let by_identifier = key_infos(&signer).remove(1);
    let forgery = Forgery { key_info: by_identifier, ..Forgery::honest(&signer, now()) };
    let refusal = verify(&forgery.write(), &policy).err();
    assert_eq!(refusal.map(|refusal| refusal.reason()), Some("signer-out-of-date"));
}

#[test]
fn an_agencys_own_expired_certificate_no_longer_counts() {
    let late = now() + SignedDuration::from_hours(24 * 366);
    let signed = Forgery::honest(&agency_signer("soap"), late).write();
    let policy = policy("soap", AnswerKind::Wss);
    let refusal = wss::verify(&xml::parse(&signed).unwrap(), &policy, late, &ReplayCache::default()).err();
    assert_eq!(refusal.map(|refusal| refusal.reason()), Some("signer-out-of-date"));
}
