//! Each named crash point is met: the process dies there, comes back armed with the next one, so that it dies again while
//! it repairs what the death before has left, and nothing is lost or done twice.

use crate::harness::{
    ALL, House, in_postgres, over_rabbitmq,
    receiver::{Bound, Receiver},
    variable,
};
use lapin::options::QueuePurgeOptions;
use punte::{
    broker::rabbitmq::names::Names,
    crash::Point,
    domain::Priority,
    settings::{BrokerSettings, Settings},
};
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// What brings a process to the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Ordinary work.
    Work,
    /// Agencies that break off, before and after they have acted.
    Resets,
    /// Agencies that have never seen what may have reached them.
    Unseen,
    /// Agencies that are overloaded, until the circuit opens.
    Overload,
    /// Slow agencies, and queues that are emptied while much waits in them.
    Purge,
}

/// How to get there. Exhaustive, so that a new point cannot be forgotten.
fn way(point: Point) -> Way {
    match point {
        Point::GatewayValidated
        | Point::GatewayJournaled
        | Point::RelayClaimed
        | Point::RelayPublished
        | Point::RelayRecorded
        | Point::WorkerDelivered
        | Point::WorkerSealed
        | Point::WorkerBegun
        | Point::WorkerSending
        | Point::WorkerSent
        | Point::WorkerAnswered
        | Point::WorkerSettled
        | Point::WorkerRecorded
        | Point::WorkerAcked
        | Point::SchedulerTidied
        | Point::ProcessTookOver
        | Point::CourierClaimed
        | Point::CourierPosted
        | Point::CourierSettled
        | Point::SqliteCommitting
        | Point::SqliteCommitted
        | Point::PostgresCommitting
        | Point::PostgresCommitted => Way::Work,
        Point::SchedulerDue | Point::SchedulerRequeued | Point::SchedulerDecided => Way::Resets,
        Point::WorkerAsked => Way::Unseen,
        Point::WorkerPutBack => Way::Overload,
        Point::SchedulerCompared | Point::SchedulerRepaired => Way::Purge,
        // Has a test of its own: all deadlines are short there.
        Point::SchedulerExpired => Way::Work,
    }
}

/// Which role's process meets it.
fn role(point: Point) -> &'static str {
    match point.name().split('.').next().unwrap() {
        "relay" | "process" | "postgres" => "scheduler",
        role => match role {
            "gateway" => "gateway",
            "worker" => "worker",
            "scheduler" => "scheduler",
            "courier" => "courier",
            other => panic!("{other} is no role"),
        },
    }
}

fn behaviour(way: Way) -> Value {
    match way {
        Way::Work => Value::Null,
        Way::Resets => {
            json!([{"fault": "reset-after-effect", "times": 1}, {"times": 2}, {"fault": "reset-before-effect", "times": 1}])
        }
        Way::Unseen => json!([{"fault": "reset-before-effect", "times": 2}]),
        Way::Overload => json!([{"times": 1}, {"fault": {"status": {"code": 503}}, "times": 30}]),
        Way::Purge => json!({"delay_ms": 1500, "times": 60}),
    }
}

/// A start commits, too: the point is armed once the process is up.
fn arming(point: Point) -> String {
    let skipped = match point {
        Point::SqliteCommitting | Point::SqliteCommitted | Point::PostgresCommitting | Point::PostgresCommitted => 40,
        _ => 0,
    };
    match skipped {
        0 => format!("{}=return(kill)", point.name()),
        skipped => format!("{}={skipped}*off->return(kill)", point.name()),
    }
}

/// The process of that number dies at the point, under load. It stays dead.
async fn meets(house: &mut House, number: usize, point: Point) {
    let way = way(point);
    house.behave(&behaviour(way));
    house.start_armed(number, &arming(point));
    if way == Way::Purge {
        purge_until_dead(house, number).await;
    }
    let met = house.dies_at(number, point.name(), Duration::from_secs(45)).await;
    assert!(met, "{} was never reached\n{}", point.name(), house.processes[number].last_words());
    house.behave(&Value::Null);
}

/// Empties the agencies' queues again and again, so that the broker holds less than the journal says.
async fn purge_until_dead(house: &mut House, number: usize) {
    let settings = Settings::load(&house.stage.config()).unwrap_or_else(|faults| panic!("{faults}"));
    let BrokerSettings::Rabbitmq(place) = &settings.broker else { panic!("there are no queues to purge") };
    let names = Names::new(&place.prefix).unwrap();
    let connection = lapin::Connection::connect(&variable("PUNTE_TEST_AMQP_URL"), Default::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let begun = Instant::now();
    while house.processes[number].is_alive() && begun.elapsed() < Duration::from_secs(40) {
        for agency in house.agencies.values() {
            let queue = names.work_queue(&agency.name, Priority::Ordinary);
            let _ = channel.queue_purge(queue, QueuePurgeOptions::default()).await;
        }
        sleep(Duration::from_millis(200)).await;
    }
    let _ = connection.close(200, "done".into()).await;
}

async fn office_was_told_of_all(house: &House, receiver: &Receiver) {
    let evidence = house.evidence().await;
    let begun = Instant::now();
    let untold = || {
        let told = receiver.told();
        evidence.seen.iter().filter(|it| !told.contains_key(&it.id)).count()
    };
    while untold() > 0 {
        // A dead courier's notices are another's after three minutes, or at once if the journal is one process's own.
        assert!(begun.elapsed() < Duration::from_secs(200), "the office was never told of {}", untold());
        sleep(Duration::from_millis(200)).await;
    }
}

/// Those that one process over SQLite meets.
fn of_one_process() -> Vec<Point> {
    let others = [Point::SchedulerExpired, Point::PostgresCommitting, Point::PostgresCommitted];
    Point::ALL.into_iter().filter(|point| !others.contains(point)).collect()
}

/// Twice, and the second time in another order: each death is followed by another one in the repair of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_dies_at_every_point_and_again_while_it_recovers() {
    let bound = Bound::new();
    let mut house = House::empty(
        &[ALL],
        |plan| {
            over_rabbitmq(plan);
            bound.plan(plan);
        },
        |_, text| text,
    )
    .await;
    let receiver = bound.open(house.stage.folder.path());
    let counters = house.open_counters(4, Duration::from_millis(10));
    for point in of_one_process() {
        meets(&mut house, 0, point).await;
    }
    let mut again: Vec<_> = of_one_process().into_iter().filter(|point| way(*point) == Way::Work).collect();
    again.shuffle(&mut rand::rng());
    for point in again {
        meets(&mut house, 0, point).await;
    }
    house.start(0);
    counters.close().await;
    house.audit().await;
    office_was_told_of_all(&house, &receiver).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_share_postgres_die_at_every_point_while_the_others_go_on() {
    let processes: [&[&str]; 6] = [&["gateway"], &["worker"], &["scheduler"], &["courier"], &["gateway"], &["worker"]];
    let mut house = House::build(&processes, |plan| {
        over_rabbitmq(plan);
        in_postgres(plan);
    })
    .await;
    let counters = house.open_counters(4, Duration::from_millis(10));
    let elsewhere = [Point::SchedulerExpired, Point::ProcessTookOver, Point::SqliteCommitting, Point::SqliteCommitted];
    let courier = [Point::CourierClaimed, Point::CourierPosted, Point::CourierSettled];
    for point in Point::ALL.into_iter().filter(|point| !elsewhere.contains(point) && !courier.contains(point)) {
        let number = processes.iter().position(|roles| roles.contains(&role(point))).unwrap();
        house.kill(number);
        meets(&mut house, number, point).await;
        house.start(number);
    }
    counters.close().await;
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_dies_while_deadlines_pass_ends_them_at_the_next_start() {
    let mut house = House::empty(&[ALL], |_| {}, |_, text| with_deadlines(&text, 4)).await;
    for agency in house.agencies.values_mut() {
        agency.die().await;
    }
    let point = Point::SchedulerExpired;
    house.start_armed(0, &arming(point));
    for service in crate::harness::clients::SERVICES {
        house.post(service).await;
    }
    assert!(house.dies_at(0, point.name(), Duration::from_secs(45)).await, "no deadline has passed");
    house.start(0);
    let figures = house.audit().await;
    assert_eq!(figures.ends["expired"], 4, "{figures:?}");
}

fn with_deadlines(text: &str, secs: u64) -> String {
    let line = |line: &str| match line.starts_with("deadline_secs") {
        true => format!("deadline_secs = {secs}\n"),
        false => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
