//! A chain as it was shown, authorities, and what it is shown for come in; whether it holds, or why not in words, goes out.
//!
//! The way to an authority, signatures and dates are webpki's. Beside that: who issues needs keyCertSign, and a list of
//! revocations counts for every certificate of its issuer that it names, whatever distribution point either names.

use super::{CertificateFacts, revocation::Revocations};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use std::time::Duration;
use webpki::{EndEntityCert, Error as PathError, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage, VerifiedPath};

/// Why a chain is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    #[error("the certificate has expired")]
    Expired,
    #[error("the certificate is not valid yet")]
    NotYetValid,
    #[error("the certificate has been revoked")]
    Revoked,
    #[error(
        "the certificate's issuer ({issuer}) is not trusted: it is none of the authorities that are configured, and no chain to one was shown"
    )]
    UnknownIssuer { issuer: String },
    #[error("the certificate is not valid for the name {expected}: {presented}")]
    OtherName { expected: String, presented: String },
    #[error("{0}")]
    Unfit(String),
}

/// What the first certificate of a chain is shown for.
#[derive(Clone, Copy)]
pub(super) enum Usage {
    TlsServer,
    TlsClient,
    /// Signing certificates come with any extended usage or none.
    Signatures,
}

/// Who may vouch.
pub(super) struct Trusted<'a> {
    pub anchors: &'a [TrustAnchor<'a>],
    pub revocations: &'a Revocations,
}

impl Trusted<'_> {
    /// The facts of the chain's first certificate, if all of it holds.
    pub fn verify(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: Usage,
        now: Timestamp,
    ) -> Result<CertificateFacts, ChainFault> {
        let facts = CertificateFacts::from_der(own).map_err(ChainFault::Unfit)?;
        if let Some(flaw) = facts.flaws.first() {
            return Err(ChainFault::Unfit(flaw.to_string()));
        }
        let parsed = EndEntityCert::try_from(own).map_err(|error| fault_of(&error, &facts))?;
        let at = unix_time(now);
        let (anchors, algorithms) = (self.anchors, chain_algorithms());
        let path = match usage {
            Usage::TlsServer => {
                parsed.verify_for_usage(algorithms, anchors, intermediates, at, KeyUsage::server_auth(), None, None)
            }
            Usage::TlsClient => {
                parsed.verify_for_usage(algorithms, anchors, intermediates, at, KeyUsage::client_auth(), None, None)
            }
            Usage::Signatures => parsed.verify_for_usage(algorithms, anchors, intermediates, at, AnyUsage, None, None),
        };
        let path = path.map_err(|error| fault_of(&error, &facts))?;
        self.check_path(&path, &facts, now)?;
        match usage {
            Usage::TlsServer | Usage::TlsClient if !facts.may_sign_handshakes() => Err(ChainFault::Unfit(
                "its key usage does not name digitalSignature, which a TLS handshake needs".into(),
            )),
            Usage::TlsServer | Usage::TlsClient | Usage::Signatures => Ok(facts),
        }
    }

    fn check_path(&self, path: &VerifiedPath<'_>, facts: &CertificateFacts, now: Timestamp) -> Result<(), ChainFault> {
        if self.revocations.name(&facts.issuer_name, path.end_entity().serial(), now) {
            return Err(ChainFault::Revoked);
        }
        for issuer in path.intermediate_certificates() {
            let facts = CertificateFacts::from_der(&issuer.der()).map_err(ChainFault::Unfit)?;
            let unfit = |text: &str| Err(ChainFault::Unfit(format!("its issuer, {}, {text}", facts.subject)));
            if self.revocations.name(&facts.issuer_name, issuer.serial(), now) {
                return unfit("has been revoked");
            }
            if let Some(flaw) = facts.flaws.first() {
                return unfit(&format!("is malformed: {flaw}"));
            }
            if !facts.may_sign_certificates() {
                return unfit("may not sign certificates: its key usage does not name keyCertSign");
            }
        }
        Ok(())
    }
}

struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), PathError> {
        Ok(())
    }
}

/// Only alternative names count (RFC 9525, section 6.3).
pub(super) fn check_name(own: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), ChainFault> {
    let unreadable = |_| ChainFault::Unfit("it is not an X.509 certificate".into());
    let parsed = EndEntityCert::try_from(own).map_err(unreadable)?;
    if parsed.verify_is_valid_for_subject_name(name).is_ok() {
        return Ok(());
    }
    let facts = CertificateFacts::from_der(own).map_err(ChainFault::Unfit)?;
    let addresses = facts.ip_addresses.iter().map(ToString::to_string);
    let names: Vec<_> = facts.dns_names.iter().cloned().chain(addresses).take(20).collect();
    let presented = match (names.is_empty(), &facts.common_name) {
        (false, _) => format!("it is for {}", names.join(", ")),
        (true, Some(common)) => {
            format!("it has no subjectAltName, and its common name ({common}) does not count (RFC 9525)")
        }
        (true, None) => "it has no subjectAltName".into(),
    };
    Err(ChainFault::OtherName { expected: name.to_str().into_owned(), presented })
}

/// What certificates in a chain may be signed with, as TLS has it.
fn chain_algorithms() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all
}

fn unix_time(now: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.as_second()).unwrap_or(0)))
}

fn fault_of(error: &PathError, facts: &CertificateFacts) -> ChainFault {
    let unfit = |text: &str| ChainFault::Unfit(text.into());
    match error {
        PathError::CertExpired { .. } => ChainFault::Expired,
        PathError::CertNotValidYet { .. } => ChainFault::NotYetValid,
        // A certificate with a trusted name but a stranger's signature fails on the signature.
        PathError::UnknownIssuer
        | PathError::InvalidSignatureForPublicKey
        | PathError::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            ChainFault::UnknownIssuer { issuer: facts.issuer.clone() }
        }
        PathError::CaUsedAsEndEntity => {
            unfit("it is an authority's own certificate (CA:TRUE), and no server's, client's or signer's")
        }
        PathError::EndEntityUsedAsCa => {
            unfit("it was issued by a certificate that is no authority's (CA:TRUE is missing)")
        }
        PathError::EmptyEkuExtension => unfit("its extended key usage is empty"),
        PathError::RequiredEkuNotFoundContext(context) => {
            let usage = if context.required == KeyUsage::server_auth() { "serverAuth" } else { "clientAuth" };
            let named = facts.extended_key_usages.join(", ");
            ChainFault::Unfit(format!(
                "its extended key usage, or its issuer's, does not name {usage} (it names: {named})"
            ))
        }
        PathError::UnsupportedCertVersion => unfit("it is an X.509 certificate of an old version; version 3 is needed"),
        PathError::UnsupportedSignatureAlgorithmContext(_) => {
            unfit("it, or its issuer, is signed with an algorithm that is not accepted, such as SHA-1")
        }
        PathError::NameConstraintViolation => unfit("its issuer may not issue for such names (nameConstraints)"),
        PathError::PathLenConstraintViolated => {
            unfit("there are more authorities in its chain than one of them allows")
        }
        PathError::InvalidCertValidity => unfit("it ends before it begins"),
        PathError::UnsupportedCriticalExtension => {
            unfit("it, or its issuer, has a critical extension that is not known here")
        }
        PathError::SignatureAlgorithmMismatch => unfit("it names two different algorithms for its signature"),
        PathError::MaximumPathBuildCallsExceeded
        | PathError::MaximumPathDepthExceeded
        | PathError::MaximumSignatureChecksExceeded
        | PathError::MaximumNameConstraintComparisonsExceeded => unfit("its chain is too long or too tangled"),
        _ => unfit("it, or a certificate of its chain, is malformed"),
    }
}
