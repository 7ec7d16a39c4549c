//! An agency's authority and our identity towards it come in; TLS settings for its connections go out.
//!
//! A file of authorities may hold their revocation lists too. A list counts for the certificates of its issuer; where there
//! is none, revocation is not checked, and one whose `nextUpdate` has passed is still used.

use super::{CertificateFacts, Identity, Load, TrustError, pem, tls_server::provider};
use jiff::Timestamp;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The authorities of one agency. No other authority, and none of the system's, is trusted for its connections.
#[derive(Debug)]
pub struct AgencyRoots {
    authorities: Arc<RootCertStore>,
    revocations: Vec<CertificateRevocationListDer<'static>>,
}

impl AgencyRoots {
    pub fn load(path: &Path) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        for authority in pem::certificates(path)? {
            roots
                .add(authority)
                .map_err(|error| TrustError::Certificate { path: path.into(), text: error.to_string() })?;
        }
        let roots = Self { authorities: Arc::new(roots), revocations: pem::revocation_lists_beside(path)? };
        // A list that cannot be used is told now, and not when the first connection is made.
        roots.verifier().map_err(|text| TrustError::RevocationList { path: path.into(), text })?;
        Ok(roots)
    }

    fn verifier(&self) -> Result<Arc<WebPkiServerVerifier>, String> {
        WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.authorities), provider())
            .with_crls(self.revocations.iter().cloned())
            .allow_unknown_revocation_status()
            .build()
            .map_err(|error| error.to_string())
    }
}

impl Load for AgencyRoots {
    type Files = PathBuf;

    fn paths(files: &PathBuf) -> Vec<&Path> {
        vec![files]
    }

    fn load(files: &PathBuf, _: Timestamp) -> Result<Self, TrustError> {
        AgencyRoots::load(files)
    }
}

/// What a client needs besides the roots.
#[derive(Debug, Clone, Default)]
pub struct ClientTls<'a> {
    pub identity: Option<&'a Identity>,
    /// The algorithms, if not the usual ones.
    pub provider: Option<Arc<CryptoProvider>>,
    /// E.g. `[b"h2", b"http/1.1"]`; empty means no negotiation, hence HTTP/1.1.
    pub alpn: &'a [&'a [u8]],
    /// SHA-256 of the server's certificate, lower-case hexadecimal: no other certificate will do.
    pub pinned_sha256: Option<&'a str>,
}

/// TLS 1.2 and 1.3. The server's name must be among its certificate's alternative names.
pub fn client_config(roots: &AgencyRoots, wanted: ClientTls<'_>) -> Result<ClientConfig, TrustError> {
    let fault = |error: Error| TrustError::Tls(error.to_string());
    let provider = wanted.provider.unwrap_or_else(provider);
    let chain = roots.verifier().map_err(TrustError::Tls)?;
    let verifier = Arc::new(Exact { chain, pin: wanted.pinned_sha256.map(str::to_ascii_lowercase) });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(fault)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match wanted.identity {
        Some(identity) => {
            builder.with_client_auth_cert(identity.chain().to_vec(), identity.key().clone_key()).map_err(fault)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = wanted.alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// The whole check of the chain and name, then what the certificate is for, and whether it is the one.
#[derive(Debug)]
struct Exact {
    chain: Arc<WebPkiServerVerifier>,
    pin: Option<String>,
}

impl ServerCertVerifier for Exact {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.chain.verify_server_cert(certificate, intermediates, name, ocsp, now)?;
        let facts = CertificateFacts::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
        if !facts.may_sign_handshakes() {
            return Err(CertificateError::InvalidPurpose.into());
        }
        match self.pin.as_ref().is_none_or(|pin| facts.fingerprint_sha256 == *pin) {
            true => Ok(verified),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
