//! How fast the road is: a stage is set, submissions go in from many clerks at once, and rates come out, each also as a
//! share of what this machine can do at all in the same run (RSA signatures, fsyncs), because machines are noisy.
//!
//! `cargo bench --bench road -- [SUBMISSIONS] [CLERKS]`; with PUNTE_BENCH_AMQP_URL or PUNTE_BENCH_POSTGRES_URL it runs over
//! RabbitMQ or in PostgreSQL.

use punte::{
    roles::stage::{OFFICE, Stage, StagePlan},
    trust::{Algorithm, Identity},
};
use serde_json::{Value, json};
use std::{
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let submissions = numbers.first().copied().unwrap_or(2000);
    let clerks = numbers.get(1).copied().unwrap_or(32);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for service in ["legal-event", "person-lookup"] {
        let report = runtime.block_on(measure(service, submissions, clerks));
        println!("{report}");
    }
}

async fn measure(service: &'static str, submissions: usize, clerks: usize) -> Value {
    let adapters = roomy_adapters();
    let mut plan = StagePlan::of_project(Path::new(env!("CARGO_MANIFEST_DIR")));
    plan.adapters = adapters.path().join("adapters");
    if let Ok(uri) = std::env::var("PUNTE_BENCH_AMQP_URL") {
        plan.rabbitmq = Some((uri, format!("bench-{}", std::process::id())));
    }
    plan.journal_url = std::env::var("PUNTE_BENCH_POSTGRES_URL").ok();
    let stage = Arc::new(Stage::set(plan).await.expect("a stage"));
    let signatures = signatures_a_second(&stage);
    let fsyncs = fsyncs_a_second(stage.folder.path());

    let before = completed(&stage).await;
    let begun = Instant::now();
    let tasks: Vec<_> =
        (0..clerks).map(|_| tokio::spawn(post_some(stage.clone(), service, submissions / clerks))).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a clerk"));
    }
    let accepted = latencies.len() as f64 / begun.elapsed().as_secs_f64();
    while completed(&stage).await < before + latencies.len() as u64 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let completed = latencies.len() as f64 / begun.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let percentile = |share: usize| latencies[(latencies.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    let report = json!({
        "service": service,
        "submissions": latencies.len(),
        "clerks": clerks,
        "accepted_per_second": accepted.round(),
        "completed_per_second": completed.round(),
        "accept_p50_ms": percentile(50),
        "accept_p99_ms": percentile(99),
        "machine": {"rsa_2048_signatures_per_second": signatures.round(), "fsyncs_per_second": fsyncs.round()},
        "accepted_per_fsync": accepted / fsyncs,
        "completed_per_signature": completed / signatures,
    });
    if let Ok(stage) = Arc::try_unwrap(stage) {
        stage.strike(Duration::from_secs(5)).await;
    }
    report
}

/// The project's adapters, which bear more at once than a real agency would.
fn roomy_adapters() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("adapters");
    let copied = std::process::Command::new("cp").arg("-r").arg(from).arg(folder.path()).status();
    assert!(copied.is_ok_and(|status| status.success()), "the adapters could not be copied");
    for agency in ["civil-registry", "legal-events"] {
        let file = folder.path().join("adapters").join(agency).join("agency.toml");
        let text = std::fs::read_to_string(&file).expect("an agency");
        let text = text.replace("concurrency = 8", "concurrency = 64").replace("requests_per_second = 50\n", "");
        std::fs::write(file, text).expect("an agency");
    }
    folder
}

async fn post_some(stage: Arc<Stage>, service: &str, count: usize) -> Vec<Duration> {
    let office = stage.client(OFFICE).expect("a client");
    let data = match service {
        "legal-event" => {
            json!({"event_type": "Bench.Event", "event_time": "2026-11-21T10:00:00Z", "message": "a message"})
        }
        _ => json!({}),
    };
    let request = json!({
        "service": service,
        "context": {"clerk": "2000000000900", "entity": "1000000000001", "legal_basis": "Law 1", "reason": "Bench"},
        "subject": {"scheme": "idnp", "id": "2000000000001"},
        "data": data,
    })
    .to_string();
    // A PostgreSQL journal may remember the keys of earlier runs.
    let run = uuid::Uuid::new_v4();
    let mut latencies = Vec::with_capacity(count);
    for number in 0..count {
        let begun = Instant::now();
        let response = office
            .post(format!("{}/v1/submissions", stage.gateway()))
            .header("content-type", "application/json")
            .header("idempotency-key", format!("{run}-{number}"))
            .body(request.clone())
            .send()
            .await
            .expect("an answer");
        assert!(response.status().is_success(), "{}", response.status());
        let _ = response.bytes().await;
        latencies.push(begun.elapsed());
    }
    latencies
}

async fn completed(stage: &Stage) -> u64 {
    let journal = &stage.process().expect("a process").journal;
    let counts = journal.counts().await.expect("counts");
    counts.iter().filter(|count| count.state.is_settled()).map(|count| count.count).sum()
}

fn signatures_a_second(stage: &Stage) -> f64 {
    let folder = stage.secrets().join("agencies/civil-registry");
    let identity = Identity::load(&folder.join("signing.pem"), &folder.join("signing.key"), jiff::Timestamp::now())
        .expect("a key");
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < Duration::from_millis(500) {
        identity.signer().sign(Algorithm::RsaSha256, b"a message").expect("a signature");
        count += 1;
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

fn fsyncs_a_second(folder: &Path) -> f64 {
    let mut file = std::fs::File::create(folder.join("fsync")).expect("a file");
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < Duration::from_millis(500) {
        file.write_all(&[0; 4096]).and_then(|()| file.sync_data()).expect("a write");
        count += 1;
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}
