//! One agency's bad files are that agency's trouble alone.

use crate::town::Town;
use jiff::{SignedDuration, Timestamp};
use punte::{domain::Code, process::Installation};
use std::fs;

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_stop_their_own_agency_alone_until_they_are_good() {
    let town = Town::with_adapters(|_, text| text, |_| {}).await;
    let ca = town.stage.folder.path().join("secrets/agencies/civil-registry/ca.pem");
    let good = fs::read_to_string(&ca).unwrap();
    let list = fs::read_to_string(town.stage.folder.path().join("secrets/gateway/office.crl")).unwrap();
    fs::write(&ca, format!("{good}{list}")).unwrap();
    let now = Timestamp::now();
    let installation = Installation::load(&town.stage.config(), now).unwrap();
    let stopped = installation.lines.stopped();
    let told = stopped.to_string();
    assert!(
        stopped.0.len() == 1 && told.contains("civil-registry/ca.pem") && told.contains("stands beside it"),
        "{told}"
    );
    let agency = "civil-registry".parse().unwrap();
    let fault = installation.lines.get(&agency).unwrap().map(|_| ()).unwrap_err();
    assert_eq!(fault.code, Code::IdentityUnusable, "its submissions wait");
    let others: Vec<_> =
        installation.adapters.iter().map(|adapter| adapter.agency.clone()).filter(|it| *it != agency).collect();
    assert!(!others.is_empty());
    for other in &others {
        assert!(
            installation.lines.get(other).unwrap().is_ok() && installation.lines.trouble(other).is_none(),
            "{other}"
        );
    }
    assert!(installation.lines.trouble(&agency).unwrap().contains("stopped"));
    fs::write(&ca, &good).unwrap();
    installation.lines.refresh(now);
    assert!(installation.lines.get(&agency).unwrap().is_ok(), "it goes on when they are good");
    assert!(installation.lines.stopped().is_empty() && installation.lines.trouble(&agency).is_none());
    // While it runs, a bad file is refused and the old one kept, and readiness tells.
    fs::write(&ca, format!("{good}-----BEGIN X509 CRL-----\n")).unwrap();
    installation.lines.refresh(now);
    let trouble = installation.lines.trouble(&agency).unwrap();
    assert!(trouble.contains("stays in use") && trouble.contains("does not end"), "{trouble}");
    assert!(installation.lines.get(&agency).unwrap().is_ok());
    fs::write(&ca, &good).unwrap();
    installation.lines.refresh(now + SignedDuration::from_secs(1));
    assert!(installation.lines.trouble(&agency).is_none());
    town.leave().await;
}
