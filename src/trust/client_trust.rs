//! Certificate authorities and revocation lists come in from files; for each client's chain a verdict goes out.
//!
//! A revocation list counts for the certificates of its issuer. Where there is none, revocation is not checked. One whose
//! `nextUpdate` has passed is still used, because forgetting known revocations would be worse than an old list, and is
//! reported by [`ClientTrust::warnings`]. One that its authority has not signed is refused when it is loaded.

use super::{CertificateFacts, Load, TrustError, pem};
use jiff::Timestamp;
use rustls::{
    DistinguishedName,
    pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime},
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use webpki::{
    CertRevocationList, EndEntityCert, Error as ChainError, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::prelude::{FromDer, X509Certificate};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTrustFiles {
    pub authorities: Vec<PathBuf>,
    pub revocation_lists: Vec<PathBuf>,
}

/// Why a client's certificate is refused. Each is told to the client in its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CertificateRefusal {
    #[error("no certificate was shown")]
    Missing,
    #[error("the certificate is malformed or not meant for TLS clients")]
    Invalid,
    #[error("the certificate has expired")]
    Expired,
    #[error("the certificate is not valid yet")]
    NotYetValid,
    #[error("the certificate has been revoked")]
    Revoked,
    #[error("the certificate's issuer is not trusted")]
    UnknownIssuer,
}

pub struct ClientTrust {
    authorities: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    revocations: Vec<Revocations>,
}

struct Revocations {
    path: PathBuf,
    list: CertRevocationList<'static>,
    next_update: Option<Timestamp>,
}

impl ClientTrust {
    pub fn load(files: &ClientTrustFiles, now: Timestamp) -> Result<Self, TrustError> {
        let mut trust = Self { authorities: Vec::new(), anchors: Vec::new(), revocations: Vec::new() };
        for path in &files.authorities {
            for authority in pem::certificates(path)? {
                trust.anchors.push(anchor_of(&authority, path)?);
                trust.authorities.push(authority);
            }
        }
        for path in &files.revocation_lists {
            for der in pem::revocation_lists(path)? {
                trust.revocations.push(revocations_of(&der, path, &trust.authorities)?);
            }
        }
        trust.warnings(now).iter().for_each(|warning| tracing::warn!("{warning}"));
        Ok(trust)
    }

    /// The verdict on a chain as it was shown in the handshake, the client's own certificate first.
    pub fn judge(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<CertificateFacts, CertificateRefusal> {
        let (own, intermediates) = chain.split_first().ok_or(CertificateRefusal::Missing)?;
        let facts = CertificateFacts::from_der(own).map_err(|_| CertificateRefusal::Invalid)?;
        match self.verify(own, intermediates, now) {
            Ok(()) if !facts.may_sign_handshakes() => Err(CertificateRefusal::Invalid),
            Ok(()) => Ok(facts),
            // A stranger's certificate is a stranger's, expired or not.
            Err(refusal @ (CertificateRefusal::Expired | CertificateRefusal::NotYetValid)) => {
                match self.verify(own, intermediates, facts.not_after) {
                    Err(CertificateRefusal::UnknownIssuer) => Err(CertificateRefusal::UnknownIssuer),
                    _ => Err(refusal),
                }
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// What the operator should see to: lists that should have been renewed, authorities that end soon.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let old = |revocations: &&Revocations| revocations.next_update.is_some_and(|next| next < now);
        let text = |revocations: &Revocations| {
            format!("the revocation list {} should have been renewed; it is still used", revocations.path.display())
        };
        let ending =
            self.authorities.iter().filter_map(|authority| CertificateFacts::from_der(authority).ok()?.ends_soon(now));
        self.revocations.iter().filter(old).map(text).chain(ending).collect()
    }

    /// The authorities' names, which a server offers so that clients can choose their certificate.
    pub fn subjects(&self) -> Vec<DistinguishedName> {
        self.anchors.iter().map(|anchor| DistinguishedName::in_sequence(&anchor.subject)).collect()
    }

    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    fn verify(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<(), CertificateRefusal> {
        let own = EndEntityCert::try_from(own).map_err(|_| CertificateRefusal::Invalid)?;
        let lists: Vec<_> = self.revocations.iter().map(|revocations| &revocations.list).collect();
        own.verify_for_usage(
            chain_algorithms(),
            &self.anchors,
            intermediates,
            unix_time(now),
            KeyUsage::client_auth(),
            revocation_options(&lists),
            None,
        )
        .map(|_| ())
        .map_err(|error| refusal_of(&error))
    }
}

impl Load for ClientTrust {
    type Files = ClientTrustFiles;

    fn paths(files: &ClientTrustFiles) -> Vec<&Path> {
        files.authorities.iter().chain(&files.revocation_lists).map(PathBuf::as_path).collect()
    }

    fn load(files: &ClientTrustFiles, now: Timestamp) -> Result<Self, TrustError> {
        ClientTrust::load(files, now)
    }
}

/// What certificates in a chain may be signed with, as TLS has it.
pub(super) fn chain_algorithms() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all
}

pub(super) fn unix_time(now: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0)))
}

pub(super) fn anchor_of(authority: &CertificateDer<'_>, path: &Path) -> Result<TrustAnchor<'static>, TrustError> {
    let fault = |error: ChainError| TrustError::Certificate {
        path: path.into(),
        text: format!("it cannot be a certificate authority: {error}"),
    };
    webpki::anchor_from_trusted_cert(authority).map(|anchor| anchor.to_owned()).map_err(fault)
}

pub(super) fn refusal_of(error: &ChainError) -> CertificateRefusal {
    match error {
        ChainError::CertExpired { .. } => CertificateRefusal::Expired,
        ChainError::CertNotValidYet { .. } => CertificateRefusal::NotYetValid,
        ChainError::CertRevoked => CertificateRefusal::Revoked,
        // A certificate with a trusted name but a stranger's signature fails on the signature.
        ChainError::UnknownIssuer
        | ChainError::InvalidSignatureForPublicKey
        | ChainError::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => CertificateRefusal::UnknownIssuer,
        _ => CertificateRefusal::Invalid,
    }
}

fn revocation_options<'a>(lists: &'a [&'a CertRevocationList<'a>]) -> Option<RevocationOptions<'a>> {
    let builder = RevocationOptionsBuilder::new(lists).ok()?;
    Some(
        builder
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Allow)
            .with_expiration_policy(ExpirationPolicy::Ignore)
            .build(),
    )
}

fn revocations_of(der: &[u8], path: &Path, authorities: &[CertificateDer<'_>]) -> Result<Revocations, TrustError> {
    let fault = |text: &str| TrustError::RevocationList { path: path.into(), text: text.into() };
    let (_, parsed) = x509_parser::revocation_list::CertificateRevocationList::from_der(der)
        .map_err(|_| fault("it is not a revocation list"))?;
    let may_sign = |authority: &X509Certificate<'_>| {
        authority.key_usage().ok().flatten().is_none_or(|usage| usage.value.crl_sign())
    };
    let signed =
        authorities.iter().filter_map(|authority| X509Certificate::from_der(authority).ok()).any(|(_, authority)| {
            authority.subject() == parsed.issuer()
                && may_sign(&authority)
                && parsed.verify_signature(authority.public_key()).is_ok()
        });
    if !signed {
        return Err(fault("no configured authority that may sign such lists has signed it"));
    }
    let list = OwnedCertRevocationList::from_der(der).map_err(|error| fault(&format!("it cannot be used: {error}")))?;
    let next_update = parsed.next_update().and_then(|time| Timestamp::from_second(time.timestamp()).ok());
    Ok(Revocations { path: path.into(), list: list.into(), next_update })
}
