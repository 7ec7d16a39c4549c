//! An agency's authority and our identity towards it come in; TLS settings for its connections go out.
//!
//! A file of authorities may hold their revocation lists too. A list counts for the certificates of its issuer; where there
//! is none, revocation is not checked, and one whose `nextUpdate` has passed is still used.

use super::{
    Identity, Load, TrustError,
    authorities::Authorities,
    chain::{ChainFault, Usage, check_name},
    tls_server::provider,
};
use jiff::Timestamp;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The authorities of one agency. No other authority, and none of the system's, is trusted for its connections.
#[derive(Debug)]
pub struct AgencyRoots {
    authorities: Arc<Authorities>,
}

impl AgencyRoots {
    /// What cannot be used is told now, and not when the first connection is made.
    pub fn load(path: &Path) -> Result<Self, TrustError> {
        Ok(Self { authorities: Arc::new(Authorities::load(&[path.to_owned()], &[])?) })
    }

    /// What the operator should see to.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        self.authorities.warnings(now)
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

    fn warnings(&self, _: &PathBuf, now: Timestamp) -> Vec<String> {
        AgencyRoots::warnings(self, now)
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
    /// Called in each handshake once the server has proved who it is, on the thread that polls the connection.
    pub on_proved: Option<fn()>,
}

/// TLS 1.2 and 1.3. The server's name must be among its certificate's alternative names.
pub fn client_config(roots: &AgencyRoots, wanted: ClientTls<'_>) -> Result<ClientConfig, TrustError> {
    let provider = wanted.provider.unwrap_or_else(provider);
    let verifier = Arc::new(Exact {
        authorities: Arc::clone(&roots.authorities),
        algorithms: provider.signature_verification_algorithms,
        pin: wanted.pinned_sha256.map(str::to_ascii_lowercase),
        on_proved: wanted.on_proved,
    });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|_| TrustError::Tls("this program was built without TLS 1.2 and 1.3".into()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match wanted.identity {
        Some(identity) => {
            let unusable = |_| TrustError::Tls("our certificate and its key cannot be used together".into());
            builder.with_client_auth_cert(identity.chain().to_vec(), identity.key().clone_key()).map_err(unusable)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = wanted.alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// The whole check of the chain and name, and whether the certificate is the one.
#[derive(Debug)]
struct Exact {
    authorities: Arc<Authorities>,
    algorithms: WebPkiSupportedAlgorithms,
    pin: Option<String>,
    on_proved: Option<fn()>,
}

impl Exact {
    /// The signature is looked at after the certificate, and shows that the server has its key and speaks in this handshake.
    fn proved(&self, valid: HandshakeSignatureValid) -> HandshakeSignatureValid {
        if let Some(on_proved) = self.on_proved {
            on_proved();
        }
        valid
    }

    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), ChainFault> {
        let now = i64::try_from(now.as_secs()).ok().and_then(|second| Timestamp::from_second(second).ok());
        let now = now.ok_or_else(|| ChainFault::Unfit("this machine's clock is out of range".into()))?;
        let facts = self.authorities.verify(certificate, intermediates, Usage::TlsServer, now)?;
        check_name(certificate, name)?;
        match self.pin.as_ref().is_none_or(|pin| facts.fingerprint_sha256 == *pin) {
            true => Ok(()),
            false => Err(ChainFault::Unfit("it is not the one that is pinned by its fingerprint".into())),
        }
    }
}

impl ServerCertVerifier for Exact {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.check(certificate, intermediates, name, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            // Our own words, which the library hands on as they are.
            Err(fault) => Err(CertificateError::Other(OtherError(Arc::new(fault))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms).map(|valid| self.proved(valid))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms).map(|valid| self.proved(valid))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
