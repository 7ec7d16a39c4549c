//! Bytes from outside come in; each target hands them to one of the readers and holds the reader to its promises.
//!
//! The same functions run under libFuzzer (`cargo +nightly fuzz run TARGET`, in `tests/fuzz`), and over the committed
//! corpus and seeded mutants of it in the test program `attacks`.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use punte::{
    adapter::{Filter, Form, Mapped, Template, WireAnswer, leaves},
    broker::{Announcement, WorkItem, rabbitmq::RabbitmqSettings},
    domain::{AgencyName, AttachmentId, OfficeName, ServiceName, SubmissionId, TraceParent},
    json::{self, Rules},
    kit::dev_pki::{self, DevAgency},
    roles::{gateway::fuzz_targets, notifier},
    soap::{
        self, XmlToJson,
        content::{HeadersThatCount, TextKind, open_content},
    },
    trust::{
        Algorithm, AnswerKind, AnswerPolicy, Certificate, ClientTrust, ClientTrustFiles, Identity, ReplayCache,
        SealAsWritten,
        http_signature::{self, HttpMessage, HttpStart},
        jws,
        webhook::WebhookSecret,
        wss,
    },
    xml,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::OnceLock};

pub type Target = fn(&[u8]);

/// Everything that reads what comes from outside.
pub const TARGETS: [(&str, Target); 28] = [
    ("agency_content", agency_content),
    ("agency_json", agency_json),
    ("agency_toml", agency_toml),
    ("announcement", announcement),
    ("broker_url", broker_url),
    ("canonical", canonical),
    ("certificate", certificate),
    ("certificate_files", certificate_files),
    ("configuration", configuration),
    ("filter_input", filter_input),
    ("filter_source", filter_source),
    ("headers", headers),
    ("http_signature", http_signature),
    ("identifiers", identifiers),
    ("jws_compact", jws_compact),
    ("jws_detached", jws_detached),
    ("office_json", office_json),
    ("offices", offices),
    ("postgres_url", postgres_url),
    ("query", query),
    ("reading", reading),
    ("request", request),
    ("retry_after", retry_after),
    ("soap", soap),
    ("template_values", template_values),
    ("webhook_address", webhook_address),
    ("work_item", work_item),
    ("wss", wss_message),
];

/// For the programs in `fuzz_targets/`, which have one target each.
#[allow(dead_code)]
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("the target is listed");
    target(bytes);
}

fn request(bytes: &[u8]) {
    let Ok(value) = json::parse(bytes, Rules::OFFICE) else { return };
    // What two requests have in common does not depend on how they were written.
    let again = serde_json::to_vec_pretty(&value).expect("what was read can be written");
    assert_eq!(fuzz_targets::request_sha256(bytes), fuzz_targets::request_sha256(&again));
}

fn office_json(bytes: &[u8]) {
    let Ok(counted) = json::parse_counted(bytes, Rules::OFFICE) else { return };
    let written = counted.value.to_string();
    let again = json::parse_counted(written.as_bytes(), Rules::OFFICE).expect("what was taken is taken again");
    assert_eq!(again, counted);
    // Nothing was changed silently: a lenient reader sees the same.
    assert_eq!(serde_json::from_slice::<Value>(bytes).expect("it is JSON"), counted.value);
}

/// Compressed, in parts, in any encoding: what is read is bounded, and nothing in it was replaced.
fn agency_content(bytes: &[u8]) {
    const MOST: usize = 1 << 20;
    let (headers, body) =
        bytes.split_at(bytes.windows(2).position(|it| it == b"\n\n").map_or(bytes.len(), |at| at + 2));
    let (headers, body) = (header_map(headers), body.to_vec().into());
    let Ok(content) = open_content(&headers, &body, MOST, HeadersThatCount::ALL) else { return };
    assert!(content.whole.len() <= MOST && content.root().len() <= MOST);
    for kind in [TextKind::Xml, TextKind::Json] {
        match content.text(kind) {
            Ok(read) => {
                assert!(read.text.len() <= 3 * MOST && !read.text.starts_with('\u{FEFF}'));
                // One in the text was one in the bytes, in UTF-8 or UTF-16.
                let is_one = |pair: &[u8]| [[0xBF, 0xBD], [0xFF, 0xFD], [0xFD, 0xFF]].iter().any(|it| it == pair);
                assert!(!read.text.contains('\u{FFFD}') || content.root().windows(2).any(is_one));
            }
            Err(refusal) => assert!(refusal.to_string().len() < 300),
        }
    }
}

fn agency_json(bytes: &[u8]) {
    let Ok(answer) = WireAnswer::from_json(bytes) else { return };
    let again = WireAnswer::from_json(answer.body.to_string().as_bytes()).expect("what was taken is taken again");
    assert!(again == answer);
    leaves(Form::Json, bytes).expect("what was taken has leaves");
}

/// Without the guard, and so with the processing instructions that it refuses.
fn canonical(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    // Deeper, wider and longer texts are the guard's work.
    if text.len() > 20_000 || text.matches('<').count() > 500 || text.contains("<!DOCTYPE") {
        return;
    }
    let Ok(document) = roxmltree::Document::parse(text) else { return };
    for prefixes in [&[][..], &["#default", "s", "p", "xml"]] {
        for element in document.descendants().filter(roxmltree::Node::is_element).take(20) {
            let mut form = Vec::new();
            xml::canonicalize(element, prefixes, &mut form);
            assert!(form.starts_with(b"<") && form.ends_with(b">"));
        }
    }
}

/// The guard, the canonical form, the envelope, and the JSON that filters see.
fn soap(bytes: &[u8]) {
    let Ok(document) = xml::decode(bytes).and_then(xml::parse) else { return };
    let mut once = Vec::new();
    xml::canonicalize(document.root_element(), &[], &mut once);
    let once = String::from_utf8(once).expect("a canonical form is UTF-8");
    let again = roxmltree::Document::parse(&once).expect("a canonical form is well-formed");
    let mut twice = Vec::new();
    xml::canonicalize(again.root_element(), &[], &mut twice);
    assert_eq!(once.as_bytes(), twice, "a canonical form is its own");
    let names = XmlToJson::new(&BTreeMap::from([("a".to_owned(), "urn:demo".to_owned())]), ["a:Row".to_owned()]);
    let as_json = |document: &roxmltree::Document<'_>| names.value(document.root_element());
    assert_eq!(as_json(&document), as_json(&again), "filters see what was signed");
    let _ = leaves(Form::Xml, bytes);
    if let Ok(envelope) = soap::open(&document) {
        let _ = names.children(envelope.body);
        if let Ok(Some(fault)) = soap::read_fault(envelope.body, &names) {
            assert!(!fault.code.contains(':') && !format!("{fault:?}").contains(&fault.text) || fault.text.len() < 20);
        }
    }
}

/// Signed by nobody whom the policy knows: nothing can be accepted.
fn wss_message(bytes: &[u8]) {
    let Ok(document) = xml::decode(bytes).and_then(xml::parse) else { return };
    let verdict = wss::verify(&document, &policy(AnswerKind::Wss), now(), &ReplayCache::default());
    let refusal = verdict.expect_err("a stranger's message was accepted");
    assert!(!refusal.reason().is_empty() && refusal.to_string().len() < 500);
    if let Ok(text) = xml::decode(bytes)
        && let Ok(signed) = wss::sign(text, &seal(), identity(), now())
    {
        let document = xml::parse(&signed).expect("what we sign is well-formed");
        let ours =
            AnswerPolicy::pinned(AnswerKind::Wss, vec![Algorithm::EcdsaSha256], vec![identity().certificate.clone()]);
        // Comments among text are refused wherever they come from.
        match wss::verify(&document, &ours, now(), &ReplayCache::default()) {
            Ok(verified) => assert!(document.get_node(verified.body).is_some()),
            Err(refusal) => assert!(
                ["comment-in-text", "duplicate-id", "envelope-shape", "second-security-header"]
                    .contains(&refusal.reason()),
                "{refusal}"
            ),
        }
    }
}

fn jws_compact(bytes: &[u8]) {
    let Ok(token) = str::from_utf8(bytes) else { return };
    assert!(jws::verify_compact(token, &policy(AnswerKind::JwsCompact), now()).is_err());
}

fn jws_detached(bytes: &[u8]) {
    let (token, payload) = halves(bytes);
    let kind = AnswerKind::JwsDetached { header: "x-jws-signature".into() };
    assert!(jws::verify_detached(&String::from_utf8_lossy(token), payload, &policy(kind), now()).is_err());
}

fn http_signature(bytes: &[u8]) {
    let (head, body) = halves(bytes);
    let headers = header_map(head);
    let kind = AnswerKind::HttpSignature { components: vec!["@status".into(), "content-digest".into()] };
    let uri = http::Uri::from_static("https://office.example/answers?x=1");
    for start in
        [HttpStart::Response { status: StatusCode::OK }, HttpStart::Request { method: &http::Method::POST, uri: &uri }]
    {
        let message = HttpMessage { start, headers: &headers, body };
        assert!(http_signature::verify(&message, &policy(kind.clone()), now(), &ReplayCache::default()).is_err());
    }
}

fn work_item(bytes: &[u8]) {
    if let Ok(item) = WorkItem::from_bytes(bytes) {
        assert_eq!(WorkItem::from_bytes(&item.to_bytes()), Ok(item));
    }
}

fn announcement(bytes: &[u8]) {
    if let Ok(announcement) = serde_json::from_slice::<Announcement>(bytes) {
        let written = serde_json::to_vec(&announcement).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<Announcement>(&written).expect("and read again"), announcement);
        assert!(announcement.topic().is_ascii());
    }
}

/// `punte.toml`, read as at every start.
fn configuration(bytes: &[u8]) {
    in_folder(&[("punte.toml", bytes), ("offices.toml", b"")], |folder| {
        if let Err(faults) = punte::settings::Settings::load(&folder.join("punte.toml")) {
            assert!(!faults.is_empty(), "a refusal says why");
        }
    });
}

fn offices(bytes: &[u8]) {
    in_folder(
        &[("punte.toml", b""), ("offices.toml", bytes), ("secret", b"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")],
        |folder| {
            if let Err(faults) = punte::settings::Settings::load(&folder.join("punte.toml")) {
                assert!(!faults.is_empty(), "a refusal says why");
            }
        },
    );
}

/// The seal's table, and the whole folder of an agency.
fn agency_toml(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(table) = text.parse::<toml::Table>()
        && let Some(seal) = table.get("seal")
        && let Ok(seal) = seal.clone().try_into::<SealAsWritten>()
        && let Err(faults) = seal.check(std::path::Path::new("."))
    {
        assert!(!faults.is_empty(), "a refusal says why");
    }
    in_folder(&[("desk/agency.toml", bytes)], |folder| {
        let (mut faults, catalogue) =
            (punte::settings::ConfigFaults::default(), punte::catalogue::Catalogue::default());
        let adapters = punte::adapter::load_adapters(folder, &catalogue, &BTreeMap::new(), &mut faults);
        // Without services, nothing that it says can be served.
        assert!(adapters.iter().next().is_none() || faults.is_empty());
    });
}

fn template_values(bytes: &[u8]) {
    static TEMPLATES: OnceLock<[Template; 2]> = OnceLock::new();
    let [xml_template, json_template] = TEMPLATES.get_or_init(|| {
        let xml = "<r a=\"{{ r.a | opt }}\"><b>{{ r.b }}</b>{% for x in r.list %}<x>{{ x }}</x>{% endfor %}</r>";
        let json = "{\"a\": {{ r.a | opt }}, \"b\": {{ r.b }}, \"list\": [{% for x in r.list %}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}]}";
        [Template::compile(xml.into(), Form::Xml).unwrap(), Template::compile(json.into(), Form::Json).unwrap()]
    });
    // Any bytes are a value: what is no JSON is a text.
    let value = json::parse(bytes, Rules::OFFICE).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into());
    let field = |name: &str| value.get(name).cloned().unwrap_or_else(|| value.clone());
    let input = json!({"r": {"a": field("a"), "b": field("b"), "list": [field("c"), "</x><evil/>"]}});
    if let Ok(text) = xml_template.render(&input) {
        let text = String::from_utf8(text).expect("templates make text");
        let document = roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let names: Vec<_> =
            document.descendants().filter(|node| node.is_element()).map(|node| node.tag_name().name()).collect();
        assert_eq!(names, ["r", "b", "x", "x"], "a value became an element");
        assert_eq!(document.root_element().attributes().len(), 1, "a value became an attribute");
    }
    if let Ok(text) = json_template.render(&input) {
        let made: Value = serde_json::from_slice(&text).expect("templates make JSON");
        assert_eq!(made.as_object().map(serde_json::Map::len), Some(3), "a value became a member");
    }
}

fn filter_input(bytes: &[u8]) {
    static FILTER: OnceLock<Filter> = OnceLock::new();
    let source = "if .body.a then {answer: {a: .body.a, n: (.body.b? // [] | length), t: (.body | tojson | length)}, reference: (.body.r // null)} \
        elif .status == 404 then {refused: {code: \"x\", text: (.body | tostring)}} else null end";
    let filter = FILTER.get_or_init(|| Filter::compile(source.into()).unwrap());
    let Ok(value) = json::parse(bytes, Rules::AGENCY) else { return };
    for status in [200, 404] {
        match filter.run(&json!({"status": status, "body": value})) {
            Ok(given) => drop(Mapped::from_json(given)),
            Err(problem) => assert!(problem.len() < 500, "an error does not quote its input"),
        }
    }
}

/// Filters are an integrator's, and yet a mistake in one must end nothing.
fn filter_source(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if text.len() < 2000 {
        let _ = Filter::compile(text.to_owned());
    }
}

fn reading(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    if let Ok(reading) = Mapped::from_json(Some(value)) {
        let again = Mapped::from_json(Some(reading.to_json())).expect("what was read can be read again");
        assert!(again == reading);
    }
}

fn query(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let pairs: Vec<_> = text
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if let Err((name, problem)) = fuzz_targets::filter_of(&pairs) {
        assert!(name.chars().count() <= 64 && problem.len() < 200, "a refusal does not quote at length");
    }
    if let Some(id) = fuzz_targets::submission_of(&text) {
        assert_eq!(fuzz_targets::submission_of(&fuzz_targets::cursor(id)), Some(id));
    }
}

fn identifiers(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(id) = text.parse::<SubmissionId>() {
        assert_eq!(id.to_string().parse::<SubmissionId>(), Ok(id));
    }
    if let Ok(id) = text.parse::<AttachmentId>() {
        assert_eq!(id.to_string().parse::<AttachmentId>(), Ok(id));
    }
    let is_safe = |name: &str| name.len() <= 64 && !name.contains(['/', '.', '\0', '"', '\n', ' ']);
    assert!(text.parse::<OfficeName>().is_ok_and(|name| !is_safe(name.as_str())).eq(&false));
    assert!(text.parse::<AgencyName>().is_ok_and(|name| !is_safe(name.as_str())).eq(&false));
    assert!(text.parse::<ServiceName>().is_ok_and(|name| !is_safe(name.as_str())).eq(&false));
    if let Some(trace) = TraceParent::parse(&text) {
        assert_eq!(TraceParent::parse(&trace.to_string()), Some(trace));
        assert_eq!(TraceParent::taken_up(Some(&text)).trace_id(), trace.trace_id());
    }
    if let Ok(secret) = text.parse::<WebhookSecret>() {
        assert!(!format!("{secret:?}").contains(text.trim_start_matches("whsec_")), "a secret never prints");
    }
}

fn headers(bytes: &[u8]) {
    let headers = header_map(bytes);
    if let Ok(key) = fuzz_targets::idempotency_key(&headers) {
        assert!((1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    assert!(fuzz_targets::preferred_wait(&headers).ok().flatten().is_none_or(|wait| wait.as_secs() <= 60));
    assert!(fuzz_targets::media_type(&headers).is_none_or(|media_type| !media_type.contains(';')));
    assert!(fuzz_targets::content_sha256(&headers).ok().flatten().is_none_or(|digest| digest.len() == 32));
    if let Some(name) = fuzz_targets::file_name(&headers) {
        let is_wild = |character: char| character.is_control() || matches!(character, '/' | '\\');
        assert!(!name.contains(is_wild) && !name.is_empty() && name != "." && name != "..", "{name:?}");
    }
}

fn retry_after(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let _ = punte::http_client::retry_after(&value, now());
    let _ = punte::http_client::retry_after(&value, Timestamp::MIN);
    let _ = punte::http_client::retry_after(&value, Timestamp::MAX);
}

fn webhook_address(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(url) = reqwest::Url::parse(&text) else { return };
    let Some(host) = url.host_str() else { return };
    let is_allowed = notifier::check_host(host).is_ok();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        assert_eq!(is_allowed, notifier::is_public(address), "{host}");
    }
}

fn certificate(bytes: &[u8]) {
    if let Ok(certificate) = Certificate::from_der(bytes) {
        let facts = &certificate.facts;
        assert!(!facts.is_valid_at(Timestamp::MIN) || !facts.is_valid_at(Timestamp::MAX));
        let _ = (facts.may_sign(), facts.ends_soon(now()));
    }
}

/// PEM and DER, as authorities, revocation lists, keys and pinned certificates.
fn certificate_files(bytes: &[u8]) {
    in_folder(&[("file", bytes)], |folder| {
        let file = folder.join("file");
        let authorities = vec![file.clone()];
        let _ =
            ClientTrust::load(&ClientTrustFiles { authorities: authorities.clone(), revocation_lists: vec![] }, now());
        let _ = ClientTrust::load(&ClientTrustFiles { authorities: vec![], revocation_lists: authorities }, now());
        let _ = Identity::load(&file, &file, now());
    });
}

fn broker_url(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some((problem, remedy)) = punte::settings::broker_uri_fault(&text) {
        assert!(problem.len() + remedy.len() < 1000);
    }
    if let Err(error) = RabbitmqSettings::new(text.as_ref()).check() {
        assert!(error.to_string().len() < 1000);
    }
}

fn postgres_url(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let secret = text.split_once("://").and_then(|(_, rest)| rest.split_once('@')).map_or("", |(secret, _)| secret);
    let quotes = |text: &str| fuzz_targets::postgres_url(text).is_err_and(|error| error.to_string().contains(secret));
    // What is said of an address without it, too, are our own words.
    if secret.len() >= 8 && quotes(&text) {
        assert!(quotes(&text.replace(secret, "")), "an error does not quote a password");
    }
}

fn now() -> Timestamp {
    static NOW: OnceLock<Timestamp> = OnceLock::new();
    *NOW.get_or_init(Timestamp::now)
}

/// Keys that nobody has seen.
fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let agency = DevAgency { name: "desk".into(), signing: Algorithm::EcdsaSha256 };
        let pki = dev_pki::make(folder.path(), &[agency], now()).unwrap();
        let stem = pki.simulator("desk", "signing");
        Identity::load(&stem.with_extension("pem"), &stem.with_extension("key"), now()).unwrap()
    })
}

fn policy(kind: AnswerKind) -> AnswerPolicy {
    AnswerPolicy::pinned(kind, vec![Algorithm::EcdsaSha256, Algorithm::RsaSha256], vec![identity().certificate.clone()])
}

fn seal() -> punte::trust::WssProfile {
    punte::trust::WssProfile {
        algorithm: Algorithm::EcdsaSha256,
        ttl: jiff::SignedDuration::from_secs(60),
        sign_headers: Vec::new(),
        must_understand: true,
        sign_token: true,
    }
}

/// What stands before the first empty line, and what behind it.
fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.windows(2).position(|window| window == b"\n\n") {
        Some(at) => (&bytes[..at], &bytes[at + 2..]),
        None => (bytes, b""),
    }
}

fn header_map(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(50) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    headers
}

fn in_folder(files: &[(&str, &[u8])], work: impl FnOnce(&std::path::Path)) {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    work(folder.path());
}
