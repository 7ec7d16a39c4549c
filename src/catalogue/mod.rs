//! Services as data: the folders of `schemas/services/` come in, titles and validating schemas go out.

mod attachments;
mod in_digits;
mod schema;
mod service;
mod subject;

pub use crate::domain::SchemaFault;
pub use attachments::AttachmentRule;
pub use schema::{Integers, Schema};
pub use service::Service;
use subject::SubjectRule;

use crate::{domain::ServiceName, settings::ConfigFaults};
use std::{collections::BTreeMap, path::Path};

/// Every service that this installation knows. Folders are found, never listed.
#[derive(Debug, Default)]
pub struct Catalogue {
    services: BTreeMap<ServiceName, Service>,
}

impl Catalogue {
    /// Reads one service from each folder in `folder`; what is wrong with any of them goes to `faults`.
    pub fn load(folder: &Path, faults: &mut ConfigFaults) -> Self {
        let mut services = BTreeMap::new();
        for path in subfolders(folder, faults) {
            if let Some(service) = Service::load(&path, faults) {
                services.insert(service.name.clone(), service);
            }
        }
        Self { services }
    }

    pub fn get(&self, name: &ServiceName) -> Option<&Service> {
        self.services.get(name)
    }

    /// What works, but should be known.
    pub fn warnings(&self) -> Vec<String> {
        let silent = self.services.values().filter(|service| service.subject.is_none());
        let told = silent.map(|service| {
            format!(
                "service {}: service.toml does not say whom a request may be about: each subject is let in, and one that the \
                 agency's contract refuses stands in front of an operator; name schemes and patterns in [subject]",
                service.name
            )
        });
        told.collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }
}

/// The folders directly below `folder`, in the order of their names.
pub(crate) fn subfolders(folder: &Path, faults: &mut ConfigFaults) -> Vec<std::path::PathBuf> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            faults.add(folder, "", format!("cannot be read: {error}"), "create the folder, or name another one");
            return Vec::new();
        }
    };
    let mut folders: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}
