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

/// How the network is divided.
#[derive(Clone, Copy)]
enum Cut {
    /// The node takes no call of the others any more, nor they any of it: the cookies differ.
    Refusal,
    /// Nothing passes between the node and the others any more, and nobody is told.
    Silence,
}

impl Cut {
    /// Those that this machine allows.
    fn all(cluster: &Cluster) -> &'static [Self] {
        match &cluster.cables {
            Ok(()) => &[Self::Refusal, Self::Silence],
            Err(reason) => {
                println!("skipped: no cable of a node can be pulled out: {reason}");
                &[Self::Refusal]
            }
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Refusal => "the leader cut off from the others, then joined again",
            Self::Silence => "the leader's cable to the others pulled out",
        }
    }

    /// The node that is cut off pauses, for it is the minority.
    async fn divide(self, cluster: &Cluster, alone: usize) {
        match self {
            Self::Refusal => {
                let cut = |name| format!("erlang:set_cookie('{name}', elsewhere), erlang:disconnect_node('{name}')");
                tell(cluster, alone, cut).await;
            }
            Self::Silence => {
                cluster.nodes[alone].action("unplug").await;
            }
        }
    }

    async fn join(self, cluster: &Cluster, alone: usize) {
        match self {
            Self::Refusal => {
                let joined = |name| format!("erlang:set_cookie('{name}', erlang:get_cookie())");
                tell(cluster, alone, joined).await;
            }
            Self::Silence => {
                cluster.nodes[alone].action("plug").await;
            }
        }
    }
}

async fn cut_off(cluster: &Cluster, alone: usize, cut: Cut) {
    let other = &cluster.nodes[(alone + 1) % 3];
    cut.divide(cluster, alone).await;
    running(other, 2).await;
    sleep(Duration::from_secs(if is_long() { 60 } else { 5 })).await;
    cut.join(cluster, alone).await;
    running(other, 3).await;
}

/// One node about each of the others.
async fn tell(cluster: &Cluster, alone: usize, said: impl Fn(String) -> String) {
    let others = (0..3).filter(|other| *other != alone);
    let said: Vec<_> = others.map(|other| said(cluster.nodes[other].name())).collect();
    cluster.nodes[alone].ctl(&["eval", &format!("{}.", said.join(", "))]).await;
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
    let cuts = Cut::all(&cluster);
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
        let mut led = led;
        for cut in cuts {
            led = leader(&cluster, (led + 1) % 3).await;
            turn_to(&proxy, &cluster, led);
            trial.blow(cut.what(), cut_off(&cluster, led, *cut)).await;
        }
    }
    trial.end_at_first_attempts().await;
}
