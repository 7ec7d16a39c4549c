//! Production's rules, looked through to the end: every order of events within the model's bounds.

use super::{escape::Graph, events, moves::Model};
use punte::domain::{Effect, EventName};
use stateright::{Checker, HasDiscoveries, Model as _};
use std::time::Instant;

/// How many tries a schedule allows. More than two cost much time and have shown nothing new so far.
fn tries() -> u32 {
    std::env::var("PUNTE_MODEL_TRIES").ok().and_then(|tries| tries.parse().ok()).unwrap_or(2)
}

fn look_through(model: Model, what: &str) {
    let start = Instant::now();
    let checker = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!(
        "{what}: {} states, {} steps, depth {}, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        start.elapsed().as_secs_f64()
    );
    checker.assert_properties();
}

fn escape_from_everywhere(model: &Model, what: &str) {
    let graph = Graph::of(model);
    println!("{what}: from each of {} states it goes on", graph.size());
    let (endless, lost) = (graph.without_end(), graph.lost_on_the_way());
    assert!(endless.is_empty(), "{} states never end, such as {:#?}", endless.len(), endless[0]);
    assert!(lost.is_empty(), "{} states wait for nothing but the deadline, such as {:#?}", lost.len(), lost[0]);
}

fn with_two_workers(effect: Effect) {
    let what = format!("{}, two workers", effect.as_str());
    // A read may leave before the journal knows of it, so that many more worlds differ: half an hour with a second try.
    let tries = if effect == Effect::Read { (tries() - 1).max(1) } else { tries() };
    look_through(Model { faults: 1, replays: u8::from(effect == Effect::Once), ..Model::new(effect, 2, tries) }, &what);
}

/// A read has no effect that an operator could repeat.
fn with_one_worker(effect: Effect, faults: u8) -> (Model, String) {
    let what = format!("{}, one worker, {faults} faults", effect.as_str());
    (Model { faults, replays: u8::from(effect != Effect::Read), ..Model::new(effect, 1, tries()) }, what)
}

fn with_many_faults(effect: Effect) {
    let (model, what) = with_one_worker(effect, 2);
    look_through(model, &what);
}

fn to_the_end(effect: Effect) {
    let (model, what) = with_one_worker(effect, 1);
    escape_from_everywhere(&model, &what);
    assert_eq!(model.recorded.events(), events::of(effect), "{what}: other events came to pass than should");
}

#[test]
fn two_workers_keep_every_promise_about_a_read() {
    with_two_workers(Effect::Read);
}

#[test]
fn two_workers_keep_every_promise_about_an_idempotent_operation() {
    with_two_workers(Effect::Idempotent);
}

#[test]
fn two_workers_keep_every_promise_about_an_agency_that_can_be_asked() {
    with_two_workers(Effect::Lookup);
}

#[test]
fn two_workers_keep_every_promise_about_what_may_be_done_only_once() {
    with_two_workers(Effect::Once);
}

#[test]
fn a_read_always_ends_or_comes_before_an_operator() {
    to_the_end(Effect::Read);
}

#[test]
fn an_idempotent_operation_always_ends_or_comes_before_an_operator() {
    to_the_end(Effect::Idempotent);
}

#[test]
fn what_the_agency_can_be_asked_about_always_ends_or_comes_before_an_operator() {
    to_the_end(Effect::Lookup);
}

#[test]
fn what_may_be_done_only_once_always_ends_or_comes_before_an_operator() {
    to_the_end(Effect::Once);
}

fn after_a_restore(effect: Effect) {
    let what = format!("{}, a restored journal", effect.as_str());
    let replays = u8::from(effect == Effect::Once) * 2;
    let model = Model { faults: 0, replays, restores: 1, ..Model::new(effect, 1, 1) };
    let checker = model.clone().checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!("{what}: {} states", checker.unique_state_count());
    for property in stateright::Model::properties(&model) {
        let is_promise = property.expectation == stateright::Expectation::Always;
        assert!(!is_promise || checker.discovery(property.name).is_none(), "{what}: {}", property.name);
    }
    assert!(effect == Effect::Read || model.recorded.events().contains(&EventName::Restored));
    let graph = Graph::of(&model);
    assert!(graph.without_end().is_empty(), "{what}: {:#?}", graph.without_end()[0]);
}

#[test]
fn a_restored_journal_breaks_no_promise_about_a_read() {
    after_a_restore(Effect::Read);
}

#[test]
fn a_restored_journal_breaks_no_promise_about_an_idempotent_operation() {
    after_a_restore(Effect::Idempotent);
}

#[test]
fn a_restored_journal_breaks_no_promise_about_what_the_agency_can_be_asked_about() {
    after_a_restore(Effect::Lookup);
}

#[test]
fn a_restored_journal_and_replays_break_no_promise_about_what_may_be_done_only_once() {
    after_a_restore(Effect::Once);
}

#[test]
fn two_faults_break_no_promise_about_a_read() {
    with_many_faults(Effect::Read);
}

#[test]
fn two_faults_break_no_promise_about_an_idempotent_operation() {
    with_many_faults(Effect::Idempotent);
}

#[test]
fn a_fault_and_a_replay_break_no_promise_about_what_the_agency_can_be_asked_about() {
    let (model, what) = with_one_worker(Effect::Lookup, 1);
    look_through(model, &what);
}

#[test]
fn two_faults_break_no_promise_about_what_may_be_done_only_once() {
    with_many_faults(Effect::Once);
}
