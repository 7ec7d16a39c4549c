//! What somebody says who has not the agency's key, and what is signed for another: neither makes anything certain, nothing
//! is done twice by it, and nobody gets another's answer.

use crate::{
    delivery::hostile::{Hostile, env_that_tries, env_with},
    environment::{CITIZEN, TestEnvironment, request},
};
use punte::{domain::AttemptOutcome, journal::Record, kit::test_stack::TestStackPlan, process::Installation};
use serde_json::json;
use std::{path::Path, time::Duration};

const OTHER: &str = "2000000000002";

/// The extract as an operation that the agency neither recognises nor can be asked about.
fn as_once(agency: &str, text: String) -> String {
    let text = text.replace("failures = 5", "failures = 1000");
    if agency == "civil-registry" { text.replace("effect = \"idempotent\"", "effect = \"once\"") } else { text }
}

/// The civil registry as one that never signs, with more keys for its operation.
pub fn unsealed(text: &str, keys: &str) -> String {
    let (head, tail) = text.split_once("[seal.answer]").unwrap();
    let (_, operations) = tail.split_once("[operations.person-lookup]").unwrap();
    let text = format!("{head}[seal.answer]\nkind = \"none\"\n\n[operations.person-lookup]{operations}");
    text.replace("effect = \"once\"", &format!("effect = \"once\"\n{keys}"))
}

fn quick(plan: &mut TestStackPlan) {
    plan.retry = "first_wait_secs = 0.1\nmax_wait_secs = 5\nmax_attempts = 5\n";
}

async fn record(env: &TestEnvironment, id: &str) -> Record {
    env.stack.process().unwrap().journal.find(id.parse().unwrap()).await.unwrap().unwrap()
}

/// The code of each attempt that failed.
async fn failed(env: &TestEnvironment, id: &str) -> Vec<String> {
    let attempts = env.stack.process().unwrap().journal.attempts(id.parse().unwrap()).await.unwrap();
    let code = |outcome: Option<AttemptOutcome>| match outcome {
        Some(AttemptOutcome::Failed { fault }) => Some(fault.to_string()),
        _ => None,
    };
    attempts.into_iter().filter_map(|attempt| code(attempt.outcome)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_unsigned_word_has_a_once_done_twice_or_lets_it_seem_undone() {
    let env = TestEnvironment::with_adapters(as_once, quick).await;
    let status = |code: u16| json!({"status": {"code": code, "after_effect": true, "retry_after_secs": 0}});
    let soap = |blames: &str| json!({"soap-fault": {"blames": blames, "after_effect": true, "unsigned": true}});
    let uncertain = [429, 503, 404, 408, 409, 410, 421, 425, 403, 500, 502, 302, 303, 308];
    let uncertain = uncertain.map(|code| (status(code), "uncertain"));
    let parked = [400, 413, 422].map(|code| (status(code), "parked"));
    let of_soap = [(soap("client"), "parked"), (soap("server"), "uncertain")];
    let empty = [(json!({"empty-answer": {"code": 202}}), "uncertain")];
    let mut done = 0;
    for (fault, state) in uncertain.into_iter().chain(parked).chain(of_soap).chain(empty) {
        env.behave("civil-registry", json!({"fault": fault, "times": 1}));
        let id = env.post("civil-status-extract").await;
        let shown = env.ends(&id, state).await;
        done += 1;
        assert_eq!((&shown["attempts"], env.effects("civil-registry")), (&json!(1), done), "{fault}: {shown:#}");
        let progress = record(&env, &id).await.progress;
        assert!(progress.in_doubt, "{fault}: a replay would not be warned of");
        let detail = &progress.state.fault().unwrap().detail;
        assert!(detail.contains("unsigned"), "{fault}: {detail}");
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(env.effects("civil-registry"), done);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_says_nothing_of_the_request_does_not_park_a_read() {
    let env = TestEnvironment::with_adapters(as_once, quick).await;
    for code in [302, 308, 402, 404, 405, 408, 409, 410, 411, 417, 421, 423, 425, 428, 429, 431, 451, 500, 503] {
        env.behave("civil-registry", json!({"fault": {"status": {"code": code}}, "times": 1}));
        let id = env.post("person-lookup").await;
        assert_eq!(env.ends(&id, "completed").await["attempts"], 2, "{code}");
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_agency_never_signs_its_folder_says_what_was_not_handled() {
    let change = |agency: &str, text: String| match agency {
        "civil-registry" => unsealed(&as_once(agency, text), "not_handled = [503]"),
        _ => text,
    };
    let env = TestEnvironment::with_adapters(change, quick).await;
    env.behave("civil-registry", json!({"fault": {"status": {"code": 503, "retry_after_secs": 1}}, "times": 1}));
    let id = env.post("civil-status-extract").await;
    let shown = env.ends(&id, "completed").await;
    assert_eq!((&shown["attempts"], env.effects("civil-registry")), (&json!(2), 1), "{shown:#}");
    let at = |state: &str, nth: usize| -> jiff::Timestamp {
        let timeline = shown["timeline"].as_array().unwrap();
        let change = timeline.iter().filter(|change| change["state"] == state).nth(nth).unwrap();
        change["at"].as_str().unwrap().parse().unwrap()
    };
    let waited = at("sending", 1).duration_since(at("retrying", 0));
    assert!(waited.as_millis() >= 1000, "Retry-After was not honoured: {waited:?}");
    env.behave("civil-registry", json!({"fault": {"status": {"code": 429}}, "times": 1}));
    env.post_and_end("civil-status-extract", "uncertain", "agency.http.rate-limited").await;
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_answer_of_an_agency_that_never_signs_is_the_filters_to_read() {
    let change = |agency: &str, text: String| match agency {
        "civil-registry" => unsealed(&as_once(agency, text), "correlates = { cannot = \"it says nothing\" }"),
        _ => text,
    };
    let answer = "civil-registry/civil-status-extract/answer.jq";
    let taken = |text: String| {
        format!("if .body == null and .fault == null and .status == 202 then {{waiting: true}}\nelse {text}\nend")
    };
    let waits = |text: String| {
        let (definitions, rest) = text.split_once("if .fault then of_fault").unwrap();
        format!("{definitions}{}", taken(format!("if .fault then of_fault{rest}")))
    };
    let env = TestEnvironment::with_adapters_and(change, |adapters| {
        let file = adapters.join(answer);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, waits(text)).unwrap();
    })
    .await;
    env.behave("civil-registry", json!({"fault": {"empty-answer": {"code": 202}}, "times": 1}));
    let id = env.post("civil-status-extract").await;
    env.until(&id, &["waiting"]).await;
    env.behave("civil-registry", json!({"fault": {"empty-answer": {"code": 200}}, "times": 1}));
    let id = env.post("civil-status-extract").await;
    env.ends(&id, "uncertain").await;
    let detail = record(&env, &id).await.progress.state.fault().unwrap().detail.clone();
    assert!(detail.contains("it is empty, with HTTP status 200"), "{detail}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_answer_counts_whatever_status_is_written_over_it() {
    let env = TestEnvironment::with_adapters(as_once, quick).await;
    for code in [404, 422, 500, 503, 302] {
        for (agency, service) in [("legal-events", "legal-event"), ("civil-registry", "civil-status-extract")] {
            let before = env.effects(agency);
            env.behave(agency, json!({"fault": {"rewritten-status": {"code": code}}, "times": 1}));
            let id = env.post(service).await;
            let shown = env.ends(&id, "completed").await;
            assert_eq!((&shown["attempts"], env.effects(agency)), (&json!(1), before + 1), "{code}: {shown:#}");
        }
    }
    // A "seen" of a question, too.
    env.behave(
        "legal-events",
        json!([
            {"fault": "reset-after-effect", "times": 1},
            {"fault": {"rewritten-status": {"code": 404}}, "times": 1}
        ]),
    );
    let before = env.effects("legal-events");
    let id = env.post("legal-event").await;
    let shown = env.ends(&id, "completed").await;
    assert_eq!((&shown["attempts"], env.effects("legal-events")), (&json!(2), before + 1), "{shown:#}");
    env.leave().await;
}

async fn assert_mismatched(env: &TestEnvironment, id: &str, why: &str) {
    let faults = failed(env, id).await;
    let is_it = |fault: &String| fault.starts_with("agency.answer.mismatched: ") && fault.ends_with(why);
    assert!(faults.len() == 1 && is_it(&faults[0]), "{faults:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_answers_complete_nobody_and_each_gets_its_own() {
    let env = TestEnvironment::with_adapters(as_once, quick).await;
    env.behave("civil-registry", json!({"fault": "swapped", "times": 2}));
    let ana = env.post_request(&request("person-lookup", CITIZEN)).await;
    let ilija = env.post_request(&request("person-lookup", OTHER)).await;
    for (id, name) in [(&ana, "Exemplar"), (&ilija, "Primer")] {
        let shown = env.ends(id, "completed").await;
        assert_eq!(shown["answer"]["person"]["family_name"], name, "{shown:#}");
        assert_mismatched(&env, id, "it is about somebody else").await;
    }
    for service in ["civil-status-extract", "legal-event"] {
        let agency = if service == "legal-event" { "legal-events" } else { "civil-registry" };
        env.behave(agency, json!({"fault": "swapped", "times": 2}));
        let ids = [env.post(service).await, env.post(service).await];
        for id in ids {
            env.until(&id, &["uncertain", "completed"]).await;
            assert_mismatched(&env, &id, "it names another reference").await;
        }
    }
    env.leave().await;
}

/// The same bytes, signed by the agency, for whoever asks.
fn says_person(hostile: &Hostile, number: Option<&str>) {
    let number = number.map(|number| format!("<PersonalNumber>{number}</PersonalNumber>")).unwrap_or_default();
    hostile.says_signed_xml(&format!(
        "<LookUpPersonResponse xmlns=\"urn:example:civil-registry:1\">{number}<FamilyName>E</FamilyName>\
         <GivenName>A</GivenName><BirthDate>1980-02-29</BirthDate></LookUpPersonResponse>"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_answers_to_equal_questions_are_no_replay_and_what_names_nobody_is_nobodys() {
    let (env, hostile) = env_with("civil-registry", |text| text).await;
    says_person(&hostile, Some(CITIZEN));
    for _ in 0..3 {
        let id = env.post("person-lookup").await;
        env.ends(&id, "completed").await;
    }
    let id = env.post_request(&request("person-lookup", OTHER)).await;
    assert_eq!(env.ends(&id, "parked").await["fault"]["code"], "agency.answer.mismatched");
    says_person(&hostile, None);
    let id = env.post("person-lookup").await;
    assert_eq!(env.ends(&id, "parked").await["fault"]["code"], "agency.answer.mismatched");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_name_nobody_is_taken_once_and_a_repetition_is_not() {
    let cannot = |text: String| {
        text.replace(
            "timeout_secs = 20\n",
            "timeout_secs = 20\ncorrelates = { cannot = \"its contract has no field\" }\n",
        )
    };
    let (env, hostile) = env_with("civil-registry", cannot).await;
    says_person(&hostile, None);
    let id = env.post("person-lookup").await;
    env.ends(&id, "completed").await;
    let id = env.post("person-lookup").await;
    let shown = env.ends(&id, "parked").await;
    assert_eq!(shown["fault"]["code"], "agency.answer.signature", "{shown:#}");
    let detail = record(&env, &id).await.progress.state.fault().unwrap().detail.clone();
    assert!(detail.contains("seen before"), "{detail}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_never_seen_that_names_no_reference_is_not_believed() {
    let (env, hostile) =
        env_that_tries("legal-events", "first_wait_secs = 0.1\nmax_wait_secs = 0.2\nmax_attempts = 4\n", |text| text)
            .await;
    for (never, status) in [(json!({"result": []}), 200), (json!({"code": "not-found"}), 404)] {
        hostile.says(500, "content-type: application/json\r\n", "{}");
        let id = env.post("legal-event").await;
        env.until(&id, &["retrying", "parked"]).await;
        hostile.says_signed_json(status, &never.to_string());
        let shown = env.ends(&id, "parked").await;
        let attempts = env.stack.process().unwrap().journal.attempts(id.parse().unwrap()).await.unwrap();
        let sent =
            attempts.iter().filter(|it| it.wire.as_ref().is_some_and(|wire| wire.sent.starts_with(b"POST"))).count();
        assert_eq!((sent, &shown["fault"]["code"]), (1, &json!("agency.answer.mismatched")), "{shown:#}");
        assert!(record(&env, &id).await.progress.in_doubt);
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soap_fault_is_read_in_every_spelling_and_completes_nothing() {
    let (env, hostile) = env_with("civil-registry", |text| text).await;
    const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
    const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
    let wsse = format!("<faultcode xmlns:w=\"{WSSE}\">w:FailedAuthentication</faultcode>");
    for (code, expected) in [
        ("<s:faultcode>s:Client</s:faultcode>", "agency.soap-fault.client"),
        ("<faultcode xmlns=\"urn:x\">Client.Authentication</faultcode>", "agency.soap-fault.client"),
        ("<faultcode>s:Server</faultcode>", "agency.soap-fault.server"),
        (&wsse, "bus.credentials.refused"),
    ] {
        let fault = format!("<s:Fault>{code}<faultstring>no</faultstring></s:Fault>");
        let envelope = format!("<s:Envelope xmlns:s=\"{SOAP}\"><s:Body>{fault}</s:Body></s:Envelope>");
        for status in [200, 500, 400, 404] {
            hostile.says(status, "content-type: text/xml\r\n", envelope.clone());
            env.post_and_end("person-lookup", "parked", expected).await;
        }
        hostile.says_signed_xml(&fault);
        env.post_and_end("person-lookup", "parked", expected).await;
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_refuses_two_offices_refuses_the_installation_and_the_agency_waits_as_a_whole() {
    let touchy = |agency: &str, text: String| as_once(agency, text).replace("cooldown_secs = 15", "cooldown_secs = 2");
    let mut env = TestEnvironment::with_adapters(touchy, quick).await;
    let halted = "agency_halted{agency=\"civil-registry\"} 1";
    env.behave("civil-registry", json!({"fault": {"status": {"code": 403}}}));
    for _ in 0..3 {
        let id = env.post("person-lookup").await;
        assert_eq!(env.until(&id, &["retrying"]).await["fault"]["code"], "bus.credentials.refused");
    }
    assert!(!env.operations("/metrics").await.contains(halted), "one office alone has halted the agency");
    env.office = env.stack.client("shkoder").unwrap();
    let id = env.post("person-lookup").await;
    env.until(&id, &["retrying"]).await;
    let begun = std::time::Instant::now();
    while !env.operations("/metrics").await.contains(halted) {
        assert!(begun.elapsed() < Duration::from_secs(5), "two offices have not halted the agency");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    env.behave("civil-registry", json!(null));
    let waiting = env.post("person-lookup").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(env.show(&waiting).await["attempts"], 0, "it was sent although the agency is halted");
    for id in [&id, &waiting] {
        env.ends(id, "completed").await;
    }
    assert!(!env.operations("/metrics").await.contains(halted));
    env.leave().await;
}

/// The log as one that can neither be asked nor recognises repeats. Its seal tells no time.
fn without_questions(agency: &str, text: String) -> String {
    let text = text.replace("[seal.answer]\nkind = \"wss\"", "[seal.answer]\nkind = \"wss\"\nmax_clock_skew_secs = 1");
    let lines = as_once(agency, text).replace("effect = \"lookup\"", "effect = \"once\"");
    lines.lines().filter(|line| !line.starts_with("lookup = ")).map(|line| format!("{line}\n")).collect()
}

fn forget_questions(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            forget_questions(&path);
        } else if path.file_name().unwrap().to_string_lossy().starts_with("lookup") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_nothing_was_done_is_no_answer_to_a_later_attempt() {
    let env = TestEnvironment::with_adapters_and(without_questions, |adapters| {
        forget_questions(&adapters.join("legal-events"))
    });
    let env = env.await;
    for (agency, service) in [("legal-events", "legal-event"), ("civil-registry", "civil-status-extract")] {
        env.behave(agency, json!({"fault": "older-busy"}));
        let id = env.post(service).await;
        let shown = env.ends(&id, "uncertain").await;
        assert_eq!((&shown["attempts"], env.effects(agency)), (&json!(2), 1), "{agency}: {shown:#}");
        assert_eq!(shown["fault"]["code"], "agency.fault.transient");
        let progress = record(&env, &id).await.progress;
        assert!(progress.in_doubt, "{agency}: a replay would not be warned of");
        let detail = &progress.state.fault().unwrap().detail;
        assert!(detail.contains("it may be an older word"), "{detail}");
    }
    let installation = Installation::load(&env.stack.config(), jiff::Timestamp::now()).unwrap();
    let warned: Vec<_> = installation.warnings.iter().filter(|text| text.contains("from an older one")).collect();
    assert!(warned.len() == 1 && warned[0].starts_with("legal-events: "), "{warned:?}");
    // An agency that is busy for long and tells the time is believed each time.
    env.behave("civil-registry", json!({"fault": "busy", "times": 2}));
    let id = env.post("civil-status-extract").await;
    let shown = env.ends(&id, "completed").await;
    assert_eq!((&shown["attempts"], env.effects("civil-registry")), (&json!(3), 2), "{shown:#}");
    // Nobody can know a word about a request that never left, however often it was tried.
    env.behave("legal-events", json!([{"fault": "rogue-certificate", "times": 1}, {"fault": "busy", "times": 1}]));
    let id = env.post("legal-event").await;
    let shown = env.ends(&id, "completed").await;
    assert_eq!((&shown["attempts"], env.effects("legal-events")), (&json!(3), 2), "{shown:#}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_be_asked_is_asked_after_a_second_nothing_was_done() {
    let env = TestEnvironment::with_adapters(as_once, quick).await;
    env.behave("legal-events", json!({"fault": "older-busy"}));
    let id = env.post("legal-event").await;
    let shown = env.ends(&id, "completed").await;
    assert_eq!((&shown["attempts"], env.effects("legal-events")), (&json!(3), 1), "{shown:#}");
    env.leave().await;
}

/// The log as one that repeats the number of each message beside what it says of it.
fn answers_each_message(adapters: &Path) {
    let folder = adapters.join("legal-events");
    forget_questions(&folder);
    let change = |file: &str, from: &str, to: &str| {
        let file = folder.join("legal-event").join(file);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from}: {text}");
        std::fs::write(file, text.replace(from, to)).unwrap();
    };
    let message = "00000000-0000-0000-0000-000000000001";
    change("request.json", "{{ trace_id }}", "{{ message_id }}");
    change("answer.jq", "    reference: .body.event_id,\n    fault", "    message_id: .body.answers,\n    fault");
    for entry in std::fs::read_dir(folder.join("legal-event/examples")).unwrap() {
        let example = format!("examples/{}", entry.unwrap().file_name().to_string_lossy());
        change(&format!("{example}/wire-request.json"), "0af7651916cd43dd8448eb211c80319c", message);
    }
    let busy = "examples/maintenance";
    change(
        &format!("{busy}/answer.json"),
        "\"reference\": \"01990000-0000-7000-8000-000000000014\"",
        &format!("\"message_id\": \"{message}\""),
    );
    change(
        &format!("{busy}/wire-answer.503.json"),
        "\"event_id\"",
        &format!("\"answers\": \"{message}\", \"event_id\""),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nothing_was_done_that_names_the_very_message_is_certain_each_time_and_an_older_one_never() {
    let env = TestEnvironment::with_adapters_and(without_questions, answers_each_message).await;
    env.behave("legal-events", json!({"fault": "busy", "times": 3}));
    let id = env.post("legal-event").await;
    let shown = env.ends(&id, "completed").await;
    assert_eq!((&shown["attempts"], env.effects("legal-events")), (&json!(4), 1), "{shown:#}");
    env.behave("legal-events", json!({"fault": "older-busy"}));
    let id = env.post("legal-event").await;
    let shown = env.ends(&id, "uncertain").await;
    assert_eq!((&shown["attempts"], env.effects("legal-events")), (&json!(2), 2), "{shown:#}");
    let faults = failed(&env, &id).await;
    assert!(faults[1].ends_with("it answers another message"), "{faults:?}");
    env.leave().await;
}
