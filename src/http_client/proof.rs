//! What TLS tells of a connection while it is polled: its version, whether the server has proved who it is and asks for our
//! certificate, and whether it has gone on after our last message of the handshake, which holds that certificate.
//!
//! In TLS 1.2 the server's Finished follows ours (RFC 5246, section 7.3). In TLS 1.3 our side ends first (RFC 8446, section
//! 2), and the first that is heard of the server's view of our certificate is an alert or a session ticket. No session is ever
//! resumed: each connection shows the certificate that is in use now.

use rustls::{
    ClientConfig, NamedGroup, SignatureScheme,
    client::{
        ClientSessionStore, ResolvesClientCert, Resumption, Tls12ClientSessionValue, Tls12Resumption,
        Tls13ClientSessionValue,
    },
    pki_types::ServerName,
    sign::CertifiedKey,
};
use std::{
    cell::Cell,
    sync::{Arc, Mutex, PoisonError},
};

/// What was seen during some polls of one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Our side of a TLS 1.3 handshake has ended.
    pub is_tls13: bool,
    pub has_ticket: bool,
    /// The server asked for our certificate. Anybody on the way can ask.
    pub was_asked: bool,
    /// The server has shown the expected certificate, and its signature over this handshake holds.
    pub is_servers_own: bool,
}

thread_local! {
    static SEEN: Cell<Seen> = const {
        Cell::new(Seen { is_tls13: false, has_ticket: false, was_asked: false, is_servers_own: false })
    };
}

impl Seen {
    pub fn and(self, later: Self) -> Self {
        Self {
            is_tls13: self.is_tls13 || later.is_tls13,
            has_ticket: self.has_ticket || later.has_ticket,
            was_asked: self.was_asked || later.was_asked,
            is_servers_own: self.is_servers_own || later.is_servers_own,
        }
    }

    /// Whether our certificate can have been refused by whom it was meant for.
    pub fn may_be_refused(self) -> bool {
        self.was_asked && self.is_servers_own
    }
}

/// For whoever verifies the server's signature.
pub fn server_is_proved() {
    SEEN.set(Seen { is_servers_own: true, ..SEEN.get() });
}

/// Tells what TLS did while `poll` ran. TLS works only while it is polled, on the thread that polls it.
pub(super) fn watch<T>(poll: impl FnOnce() -> T) -> (T, Seen) {
    SEEN.take();
    let polled = poll();
    (polled, SEEN.take())
}

/// Settings for connections that are watched.
pub(super) fn watched(mut tls: ClientConfig) -> ClientConfig {
    tls.resumption = Resumption::store(Arc::new(Sessions::default())).tls12_resumption(Tls12Resumption::Disabled);
    tls.client_auth_cert_resolver = Arc::new(Asked(tls.client_auth_cert_resolver));
    tls
}

/// Gives what is asked for, and notes that it was asked.
#[derive(Debug)]
struct Asked(Arc<dyn ResolvesClientCert>);

impl ResolvesClientCert for Asked {
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        SEEN.set(Seen { was_asked: true, ..SEEN.get() });
        self.0.resolve(issuers, schemes)
    }

    fn has_certs(&self) -> bool {
        self.0.has_certs()
    }
}

/// Forgets every session, and notes that it was told of one.
#[derive(Debug, Default)]
struct Sessions {
    group: Mutex<Option<NamedGroup>>,
}

impl ClientSessionStore for Sessions {
    /// In TLS 1.3 this is told when our Finished is written.
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        *self.group.lock().unwrap_or_else(PoisonError::into_inner) = Some(group);
        SEEN.set(Seen { is_tls13: true, ..SEEN.get() });
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        *self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {
        SEEN.set(Seen { has_ticket: true, ..SEEN.get() });
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}
