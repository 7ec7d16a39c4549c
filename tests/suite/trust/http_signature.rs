//! HTTP message signatures: ours hold, and every change to what they cover is refused.

use super::pki::{agency_signer, now, policy, rogue_signer};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use jiff::SignedDuration;
use punte::trust::{
    Algorithm, AnswerKind, AnswerPolicy, HttpSignatureProfile, Identity, KeyIdForm, ReplayCache,
    http_signature::{self, HttpMessage, HttpSignatureError, HttpStart},
};

const BODY: &[u8] = b"{\"event\":\"marriage\"}";

pub fn profile(algorithm: Algorithm, components: &[&str]) -> HttpSignatureProfile {
    HttpSignatureProfile {
        algorithm,
        label: "sig1".into(),
        components: components.iter().map(|name| (*name).to_owned()).collect(),
        ttl: Some(SignedDuration::from_secs(120)),
        key_id: KeyIdForm::Serial,
    }
}

const COVERED: [&str; 4] = ["@method", "@target-uri", "content-type", "content-digest"];

fn expecting(components: &[&str]) -> AnswerPolicy {
    let components = components.iter().map(|name| (*name).to_owned()).collect();
    policy("rest", AnswerKind::HttpSignature { components })
}

struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Request {
    fn signed(signer: &Identity, profile: &HttpSignatureProfile) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let uri = Uri::from_static("https://Registry.Test:443/v1/events?kind=a%20b");
        let mut request = Self { method: Method::POST, uri, headers, body: BODY.to_vec() };
        let seal = http_signature::sign(&request.message(), profile, signer, now()).unwrap();
        seal.insert_into(&mut request.headers);
        request
    }

    fn honest() -> Self {
        Self::signed(&agency_signer("rest"), &profile(Algorithm::EcdsaSha256, &COVERED))
    }

    fn message(&self) -> HttpMessage<'_> {
        let start = HttpStart::Request { method: &self.method, uri: &self.uri };
        HttpMessage { start, headers: &self.headers, body: &self.body }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn edited(self, header: &'static str, edit: impl Fn(&str) -> String) -> Self {
        self.with(|request| {
            let value = edit(request.headers[header].to_str().unwrap());
            request.headers.insert(header, value.parse().unwrap());
        })
    }

    fn reason_at(&self, seconds: i64) -> &'static str {
        let now = now() + SignedDuration::from_secs(seconds);
        match http_signature::verify(&self.message(), &expecting(&COVERED), now, &ReplayCache::default()) {
            Ok(_) => "accepted",
            Err(refusal) => refusal.reason(),
        }
    }

    fn reason(&self) -> &'static str {
        self.reason_at(0)
    }
}

#[test]
fn requests_and_responses_are_signed_and_verify() {
    assert_eq!(Request::honest().reason(), "accepted");
    // Scheme and host in another case, and the default port, name the same target.
    let same = Request::honest().with(|it| it.uri = Uri::from_static("https://registry.test/v1/events?kind=a%20b"));
    assert_eq!(same.reason(), "accepted");
    let signer = agency_signer("rest");
    let start = HttpStart::Response { status: StatusCode::OK };
    let mut headers = HeaderMap::new();
    let unsigned = HttpMessage { start, headers: &HeaderMap::new(), body: BODY };
    let profile = profile(Algorithm::EcdsaSha256, &["@status", "content-digest"]);
    http_signature::sign(&unsigned, &profile, &signer, now()).unwrap().insert_into(&mut headers);
    let policy = expecting(&["@status", "content-digest"]);
    let verify = |start, body| {
        let message = HttpMessage { start, headers: &headers, body };
        http_signature::verify(&message, &policy, now(), &ReplayCache::default()).err().map(|refusal| refusal.reason())
    };
    assert_eq!(verify(start, BODY), None);
    assert_eq!(verify(HttpStart::Response { status: StatusCode::CREATED }, BODY), Some("signature-mismatch"));
    assert_eq!(verify(start, b"{}"), Some("digest-mismatch"));
    assert_eq!(verify(start, b""), Some("digest-mismatch"));
}

#[test]
fn every_covered_component_is_bound() {
    assert_eq!(Request::honest().with(|it| it.method = Method::PUT).reason(), "signature-mismatch");
    for uri in [
        "https://registry.test/v1/events?kind=c",
        "https://evil.test/v1/events?kind=a%20b",
        "http://registry.test/v1/events?kind=a%20b",
    ] {
        assert_eq!(Request::honest().with(|it| it.uri = uri.parse().unwrap()).reason(), "signature-mismatch", "{uri}");
    }
    assert_eq!(Request::honest().edited("content-type", |_| "text/plain".into()).reason(), "signature-mismatch");
    assert_eq!(Request::honest().with(|it| it.body = b"{}".to_vec()).reason(), "digest-mismatch");
    let digest = Request::honest().edited("content-digest", |_| "sha-256=:AAAA:".into());
    assert_eq!(digest.reason(), "signature-mismatch");
    let gone = Request::honest().with(|it| drop(it.headers.remove("content-type")));
    assert_eq!(gone.reason(), "component");
    let twice = Request::honest().with(|it| {
        it.headers.append("content-type", HeaderValue::from_static("x"));
    });
    assert_eq!(twice.reason(), "signature-mismatch");
}

#[test]
fn what_the_policy_wants_covered_must_be_covered() {
    let signer = agency_signer("rest");
    for missing in COVERED {
        let components: Vec<_> = COVERED.into_iter().filter(|name| *name != missing).collect();
        let request = Request::signed(&signer, &profile(Algorithm::EcdsaSha256, &components));
        assert_eq!(request.reason(), "not-covered", "{missing}");
    }
    // Even a policy that forgot it does not accept a body that nothing vouches for.
    let request = Request::signed(&signer, &profile(Algorithm::EcdsaSha256, &["@method"]));
    let verified = http_signature::verify(&request.message(), &expecting(&["@method"]), now(), &ReplayCache::default());
    assert_eq!(verified.err().map(|refusal| refusal.reason()), Some("not-covered"));
}

#[test]
fn time_counts_on_both_sides_and_a_request_counts_once() {
    let request = Request::honest();
    assert_eq!(request.reason_at(-60), "accepted");
    assert_eq!(request.reason_at(-61), "from-the-future");
    assert_eq!(request.reason_at(180), "accepted");
    assert_eq!(request.reason_at(181), "stale");
    let (policy, replays) = (expecting(&COVERED), ReplayCache::default());
    assert!(http_signature::verify(&request.message(), &policy, now(), &replays).is_ok());
    let again = http_signature::verify(&request.message(), &policy, now(), &replays).err();
    assert_eq!(again.map(|refusal| refusal.reason()), Some("replayed"));
    // Another request of the same second and content is another message.
    assert!(http_signature::verify(&Request::honest().message(), &policy, now(), &replays).is_ok());
    let timeless = Request::honest().edited("signature-input", |input| input.replace(";created=", ";made="));
    assert_eq!(timeless.reason(), "time-format");
    let text = Request::honest().edited("signature-input", |input| input.replace(";created=", ";created=\"x\";made="));
    assert_eq!(text.reason(), "time-format");
    let longer = Request::honest().edited("signature-input", |input| input.replace(";expires=", ";expires=9"));
    assert_eq!(longer.reason(), "signature-mismatch");
}

#[test]
fn key_and_algorithm_come_from_the_policy() {
    let rogue = Request::signed(&rogue_signer(), &profile(Algorithm::RsaSha256, &COVERED));
    assert_eq!(rogue.reason(), "signature-mismatch");
    let swap = |to: &str| Request::honest().edited("signature-input", |input| input.replace("ecdsa-p256-sha256", to));
    assert_eq!(swap("hmac-sha256").reason(), "algorithm");
    assert_eq!(swap("none").reason(), "algorithm");
    assert_eq!(swap("rsa-v1_5-sha256").reason(), "signature-mismatch");
    let mut narrow = expecting(&COVERED);
    narrow.algorithms = vec![Algorithm::RsaSha256];
    let verified = http_signature::verify(&Request::honest().message(), &narrow, now(), &ReplayCache::default());
    assert_eq!(verified.err().map(|refusal| refusal.reason()), Some("algorithm"));
}

#[test]
fn fields_that_are_malformed_or_ambiguous_are_refused() {
    let input = |edit: fn(&str) -> String| Request::honest().edited("signature-input", edit).reason();
    assert_eq!(input(|_| "(".into()), "format");
    assert_eq!(input(|_| "sig1=5".into()), "signature-count");
    assert_eq!(input(|input| format!("{input}, sig2=()")), "signature-count");
    assert_eq!(input(|input| input.replace("sig1", "sig2")), "format");
    assert_eq!(input(|input| input.replace("\"@method\"", "\"@method\" \"@method\"")), "component");
    assert_eq!(input(|input| input.replace("\"@method\"", "\"@method\" \"@unknown\"")), "component");
    assert_eq!(input(|input| input.replace("\"@method\"", "\"@method\" \"@status\"")), "component");
    assert_eq!(input(|input| input.replace("\"content-type\"", "\"content-type\";bs")), "component");
    assert_eq!(input(|input| input.replace("\"content-type\"", "\"Content-Type\"")), "component");
    let signature = |edit: fn(&str) -> String| Request::honest().edited("signature", edit).reason();
    assert_eq!(signature(|_| "sig1=\"text\"".into()), "format");
    assert_eq!(signature(|_| "sig1=::".into()), "signature-mismatch");
    let gone = |name: &'static str| Request::honest().with(|it| drop(it.headers.remove(name))).reason();
    assert_eq!(gone("signature"), "missing");
    assert_eq!(gone("signature-input"), "missing");
}

#[test]
fn a_component_that_is_not_there_cannot_be_signed() {
    let headers = HeaderMap::new();
    let message = HttpMessage { start: HttpStart::Response { status: StatusCode::OK }, headers: &headers, body: b"" };
    let signer = agency_signer("rest");
    for name in ["content-type", "@method", "@target-uri"] {
        let signed = http_signature::sign(&message, &profile(Algorithm::EcdsaSha256, &[name]), &signer, now());
        assert_eq!(signed, Err(HttpSignatureError::Component), "{name}");
    }
}

#[test]
fn a_refusal_names_the_algorithm_or_key_that_it_found() {
    let told = |from: &str, to: &str| {
        let request = Request::honest().edited("signature-input", |value| {
            assert!(value.contains(from), "{value}");
            value.replace(from, to)
        });
        let verified = http_signature::verify(&request.message(), &expecting(&COVERED), now(), &ReplayCache::default());
        verified.unwrap_err().to_string()
    };
    let algorithm = told("alg=\"ecdsa-p256-sha256\"", "alg=\"hmac-sha256\"");
    assert_eq!(algorithm, "the signature's algorithm is `hmac-sha256`, which is not allowed");
    let serial = format!("keyid=\"{}\"", agency_signer("rest").facts().serial_hex);
    let key = told(&serial, "keyid=\"agency-2\"");
    assert!(key.starts_with("the signature names the key `agency-2`, which is none of the agency's"), "{key}");
}
