//! Certificate authorities and revocation lists come in from files; for each client's chain a verdict goes out.
//!
//! Where there is no revocation list of an authority, revocation is not checked. One whose `nextUpdate` has passed is still
//! used, because forgetting known revocations would be worse than an old list, and is reported by
//! [`ClientTrust::warnings`]. One that cannot count is refused when it is loaded.

use super::{
    CertificateFacts, Load, TrustError,
    authorities::Authorities,
    chain::{ChainFault, Usage},
};
use jiff::Timestamp;
use rustls::{DistinguishedName, pki_types::CertificateDer};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTrustFiles {
    /// Lists may stand beside the authorities.
    pub authorities: Vec<PathBuf>,
    pub revocation_lists: Vec<PathBuf>,
}

/// Why a client's certificate is refused. Each is told to the client in its own words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CertificateRefusal {
    #[error("no certificate was shown")]
    Missing,
    #[error("the certificate is not taken: {0}")]
    Invalid(String),
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
    authorities: Authorities,
}

impl ClientTrust {
    pub fn load(files: &ClientTrustFiles, _: Timestamp) -> Result<Self, TrustError> {
        Ok(Self { authorities: Authorities::load(&files.authorities, &files.revocation_lists)? })
    }

    /// The verdict on a chain as it was shown in the handshake, the client's own certificate first.
    pub fn judge(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<CertificateFacts, CertificateRefusal> {
        let (own, intermediates) = chain.split_first().ok_or(CertificateRefusal::Missing)?;
        let verdict = |at| self.authorities.verify(own, intermediates, Usage::TlsClient, at).map_err(refusal_of);
        let facts = match verdict(now) {
            Ok(facts) => facts,
            // A stranger's certificate is a stranger's, expired or not.
            Err(refusal @ (CertificateRefusal::Expired | CertificateRefusal::NotYetValid)) => {
                let valid_at = CertificateFacts::from_der(own).map_or(now, |facts| facts.not_after);
                return match verdict(valid_at) {
                    Err(CertificateRefusal::UnknownIssuer) => Err(CertificateRefusal::UnknownIssuer),
                    _ => Err(refusal),
                };
            }
            Err(refusal) => return Err(refusal),
        };
        match facts.repeated_attributes.contains(&"organizationIdentifier") {
            true => Err(CertificateRefusal::Invalid("its subject holds organizationIdentifier more than once".into())),
            false => Ok(facts),
        }
    }

    /// What the operator should see to: lists that should have been renewed, authorities that end soon.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        self.authorities.warnings(now)
    }

    /// The authorities' names, which a server offers so that clients can choose their certificate.
    pub fn subjects(&self) -> Vec<DistinguishedName> {
        self.authorities.anchors().iter().map(|anchor| DistinguishedName::in_sequence(&anchor.subject)).collect()
    }

    pub fn authorities(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.authorities.certificates()
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

    fn warnings(&self, _: &ClientTrustFiles, now: Timestamp) -> Vec<String> {
        ClientTrust::warnings(self, now)
    }
}

fn refusal_of(fault: ChainFault) -> CertificateRefusal {
    match fault {
        ChainFault::Expired => CertificateRefusal::Expired,
        ChainFault::NotYetValid => CertificateRefusal::NotYetValid,
        ChainFault::Revoked => CertificateRefusal::Revoked,
        ChainFault::UnknownIssuer { .. } => CertificateRefusal::UnknownIssuer,
        ChainFault::Unfit(why) => CertificateRefusal::Invalid(why),
        other @ ChainFault::OtherName { .. } => CertificateRefusal::Invalid(other.to_string()),
    }
}
