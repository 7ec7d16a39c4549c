//! An authority of the tests' own: certificates that are odd in one way each (rcgen), and revocation lists with any
//! extension (OpenSSL).

use punte::trust::{AgencyRoots, ClientTls, ClientTrust, ClientTrustFiles, TrustError, client_config};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CrlDistributionPoint, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use rustls::{
    ClientConnection, ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

pub const SERIAL: u64 = 0x4711;
/// Where the certificates say that their revocation list is.
pub const LISTED_AT: &str = "http://ca.example/list-a.crl";

pub struct Forge {
    folder: tempfile::TempDir,
    pub authority: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate as PEM, and its key.
pub struct Forged {
    pub pem: String,
    pub der: CertificateDer<'static>,
    pub key: KeyPair,
}

impl Forge {
    pub fn new() -> Self {
        Self::named("Authority of the forge", |_| {})
    }

    pub fn named(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority_params(name);
        change(&mut params);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let forge = Self { folder: tempfile::tempdir().unwrap(), authority };
        forge.write("ca.pem", forge.authority.pem());
        forge.write("ca.key", forge.authority.key().serialize_pem());
        forge
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(file), content).unwrap();
        self.path(file)
    }

    pub fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Forged {
        let mut params = leaf_params();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        Forged { pem: certificate.pem(), der: certificate.der().clone(), key }
    }

    /// A list that revokes the serial numbers, with extensions in OpenSSL's own notation; none of them: version 1.
    pub fn list(&self, serials: &[&str], extensions: &str) -> String {
        let entry = |serial: &&str| format!("R\t991231235959Z\t260101000000Z\t{serial}\tunknown\t/CN=revoked\n");
        self.write("index.txt", serials.iter().map(entry).collect::<String>());
        self.write("index.txt.attr", "unique_subject = no\n");
        let folder = self.folder.path().display();
        let settings = format!(
            "[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index.txt\ndefault_md=sha256\ndefault_crl_days=30\n\
             [extensions]\n{extensions}\n"
        );
        let settings = self.write("ca.cnf", settings);
        let mut command = Command::new("openssl");
        command.args(["ca", "-gencrl", "-config"]).arg(settings);
        command.arg("-cert").arg(self.path("ca.pem")).arg("-keyfile").arg(self.path("ca.key"));
        if !extensions.is_empty() {
            command.args(["-crlexts", "extensions"]);
        }
        let done = command.output().unwrap();
        assert!(done.status.success(), "{extensions}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    pub fn trust(&self, lists: &[&Path]) -> Result<ClientTrust, TrustError> {
        let revocation_lists = lists.iter().map(|path| path.to_path_buf()).collect();
        ClientTrust::load(
            &ClientTrustFiles { authorities: vec![self.path("ca.pem")], revocation_lists },
            super::pki::now(),
        )
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    params
}

/// For both sides of TLS, on this machine.
fn leaf_params() -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "of the forge");
    params.serial_number = Some(SerialNumber::from(SERIAL));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![LISTED_AT.to_owned()] }];
    params.is_ca = IsCa::ExplicitNoCa;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    params
}

/// What our client says of a server that shows this certificate, if it does not go on.
pub fn meet_server(roots: &AgencyRoots, server: &Forged) -> Option<String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_slice(server.key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![server.der.clone()], key)
        .unwrap();
    let client = client_config(roots, ClientTls::default()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::new(config)).unwrap();
    for _ in 0..10 {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        client.write_tls(&mut there).unwrap();
        server.read_tls(&mut there.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        server.write_tls(&mut back).unwrap();
        client.read_tls(&mut back.as_slice()).unwrap();
        if let Err(error) = client.process_new_packets() {
            return Some(punte::wire::tls_failure(&error).unwrap().to_string());
        }
    }
    assert!(!client.is_handshaking());
    None
}
