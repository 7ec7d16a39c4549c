//! Answers that cannot be believed, and failures of each kind: each has its own code, and nothing that was not verified
//! completes a submission.

use crate::town::{CITIZEN, Town, request};
use punte::kit::stage::StagePlan;
use serde_json::{Value, json};

/// One try only, so that the first outcome is the last.
fn impatient(plan: &mut StagePlan) {
    plan.retry = "first_wait_secs = 0.1\nmax_wait_secs = 1\nmax_attempts = 1\n";
}

/// The circuit stays closed, whatever happens.
fn patient_circuit(_: &str, text: String) -> String {
    text.replace("failures = 5", "failures = 1000")
}

/// Of an agency that is away, silent or not well, no number of tries says anything: it is waited for.
const WAITED_FOR: [&str; 8] = [
    "agency.http.no-verdict",
    "agency.http.redirect",
    "agency.http.unavailable",
    "agency.http.rate-limited",
    "agency.http.server-error",
    "agency.certificate",
    "network.reset",
    "network.timeout",
];

async fn ends_with(town: &Town, agency: &str, service: &str, behaviour: Value, code: &str) {
    town.behave(agency, behaviour.clone());
    let id = town.post(service).await;
    let shown = if WAITED_FOR.contains(&code) {
        let shown = town.until(&id, &["retrying", "parked"]).await;
        assert_eq!(shown["state"], "retrying", "{behaviour}: {shown:#}");
        // What is in doubt cannot be taken back.
        town.cancel(&id).await;
        shown
    } else {
        town.ends(&id, "parked").await
    };
    assert_eq!(shown["fault"]["code"], code, "{behaviour}: {shown:#}");
    assert!(shown["answer"].is_null() && shown["refusal"].is_null(), "{shown:#}");
    assert!(shown["fault"]["text"].as_str().unwrap().len() > 10);
    assert!(shown["fault"]["detail"].is_null(), "private detail is shown: {shown:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_of_a_soap_agency_has_its_own_code() {
    let town = Town::with_adapters(patient_circuit, impatient).await;
    let cases = [
        (json!({"fault": {"status": {"code": 500}}}), "agency.http.server-error"),
        (json!({"fault": {"status": {"code": 503}}}), "agency.http.unavailable"),
        (json!({"fault": {"status": {"code": 429}}}), "agency.http.rate-limited"),
        (json!({"fault": {"status": {"code": 400}}}), "agency.http.client-error"),
        (json!({"fault": {"status": {"code": 404}}}), "agency.http.no-verdict"),
        (json!({"fault": {"status": {"code": 408}}}), "agency.http.no-verdict"),
        (json!({"fault": {"page": {"code": 200}}}), "agency.http.no-verdict"),
        (json!({"fault": {"page": {"code": 400}}}), "agency.http.no-verdict"),
        (json!({"fault": {"page": {"code": 413}}}), "agency.http.client-error"),
        (json!({"fault": {"status": {"code": 403}}}), "bus.credentials.refused"),
        (json!({"fault": {"status": {"code": 302}}}), "agency.http.redirect"),
        (json!({"fault": {"soap-fault": {"blames": "server"}}}), "agency.soap-fault.server"),
        (json!({"fault": {"soap-fault": {"blames": "client"}}}), "agency.soap-fault.client"),
        (json!({"fault": {"soap-fault": {"blames": "server", "unsigned": true}}}), "agency.soap-fault.server"),
        (json!({"fault": {"soap-fault": {"blames": "client", "unsigned": true}}}), "agency.soap-fault.client"),
        (json!({"fault": {"empty-answer": {"code": 202}}}), "agency.answer.signature"),
        (json!({"fault": "other-reference"}), "agency.answer.mismatched"),
        (json!({"fault": "reset-before-effect"}), "network.reset"),
        (json!({"fault": "reset-after-effect"}), "network.reset"),
        (json!({"fault": "truncated-answer"}), "network.reset"),
        (json!({"fault": "garbage"}), "agency.answer.not-xml"),
        (json!({"fault": "wrong-content-type"}), "agency.answer.media-type"),
        (json!({"fault": "huge-answer"}), "agency.answer.too-large"),
        (json!({"fault": "wrong-signature"}), "agency.answer.signature"),
        (json!({"fault": "no-signature"}), "agency.answer.signature"),
        (json!({"fault": "foreign-signature"}), "agency.answer.signature"),
        (json!({"fault": "stale-timestamp"}), "agency.answer.signature"),
    ];
    for (behaviour, code) in cases {
        ends_with(&town, "civil-registry", "person-lookup", behaviour, code).await;
    }
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_of_a_rest_agency_has_its_own_code() {
    let town = Town::with_adapters(patient_circuit, impatient).await;
    let cases = [
        (json!({"fault": {"status": {"code": 500}}}), "agency.http.server-error"),
        (json!({"fault": {"status": {"code": 503}}}), "agency.http.unavailable"),
        (json!({"fault": {"status": {"code": 400}}}), "agency.http.client-error"),
        (json!({"fault": {"status": {"code": 302}}}), "agency.http.redirect"),
        (json!({"fault": {"page": {"code": 200}}}), "agency.http.no-verdict"),
        (json!({"fault": "reset-after-effect"}), "network.reset"),
        (json!({"fault": "garbage"}), "agency.answer.signature"),
        (json!({"fault": "wrong-content-type"}), "agency.answer.media-type"),
        (json!({"fault": "huge-answer"}), "agency.answer.too-large"),
        (json!({"fault": "wrong-signature"}), "agency.answer.signature"),
        (json!({"fault": "no-signature"}), "agency.answer.signature"),
        (json!({"fault": "foreign-signature"}), "agency.answer.signature"),
        (json!({"fault": "other-reference"}), "agency.answer.mismatched"),
    ];
    for (behaviour, code) in cases {
        ends_with(&town, "legal-events", "legal-event", behaviour, code).await;
    }
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_for_another_request_is_not_taken() {
    let town = Town::with_adapters(patient_circuit, impatient).await;
    let behaviour = json!({"fault": "other-reference"});
    ends_with(&town, "civil-registry", "civil-status-extract", behaviour, "agency.answer.mismatched").await;
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agency_with_a_strangers_certificate_gets_nothing() {
    let town = Town::with_adapters(patient_circuit, impatient).await;
    let behaviour = json!({"fault": "rogue-certificate"});
    ends_with(&town, "civil-registry", "person-lookup", behaviour, "agency.certificate").await;
    assert_eq!(town.effects("civil-registry"), 0);
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agency_that_is_too_slow_is_not_waited_for() {
    let quick = |agency: &str, text: String| {
        let text = patient_circuit(agency, text);
        text.replace("timeout_secs = 20", "timeout_secs = 1")
            .replace("connect_timeout_secs = 5", "connect_timeout_secs = 1")
    };
    let town = Town::with_adapters(quick, impatient).await;
    ends_with(&town, "civil-registry", "person-lookup", json!({"delay_ms": 5000}), "network.timeout").await;
    let drip = json!({"fault": {"slow-drip": {"millis_per_byte": 200}}});
    ends_with(&town, "civil-registry", "person-lookup", drip, "network.timeout").await;
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_answer_that_has_begun_and_does_not_end_the_status_is_known() {
    let once = |agency: &str, text: String| {
        let text = patient_circuit(agency, text).replace("timeout_secs = 30", "timeout_secs = 2");
        text.replace("effect = \"idempotent\"", "effect = \"once\"")
    };
    let town = Town::with_adapters(once, impatient).await;
    for (fault, code) in [
        (json!("truncated-answer"), "network.reset"),
        (json!("huge-answer"), "agency.answer.too-large"),
        (json!({"slow-drip": {"millis_per_byte": 200}}), "network.timeout"),
    ] {
        town.behave("civil-registry", json!({"fault": fault, "times": 1}));
        let id = town.post("civil-status-extract").await;
        let shown = town.ends(&id, "uncertain").await;
        assert_eq!(shown["fault"]["code"], code, "{shown:#}");
        let journal = &town.stage.process().unwrap().journal;
        let record = journal.find(id.parse().unwrap()).await.unwrap().unwrap();
        let detail = &record.progress.state.fault().unwrap().detail;
        assert!(detail.starts_with("the agency has answered with HTTP status 200, but "), "{detail}");
        let attempts = journal.attempts(id.parse().unwrap()).await.unwrap();
        assert_eq!(attempts[0].wire.as_ref().unwrap().http_status, Some(200), "{code}");
    }
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agency_that_is_not_there_is_waited_for_until_the_deadline() {
    let mut town = Town::with_adapters(patient_circuit, |_| {}).await;
    town.stage.simulators.remove(&"civil-registry".parse().unwrap()).unwrap().stop().await;
    let mut hurried = request("person-lookup", CITIZEN);
    hurried["expires_at"] = json!((jiff::Timestamp::now() + jiff::SignedDuration::from_secs(4)).to_string());
    let id = town.post_request(&hurried).await;
    let shown = town.ends(&id, "expired").await;
    assert_eq!(shown["fault"]["code"], "bus.deadline.passed", "{shown:#}");
    assert!(shown["attempts"].as_u64().unwrap() > 3, "more than its schedule's tries: {shown:#}");
    town.leave().await;
}

/// For this reason a person lookup breaks the agency's contract, in a town that does so.
pub const UNFORESEEN: &str = "unforeseen";

pub async fn town_that_breaks_a_contract(plan: impl FnOnce(&mut StagePlan)) -> Town {
    let unforeseen = format!("{{{{ subject.id }}}}{{% if context.reason == '{UNFORESEEN}' %}}x{{% endif %}}");
    let change = |text: String| text.replace("{{ subject.id }}", &unforeseen);
    Town::with_template_and("civil-registry/person-lookup/request.xml", change, plan).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_breaks_the_agencys_contract_is_not_sent() {
    let town = town_that_breaks_a_contract(|_| {}).await;
    let mut unforeseen = request("person-lookup", CITIZEN);
    unforeseen["context"]["reason"] = json!(UNFORESEEN);
    let id = town.post_request(&unforeseen).await;
    let shown = town.ends(&id, "parked").await;
    assert_eq!((&shown["fault"]["code"], &shown["attempts"]), (&json!("bus.request.contract"), &json!(0)), "{shown:#}");
    assert_eq!(town.effects("civil-registry"), 0);
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_fails_on_this_request_sends_nothing() {
    let town = Town::with_template("civil-registry/civil-status-extract/request.xml", |text| {
        format!("{text}{{% if data.note|default('') == 'unforeseen' %}}{{{{ data.no_such_member }}}}{{% endif %}}")
    })
    .await;
    let mut unforeseen = request("civil-status-extract", CITIZEN);
    unforeseen["data"]["note"] = json!("unforeseen");
    let id = town.post_request(&unforeseen).await;
    let shown = town.ends(&id, "parked").await;
    assert_eq!(shown["fault"]["code"], "bus.template.failed", "{shown:#}");
    assert_eq!(town.effects("civil-registry"), 0);
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_looks_like_xml_or_json_arrives_as_text() {
    let town = Town::found().await;
    let hostile = r#"</cr:Note><cr:Copies>9</cr:Copies>]]><!-- & " ' \u0000 {{ 7*7 }} é Ж"#;
    let mut extract = request("civil-status-extract", CITIZEN);
    extract["data"]["note"] = json!(hostile);
    let id = town.post_request(&extract).await;
    town.ends(&id, "completed").await;
    let mut event = request("legal-event", CITIZEN);
    event["data"]["message"] = json!(hostile);
    let id = town.post_request(&event).await;
    town.ends(&id, "completed").await;
    town.leave().await;
}
