//! Some agencies name the request that they answer by the digest of its body: that binds an answer on the whole way.

use super::hostile::{DIGEST, Hostile, OTHER_DIGEST};
use crate::environment::{CITIZEN, TestEnvironment, request};
use serde_json::json;
use std::path::Path;

/// The log of events as one that signs nothing and repeats no reference, but a digest.
fn by_digest(text: String) -> String {
    let (head, tail) = text.split_once("[seal.answer]").unwrap();
    let (_, operation) = tail.split_once("[operations.legal-event]").unwrap();
    format!("{head}[seal.answer]\nkind = \"none\"\n\n[operations.legal-event]{operation}")
        .replace("failures = 5", "failures = 1000")
}

async fn env(template: impl Fn(String) -> String) -> (TestEnvironment, Hostile) {
    let hostile = Hostile::default();
    let player = hostile.clone();
    let folder = tempfile::tempdir().unwrap();
    let adapters = folder.path().join("adapters");
    crate::environment::copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters"), &adapters);
    let edit = |file: &str, change: &dyn Fn(String) -> String| {
        let path = adapters.join(file);
        let before = std::fs::read_to_string(&path).unwrap();
        let after = change(before.clone());
        assert_ne!(before, after, "{file} was not changed");
        std::fs::write(path, after).unwrap();
    };
    edit("legal-events/agency.toml", &by_digest);
    edit("legal-events/legal-event/request.json", &template);
    edit("legal-events/legal-event/answer.jq", &|text| {
        text.replace(
            "{reference: .body.event_id, answer:",
            "{reference: .body.event_id, request_digest: .body.digest, answer:",
        )
    });
    let env = TestEnvironment::planned(|plan| {
        plan.adapters = adapters.clone();
        plan.retry = "first_wait_secs = 0.1\nmax_wait_secs = 1\nmax_attempts = 1\n";
        let begin = move |keys: &Path| format!("https://localhost:{}/x", player.begin(keys));
        plan.external_agencies.insert("legal-events".parse().unwrap(), Box::new(begin));
    });
    let env = env.await;
    drop(folder);
    (env, hostile)
}

fn says(hostile: &Hostile, digest: &str) {
    let body = format!("{{\"uid\":\"1\",\"registered_at\":\"2026-03-02T08:30:01Z\",\"digest\":{digest}}}");
    hostile.says(200, "content-type: application/json\r\n", body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_digest_of_our_request_binds_an_answer_and_that_of_another_does_not() {
    let (env, hostile) = env(|text| text + "\n").await;
    for digest in [DIGEST, OTHER_DIGEST] {
        says(&hostile, &format!("\"{digest}\""));
        let id = env.post("legal-event").await;
        env.ends(&id, "completed").await;
    }
    let another = "0".repeat(64);
    for digest in [format!("\"{another}\""), "null".into(), "\"\"".into()] {
        says(&hostile, &digest);
        env.post_and_end("legal-event", "parked", "agency.answer.mismatched").await;
    }
    env.leave().await;
}

/// The template prints our reference in most cases, and so `punte check` is content; in this one it does not, and another
/// submission may have the same body.
#[tokio::test(flavor = "multi_thread")]
async fn the_digest_of_a_body_that_does_not_name_our_request_binds_nothing() {
    let (env, hostile) = env(|text| {
        let printed = "{{ \"none\" if data.event_type == \"Punte.Residence.Closed\" else reference }}";
        text.replace("{{ reference }}", printed)
    })
    .await;
    says(&hostile, &format!("\"{DIGEST}\""));
    let mut request = request("legal-event", CITIZEN);
    for (kind, state) in [("Punte.Residence.Opened", "completed"), ("Punte.Residence.Closed", "parked")] {
        request["data"]["event_type"] = json!(kind);
        let id = env.post_request(&request).await;
        let shown = env.ends(&id, state).await;
        assert!(state == "completed" || shown["fault"]["code"] == "agency.answer.mismatched", "{shown:#}");
    }
    env.leave().await;
}
