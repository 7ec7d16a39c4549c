//! One agency's bad files are that agency's trouble alone.

use crate::environment::TestEnvironment;
use jiff::{SignedDuration, Timestamp};
use punte::{domain::Code, process::Installation};
use std::fs;

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_stop_their_own_agency_alone_until_they_are_good() {
    let env = TestEnvironment::with_adapters(|_, text| text, |_| {}).await;
    let ca = env.stack.folder.path().join("secrets/agencies/civil-registry/ca.pem");
    let good = fs::read_to_string(&ca).unwrap();
    let list = fs::read_to_string(env.stack.folder.path().join("secrets/gateway/office.crl")).unwrap();
    fs::write(&ca, format!("{good}{list}")).unwrap();
    let now = Timestamp::now();
    let installation = Installation::load(&env.stack.config(), now).unwrap();
    let stopped = installation.connections.stopped();
    let told = stopped.to_string();
    assert!(
        stopped.0.len() == 1 && told.contains("civil-registry/ca.pem") && told.contains("stands beside it"),
        "{told}"
    );
    let agency = "civil-registry".parse().unwrap();
    let fault = installation.connections.get(&agency).unwrap().map(|_| ()).unwrap_err();
    assert_eq!(fault.code, Code::IdentityUnusable, "its submissions wait");
    let others: Vec<_> =
        installation.adapters.iter().map(|adapter| adapter.agency.clone()).filter(|it| *it != agency).collect();
    assert!(!others.is_empty());
    for other in &others {
        assert!(
            installation.connections.get(other).unwrap().is_ok() && installation.connections.trouble(other).is_none(),
            "{other}"
        );
    }
    assert!(installation.connections.trouble(&agency).unwrap().contains("stopped"));
    fs::write(&ca, &good).unwrap();
    installation.connections.refresh(now);
    assert!(installation.connections.get(&agency).unwrap().is_ok(), "it goes on when they are good");
    assert!(installation.connections.stopped().is_empty() && installation.connections.trouble(&agency).is_none());
    // While it runs, a bad file is refused and the old one kept, and readiness tells.
    fs::write(&ca, format!("{good}-----BEGIN X509 CRL-----\n")).unwrap();
    installation.connections.refresh(now);
    let trouble = installation.connections.trouble(&agency).unwrap();
    assert!(trouble.contains("stays in use") && trouble.contains("does not end"), "{trouble}");
    assert!(installation.connections.get(&agency).unwrap().is_ok());
    fs::write(&ca, &good).unwrap();
    installation.connections.refresh(now + SignedDuration::from_secs(1));
    assert!(installation.connections.trouble(&agency).is_none());
    env.leave().await;
}
