//! JSON Web Signatures: ours hold, and what others make of them is refused.

use super::{
    forge::{Forge, Forged, leaf_params},
    pki::{agency_signer, now, pki, policy, rogue_signer},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::SignedDuration;
use punte::trust::{
    Algorithm, AnswerKind, AnswerPolicy, AnswerProfile, Identity, JwsForm, JwsProfile, KeyIdForm, SignersAsFiles,
    jws::{self, JwsRefusal},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair, KeyUsagePurpose,
    SerialNumber,
};

pub fn profile(form: JwsForm, algorithm: Algorithm, key_id: KeyIdForm) -> JwsProfile {
    JwsProfile { algorithm, form, key_id }
}

pub fn detached() -> AnswerKind {
    AnswerKind::JwsDetached { header: "x-jws-signature".into() }
}

/// A token with any header at all, signed with a real key.
fn forged(header: &str, payload: &[u8], signer: &Identity, algorithm: Algorithm) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = signer.signer().sign(algorithm, input.as_bytes()).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn refusal(token: &str, policy: &AnswerPolicy) -> Option<&'static str> {
    jws::verify_compact(token, policy, now()).err().map(|refusal| refusal.reason())
}

#[test]
fn what_we_sign_verifies_in_both_forms_with_both_algorithms() {
    for (agency, algorithm) in [("soap", Algorithm::RsaSha256), ("rest", Algorithm::EcdsaSha256)] {
        let signer = agency_signer(agency);
        for key_id in [KeyIdForm::Serial, KeyIdForm::Thumbprint] {
            let profile = profile(JwsForm::Compact, algorithm, key_id);
            let token = jws::sign_compact(b"{\"a\":1}", &profile, &signer).unwrap();
            let verified = jws::verify_compact(&token, &policy(agency, AnswerKind::JwsCompact), now()).unwrap();
            assert_eq!((verified.payload.as_slice(), verified.algorithm), (&b"{\"a\":1}"[..], algorithm));
            let token = jws::sign_detached(b"{\"a\":1}", &profile, &signer).unwrap();
            assert!(token.contains(".."));
            assert!(jws::verify_detached(&token, b"{\"a\":1}", &policy(agency, detached()), now()).is_ok());
        }
    }
}

#[test]
fn another_payload_or_another_place_for_it_is_refused() {
    let signer = agency_signer("rest");
    let profile = profile(JwsForm::Compact, Algorithm::EcdsaSha256, KeyIdForm::Serial);
    let token = jws::sign_detached(b"pay 1", &profile, &signer).unwrap();
    let verify = |token: &str, payload: &[u8]| {
        jws::verify_detached(token, payload, &policy("rest", detached()), now()).err().map(|refusal| refusal.reason())
    };
    assert_eq!(verify(&token, b"pay 1"), None);
    assert_eq!(verify(&token, b"pay 9"), Some("signature-mismatch"));
    assert_eq!(verify(&token, b""), Some("signature-mismatch"));
    // A payload inside, which one reader might use while another uses the body.
    let compact = jws::sign_compact(b"pay 1", &profile, &signer).unwrap();
    assert_eq!(verify(&compact, b"pay 1"), Some("not-detached"));
    assert_eq!(refusal(&token, &policy("rest", AnswerKind::JwsCompact)), Some("signature-mismatch"));
    let kind = jws::verify_compact(&compact, &policy("rest", AnswerKind::Wss), now()).err();
    assert_eq!(kind, Some(JwsRefusal::PolicyKind));
}

#[test]
fn neither_none_nor_hmac_nor_the_other_key_kind_is_an_algorithm() {
    let policy = policy("rest", AnswerKind::JwsCompact);
    let signer = agency_signer("rest");
    for alg in ["none", "None", "HS256", "HS512", "ES384", "PS256", "RS1", "", "rsa-sha256"] {
        let token = forged(&format!("{{\"alg\":\"{alg}\"}}"), b"x", &signer, Algorithm::EcdsaSha256);
        assert_eq!(refusal(&token, &policy), Some("algorithm"), "{alg}");
    }
    let unsigned = format!("{}.{}.", URL_SAFE_NO_PAD.encode("{\"alg\":\"none\"}"), URL_SAFE_NO_PAD.encode("x"));
    assert_eq!(refusal(&unsigned, &policy), Some("algorithm"));
    // The public certificate as an HMAC key.
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode("{\"alg\":\"HS256\"}"), URL_SAFE_NO_PAD.encode("x"));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &signer.certificate.der);
    let tag = URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, input.as_bytes()));
    assert_eq!(refusal(&format!("{input}.{tag}"), &policy), Some("algorithm"));
    let confused = forged("{\"alg\":\"RS256\"}", b"x", &signer, Algorithm::EcdsaSha256);
    assert_eq!(refusal(&confused, &policy), Some("signature-mismatch"));
    let mut narrow = policy.clone();
    narrow.algorithms = vec![Algorithm::RsaSha256];
    let honest = forged("{\"alg\":\"ES256\"}", b"x", &signer, Algorithm::EcdsaSha256);
    assert_eq!(refusal(&honest, &policy), None);
    assert_eq!(refusal(&honest, &narrow), Some("algorithm"));
}

#[test]
fn the_token_cannot_bring_its_own_key() {
    let rogue = rogue_signer();
    let policy = policy("soap", AnswerKind::JwsCompact);
    let certificate = STANDARD.encode(&rogue.certificate.der);
    for header in [
        "{\"alg\":\"RS256\"}".to_owned(),
        format!("{{\"alg\":\"RS256\",\"x5c\":[\"{certificate}\"]}}"),
        "{\"alg\":\"RS256\",\"jwk\":{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}}".to_owned(),
        "{\"alg\":\"RS256\",\"jku\":\"https://localhost/keys\",\"x5u\":\"https://localhost/x\"}".to_owned(),
        format!("{{\"alg\":\"RS256\",\"kid\":\"{}\"}}", rogue.facts().serial_hex),
        format!("{{\"alg\":\"RS256\",\"kid\":\"{}\"}}", agency_signer("soap").facts().serial_hex),
    ] {
        let token = forged(&header, b"x", &rogue, Algorithm::RsaSha256);
        assert_eq!(refusal(&token, &policy), Some("signature-mismatch"), "{header}");
    }
}

#[test]
fn an_authority_vouches_for_the_chain_that_the_token_shows() {
    let profile = AnswerProfile {
        kind: AnswerKind::JwsCompact,
        algorithms: vec![Algorithm::RsaSha256],
        signers: SignersAsFiles::Authority { path: pki().agency("soap", "ca.pem"), subject: None },
        max_clock_skew: SignedDuration::from_secs(60),
        replay_window: SignedDuration::from_secs(300),
    };
    let policy = AnswerPolicy::load(&profile, now()).unwrap();
    let token = |signer: &Identity| {
        let certificate = STANDARD.encode(&signer.certificate.der);
        forged(&format!("{{\"alg\":\"RS256\",\"x5c\":[\"{certificate}\"]}}"), b"x", signer, Algorithm::RsaSha256)
    };
    assert_eq!(refusal(&token(&agency_signer("soap")), &policy), None);
    assert_eq!(refusal(&token(&rogue_signer()), &policy), Some("signer-not-trusted"));
    let bare = forged("{\"alg\":\"RS256\"}", b"x", &agency_signer("soap"), Algorithm::RsaSha256);
    assert_eq!(refusal(&bare, &policy), Some("signer-not-trusted"));
}

/// The key that signs, and a chain whose first certificate is its own.
struct Shown {
    key: KeyPair,
    chain: Vec<Vec<u8>>,
}

impl Shown {
    fn alone(forged: Forged) -> Self {
        Self { chain: vec![forged.der.to_vec()], key: forged.key }
    }

    /// By an authority of its own, which the forge's has signed.
    fn below(forge: &Forge, usages: Vec<KeyUsagePurpose>) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Between");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.serial_number = Some(SerialNumber::from(0x4712));
        params.key_usages = usages;
        let between = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &forge.authority).unwrap();
        let key = KeyPair::generate().unwrap();
        let own = leaf_params().signed_by(&key, &between).unwrap();
        Self { chain: vec![own.der().to_vec(), between.der().to_vec()], key }
    }

    fn by_sha1(forge: &Forge) -> Self {
        let key = KeyPair::generate().unwrap();
        forge.write("old.key", key.serialize_pem());
        forge.write("old.cnf", "keyUsage=digitalSignature\nbasicConstraints=CA:FALSE\n");
        let shell = "openssl req -new -key old.key -subj /CN=old -out request.pem && openssl x509 -req -sha1 -days 30 \
                     -in request.pem -CA ca.pem -CAkey ca.key -set_serial 7 -extfile old.cnf -outform DER -out old.der";
        let done = std::process::Command::new("sh").args(["-c", shell]).current_dir(forge.path("")).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Self { chain: vec![std::fs::read(forge.path("old.der")).unwrap()], key }
    }

    fn token(&self, forge: &Forge) -> String {
        let (own, key) = (forge.write("own.der", &self.chain[0]), forge.write("own.key", self.key.serialize_pem()));
        let chain: Vec<_> = self.chain.iter().map(|it| STANDARD.encode(it)).collect();
        let header = serde_json::json!({"alg": "ES256", "x5c": chain}).to_string();
        forged(&header, b"x", &Identity::load(&own, &key, now()).unwrap(), Algorithm::EcdsaSha256)
    }
}

#[test]
fn whoever_signs_and_does_not_count_is_told_why() {
    let forge = Forge::new();
    let held_against = |shown: &Shown, signers: SignersAsFiles| {
        let profile = AnswerProfile {
            kind: AnswerKind::JwsCompact,
            algorithms: vec![Algorithm::EcdsaSha256],
            signers,
            max_clock_skew: SignedDuration::from_secs(60),
            replay_window: SignedDuration::from_secs(300),
        };
        jws::verify_compact(&shown.token(&forge), &AnswerPolicy::load(&profile, now()).unwrap(), now())
    };
    let verdict = |shown: &Shown, trusted: String, subject: Option<&str>| {
        let (path, subject) = (forge.write("trusted.pem", trusted), subject.map(|subject| subject.parse().unwrap()));
        held_against(shown, SignersAsFiles::Authority { path, subject })
    };
    let ca = forge.authority.pem();
    let signs = || vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let twice = |params: &mut CertificateParams| {
        let odd = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        params.custom_extensions.extend([odd.clone(), odd]);
    };
    let authority = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let stranger = Forge::named("Stranger", |_| {});
    for (shown, trusted, subject, expected) in [
        (Shown::alone(forge.issue(authority)), ca.clone(), None, "CA:TRUE"),
        (Shown::alone(forge.issue(twice)), ca.clone(), None, "1.2.3.4 stands in it twice"),
        (Shown::below(&forge, vec![KeyUsagePurpose::DigitalSignature]), ca.clone(), None, "CN=Between, may not sign"),
        (Shown::below(&forge, signs()), ca.clone() + &forge.list(&["4712"], ""), None, "CN=Between, has been revoked"),
        (Shown::by_sha1(&forge), ca.clone(), None, "such as SHA-1"),
        (
            Shown::alone(stranger.issue(|_| {})),
            ca.clone(),
            None,
            "its issuer, `CN=Stranger`, is none of the authorities",
        ),
        (Shown::alone(forge.issue(|_| {})), ca.clone(), Some("signer"), "it is of `CN=of the forge`"),
    ] {
        let refusal = verdict(&shown, trusted, subject).expect_err(expected);
        assert!(refusal.to_string().contains(expected), "{expected}: {refusal}");
        assert_eq!(refusal.reason(), "signer-not-trusted", "{expected}");
    }
    let odd = forge.issue(twice);
    let pinned = SignersAsFiles::Pinned(vec![forge.write("pinned.pem", &odd.pem)]);
    let refusal = held_against(&Shown::alone(odd), pinned).unwrap_err();
    assert_eq!(refusal.reason(), "signer-malformed");
    assert!(refusal.to_string().contains("1.2.3.4 stands in it twice"), "{refusal}");
    assert!(verdict(&Shown::below(&forge, signs()), ca.clone(), None).is_ok());
    assert!(verdict(&Shown::alone(forge.issue(|_| {})), ca, Some("of the forge")).is_ok());
}

#[test]
fn extensions_and_malformed_headers_are_refused() {
    let (signer, policy) = (agency_signer("rest"), policy("rest", AnswerKind::JwsCompact));
    for (header, reason) in [
        ("{\"alg\":\"ES256\",\"crit\":[\"exp\"],\"exp\":1}", "critical"),
        ("{\"alg\":\"ES256\",\"crit\":[]}", "critical"),
        ("{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}", "critical"),
        ("{\"alg\":\"ES256\",\"b64\":false}", "critical"),
        ("{\"alg\":\"ES256\",\"alg\":\"none\"}", "header"),
        ("{\"kid\":\"1\"}", "header"),
        ("{\"alg\":1}", "header"),
        ("[]", "header"),
        ("", "header"),
    ] {
        let token = forged(header, b"x", &signer, Algorithm::EcdsaSha256);
        assert_eq!(refusal(&token, &policy), Some(reason), "{header}");
    }
    let token = forged("{\"alg\":\"ES256\"}", b"x", &signer, Algorithm::EcdsaSha256);
    for (broken, reason) in [
        (token.replace('.', "!"), "format"),
        (format!("{token}.x"), "format"),
        (format!("{token}="), "format"),
        (token[..token.len() - 2].to_owned(), "signature-mismatch"),
        (String::new(), "format"),
        (".".repeat(2), "header"),
    ] {
        assert_eq!(refusal(&broken, &policy), Some(reason), "{broken}");
    }
}

#[test]
fn an_expired_signer_counts_no_more() {
    let token = forged("{\"alg\":\"ES256\"}", b"x", &agency_signer("rest"), Algorithm::EcdsaSha256);
    let later = now() + SignedDuration::from_hours(24 * 400);
    let refusal = jws::verify_compact(&token, &policy("rest", AnswerKind::JwsCompact), later).err();
    assert_eq!(refusal.map(|refusal| refusal.reason()), Some("signer-out-of-date"));
}

#[test]
fn a_refusal_names_the_algorithm_or_key_that_it_found_within_bounds() {
    let policy = policy("rest", AnswerKind::JwsCompact);
    let told = |header: &str, signer: &Identity, algorithm| {
        let token = forged(header, b"x", signer, algorithm);
        jws::verify_compact(&token, &policy, now()).unwrap_err().to_string()
    };
    let ours = agency_signer("rest");
    let es = Algorithm::EcdsaSha256;
    assert_eq!(told("{\"alg\":\"ES384\"}", &ours, es), "the JWS algorithm is `ES384`, which is not allowed");
    let rogue = rogue_signer();
    let stranger = told("{\"alg\":\"ES256\",\"kid\":\"agency-2\"}", &rogue, Algorithm::RsaSha256);
    assert!(stranger.starts_with("the JWS names the key `agency-2`, which is none of the agency's"), "{stranger}");
    let hostile = told("{\"alg\":\"a\\nINFO 2000000000001\\u001b[31m\"}", &ours, es);
    assert_eq!(hostile, "the JWS algorithm is `a INFO … [31m`, which is not allowed");
    let long = told(&format!("{{\"alg\":\"ES256\",\"kid\":\"{}\"}}", "k".repeat(5000)), &rogue, Algorithm::RsaSha256);
    assert!(long.len() < 300, "{long}");
    // Named, known, and still not its signature.
    let known = format!("{{\"alg\":\"ES256\",\"kid\":\"{}\"}}", ours.facts().serial_hex);
    assert_eq!(told(&known, &rogue, Algorithm::RsaSha256), "the JWS signature does not hold");
}
