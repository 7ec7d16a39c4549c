//! A journal that was put back: what it knows nothing of may have left shortly before, and may still be on its way.

use super::losses::database_of;
use crate::{
    broker::fixture::raw,
    environment::{CITIZEN, TestEnvironment, in_postgres, over_rabbitmq, request, variable},
    gateway::bad_requests::Lines,
};
use jiff::{SignedDuration, Timestamp};
use punte::{
    broker::rabbitmq::names::Names,
    domain::{CallContext, Effect, Priority, Subject, Submission, SubmissionId, TraceParent},
    journal::{IdempotencyKey, Journal, JournalError, MarkFile, postgres::PostgresJournal, sqlite::SqliteJournal},
};
use serde_json::json;
use std::{path::Path, process::Command, time::Duration};
use tokio::time::{Instant, sleep};

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
    let mut env = TestEnvironment::with_adapters(slow, |plan| plan.retry = rarely).await;
    env.stack.stop(GRACE).await;
    let data = env.stack.folder.path().join("data");
    let (journal, before) = (data.join("journal.db"), data.join("before.db"));
    let submission = accepted(&journal).await;
    let id = submission.to_string();
    std::fs::copy(&journal, &before).unwrap();
    // It leaves, and nobody knows what becomes of it.
    env.behave("legal-events", json!({"fault": "reset-before-effect", "times": 1}));
    env.stack.start().await.unwrap();
    env.until(&id, &["retrying"]).await;
    env.stack.stop(GRACE).await;
    let kept = MarkFile::open(&data).unwrap().find().kept.swap_remove(0).1;
    let arrived_before = env.simulator("legal-events").arrivals().len();

    std::fs::copy(&before, &journal).unwrap();
    an_operator_confirms(&env);
    env.stack.start().await.unwrap();
    let shown = env.ends(&id, "completed").await;

    let arrivals = env.simulator("legal-events").arrivals().split_off(arrived_before);
    let (asked, sent): (Vec<_>, Vec<_>) = arrivals.into_iter().partition(|it| it.is_question);
    let through_at = kept.mark.at + TIMEOUT;
    assert!(asked[0].at < through_at, "the start took so long that this shows nothing: {asked:?}");
    assert!(asked.len() >= 2, "a no that came too early was believed: {asked:?}");
    assert!(sent.len() == 1 && sent[0].at >= through_at, "through at {through_at}: {sent:?}");
    assert_eq!(env.effects("legal-events"), 1);
    let causes = || shown["timeline"].as_array().unwrap().iter().map(|change| change["cause"].as_str().unwrap());
    assert!(causes().any(|cause| cause == "put back unsent"), "{shown:#}");
    env.leave().await;
}

fn an_operator_confirms(env: &TestEnvironment) {
    let mut restored = Command::new(env!("CARGO_BIN_EXE_punte"));
    let restored = restored.args(["journal", "restored", "--config"]).arg(env.stack.config()).output().unwrap();
    assert!(restored.status.success(), "{restored:?}");
}

async fn until_suspended(env: &TestEnvironment) {
    let begun = Instant::now();
    while !env.operations("/healthz/ready").await.contains("punte journal restored") {
        assert!(begun.elapsed() < Duration::from_secs(5), "it is not suspended");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_lacks_the_attempt_under_way_is_noticed_and_nothing_is_done_twice() {
    let once = |agency: &str, text: String| match agency {
        "civil-registry" => text.replace("effect = \"idempotent\"", "effect = \"once\""),
        _ => text,
    };
    // How long it takes until the answer comes: the first to notice are the restore guard and the worker.
    for delay_ms in [3000, 200] {
        let env = TestEnvironment::with_adapters(once, |plan| {
            in_postgres(plan);
            plan.more_config = "[scheduler]\nlost_after_secs = 1\n".into();
        })
        .await;
        let database = database_of(&env).await;
        env.behave("civil-registry", json!({"delay_ms": delay_ms, "times": 1}));
        let id = env.post("civil-status-extract").await;
        env.until(&id, &["sending"]).await;
        // As it was a moment before, in the sessions that are open.
        let earlier = "BEGIN; DELETE FROM attempts; DELETE FROM changes WHERE to_state = 'sending';
            UPDATE submissions SET state = 'queued', state_data = '{\"state\":\"queued\"}', attempts = 0, tries = 0,
            due_at = NULL; COMMIT";
        database.batch_execute(earlier).await.unwrap();
        until_suspended(&env).await;
        // The scheduler would have taken the message for lost.
        sleep(Duration::from_secs(4)).await;
        assert_eq!(env.effects("civil-registry"), 1, "after {delay_ms} ms");
        an_operator_confirms(&env);
        let begun = Instant::now();
        while env.show(&id).await["state"] != "uncertain" {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:#}", env.show(&id).await);
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(env.effects("civil-registry"), 1);
        env.leave().await;
    }
}

/// Another process has sent what is missing, and this one knows nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_another_process_finds_to_be_older_is_suspended_here_within_two_seconds() {
    let mut url = String::new();
    let env = TestEnvironment::planned(|plan| {
        in_postgres(plan);
        url = plan.journal_url.clone().unwrap();
    })
    .await;
    let other = PostgresJournal::open(&url, None).await.unwrap();
    other.advance_mark(Timestamp::now()).await.unwrap();
    other.continuity().leaves(SubmissionId::new(), 1, Timestamp::now());
    assert!(matches!(other.advance_mark(Timestamp::now()).await, Err(JournalError::Suspended(_))));
    until_suspended(&env).await;
    assert_eq!(env.post_raw(&request("legal-event", CITIZEN)).await.0, 503);
    an_operator_confirms(&env);
    let begun = Instant::now();
    while env.post_raw(&request("legal-event", CITIZEN)).await.0 == 503 {
        assert!(begun.elapsed() < Duration::from_secs(5), "it does not go on");
        sleep(Duration::from_millis(50)).await;
    }
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_before_the_journal_was_suspended_is_read_again() {
    let env = TestEnvironment::planned(|plan| {
        in_postgres(plan);
        plan.journal_url.as_mut().unwrap().push_str("&options=-c%20lock_timeout%3D300ms");
    })
    .await;
    let database = database_of(&env).await;
    // No attempt can be recorded.
    database.batch_execute("BEGIN; LOCK TABLE attempts IN EXCLUSIVE MODE").await.unwrap();
    let id = env.post("legal-event").await;
    env.until(&id, &["accepted", "queued"]).await;
    sleep(Duration::from_millis(500)).await;
    // The worker waits with what it has read, and meanwhile the journal is confirmed to be an earlier state.
    let journal = &env.stack.process().unwrap().journal;
    let begun = Instant::now();
    loop {
        journal.continuity().suspend("a test holds it".into());
        // A try of the worker may be under way.
        let Err(error) = journal.restored("operator", Timestamp::now()).await else { break };
        assert!(begun.elapsed() < Duration::from_secs(10), "{error}");
        sleep(Duration::from_millis(100)).await;
    }
    database.batch_execute("ROLLBACK").await.unwrap();
    let shown = env.ends(&id, "completed").await;
    let arrivals = env.simulator("legal-events").arrivals();
    assert!(arrivals[0].is_question, "{arrivals:?} {shown:#}");
    let causes: Vec<_> = shown["timeline"].as_array().unwrap().iter().map(|it| it["cause"].as_str().unwrap()).collect();
    assert!(!causes.contains(&"requeued"), "it was left to the scheduler: {causes:?}");
    env.leave().await;
}

#[tokio::test]
async fn a_copy_of_the_mark_that_is_lost_is_told_and_made_anew() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    // With one subscriber alone, a line that another test's thread reaches first would be taken for unwanted for good.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let told = async |text: &str| {
        let begun = Instant::now();
        while !String::from_utf8_lossy(&lines.0.lock().unwrap()).contains(text) {
            assert!(begun.elapsed() < Duration::from_secs(10), "not told: {text}");
            sleep(Duration::from_millis(50)).await;
        }
        lines.0.lock().unwrap().clear();
    };
    let in_broker = async |env: &TestEnvironment| {
        let begun = Instant::now();
        while !matches!(env.stack.process().unwrap().broker.mark().await, Ok(Some(_))) {
            assert!(begun.elapsed() < Duration::from_secs(10), "the broker has none");
            sleep(Duration::from_millis(50)).await;
        }
    };
    let mut env = TestEnvironment::planned(over_rabbitmq).await;
    let file = MarkFile::open(&env.stack.folder.path().join("data")).unwrap();
    let queue = Names::new(&env.prefix()).unwrap().mark_queue();
    let channel = raw(&variable("PUNTE_TEST_AMQP_URL")).await;
    let channel = channel.create_channel().await.unwrap();
    let ends = async |env: &TestEnvironment| {
        let id = env.post("civil-status-extract").await;
        env.ends(&id, "completed").await;
    };
    ends(&env).await;
    in_broker(&env).await;

    // While it runs, with the next mark.
    channel.queue_delete(queue.clone(), Default::default()).await.unwrap();
    ends(&env).await;
    told("the queue with the copy of the journal's mark was removed").await;
    in_broker(&env).await;
    std::fs::remove_file(file.path()).unwrap();
    ends(&env).await;
    // It is said by a thread that this test does not hear.
    while file.is_gone() {
        sleep(Duration::from_millis(50)).await;
    }

    // At a start, without one.
    env.stack.stop(GRACE).await;
    channel.queue_delete(queue, Default::default()).await.unwrap();
    env.stack.start().await.unwrap();
    told("the broker has no copy of the journal's mark").await;
    in_broker(&env).await;
    env.stack.stop(GRACE).await;
    std::fs::remove_file(file.path()).unwrap();
    env.stack.start().await.unwrap();
    told("the copy of the journal's mark in this folder is lost").await;
    assert!(!file.is_gone());
    env.leave().await;
}
