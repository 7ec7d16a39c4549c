//! A journal goes back in time while the world does not: a backup from before anything was sent takes its place. Nothing is
//! sent until an operator has said so, and nothing is done twice afterwards.

use crate::harness::{ALL, House, PATIENCE, clients::SERVICES, over_rabbitmq, variable};
use punte::kit::stage::StagePlan;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};
use tokio::time::sleep;

fn punte(house: &House, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_punte"));
    succeeded(command.args(arguments).arg("--config").arg(house.stage.config()).output().unwrap())
}

fn succeeded(output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Accepted while no agency can be reached: certainly not sent.
async fn accepted_unsent(house: &mut House) -> Vec<(String, &'static str)> {
    for agency in house.agencies.values_mut() {
        agency.die().await;
    }
    let mut accepted = Vec::new();
    for service in SERVICES.repeat(3) {
        accepted.push((house.post(service).await, service));
    }
    accepted
}

async fn all_are_done(house: &mut House, accepted: &[(String, &'static str)]) {
    for agency in house.agencies.values_mut() {
        agency.come_back().await;
    }
    for (id, _) in accepted {
        house.until(id, &["completed"]).await;
    }
    // The mark moves on within a second.
    sleep(Duration::from_millis(1500)).await;
}

/// Of what may change something. A read, which changes nothing, may still leave in the second in which a journal is put back
/// under running processes.
fn arrivals(house: &House) -> usize {
    let arrived = house.agencies.values().flat_map(|agency| agency.arrivals());
    arrived.filter(|it| !it.is_question && it.operation.as_str() != "person-lookup").count()
}

fn log_of(house: &House, number: usize) -> String {
    std::fs::read_to_string(&house.processes[number].log).unwrap()
}

async fn until_it_says(house: &House, number: usize, from: usize, text: &str) {
    let begun = Instant::now();
    while !log_of(house, number)[from..].contains(text) {
        assert!(begun.elapsed() < PATIENCE, "it never says {text}\n{}", house.processes[number].last_words());
        sleep(Duration::from_millis(50)).await;
    }
}

/// What the listener for health and metrics says of readiness.
async fn readiness(house: &House, number: usize) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let log = log_of(house, number);
    let line = log.lines().rev().find(|line| line.contains("health and metrics are served")).unwrap();
    let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /healthz/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// It says why, accepts nothing, and has sent nothing after some seconds.
async fn nothing_happens(house: &House, number: usize, before: usize) {
    let ready = readiness(house, number).await;
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("punte journal restored"), "{ready}");
    let url = house.office.doors.url();
    let request = house.office.client.post(url).header("idempotency-key", "after-the-restore");
    let body = crate::town::request("person-lookup", crate::town::CITIZEN).to_string();
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 503);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(arrivals(house), before, "something was sent");
}

/// Every effect happened once, and what nobody can know stands in front of an operator.
async fn an_operator_goes_on(house: &mut House, accepted: &[(String, &'static str)]) {
    let told = punte(house, &["journal", "restored", "--by", "A. Operator"]);
    assert!(told.contains("3 are uncertain"), "{told}");
    everything_is_done_once(house, accepted).await;
}

/// In the ledgers that the agencies keep; and what nobody can know stands in front of an operator.
async fn everything_is_done_once(house: &House, accepted: &[(String, &'static str)]) {
    for (id, service) in accepted {
        let expected = if *service == "certified-extract" { "uncertain" } else { "completed" };
        house.until(id, &[expected]).await;
    }
    for service in SERVICES.into_iter().filter(|service| *service != "person-lookup") {
        let effects = house.agencies.values().flat_map(|agency| agency.effects());
        let done = effects.filter(|effect| effect.operation.as_str() == service).count();
        let expected = accepted.iter().filter(|(_, it)| *it == service).count();
        assert_eq!(done, expected, "{service}");
    }
}

fn journal_of(house: &House) -> PathBuf {
    house.stage.folder.path().join("data/journal.db")
}

async fn stops(house: &mut House, number: usize) {
    house.signal(number, "TERM");
    let status = house.processes[number].end(Duration::from_secs(60)).await;
    assert!(status.is_some_and(|status| status.success()), "{}", house.processes[number].last_words());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_before_anything_was_sent_is_restored_and_nothing_is_done_twice() {
    let mut house = House::build(&[ALL], |_| {}).await;
    let accepted = accepted_unsent(&mut house).await;
    let backup = house.stage.folder.path().join("backup.db");
    let backup = backup.to_str().unwrap();
    punte(&house, &["journal", "backup", backup]);
    all_are_done(&mut house, &accepted).await;
    stops(&mut house, 0).await;
    let (before, said) = (arrivals(&house), log_of(&house, 0).len());
    punte(&house, &["journal", "restore", backup]);
    house.start(0);
    until_it_says(&house, 0, said, "punte journal restored").await;
    until_it_says(&house, 0, said, "health and metrics are served").await;
    nothing_happens(&house, 0, before).await;
    an_operator_goes_on(&mut house, &accepted).await;
}

/// By other means than ours, after a crash, and confirmed while nothing runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_before_anything_was_sent_is_put_back_and_nothing_is_done_twice() {
    let mut house = House::build(&[ALL], over_rabbitmq).await;
    let accepted = accepted_unsent(&mut house).await;
    stops(&mut house, 0).await;
    let (journal, copy) = (journal_of(&house), house.stage.folder.path().join("copy.db"));
    std::fs::copy(&journal, &copy).unwrap();
    house.start(0);
    all_are_done(&mut house, &accepted).await;
    house.kill(0);
    let said = log_of(&house, 0).len();
    let put_back = || {
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{end}", journal.display()));
        }
        std::fs::copy(&copy, &journal).unwrap();
    };
    put_back();
    let before = arrivals(&house);
    house.start(0);
    until_it_says(&house, 0, said, "the journal is older than what this installation has done").await;
    until_it_says(&house, 0, said, "health and metrics are served").await;
    nothing_happens(&house, 0, before).await;
    house.kill(0);
    // The folder is lost with the journal: the broker knows.
    put_back();
    std::fs::remove_file(journal.with_file_name("journal-mark.json")).unwrap();
    let said = log_of(&house, 0).len();
    house.start(0);
    until_it_says(&house, 0, said, "the broker knows of what was sent").await;
    house.kill(0);
    let told = punte(&house, &["journal", "restored"]);
    assert!(told.contains("3 are uncertain"), "{told}");
    house.start(0);
    everything_is_done_once(&house, &accepted).await;
}

/// Whatever the file is called, and whatever has become of the copy of the mark beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_file_is_noticed_by_another_name_and_with_its_marks_copy_spoilt_or_lost() {
    let mut house = House::build(&[ALL], |_| {}).await;
    let accepted = accepted_unsent(&mut house).await;
    stops(&mut house, 0).await;
    let (journal, copy) = (journal_of(&house), house.stage.folder.path().join("copy.db"));
    std::fs::copy(&journal, &copy).unwrap();
    house.start(0);
    all_are_done(&mut house, &accepted).await;
    stops(&mut house, 0).await;
    let (before, mark) = (arrivals(&house), journal.with_file_name("journal-mark.json"));
    let kept = std::fs::read(&mark).unwrap();
    let config = house.stage.config();
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
    it_is_held(&mut house, "the journal is older than what this installation has done", before).await;
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
        it_is_held(&mut house, says, before).await;
        let _ = std::fs::remove_dir(&mark);
    }
    put_back();
    let told = punte(&house, &["journal", "restored"]);
    assert!(told.contains("3 are uncertain"), "{told}");
    assert!(mark.is_file(), "there is a copy again");
    house.start(0);
    everything_is_done_once(&house, &accepted).await;
}

async fn it_is_held(house: &mut House, says: &str, before: usize) {
    let said = log_of(house, 0).len();
    house.start(0);
    until_it_says(house, 0, said, says).await;
    until_it_says(house, 0, said, "health and metrics are served").await;
    nothing_happens(house, 0, before).await;
    house.kill(0);
}

/// The drill of deploy/README.md, while the processes go on: each new session finds that it knows more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_of_postgresql_is_restored_under_running_processes_and_nothing_is_done_twice() {
    let schema = format!("restored_{}", uuid::Uuid::new_v4().simple());
    let server = variable("PUNTE_TEST_POSTGRES_URL");
    let separator = if server.contains('?') { '&' } else { '?' };
    let url = format!("{server}{separator}search_path={schema}&application_name={schema}");
    let plan = |plan: &mut StagePlan| {
        over_rabbitmq(plan);
        plan.journal_url = Some(url);
    };
    let mut house = House::build(&[&["gateway"], &["worker"], &["scheduler", "courier"]], plan).await;
    let accepted = accepted_unsent(&mut house).await;
    let dump = house.stage.folder.path().join("journal.dump");
    let tool = |name: &str| Command::new(tool_of_postgresql(name));
    let dumped =
        tool("pg_dump").args(["--format=custom", "--schema", &schema, "--file"]).arg(&dump).arg(&server).output();
    succeeded(dumped.unwrap());
    all_are_done(&mut house, &accepted).await;
    let before = arrivals(&house);
    let said = [0, 1, 2].map(|number| log_of(&house, number).len());
    let (client, connection) = tokio_postgres::connect(&server, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let end_sessions =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{schema}'");
    client.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
    let restored = tool("pg_restore").args(["--exit-on-error", "--dbname", &server]).arg(&dump).output();
    succeeded(restored.unwrap());
    client.batch_execute(&end_sessions).await.unwrap();
    for (number, from) in said.into_iter().enumerate() {
        until_it_says(&house, number, from, "punte journal restored").await;
    }
    nothing_happens(&house, 0, before).await;
    an_operator_goes_on(&mut house, &accepted).await;
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
