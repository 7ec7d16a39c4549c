//! Answers that cannot be believed, and failures of each kind: each has its own code, and nothing that was not verified
//! completes a submission.

use crate::environment::{CITIZEN, TestEnvironment, request};
use punte::kit::test_stack::TestStackPlan;
use serde_json::{Value, json};

/// One try only, so that the first outcome is the last.
fn impatient(plan: &mut TestStackPlan) {
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

async fn ends_with(env: &TestEnvironment, agency: &str, service: &str, behaviour: Value, code: &str) {
    env.behave(agency, behaviour.clone());
    let id = env.post(service).await;
    let shown = if WAITED_FOR.contains(&code) {
        let shown = env.until(&id, &["retrying", "parked"]).await;
        assert_eq!(shown["state"], "retrying", "{behaviour}: {shown:#}");
        // What is in doubt cannot be taken back.
        env.cancel(&id).await;
        shown
    } else {
        env.ends(&id, "parked").await
    };
    assert_eq!(shown["fault"]["code"], code, "{behaviour}: {shown:#}");
    assert!(shown["answer"].is_null() && shown["refusal"].is_null(), "{shown:#}");
    assert!(shown["fault"]["text"].as_str().unwrap().len() > 10);
    assert!(shown["fault"]["detail"].is_null(), "private detail is shown: {shown:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_of_a_soap_agency_has_its_own_code() {
    let env = TestEnvironment::with_adapters(patient_circuit, impatient).await;
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
        ends_with(&env, "civil-registry", "person-lookup", behaviour, code).await;
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_of_a_rest_agency_has_its_own_code() {
    let env = TestEnvironment::with_adapters(patient_circuit, impatient).await;
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
        ends_with(&env, "legal-events", "legal-event", behaviour, code).await;
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_for_another_request_is_not_taken() {
    let env = TestEnvironment::with_adapters(patient_circuit, impatient).await;
    let behaviour = json!({"fault": "other-reference"});
    ends_with(&env, "civil-registry", "civil-status-extract", behaviour, "agency.answer.mismatched").await;
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agency_with_a_strangers_certificate_gets_nothing() {
    let env = TestEnvironment::with_adapters(patient_circuit, impatient).await;
    let behaviour = json!({"fault": "rogue-certificate"});
    ends_with(&env, "civil-registry", "person-lookup", behaviour, "agency.certificate").await;
    assert_eq!(env.effects("civil-registry"), 0);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agency_that_is_too_slow_is_not_waited_for() {
    let quick = |agency: &str, text: String| {
        let text = patient_circuit(agency, text);
        text.replace("timeout_secs = 20", "timeout_secs = 1")
            .replace("connect_timeout_secs = 5", "connect_timeout_secs = 1")
    };
    let env = TestEnvironment::with_adapters(quick, impatient).await;
    ends_with(&env, "civil-registry", "person-lookup", json!({"delay_ms": 5000}), "network.timeout").await;
    let drip = json!({"fault": {"slow-drip": {"millis_per_byte": 200}}});
    ends_with(&env, "civil-registry", "person-lookup", drip, "network.timeout").await;
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_answer_that_has_begun_and_does_not_end_the_status_is_known() {
    let once = |agency: &str, text: String| {
        let text = patient_circuit(agency, text).replace("timeout_secs = 30", "timeout_secs = 2");
        text.replace("effect = \"idempotent\"", "effect = \"once\"")
    };
    let env = TestEnvironment::with_adapters(once, impatient).await;
    for (fault, code) in [
        (json!("truncated-answer"), "network.reset"),
        (json!("huge-answer"), "agency.answer.too-large"),
        (json!({"slow-drip": {"millis_per_byte": 200}}), "network.timeout"),
    ] {
        env.behave("civil-registry", json!({"fault": fault, "times": 1}));
        let id = env.post("civil-status-extract").await;
        let shown = env.ends(&id, "uncertain").await;
        assert_eq!(shown["fault"]["code"], code, "{shown:#}");
        let journal = &env.stack.process().unwrap().journal;
        let record = journal.find(id.parse().unwrap()).await.unwrap().unwrap();
        let detail = &record.progress.state.fault().unwrap().detail;
        assert!(detail.starts_with("the agency has answered with HTTP status 200, but "), "{detail}");
        let attempts = journal.attempts(id.parse().unwrap()).await.unwrap();
        assert_eq!(attempts[0].wire.as_ref().unwrap().http_status, Some(200), "{code}");
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agency_that_is_not_there_is_waited_for_until_the_deadline() {
    let mut env = TestEnvironment::with_adapters(patient_circuit, |_| {}).await;
    env.stack.simulators.remove(&"civil-registry".parse().unwrap()).unwrap().stop().await;
    let mut hurried = request("person-lookup", CITIZEN);
    hurried["expires_at"] = json!((jiff::Timestamp::now() + jiff::SignedDuration::from_secs(4)).to_string());
    let id = env.post_request(&hurried).await;
    let shown = env.ends(&id, "expired").await;
    assert_eq!(shown["fault"]["code"], "bus.deadline.passed", "{shown:#}");
    assert!(shown["attempts"].as_u64().unwrap() > 3, "more than its schedule's tries: {shown:#}");
    env.leave().await;
}

/// For this reason a person lookup breaks the agency's contract, in an environment that does so.
pub const UNFORESEEN: &str = "unforeseen";

pub async fn env_that_breaks_a_contract(plan: impl FnOnce(&mut TestStackPlan)) -> TestEnvironment {
    let unforeseen = format!("{{{{ subject.id }}}}{{% if context.reason == '{UNFORESEEN}' %}}x{{% endif %}}");
    let change = |text: String| text.replace("{{ subject.id }}", &unforeseen);
    TestEnvironment::with_template_and("civil-registry/person-lookup/request.xml", change, plan).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_breaks_the_agencys_contract_is_not_sent() {
    let env = env_that_breaks_a_contract(|_| {}).await;
    let mut unforeseen = request("person-lookup", CITIZEN);
    unforeseen["context"]["reason"] = json!(UNFORESEEN);
    let id = env.post_request(&unforeseen).await;
    let shown = env.ends(&id, "parked").await;
    assert_eq!((&shown["fault"]["code"], &shown["attempts"]), (&json!("bus.request.contract"), &json!(0)), "{shown:#}");
    assert_eq!(env.effects("civil-registry"), 0);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_fails_on_this_request_sends_nothing() {
    let env = TestEnvironment::with_template("civil-registry/civil-status-extract/request.xml", |text| {
        format!("{text}{{% if data.note|default('') == 'unforeseen' %}}{{{{ data.no_such_member }}}}{{% endif %}}")
    })
    .await;
    let mut unforeseen = request("civil-status-extract", CITIZEN);
    unforeseen["data"]["note"] = json!("unforeseen");
    let id = env.post_request(&unforeseen).await;
    let shown = env.ends(&id, "parked").await;
    assert_eq!(shown["fault"]["code"], "bus.template.failed", "{shown:#}");
    assert_eq!(env.effects("civil-registry"), 0);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_looks_like_xml_or_json_arrives_as_text() {
    let env = TestEnvironment::started().await;
    let hostile = r#"</cr:Note><cr:Copies>9</cr:Copies>]]><!-- & " ' \u0000 {{ 7*7 }} é Ж"#;
    let mut extract = request("civil-status-extract", CITIZEN);
    extract["data"]["note"] = json!(hostile);
    let id = env.post_request(&extract).await;
    env.ends(&id, "completed").await;
    let mut event = request("legal-event", CITIZEN);
    event["data"]["message"] = json!(hostile);
    let id = env.post_request(&event).await;
    env.ends(&id, "completed").await;
    env.leave().await;
}
