//! A folder comes in; a throw-away public-key infrastructure for demos and tests goes out. Never for real use.
//!
//! ```text
//! DIR/gateway/             server.pem server.key server-ca.pem office-ca.pem office.crl
//! DIR/offices/             causeni.pem|.key shkoder.pem|.key strumica.pem|.key revoked.pem|.key expired.pem|.key
//!                          not-yet-valid.pem|.key
//! DIR/agencies/<agency>/   what the bus holds: ca.pem client.pem client.key signing.pem signing.key answer-signing.pem
//! DIR/simulators/<agency>/ what the agency holds: server.pem server.key signing.pem signing.key client-ca.pem
//!                          request-signing.pem
//! DIR/rogue/               a stranger's: ca.pem office.pem|.key server.pem|.key signing.pem|.key
//! DIR/authorities/         the authorities' own keys: gateway.key offices.key agency-<agency>.key
//! ```
//!
//! Servers are `localhost`, `127.0.0.1` and `::1`. Private keys are PKCS#8, readable by their owner only.

mod additions;

pub use additions::{Added, add_agency, add_office};

use crate::trust::{Algorithm, TrustError};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams,
    RsaKeySize, SerialNumber,
};
use std::{
    fmt::Display,
    path::{Path, PathBuf},
    time::Duration,
};

/// The demo's offices: file name, and organisation identifier (ETSI EN 319 412-1).
pub const OFFICES: [(&str, &str); 3] =
    [("causeni", "GOVMD-0000000000001"), ("shkoder", "GOVAL-0000000000002"), ("strumica", "GOVMK-0000000000003")];

/// An agency, and the kind of key that it and the bus sign messages with.
#[derive(Debug, Clone)]
pub struct DevAgency {
    pub name: String,
    pub signing: Algorithm,
}

/// Where everything lies.
#[derive(Debug, Clone)]
pub struct DevPki {
    pub dir: PathBuf,
}

impl DevPki {
    pub fn gateway(&self, file: &str) -> PathBuf {
        self.dir.join("gateway").join(file)
    }

    pub fn office(&self, file: &str) -> PathBuf {
        self.dir.join("offices").join(file)
    }

    /// What the bus holds for its side towards the agency.
    pub fn agency(&self, agency: &str, file: &str) -> PathBuf {
        self.dir.join("agencies").join(agency).join(file)
    }

    /// What the simulated agency holds.
    pub fn simulator(&self, agency: &str, file: &str) -> PathBuf {
        self.dir.join("simulators").join(agency).join(file)
    }

    /// With it further certificates can be issued.
    pub fn authority_key(&self, name: &str) -> PathBuf {
        self.dir.join("authorities").join(format!("{name}.key"))
    }

    pub fn rogue(&self, file: &str) -> PathBuf {
        self.dir.join("rogue").join(file)
    }
}

pub fn make(dir: &Path, agencies: &[DevAgency], now: Timestamp) -> Result<DevPki, TrustError> {
    let pki = DevPki { dir: dir.into() };
    make_gateway_and_offices(&pki, now)?;
    for agency in agencies {
        make_agency(&pki, agency, now)?;
    }
    make_rogue(&pki, now)?;
    Ok(pki)
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn make_gateway_and_offices(pki: &DevPki, now: Timestamp) -> Result<(), TrustError> {
    let server_ca = authority("Demo gateway CA", now)?;
    write(&pki.gateway("server-ca.pem"), &server_ca.pem())?;
    write_private(&pki.authority_key("gateway"), &server_ca.key().serialize_pem())?;
    Leaf::server("Demo gateway").issue(&server_ca, &pki.gateway("server"), now)?;
    let office_ca = authority("Demo offices CA", now)?;
    write(&pki.gateway("office-ca.pem"), &office_ca.pem())?;
    write_private(&pki.authority_key("offices"), &office_ca.key().serialize_pem())?;
    for (name, identifier) in OFFICES {
        Leaf::office(name, identifier).issue(&office_ca, &pki.office(name), now)?;
    }
    let revoked = Leaf { serial: Some(0x4242), ..Leaf::office("revoked", "GOVXX-0000000000004") };
    revoked.issue(&office_ca, &pki.office("revoked"), now)?;
    let (day, year) = (SignedDuration::from_hours(24), SignedDuration::from_hours(24 * 365));
    let expired = Leaf { dates: Some((now - year, now - day)), ..Leaf::office("expired", "GOVXX-0000000000005") };
    expired.issue(&office_ca, &pki.office("expired"), now)?;
    let early = Leaf { dates: Some((now + day, now + year)), ..Leaf::office("not-yet-valid", "GOVXX-0000000000006") };
    early.issue(&office_ca, &pki.office("not-yet-valid"), now)?;
    write(&pki.gateway("office.crl"), &revocations(&office_ca, 0x4242, now)?)
}

fn make_agency(pki: &DevPki, agency: &DevAgency, now: Timestamp) -> Result<(), TrustError> {
    let name = &agency.name;
    let ca = authority(&format!("Demo {name} CA"), now)?;
    write(&pki.agency(name, "ca.pem"), &ca.pem())?;
    write_private(&pki.authority_key(&format!("agency-{name}")), &ca.key().serialize_pem())?;
    write(&pki.simulator(name, "client-ca.pem"), &ca.pem())?;
    Leaf::server(&format!("Demo {name}")).issue(&ca, &pki.simulator(name, "server"), now)?;
    Leaf::server(&format!("Demo {name}, renewed")).issue(&ca, &pki.simulator(name, "server-renewed"), now)?;
    Leaf::client("Punte demo bus").issue(&ca, &pki.agency(name, "client"), now)?;
    let request_signing = Leaf::signing("Punte demo bus, messages", agency.signing);
    let public = request_signing.issue(&ca, &pki.agency(name, "signing"), now)?;
    write(&pki.simulator(name, "request-signing.pem"), &public)?;
    let answer_signing = Leaf::signing(&format!("Demo {name}, messages"), agency.signing);
    let public = answer_signing.issue(&ca, &pki.simulator(name, "signing"), now)?;
    write(&pki.agency(name, "answer-signing.pem"), &public)
}

fn make_rogue(pki: &DevPki, now: Timestamp) -> Result<(), TrustError> {
    let ca = authority("Rogue CA", now)?;
    write(&pki.rogue("ca.pem"), &ca.pem())?;
    Leaf::office(OFFICES[0].0, OFFICES[0].1).issue(&ca, &pki.rogue("office"), now)?;
    Leaf::server("Rogue server").issue(&ca, &pki.rogue("server"), now)?;
    Leaf::signing("Rogue, messages", Algorithm::RsaSha256).issue(&ca, &pki.rogue("signing"), now)?;
    Ok(())
}

/// One certificate to be issued.
struct Leaf {
    common_name: String,
    organization_identifier: Option<String>,
    key: Algorithm,
    usage: KeyUsagePurpose,
    extended: Option<ExtendedKeyUsagePurpose>,
    server_names: Vec<String>,
    serial: Option<u64>,
    dates: Option<(Timestamp, Timestamp)>,
}

impl Leaf {
    fn plain(common_name: &str, extended: Option<ExtendedKeyUsagePurpose>) -> Self {
        Self {
            common_name: common_name.into(),
            organization_identifier: None,
            key: Algorithm::EcdsaSha256,
            usage: KeyUsagePurpose::DigitalSignature,
            extended,
            server_names: Vec::new(),
            serial: None,
            dates: None,
        }
    }

    fn server(common_name: &str) -> Self {
        let server_names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        Self { server_names, ..Self::plain(common_name, Some(ExtendedKeyUsagePurpose::ServerAuth)) }
    }

    fn client(common_name: &str) -> Self {
        Self::plain(common_name, Some(ExtendedKeyUsagePurpose::ClientAuth))
    }

    fn office(name: &str, identifier: &str) -> Self {
        Self { organization_identifier: Some(identifier.into()), ..Self::client(&format!("Demo office {name}")) }
    }

    fn signing(common_name: &str, key: Algorithm) -> Self {
        Self { key, ..Self::plain(common_name, None) }
    }

    /// Writes `<stem>.pem` and `<stem>.key`, and gives back the certificate's PEM.
    fn issue(&self, issuer: &Issuer<'_, KeyPair>, stem: &Path, now: Timestamp) -> Result<String, TrustError> {
        let key = new_key(self.key)?;
        let mut params = CertificateParams::new(self.server_names.clone()).map_err(failed)?;
        name(&mut params, &self.common_name);
        if let Some(identifier) = &self.organization_identifier {
            params.distinguished_name.push(DnType::from_oid(&[2, 5, 4, 97]), identifier.as_str());
        }
        params.key_usages = vec![self.usage];
        params.extended_key_usages = self.extended.iter().cloned().collect();
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        params.serial_number = self.serial.map(SerialNumber::from);
        dates(&mut params, self.dates.unwrap_or_else(|| usual_dates(now)));
        let pem = params.signed_by(&key, issuer).map_err(failed)?.pem();
        write(&stem.with_extension("pem"), &pem)?;
        write_private(&stem.with_extension("key"), &key.serialize_pem())?;
        Ok(pem)
    }
}

fn authority(common_name: &str, now: Timestamp) -> Result<Authority, TrustError> {
    let mut params = CertificateParams::default();
    name(&mut params, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    dates(&mut params, usual_dates(now));
    CertifiedIssuer::self_signed(params, new_key(Algorithm::EcdsaSha256)?).map_err(failed)
}

fn revocations(issuer: &Authority, serial: u64, now: Timestamp) -> Result<String, TrustError> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let (this_update, _) = usual_dates(now);
    let next_update = now + SignedDuration::from_hours(24 * 30);
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: epoch + since_epoch(this_update),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: epoch + since_epoch(this_update),
        next_update: epoch + since_epoch(next_update),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).and_then(|list| list.pem()).map_err(failed)
}

fn new_key(kind: Algorithm) -> Result<KeyPair, TrustError> {
    match kind {
        Algorithm::RsaSha256 | Algorithm::RsaSha1 => {
            KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).map_err(failed)
        }
        Algorithm::EcdsaSha256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed),
    }
}

fn name(params: &mut CertificateParams, common_name: &str) {
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Punte demo");
    params.distinguished_name.push(DnType::CommonName, common_name);
}

fn dates(params: &mut CertificateParams, (from, until): (Timestamp, Timestamp)) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(from);
    params.not_after = epoch + since_epoch(until);
}

/// Yesterday to a year from now.
fn usual_dates(now: Timestamp) -> (Timestamp, Timestamp) {
    (now - SignedDuration::from_hours(24), now + SignedDuration::from_hours(24 * 365))
}

fn since_epoch(time: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(time.as_second()).unwrap_or(0))
}

fn failed(error: impl Display) -> TrustError {
    TrustError::DevPki(error.to_string())
}

fn write(path: &Path, text: &str) -> Result<(), TrustError> {
    let fault = |error: std::io::Error| TrustError::File { path: path.into(), text: error.to_string() };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(fault)?;
    }
    std::fs::write(path, text).map_err(fault)
}

/// The mode is set before the key is written, not after.
fn write_private(path: &Path, text: &str) -> Result<(), TrustError> {
    use std::io::Write;
    let fault = |error: std::io::Error| TrustError::File { path: path.into(), text: error.to_string() };
    let _ = std::fs::remove_file(path);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(fault)?;
    }
    options.open(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(fault)
}
