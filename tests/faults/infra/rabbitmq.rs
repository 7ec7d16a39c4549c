//! RabbitMQ is killed, stopped, starved, wiped and tampered with while offices post: every submission goes out, once, at its
//! first attempt. (What the broker's own client does then is proved in `tests/suite/broker`.)

use super::{
    servers::{Rabbitmq, work_queue},
    trial::Trial,
};
use crate::harness::is_long;
use lapin::{
    BasicProperties,
    options::{BasicPublishOptions, QueueDeleteOptions, QueuePurgeOptions},
    types::FieldTable,
};
use punte::broker::rabbitmq::names::{Names, work_key};
use std::time::Duration;
use tokio::time::sleep;

const PREFIX: &str = "shaken";

fn outage() -> Duration {
    Duration::from_secs(if is_long() { 60 } else { 5 })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rabbitmq_that_is_killed_stopped_starved_or_wiped_costs_only_time() {
    let node = Rabbitmq::started().await;
    let url = node.url.clone();
    let mut trial = Trial::begin("rabbitmq", &[&[]], |plan| plan.rabbitmq = Some((url, PREFIX.into()))).await;
    for _ in 0..if is_long() { 10 } else { 1 } {
        let kill = async {
            node.action("kill").await;
            node.action("start").await;
        };
        trial.blow("killed and started", kill).await;
    }
    let stop = async {
        node.action("stop").await;
        sleep(outage()).await;
        node.action("start").await;
    };
    trial.blow("stopped for a while", stop).await;
    let memory = async {
        node.ctl(&["set_vm_memory_high_watermark", "0"]).await;
        sleep(outage()).await;
        node.ctl(&["set_vm_memory_high_watermark", "0.6"]).await;
    };
    trial.blow("memory alarm", memory).await;
    let disk = async {
        node.ctl(&["set_disk_free_limit", "1000000GB"]).await;
        sleep(outage()).await;
        node.ctl(&["set_disk_free_limit", "50MB"]).await;
    };
    trial.blow("disk alarm", disk).await;
    trial.blow("its data wiped", node.wipe()).await;
    trial.end_at_first_attempts().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_that_are_tampered_with_lose_nothing() {
    let node = Rabbitmq::started().await;
    let url = node.url.clone();
    let mut trial = Trial::begin("queues", &[&[]], |plan| plan.rabbitmq = Some((url, PREFIX.into()))).await;
    let names = Names::new(PREFIX).unwrap();
    // Of one agency in a short run, of each in a long one.
    let agencies = &["legal-events", "civil-registry", "once-registry"][..if is_long() { 3 } else { 1 }];
    let queues: Vec<_> = agencies.iter().map(|agency| (*agency, work_queue(PREFIX, agency))).collect();
    let (_connection, channel) = node.channel().await;
    for (agency, queue) in &queues {
        let delete = async {
            channel.queue_delete(queue.clone(), QueueDeleteOptions::default()).await.unwrap();
        };
        trial.blow(&format!("queue of {agency} deleted, its consumer cancelled"), delete).await;
        let purge = async {
            channel.queue_purge(queue.clone(), QueuePurgeOptions::default()).await.unwrap();
        };
        trial.blow(&format!("queue of {agency} emptied"), purge).await;
        let key = work_key(&agency.parse().unwrap(), punte::domain::Priority::Ordinary);
        let unbind = async {
            let exchange = names.work_exchange();
            channel.queue_unbind(queue.clone(), exchange, key.clone().into(), FieldTable::default()).await.unwrap();
        };
        trial.blow(&format!("queue of {agency} unbound, what is published cannot be routed"), unbind).await;
        let poison = async {
            for bytes in [&b"\xff\x00no work item"[..], b"", b"{\"version\":9}"] {
                let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
                channel
                    .basic_publish(names.work_exchange(), key.clone().into(), options, bytes, properties)
                    .await
                    .unwrap();
            }
        };
        trial.blow(&format!("poison for {agency}"), poison).await;
    }
    for (agency, _) in &queues {
        let dead = names.dead_queue(&agency.parse().unwrap());
        trial.cluster.explained.insert(dead.to_string(), 3);
    }
    let hang_up = async { drop(node.ctl(&["close_all_connections", "--vhost", "/", "tried"]).await) };
    trial.blow("all connections closed by the operator", hang_up).await;
    trial.end_at_first_attempts().await;
}
