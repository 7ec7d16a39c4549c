//! A journal goes back in time while the world does not: a backup from before anything was sent takes its place. Nothing is
//! sent until an operator has said so, and nothing is done twice afterwards.

use crate::harness::{
    ALL, PATIENCE, ProcessCluster,
    checker::{self, Invariant},
    clients::SERVICES,
    over_rabbitmq, variable,
};
use punte::kit::test_stack::TestStackPlan;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};
use tokio::time::sleep;

fn punte(cluster: &ProcessCluster, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_punte"));
    succeeded(command.args(arguments).arg("--config").arg(cluster.stack.config()).output().unwrap())
}

fn succeeded(output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Accepted while no agency can be reached: certainly not sent.
async fn accepted_unsent(cluster: &mut ProcessCluster) -> Vec<(String, &'static str)> {
    for agency in cluster.agencies.values_mut() {
        agency.die().await;
    }
    let mut accepted = Vec::new();
    for service in SERVICES.repeat(3) {
        accepted.push((cluster.post(service).await, service));
    }
    accepted
}

async fn all_are_done(cluster: &mut ProcessCluster, accepted: &[(String, &'static str)]) {
    for agency in cluster.agencies.values_mut() {
        agency.come_back().await;
    }
    for (id, _) in accepted {
        cluster.until(id, &["completed"]).await;
    }
    // The mark moves on within a second.
    sleep(Duration::from_millis(1500)).await;
}

/// Of what may change something. A read, which changes nothing, may still leave in the second in which a journal is put back
/// under running processes.
fn arrivals(cluster: &ProcessCluster) -> usize {
    let arrived = cluster.agencies.values().flat_map(|agency| agency.arrivals());
    arrived.filter(|it| !it.is_question && it.operation.as_str() != "person-lookup").count()
}

fn log_of(cluster: &ProcessCluster, number: usize) -> String {
    std::fs::read_to_string(&cluster.processes[number].log).unwrap()
}

async fn until_it_says(cluster: &ProcessCluster, number: usize, from: usize, text: &str) {
    let begun = Instant::now();
    while !log_of(cluster, number)[from..].contains(text) {
        assert!(begun.elapsed() < PATIENCE, "it never says {text}\n{}", cluster.processes[number].last_words());
        sleep(Duration::from_millis(50)).await;
    }
}

/// What the listener for health and metrics says of readiness.
async fn readiness(cluster: &ProcessCluster, number: usize) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let log = log_of(cluster, number);
    let line = log.lines().rev().find(|line| line.contains("health and metrics are served")).unwrap();
    let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /healthz/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// It says why, accepts nothing, and has sent nothing after some seconds.
async fn nothing_happens(cluster: &ProcessCluster, number: usize, before: usize) {
    let ready = readiness(cluster, number).await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("punte journal restored"), "{ready}");
    let url = cluster.office.gateways.url();
    let request = cluster.office.client.post(url).header("idempotency-key", "after-the-restore");
    let body = crate::environment::request("person-lookup", crate::environment::CITIZEN).to_string();
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(arrivals(cluster), before, "something was sent");
}

/// Every effect happened once, and what nobody can know stands in front of an operator.
async fn an_operator_goes_on(cluster: &mut ProcessCluster, accepted: &[(String, &'static str)]) {
    let told = punte(cluster, &["journal", "restored", "--by", "A. Operator"]);
    assert!(told.contains("3 submissions are uncertain"), "{told}");
    everything_is_done_once(cluster, accepted).await;
}

/// In the ledgers that the agencies keep; and what nobody can know stands in front of an operator.
async fn everything_is_done_once(cluster: &ProcessCluster, accepted: &[(String, &'static str)]) {
    for (id, service) in accepted {
        let expected = if *service == "certified-extract" { "uncertain" } else { "completed" };
        cluster.until(id, &[expected]).await;
    }
    for service in SERVICES.into_iter().filter(|service| *service != "person-lookup") {
        let effects = cluster.agencies.values().flat_map(|agency| agency.effects());
        let done = effects.filter(|effect| effect.operation.as_str() == service).count();
        let expected = accepted.iter().filter(|(_, it)| *it == service).count();
        assert_eq!(done, expected, "{service}");
    }
    let mut broken = checker::check(&cluster.evidence().await);
    // The count of attempts went back with the journal; what was sent did not.
    broken.retain(|it| it.invariant != Invariant::UncertainIsNotSentAgain);
    assert!(broken.is_empty(), "{broken:#?}");
}

fn journal_of(cluster: &ProcessCluster) -> PathBuf {
    cluster.stack.folder.path().join("data/journal.db")
}

async fn stops(cluster: &mut ProcessCluster, number: usize) {
    cluster.signal(number, "TERM");
    let status = cluster.processes[number].end(Duration::from_secs(60)).await;
    assert!(status.is_some_and(|status| status.success()), "{}", cluster.processes[number].last_words());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_before_anything_was_sent_is_restored_and_nothing_is_done_twice() {
    let mut cluster = ProcessCluster::build(&[ALL], |_| {}).await;
    let accepted = accepted_unsent(&mut cluster).await;
    let backup = cluster.stack.folder.path().join("backup.db");
    let backup = backup.to_str().unwrap();
    punte(&cluster, &["journal", "backup", backup]);
    all_are_done(&mut cluster, &accepted).await;
    stops(&mut cluster, 0).await;
    let (before, said) = (arrivals(&cluster), log_of(&cluster, 0).len());
    punte(&cluster, &["journal", "restore", backup]);
    cluster.start(0);
    until_it_says(&cluster, 0, said, "punte journal restored").await;
    until_it_says(&cluster, 0, said, "health and metrics are served").await;
    nothing_happens(&cluster, 0, before).await;
    an_operator_goes_on(&mut cluster, &accepted).await;
}

/// By other means than ours, after a crash, and confirmed while nothing runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_before_anything_was_sent_is_put_back_and_nothing_is_done_twice() {
    let mut cluster = ProcessCluster::build(&[ALL], over_rabbitmq).await;
    let accepted = accepted_unsent(&mut cluster).await;
    stops(&mut cluster, 0).await;
    let (journal, copy) = (journal_of(&cluster), cluster.stack.folder.path().join("copy.db"));
    std::fs::copy(&journal, &copy).unwrap();
    cluster.start(0);
    all_are_done(&mut cluster, &accepted).await;
    cluster.kill(0);
    let said = log_of(&cluster, 0).len();
    let put_back = || {
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", journal.display()));
        }
        std::fs::copy(&copy, &journal).unwrap();
    };
    put_back();
    let before = arrivals(&cluster);
    cluster.start(0);
    until_it_says(&cluster, 0, said, "the journal is older than what this installation has done").await;
    until_it_says(&cluster, 0, said, "health and metrics are served").await;
    nothing_happens(&cluster, 0, before).await;
    cluster.kill(0);
    // The folder is lost with the journal: the broker knows.
    put_back();
    std::fs::remove_file(journal.with_file_name("journal-mark.json")).unwrap();
    let said = log_of(&cluster, 0).len();
    cluster.start(0);
    until_it_says(&cluster, 0, said, "the broker knows of what was sent").await;
    cluster.kill(0);
    let told = punte(&cluster, &["journal", "restored"]);
    assert!(told.contains("3 submissions are uncertain"), "{told}");
    cluster.start(0);
    everything_is_done_once(&cluster, &accepted).await;
}

/// Whatever the file is called, and whatever has become of the copy of the mark beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_file_is_noticed_by_another_name_and_with_its_marks_copy_spoilt_or_lost() {
    let mut cluster = ProcessCluster::build(&[ALL], |_| {}).await;
    let accepted = accepted_unsent(&mut cluster).await;
    stops(&mut cluster, 0).await;
    let (journal, copy) = (journal_of(&cluster), cluster.stack.folder.path().join("copy.db"));
    std::fs::copy(&journal, &copy).unwrap();
    cluster.start(0);
    all_are_done(&mut cluster, &accepted).await;
    stops(&mut cluster, 0).await;
    let (before, mark) = (arrivals(&cluster), journal.with_file_name("journal-mark.json"));
    let kept = std::fs::read(&mark).unwrap();
    let config = cluster.stack.config();
    let rename = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&config).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&config, text.replace(from, to)).unwrap();
    };
    let put_back = || {
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", journal.display()));
        }
        std::fs::copy(&copy, &journal).unwrap();
    };
    std::fs::copy(&copy, journal.with_file_name("tuesday.db")).unwrap();
    rename("data/journal.db", "data/tuesday.db");
    it_is_suspended(&mut cluster, "the journal is older than what this installation has done", before).await;
    rename("data/tuesday.db", "data/journal.db");
    let spoil: [(&str, &dyn Fn()); 4] = [
        ("cannot be read (it is empty)", &|| std::fs::write(&mark, "").unwrap()),
        ("cannot be read (it holds no mark)", &|| std::fs::write(&mark, &kept[..9]).unwrap()),
        ("cannot be read (it is no file)", &|| std::fs::create_dir(&mark).unwrap()),
        ("no copy of its mark is left", &|| {}),
    ];
    for (says, spoil) in spoil {
        put_back();
        let _ = std::fs::remove_file(&mark);
        spoil();
        it_is_suspended(&mut cluster, says, before).await;
        let _ = std::fs::remove_dir(&mark);
    }
    put_back();
    let told = punte(&cluster, &["journal", "restored"]);
    assert!(told.contains("3 submissions are uncertain"), "{told}");
    assert!(mark.is_file(), "there is a copy again");
    cluster.start(0);
    everything_is_done_once(&cluster, &accepted).await;
}

async fn it_is_suspended(cluster: &mut ProcessCluster, says: &str, before: usize) {
    let said = log_of(cluster, 0).len();
    cluster.start(0);
    until_it_says(cluster, 0, said, says).await;
    until_it_says(cluster, 0, said, "health and metrics are served").await;
    nothing_happens(cluster, 0, before).await;
    cluster.kill(0);
}

/// The drill of deploy/README.md, while the processes go on: each new session finds that it knows more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_postgresql_is_restored_under_running_processes_and_nothing_is_done_twice() {
    let schema = format!("restored_{}", uuid::Uuid::new_v4().simple());
    let server = variable("PUNTE_TEST_POSTGRES_URL");
    let separator = if server.contains('?') { '&' } else { '?' };
    let url = format!("{server}{separator}search_path={schema}&application_name={schema}");
    let plan = |plan: &mut TestStackPlan| {
        over_rabbitmq(plan);
        plan.journal_url = Some(url);
    };
    let mut cluster = ProcessCluster::build(&[&["gateway"], &["worker"], &["scheduler", "notifier"]], plan).await;
    let accepted = accepted_unsent(&mut cluster).await;
    let dump = cluster.stack.folder.path().join("journal.dump");
    let tool = |name: &str| Command::new(tool_of_postgresql(name));
    let dumped =
        tool("pg_dump").args(["--format=custom", "--schema", &schema, "--file"]).arg(&dump).arg(&server).output();
    succeeded(dumped.unwrap());
    all_are_done(&mut cluster, &accepted).await;
    let before = arrivals(&cluster);
    let said = [0, 1, 2].map(|number| log_of(&cluster, number).len());
    let (client, connection) = tokio_postgres::connect(&server, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let end_sessions =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{schema}'");
    client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
    let restored = tool("pg_restore").args(["--exit-on-error", "--dbname", &server]).arg(&dump).output();
    succeeded(restored.unwrap());
    client.batch_execute(&end_sessions).await.unwrap();
    for (number, from) in said.into_iter().enumerate() {
        until_it_says(&cluster, number, from, "punte journal restored").await;
    }
    nothing_happens(&cluster, 0, before).await;
    an_operator_goes_on(&mut cluster, &accepted).await;
    client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
}

/// Debian keeps them apart by version, the newest last.
fn tool_of_postgresql(name: &str) -> PathBuf {
    let versions =
        std::fs::read_dir("/usr/lib/postgresql").unwrap().map(|entry| entry.unwrap().path().join("bin").join(name));
    let mut found: Vec<_> = versions.filter(|path| Path::is_file(path)).collect();
    found.sort();
    found.pop().expect("PostgreSQL's tools are not installed: run tests/run")
}
