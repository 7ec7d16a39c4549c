//! The clock jumps by an hour and by a day, to both sides: nothing is lost, nothing is sent twice, deadlines are kept as
//! they were written, and a circuit stays open no longer than it should.

use crate::environment::{CITIZEN, TestEnvironment, request, states};
use jiff::{SignedDuration, Timestamp};
use punte::{
    domain::{Clock, Event},
    journal::Entry,
    kit::test_stack::TestStackPlan,
};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Runs like the system's, and jumps when told to.
struct JumpingClock(Mutex<SignedDuration>);

impl JumpingClock {
    fn right() -> Arc<Self> {
        Arc::new(Self(Mutex::default()))
    }

    fn jump(&self, by: SignedDuration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        Timestamp::now() + *self.0.lock().unwrap()
    }
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The extract is done `once`, a circuit cools down quickly, and no deadline passes by a jump.
fn strict(_: &str, text: String) -> String {
    let once = text.replace("\"idempotent\"", "\"once\"").replace("cooldown_secs = 15", "cooldown_secs = 2");
    let long = "deadline_secs = 500000";
    once.replace("deadline_secs = 3600", long).replace("deadline_secs = 86400", long)
}

async fn env(clock: &Arc<JumpingClock>, more: impl FnOnce(&mut TestStackPlan)) -> TestEnvironment {
    let env = TestEnvironment::with_adapters(strict, |plan| {
        plan.clock = clock.clone();
        plan.retry = "first_wait_secs = 1\nmax_wait_secs = 1\nmax_attempts = 20\njitter = 0\n";
        plan.more_config = "[scheduler]\nlost_after_secs = 4\n".into();
        more(plan);
    })
    .await;
    // The clock of the whole environment jumps: else the agencies would refuse signatures of another time.
    env.stack.simulators.values().for_each(|simulator| simulator.set_clock(clock.clone()));
    env
}

const SERVICES: [&str; 3] = ["person-lookup", "civil-status-extract", "legal-event"];

async fn post_some(env: &TestEnvironment, ids: &mut Vec<(String, &'static str)>, count: usize) {
    for number in 0..count {
        let service = SERVICES[number % SERVICES.len()];
        ids.push((env.post(service).await, service));
    }
}

/// How often the agencies have done it.
fn times_done(env: &TestEnvironment, id: &str) -> u32 {
    let ledgers = env.stack.simulators.values().flat_map(|simulator| simulator.ledger());
    ledgers.filter(|entry| entry.reference.as_deref() == Some(id)).map(|entry| entry.times_seen).sum()
}

/// What an agency has refused because it was signed at another time comes in front of an operator, who replays it.
async fn replay_what_was_refused(env: &TestEnvironment, clock: &JumpingClock, ids: &[(String, &str)]) -> usize {
    let mut replayed = 0;
    for (id, _) in ids {
        let shown = env.until(id, &["completed", "parked", "uncertain", "retrying"]).await;
        if shown["state"] != "parked" {
            continue;
        }
        let code = shown["fault"]["code"].as_str().unwrap();
        assert!(["agency.soap-fault.client", "agency.http.client-error"].contains(&code), "{shown:#}");
        assert_eq!(times_done(env, id), 0, "{shown:#}");
        let journal = &env.stack.process().unwrap().journal;
        // The agency has not signed its refusal, so it may have acted; the operator has asked it and knows better.
        let id = id.parse().unwrap();
        let attempts = journal.find(id).await.unwrap().unwrap().progress.attempts;
        let again = Event::Replayed { by: "operator".into(), accepts_repeat: Some(attempts) };
        journal.record(id, Entry::new(again, clock.now())).await.unwrap();
        replayed += 1;
    }
    replayed
}

/// Everything ends, and no agency has done anything more often than it may.
async fn audit(env: &TestEnvironment, ids: &[(String, &str)]) -> usize {
    let mut uncertain = 0;
    for (id, service) in ids {
        let shown = env.until(id, &["completed", "refused", "parked", "uncertain", "expired", "cancelled"]).await;
        let times = times_done(env, id);
        let is_right = match (*service, shown["state"].as_str().unwrap()) {
            ("person-lookup", "completed") => true,
            ("civil-status-extract" | "legal-event", "completed") => times == 1,
            ("civil-status-extract", "uncertain") => {
                uncertain += 1;
                times <= 1
            }
            _ => false,
        };
        assert!(is_right, "{service} {id}: done {times} times\n{shown:#}");
        let in_order = states(&shown);
        assert_eq!(in_order.last(), shown["state"].as_str().as_ref(), "timeline and state disagree: {shown:#}");
    }
    uncertain
}

/// The clock jumps while requests wait, are under way, and are to be tried again; then it is set right.
async fn survives_a_jump_of(by: SignedDuration) {
    let clock = JumpingClock::right();
    let env = env(&clock, |_| {}).await;
    let mut ids = Vec::new();
    post_some(&env, &mut ids, 6).await;
    for agency in ["civil-registry", "legal-events"] {
        env.behave(agency, json!([{"fault": {"status": {"code": 503}}, "times": 2}, {"delay_ms": 700, "times": 6}]));
    }
    post_some(&env, &mut ids, 12).await;
    sleep(Duration::from_millis(200)).await;
    clock.jump(by);
    let begun = Instant::now();
    post_some(&env, &mut ids, 6).await;
    // What comes after the jump does not wait for it to be taken back.
    for (id, service) in &ids[18..] {
        let shown = env.until(id, &["completed", "uncertain", "parked"]).await;
        assert_eq!(shown["state"], "completed", "{service}: {shown:#}");
    }
    let after = begun.elapsed();
    clock.jump(-by);
    let replayed = replay_what_was_refused(&env, &clock, &ids).await;
    let uncertain = audit(&env, &ids).await;
    println!(
        "clock {by:#}: {} submissions, {uncertain} uncertain, {replayed} refused in the air and replayed, those after the \
         jump ended within {after:.1?}",
        ids.len()
    );
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_an_hour_forward_and_back_loses_nothing_and_repeats_nothing() {
    survives_a_jump_of(HOUR).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_an_hour_backward_and_forward_loses_nothing_and_repeats_nothing() {
    survives_a_jump_of(-HOUR).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_a_day_to_either_side_loses_nothing_and_repeats_nothing() {
    survives_a_jump_of(DAY).await;
    survives_a_jump_of(-DAY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_are_kept_as_they_were_written_through_jumps() {
    let clock = JumpingClock::right();
    let env = env(&clock, |plan| plan.retry = "first_wait_secs = 60\nmax_wait_secs = 60\nmax_attempts = 9\n").await;
    env.behave("civil-registry", json!({"fault": "busy"}));
    let with_deadline = async |within: SignedDuration| {
        // Of a `once`, a second "busy" proves nothing while the clock jumps: whose time could tell an older one?
        let mut request = request("person-lookup", CITIZEN);
        request["expires_at"] = json!((clock.now() + within).to_string());
        env.post_request(&request).await
    };
    let soon = with_deadline(SignedDuration::from_mins(30)).await;
    let late = with_deadline(SignedDuration::from_hours(3)).await;
    for id in [&soon, &late] {
        env.until(id, &["retrying"]).await;
    }
    // Backward: neither ends before its time.
    clock.jump(-HOUR);
    sleep(Duration::from_secs(1)).await;
    for id in [&soon, &late] {
        assert_ne!(env.show(id).await["state"], "expired");
    }
    // An hour too far: one is over, and stays so when the clock is set right; the other goes on.
    clock.jump(HOUR + HOUR);
    let shown = env.ends(&soon, "expired").await;
    assert_eq!(shown["fault"]["code"], "bus.deadline.passed", "{shown:#}");
    assert_ne!(env.show(&late).await["state"], "expired");
    clock.jump(-HOUR);
    assert_eq!(env.show(&soon).await["state"], "expired");
    env.behave("civil-registry", Value::Null);
    // What is under way might have been refused already, and would wait for another minute of the new time.
    env.until(&late, &["retrying", "completed"]).await;
    clock.jump(SignedDuration::from_mins(65));
    env.ends(&late, "completed").await;
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circuit_that_opened_before_the_clock_was_set_back_closes_in_its_own_time() {
    let clock = JumpingClock::right();
    let env = env(&clock, |plan| {
        plan.retry = "first_wait_secs = 60\nmax_wait_secs = 60\nmax_attempts = 9\n";
    })
    .await;
    env.behave("legal-events", json!({"fault": {"status": {"code": 503}}}));
    for _ in 0..5 {
        let id = env.post("legal-event").await;
        env.until(&id, &["retrying"]).await;
    }
    let waiting = env.post("legal-event").await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(env.show(&waiting).await["attempts"], 0, "the circuit is not open");
    clock.jump(-HOUR);
    env.behave("legal-events", Value::Null);
    let begun = Instant::now();
    let fresh = env.post("legal-event").await;
    env.ends(&fresh, "completed").await;
    let closed = begun.elapsed();
    assert!(closed < Duration::from_secs(10), "its cooldown is 2 s, and it closed after {closed:?}");
    println!("after an hour backward the circuit closed within {closed:?}; its cooldown is 2 s");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_ends_by_a_jump_lets_nobody_send_a_once_again() {
    let clock = JumpingClock::right();
    let env = env(&clock, |_| {}).await;
    // The agency's own clock is right, or it would refuse what was signed before.
    env.simulator("civil-registry").set_clock(JumpingClock::right());
    env.behave("civil-registry", json!({"delay_ms": 1500}));
    let id = env.post("civil-status-extract").await;
    env.until(&id, &["sending"]).await;
    clock.jump(HOUR);
    let shown = env.ends(&id, "uncertain").await;
    sleep(Duration::from_secs(2)).await;
    // The worker was alive and the agency has acted; its answer came after the state was decided.
    assert_eq!(env.effects("civil-registry"), 1, "{shown:#}");
    assert_eq!(env.show(&id).await["state"], "uncertain");
    assert_eq!(env.simulator("civil-registry").requests(), 1);
    clock.jump(-HOUR);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(env.simulator("civil-registry").requests(), 1);
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agency_that_is_slow_over_a_jump_is_not_given_the_same_twice() {
    let clock = JumpingClock::right();
    let short = |_: &str, text: String| text.replace("timeout_secs = 20", "timeout_secs = 2");
    let env = TestEnvironment::with_adapters(short, |plan| {
        plan.clock = clock.clone();
        plan.retry = "first_wait_secs = 0.3\nmax_wait_secs = 0.3\nmax_attempts = 20\njitter = 0\n";
    })
    .await;
    env.stack.simulators.values().for_each(|simulator| simulator.set_clock(clock.clone()));
    // It acts after we have given up, within as long again; until then it says that it knows of nothing.
    env.behave("legal-events", json!({"delay_ms": 3500, "times": 1}));
    let id = env.post("legal-event").await;
    env.until(&id, &["retrying"]).await;
    clock.jump(HOUR);
    let shown = env.ends(&id, "completed").await;
    sleep(Duration::from_secs(2)).await;
    let times: u32 = env.simulator("legal-events").ledger().iter().map(|entry| entry.times_seen).sum();
    assert_eq!(times, 1, "the agency has done it {times} times: {shown:#}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_whose_clock_alone_is_wrong_loses_nothing() {
    let clock = JumpingClock::right();
    let env = env(&clock, |_| {}).await;
    let right: Arc<dyn Clock> = JumpingClock::right();
    env.stack.simulators.values().for_each(|simulator| simulator.set_clock(right.clone()));
    for by in [HOUR, -HOUR] {
        clock.jump(by);
        let mut ids = Vec::new();
        post_some(&env, &mut ids, 6).await;
        for (id, service) in &ids {
            // The agencies refuse signatures of another time, and have done nothing; or cannot be believed themselves.
            let shown = env.until(id, &["completed", "parked", "retrying", "uncertain"]).await;
            assert_ne!((*service, &shown["state"]), ("civil-status-extract", &json!("completed")), "{shown:#}");
        }
        clock.jump(-by);
        let replayed = replay_what_was_refused(&env, &clock, &ids).await;
        let uncertain = audit(&env, &ids).await;
        println!("bus alone {by:#}: {} submissions, {replayed} refused and replayed, {uncertain} uncertain", ids.len());
    }
    env.leave().await;
}
