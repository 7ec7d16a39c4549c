//! `[gateway]` and `[operations]`: where offices and operators come in, and how much they may ask for at once.

use super::{ConfigFaults, Document};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySettings {
    pub listen: SocketAddr,
    /// The gateway's own certificate chain and key, PEM.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Who may issue offices' certificates, PEM.
    pub client_ca: Vec<PathBuf>,
    /// Certificate revocation lists, PEM or DER.
    pub client_crl: Vec<PathBuf>,
    pub max_connections: usize,
    pub handshake_timeout: Duration,
    pub header_timeout: Duration,
    /// For a whole request body; attachments have ten times as long.
    pub body_timeout: Duration,
    pub max_body_bytes: usize,
    /// Bytes of request bodies held in memory at once, over all requests; more is answered 503.
    pub max_memory_bytes: usize,
    /// Requests under way at once; more is answered 503.
    pub max_requests: usize,
    /// Requests that wait for an answer (`Prefer: wait`), and streams of events, at once: of one office at most a quarter.
    pub max_waits: usize,
    pub attachments: AttachmentSettings,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentSettings {
    pub folder: PathBuf,
    pub max_bytes: u64,
    /// Bytes that one office may have uploaded without using them in a submission.
    pub max_unused_bytes_per_office: u64,
    /// Bytes of one office's files, those that submissions name included.
    pub max_stored_bytes_per_office: u64,
    /// Bytes of all offices' files.
    pub max_stored_bytes: u64,
    pub media_types: Vec<String>,
}

/// The listeners for health and metrics: plain HTTP, meant for a loopback or management network. A process that plays one
/// role alone has an address of its own, so that several run on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationsSettings {
    /// Of a process with several roles.
    pub listen: SocketAddr,
    pub gateway: SocketAddr,
    pub worker: SocketAddr,
    pub scheduler: SocketAddr,
    pub notifier: SocketAddr,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default = "default_listen")]
    listen: SocketAddr,
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Vec<PathBuf>,
    #[serde(default)]
    client_crl: Vec<PathBuf>,
    #[serde(default = "default_max_connections")]
    max_connections: usize,
    #[serde(default = "default_timeout_secs")]
    handshake_timeout_secs: u64,
    #[serde(default = "default_timeout_secs")]
    header_timeout_secs: u64,
    #[serde(default = "default_body_timeout_secs")]
    body_timeout_secs: u64,
    #[serde(default = "default_max_body_bytes")]
    max_body_bytes: usize,
    #[serde(default = "default_max_memory_bytes")]
    max_memory_bytes: usize,
    #[serde(default = "default_max_requests")]
    max_requests: usize,
    #[serde(default = "default_max_waits")]
    max_waits: usize,
    #[serde(default)]
    attachments: AttachmentsWritten,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct AttachmentsWritten {
    folder: PathBuf,
    max_bytes: u64,
    max_unused_bytes_per_office: u64,
    max_stored_bytes_per_office: u64,
    max_stored_bytes: u64,
    media_types: Vec<String>,
}

impl Default for AttachmentsWritten {
    fn default() -> Self {
        Self {
            folder: "../punte-data/attachments".into(),
            max_bytes: 20 << 20,
            max_unused_bytes_per_office: 256 << 20,
            max_stored_bytes_per_office: 16 << 30,
            max_stored_bytes: 256 << 30,
            media_types: ["application/pdf", "image/jpeg", "image/png", "application/xml"].map(str::to_owned).into(),
        }
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 8443))
}
fn default_max_connections() -> usize {
    2000
}
fn default_timeout_secs() -> u64 {
    10
}
fn default_body_timeout_secs() -> u64 {
    30
}
fn default_max_body_bytes() -> usize {
    1 << 20
}
fn default_max_memory_bytes() -> usize {
    64 << 20
}
fn default_max_requests() -> usize {
    1000
}
fn default_max_waits() -> usize {
    4000
}

pub(super) fn read(main: &mut Document, faults: &mut ConfigFaults) -> Option<GatewaySettings> {
    let written: Written = main.effective_section("gateway", faults)?;
    check_ranges(&written, main, faults);
    let certificate = main.existing("gateway.certificate", &written.certificate, faults);
    let key = main.existing("gateway.key", &written.key, faults);
    let mut files = |key: &str, paths: &[PathBuf]| -> Vec<PathBuf> {
        paths.iter().filter_map(|path| main.existing(key, path, faults)).collect()
    };
    let client_ca = files("gateway.client_ca", &written.client_ca);
    let client_crl = files("gateway.client_crl", &written.client_crl);
    Some(GatewaySettings {
        listen: written.listen,
        certificate: certificate?,
        key: key?,
        client_ca,
        client_crl,
        max_connections: written.max_connections,
        handshake_timeout: Duration::from_secs(written.handshake_timeout_secs),
        header_timeout: Duration::from_secs(written.header_timeout_secs),
        body_timeout: Duration::from_secs(written.body_timeout_secs),
        max_body_bytes: written.max_body_bytes,
        max_memory_bytes: written.max_memory_bytes,
        max_requests: written.max_requests,
        max_waits: written.max_waits,
        attachments: AttachmentSettings {
            folder: main.path(&written.attachments.folder),
            max_bytes: written.attachments.max_bytes,
            max_unused_bytes_per_office: written.attachments.max_unused_bytes_per_office,
            max_stored_bytes_per_office: written.attachments.max_stored_bytes_per_office,
            max_stored_bytes: written.attachments.max_stored_bytes,
            media_types: written.attachments.media_types,
        },
    })
}

fn check_ranges(written: &Written, main: &Document, faults: &mut ConfigFaults) {
    if written.client_ca.is_empty() {
        faults.add(main.file(), "gateway.client_ca", "is empty", "name the PEM file of the offices' authority");
    }
    let counts = [
        ("max_connections", written.max_connections),
        ("max_body_bytes", written.max_body_bytes),
        ("max_requests", written.max_requests),
        ("max_waits", written.max_waits),
    ];
    for (key, value) in counts {
        if value == 0 {
            faults.add(main.file(), format!("gateway.{key}"), "is 0", "must be at least 1");
        }
    }
    if written.max_memory_bytes < written.max_body_bytes {
        let remedy = "must be at least max_body_bytes, or no large request would ever be taken";
        faults.add(main.file(), "gateway.max_memory_bytes", "is too small", remedy);
    }
    let timeouts = [
        ("handshake_timeout_secs", written.handshake_timeout_secs),
        ("header_timeout_secs", written.header_timeout_secs),
        ("body_timeout_secs", written.body_timeout_secs),
    ];
    for (key, value) in timeouts {
        if !(1..=600).contains(&value) {
            faults.add(main.file(), format!("gateway.{key}"), "is out of range", "must be from 1 to 600");
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct OperationsWritten {
    #[serde(default = "default_operations_listen")]
    listen: SocketAddr,
    gateway: Option<SocketAddr>,
    worker: Option<SocketAddr>,
    scheduler: Option<SocketAddr>,
    notifier: Option<SocketAddr>,
}

fn default_operations_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9090))
}

pub(super) fn read_operations(main: &mut Document, faults: &mut ConfigFaults) -> Option<OperationsSettings> {
    main.rename("operations", "courier", "notifier", faults);
    let written: OperationsWritten = main.section("operations", faults)?;
    let listen = written.listen;
    let settings = OperationsSettings {
        listen,
        gateway: written.gateway.unwrap_or(listen),
        worker: written.worker.unwrap_or_else(|| beside(listen, 1)),
        scheduler: written.scheduler.unwrap_or_else(|| beside(listen, 2)),
        notifier: written.notifier.unwrap_or_else(|| beside(listen, 3)),
    };
    let OperationsSettings { gateway, worker, scheduler, notifier, .. } = settings;
    let [gateway, worker, scheduler, notifier] = [gateway, worker, scheduler, notifier].map(Some);
    main.remember("operations", &OperationsWritten { listen, gateway, worker, scheduler, notifier });
    Some(settings)
}

/// Port 0 is any free one, and stays that.
fn beside(listen: SocketAddr, step: u16) -> SocketAddr {
    let port = if listen.port() == 0 { 0 } else { listen.port().saturating_add(step) };
    SocketAddr::new(listen.ip(), port)
}
