//! An authority of the tests' own: certificates that are odd in one way each (rcgen), and revocation lists with any
//! extension (OpenSSL).

use base64::Engine;
use punte::trust::{AgencyRoots, ClientTls, ClientTrust, ClientTrustFiles, TrustError, client_config};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CrlDistributionPoint, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SerialNumber, SigningKey, date_time_ymd,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
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

    /// The same certificate with parts of what is signed changed by hand (RFC 5280 §4.1), and signed anew.
    pub fn rewritten(&self, forged: &Forged, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Forged {
        let whole = parts_of(&content_of(&forged.der));
        let mut signed = parts_of(&content_of(&whole[0]));
        change(&mut signed);
        let signed = tagged(0x30, &signed.concat());
        let signature = self.authority.key().sign(&signed).unwrap();
        let der = tagged(0x30, &[signed, whole[1].clone(), tagged(3, &[&[0], signature.as_slice()].concat())].concat());
        let body = base64::engine::general_purpose::STANDARD.encode(&der);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        let key = KeyPair::from_pem(&forged.key.serialize_pem()).unwrap();
        Forged { pem, der: der.into(), key }
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
pub fn leaf_params() -> CertificateParams {
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

/// One DER value.
pub fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    let [high, low] = length.to_be_bytes();
    let head = match length {
        0..128 => vec![tag, low],
        128..256 => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, content.to_vec()].concat()
}

/// A name of one organisation, in a string of this kind.
pub fn organisation(tag: u8, text: &[u8]) -> Vec<u8> {
    tagged(0x30, &tagged(0x31, &tagged(0x30, &[tagged(6, &[0x55, 4, 10]), tagged(tag, text)].concat())))
}

/// How long the first value is, and where its content begins.
fn head_of(der: &[u8]) -> (usize, usize) {
    let (length, begins) = match der[1] {
        0x81 => (usize::from(der[2]), 3),
        0x82 => (usize::from(u16::from_be_bytes([der[2], der[3]])), 4),
        length => (usize::from(length), 2),
    };
    (begins + length, begins)
}

fn content_of(der: &[u8]) -> Vec<u8> {
    let (ends, begins) = head_of(der);
    der[begins..ends].to_vec()
}

fn parts_of(mut content: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    while !content.is_empty() {
        let (part, rest) = content.split_at(head_of(content).0);
        parts.push(part.to_vec());
        content = rest;
    }
    parts
}

/// TLS settings of a client that shows this certificate, whatever is wrong with it.
pub fn client_with(forged: &Forged, roots: &Path, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from_pem_file(roots).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(store)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified(forged))))
}

/// rustls looks at no certificate that is given in this way.
fn certified(forged: &Forged) -> CertifiedKey {
    let key = PrivateKeyDer::from_pem_slice(forged.key.serialize_pem().as_bytes()).unwrap();
    CertifiedKey::new(vec![forged.der.clone()], rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap())
}

/// What our client says of a server that shows this certificate, if it does not go on.
pub fn meet_server(roots: &AgencyRoots, server: &Forged) -> Option<String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified(server))));
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
            return Some(punte::http_client::tls_failure(&error).unwrap().to_string());
        }
    }
    assert!(!client.is_handshaking());
    None
}
