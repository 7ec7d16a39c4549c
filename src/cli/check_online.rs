//! `punte check --online`: each agency's server is met; what was found goes out, and what has to be done about it.

use crate::{process::Installation, settings::ConfigFaults};
use futures_util::future::join_all;

/// One line an agency, and what works but should be known.
pub(super) struct Met {
    pub lines: Vec<String>,
    pub warnings: Vec<String>,
    pub faults: ConfigFaults,
}

pub(super) async fn meet(installation: &Installation) -> Met {
    let looks = installation.lines.iter().map(|line| async move {
        let look = line.look().await;
        (line, look)
    });
    let mut met = Met { lines: Vec::new(), warnings: Vec::new(), faults: installation.stopped() };
    for (line, look) in join_all(looks).await {
        let adapter = &line.adapter;
        let about = format!("agency {} at {}", adapter.agency, adapter.endpoint.authority());
        match look {
            Ok(look) => {
                met.lines.push(format!("{about}: {}", look.text));
                met.warnings.extend(look.warning.map(|text| format!("{about}: {text}")));
            }
            Err(unwell) => {
                let problem = format!("{about}: {}", unwell.problem);
                met.faults.add(adapter.folder.join("agency.toml"), "endpoint", problem, unwell.remedy);
            }
        }
    }
    met
}
