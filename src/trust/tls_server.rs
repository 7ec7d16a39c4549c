//! Our server identity and the clients' authorities come in; TLS settings for a listener go out.
//!
//! The gateway's listener lets every handshake pass whose client proves that it holds its certificate's key, or that shows no
//! certificate at all. Whether the certificate is any good is judged right after the handshake, so that a refused office
//! reads a clear problem in HTTP and not a bare alert. The caller must judge, and must close a refused connection.

use super::{ClientTrust, Identity, Reloading, TrustError, possession::Proof};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms},
    pki_types::{CertificateDer, UnixTime},
    server::{
        ClientHello, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use std::sync::Arc;

pub type TlsVersions = &'static [&'static SupportedProtocolVersion];

/// Those that are spoken unless somebody says otherwise.
pub const TLS_VERSIONS: TlsVersions = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// For the gateway's listener: asks for a client certificate, verifies possession of its key, accepts any chain or none.
pub fn server_config(
    identity: Arc<Reloading<Identity>>,
    offered_authorities: Vec<DistinguishedName>,
) -> Result<ServerConfig, TrustError> {
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    finish(provider, TLS_VERSIONS, Arc::new(JudgedLater { offered_authorities, algorithms }), identity)
}

/// For a server whose handshake itself refuses what does not come from `trust`, as agencies' servers do.
pub fn strict_server_config(
    identity: Arc<Reloading<Identity>>,
    trust: &ClientTrust,
) -> Result<ServerConfig, TrustError> {
    strict_server_config_over(TLS_VERSIONS, identity, trust)
}

/// The same, over these versions of TLS only: not every agency speaks both.
pub fn strict_server_config_over(
    versions: TlsVersions,
    identity: Arc<Reloading<Identity>>,
    trust: &ClientTrust,
) -> Result<ServerConfig, TrustError> {
    let provider = provider();
    let mut roots = RootCertStore::empty();
    for authority in trust.authorities() {
        roots
            .add(authority.clone())
            .map_err(|_| TrustError::Tls("an authority's certificate cannot be used".into()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|_| TrustError::Tls("no authority of clients can be used".into()))?;
    finish(provider, versions, verifier, identity)
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn finish(
    provider: Arc<CryptoProvider>,
    versions: TlsVersions,
    verifier: Arc<dyn ClientCertVerifier>,
    identity: Arc<Reloading<Identity>>,
) -> Result<ServerConfig, TrustError> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|_| TrustError::Tls("this program was built without TLS 1.2 and 1.3".into()))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(Newest(identity)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Each handshake gets the identity as it was last reloaded.
#[derive(Debug)]
struct Newest(Arc<Reloading<Identity>>);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().certified())
    }
}

#[derive(Debug)]
struct JudgedLater {
    offered_authorities: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for JudgedLater {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.offered_authorities
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Proof { message, signed, algorithms: &self.algorithms }.holds_in_tls12(certificate)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Proof { message, signed, algorithms: &self.algorithms }.holds_in_tls13(certificate)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
