//! PostgreSQL is killed, fails over to a server that refuses to write, or is cut off, under several processes: what was
//! accepted is done, and nothing is done twice that must not be.

use super::{
    is_long,
    proxy::{Mode, Proxy, place},
    servers::Postgres,
    trial::Trial,
};
use crate::{
    house::House,
    town::{CITIZEN, request},
};
use punte::roles::stage::OFFICE;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const APART: [&[&str]; 3] = [&["gateway", "scheduler", "courier"], &["worker"], &["worker"]];

fn rabbitmq() -> (String, String) {
    let url = std::env::var("PUNTE_TEST_AMQP_URL").expect("PUNTE_TEST_AMQP_URL is not set: run tests/run");
    (url, format!("faults-{}", uuid::Uuid::new_v4().simple()))
}

/// The status and the problem's code of one request; none if it was not answered.
pub async fn post_raw(house: &House) -> Option<(u16, String)> {
    let client = house.stage.client(OFFICE).unwrap();
    let sent = client
        .post(house.url())
        .timeout(Duration::from_secs(60))
        .header("content-type", "application/json")
        .header("idempotency-key", uuid::Uuid::new_v4().to_string())
        .body(request("person-lookup", CITIZEN).to_string())
        .send()
        .await
        .ok()?;
    let status = sent.status().as_u16();
    let body: serde_json::Value = serde_json::from_slice(&sent.bytes().await.ok()?).ok()?;
    Some((status, body["code"].as_str().unwrap_or_default().to_owned()))
}

/// Within a while, an office is told to come again, and never anything else than that or a number.
pub async fn is_refused(house: &House) {
    let begun = Instant::now();
    loop {
        match post_raw(house).await {
            Some((503, code)) => return assert_eq!(code, "bus.journal.unavailable"),
            Some((200..=202, _)) | None => {}
            Some(other) => panic!("{other:?}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the journal was never missed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_killed_or_refuses_to_write_costs_only_time() {
    let server = Postgres::started().await;
    let url = server.url.clone();
    let mut trial = Trial::begin("postgresql", &APART, |plan| {
        plan.rabbitmq = Some(rabbitmq());
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
    let house = &trial.house;
    let stop = async {
        server.action("stop").await;
        is_refused(house).await;
        sleep(Duration::from_secs(if is_long() { 60 } else { 3 })).await;
        server.action("start").await;
    };
    let begun = Instant::now();
    stop.await;
    println!("postgresql: stopped for {:.1?}", begun.elapsed());
    trial.blow("started again", async {}).await;
    refuse_writes(&server, true).await;
    is_refused(&trial.house).await;
    sleep(Duration::from_secs(if is_long() { 60 } else { 3 })).await;
    trial.blow("read-only for a while, then writable", refuse_writes(&server, false)).await;
    trial.end(false).await;
}

/// As a server does that has become a standby; sessions see it at once.
async fn refuse_writes(server: &Postgres, refuse: bool) {
    let (client, connection) = tokio_postgres::connect(&server.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE").await.unwrap();
    client.batch_execute(&format!("ALTER SYSTEM SET default_transaction_read_only = {refuse}")).await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_postgres_that_are_cut_swallowed_or_late_cost_only_time() {
    let server = Postgres::started().await;
    let proxy = Proxy::before(&[place(&server.url)]).await;
    let url = proxy.instead_of(&server.url);
    let mut trial = Trial::begin("postgresql's line", &APART, |plan| {
        plan.rabbitmq = Some(rabbitmq());
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
    trial.end(false).await;
}
