//! Three RabbitMQ nodes with quorum queues behind a balancer: a node is killed, the leader of the queues is killed, one is
//! cut off from the others; offices notice nothing but a little more waiting.

use super::{
    proxy::{Proxy, place},
    servers::{Cluster, Rabbitmq, work_queue},
    trial::Trial,
};
use crate::harness::is_long;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const PREFIX: &str = "threefold";

/// The balancer tries this node first, then the others.
fn turn_to(proxy: &Proxy, cluster: &Cluster, first: usize) {
    let places: Vec<_> = (0..3).map(|step| place(&cluster.nodes[(first + step) % 3].url)).collect();
    proxy.turn_to(&places);
    proxy.cut_all();
}

/// Which node leads the queue of the civil registry.
async fn leader(cluster: &Cluster, asked: usize) -> usize {
    let columns = ["list_queues", "--silent", "--no-table-headers", "name", "leader"];
    let listed = cluster.nodes[asked].ctl(&columns).await;
    let queue = work_queue(PREFIX, "civil-registry");
    let line = listed.lines().find(|line| line.split_whitespace().next() == Some(queue.as_str()));
    let name = line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_else(|| panic!("no leader in {listed}"));
    cluster.nodes.iter().position(|node| node.name() == name).unwrap()
}

async fn kill_and_start(node: &Rabbitmq) {
    node.action("kill").await;
    sleep(Duration::from_secs(if is_long() { 20 } else { 3 })).await;
    node.action("start").await;
}

/// It takes no call of the others any more, nor they any of it: the cookies differ, as if the network were divided. The node
/// that is cut off pauses, for it is the minority.
async fn divide(cluster: &Cluster, alone: usize) {
    let cut = |name: String| format!("erlang:set_cookie('{name}', elsewhere), erlang:disconnect_node('{name}')");
    tell(cluster, alone, cut).await;
}

async fn join(cluster: &Cluster, alone: usize) {
    tell(cluster, alone, |name| format!("erlang:set_cookie('{name}', erlang:get_cookie())")).await;
}

/// One node about each of the others.
async fn tell(cluster: &Cluster, alone: usize, said: impl Fn(String) -> String) {
    let others = (0..3).filter(|other| *other != alone);
    let said: Vec<_> = others.map(|other| said(cluster.nodes[other].name())).collect();
    cluster.nodes[alone].ctl(&["eval", &format!("{}.", said.join(", "))]).await;
}

/// Nothing passes between the node and the others any more, and nobody is told: only silence says so.
async fn pull_out_the_cable(cluster: &Cluster, alone: usize) {
    cluster.nodes[alone].action("unplug").await;
    running(&cluster.nodes[(alone + 1) % 3], 2).await;
    sleep(Duration::from_secs(if is_long() { 60 } else { 5 })).await;
    cluster.nodes[alone].action("plug").await;
    running(&cluster.nodes[(alone + 1) % 3], 3).await;
}

/// Waits until this many nodes run, as this node sees it.
async fn running(node: &Rabbitmq, count: usize) {
    let begun = Instant::now();
    loop {
        let said = node.ctl(&["eval", "length(rabbit_nodes:all_running())."]).await;
        if said.trim() == count.to_string() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{said} nodes run instead of {count}");
        sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_a_node_its_leader_or_its_network_costs_only_time() {
    let cluster = Cluster::started().await;
    let proxy = Proxy::before(&[place(&cluster.nodes[0].url)]).await;
    let url = format!("{}?heartbeat=2", proxy.instead_of(&cluster.nodes[0].url));
    turn_to(&proxy, &cluster, 0);
    let mut trial = Trial::begin("cluster", &[&[]], |plan| plan.rabbitmq = Some((url, PREFIX.into()))).await;
    for _ in 0..if is_long() { 5 } else { 1 } {
        let led = leader(&cluster, 0).await;
        let follower = (led + 1) % 3;
        turn_to(&proxy, &cluster, (led + 2) % 3);
        trial.blow("a follower killed", kill_and_start(&cluster.nodes[follower])).await;
        let led = leader(&cluster, follower).await;
        turn_to(&proxy, &cluster, (led + 1) % 3);
        trial.blow("the leader killed, the connection elsewhere", kill_and_start(&cluster.nodes[led])).await;
        let led = leader(&cluster, led).await;
        turn_to(&proxy, &cluster, led);
        trial.blow("the leader killed that the connection is with", kill_and_start(&cluster.nodes[led])).await;
        let led = leader(&cluster, led).await;
        turn_to(&proxy, &cluster, led);
        let partition = async {
            divide(&cluster, led).await;
            running(&cluster.nodes[(led + 1) % 3], 2).await;
            sleep(Duration::from_secs(if is_long() { 60 } else { 5 })).await;
            join(&cluster, led).await;
            running(&cluster.nodes[(led + 1) % 3], 3).await;
        };
        trial.blow("the leader cut off from the others, then joined again", partition).await;
        match &cluster.cables {
            Ok(()) => {
                let led = leader(&cluster, (led + 1) % 3).await;
                turn_to(&proxy, &cluster, led);
                trial.blow("the leader's cable to the others pulled out", pull_out_the_cable(&cluster, led)).await;
            }
            Err(reason) => println!("cluster: skipped, no cable can be pulled out: {reason}"),
        }
    }
    trial.end_at_first_attempts().await;
}
