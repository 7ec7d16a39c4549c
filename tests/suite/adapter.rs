//! The agencies of this repository prove their own examples; every kind of broken agency is told with file, key and remedy.

use crate::environment::{copy, services_of_small_attachments};
use punte::{
    adapter::{Adapters, DeclaredMoment, InterpretError, NotHandled, WireAnswer, load_adapters},
    catalogue::Catalogue,
    settings::{AgencySettings, ConfigFaults, ScheduleChanges},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

fn repository(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(part)
}

fn load(folder: &Path, places: &BTreeMap<punte::domain::AgencyName, AgencySettings>) -> (Adapters, ConfigFaults) {
    let mut faults = ConfigFaults::default();
    let catalogue = Catalogue::load(&repository("schemas/services"), &mut faults);
    let adapters = load_adapters(folder, &catalogue, places, &mut faults);
    (adapters, faults)
}

#[test]
fn all_agencies_of_the_repository_load_and_prove_their_examples() {
    let (adapters, faults) = load(&repository("adapters"), &BTreeMap::new());
    assert!(faults.is_empty(), "{faults}");
    let mut operations = 0;
    for adapter in adapters.iter() {
        for operation in adapter.operations.values() {
            assert!(operation.examples.len() >= 3, "{} has few examples", operation.service);
            operations += 1;
        }
    }
    assert_eq!(operations, 3);
}

/// A copy of the repository's agencies that a test may break.
struct Broken {
    folder: tempfile::TempDir,
}

impl Broken {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(&repository("adapters"), folder.path());
        Self { folder }
    }

    fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        fs::create_dir_all(self.file(path).parent().unwrap()).unwrap();
        fs::write(self.file(path), text).unwrap();
        self
    }

    fn edit(&self, path: &str, from: &str, to: &str) -> &Self {
        let text = fs::read_to_string(self.file(path)).unwrap();
        assert!(text.contains(from), "{path} has no `{from}`");
        self.write(path, &text.replacen(from, to, 1))
    }

    fn remove(&self, path: &str) -> &Self {
        let path = self.file(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        self
    }

    /// There is a fault of this file (its path's end), this key and this problem, and it says what to do.
    fn has(&self, file: &str, key: &str, problem: &str) {
        let (_, faults) = load(self.folder.path(), &BTreeMap::new());
        let found = faults.0.iter().find(|it| it.file.ends_with(file) && it.key == key && it.problem.contains(problem));
        let found = found.unwrap_or_else(|| panic!("no `{file}: {key}: {problem}` among:\n{faults}"));
        assert!(!found.remedy.is_empty(), "{found}");
    }
}

#[test]
fn an_example_about_whom_the_service_does_not_take_is_told() {
    let broken = Broken::new();
    let request = format!("{EXTRACT}/examples/birth/request.json");
    let known = "\"scheme\": \"personal-number\"";
    broken.edit(&request, known, "\"scheme\": \"passport\"");
    broken.has(&request, "subject.scheme", "idnp");
    let broken = Broken::new();
    broken.edit(&request, "\"id\": \"2000000000001\"", "\"id\": \"20000canary\"");
    broken.has(&request, "subject.id", "[0-9]{13}");
}

#[test]
fn a_service_that_does_not_say_whom_it_takes_is_warned_of_and_a_bad_rule_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    copy(&repository("schemas/services"), folder.path());
    let about = folder.path().join("person-lookup/service.toml");
    let told = |section: &str| {
        let text = fs::read_to_string(repository("schemas/services/person-lookup/service.toml")).unwrap();
        fs::write(&about, format!("{}{section}", text.split("[subject]").next().unwrap())).unwrap();
        let mut faults = ConfigFaults::default();
        (Catalogue::load(folder.path(), &mut faults).warnings(), faults.to_string())
    };
    let (warnings, faults) = told("");
    assert!(faults.is_empty() && warnings.len() == 1, "{faults}{warnings:?}");
    assert!(warnings[0].contains("service person-lookup") && warnings[0].contains("[subject]"), "{warnings:?}");
    let (warnings, faults) = told("[subject]\nidnp = '[0-9]{13}'\n");
    assert!(faults.is_empty() && warnings.is_empty(), "{faults}{warnings:?}");
    for (section, words) in [
        ("[subject]\n", "names no scheme"),
        ("[subject]\nidnp = '[0-9'\n", "subject.idnp"),
        ("[subject]\nidnp = 13\n", "subject"),
        ("[subjects]\nidnp = '[0-9]{13}'\n", "subjects"),
    ] {
        let (_, faults) = told(section);
        assert!(faults.contains(words) && faults.contains("service.toml"), "{section}: {faults}");
    }
}

const REGISTRY: &str = "civil-registry/agency.toml";
const EVENTS: &str = "legal-events/agency.toml";
const EXTRACT: &str = "civil-registry/civil-status-extract";

#[test]
fn faults_of_an_agency_s_own_values_are_told() {
    for (from, to, key, problem) in [
        ("title = \"Civil registry\"", "", "title", "is missing"),
        ("protocol = \"soap-1.1\"", "protocol = \"fax\"", "protocol", "unknown variant"),
        ("https://civil-registry", "http://civil-registry", "endpoint", "no https address"),
        ("https://civil-registry", "https://me:secret@civil-registry", "endpoint", "no https address"),
        ("concurrency = 8", "concurrency = 0", "limits.concurrency", "out of range"),
        ("concurrency = 8", "concurency = 8", "limits.concurency", "unknown field"),
        ("requests_per_second = 50", "requests_per_second = 0", "limits.requests_per_second", "is 0"),
        ("connect_timeout_secs = 5", "connect_timeout_secs = -5", "limits.connect_timeout_secs", "out of range"),
        ("answer_max_bytes = 1048576", "answer_max_bytes = 1", "limits.answer_max_bytes", "out of range"),
        ("first_wait_secs = 2", "first_wait_secs = 0", "retry.first_wait_secs", "out of range"),
        ("failures = 5", "failures = 0", "breaker.failures", "is 0"),
        ("cooldown_secs = 15", "cooldown_secs = nan", "breaker.cooldown_secs", "out of range"),
        ("kind = \"wss\"", "kind = \"jws-compact\"", "seal.kind", "does not go with soap-1.1"),
        ("ttl_secs = 300", "ttl_secs = 0", "seal.ttl_secs", "between 1 and 3600"),
        ("algorithms = [\"rsa-sha256\"]", "algorithms = []", "seal.answer.algorithms", "no algorithm"),
        ("[breaker]", "[braker]", "braker", "is not known here"),
        (
            "effect = \"read\"",
            "effect = \"maybe\"",
            "operations.person-lookup.effect",
            "`read`, `idempotent`, `lookup`",
        ),
        ("deadline_secs = 3600", "deadline_secs = 0", "operations.person-lookup.deadline_secs", "out of range"),
        ("timeout_secs = 20", "timeout_secs = 100000", "operations.person-lookup.timeout_secs", "out of range"),
        (
            "soap_action = \"",
            "soap_action = \"\\u0007",
            "operations.person-lookup.soap_action",
            "cannot stand in a header",
        ),
        ("timeout_secs = 20", "method = \"GET\"", "operations.person-lookup.method", "is not possible"),
        (
            "timeout_secs = 20",
            "lookup = { path = \"/x\" }",
            "operations.person-lookup.lookup",
            "only for the effect lookup",
        ),
    ] {
        Broken::new().edit(REGISTRY, from, to).has(REGISTRY, key, problem);
    }
}

#[test]
fn nothing_but_our_reference_may_stand_in_an_address() {
    let key = "operations.legal-event.lookup.path";
    let broken = Broken::new();
    broken.edit(EVENTS, "event_id={reference}", "subject={subject.id}").has(EVENTS, key, "other than {reference}");
}

#[test]
fn an_answer_that_nothing_binds_to_its_request_is_told() {
    let key = "operations.person-lookup.correlates";
    let with = |line: &str| format!("timeout_secs = 20\n{line}");
    for line in ["correlates = false", "correlates = { cannot = \" \" }"] {
        Broken::new().edit(REGISTRY, "timeout_secs = 20", &with(line)).has(REGISTRY, key, "no reason is given");
    }
    let wrong = Broken::new();
    wrong.edit(REGISTRY, "timeout_secs = 20", &with("correlates = { because = \"x\" }"));
    wrong.has(REGISTRY, key, "write true, or { cannot = \"the reason\" }");
    let unbound = || {
        let broken = Broken::new();
        broken.edit("civil-registry/person-lookup/answer.jq", "subject: .[\"cr:PersonalNumber\"], ", "");
        for example in ["found-with-address", "deceased"] {
            let file = format!("civil-registry/person-lookup/examples/{example}/answer.json");
            let text = fs::read_to_string(broken.file(&file)).unwrap();
            broken.write(&file, &format!("{}\n}}\n", text.rsplit_once(",").unwrap().0));
        }
        broken
    };
    let example = "person-lookup/examples/deceased/answer.json";
    unbound().has(example, "", "names no reference, and nothing else binds it");
    let broken = unbound();
    broken.edit(REGISTRY, "timeout_secs = 20", &with("correlates = { cannot = \"no field\" }"));
    let (adapters, faults) = load(broken.folder.path(), &BTreeMap::new());
    assert!(faults.is_empty(), "{faults}");
    let warnings = adapters.agency(&"civil-registry".parse().unwrap()).unwrap().warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("person-lookup") && warnings[0].contains("no field"));
}

#[test]
fn a_filter_that_gives_our_own_reference_as_the_agencys_is_told() {
    let broken = Broken::new();
    broken.edit(&format!("{EXTRACT}/answer.jq"), "if .fault then of_fault", ". as $all | if .fault then of_fault");
    broken.edit(&format!("{EXTRACT}/answer.jq"), "reference: .[\"cr:RequestId\"]", "reference: $all.reference");
    broken.has("civil-status-extract/examples/birth/answer.json", "", "gives our own reference in the place");
}

#[test]
fn a_filter_that_gives_our_own_reference_where_the_agency_names_none_is_found_out_when_it_runs() {
    let parroting = Broken::new();
    let filter = "legal-events/legal-event/answer.jq";
    parroting.edit(
        filter,
        "{reference: .body.event_id, answer:",
        "{reference: (.body.event_id // .reference), answer:",
    );
    let (adapters, faults) = load(parroting.folder.path(), &BTreeMap::new());
    assert!(faults.is_empty(), "no example shows it: {faults}");
    let adapter = adapters.agency(&"legal-events".parse().unwrap()).unwrap();
    let operation = adapter.operations.values().next().unwrap();
    let ours = uuid::Uuid::now_v7().to_string();
    let read = |named: serde_json::Value| {
        let body = serde_json::json!({"uid": "1", "registered_at": "2026-03-02T08:30:01Z", "event_id": named});
        operation.request.interpret(&WireAnswer::of_body(body), &ours)
    };
    assert_eq!(read(ours.as_str().into()).unwrap().correlation.reference.as_ref(), Some(&ours));
    assert_eq!(read("another".into()).unwrap().correlation.reference.as_deref(), Some("another"));
    let file = "legal-event/answer.jq".to_owned();
    assert_eq!(read(serde_json::Value::Null).unwrap_err(), InterpretError::GivesBack { file });
}

#[test]
fn never_seen_must_name_our_reference_whatever_the_folder_says() {
    let broken = Broken::new();
    let example = "legal-events/legal-event/examples/refused-legal-basis";
    broken.edit(
        "legal-events/legal-event/lookup.jq",
        "{not_seen: true, reference: .body.event_id}",
        "{not_seen: true}",
    );
    broken.write(&format!("{example}/lookup.json"), "{\"not_seen\": true}");
    broken.edit(EVENTS, "timeout_secs = 20", "timeout_secs = 20\ncorrelates = { cannot = \"no field\" }");
    broken.has("refused-legal-basis/lookup.json", "", "nothing else binds it");
}

#[test]
fn a_filter_that_lets_decide_what_is_not_signed_is_told() {
    let filter = "legal-events/legal-event/answer.jq";
    let edited = |to: &str| {
        let broken = Broken::new();
        broken.edit(filter, "if .body.uid then", to);
        broken
    };
    edited("if .status == 200 and .body.uid then").has(filter, "", "lets `.status` decide");
    edited("if .unsigned.status == 200 and .body.uid then").has(filter, "", "lets `.unsigned` decide");
    edited(". as {unsigned: $u} | if $u.status == 200 and .body.uid then").has(filter, "", "lets `.unsigned` decide");
    // What its text does not show, it shows when it runs.
    let hidden = "{text: .unsigned.status} as $x | if $x.text == 200 and .body.uid then";
    edited(hidden).has("registered/answer.json", "", "lets decide what the agency has not signed");
    let told = Broken::new();
    told.edit(filter, "\"The log is not available and has registered nothing.\"", "\"status \\(.unsigned.status)\"");
    told.edit(
        "legal-events/legal-event/examples/maintenance/answer.json",
        "The log is not available and has registered nothing.",
        "status 503",
    );
    let (_, faults) = load(told.folder.path(), &BTreeMap::new());
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn a_status_or_moment_says_not_handled_only_where_nothing_is_signed_and_only_if_it_can_mean_it() {
    let problem = "the agency signs its answers";
    let of_agency = "title = \"Civil registry\"";
    Broken::new().edit(REGISTRY, of_agency, &format!("{of_agency}\nnot_handled = [503]")).has(
        REGISTRY,
        "not_handled",
        problem,
    );
    Broken::new().edit(REGISTRY, of_agency, &format!("{of_agency}\nnot_handled = [\"certificate-alert\"]")).has(
        REGISTRY,
        "not_handled",
        problem,
    );
    let of_operation = "timeout_secs = 20\nnot_handled = [429]";
    Broken::new().edit(REGISTRY, "timeout_secs = 20", of_operation).has(
        REGISTRY,
        "operations.person-lookup.not_handled",
        problem,
    );
    let with = |statuses: &str| {
        let broken = Broken::new();
        let text = fs::read_to_string(broken.file(REGISTRY)).unwrap();
        let (head, tail) = text.split_once("[seal.answer]").unwrap();
        let (_, operations) = tail.split_once("[operations.person-lookup]").unwrap();
        let operations = format!("[operations.person-lookup]\nnot_handled = [404]{operations}");
        broken
            .write(REGISTRY, &format!("not_handled = {statuses}\n{head}[seal.answer]\nkind = \"none\"\n{operations}"));
        broken
    };
    with("[200]").has(REGISTRY, "not_handled", "200 says no such thing");
    with("[70000]").has(REGISTRY, "not_handled", "70000 says no such thing");
    for word in ["goaway", "refused-stream", "reset", "Certificate-Alert"] {
        with(&format!("[503, {word:?}]")).has(REGISTRY, "not_handled", &format!("{word:?} says no such thing"));
    }
    let (adapters, faults) = load(with("[429, 503, \"certificate-alert\"]").folder.path(), &BTreeMap::new());
    assert!(faults.is_empty(), "{faults}");
    let operations = &adapters.agency(&"civil-registry".parse().unwrap()).unwrap().operations;
    let of = |service: &str| operations[&service.parse().unwrap()].not_handled.clone();
    let (own, inherited) = (of("person-lookup"), of("civil-status-extract"));
    let has = |declared: &NotHandled| {
        let statuses: Vec<_> = (0..=999).filter(|status| declared.has_status(*status)).collect();
        (statuses, declared.has_moment(DeclaredMoment::CertificateAlert))
    };
    assert_eq!((has(&own), has(&inherited)), ((vec![404], false), (vec![429, 503], true)));
}

#[test]
fn headers_of_an_answer_are_read_and_told_apart_by_what_signs_them() {
    let (adapters, faults) = load(&repository("tests/adapters"), &BTreeMap::new());
    assert!(faults.is_empty(), "{faults}");
    assert_eq!(adapters.iter().count(), 3);
    let broken = Broken::new();
    let filter = "legal-events/legal-event/answer.jq";
    broken.edit(filter, "reference: .body.event_id, answer:", "reference: .headers[\"x-event\"], answer:");
    broken.edit(EVENTS, "kind = \"jws-detached\"\nheader = \"x-jws-signature\"\nalgorithms = [\"rsa-sha256\"]\ncertificates = [\"answer-signing.pem\"]", "kind = \"none\"");
    let example = |name: &str| format!("legal-events/legal-event/examples/{name}/wire-answer.headers.json");
    broken.has("registered/answer.json", "", "reads another thing: /reference");
    broken.write(&example("registered"), "{\"X-Event\": \"01990000-0000-7000-8000-000000000011\"}");
    broken.write(&example("registered-with-hostile-text"), "{\"x-event\": \"01990000-0000-7000-8000-000000000012\"}");
    let (_, faults) = load(broken.folder.path(), &BTreeMap::new());
    assert!(faults.is_empty(), "{faults}");
    broken.write(&example("registered"), "{\"x event\": \"\"}");
    broken.has("wire-answer.headers.json", "x event", "cannot be an HTTP header");
}

#[test]
fn a_signature_that_a_question_cannot_bear_is_told() {
    let broken = Broken::new();
    broken.edit(EVENTS, "kind = \"jws-compact\"", "kind = \"http-signature\"");
    broken.has(EVENTS, "seal.components", "a request without a body has none");
}

#[test]
fn faults_of_operations_and_their_files_are_told() {
    let broken = Broken::new;
    broken().remove("legal-events/agency.toml").has(EVENTS, "", "cannot be read");
    broken().write("UPPER/agency.toml", "").has("UPPER", "", "not a valid name");
    broken().edit(EVENTS, "effect = \"lookup\"", "effect = \"once\"").has(
        EVENTS,
        "operations.legal-event.lookup",
        "only for",
    );
    broken().edit(EVENTS, "lookup = {", "# ").has(EVENTS, "operations.legal-event.lookup", "is missing");
    broken().remove("legal-events/legal-event/lookup.jq").has("legal-event/lookup.jq", "", "cannot be read");
    broken().remove(EXTRACT).has(EXTRACT, "", "is missing");
    broken().write("civil-registry/more/answer.jq", ".").has("civil-registry/more", "", "folder of no operation");
    broken().write("civil-registry/notes.txt", "").has("civil-registry/notes.txt", "", "is not used");
    let folder = |file: &str| format!("{EXTRACT}/{file}");
    broken().write(&folder("answer.py"), "").has(&folder("answer.py"), "", "is not used");
    broken().write(&folder("lookup.jq"), ".").has(&folder("lookup.jq"), "", "only for the effect lookup");
    broken().remove(&folder("request.xml")).has(&folder("request.xml"), "", "is missing");
    broken().remove(&folder("answer.jq")).has(&folder("answer.jq"), "", "cannot be read");
    broken().write(&folder("answer.jq"), "halt").has(&folder("answer.jq"), "", "uses an undefined name: `halt`");
    broken().write(&folder("request.xml"), "{{ a").has(&folder("request.xml"), "", "line 1");
    broken().write(&folder("contract.xsd"), "<x>").has(&folder("contract.xsd"), "", "no usable XML Schema");
    broken().write(&folder("other.xsd"), "<x/>").has(EXTRACT, "*.xsd", "which schema is the first");
    let two = Broken::new();
    two.write("legal-events/legal-event/request.xml", "<x/>").has("legal-event/request.xml", "", "two templates");
}

#[test]
fn an_operation_without_a_service_and_a_service_with_two_agencies_are_told() {
    let broken = Broken::new();
    fs::rename(broken.file("legal-events/legal-event"), broken.file("legal-events/no-such-service")).unwrap();
    broken.edit(EVENTS, "[operations.legal-event]", "[operations.no-such-service]");
    broken.has(EVENTS, "operations.no-such-service", "no such service");
    let broken = Broken::new();
    copy(&broken.file("legal-events"), &broken.file("other-events"));
    broken.has(
        "other-events/agency.toml",
        "operations.legal-event",
        "the agency legal-events does this service already",
    );
}

#[test]
fn an_adapter_that_breaks_its_own_examples_does_not_start() {
    let broken = Broken::new;
    let example = |file: &str| format!("{EXTRACT}/examples/birth/{file}");
    let request = format!("{EXTRACT}/request.xml");
    broken().edit(&request, "{{ data.language }}", "ro").has(
        "marriage-with-hostile-note/wire-request.xml",
        "",
        "the template makes another message: the text at",
    );
    broken().edit(&request, "<cr:Language>", "<cr:Tongue>").has(&example("request.json"), "", "is not well-formed");
    broken().edit(&request, "|upper", "").has(&example("request.json"), "", "does not fit the agency's contract");
    broken().edit(&request, "data.act", "data.deed").has(&example("request.json"), "", "line 13");
    broken().edit(&example("request.json"), "\"birth\"", "\"rebirth\"").has(&example("request.json"), "data.act", "");
    broken().edit(&example("request.json"), "\"data\"", "\"date\"").has(&example("request.json"), "", "unknown field");
    broken().edit(&example("answer.json"), "BE-2026", "BE-2027").has(
        &example("answer.json"),
        "",
        "reads another thing",
    );
    broken().edit(&example("answer.json"), "\"answer\"", "\"reply\"").has(
        &example("answer.json"),
        "",
        "must be null or",
    );
    broken().edit(&example("wire-answer.xml"), "</soap:Body>", "").has(
        &example("wire-answer.xml"),
        "",
        "not well-formed",
    );
    broken().remove(&example("wire-answer.xml")).has(&example("wire-answer.xml"), "", "is missing");
    broken().write(&example("wire-answer.txt"), "").has(&example("wire-answer.txt"), "", "is not used");
    broken().edit(&format!("{EXTRACT}/answer.jq"), "reference: .[\"cr:RequestId\"],", "").has(
        &example("answer.json"),
        "",
        "reads another thing: /reference",
    );
    broken().remove(&format!("{EXTRACT}/examples")).has(
        &format!("{EXTRACT}/examples"),
        "",
        "no example shows a good answer",
    );
    broken().edit(REGISTRY, "\"CallReason\"", "\"CallRecord\"").has(
        &example("wire-request.xml"),
        "",
        "is to be signed",
    );
    let lookup = "legal-events/legal-event/examples/registered/lookup.json";
    broken().edit(lookup, "7d1f9a52", "8d1f9a52").has(lookup, "", "reads another thing");
}

#[test]
fn faults_of_many_agencies_are_all_told_and_none_of_them_is_used() {
    let broken = Broken::new();
    broken.edit(REGISTRY, "failures = 5", "failures = 0").edit(EVENTS, "failures = 5", "failures = 0");
    let (adapters, faults) = load(broken.folder.path(), &BTreeMap::new());
    assert_eq!(faults.0.iter().filter(|fault| fault.key == "breaker.failures").count(), 2, "{faults}");
    assert_eq!(adapters.iter().count(), 0);
}

#[test]
fn an_installation_may_name_another_address_but_no_other_agency() {
    let place = |endpoint: &str| AgencySettings { endpoint: Some(endpoint.to_owned()), ..AgencySettings::default() };
    let places = BTreeMap::from([("legal-events".parse().unwrap(), place("https://127.0.0.1:4443/api"))]);
    let (adapters, faults) = load(&repository("adapters"), &places);
    assert!(faults.is_empty(), "{faults}");
    let adapter = adapters.agency(&"legal-events".parse().unwrap()).unwrap();
    assert_eq!(adapter.endpoint.as_str(), "https://127.0.0.1:4443/api");
    let places = BTreeMap::from([
        ("legal-events".parse().unwrap(), place("http://127.0.0.1/")),
        ("nobody".parse().unwrap(), place("https://127.0.0.1/")),
    ]);
    let (_, faults) = load(&repository("adapters"), &places);
    assert_eq!(faults.0.len(), 1, "{faults}");
}

#[test]
fn an_installation_changes_single_keys_of_a_schedule_and_a_fault_names_the_file_that_has_brought_it() {
    let agency: punte::domain::AgencyName = "civil-registry".parse().unwrap();
    let loaded = |folder: &Path, retry: ScheduleChanges| {
        let place = AgencySettings { file: "punte.toml".into(), retry, ..AgencySettings::default() };
        load(folder, &BTreeMap::from([(agency.clone(), place)]))
    };
    // The agency's own: 2 to 600 s, factor 2, jitter 0.2, 8 tries, a Retry-After up to 900 s.
    let changes = ScheduleChanges { max_attempts: Some(20), jitter: Some(0.0), ..ScheduleChanges::default() };
    let (adapters, faults) = loaded(&repository("adapters"), changes);
    assert!(faults.is_empty(), "{faults}");
    let schedule = adapters.agency(&agency).unwrap().schedule;
    let secs = |secs| Some(Duration::from_secs(secs));
    assert_eq!((schedule.max_attempts(), schedule.wait_after(1, None)), (20, secs(2)));
    assert_eq!((schedule.wait_after(19, None), schedule.wait_after(1, secs(5000))), (secs(600), secs(900)));
    // 1 s is less than the agency's own first wait.
    let changes = ScheduleChanges { max_wait_secs: Some(1.0), ..ScheduleChanges::default() };
    let (_, faults) = loaded(&repository("adapters"), changes);
    let told: Vec<_> = faults.0.iter().map(|it| (it.file.as_path(), it.key.as_str())).collect();
    let key = "agencies.civil-registry.retry.first_wait_secs";
    assert_eq!(told, [(Path::new("punte.toml"), key)], "{faults}");
    let broken = Broken::new();
    broken.edit(REGISTRY, "max_attempts = 8", "max_attempts = 0");
    let changes = ScheduleChanges { max_attempts: Some(8), ..ScheduleChanges::default() };
    let (_, faults) = loaded(broken.folder.path(), changes);
    let told: Vec<_> = faults.0.iter().map(|it| (it.file.as_path(), it.key.as_str())).collect();
    assert_eq!(told, [(broken.file(REGISTRY).as_path(), "retry.max_attempts")], "{faults}");
}

#[test]
fn no_fault_quotes_a_person_s_number() {
    let broken = Broken::new();
    let request = format!("{EXTRACT}/request.xml");
    broken.edit(&request, "<cr:PersonalNumber>{{ subject.id }}", "<cr:PersonalNumber>{{ subject.id }}x");
    let (_, faults) = load(broken.folder.path(), &BTreeMap::new());
    assert!(faults.to_string().contains("does not match pattern"), "{faults}");
    assert!(!faults.to_string().contains("2000000000001"), "{faults}");
}

#[test]
fn attachments_reach_the_template_with_their_digest_and_content() {
    let changed = Broken::new();
    let example = "legal-events/legal-event/examples/registered";
    changed.edit(
        "legal-events/legal-event/request.json",
        "\"subject_type\"",
        "\"files\": [{% for file in attachments %}{{ file }}{% if not loop.last %}, {% endif %}{% endfor %}],\n  \"subject_type\"",
    );
    let attachment = r#""attachments": [{"name": "a \"b\".txt", "media_type": "text/plain", "text": "hello"}], "data""#;
    changed.edit(&format!("{example}/request.json"), "\"data\"", attachment);
    let file = r#"{"name": "a \"b\".txt", "media_type": "text/plain", "size_bytes": 5, "base64": "aGVsbG8=",
        "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}"#;
    let document =
        r#"{"name": "a \"b\".txt", "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}"#;
    let wire = format!("\"documents\": [{document}], \"files\": [{file}], \"subject_type\"");
    changed.edit(&format!("{example}/wire-request.json"), "\"subject_type\"", &wire);
    for other in ["registered-with-hostile-text", "refused-legal-basis", "maintenance"] {
        let wire = format!("legal-events/legal-event/examples/{other}/wire-request.json");
        changed.edit(&wire, "\"subject_type\"", "\"files\": [], \"subject_type\"");
    }
    let services = services_of_small_attachments();
    let (mut faults, places) = (ConfigFaults::default(), BTreeMap::new());
    let catalogue = Catalogue::load(services.path(), &mut faults);
    load_adapters(changed.folder.path(), &catalogue, &places, &mut faults);
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn attachments_that_a_template_would_drop_or_could_not_hold_are_told() {
    let template = "legal-events/legal-event/request.json";
    let dropping = Broken::new();
    dropping.edit(template, "{% for it in attachments %}", "{% for it in attachments[:1] %}");
    let problem = "with 10 attachments: template legal-event/request.json: attachment 2 is read nowhere";
    dropping.has("legal-event/examples/registered/request.json", "attachments", problem);
    let printing = Broken::new();
    printing.edit(template, "{{ it.sha256 }}", "{{ it.base64 }}");
    printing.has(template, "", "more than a message holds");
}

#[test]
fn a_digest_that_names_no_request_is_told() {
    let lookup = "legal-events/legal-event/lookup.jq";
    let of_nothing = Broken::new();
    of_nothing.edit(lookup, "reference: .body.event_id}", "reference: .body.event_id, request_digest: .body.digest}");
    of_nothing.has(lookup, "", "the request has no body");
    let (answer, template) = ("legal-events/legal-event/answer.jq", "legal-events/legal-event/request.json");
    let of_anybody = Broken::new();
    of_anybody.edit(answer, "reference: .body.event_id, answer", "request_digest: .body.digest, answer");
    let (_, faults) = load(of_anybody.folder.path(), &BTreeMap::new());
    assert!(!faults.to_string().contains("names request_digest"), "{faults}");
    of_anybody.edit(template, "{{ reference }}", "{{ trace_id }}");
    of_anybody.has(answer, "", "prints neither `reference` nor `message_id`");
}

#[test]
fn an_example_is_read_in_whatever_encoding_the_agency_answers() {
    let lookup = "civil-registry/person-lookup/examples";
    let example = |name: &str| format!("{lookup}/{name}/wire-answer.xml");
    let broken = Broken::new();
    let names: Vec<_> = fs::read_dir(broken.file(lookup)).unwrap().flatten().map(|it| it.file_name()).collect();
    let mut files = names.iter().map(|name| example(name.to_str().unwrap())).filter(|it| broken.file(it).is_file());
    let (utf16, legacy) = (files.next().unwrap(), files.next().unwrap());
    drop(files);
    let read = |file: &str| {
        let text = fs::read_to_string(broken.file(file)).unwrap();
        text.split_once("?>").map_or(text.clone(), |(_, rest)| rest.trim_start().to_owned())
    };
    let bytes: Vec<u8> = format!("\u{feff}{}", read(&utf16)).encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(broken.file(&utf16), bytes).unwrap();
    let declared = format!("<?xml version=\"1.0\" encoding=\"windows-1250\"?>{}", read(&legacy));
    fs::write(broken.file(&legacy), encoding_rs::WINDOWS_1250.encode(&declared).0).unwrap();
    let event = "legal-events/legal-event/examples/registered/wire-answer";
    let json = fs::read_to_string(broken.file(&format!("{event}.json"))).unwrap();
    let bytes: Vec<u8> = json.encode_utf16().flat_map(u16::to_be_bytes).collect();
    fs::write(broken.file(&format!("{event}.json")), bytes).unwrap();
    broken.write(&format!("{event}.headers.json"), "{\"content-type\": \"application/json; charset=utf-16be\"}");
    let (_, faults) = load(broken.folder.path(), &BTreeMap::new());
    assert!(faults.is_empty(), "{faults}");
    fs::write(broken.file(&legacy), b"<a>\xE9</a>").unwrap();
    broken.has(&legacy, "", "is no character in it");
}

#[test]
fn a_filter_that_looks_for_parts_where_none_can_be_is_advised_of() {
    let filter = "civil-registry/person-lookup/answer.jq";
    let warnings = |looks: &str| {
        let broken = Broken::new();
        broken.edit(filter, "if .fault then of_fault", &format!("if {looks} then null elif .fault then of_fault"));
        let (adapters, faults) = load(broken.folder.path(), &BTreeMap::new());
        assert!(faults.is_empty(), "{faults}");
        adapters.agency(&"civil-registry".parse().unwrap()).unwrap().warnings()
    };
    let advised = warnings("(.parts | length) > 0");
    assert!(advised.len() == 1 && advised[0].contains("person-lookup/answer.jq looks at `.parts`"), "{advised:?}");
    assert!(warnings("false").is_empty());
}
