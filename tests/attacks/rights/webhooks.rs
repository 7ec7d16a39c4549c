//! Webhooks that lead where they must not: every notation of a private address, and names that change their meaning.

use crate::{
    front::environment::{Open, TestEnvironment, submission_request},
    tls::certificates::Certificates,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use punte::{
    domain::{Schedule, SystemClock},
    roles::notifier::{Notifier, NotifierError, NotifierParts},
    settings::WebhookSettings,
};
use serde_json::json;
use std::{
    net::TcpListener,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Somebody who counts who comes, and sends everybody away.
fn counter(address: &str) -> (u16, Arc<AtomicUsize>) {
    let (listener, count) = (TcpListener::bind(address).unwrap(), Arc::new(AtomicUsize::new(0)));
    let (port, counted) = (listener.local_addr().unwrap().port(), count.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    (port, count)
}

fn notifier(env: &mut TestEnvironment, url: &str, ca: Option<&Path>) -> Result<Notifier, NotifierError> {
    let secret = env.folder.path().join("webhook-secret");
    std::fs::write(&secret, format!("whsec_{}", STANDARD.encode([7; 32]))).unwrap();
    env.offices[0].webhook = Some(WebhookSettings {
        url: url.into(),
        secret_files: vec![secret],
        allow_private_addresses: false,
        ca: ca.map(Path::to_path_buf),
    });
    env.offices[0].office.has_webhook = true;
    let millis = Duration::from_millis;
    Notifier::start(NotifierParts {
        offices: env.offices.clone(),
        journal: env.journal.clone(),
        clock: Arc::new(SystemClock),
        metrics: env.metrics.clone(),
        schedule: Schedule::new(millis(50), millis(100), 1.0, 0.0, 1000, millis(1500)).unwrap(),
        shutdown: env.shutdown.clone(),
    })
}

async fn completed(open: &Open, key: &str) {
    let id = open.office("causeni").post(key, &submission_request()).await.id();
    open.settle(id, json!({"number": "L-1"})).await;
}

fn tries(open: &Open) -> u64 {
    let text = open.env.metrics.to_text();
    let lines = text.lines().filter(|line| line.starts_with("punte_webhooks_total"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

async fn after_tries(open: &Open, more: u64) {
    let (begun, wanted) = (Instant::now(), tries(open) + more);
    while tries(open) < wanted {
        assert!(begun.elapsed() < Duration::from_secs(30), "the notice was not tried again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_notation_of_a_private_address_is_ever_connected_to() {
    let certificates = Certificates::new();
    let (port, count) = counter("127.0.0.1:0");
    for host in [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "0x7F.1",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "0.0.0.0",
        "0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "0xa9fea9fe",
        "100.64.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001::1]",
        "[fd00::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
    ] {
        let outcome =
            notifier(&mut TestEnvironment::new(), &format!("https://{host}:{port}/"), Some(&certificates.authority()));
        assert!(matches!(outcome, Err(NotifierError::Webhook { .. })), "{host}");
    }
    // Neither users, other schemes, nor what is no URL.
    for url in [
        format!("https://office.example@127.0.0.1:{port}/"),
        format!("https://user:password@office.example:{port}/"),
        format!("http://office.example:{port}/"),
        "file:///etc/passwd".into(),
        "gopher://office.example/".into(),
        "https://".into(),
        format!("https://[::1%25lo]:{port}/"),
    ] {
        assert!(notifier(&mut TestEnvironment::new(), &url, Some(&certificates.authority())).is_err(), "{url}");
    }
    // Names of this machine: those that are its own everywhere at once, the others when they are resolved.
    for host in ["localhost", "LOCALHOST", "localhost.", "hooks.localhost"] {
        let outcome =
            notifier(&mut TestEnvironment::new(), &format!("https://{host}:{port}/"), Some(&certificates.authority()));
        assert!(matches!(outcome, Err(NotifierError::Webhook { .. })), "{host}");
    }
    let mut env = TestEnvironment::new();
    notifier(&mut env, &format!("https://ip6-localhost:{port}/"), Some(&certificates.authority())).unwrap();
    let open = env.open().await;
    completed(&open, "k").await;
    after_tries(&open, 2).await;
    open.close().await;
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

/// In namespaces of its own, where 9.9.9.9 is this machine and the names are ours to change.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_changes_to_a_private_address_between_two_deliveries_is_not_followed() {
    const HOSTS: &str = "PUNTE_TEST_HOSTS";
    if let Ok(hosts) = std::env::var(HOSTS) {
        return rebind(Path::new(&hosts)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, "").unwrap();
    let inside = "ip link set lo up && ip address add 9.9.9.9/32 dev lo && mount --bind \"$PUNTE_TEST_HOSTS\" /etc/hosts && exec \"$0\" \"$@\"";
    let this = std::env::current_exe().unwrap();
    let name = "rights::webhooks::a_name_that_changes_to_a_private_address_between_two_deliveries_is_not_followed";
    let mut command = Command::new("unshare");
    // As root without a namespace of users, else with one.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
    command.args(if is_root { &["--mount", "--net"][..] } else { &["--user", "--map-root-user", "--mount", "--net"] });
    command.args(["sh", "-c", inside]).arg(this).args([name, "--exact", "--nocapture"]).env(HOSTS, &hosts);
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && said.contains("refused after the name had changed"), "{said}");
}

async fn rebind(hosts: &Path) {
    // Written in place: the file is mounted.
    let is = |text: &str| std::fs::write(hosts, format!("127.0.0.1 localhost\n{text}\n")).unwrap();
    let certificates = Certificates::new();
    let (port, public) = counter("9.9.9.9:0");
    let (same_port, private) = counter(&format!("127.0.0.1:{port}"));
    assert_eq!(port, same_port);
    is("9.9.9.9 hooks.example");
    let mut env = TestEnvironment::new();
    notifier(&mut env, &format!("https://hooks.example:{port}/"), Some(&certificates.authority())).unwrap();
    let open = env.open().await;
    completed(&open, "k").await;
    after_tries(&open, 3).await;
    assert!(public.load(Ordering::SeqCst) >= 1, "the public address was never connected to");
    for changed in
        ["127.0.0.1 hooks.example", "9.9.9.9 hooks.example\n127.0.0.1 hooks.example", "::ffff:127.0.0.1 hooks.example"]
    {
        is(changed);
        // One delivery may be on its way with the old answer.
        after_tries(&open, 2).await;
        let before = public.load(Ordering::SeqCst);
        after_tries(&open, 3).await;
        assert_eq!((public.load(Ordering::SeqCst), private.load(Ordering::SeqCst)), (before, 0), "{changed}");
    }
    is("9.9.9.9 hooks.example");
    let before = public.load(Ordering::SeqCst);
    after_tries(&open, 5).await;
    assert!(public.load(Ordering::SeqCst) > before);
    println!("refused after the name had changed");
}
