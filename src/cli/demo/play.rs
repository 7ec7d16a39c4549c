//! The demo: a test stack comes in; six submissions travel, one by one, and each one's end is held against the plan.

use super::{
    picture::Picture,
    tally::{Play, Tallies},
};
use crate::{
    domain::AgencyName,
    kit::test_stack::{OFFICE, TestStack},
};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// One submission: what is asked, what the agency is told to do, and how it should end.
struct Scene {
    title: &'static str,
    request: Value,
    /// What the simulated agency does wrong, if anything.
    mischief: Option<Value>,
    ends_as: &'static str,
}

const CITIZEN: &str = "2000000000001";
const NOBODY: &str = "2000000000404";

/// The clerk's side: the test stack, and one HTTP client for all requests.
struct Counter<'a> {
    stack: &'a TestStack,
    http: reqwest::Client,
}

pub async fn all(stack: &TestStack, picture: &Picture) -> Result<Play> {
    let counter = Counter { stack, http: stack.client(OFFICE)? };
    let scenes = scenes();
    let mut play = Play { scenes: scenes.len(), as_planned: 0, tallies: Tallies::new() };
    for (number, scene) in scenes.into_iter().enumerate() {
        picture.scene(number + 1, scene.title);
        let (id, agency) = post(&counter, &scene).await?;
        let shown = watch(&counter, picture, &id).await?;
        play.as_planned += usize::from(shown["state"] == scene.ends_as);
        count(&mut play.tallies, &agency, &shown);
        picture.end(stack, &agency, &shown, scene.ends_as);
        behave(stack, &agency, Value::Null)?;
    }
    Ok(play)
}

fn count(tallies: &mut Tallies, agency: &AgencyName, shown: &Value) {
    let tally = tallies.entry((agency.clone(), shown["priority"] == "urgent")).or_default();
    *tally += shown["timeline"].as_array().into_iter().flatten().filter(|change| change["state"] == "sending").count();
}

fn scenes() -> Vec<Scene> {
    vec![
        Scene {
            title: "a clerk looks a person up (SOAP, WS-Security)",
            request: request("person-lookup", CITIZEN, json!({})),
            mischief: None,
            ends_as: "completed",
        },
        Scene {
            title: "an extract is ordered, urgently (SOAP, the agency recognises repeats)",
            request: {
                let data = json!({"act": "birth", "copies": 1, "language": "ro"});
                let mut urgent = request("civil-status-extract", CITIZEN, data);
                urgent["priority"] = json!("urgent");
                urgent
            },
            mischief: None,
            ends_as: "completed",
        },
        Scene {
            title: "a legal event is registered (REST, JWS)",
            request: request("legal-event", CITIZEN, event()),
            mischief: None,
            ends_as: "completed",
        },
        Scene {
            title: "the person is not in the registry: the agency says no",
            request: request("person-lookup", NOBODY, json!({})),
            mischief: None,
            ends_as: "refused",
        },
        Scene {
            title: "the agency acts and then drops the connection: it is asked before anything is sent again",
            request: request("legal-event", CITIZEN, event()),
            mischief: Some(json!({"fault": "reset-after-effect", "times": 1})),
            ends_as: "completed",
        },
        Scene {
            title: "the agency's answers carry a wrong signature: never believed, in the end parked for an operator",
            request: request("person-lookup", CITIZEN, json!({})),
            mischief: Some(json!({"fault": "wrong-signature"})),
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

async fn post(counter: &Counter<'_>, scene: &Scene) -> Result<(String, AgencyName)> {
    let agency = agency_of(counter, scene.request["service"].as_str().unwrap_or_default()).await?;
    behave(counter.stack, &agency, scene.mischief.clone().unwrap_or_default())?;
    let response = counter
        .http
        .post(format!("{}/v1/submissions", counter.stack.gateway()))
        .header("idempotency-key", uuid::Uuid::new_v4().to_string())
        .header("content-type", "application/json")
        .body(scene.request.to_string())
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

async fn agency_of(counter: &Counter<'_>, service: &str) -> Result<AgencyName> {
    let service = get(counter, &format!("/v1/services/{service}")).await?;
    Ok(service["agency"].as_str().context("the catalogue names no agency")?.parse()?)
}

fn behave(stack: &TestStack, agency: &AgencyName, mischief: Value) -> Result<()> {
    let simulator = stack.simulators.get(agency).context("the agency is not simulated")?;
    Ok(simulator.behave(mischief)?)
}

/// Shows every change until the machine has done what it can.
async fn watch(counter: &Counter<'_>, picture: &Picture, id: &str) -> Result<Value> {
    let begun = Instant::now();
    let mut seen = 0;
    loop {
        let shown = get(counter, &format!("/v1/submissions/{id}")).await?;
        let timeline = shown["timeline"].as_array().cloned().unwrap_or_default();
        for change in timeline.iter().skip(seen) {
            picture.change(&shown, change);
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

async fn get(counter: &Counter<'_>, path: &str) -> Result<Value> {
    let response = counter.http.get(format!("{}{path}", counter.stack.gateway())).send().await?;
    let status = response.status();
    let body = response.bytes().await?;
    serde_json::from_slice(&body).with_context(|| format!("{path} answered {status} with something other than JSON"))
}
