//! The simulated agencies, met by a client of their tests.

mod bus;

use bus::{Bus, EVENTS, Met, REGISTRY, adapter, answered, changed, client, pki};
use jiff::Timestamp;
use punte::{
    adapter::{Example, Reading, TransformInput, WireRequest},
    domain::{Submission, SubmissionId},
    http_client::tls_failure,
    kit::simulator::{Blamed, Plan, SimulatedFault, Simulator, SimulatorBehaviour, SimulatorPlan, adapter_of},
    trust::{Identity, Seal, wss},
};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

#[tokio::test]
async fn every_example_of_every_agency_is_played_as_it_stands() {
    for agency in [REGISTRY, EVENTS] {
        let bus = Bus::towards(agency).await;
        for operation in bus.simulator.adapter().operations.values() {
            for example in &operation.examples {
                let met = bus.ask(&operation.request, example, example.submission.id).await;
                let reading = answered(met);
                assert_eq!(reading.to_json(), example.mapped.to_json(), "{}/{}", operation.service, example.name);
            }
        }
        assert_eq!(bus.simulator.refusals(), Vec::<String>::new());
        let references: Vec<_> = bus.simulator.ledger().into_iter().map(|entry| entry.reference).collect();
        let good = |it: &&Example| matches!(it.mapped.reading, Reading::Answered { .. });
        let effects = bus.simulator.adapter().operations.values().flat_map(|it| &it.examples).filter(good).count();
        assert_eq!(references.len(), effects);
    }
}

#[tokio::test]
async fn a_request_that_no_example_has_is_answered_about_its_own_reference_and_subject() {
    let bus = Bus::towards(REGISTRY).await;
    let mut submission = bus.example("civil-status-extract", "birth").submission.clone();
    submission.id = SubmissionId::new();
    submission.subject.id = "2999999999999".to_owned();
    submission.context.reason = "Something else & more".to_owned();
    submission.data = json!({"act": "death", "language": "mk"});
    let example = bus.example("civil-status-extract", "birth");
    let exchange = bus.exchange("civil-status-extract");
    let compose =
        |submission: &Submission| exchange.compose(&TransformInput { submission, ..example.input() }).unwrap();
    let request = compose(&submission);
    let response = bus.send(&request, bus.seal(&request)).await.unwrap();
    let reading = answered(bus.read(exchange, response, submission.id).await);
    assert_eq!(reading.correlation.reference.as_deref(), Some(submission.id.to_string().as_str()));
    // The subject decides where the texts do not.
    submission.subject.id = "2000000000404".to_owned();
    submission.id = SubmissionId::new();
    let request = compose(&submission);
    let response = bus.send(&request, bus.seal(&request)).await.unwrap();
    let reading = answered(bus.read(exchange, response, submission.id).await);
    assert!(matches!(reading.reading, Reading::Refused { refusal, .. } if refusal.code == "person-not-found"));
    assert_eq!(bus.simulator.ledger().len(), 1);
}

#[tokio::test]
async fn an_agency_that_recognises_repeats_acts_once_and_answers_the_same() {
    let bus = Bus::towards(REGISTRY).await;
    let (example, reference) = (bus.example("civil-status-extract", "birth"), SubmissionId::new());
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(answered(bus.ask(bus.exchange("civil-status-extract"), example, reference).await).to_json());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let ledger = bus.simulator.ledger();
    assert_eq!((ledger.len(), ledger[0].times_seen), (1, 3));
    assert_eq!(ledger[0].reference, Some(reference.to_string()));
    assert!(ledger[0].traceparent.as_deref().unwrap().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
}

#[tokio::test]
async fn an_agency_that_does_not_recognise_repeats_acts_twice_and_can_be_asked() {
    let bus = Bus::towards(EVENTS).await;
    let (example, reference) = (bus.example("legal-event", "registered"), SubmissionId::new());
    let asked = answered(bus.ask(bus.lookup("legal-event"), example, reference).await);
    assert!(matches!(asked.reading, Reading::NotSeen));
    for _ in 0..2 {
        answered(bus.ask(bus.exchange("legal-event"), example, reference).await);
    }
    let asked = answered(bus.ask(bus.lookup("legal-event"), example, reference).await);
    assert_eq!(asked.correlation.reference.as_deref(), Some(reference.to_string().as_str()));
    assert_eq!(bus.simulator.ledger().len(), 2);
    assert_eq!(bus.simulator.requests(), 4);
}

#[tokio::test]
async fn requests_that_are_not_signed_as_agreed_change_nothing() {
    let bus = Bus::towards(REGISTRY).await;
    let exchange = bus.exchange("civil-status-extract");
    let request = bus.request(exchange, bus.example("civil-status-extract", "birth"), SubmissionId::new());
    let signed = String::from_utf8(bus.seal(&request)).unwrap();
    let Seal::Wss(profile) = &bus.profile.seal else { panic!() };
    let envelope = str::from_utf8(&request.body).unwrap();
    let foreign = Identity::load(&pki().rogue("signing.pem"), &pki().rogue("signing.key"), Timestamp::now()).unwrap();
    let bare = punte::trust::WssProfile { sign_headers: Vec::new(), ..profile.clone() };
    let now = Timestamp::now();
    let cases = [
        (envelope.to_owned(), "no-security-header"),
        (signed.replace(">ro<", ">en<"), "digest-mismatch"),
        (wss::sign(envelope, profile, &foreign, now).unwrap(), "not-trusted"),
        (wss::sign(envelope, &bare, &bus.signing, now).unwrap(), "CallingUser is not signed"),
        (wss::sign(envelope, profile, &bus.signing, now - Duration::from_secs(3600)).unwrap(), "stale"),
    ];
    let mut count = 0;
    for (body, reason) in cases {
        let response = bus.send(&request, body.into_bytes()).await.unwrap();
        assert_eq!(response.status(), 500);
        count += 1;
        let refusals = bus.simulator.refusals();
        assert_eq!(refusals.len(), count);
        assert!(refusals[count - 1].contains(reason), "{} is not {reason}", refusals[count - 1]);
    }
    assert_eq!(bus.simulator.ledger(), []);
    bus.send(&request, signed.clone().into_bytes()).await.unwrap();
    bus.send(&request, signed.into_bytes()).await.unwrap();
    assert!(bus.simulator.refusals()[count].contains("replay"), "{:?}", bus.simulator.refusals());
    assert_eq!(bus.simulator.ledger()[0].times_seen, 1);
}

#[tokio::test]
async fn a_json_request_must_be_signed_by_the_bus_too() {
    let bus = Bus::towards(EVENTS).await;
    let exchange = bus.exchange("legal-event");
    let request = bus.request(exchange, bus.example("legal-event", "registered"), SubmissionId::new());
    let signed = bus.seal(&request);
    let mut broken = signed.clone();
    let middle = broken.len() / 2;
    broken[middle] = if broken[middle] == b'A' { b'B' } else { b'A' };
    for bad in [request.body.clone(), broken] {
        assert_eq!(bus.send(&request, bad).await.unwrap().status(), 400);
    }
    let other_type = WireRequest { media_type: "application/json".into(), ..request.clone() };
    assert_eq!(bus.send(&other_type, signed).await.unwrap().status(), 400);
    assert_eq!((bus.simulator.refusals().len(), bus.simulator.ledger().len()), (3, 0));
}

#[tokio::test]
async fn without_a_certificate_of_the_agency_s_authority_there_is_no_connection() {
    let bus = Bus::towards(EVENTS).await;
    let rogue = Identity::load(&pki().rogue("office.pem"), &pki().rogue("office.key"), Timestamp::now()).unwrap();
    for identity in [None, Some(&rogue)] {
        let sent = client(EVENTS, identity).get(format!("{}/query?event_id=x", bus.simulator.endpoint())).send().await;
        assert!(sent.is_err());
    }
    assert_eq!(bus.simulator.requests(), 0);
}

#[tokio::test]
async fn it_fails_in_every_way_it_is_told_to_and_acts_or_not_accordingly() {
    use SimulatedFault as F;
    let status = |code, after_effect| F::Status { code, retry_after_secs: Some(7), after_effect };
    let soap_fault = |blames, after_effect| F::SoapFault { blames, after_effect, unsigned: false };
    let bus = Bus::towards(REGISTRY).await;
    let (exchange, example) = (bus.exchange("civil-status-extract"), bus.example("civil-status-extract", "birth"));
    let cases = [
        (status(503, false), "status 503", 0),
        (status(500, true), "status 500", 1),
        (status(429, false), "status 429", 0),
        (status(400, false), "status 400", 0),
        (status(302, false), "status 302", 0),
        (soap_fault(Blamed::Server, false), "Server", 0),
        (soap_fault(Blamed::Client, true), "Client", 1),
        (F::ResetBeforeEffect, "broken", 0),
        (F::ResetAfterEffect, "broken", 1),
        (F::Garbage, "unbelieved: not xml", 1),
        (F::WrongContentType, "another type", 1),
        (F::Page { code: 200 }, "another type", 0),
        (F::HugeAnswer, "too large", 1),
        (F::TruncatedAnswer, "broken", 1),
        (F::WrongSignature, "unbelieved: signature-mismatch", 1),
        (F::NoSignature, "unbelieved: no-security-header", 1),
        (F::ForeignSignature, "unbelieved: signer-not-trusted", 1),
        (F::StaleTimestamp, "unbelieved: stale", 1),
        (F::OtherReference, "Answered", 1),
    ];
    for (fault, expected, effects) in cases {
        let (before, reference) = (bus.simulator.ledger().len(), SubmissionId::new());
        bus.simulator.follow(Plan::once(fault.clone()));
        let met = bus.ask(exchange, example, reference).await;
        assert!(met.to_string().contains(expected), "{fault:?}: {met} is not {expected}");
        assert_eq!(bus.simulator.ledger().len() - before, effects, "{fault:?}");
        if fault == F::OtherReference {
            assert_ne!(answered(met).correlation.reference.as_deref(), Some(reference.to_string().as_str()));
        }
        let again = answered(bus.ask(exchange, example, reference).await);
        assert_eq!(again.correlation.reference.as_deref(), Some(reference.to_string().as_str()), "{fault:?} has ended");
    }
}

#[tokio::test]
async fn a_soap_12_agency_is_played_as_well() {
    let folder = changed(&[
        ("soap-1.1", "soap-1.2"),
        ("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"),
        ("<faultcode>", "<soap:Code><soap:Value>"),
        ("</faultcode>", "</soap:Value></soap:Code>"),
        ("<faultstring>", "<soap:Reason><soap:Text xml:lang='en'>"),
        ("</faultstring>", "</soap:Text></soap:Reason>"),
        ("<detail>", "<soap:Detail>"),
        ("</detail>", "</soap:Detail>"),
        ("soap:Client", "soap:Sender"),
        ("soap:Server", "soap:Receiver"),
    ]);
    let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/services");
    let adapter = adapter_of(folder.path(), &services, &REGISTRY.parse().unwrap()).unwrap();
    let bus = Bus::with(SimulatorPlan::new(adapter, &pki().dir)).await;
    let exchange = bus.exchange("civil-status-extract");
    assert!(exchange.media_type().starts_with("application/soap+xml") && exchange.media_type().contains("action=\""));
    for name in ["birth", "refused-no-such-act"] {
        let example = bus.example("civil-status-extract", name);
        let reading = answered(bus.ask(exchange, example, example.submission.id).await);
        assert_eq!(reading.to_json(), example.mapped.to_json());
    }
    assert_eq!(bus.simulator.ledger().len(), 1);
}

#[tokio::test]
async fn json_agencies_may_seal_in_every_way_that_a_profile_knows() {
    let (compact, detached) = ("kind = \"jws-compact\"", "kind = \"jws-detached\"");
    let signature = "kind = \"http-signature\"";
    // A question has no content type, so the signature must not demand one.
    let bare = "kind = \"http-signature\"\ncomponents = [\"@method\", \"@target-uri\", \"content-digest\"]";
    let answer_header = "header = \"x-jws-signature\"\n";
    for replacements in [
        &[(compact, detached), ("application/jose", "application/json")][..],
        &[(detached, compact), (answer_header, "")],
        &[(compact, bare), (detached, signature), (answer_header, "")],
    ] {
        let folder = changed(replacements);
        let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/services");
        let adapter = adapter_of(folder.path(), &services, &EVENTS.parse().unwrap()).unwrap();
        let bus = Bus::with(SimulatorPlan::new(adapter, &pki().dir)).await;
        let (exchange, example) = (bus.exchange("legal-event"), bus.example("legal-event", "registered"));
        for _ in 0..2 {
            let reference = SubmissionId::new();
            let reading = answered(bus.ask(exchange, example, reference).await);
            assert_eq!(reading.correlation.reference.as_deref(), Some(reference.to_string().as_str()));
        }
        let unseen = SubmissionId::new();
        assert!(matches!(
            answered(bus.ask(bus.lookup("legal-event"), example, unseen).await).reading,
            Reading::NotSeen
        ));
        for flaw in [SimulatedFault::WrongSignature, SimulatedFault::NoSignature, SimulatedFault::ForeignSignature] {
            bus.simulator.follow(Plan::once(flaw.clone()));
            let met = bus.ask(exchange, example, SubmissionId::new()).await;
            assert!(matches!(met, Met::Unbelieved(_)), "{replacements:?} {flaw:?}: {met}");
        }
        let request = bus.request(exchange, example, SubmissionId::new());
        let tampered = bus.seal(&request).iter().rev().copied().collect();
        let refused = bus.simulator.refusals().len();
        bus.simulator.follow(SimulatorBehaviour::default());
        let url = bus.simulator.endpoint() + "/register";
        let mut headers = bus.seal_headers(&request.method, &url, &request.headers, b"another body");
        headers.insert("content-type", request.media_type.parse().unwrap());
        let sent = bus.client.post(url).headers(headers).body::<Vec<u8>>(tampered).send().await.unwrap();
        assert_eq!((sent.status().as_u16(), bus.simulator.refusals().len()), (400, refused + 1));
    }
}

#[tokio::test]
async fn a_reset_is_one_on_the_wire() {
    let bus = Bus::towards(REGISTRY).await;
    let request =
        bus.request(bus.exchange("person-lookup"), bus.example("person-lookup", "deceased"), SubmissionId::new());
    bus.simulator.follow(Plan::once(SimulatedFault::ResetBeforeEffect));
    let error = bus.send(&request, bus.seal(&request)).await.unwrap_err();
    let mut cause = std::error::Error::source(&error);
    let mut kinds = Vec::new();
    while let Some(error) = cause {
        kinds.extend(error.downcast_ref::<std::io::Error>().map(std::io::Error::kind));
        cause = error.source();
    }
    assert!(kinds.contains(&std::io::ErrorKind::ConnectionReset), "{error:?}");
}

#[tokio::test]
async fn json_answers_are_spoilt_in_the_same_ways() {
    use SimulatedFault as F;
    let bus = Bus::towards(EVENTS).await;
    let (exchange, example) = (bus.exchange("legal-event"), bus.example("legal-event", "registered"));
    for (fault, expected) in [
        (F::WrongSignature, "signature-mismatch"),
        (F::NoSignature, "format"),
        (F::ForeignSignature, "unbelieved"),
        (F::Garbage, "unbelieved"),
        (F::HugeAnswer, "too large"),
        (F::ResetAfterEffect, "broken"),
    ] {
        bus.simulator.follow(Plan::once(fault.clone()));
        let met = bus.ask(exchange, example, SubmissionId::new()).await;
        assert!(met.to_string().contains(expected), "{fault:?}: {met}");
    }
    assert_eq!(bus.simulator.ledger().len(), 6);
}

#[tokio::test]
async fn a_retry_after_is_sent_and_a_redirect_names_another_place() {
    let bus = Bus::towards(REGISTRY).await;
    let request =
        bus.request(bus.exchange("person-lookup"), bus.example("person-lookup", "deceased"), SubmissionId::new());
    bus.simulator.behave(json!({"fault": {"status": {"code": 302, "retry_after_secs": 9}}})).unwrap();
    let response = bus.send(&request, bus.seal(&request)).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "9");
    assert_eq!(response.headers()["location"], "https://elsewhere.invalid/");
}

#[tokio::test]
async fn a_rogue_certificate_is_shown_to_new_connections_and_a_warm_client_meets_it_too() {
    let bus = Bus::towards(REGISTRY).await;
    let (exchange, example) = (bus.exchange("person-lookup"), bus.example("person-lookup", "deceased"));
    answered(bus.ask(exchange, example, SubmissionId::new()).await);
    bus.simulator.behave(json!({"fault": "rogue-certificate"})).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let request = bus.request(exchange, example, SubmissionId::new());
    let error = bus.send(&request, bus.seal(&request)).await.unwrap_err();
    assert!(tls_failure(&error).is_some(), "{error:?}");
    bus.simulator.behave(Value::Null).unwrap();
    answered(bus.ask(exchange, example, SubmissionId::new()).await);
}

#[tokio::test]
async fn delays_and_slow_drips_take_their_time() {
    let bus = Bus::towards(EVENTS).await;
    let (exchange, example) = (bus.exchange("legal-event"), bus.example("legal-event", "registered"));
    let drip = SimulatedFault::SlowDrip { millis_per_byte: 2 };
    for plan in [Plan { times: Some(1), ..Plan::slow(300) }, Plan::once(drip)] {
        bus.simulator.follow(plan.clone());
        let begun = std::time::Instant::now();
        answered(bus.ask(exchange, example, SubmissionId::new()).await);
        assert!(begun.elapsed() >= Duration::from_millis(250), "{plan:?}");
    }
}

#[tokio::test]
async fn testers_read_the_ledger_and_set_the_behaviour_over_http() {
    let bus = Bus::towards(EVENTS).await;
    let (exchange, example) = (bus.exchange("legal-event"), bus.example("legal-event", "registered"));
    let reference = SubmissionId::new();
    answered(bus.ask(exchange, example, reference).await);
    let control = format!("http://{}/simulator", bus.simulator.control);
    let http = client(EVENTS, None);
    let text = http.get(format!("{control}/ledger")).send().await.unwrap().text().await.unwrap();
    let ledger: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&ledger["requests"], &ledger["entries"][0]["reference"]), (&json!(1), &json!(reference.to_string())));
    assert!(!text.contains(&example.submission.subject.id), "the ledger names no person");
    let put = |body: &str| {
        http.put(format!("{control}/behaviour")).header("content-type", "application/json").body(body.to_owned()).send()
    };
    assert_eq!(put(r#"{"fault": "explode"}"#).await.unwrap().status(), 400);
    assert_eq!(put(r#"{"fault": "garbage", "times": 2}"#).await.unwrap().status(), 204);
    assert!(matches!(bus.ask(exchange, example, reference).await, Met::Unbelieved(_)));
    let left = http.get(format!("{control}/behaviour")).send().await.unwrap().text().await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&left).unwrap()[0]["times"], json!(1));
}

#[tokio::test]
async fn the_agency_remembers_what_it_did_when_it_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let plan = || SimulatorPlan {
        ledger_file: Some(folder.path().join("ledger.jsonl")),
        ..SimulatorPlan::new(adapter(EVENTS), &pki().dir)
    };
    let reference = SubmissionId::new();
    let bus = Bus::with(plan()).await;
    answered(bus.ask(bus.exchange("legal-event"), bus.example("legal-event", "registered"), reference).await);
    bus.simulator.stop().await;
    let bus = Bus::with(plan()).await;
    let asked = bus.ask(bus.lookup("legal-event"), bus.example("legal-event", "registered"), reference).await;
    assert!(matches!(answered(asked).reading, Reading::Answered { .. }));
}

#[tokio::test]
async fn what_cannot_be_played_says_why() {
    let missing = Simulator::start(SimulatorPlan::new(adapter(EVENTS), Path::new("/nowhere"))).await.err().unwrap();
    assert!(missing.to_string().contains("/nowhere/simulators/legal-events"), "{missing}");
    assert!(missing.to_string().contains("punte pki dev --out"), "{missing}");
    let open = SimulatorPlan { control: ([0, 0, 0, 0], 0).into(), ..SimulatorPlan::new(adapter(EVENTS), &pki().dir) };
    assert!(Simulator::start(open).await.err().unwrap().to_string().contains("127.0.0.1:PORT"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let unknown = adapter_of(&root.join("adapters"), &root.join("schemas/services"), &"nobody".parse().unwrap());
    let unknown = unknown.unwrap_err().to_string();
    assert!(unknown.starts_with("there is no agency nobody in ") && unknown.contains("civil-registry"), "{unknown}");
    let nowhere = adapter_of(Path::new("/nowhere"), &root.join("schemas/services"), &"nobody".parse().unwrap());
    assert!(nowhere.unwrap_err().to_string().contains("--adapters"));
    let none = SimulatorBehaviour::default();
    assert_eq!(SimulatorBehaviour::try_from(json!([])).unwrap(), none);
}
