//! Agencies, or what stands before them, break TLS at every record of a connection, in both directions and in every way, over
//! TLS 1.3 and over TLS 1.2; then HTTP within good TLS, at every place of an answer; while offices post requests of all four
//! effects.

use crate::{
    harness::{ALL, PATIENCE, ProcessCluster, clients::SERVICES, fixtures::TIMEOUT_SECS, outside},
    infra::records::{Break, How, RECORDS, RecordBreaker, Towards},
};
use punte::{domain::AgencyName, kit::test_stack::TestStackPlan, trust::TlsVersions};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::time::sleep;

type Breakers = Arc<Mutex<BTreeMap<AgencyName, RecordBreaker>>>;

const SUBMISSIONS: u64 = 5000;
/// Six places in an answer, and five ways to break there.
const HTTP_KINDS: u64 = 30;
const KINDS: usize = RECORDS * How::ALL.len() * 2;
/// A part of the test takes less than a minute. The test tells what is missing before its runner ends it after eight.
const LAST_RESORT: Duration = Duration::from_secs(2 * PATIENCE.as_secs());

/// One before each agency.
fn interpose(plan: &mut TestStackPlan, breakers: &Breakers) {
    let agencies: Vec<AgencyName> = plan.external_agencies.keys().cloned().collect();
    for agency in agencies {
        let begin = plan.external_agencies.remove(&agency).unwrap();
        let (breakers, name) = (breakers.clone(), agency.clone());
        let begin_behind = move |keys: &std::path::Path| {
            let mut url = reqwest::Url::parse(&begin(keys)).unwrap();
            let breaker = RecordBreaker::open();
            breaker.stands_before(url.port().unwrap());
            url.set_port(Some(breaker.port)).unwrap();
            breakers.lock().unwrap().insert(name, breaker);
            url.as_str().trim_end_matches('/').to_owned()
        };
        plan.external_agencies.insert(agency, Box::new(begin_behind));
    }
}

fn hasty(_: &str, text: String) -> String {
    text.replace("failures = 5", "failures = 100000")
        .replace("connect_timeout_secs = 5", "connect_timeout_secs = 0.5")
        .replace(&format!("timeout_secs = {TIMEOUT_SECS}\n"), "timeout_secs = 1\n")
}

/// How often each break was made, at all agencies together, and how many kinds each agency has met.
fn made(breakers: &Breakers) -> (BTreeMap<Break, u64>, BTreeMap<AgencyName, usize>) {
    let (mut all, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    for (agency, breaker) in breakers.lock().unwrap().iter() {
        let made = breaker.made();
        kinds.insert(agency.clone(), made.len());
        made.into_iter().for_each(|(it, times)| *all.entry(it).or_default() += times);
    }
    (all, kinds)
}

/// A third of the submissions each; the last third is for HTTP.
const VERSIONS: [TlsVersions; 2] = [&[&rustls::version::TLS13], &[&rustls::version::TLS12]];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agencies_that_break_tls_or_http_at_every_record_do_nothing_twice() {
    let breakers = Breakers::default();
    let mut cluster = ProcessCluster::started_with(&[ALL], |plan| interpose(plan, &breakers), hasty).await;
    cluster.post("person-lookup").await;
    for versions in VERSIONS {
        for agency in cluster.agencies.values_mut() {
            agency.speaks_only(versions).await;
        }
        breakers.lock().unwrap().values().for_each(RecordBreaker::begin_anew);
        break_all(&mut cluster, &breakers, &format!("{:?}", versions[0].version)).await;
    }
    break_http(&mut cluster).await;
    let figures = cluster.audit().await;
    assert!(figures.ends["uncertain"] > 0 && figures.ends["completed"] > SUBMISSIONS / 2, "{figures:?}");
}

async fn post_a_third(cluster: &ProcessCluster) {
    let begun = Instant::now();
    let clients = cluster.open_load_clients(8, Duration::ZERO);
    while clients.posted() <= SUBMISSIONS / 3 {
        assert!(begun.elapsed() < LAST_RESORT, "only {} were posted", clients.posted());
        sleep(Duration::from_millis(20)).await;
    }
    clients.close().await;
}

/// Every other answer, until each agency has broken one in each way.
async fn break_http(cluster: &mut ProcessCluster) {
    cluster.behave(&json!({"fault": "broken-http-in-turn"}));
    let before: BTreeMap<_, _> =
        cluster.agencies.iter().map(|(name, agency)| (name.clone(), agency.requests())).collect();
    let begun = Instant::now();
    post_a_third(cluster).await;
    let broken = |cluster: &ProcessCluster| -> BTreeMap<String, u64> {
        cluster.agencies.iter().map(|(name, it)| (name.clone(), (it.requests() - before[name]) / 2)).collect()
    };
    while broken(cluster).values().any(|count| *count < HTTP_KINDS) {
        assert!(begun.elapsed() < LAST_RESORT, "HTTP was broken only so often: {:?}", broken(cluster));
        for service in SERVICES {
            cluster.post(service).await;
        }
    }
    let broken = broken(cluster);
    println!("HTTP: broken so often: {broken:?}, {HTTP_KINDS} kinds at each agency, in {:?}", begun.elapsed());
    (0..broken.values().sum()).for_each(|_| cluster.figures.fault("http: an answer that breaks"));
    cluster.behave(&Value::Null);
}

/// Until each kind was made, over the version that the agencies speak now.
async fn break_all(cluster: &mut ProcessCluster, breakers: &Breakers, version: &str) {
    let arm = |is_armed| breakers.lock().unwrap().values().for_each(|breaker| breaker.arm(is_armed));
    arm(true);
    let begun = Instant::now();
    post_a_third(cluster).await;
    let journal = outside::journal(&cluster.stack.config()).await;
    loop {
        let left = outside::under_way(&journal).await.unwrap_or(u64::MAX);
        let (all, kinds) = made(breakers);
        match left > 100 {
            // An agency that nothing is sent to breaks nothing; one that was halted by an alert about our certificate was sent
            // little meanwhile.
            false if all.len() < KINDS || kinds.values().any(|met| *met <= KINDS / 2) => {
                for service in SERVICES {
                    cluster.post(service).await;
                }
            }
            false => break,
            true => sleep(Duration::from_millis(50)).await,
        }
        assert!(
            begun.elapsed() < LAST_RESORT,
            "{left} left; of {KINDS} kinds of breaks the agencies have met {kinds:?}, together {}: {all:?}",
            all.len()
        );
    }
    arm(false);
    let (all, kinds) = made(breakers);
    println!("{version}: of {KINDS} kinds of breaks the agencies have met {kinds:?}, in {:?}", begun.elapsed());
    for (Break { towards, how, .. }, times) in all {
        let arrow = if towards == Towards::Agency { "→" } else { "←" };
        (0..times).for_each(|_| cluster.figures.fault(&format!("tls: {} {arrow} agency", how.as_str())));
    }
}
