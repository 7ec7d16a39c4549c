//! `punte check`: everything that can be known before a start is checked; every fault is listed with its way out.

use super::{
    ConfigFile, WantedRoles,
    check_online::{Met, meet},
    exit, output,
};
use crate::{
    process::Installation,
    settings::{ConfigFaults, Effective, Settings},
};
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

#[derive(Args)]
#[command(after_help = "Examples:
  punte check
  punte check --config /etc/punte/punte.toml --json
  punte check --online
  punte check --role worker                   as for `punte serve --role worker`

Checked are: settings, offices, services' schemas, adapters with all their examples, keys and certificates, addresses, and
folders that must be written. Every value in effect is listed with its source: a line of the file, an environment variable
(which wins), or the default. Passwords are not shown. With --role it is said what a process of these roles alone would refuse.
With --online each agency's server is met as well: a handshake, and the [probe] that its agency.toml declares; and each
webhook's host is looked up. Nothing changes there by it.")]
pub struct Check {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    roles: WantedRoles,
    #[arg(
        long,
        help = "One JSON object: {ok, faults: [{file, line, key, problem, remedy}], warnings, settings: [{key, value, source}], subjects: [{place, read}]}; with --online also met: [text]"
    )]
    json: bool,
    #[arg(
        long,
        help = "Meet each agency's server: a handshake, and the probe that its adapter declares; look each webhook's host up"
    )]
    online: bool,
}

impl Check {
    pub fn run(self) -> u8 {
        let config = &self.config.config;
        let mut installation = match Installation::load_for(config, Timestamp::now(), &self.roles.listed()) {
            Ok(installation) => installation,
            Err(faults) => return self.refused(&faults),
        };
        installation.warnings.extend(self.roles.warning().map(str::to_owned));
        if self.online {
            let met = super::block_on(meet(&installation, config));
            return met.map_or_else(|code| code, |met| self.met(&installation, &met));
        }
        // An agency or a webhook that would be stopped is a fault here, and none that keeps the others from a start.
        let faults = installation.stopped();
        if self.json {
            output::json(&Report::of(&installation, &faults).as_json());
        } else {
            report(&installation);
            let they = if faults.0.len() == 1 { "it stops" } else { "they stop" };
            let consequence =
                format!("; `punte serve` starts all the same, without the agencies and webhooks that {they}");
            tell(&faults, &consequence);
            if faults.is_empty() {
                output::line(format_args!("{} offices; no faults", installation.settings.offices.len()));
            }
        }
        if faults.is_empty() { exit::DONE } else { exit::CONFIGURATION }
    }

    /// What is in effect is shown all the same: it may be why something is wrong.
    fn refused(&self, faults: &ConfigFaults) -> u8 {
        let effective = Settings::effective_at(&self.config.config);
        let of_roles = self.roles.warning().map(str::to_owned);
        let warnings: Vec<_> = effective.iter().filter_map(Effective::warning).chain(of_roles).collect();
        if self.json {
            let report =
                Report { faults, warnings: warnings.iter().collect(), effective: &effective, subjects: Vec::new() };
            output::json(&report.as_json());
        } else {
            tell_settings(&effective, &warnings);
            tell(faults, "");
        }
        exit::CONFIGURATION
    }

    /// Whether agencies can be reached is another matter than the configuration, and has another exit code.
    fn met(&self, installation: &Installation, met: &Met) -> u8 {
        let is_well = met.faults.is_empty();
        if self.json {
            let mut report = Report::of(installation, &met.faults);
            report.warnings.extend(&met.warnings);
            let mut json = report.as_json();
            json["met"] = json!(met.lines);
            output::json(&json);
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

/// What `--json` prints.
struct Report<'a> {
    faults: &'a ConfigFaults,
    warnings: Vec<&'a String>,
    effective: &'a [Effective],
    subjects: Vec<Value>,
}

impl<'a> Report<'a> {
    fn of(installation: &'a Installation, faults: &'a ConfigFaults) -> Self {
        let subjects = installation.subjects.iter();
        Self {
            faults,
            warnings: installation.warnings.iter().collect(),
            effective: &installation.settings.effective,
            subjects: subjects.map(|(place, read)| json!({"place": place, "read": read})).collect(),
        }
    }

    fn as_json(&self) -> Value {
        json!({
            "ok": self.faults.is_empty(),
            "faults": self.faults.0,
            "warnings": self.warnings,
            "settings": self.effective,
            "subjects": self.subjects,
        })
    }
}

fn tell(faults: &ConfigFaults, consequence: &str) {
    let number = faults.0.len();
    if number > 0 {
        output::line(faults.to_string().trim_end());
        let plural = if number == 1 { "" } else { "s" };
        output::line(format_args!("{number} fault{plural}{consequence}"));
    }
}

fn tell_settings(effective: &[Effective], warnings: &[String]) {
    effective.iter().for_each(output::line);
    warnings.iter().for_each(|warning| output::line(format_args!("warning: {warning}")));
}

fn report(installation: &Installation) {
    tell_settings(&installation.settings.effective, &installation.warnings);
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
