//! The gateway's own certificate and whose certificates it takes: files come in, and are looked at again while it runs.

use crate::{
    domain::Clock,
    settings::GatewaySettings,
    trust::{self, ClientTrust, ClientTrustFiles, Identity, IdentityFiles, Purpose, Reloading, TrustError},
};
use jiff::Timestamp;
use rustls::ServerConfig;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// Shared by the listener, the office directory, the task that reads replaced files, and the readiness report.
#[derive(Clone)]
pub struct GatewayCertificates {
    /// The gateway's own, shown in each new handshake.
    identity: Arc<Reloading<Identity>>,
    /// The offices' authorities and revocation lists.
    pub(super) trusted: Arc<Reloading<ClientTrust>>,
}

/// How often the files are looked at.
const REFRESH_EVERY: Duration = Duration::from_secs(30);

impl GatewayCertificates {
    pub(super) fn load(settings: &GatewaySettings, now: Timestamp) -> Result<Self, TrustError> {
        let identity = IdentityFiles {
            certificate: settings.certificate.clone(),
            key: settings.key.clone(),
            purpose: Purpose::TlsServer,
        };
        let trusted =
            ClientTrustFiles { authorities: settings.client_ca.clone(), revocation_lists: settings.client_crl.clone() };
        Ok(Self {
            identity: Arc::new(Reloading::<Identity>::load(identity, now)?),
            trusted: Arc::new(Reloading::<ClientTrust>::load(trusted, now)?),
        })
    }

    pub(super) fn server_config(&self) -> Result<ServerConfig, TrustError> {
        trust::server_config(self.identity.clone(), self.trusted.current().subjects())
    }

    /// New files that are refused, while the old ones are still used.
    pub fn trouble(&self) -> Option<String> {
        self.identity.trouble().or_else(|| self.trusted.trouble())
    }

    /// Never ends: reads replaced files while connections are served, at once when `reload` is notified.
    pub(super) async fn refresh(self, clock: Arc<dyn Clock>, reload: Arc<Notify>) {
        loop {
            let _ = tokio::time::timeout(REFRESH_EVERY, reload.notified()).await;
            let (certificates, now) = (self.clone(), clock.now());
            // What is refused is logged where it is refused.
            let refreshed = move || (certificates.identity.refresh(now), certificates.trusted.refresh(now));
            let _ = tokio::task::spawn_blocking(refreshed).await;
        }
    }
}
