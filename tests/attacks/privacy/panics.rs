//! Panics inside the running program whose texts quote what somebody sent: the log tells their places, not their texts.

use super::{
    canaries::{NOTE, PERSON, TALKATIVE, canary},
    everywhere::{Walk, stack, told},
};
use crate::program::Program;
use punte::{failpoints::Failpoint, kit::test_stack::OFFICE};
use std::time::{Duration, Instant};

/// In a handler of the gateway, in a worker's task, in delivery and in a delivery of the notifier.
const POINTS: [Failpoint; 5] = [
    Failpoint::GatewayValidated,
    Failpoint::GatewayJournaled,
    Failpoint::WorkerDelivered,
    Failpoint::WorkerSettled,
    Failpoint::NotifierClaimed,
];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_panic_of_the_program_quotes_is_in_no_log_and_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let stack = stack(folder.path()).await;
    let office = stack.client(OFFICE).unwrap();
    let armed = POINTS.map(|point| format!("{}=1*panic({PERSON} {NOTE})", point.name())).join(";");
    let variables = [("FAILPOINTS", armed.as_str()), ("RUST_BACKTRACE", "full")];
    let program = Program::start(&stack, &office, &["--log", TALKATIVE], &variables).await;
    let walk = Walk::new(&program, &office);
    let begun = Instant::now();
    while program.said().matches("its text is not shown").count() < POINTS.len() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not all points were met: {}", program.said());
        let (_, text) = walk.post(canary("civil-status-extract").to_string()).await;
        walk.canaries.assert_absent("an answer", &text);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    told(&["submissions", "list", "--json"], &stack, &walk.canaries);
    let log = program.said();
    assert!(log.contains("a panic at") && log.contains("a handler panicked"), "{log}");
    walk.canaries.assert_absent("the log", &log);
}
