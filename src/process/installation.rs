//! Everything that is known before anything runs: a configuration file comes in, a checked installation or all faults go out.

use super::{
    preflight::{Preflight, preflight},
    role::Role,
};
use crate::{
    adapter::{Adapters, load_adapters},
    catalogue::Catalogue,
    delivery::{AgencyConnections, FastPathMode},
    domain::{AgencyName, SubjectMatch},
    roles::gateway::check_apart,
    secret_file,
    settings::{AgencySettings, ConfigFaults, Effective, Folders, JournalStore, Settings},
    trust::{ClientTrust, ClientTrustFiles, Identity, Purpose},
};
use jiff::Timestamp;
use std::{collections::BTreeMap, path::Path, sync::Arc};

pub struct Installation {
    pub settings: Settings,
    pub catalogue: Arc<Catalogue>,
    pub adapters: Arc<Adapters>,
    pub connections: Arc<AgencyConnections>,
    /// What runs, but should be known.
    pub warnings: Vec<String>,
    /// How each certificate's subject in the configuration is read: where it stands, and its attributes.
    pub subjects: Vec<(String, String)>,
    stopped_webhooks: ConfigFaults,
    /// Off only where a test or a measurement says so.
    pub fast_path: FastPathMode,
}

impl Installation {
    /// Whether no other process shares this one's journal.
    pub fn is_alone(&self) -> bool {
        matches!(self.settings.journal.store, JournalStore::Sqlite { .. })
    }

    /// What stops one agency or one office's webhook each, and nothing else.
    pub fn stopped(&self) -> ConfigFaults {
        let mut stopped = self.connections.stopped();
        stopped.extend(self.stopped_webhooks.clone());
        stopped
    }

    /// Reads and checks all there is: settings, catalogue, adapters with their examples, keys and certificates. An agency
    /// or a webhook whose own files are bad is no reason not to start everything else: see [`Installation::stopped`].
    pub fn load(config: &Path, now: Timestamp) -> Result<Self, ConfigFaults> {
        Self::load_for(config, now, &Role::ALL)
    }

    /// The same for a process of these roles alone: what only others need is not asked for.
    pub fn load_for(config: &Path, now: Timestamp, roles: &[Role]) -> Result<Self, ConfigFaults> {
        let mut faults = ConfigFaults::default();
        let settings = match Settings::load(config) {
            Ok(settings) => settings,
            Err(more) => {
                faults.extend(more);
                return Err(with_adapters(config, now, faults));
            }
        };
        let catalogue = Catalogue::load(&settings.folders.services, &mut faults);
        let adapters = load_adapters(&settings.folders.adapters, &catalogue, &settings.agencies, &mut faults);
        check_agencies(&settings.folders, &settings.agencies, config, &mut faults);
        let are_adapters_whole = faults.is_empty();
        let connections =
            AgencyConnections::open(&adapters, &settings.agencies, &settings.folders.secrets, now, &mut faults);
        check_offices(&settings, &catalogue, are_adapters_whole.then_some(&adapters), config, &mut faults);
        let mut warnings = settings.warnings.clone();
        warnings.extend(catalogue.warnings());
        warnings.extend(check_gateway(&settings, config, now, &mut faults));
        warnings.extend(connections.iter().flat_map(|connection| connection.warnings(now)));
        warnings.extend(settings.effective.iter().filter_map(Effective::warning));
        let Preflight { faults: preflight, stopped: mut stopped_webhooks, warnings: more } =
            preflight(&settings, config, now, roles);
        faults.extend(preflight);
        warnings.extend(more);
        warnings.extend(also_exposed(&settings, &warnings));
        let subjects = subjects_of(&settings, &connections);
        warnings.extend(subjects.iter().filter_map(|subject| subject.order_warning()));
        if !faults.is_empty() {
            faults.extend(connections.stopped());
            faults.extend(stopped_webhooks);
            Settings::locate(config, &mut faults);
            return Err(faults);
        }
        Settings::locate(config, &mut stopped_webhooks);
        Ok(Self {
            settings,
            catalogue: Arc::new(catalogue),
            adapters: Arc::new(adapters),
            connections: Arc::new(connections),
            warnings,
            subjects: subjects.into_iter().map(|subject| (subject.place, subject.read)).collect(),
            stopped_webhooks,
            fast_path: FastPathMode::On,
        })
    }
}

/// Secrets that lie among the others and are named nowhere.
fn also_exposed(settings: &Settings, told: &[String]) -> Vec<String> {
    let found = secret_file::exposed_below(&settings.folders.secrets).into_iter();
    found.filter(|text| !told.iter().any(|it| it.contains(text.as_str()))).collect()
}

/// The settings are wrong; what adapters, services and agencies' keys have to say is told all the same.
fn with_adapters(config: &Path, now: Timestamp, mut faults: ConfigFaults) -> ConfigFaults {
    if let Some((folders, agencies)) = Settings::folders_and_agencies_of(config) {
        let catalogue = Catalogue::load(&folders.services, &mut faults);
        let adapters = load_adapters(&folders.adapters, &catalogue, &agencies, &mut faults);
        check_agencies(&folders, &agencies, config, &mut faults);
        Settings::locate(config, &mut faults);
        let connections = AgencyConnections::open(&adapters, &agencies, &folders.secrets, now, &mut faults);
        faults.extend(connections.stopped());
    }
    faults
}

/// What is said of an agency has an adapter that it is about.
fn check_agencies(
    folders: &Folders,
    agencies: &BTreeMap<AgencyName, AgencySettings>,
    config: &Path,
    faults: &mut ConfigFaults,
) {
    for agency in agencies.keys().filter(|agency| !folders.adapters.join(agency.as_str()).is_dir()) {
        let remedy = format!("add the folder {}, or remove it", folders.adapters.join(agency.as_str()).display());
        faults.add(config, format!("agencies.{agency}"), "there is no such adapter", remedy);
    }
}

/// A subject as it was read.
struct SubjectRead {
    place: String,
    read: String,
    is_reversed: bool,
}

impl SubjectRead {
    fn order_warning(&self) -> Option<String> {
        let text = "begins with the common name and ends with the country, as LDAP writes names; certificates hold them the \
                    other way round, and the order counts here";
        self.is_reversed.then(|| format!("{}: the subject {} {text}", self.place, self.read))
    }
}

fn subjects_of(settings: &Settings, connections: &AgencyConnections) -> Vec<SubjectRead> {
    let mut subjects = Vec::new();
    for office in &settings.offices {
        for subject in office.certificates.iter().filter_map(|wanted| wanted.subject.as_ref()) {
            let place = format!("office {}", office.office.name);
            subjects.push(SubjectRead { place, read: subject.to_string(), is_reversed: subject.is_reversed() });
        }
    }
    for connection in connections.iter() {
        if let Some(subject) = connection.answer_policy().signers.subject() {
            let is_reversed = matches!(subject, SubjectMatch::Whole(name) if name.is_reversed());
            let place = format!("agency {}, seal.answer", connection.adapter.agency);
            subjects.push(SubjectRead { place, read: subject.to_string(), is_reversed });
        }
    }
    subjects
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

fn check_gateway(settings: &Settings, config: &Path, now: Timestamp, faults: &mut ConfigFaults) -> Vec<String> {
    let gateway = &settings.gateway;
    let mut warnings = Vec::new();
    match Identity::load(&gateway.certificate, &gateway.key, now) {
        Ok(identity) => {
            let told = identity.warnings_as(Purpose::TlsServer, now);
            warnings.extend(told.into_iter().map(|text| format!("gateway: {text}")));
        }
        Err(error) => {
            let key = if error.apart().0 == Some(&gateway.key) { "gateway.key" } else { "gateway.certificate" };
            faults.add(config, key, error, "put the gateway's certificate and key there");
        }
    }
    let files =
        ClientTrustFiles { authorities: gateway.client_ca.clone(), revocation_lists: gateway.client_crl.clone() };
    match ClientTrust::load(&files, now) {
        Ok(trust) => warnings.extend(trust.warnings(now).into_iter().map(|text| format!("gateway: {text}"))),
        Err(error) => {
            let is_list = error.apart().0.is_some_and(|path| gateway.client_crl.iter().any(|list| list == path));
            let key = if is_list { "gateway.client_crl" } else { "gateway.client_ca" };
            faults.add(config, key, error, "name PEM files of the offices' authorities and of their revocation lists");
        }
    }
    warnings
}
