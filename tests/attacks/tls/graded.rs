//! testssl.sh grades the gateway's listener: protocols, ciphers, forward secrecy, certificate, known weaknesses.

use super::certificates::{Certificates, Flaw, Side};
use crate::front::environment::TestEnvironment;
use serde_json::Value;
use std::{collections::BTreeMap, process::Command};

#[tokio::test(flavor = "multi_thread")]
async fn testssl_has_no_finding_above_low() {
    let certificates = Certificates::new();
    let mut env = TestEnvironment::new();
    (env.settings.certificate, env.settings.key) = certificates.issue(Side::Server, Flaw::None);
    let open = env.open().await;
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let mut command = Command::new("timeout");
    command.args(["400", "testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--fast"]);
    command.args(["--ip", "127.0.0.1", "-p", "-s", "-f", "-S", "-U"]).arg("--add-ca").arg(certificates.authority());
    command.arg("--jsonfile").arg(&report).arg(format!("localhost:{}", open.address.port()));
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let report = std::fs::read_to_string(&report);
    let report = report.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&done.stdout)));
    let findings: Vec<Value> = serde_json::from_str(&report).unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let by_id: BTreeMap<_, _> = findings.iter().map(|it| (text(it, "id"), text(it, "finding"))).collect();
    let mut counts = BTreeMap::<String, usize>::new();
    for finding in &findings {
        *counts.entry(text(finding, "severity")).or_default() += 1;
        let is_bad = matches!(finding["severity"].as_str(), Some("MEDIUM" | "HIGH" | "CRITICAL" | "FATAL"));
        assert!(!is_bad, "{finding}");
    }
    println!("testssl.sh: findings by severity {counts:?}");
    // It has really looked.
    assert!(by_id["TLS1_3"].starts_with("offered") && by_id["TLS1_1"].starts_with("not offered"), "{by_id:#?}");
    for id in ["heartbleed", "ROBOT", "secure_renego", "BEAST", "LUCKY13", "cert_trust", "cert_chain_of_trust", "PFS"] {
        assert!(by_id.contains_key(id), "{id} was not looked at: {by_id:#?}");
    }
}
