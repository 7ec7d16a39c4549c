//! Everything that is known before anything runs: a configuration file comes in, a checked installation or all faults go out.

use super::{foreseen::foresee, gateway::check_apart};
use crate::{
    adapter::Adapters,
    catalogue::Catalogue,
    road::Lines,
    settings::{ConfigFaults, Effective, JournalPlace, Settings},
    trust::{ClientTrust, ClientTrustFiles, Identity},
};
use jiff::Timestamp;
use std::{path::Path, sync::Arc};

pub struct Installation {
    pub settings: Settings,
    pub catalogue: Arc<Catalogue>,
    pub adapters: Arc<Adapters>,
    pub lines: Arc<Lines>,
    /// What runs, but should be known.
    pub warnings: Vec<String>,
}

impl Installation {
    /// Whether no other process shares this one's journal.
    pub fn is_alone(&self) -> bool {
        matches!(self.settings.journal.place, JournalPlace::Sqlite { .. })
    }

    /// Reads and checks all there is: settings, catalogue, adapters with their examples, keys and certificates.
    pub fn load(config: &Path, now: Timestamp) -> Result<Self, ConfigFaults> {
        let mut faults = ConfigFaults::default();
        let settings = match Settings::load(config) {
            Ok(settings) => settings,
            Err(more) => {
                faults.extend(more);
                return Err(with_adapters(config, now, faults));
            }
        };
        let catalogue = Catalogue::load(&settings.folders.services, &mut faults);
        let adapters = Adapters::load(&settings.folders.adapters, &catalogue, &settings.agencies, &mut faults);
        let are_adapters_whole = faults.is_empty();
        let lines = Lines::open(&adapters, &settings.agencies, &settings.folders.secrets, now, &mut faults);
        check_offices(&settings, &catalogue, are_adapters_whole.then_some(&adapters), config, &mut faults);
        let mut warnings = check_gateway(&settings, now, &mut faults);
        warnings.extend(lines.iter().flat_map(|line| line.warnings(now)));
        warnings.extend(settings.effective.iter().filter_map(Effective::warning));
        foresee(&settings, config, now, &mut faults);
        if !faults.is_empty() {
            Settings::locate(config, &mut faults);
            return Err(faults);
        }
        Ok(Self {
            settings,
            catalogue: Arc::new(catalogue),
            adapters: Arc::new(adapters),
            lines: Arc::new(lines),
            warnings,
        })
    }
}

/// The settings are wrong; what adapters, services and agencies' keys have to say is told all the same.
fn with_adapters(config: &Path, now: Timestamp, mut faults: ConfigFaults) -> ConfigFaults {
    if let Some((folders, places)) = Settings::places_of(config) {
        let catalogue = Catalogue::load(&folders.services, &mut faults);
        let adapters = Adapters::load(&folders.adapters, &catalogue, &places, &mut faults);
        Lines::open(&adapters, &places, &folders.secrets, now, &mut faults);
    }
    faults
}

/// `adapters`: only if nothing is wrong with them; what a faulty one does not do is no fault of an office's.
fn check_offices(
    settings: &Settings,
    catalogue: &Catalogue,
    adapters: Option<&Adapters>,
    config: &Path,
    faults: &mut ConfigFaults,
) {
    let file = config.with_file_name("offices.toml");
    if let Err(ambiguous) = check_apart(&settings.offices) {
        let key = format!("offices.{}.certificates", ambiguous.one);
        faults.add(&file, key, &ambiguous, "give each office a property that no other office's certificate has");
    }
    for it in &settings.offices {
        let key = format!("offices.{}.services", it.office.name);
        for service in &it.office.services {
            if catalogue.get(service).is_none() {
                faults.add(&file, &key, format!("there is no service {service}"), "mend the name, or add its folder");
            } else if adapters.is_some_and(|adapters| adapters.for_service(service).is_none()) {
                faults.add(&file, &key, format!("no agency does {service}"), "add an operation to an adapter");
            }
        }
    }
}

fn check_gateway(settings: &Settings, now: Timestamp, faults: &mut ConfigFaults) -> Vec<String> {
    let gateway = &settings.gateway;
    let mut warnings = Vec::new();
    match Identity::load(&gateway.certificate, &gateway.key, now) {
        Ok(identity) => {
            warnings.extend(identity.facts().ends_soon(now).map(|text| format!("gateway: {text}")));
            warnings.extend(identity.warnings);
        }
        Err(error) => faults.add(&gateway.certificate, "", error, "put the gateway's certificate and key there"),
    }
    let files =
        ClientTrustFiles { authorities: gateway.client_ca.clone(), revocation_lists: gateway.client_crl.clone() };
    match ClientTrust::load(&files, now) {
        Ok(trust) => warnings.extend(trust.warnings(now)),
        Err(error) => faults.add("", "gateway.client_ca", error, "name PEM files of the offices' authorities"),
    }
    warnings
}
