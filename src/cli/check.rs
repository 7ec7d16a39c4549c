//! `punte check`: everything that can be known before a start is checked; every fault is listed with its way out.

use super::{
    ConfigFile,
    check_online::{Met, meet},
    exit, output,
};
use crate::{process::Installation, settings::ConfigFaults};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

#[derive(Args)]
#[command(after_help = "Examples:
  punte check
  punte check --config /etc/punte/punte.toml --json
  punte check --online

Checked are: settings, offices, services' schemas, adapters with all their examples, keys and certificates, addresses, and
folders that must be written. Every value in effect is listed with its source: a line of the file, an environment variable
(which wins), or the default. Passwords are not shown. With --online each agency's server is met as well: a handshake, and the
[probe] that its agency.toml declares. Nothing changes there by it.")]
pub struct Check {
    #[command(flatten)]
    config: ConfigFile,
    #[arg(
        long,
        help = "One JSON object: {ok, faults: [{file, line, key, problem, remedy}], warnings, settings: [{key, value, source}], subjects: [{place, read}]}; with --online also met: [text]"
    )]
    json: bool,
    #[arg(long, help = "Meet each agency's server: a handshake, and the probe that its adapter declares")]
    online: bool,
}

impl Check {
    pub fn run(self) -> u8 {
        let result = Installation::load(&self.config.config, Timestamp::now());
        if let Ok(installation) = &result
            && self.online
        {
            return super::block_on(meet(installation)).map_or_else(|code| code, |met| self.met(installation, &met));
        }
        // An agency or a webhook that would be stopped is a fault here, and none that keeps the others from a start.
        let faults = match &result {
            Ok(installation) => installation.stopped(),
            Err(faults) => faults.clone(),
        };
        let installation = result.as_ref().ok();
        if self.json {
            output::json(&json!({
                "ok": faults.is_empty(),
                "faults": faults.0,
                "warnings": installation.map_or(&[][..], |it| &it.warnings),
                "settings": installation.map_or(&[][..], |it| &it.settings.effective),
                "subjects": installation.map(subjects).unwrap_or_default(),
            }));
        } else {
            installation.inspect(|installation| report(installation));
            tell(&faults, installation);
        }
        if faults.is_empty() { exit::DONE } else { exit::CONFIGURATION }
    }
}

fn subjects(installation: &Installation) -> Vec<Value> {
    installation.subjects.iter().map(|(place, read)| json!({"place": place, "read": read})).collect()
}

fn tell(faults: &ConfigFaults, installation: Option<&Installation>) {
    match (faults.0.len(), installation) {
        (0, Some(installation)) => {
            output::line(format_args!("{} offices; no faults", installation.settings.offices.len()));
        }
        (number, installation) => {
            output::line(faults.to_string().trim_end());
            let plural = if number == 1 { "" } else { "s" };
            let consequence = if installation.is_some() { "; `punte serve` starts without what they stop" } else { "" };
            output::line(format_args!("{number} fault{plural}{consequence}"));
        }
    }
}

impl Check {
    /// Whether agencies can be reached is another matter than the configuration, and has another exit code.
    fn met(&self, installation: &Installation, met: &Met) -> u8 {
        let is_well = met.faults.is_empty();
        if self.json {
            let warnings: Vec<_> = installation.warnings.iter().chain(&met.warnings).collect();
            let settings = &installation.settings.effective;
            output::json(&json!({
                "ok": is_well,
                "faults": met.faults.0,
                "warnings": warnings,
                "settings": settings,
                "subjects": subjects(installation),
                "met": met.lines,
            }));
        } else {
            report(installation);
            met.warnings.iter().for_each(|warning| output::line(format_args!("warning: {warning}")));
            met.lines.iter().for_each(output::line);
            output::line(met.faults.to_string().trim_end());
        }
        match (installation.stopped().is_empty(), is_well) {
            (false, _) => exit::CONFIGURATION,
            (true, false) => exit::FAILED,
            (true, true) => exit::DONE,
        }
    }
}

fn report(installation: &Installation) {
    installation.settings.effective.iter().for_each(output::line);
    for warning in &installation.warnings {
        output::line(format_args!("warning: {warning}"));
    }
    for adapter in installation.adapters.iter() {
        let services: Vec<_> = adapter.operations.keys().map(|service| service.as_str()).collect();
        output::line(format_args!(
            "agency {} ({}): {}",
            adapter.agency,
            adapter.protocol.as_str(),
            services.join(", ")
        ));
    }
    for (place, read) in &installation.subjects {
        output::line(format_args!("{place}: the subject is read as {read}"));
    }
}
