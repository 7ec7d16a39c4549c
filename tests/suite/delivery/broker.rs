//! The same way over a real RabbitMQ and a real PostgreSQL.

use crate::{
    broker::{fixture::raw, private::PrivateNode},
    environment::{TestEnvironment, in_postgres, over_rabbitmq, variable},
};
use punte::kit::test_stack::{TestStack, TestStackPlan};
use serde_json::json;
use std::time::Duration;

async fn all_services_go(env: &TestEnvironment) {
    for service in ["person-lookup", "civil-status-extract", "legal-event"] {
        let id = env.post(service).await;
        env.ends(&id, "completed").await;
    }
    env.behave("legal-events", json!({"fault": "reset-after-effect", "times": 1}));
    let id = env.post("legal-event").await;
    let shown = env.ends(&id, "completed").await;
    assert_eq!(shown["attempts"], 2);
    assert_eq!(env.effects("legal-events"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_travel_over_rabbitmq() {
    let env = TestEnvironment::planned(over_rabbitmq).await;
    all_services_go(&env).await;
    let depth = env.stack.process().unwrap().broker.depth(&"civil-registry".parse().unwrap()).await.unwrap();
    assert_eq!((depth.ready, depth.consumers), (0, 2));
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_are_journaled_in_postgres() {
    let env = TestEnvironment::planned(in_postgres).await;
    all_services_go(&env).await;
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_travel_with_both() {
    let env = TestEnvironment::planned(|plan| {
        over_rabbitmq(plan);
        in_postgres(plan);
    })
    .await;
    all_services_go(&env).await;
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_circuit_loses_nothing_over_rabbitmq() {
    let touchy = |_: &str, text: String| {
        text.replace("failures = 5", "failures = 2").replace("cooldown_secs = 15", "cooldown_secs = 1")
    };
    let env = TestEnvironment::with_adapters(touchy, |plan| {
        over_rabbitmq(plan);
        plan.retry = "first_wait_secs = 0.5\nmax_wait_secs = 1\nmax_attempts = 50\n";
    })
    .await;
    env.behave("civil-registry", json!({"fault": {"status": {"code": 503}}, "times": 6}));
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(env.post("civil-status-extract").await);
    }
    for id in &ids {
        env.ends(id, "completed").await;
    }
    assert_eq!(env.effects("civil-registry"), ids.len());
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submissions_are_accepted_while_rabbitmq_is_away() {
    // Nobody listens on this port.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let env = TestEnvironment::planned(|plan| {
        plan.rabbitmq = Some((format!("amqp://guest:guest@127.0.0.1:{free}/%2f"), "away".into()));
    })
    .await;
    let id = env.post("person-lookup").await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(env.show(&id).await["state"], "accepted");
    let ready = env.operations("/healthz/ready").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("degraded"), "{ready}");
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_nobody_can_read_goes_to_the_dead_letters_and_work_goes_on() {
    let env = TestEnvironment::planned(over_rabbitmq).await;
    // Once one has gone through, the queues are there.
    let id = env.post("person-lookup").await;
    env.ends(&id, "completed").await;
    let connection = raw(&variable("PUNTE_TEST_AMQP_URL")).await;
    let channel = connection.create_channel().await.unwrap();
    let queue = format!("{}.work.civil-registry", env.prefix());
    for poison in [&b"not a work item"[..], br#"{"version":99}"#] {
        let options = lapin::options::BasicPublishOptions::default();
        channel.basic_publish("".into(), queue.as_str().into(), options, poison, Default::default()).await.unwrap();
    }
    let id = env.post("person-lookup").await;
    env.ends(&id, "completed").await;
    let broker = &env.stack.process().unwrap().broker;
    let agency = "civil-registry".parse().unwrap();
    for _ in 0..200 {
        if broker.dead_letter_count(&agency).await.unwrap() == 2 {
            return env.leave().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{} dead letters instead of 2", broker.dead_letter_count(&agency).await.unwrap());
}

/// What `/healthz/ready` says, which it must say soon.
async fn readiness(env: &TestEnvironment) -> String {
    let begun = std::time::Instant::now();
    let ready = env.operations("/healthz/ready").await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}: {ready}", begun.elapsed());
    ready
}

async fn until_ready_says(env: &TestEnvironment, words: &str) {
    for _ in 0..300 {
        if readiness(env).await.contains(words) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("readiness never said {words}: {}", readiness(env).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_that_hangs_leaves_the_gateway_ready_and_submissions_accepted() {
    let node = PrivateNode::started().await;
    let env = TestEnvironment::planned(|plan| plan.rabbitmq = Some((node.uri.clone(), "hangs".into()))).await;
    let id = env.post("person-lookup").await;
    env.ends(&id, "completed").await;
    until_ready_says(&env, r#""broker":{"state":"up"}"#).await;
    node.freeze();
    let (mut ids, mut is_told) = (Vec::new(), false);
    while !is_told || ids.len() < 4 {
        let ready = readiness(&env).await;
        assert!(ready.starts_with("HTTP/1.1 200") && ids.len() < 40, "{ready}");
        is_told = ready.contains("the broker does not answer");
        ids.push(env.post("person-lookup").await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let metrics = env.operations("/metrics").await;
    assert!(metrics.contains(r#"punte_part_state{part="broker"} 1"#), "{metrics}");
    node.thaw();
    for id in &ids {
        env.ends(id, "completed").await;
    }
    until_ready_says(&env, r#""broker":{"state":"up"}"#).await;
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_seen_in_readiness_metrics_and_by_a_command() {
    let env = TestEnvironment::planned(over_rabbitmq).await;
    let id = env.post("person-lookup").await;
    env.ends(&id, "completed").await;
    let connection = raw(&variable("PUNTE_TEST_AMQP_URL")).await;
    let channel = connection.create_channel().await.unwrap();
    let (queue, options) =
        (format!("{}.dead.civil-registry", env.prefix()), lapin::options::BasicPublishOptions::default());
    for _ in 0..2 {
        channel.basic_publish("".into(), queue.as_str().into(), options, b"{}", Default::default()).await.unwrap();
    }
    until_ready_says(&env, "2 messages were rejected or came back too often").await;
    let ready = readiness(&env).await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains("punte queues"), "{ready}");
    let metrics = env.operations("/metrics").await;
    for line in [
        r#"punte_dead_letters{agency="civil-registry"} 2"#,
        r#"punte_dead_letters{agency="legal-events"} 0"#,
        r#"punte_queue_consumers{agency="civil-registry"} 2"#,
        r#"punte_part_state{part="dead letters of civil-registry"} 1"#,
    ] {
        assert!(metrics.lines().any(|have| have == line), "{line} is not in\n{metrics}");
    }
    let json = queues_as_json(&env);
    let expected = json!({
        "agency": "civil-registry", "broker": "rabbitmq", "waiting": 0, "queued": 0, "oldest": null,
        "consumers": 2, "dead_letters": 2, "missing": [],
    });
    assert!(json.contains(&expected), "{json:?}");
    let shown = queues(&env, &[]);
    let line = shown.lines().find(|line| line.starts_with("civil-registry")).unwrap();
    assert!(line.contains("2 dead letters") && line.contains(&format!("(see {queue})")), "{line}");
    env.leave().await;
}

fn queues(env: &TestEnvironment, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_punte"));
    let output = command.arg("queues").args(arguments).arg("--config").arg(env.stack.config()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn queues_as_json(env: &TestEnvironment) -> Vec<serde_json::Value> {
    queues(env, &["--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_embedded_broker_the_command_shows_what_the_journal_says() {
    let env = TestEnvironment::started().await;
    let expected = json!({
        "agency": "legal-events", "broker": "embedded", "waiting": null, "queued": 0, "oldest": null,
        "consumers": null, "dead_letters": null, "missing": null,
    });
    let json = queues_as_json(&env);
    assert!(json.contains(&expected), "{json:?}");
    assert!(queues(&env, &[]).contains("legal-events"));
    env.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_installation_with_the_same_prefix_does_not_start() {
    let env = TestEnvironment::planned(over_rabbitmq).await;
    let mut plan = TestStackPlan::of_project(std::path::Path::new(env!("CARGO_MANIFEST_DIR")));
    plan.rabbitmq = Some((variable("PUNTE_TEST_AMQP_URL"), env.prefix()));
    let mut second = TestStack::prepare(plan).await.unwrap();
    let said = second.start().await.unwrap_err().to_string();
    assert!(
        said.contains("another installation uses this prefix") && said.contains("punte queues take-over"),
        "{said}"
    );
    second.end(Duration::from_secs(1)).await;
    // The first goes on, and may be started again.
    let id = env.post("person-lookup").await;
    env.ends(&id, "completed").await;
    let mut env = env;
    env.stack.stop(Duration::from_secs(5)).await;
    env.stack.start().await.unwrap();
    let id = env.post("person-lookup").await;
    env.ends(&id, "completed").await;
    env.leave().await;
}

/// `punte serve` over a test stack that is not running; its log so far, and the address of its listener for health.
struct Served {
    child: std::process::Child,
    log: std::path::PathBuf,
}

impl Served {
    fn start(stack: &TestStack) -> Self {
        let log = stack.folder.path().join("serve.log");
        let output = std::fs::File::create(&log).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_punte"));
        command.args(["serve", "--config"]).arg(stack.config()).env_remove("PUNTE_LOG");
        Self { child: command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap(), log }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn until_it_says(&self, words: &str) -> String {
        for _ in 0..600 {
            let said = self.said();
            if said.contains(words) {
                return said;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never said {words}: {}", self.said());
    }

    /// Told to stop; how long it takes.
    async fn ends(mut self) -> Duration {
        let begun = std::time::Instant::now();
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let ended = tokio::task::spawn_blocking(move || self.child.wait().unwrap()).await.unwrap();
        assert_eq!(ended.code(), Some(0));
        begun.elapsed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_that_refuses_us_is_told_once_and_idle_connections_keep_no_process_that_stops() {
    let mut plan = TestStackPlan::of_project(std::path::Path::new(env!("CARGO_MANIFEST_DIR")));
    let uri = variable("PUNTE_TEST_AMQP_URL").replace("guest:guest", "guest:geheim");
    plan.rabbitmq = Some((uri, format!("refused-{}", uuid::Uuid::new_v4().simple())));
    let stack = TestStack::prepare(plan).await.unwrap();
    let served = Served::start(&stack);
    let said = served.until_it_says("health and metrics are served").await;
    served.until_it_says("the user or the password is wrong").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let told = served.said();
    assert_eq!(
        told.matches("the user or the password is wrong").count(),
        3,
        "one a connection, one at the start: {told}"
    );
    assert!(told.contains("broker.uri") && !told.contains("geheim") && !told.contains("lapin"), "{told}");
    let address =
        said.lines().find(|line| line.contains("health and metrics")).unwrap().split("address=").nth(1).unwrap();
    let address: String = address.chars().filter(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
    let mut idle = tokio::net::TcpStream::connect(&address).await.unwrap();
    let request = b"GET /healthz/live HTTP/1.1\r\nhost: localhost\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut idle, request).await.unwrap();
    let _unused = tokio::net::TcpStream::connect(&address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let took = served.ends().await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    stack.end(Duration::from_secs(1)).await;
}
