//! Some agencies name the request that they answer by the digest of its body: that binds an answer on the whole road.

use super::hostile::{DIGEST, Hostile, OTHER_DIGEST};
use crate::town::Town;
use std::path::Path;

/// The log of events as one that signs nothing and repeats no reference, but a digest.
fn by_digest(text: String) -> String {
    let (head, tail) = text.split_once("[seal.answer]").unwrap();
    let (_, operation) = tail.split_once("[operations.legal-event]").unwrap();
    format!("{head}[seal.answer]\nkind = \"none\"\n\n[operations.legal-event]{operation}")
        .replace("failures = 5", "failures = 1000")
}

async fn town() -> (Town, Hostile) {
    let hostile = Hostile::default();
    let player = hostile.clone();
    let folder = tempfile::tempdir().unwrap();
    let adapters = folder.path().join("adapters");
    crate::town::copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters"), &adapters);
    let edit = |file: &str, change: &dyn Fn(String) -> String| {
        let path = adapters.join(file);
        let before = std::fs::read_to_string(&path).unwrap();
        let after = change(before.clone());
        assert_ne!(before, after, "{file} was not changed");
        std::fs::write(path, after).unwrap();
    };
    edit("legal-events/agency.toml", &by_digest);
    edit("legal-events/legal-event/answer.jq", &|text| {
        text.replace(
            "{reference: .body.event_id, answer:",
            "{reference: .body.event_id, request_digest: .body.digest, answer:",
        )
    });
    let town = Town::planned(|plan| {
        plan.adapters = adapters.clone();
        plan.retry = "first_wait_secs = 0.1\nmax_wait_secs = 1\nmax_attempts = 1\n";
        let begin = move |keys: &Path| format!("https://localhost:{}/x", player.begin(keys));
        plan.played_elsewhere.insert("legal-events".parse().unwrap(), Box::new(begin));
    });
    let town = town.await;
    drop(folder);
    (town, hostile)
}

fn says(hostile: &Hostile, digest: &str) {
    let body = format!("{{\"uid\":\"1\",\"registered_at\":\"2026-03-02T08:30:01Z\",\"digest\":{digest}}}");
    hostile.says(200, "content-type: application/json\r\n", body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_digest_of_our_request_binds_an_answer_and_that_of_another_does_not() {
    let (town, hostile) = town().await;
    for digest in [DIGEST, OTHER_DIGEST] {
        says(&hostile, &format!("\"{digest}\""));
        let id = town.post("legal-event").await;
        town.ends(&id, "completed").await;
    }
    let another = "0".repeat(64);
    for digest in [format!("\"{another}\""), "null".into(), "\"\"".into()] {
        says(&hostile, &digest);
        town.post_and_end("legal-event", "parked", "agency.answer.mismatched").await;
    }
    town.leave().await;
}
