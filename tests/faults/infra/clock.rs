//! The clock jumps by an hour and by a day, to both sides: nothing is lost, nothing is sent twice, deadlines are kept as
//! they were written, and a circuit stays open no longer than it should.

use crate::town::{CITIZEN, Town, request, states};
use jiff::{SignedDuration, Timestamp};
use punte::{
    domain::{Clock, Event},
    journal::Entry,
    kit::stage::StagePlan,
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

async fn town(clock: &Arc<JumpingClock>, more: impl FnOnce(&mut StagePlan)) -> Town {
    let town = Town::with_adapters(strict, |plan| {
        plan.clock = clock.clone();
        plan.retry = "first_wait_secs = 1\nmax_wait_secs = 1\nmax_attempts = 20\njitter = 0\n";
        plan.more_config = "[scheduler]\nlost_after_secs = 4\n".into();
        more(plan);
    })
    .await;
    // The whole country's clock jumps: else the agencies would refuse signatures of another time.
    town.stage.simulators.values().for_each(|simulator| simulator.live_by(clock.clone()));
    town
}

const SERVICES: [&str; 3] = ["person-lookup", "civil-status-extract", "legal-event"];

async fn post_some(town: &Town, ids: &mut Vec<(String, &'static str)>, count: usize) {
    for number in 0..count {
        let service = SERVICES[number % SERVICES.len()];
        ids.push((town.post(service).await, service));
    }
}

/// How often the agencies have done it.
fn times_done(town: &Town, id: &str) -> u32 {
    let ledgers = town.stage.simulators.values().flat_map(|simulator| simulator.ledger());
    ledgers.filter(|entry| entry.reference.as_deref() == Some(id)).map(|entry| entry.times_seen).sum()
}

/// What an agency has refused because it was signed at another time comes in front of an operator, who replays it.
async fn replay_what_was_refused(town: &Town, clock: &JumpingClock, ids: &[(String, &str)]) -> usize {
    let mut replayed = 0;
    for (id, _) in ids {
        let shown = town.until(id, &["completed", "parked", "uncertain", "retrying"]).await;
        if shown["state"] != "parked" {
            continue;
        }
        let code = shown["fault"]["code"].as_str().unwrap();
        assert!(["agency.soap-fault.client", "agency.http.client-error"].contains(&code), "{shown:#}");
        assert_eq!(times_done(town, id), 0, "{shown:#}");
        let journal = &town.stage.process().unwrap().journal;
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
async fn audit(town: &Town, ids: &[(String, &str)]) -> usize {
    let mut uncertain = 0;
    for (id, service) in ids {
        let shown = town.until(id, &["completed", "refused", "parked", "uncertain", "expired", "cancelled"]).await;
        let times = times_done(town, id);
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
    let town = town(&clock, |_| {}).await;
    let mut ids = Vec::new();
    post_some(&town, &mut ids, 6).await;
    for agency in ["civil-registry", "legal-events"] {
        town.behave(agency, json!([{"fault": {"status": {"code": 503}}, "times": 2}, {"delay_ms": 700, "times": 6}]));
    }
    post_some(&town, &mut ids, 12).await;
    sleep(Duration::from_millis(200)).await;
    clock.jump(by);
    let begun = Instant::now();
    post_some(&town, &mut ids, 6).await;
    // What comes after the jump does not wait for it to be taken back.
    for (id, service) in &ids[18..] {
        let shown = town.until(id, &["completed", "uncertain", "parked"]).await;
        assert_eq!(shown["state"], "completed", "{service}: {shown:#}");
    }
    let after = begun.elapsed();
    clock.jump(-by);
    let replayed = replay_what_was_refused(&town, &clock, &ids).await;
    let uncertain = audit(&town, &ids).await;
    println!(
        "clock {by:#}: {} submissions, {uncertain} uncertain, {replayed} refused in the air and replayed, those after the \
         jump ended within {after:.1?}",
        ids.len()
    );
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_an_hour_forward_and_back_costs_nothing() {
    survives_a_jump_of(HOUR).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_an_hour_backward_and_forward_costs_nothing() {
    survives_a_jump_of(-HOUR).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_a_day_to_either_side_costs_nothing() {
    survives_a_jump_of(DAY).await;
    survives_a_jump_of(-DAY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines_are_kept_as_they_were_written_through_jumps() {
    let clock = JumpingClock::right();
    let town = town(&clock, |plan| plan.retry = "first_wait_secs = 60\nmax_wait_secs = 60\nmax_attempts = 9\n").await;
    town.behave("civil-registry", json!({"fault": "busy"}));
    let with_deadline = async |within: SignedDuration| {
        // Of a `once`, a second "busy" proves nothing while the clock jumps: whose time could tell an older one?
        let mut request = request("person-lookup", CITIZEN);
        request["expires_at"] = json!((clock.now() + within).to_string());
        town.post_request(&request).await
    };
    let soon = with_deadline(SignedDuration::from_mins(30)).await;
    let late = with_deadline(SignedDuration::from_hours(3)).await;
    for id in [&soon, &late] {
        town.until(id, &["retrying"]).await;
    }
    // Backward: neither ends before its time.
    clock.jump(-HOUR);
    sleep(Duration::from_secs(1)).await;
    for id in [&soon, &late] {
        assert_ne!(town.show(id).await["state"], "expired");
    }
    // An hour too far: one is over, and stays so when the clock is set right; the other goes on.
    clock.jump(HOUR + HOUR);
    let shown = town.ends(&soon, "expired").await;
    assert_eq!(shown["fault"]["code"], "bus.deadline.passed", "{shown:#}");
    assert_ne!(town.show(&late).await["state"], "expired");
    clock.jump(-HOUR);
    assert_eq!(town.show(&soon).await["state"], "expired");
    town.behave("civil-registry", Value::Null);
    // What is under way might have been refused already, and would wait for another minute of the new time.
    town.until(&late, &["retrying", "completed"]).await;
    clock.jump(SignedDuration::from_mins(65));
    town.ends(&late, "completed").await;
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circuit_that_opened_before_the_clock_was_set_back_closes_in_its_own_time() {
    let clock = JumpingClock::right();
    let town = town(&clock, |plan| {
        plan.retry = "first_wait_secs = 60\nmax_wait_secs = 60\nmax_attempts = 9\n";
    })
    .await;
    town.behave("legal-events", json!({"fault": {"status": {"code": 503}}}));
    for _ in 0..5 {
        let id = town.post("legal-event").await;
        town.until(&id, &["retrying"]).await;
    }
    let waiting = town.post("legal-event").await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(town.show(&waiting).await["attempts"], 0, "the circuit is not open");
    clock.jump(-HOUR);
    town.behave("legal-events", Value::Null);
    let begun = Instant::now();
    let fresh = town.post("legal-event").await;
    town.ends(&fresh, "completed").await;
    println!("after an hour backward the circuit closed within {:?}; its cooldown is 2 s", begun.elapsed());
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_ends_by_a_jump_lets_nobody_send_a_once_again() {
    let clock = JumpingClock::right();
    let town = town(&clock, |_| {}).await;
    // The agency's own clock is right, or it would refuse what was signed before.
    town.simulator("civil-registry").live_by(JumpingClock::right());
    town.behave("civil-registry", json!({"delay_ms": 1500}));
    let id = town.post("civil-status-extract").await;
    town.until(&id, &["sending"]).await;
    clock.jump(HOUR);
    let shown = town.ends(&id, "uncertain").await;
    sleep(Duration::from_secs(2)).await;
    // The worker was alive and the agency has acted; its answer came after the state was decided.
    assert_eq!(town.effects("civil-registry"), 1, "{shown:#}");
    assert_eq!(town.show(&id).await["state"], "uncertain");
    assert_eq!(town.simulator("civil-registry").requests(), 1);
    clock.jump(-HOUR);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(town.simulator("civil-registry").requests(), 1);
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agency_that_is_slow_over_a_jump_is_not_given_the_same_twice() {
    let clock = JumpingClock::right();
    let short = |_: &str, text: String| text.replace("timeout_secs = 20", "timeout_secs = 2");
    let town = Town::with_adapters(short, |plan| {
        plan.clock = clock.clone();
        plan.retry = "first_wait_secs = 0.3\nmax_wait_secs = 0.3\nmax_attempts = 20\njitter = 0\n";
    })
    .await;
    town.stage.simulators.values().for_each(|simulator| simulator.live_by(clock.clone()));
    // It acts after we have given up, within as long again; until then it says that it knows of nothing.
    town.behave("legal-events", json!({"delay_ms": 3500, "times": 1}));
    let id = town.post("legal-event").await;
    town.until(&id, &["retrying"]).await;
    clock.jump(HOUR);
    let shown = town.ends(&id, "completed").await;
    sleep(Duration::from_secs(2)).await;
    let times: u32 = town.simulator("legal-events").ledger().iter().map(|entry| entry.times_seen).sum();
    assert_eq!(times, 1, "the agency has done it {times} times: {shown:#}");
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_whose_clock_alone_is_wrong_loses_nothing() {
    let clock = JumpingClock::right();
    let town = town(&clock, |_| {}).await;
    let right: Arc<dyn Clock> = JumpingClock::right();
    town.stage.simulators.values().for_each(|simulator| simulator.live_by(right.clone()));
    for by in [HOUR, -HOUR] {
        clock.jump(by);
        let mut ids = Vec::new();
        post_some(&town, &mut ids, 6).await;
        for (id, service) in &ids {
            // The agencies refuse signatures of another time, and have done nothing; or cannot be believed themselves.
            let shown = town.until(id, &["completed", "parked", "retrying", "uncertain"]).await;
            assert_ne!((*service, &shown["state"]), ("civil-status-extract", &json!("completed")), "{shown:#}");
        }
        clock.jump(-by);
        let replayed = replay_what_was_refused(&town, &clock, &ids).await;
        let uncertain = audit(&town, &ids).await;
        println!("bus alone {by:#}: {} submissions, {replayed} refused and replayed, {uncertain} uncertain", ids.len());
    }
    town.leave().await;
}
