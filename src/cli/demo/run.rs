//! The demo: a test stack comes in; six submissions travel, one by one, and each one's end is held against the plan.

use super::{
    presenter::Presenter,
    tally::{DemoResult, Tallies},
};
use crate::{
    domain::{AgencyName, Priority},
    kit::test_stack::{OFFICE, TestStack},
};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// One submission: what is asked, what the agency is told to do, and how it should end.
struct DemoCase {
    title: &'static str,
    request: Value,
    /// What the simulated agency does wrong, if anything.
    injected_fault: Option<Value>,
    ends_as: &'static str,
}

const CITIZEN: &str = "2000000000001";
const NOBODY: &str = "2000000000404";

/// The clerk's side: the test stack, and one HTTP client for all requests.
struct OfficeClient<'a> {
    stack: &'a TestStack,
    http: reqwest::Client,
}

pub async fn all(stack: &TestStack, presenter: &Presenter) -> Result<DemoResult> {
    let client = OfficeClient { stack, http: stack.client(OFFICE)? };
    let cases = cases();
    let mut result = DemoResult { cases: cases.len(), as_planned: 0, tallies: Tallies::new() };
    for (number, case) in cases.into_iter().enumerate() {
        presenter.case(number + 1, case.title);
        let (id, agency) = post(&client, &case).await?;
        let shown = watch(&client, presenter, &id).await?;
        result.as_planned += usize::from(shown["state"] == case.ends_as);
        count(&mut result.tallies, &agency, &shown);
        presenter.end(stack, &agency, &shown, case.ends_as);
        behave(stack, &agency, Value::Null)?;
    }
    Ok(result)
}

fn count(tallies: &mut Tallies, agency: &AgencyName, shown: &Value) {
    let priority = if shown["priority"] == "urgent" { Priority::Urgent } else { Priority::Ordinary };
    let tally = tallies.entry((agency.clone(), priority)).or_default();
    *tally += shown["timeline"].as_array().into_iter().flatten().filter(|change| change["state"] == "sending").count();
}

fn cases() -> Vec<DemoCase> {
    vec![
        DemoCase {
            title: "a clerk looks a person up (SOAP, WS-Security)",
            request: request("person-lookup", CITIZEN, json!({})),
            injected_fault: None,
            ends_as: "completed",
        },
        DemoCase {
            title: "an extract is ordered, urgently (SOAP, the agency recognises repeats)",
            request: {
                let data = json!({"act": "birth", "copies": 1, "language": "ro"});
                let mut urgent = request("civil-status-extract", CITIZEN, data);
                urgent["priority"] = json!("urgent");
                urgent
            },
            injected_fault: None,
            ends_as: "completed",
        },
        DemoCase {
            title: "a legal event is registered (REST, JWS)",
            request: request("legal-event", CITIZEN, event()),
            injected_fault: None,
            ends_as: "completed",
        },
        DemoCase {
            title: "the person is not in the registry: the agency says no",
            request: request("person-lookup", NOBODY, json!({})),
            injected_fault: None,
            ends_as: "refused",
        },
        DemoCase {
            title: "the agency acts and then drops the connection: it is asked before anything is sent again",
            request: request("legal-event", CITIZEN, event()),
            injected_fault: Some(json!({"fault": "reset-after-effect", "times": 1})),
            ends_as: "completed",
        },
        DemoCase {
            title: "the agency's answers carry a wrong signature: never believed, in the end parked for an operator",
            request: request("person-lookup", CITIZEN, json!({})),
            injected_fault: Some(json!({"fault": "wrong-signature"})),
            ends_as: "parked",
        },
    ]
}

fn request(service: &str, person: &str, data: Value) -> Value {
    json!({
        "service": service,
        "context": {
            "clerk": "2000000000900",
            "entity": "1000000000001",
            "legal_basis": "Law 100/2020, art. 5",
            "reason": "Application 123 at the counter"
        },
        "subject": {"scheme": "idnp", "id": person},
        "data": data
    })
}

fn event() -> Value {
    json!({"event_type": "Punte.Residence.Registered", "event_time": "2026-11-21T10:00:00Z", "message": "Residence registered"})
}

async fn post(client: &OfficeClient<'_>, case: &DemoCase) -> Result<(String, AgencyName)> {
    let agency = agency_of(client, case.request["service"].as_str().unwrap_or_default()).await?;
    behave(client.stack, &agency, case.injected_fault.clone().unwrap_or_default())?;
    let response = client
        .http
        .post(format!("{}/v1/submissions", client.stack.gateway()))
        .header("idempotency-key", uuid::Uuid::new_v4().to_string())
        .header("content-type", "application/json")
        .body(case.request.to_string())
        .send()
        .await
        .context("the gateway does not answer")?;
    let status = response.status();
    let body: Value = serde_json::from_slice(&response.bytes().await?)?;
    match body["id"].as_str() {
        Some(id) => Ok((id.to_owned(), agency)),
        None => bail!("the gateway refused the request with {status}: {body}"),
    }
}

async fn agency_of(client: &OfficeClient<'_>, service: &str) -> Result<AgencyName> {
    let service = get(client, &format!("/v1/services/{service}")).await?;
    Ok(service["agency"].as_str().context("the catalogue names no agency")?.parse()?)
}

fn behave(stack: &TestStack, agency: &AgencyName, injected_fault: Value) -> Result<()> {
    let simulator = stack.simulators.get(agency).context("the agency is not simulated")?;
    Ok(simulator.behave(injected_fault)?)
}

/// Shows every change until the machine has done what it can.
async fn watch(client: &OfficeClient<'_>, presenter: &Presenter, id: &str) -> Result<Value> {
    let begun = Instant::now();
    let mut seen = 0;
    loop {
        let shown = get(client, &format!("/v1/submissions/{id}")).await?;
        let timeline = shown["timeline"].as_array().cloned().unwrap_or_default();
        for change in timeline.iter().skip(seen) {
            presenter.change(&shown, change);
        }
        seen = timeline.len();
        let state = shown["state"].as_str().unwrap_or_default();
        if matches!(state, "completed" | "refused" | "parked" | "uncertain" | "expired" | "cancelled") {
            return Ok(shown);
        }
        if begun.elapsed() > Duration::from_secs(60) {
            bail!("submission {id} is still {state} after a minute");
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

async fn get(client: &OfficeClient<'_>, path: &str) -> Result<Value> {
    let response = client.http.get(format!("{}{path}", client.stack.gateway())).send().await?;
    let status = response.status();
    let body = response.bytes().await?;
    serde_json::from_slice(&body).with_context(|| format!("{path} answered {status} with something other than JSON"))
}
