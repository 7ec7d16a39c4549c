//! `[agencies.<agency>]`: where an agency is reached in this installation, and the key files that belong to it.

use super::{ConfigFaults, Document, ScheduleChanges, Secret};
use crate::domain::AgencyName;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What an installation says about an agency, beside what its adapter says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgencySettings {
    /// Where all this is written.
    pub file: PathBuf,
    /// Instead of the adapter's endpoint.
    pub endpoint: Option<String>,
    /// Instead of the files whose paths derive from the agency's name.
    pub secrets: Option<SecretFiles>,
    /// Keys of the adapter's retry schedule that have another value here. They are checked together with the adapter's.
    pub retry: ScheduleChanges,
}

/// The key files of one agency. All are PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFiles {
    /// Whom we trust as the agency's server: only this authority.
    pub ca: PathBuf,
    /// Our TLS client certificate chain and its key.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Our message-signing certificate chain and its key.
    pub signing_certificate: PathBuf,
    pub signing_key: PathBuf,
    /// Relative paths in the adapter's seal profile (the agency's signing certificates) are taken from here.
    pub folder: PathBuf,
}

impl SecretFiles {
    /// `<secrets>/agencies/<agency>/…`, as `punte pki dev` writes them.
    pub fn derived(secrets: &Path, agency: &AgencyName) -> Self {
        Self::within(&secrets.join("agencies").join(agency.as_str()))
    }

    /// Every file that is named here.
    pub fn all(&self) -> [&Path; 5] {
        [&self.ca, &self.certificate, &self.key, &self.signing_certificate, &self.signing_key]
    }

    fn within(folder: &Path) -> Self {
        Self {
            ca: folder.join("ca.pem"),
            certificate: folder.join("client.pem"),
            key: folder.join("client.key"),
            signing_certificate: folder.join("signing.pem"),
            signing_key: folder.join("signing.key"),
            folder: folder.to_owned(),
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// One that will not do may hold a password.
    endpoint: Option<Secret>,
    secrets: Option<PathBuf>,
    #[serde(default)]
    retry: ScheduleChanges,
}

pub(super) fn read(main: &mut Document, faults: &mut ConfigFaults) -> BTreeMap<AgencyName, AgencySettings> {
    let mut agencies = BTreeMap::new();
    for (name, written) in main.sections::<Written>("agencies", faults) {
        main.remember(&format!("agencies.{name}"), &written);
        match name.parse::<AgencyName>() {
            Ok(agency) => {
                let secrets = written.secrets.map(|folder| SecretFiles::within(&main.path(&folder)));
                let endpoint = written.endpoint.map(|it| it.reveal().to_owned());
                let endpoint = endpoint.filter(|endpoint| check_endpoint(main, &agency, endpoint, faults));
                agencies.insert(
                    agency,
                    AgencySettings { file: main.file().to_owned(), endpoint, secrets, retry: written.retry },
                );
            }
            Err(error) => faults.add(main.file(), format!("agencies.{name}"), error, "mend the name"),
        }
    }
    agencies
}

fn check_endpoint(main: &Document, agency: &AgencyName, endpoint: &str, faults: &mut ConfigFaults) -> bool {
    let is_usable = |url: &Url| {
        let is_plain = url.query().is_none() && url.fragment().is_none();
        let is_nobodys = url.username().is_empty() && url.password().is_none();
        url.scheme() == "https" && url.host().is_some() && is_plain && is_nobodys
    };
    let is_good = Url::parse(endpoint).is_ok_and(|url| is_usable(&url));
    if !is_good {
        let key = format!("agencies.{agency}.endpoint");
        let remedy = "write https://HOST:PORT/PATH, without user, query or fragment; requests never go without TLS";
        faults.add(main.file(), key, "is no https address", remedy);
    }
    is_good
}
