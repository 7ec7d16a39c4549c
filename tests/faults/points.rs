//! Each named crash point is met: the process dies there, comes back armed with the next one, so that it dies again while
//! it repairs what the death before has left, and nothing is lost or done twice.

use crate::harness::{
    ALL, PATIENCE, ProcessCluster, chance, is_long, over_rabbitmq,
    receiver::{Bound, Receiver},
    shared, variable,
};
use lapin::options::QueuePurgeOptions;
use punte::{
    broker::rabbitmq::names::Names,
    domain::{Priority, StateName},
    failpoints::Failpoint,
    settings::{BrokerSettings, Settings},
};
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// What brings a process to the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Ordinary work.
    Work,
    /// A gateway that has died with what it had accepted, unless the process is one that accepts itself.
    Left,
    /// Agencies that break off, before and after they have acted.
    Resets,
    /// Agencies that have never seen what may have reached them.
    Unseen,
    /// A process that died with requests on their way.
    Interrupted,
    /// Slow agencies, and queues that are emptied while much waits in them.
    Purge,
}

/// How to get there. Exhaustive, so that a new point cannot be forgotten.
fn way(point: Failpoint) -> Way {
    match point {
        Failpoint::GatewayValidated
        | Failpoint::GatewayJournaled
        | Failpoint::WorkerDelivered
        | Failpoint::WorkerSealed
        | Failpoint::WorkerBegun
        | Failpoint::WorkerSending
        | Failpoint::WorkerSent
        | Failpoint::WorkerAnswered
        | Failpoint::WorkerSettled
        | Failpoint::WorkerRecorded
        | Failpoint::WorkerAcked
        | Failpoint::SchedulerTidied
        | Failpoint::ProcessTookOver
        | Failpoint::NotifierClaimed
        | Failpoint::NotifierPosted
        | Failpoint::NotifierSettled
        | Failpoint::SqliteCommitting
        | Failpoint::SqliteCommitted
        | Failpoint::PostgresGathered
        | Failpoint::PostgresCommitting
        | Failpoint::PostgresCommitted
        | Failpoint::PostgresAnswering => Way::Work,
        Failpoint::RelayClaimed | Failpoint::RelayPublished | Failpoint::RelayRecorded => Way::Left,
        Failpoint::SchedulerDue | Failpoint::SchedulerRequeued => Way::Resets,
        Failpoint::SchedulerDecided => Way::Interrupted,
        Failpoint::WorkerAsked => Way::Unseen,
        Failpoint::SchedulerCompared | Failpoint::SchedulerRepaired => Way::Purge,
        // Have tests of their own: deadlines are short there, or an agency bears little.
        Failpoint::SchedulerExpired | Failpoint::WorkerPutBack => Way::Work,
    }
}

/// Which role's process meets it.
fn role(point: Failpoint) -> &'static str {
    if matches!(point, Failpoint::PostgresGathered | Failpoint::PostgresAnswering) {
        // A scheduler changes few submissions one by one.
        return "worker";
    }
    match point.name().split('.').next().unwrap() {
        "relay" | "process" | "postgres" => "scheduler",
        role => match role {
            "gateway" => "gateway",
            "worker" => "worker",
            "scheduler" => "scheduler",
            "notifier" => "notifier",
            other => panic!("{other} is no role"),
        },
    }
}

fn behaviour(way: Way) -> Value {
    match way {
        Way::Work | Way::Left => Value::Null,
        Way::Resets => {
            json!([{"fault": "reset-after-effect", "times": 1}, {"times": 2}, {"fault": "reset-before-effect", "times": 1}])
        }
        Way::Unseen => json!([{"fault": "reset-before-effect", "times": 4}]),
        Way::Interrupted => json!({"delay_ms": 2500, "times": 20}),
        Way::Purge => json!({"delay_ms": 1500, "times": 60}),
    }
}

/// A start commits, too: the point is armed once the process is up.
fn arming(point: Failpoint) -> String {
    let skipped = match point {
        Failpoint::SqliteCommitting
        | Failpoint::SqliteCommitted
        | Failpoint::PostgresGathered
        | Failpoint::PostgresCommitting
        | Failpoint::PostgresCommitted
        | Failpoint::PostgresAnswering => 40,
        _ => 0,
    };
    match skipped {
        0 => format!("{}=return(kill)", point.name()),
        skipped => format!("{}={skipped}*off->return(kill)", point.name()),
    }
}

/// The process of that number dies at the point, under load. It stays dead. `workers` are those that deliver.
async fn meets(cluster: &mut ProcessCluster, number: usize, workers: &[usize], point: Failpoint) {
    let way = way(point);
    cluster.behave(&behaviour(way));
    match way {
        Way::Interrupted => interrupt(cluster, number, workers).await,
        Way::Left => leave_to_the_relay(cluster, number).await,
        // Whoever asks has to be the one that is armed.
        Way::Unseen => workers.iter().for_each(|worker| cluster.kill(*worker)),
        _ => {}
    }
    cluster.start_armed(number, &arming(point));
    if way == Way::Interrupted && !workers.contains(&number) {
        workers.iter().for_each(|worker| cluster.start(*worker));
    }
    if way == Way::Purge {
        purge_until_dead(cluster, number).await;
    }
    let met = cluster.dies_at(number, point.name(), PATIENCE).await;
    assert!(met, "{} was never reached\n{}", point.name(), cluster.processes[number].last_words());
    cluster.behave(&Value::Null);
}

/// Kills the process and the workers while agencies take their time.
async fn interrupt(cluster: &mut ProcessCluster, number: usize, workers: &[usize]) {
    let journal = crate::harness::outside::journal(&cluster.stack.config()).await;
    let all: BTreeSet<_> = workers.iter().copied().chain([number]).collect();
    for number in &all {
        if !cluster.processes[*number].is_started() {
            cluster.start(*number);
        }
    }
    let begun = Instant::now();
    loop {
        let counts = journal.counts().await.unwrap_or_default();
        if counts.iter().any(|it| it.state == StateName::Sending && it.count > 0) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing is ever sent");
        sleep(Duration::from_millis(20)).await;
    }
    all.into_iter().for_each(|number| cluster.kill(number));
}

/// A gateway publishes what it accepts: the relay of a process that accepts nothing has nothing to do, unless a gateway dies
/// before.
async fn leave_to_the_relay(cluster: &mut ProcessCluster, number: usize) {
    let accepts = |number: usize, cluster: &ProcessCluster| cluster.processes[number].gateway_port.is_some();
    if accepts(number, cluster) {
        return;
    }
    let point = Failpoint::RelayClaimed;
    let gateway = (0..cluster.processes.len()).find(|it| accepts(*it, cluster)).unwrap();
    cluster.kill(gateway);
    cluster.start_armed(gateway, &arming(point));
    assert!(cluster.dies_at(gateway, point.name(), PATIENCE).await, "that gateway has accepted nothing");
    cluster.start(gateway);
}

/// Empties the agencies' queues again and again, so that the broker holds less than the journal says.
async fn purge_until_dead(cluster: &mut ProcessCluster, number: usize) {
    let settings = Settings::load(&cluster.stack.config()).unwrap_or_else(|faults| panic!("{faults}"));
    let BrokerSettings::Rabbitmq(place) = &settings.broker else { panic!("there are no queues to purge") };
    let names = Names::new(&place.prefix).unwrap();
    let connection = lapin::Connection::connect(&variable("PUNTE_TEST_AMQP_URL"), Default::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let begun = Instant::now();
    while cluster.processes[number].is_alive() && begun.elapsed() < PATIENCE {
        for agency in cluster.agencies.values() {
            let queue = names.work_queue(&agency.name, Priority::Ordinary);
            let _ = channel.queue_purge(queue, QueuePurgeOptions::default()).await;
        }
        sleep(Duration::from_millis(200)).await;
    }
    let _ = connection.close(200, "done".into()).await;
}

async fn office_was_told_of_all(cluster: &ProcessCluster, receiver: &Receiver) {
    let evidence = cluster.evidence().await;
    let begun = Instant::now();
    let untold = || {
        let told = receiver.told();
        evidence.seen.iter().filter(|it| !told.contains_key(&it.id)).count()
    };
    while untold() > 0 {
        // A dead notifier's notices are another's after three minutes, or at once if the journal is one process's own.
        assert!(begun.elapsed() < Duration::from_secs(200), "the office was never told of {}", untold());
        sleep(Duration::from_millis(200)).await;
    }
}

/// Each has a test of its own.
const APART: [Failpoint; 2] = [Failpoint::SchedulerExpired, Failpoint::WorkerPutBack];

/// Those that processes over PostgreSQL meet. A notifier's notices would be another's after three minutes only.
fn of_many_processes() -> Vec<Failpoint> {
    let others = [Failpoint::ProcessTookOver, Failpoint::SqliteCommitting, Failpoint::SqliteCommitted];
    let notifier = [Failpoint::NotifierClaimed, Failpoint::NotifierPosted, Failpoint::NotifierSettled];
    let others = [&others[..], &notifier, &APART].concat();
    Failpoint::ALL.into_iter().filter(|point| !others.contains(point)).collect()
}

#[test]
fn no_point_is_left_out() {
    let met = of_one_process().into_iter().chain(of_many_processes()).chain(APART);
    assert_eq!(met.collect::<BTreeSet<_>>(), BTreeSet::from(Failpoint::ALL));
}

/// Those that one process over SQLite meets.
fn of_one_process() -> Vec<Failpoint> {
    let others = [
        Failpoint::PostgresGathered,
        Failpoint::PostgresCommitting,
        Failpoint::PostgresCommitted,
        Failpoint::PostgresAnswering,
    ];
    Failpoint::ALL.into_iter().filter(|point| !others.contains(point) && !APART.contains(point)).collect()
}

/// Each point after each other one, itself included: every pair of neighbours is there once.
fn in_all_pairs(points: &[Failpoint]) -> Vec<Failpoint> {
    let from = |first: usize| {
        let pairs = points[first + 1..].iter().flat_map(move |second| [points[first], *second]);
        std::iter::once(points[first]).chain(pairs)
    };
    (0..points.len()).flat_map(from).chain(points.first().copied()).collect()
}

#[test]
fn every_pair_of_points_is_there_once() {
    let points = of_one_process();
    let pairs: BTreeSet<_> = in_all_pairs(&points).windows(2).map(|pair| (pair[0], pair[1])).collect();
    assert_eq!((pairs.len(), in_all_pairs(&points).len()), (points.len().pow(2), points.len().pow(2) + 1));
}

/// Twice, and the second time in another order: each death is followed by another one in the repair of it. In the long run
/// each is followed by each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_dies_at_every_point_and_again_while_it_recovers() {
    let bound = Bound::new();
    let mut cluster = ProcessCluster::empty(
        &[ALL],
        |plan| {
            over_rabbitmq(plan);
            bound.plan(plan);
        },
        |_, text| text,
    )
    .await;
    let receiver = bound.open(cluster.stack.folder.path());
    let clients = cluster.open_load_clients(4, Duration::from_millis(10));
    for point in of_one_process() {
        meets(&mut cluster, 0, &[0], point).await;
    }
    let mut again: Vec<_> =
        of_one_process().into_iter().filter(|point| matches!(way(*point), Way::Work | Way::Left)).collect();
    again.shuffle(&mut chance());
    for point in if is_long() { in_all_pairs(&again) } else { again } {
        meets(&mut cluster, 0, &[0], point).await;
    }
    cluster.start(0);
    clients.close().await;
    cluster.audit().await;
    office_was_told_of_all(&cluster, &receiver).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_share_postgres_die_at_every_point_while_the_others_go_on() {
    let processes: [&[&str]; 6] = [&["gateway"], &["worker"], &["scheduler"], &["notifier"], &["gateway"], &["worker"]];
    let mut cluster = ProcessCluster::build(&processes, shared).await;
    let clients = cluster.open_load_clients(4, Duration::from_millis(10));
    for point in of_many_processes() {
        let number = processes.iter().position(|roles| roles.contains(&role(point))).unwrap();
        cluster.kill(number);
        meets(&mut cluster, number, &[1, 5], point).await;
        let dead =
            [1, 5, number].into_iter().filter(|it| !cluster.processes[*it].is_started()).collect::<BTreeSet<_>>();
        dead.into_iter().for_each(|dead| cluster.start(dead));
    }
    clients.close().await;
    cluster.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_dies_while_deadlines_pass_ends_them_at_the_next_start() {
    let mut cluster = ProcessCluster::empty(&[ALL], |_| {}, |_, text| with_deadlines(&text, 8)).await;
    for agency in cluster.agencies.values_mut() {
        agency.die().await;
    }
    cluster.start(0);
    for service in crate::harness::clients::SERVICES {
        cluster.post(service).await;
    }
    cluster.kill(0);
    let point = Failpoint::SchedulerExpired;
    cluster.start_armed(0, &arming(point));
    assert!(cluster.dies_at(0, point.name(), PATIENCE).await, "no deadline has passed");
    cluster.start(0);
    let figures = cluster.audit().await;
    // What was on its way when the process was killed is in doubt, and does not simply expire.
    assert!(figures.ends["expired"] >= 1 && !figures.ends.contains_key("completed"), "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_dies_while_its_circuit_opens_has_put_back_or_left_everything() {
    // Messages wait in the worker's hands for their turn.
    let slowly = |_: &str, text: String| text.replace("requests_per_second = 50", "requests_per_second = 3");
    let mut cluster = ProcessCluster::empty(&[ALL], over_rabbitmq, slowly).await;
    cluster.start(0);
    cluster.agency("civil-registry").die().await;
    for _ in 0..20 {
        cluster.post("civil-status-extract").await;
    }
    cluster.kill(0);
    cluster.agency("civil-registry").come_back().await;
    cluster.behave(&json!({"fault": {"status": {"code": 503}}, "times": 6}));
    let point = Failpoint::WorkerPutBack;
    cluster.start_armed(0, &arming(point));
    assert!(cluster.dies_at(0, point.name(), PATIENCE).await, "nothing was put back");
    cluster.start(0);
    let figures = cluster.audit().await;
    assert_eq!(figures.ends["completed"], 20, "{figures:?}");
}

/// The disk is so slow that every message is with its worker before the journal has the submission.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_quicker_than_the_journal_waits_for_it_and_is_dropped_if_that_never_comes() {
    const SLOW: &str = "sqlite.committing=sleep(300)";
    const VERY_SLOW: &str = "sqlite.committing=sleep(1500)";
    let mut cluster = ProcessCluster::empty(&[ALL], over_rabbitmq, |_, text| text).await;
    cluster.start_armed(0, SLOW);
    for service in crate::harness::clients::SERVICES {
        let id = cluster.post(service).await;
        cluster.until(&id, &["completed"]).await;
    }
    let is_dropped = |cluster: &ProcessCluster| {
        let log = std::fs::read_to_string(&cluster.processes[0].log).unwrap();
        log.contains("the journal knows no such submission")
    };
    assert!(!is_dropped(&cluster));
    cluster.kill(0);
    let point = Failpoint::RelayPublished;
    cluster.start_armed(0, &format!("{VERY_SLOW};{}", arming(point)));
    let clients = cluster.open_load_clients(1, Duration::from_millis(10));
    assert!(cluster.dies_at(0, point.name(), PATIENCE).await, "nothing was published");
    cluster.start(0);
    sleep(Duration::from_secs(2)).await;
    clients.close().await;
    cluster.audit().await;
    assert!(is_dropped(&cluster), "its submission was in the journal after all");
}

fn with_deadlines(text: &str, secs: u64) -> String {
    let line = |line: &str| match line.starts_with("deadline_secs") {
        true => format!("deadline_secs = {secs}\n"),
        false => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}
