//! PostgreSQL is killed, fails over to a server that refuses to write, or is cut off, under several processes: what was
//! accepted is done, and nothing is done twice that must not be.

use super::{
    proxy::{Mode, Proxy, place},
    servers::Postgres,
    trial::Trial,
};
use crate::harness::{is_long, over_rabbitmq};
use std::time::Duration;
use tokio::time::sleep;

const APART: [&[&str]; 3] = [&["gateway", "scheduler", "notifier"], &["worker"], &["worker"]];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_killed_or_refuses_to_write_costs_only_time() {
    let server = Postgres::started().await;
    let url = server.url.clone();
    let mut trial = Trial::begin("postgresql", &APART, |plan| {
        over_rabbitmq(plan);
        plan.journal_url = Some(url);
    })
    .await;
    for _ in 0..if is_long() { 20 } else { 2 } {
        let kill = async {
            server.action("kill").await;
            server.action("start").await;
        };
        trial.blow("killed and started", kill).await;
    }
    let pause = Duration::from_secs(if is_long() { 60 } else { 3 });
    server.action("stop").await;
    trial.is_refused().await;
    sleep(pause).await;
    trial.blow("stopped for a while", async { drop(server.action("start").await) }).await;
    refuse_writes(&server, true).await;
    trial.is_refused().await;
    trial.is_not_ready_because_of_the_journal().await;
    sleep(pause).await;
    trial.blow("read-only for a while, then writable", refuse_writes(&server, false)).await;
    trial.is_ready().await;
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_becomes_a_standby_while_sessions_to_it_live_on_costs_only_time() {
    let first = Postgres::started().await;
    let second = Postgres::following(&first).await;
    // What is answered is on both.
    run_on(&first, &["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"]).await;
    let hosts = format!("{},{}", place(&first.url), place(&second.url));
    let url = first.url.replace(&place(&first.url), &hosts) + "?target_session_attrs=read-write";
    let mut trial = Trial::begin("postgresql fails over", &APART, |plan| {
        over_rabbitmq(plan);
        plan.journal_url = Some(url);
    })
    .await;
    refuse_writes(&first, true).await;
    trial.is_refused().await;
    trial.is_not_ready_because_of_the_journal().await;
    sleep(Duration::from_secs(1)).await;
    trial.blow("the other takes over", async { drop(second.action("promote").await) }).await;
    trial.is_ready().await;
    trial.end().await;
}

async fn run_on(server: &Postgres, statements: &[&str]) {
    let (client, connection) = tokio_postgres::connect(&server.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE").await.unwrap();
    for statement in statements {
        client.batch_execute(statement).await.unwrap();
    }
}

/// As a server does that has become a standby; sessions see it at once.
async fn refuse_writes(server: &Postgres, refuse: bool) {
    let set = format!("ALTER SYSTEM SET default_transaction_read_only = {refuse}");
    run_on(server, &[&set, "SELECT pg_reload_conf()"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_postgres_that_are_cut_swallowed_or_late_cost_only_time() {
    let server = Postgres::started().await;
    let proxy = Proxy::before(&[place(&server.url)]).await;
    let url = proxy.instead_of(&server.url);
    let mut trial = Trial::begin("postgresql's line", &APART, |plan| {
        over_rabbitmq(plan);
        plan.journal_url = Some(url);
    })
    .await;
    let cut = async {
        for _ in 0..if is_long() { 300 } else { 20 } {
            proxy.cut_all();
            sleep(Duration::from_millis(100)).await;
        }
    };
    trial.blow("connections cut again and again", cut).await;
    for (what, mode) in [
        ("half-open, then cut", Mode::Swallow),
        ("50 ms late", Mode::Delay(Duration::from_millis(50))),
        ("refused", Mode::Refuse),
    ] {
        let blow = async {
            proxy.set(mode);
            sleep(Duration::from_secs(if is_long() { 60 } else { 5 })).await;
            proxy.set(Mode::Through);
            if mode == Mode::Swallow && !is_long() {
                // A network that has forgotten a connection says so at the next packet.
                proxy.cut_all();
            }
        };
        trial.blow(what, blow).await;
    }
    trial.end().await;
}
