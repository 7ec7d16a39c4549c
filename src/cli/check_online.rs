//! `punte check --online`: each agency's server is met, and each webhook's host looked up; what was found goes out, and what has
//! to be done about it.

use crate::{
    process::Installation,
    roles::notifier::resolve_webhook,
    settings::{ConfigFaults, Settings},
};
use futures_util::future::join_all;
use std::path::Path;

/// One line an agency, and what works but should be known.
pub(super) struct Met {
    pub lines: Vec<String>,
    pub warnings: Vec<String>,
    pub faults: ConfigFaults,
}

/// `config`: beside it webhooks are written.
pub(super) async fn meet(installation: &Installation, config: &Path) -> Met {
    let checks = installation.connections.iter().map(|connection| async move {
        let report = connection.check_health().await;
        (connection, report)
    });
    let mut met = Met { lines: Vec::new(), warnings: Vec::new(), faults: installation.stopped() };
    for (connection, report) in join_all(checks).await {
        let adapter = &connection.adapter;
        let about = format!("agency {} at {}", adapter.agency, adapter.endpoint.authority());
        match report {
            Ok(report) => {
                met.lines.push(format!("{about}: {}", report.text));
                met.warnings.extend(report.warning.map(|text| format!("{about}: {text}")));
            }
            Err(failure) => {
                let problem = format!("{about}: {}", failure.problem);
                met.faults.add(adapter.folder.join("agency.toml"), "endpoint", problem, failure.remedy);
            }
        }
    }
    resolve_webhooks(installation, &config.with_file_name("offices.toml"), &mut met.faults).await;
    Settings::locate(config, &mut met.faults);
    met
}

async fn resolve_webhooks(installation: &Installation, file: &Path, faults: &mut ConfigFaults) {
    let webhooks = installation.settings.offices.iter().filter_map(|it| Some((&it.office.name, it.webhook.as_ref()?)));
    let looked_up = webhooks.map(|(office, webhook)| async move { (office, resolve_webhook(webhook).await) });
    for (office, found) in join_all(looked_up).await {
        if let Err(error) = found {
            faults.add(file, format!("offices.{office}.webhook.url"), &error, error.remedy());
        }
    }
}
