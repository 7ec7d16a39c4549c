//! A front office, as the gateway knows it once its certificate has been recognised.

use super::{OfficeName, ServiceName};
use std::collections::BTreeSet;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Office {
    pub name: OfficeName,
    pub services: BTreeSet<ServiceName>,
    /// Requests a minute that the gateway takes from this office.
    pub requests_per_minute: u32,
    /// Whether the notifier tells this office about ends of submissions.
    pub has_webhook: bool,
}

impl Office {
    pub fn may_use(&self, service: &ServiceName) -> bool {
        self.services.contains(service)
    }
}
