//! A journal that was put back: what it knows nothing of may have left shortly before, and may still be on its way.

use crate::town::{CITIZEN, Town, request};
use jiff::{SignedDuration, Timestamp};
use punte::{
    domain::{CallContext, Effect, Priority, Subject, Submission, SubmissionId, TraceParent},
    journal::{IdempotencyKey, Journal, MarkFile, sqlite::SqliteJournal},
};
use serde_json::json;
use std::{path::Path, process::Command, time::Duration};

const GRACE: Duration = Duration::from_secs(5);
/// An exchange's, and long enough for a start.
const TIMEOUT: SignedDuration = SignedDuration::from_secs(10);

/// In a journal that nobody has open: certainly not sent.
async fn accepted(journal: &Path) -> SubmissionId {
    let now = Timestamp::now();
    let text = |it: &str| it.to_owned();
    let submission = Submission {
        id: SubmissionId::new(),
        office: "causeni".parse().unwrap(),
        service: "legal-event".parse().unwrap(),
        agency: "legal-events".parse().unwrap(),
        effect: Effect::Lookup,
        priority: Priority::Ordinary,
        context: CallContext {
            clerk: text("2000000000900"),
            entity: text("1000000000001"),
            legal_basis: text("Law 100/2020"),
            reason: text("Application 123"),
        },
        subject: Subject { scheme: text("idnp"), id: text(CITIZEN) },
        data: request("legal-event", CITIZEN)["data"].clone(),
        attachments: vec![],
        accepted_at: now,
        expires_at: now + SignedDuration::from_hours(1),
        trace: TraceParent::fresh(),
    };
    let journal = SqliteJournal::open(journal).unwrap();
    let key = IdempotencyKey { key: submission.id.to_string(), body_sha256: [0; 32] };
    journal.accept(&submission, &key, false, None).await.unwrap();
    journal.close().await;
    submission.id
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_left_before_a_restore_is_asked_about_and_not_sent_before_the_agency_is_through_with_it() {
    let slow = |_: &str, text: String| text.replace("timeout_secs = 20", "timeout_secs = 10");
    let rarely = "first_wait_secs = 60\nmax_wait_secs = 60\nmax_attempts = 9\n";
    let mut town = Town::with_adapters(slow, |plan| plan.retry = rarely).await;
    town.stage.stop(GRACE).await;
    let data = town.stage.folder.path().join("data");
    let (journal, before) = (data.join("journal.db"), data.join("before.db"));
    let submission = accepted(&journal).await;
    let id = submission.to_string();
    std::fs::copy(&journal, &before).unwrap();
    // It leaves, and nobody knows what becomes of it.
    town.behave("legal-events", json!({"fault": "reset-before-effect", "times": 1}));
    town.stage.start().await.unwrap();
    town.until(&id, &["retrying"]).await;
    town.stage.stop(GRACE).await;
    let kept = MarkFile::open(&data).unwrap().find().kept.swap_remove(0).1;
    let arrived_before = town.simulator("legal-events").arrivals().len();

    std::fs::copy(&before, &journal).unwrap();
    let mut restored = Command::new(env!("CARGO_BIN_EXE_punte"));
    let restored = restored.args(["journal", "restored", "--config"]).arg(town.stage.config()).output().unwrap();
    assert!(restored.status.success(), "{restored:?}");
    town.stage.start().await.unwrap();
    let shown = town.ends(&id, "completed").await;

    let arrivals = town.simulator("legal-events").arrivals().split_off(arrived_before);
    let (asked, sent): (Vec<_>, Vec<_>) = arrivals.into_iter().partition(|it| it.is_question);
    let through_at = kept.mark.at + TIMEOUT;
    assert!(asked[0].at < through_at, "the start took so long that this shows nothing: {asked:?}");
    assert!(asked.len() >= 2, "a no that came too early was believed: {asked:?}");
    assert!(sent.len() == 1 && sent[0].at >= through_at, "through at {through_at}: {sent:?}");
    assert_eq!(town.effects("legal-events"), 1);
    let causes = || shown["timeline"].as_array().unwrap().iter().map(|change| change["cause"].as_str().unwrap());
    assert!(causes().any(|cause| cause == "put back unsent"), "{shown:#}");
    town.leave().await;
}
