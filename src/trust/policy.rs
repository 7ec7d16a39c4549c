//! A valid answer profile comes in; a policy with loaded certificates goes out, which says whose signatures count.

use super::{
    Algorithm, AnswerKind, AnswerProfile, Certificate, Load, Named, Purpose, SignersAsFiles, TrustError,
    authorities::Authorities,
    chain::{ChainFault, Usage},
    pem,
};
use crate::domain::{SubjectMatch, later};
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// How an agency's messages are verified. Nothing in a message can widen it.
#[derive(Debug, Clone)]
pub struct AnswerPolicy {
    pub kind: AnswerKind,
    pub algorithms: Vec<Algorithm>,
    pub signers: TrustedSigners,
    pub max_clock_skew: SignedDuration,
    /// How old a message may be; it is remembered for as long.
    pub replay_window: SignedDuration,
    /// What the operator should know of the pinned certificates' files.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone)]
pub enum TrustedSigners {
    /// Exactly these certificates.
    Pinned(Vec<Certificate>),
    /// Whoever holds a certificate of this authority, and this subject if one is given.
    Authority(Arc<TrustedAuthority>),
}

/// An authority, its revocation lists, and the one subject that counts, if one is given.
#[derive(Debug)]
pub struct TrustedAuthority {
    authorities: Authorities,
    subject: Option<SubjectMatch>,
}

/// Why a signer does not count. Of what a certificate says that nobody vouches for, the words have names alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignerRefusal {
    #[error("the certificate cannot be used: {0}")]
    Malformed(String),
    #[error("the certificate does not count as the agency's: {0}")]
    NotTrusted(String),
    #[error("the certificate has been revoked")]
    Revoked,
    #[error("the certificate is not valid at this time")]
    OutOfDate,
    #[error("the certificate is not meant for signatures")]
    Usage,
}

impl AnswerPolicy {
    pub fn load(profile: &AnswerProfile, _: Timestamp) -> Result<Self, TrustError> {
        let (signers, notes) = TrustedSigners::load(&profile.signers)?;
        Ok(Self {
            kind: profile.kind.clone(),
            algorithms: profile.algorithms.clone(),
            signers,
            max_clock_skew: profile.max_clock_skew,
            replay_window: profile.replay_window,
            notes,
        })
    }

    /// What the operator should see to: pinned certificates that cannot verify anything, or not for long.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let useless = |known: &Certificate| {
            let fits = |algorithm: &Algorithm| known.public_key.as_ref().is_some_and(|key| key.fits(*algorithm));
            match check_usable(known, now) {
                Err(refusal @ (SignerRefusal::Usage | SignerRefusal::Malformed(_))) => {
                    let against = Purpose::Signatures.objections_to(&known.facts);
                    Some(against.first().cloned().unwrap_or_else(|| refusal.to_string()))
                }
                Err(refusal) => Some(refusal.to_string()),
                Ok(()) if !self.algorithms.iter().any(fits) => Some("no allowed algorithm fits its key".into()),
                Ok(()) => known.facts.ends_soon(now),
            }
        };
        let text = |known: &Certificate| Some(format!("{}: {}", known.facts.subject, useless(known)?));
        let pinned = self.notes.iter().cloned().chain(self.signers.pinned().iter().filter_map(text));
        match &self.signers {
            TrustedSigners::Pinned(_) => pinned.collect(),
            TrustedSigners::Authority(authority) => pinned.chain(authority.authorities.warnings(now)).collect(),
        }
    }

    /// For one's own messages read by another part of Punte, e.g. a simulated agency.
    pub fn pinned(kind: AnswerKind, algorithms: Vec<Algorithm>, certificates: Vec<Certificate>) -> Self {
        Self {
            kind,
            algorithms,
            signers: TrustedSigners::Pinned(certificates),
            max_clock_skew: SignedDuration::from_secs(60),
            replay_window: SignedDuration::from_secs(300),
            notes: Vec::new(),
        }
    }

    pub(super) fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Created not in the future and not too long ago, not expired; each with the clock skew that is allowed.
    pub(super) fn is_fresh(&self, created: Timestamp, expires: Option<Timestamp>, now: Timestamp) -> Freshness {
        let age = now.duration_since(created);
        if age < -self.max_clock_skew {
            return Freshness::FromTheFuture;
        }
        let expired = expires.is_some_and(|expires| now.duration_since(expires) > self.max_clock_skew);
        match expired || age > self.replay_window + self.max_clock_skew {
            true => Freshness::Stale,
            false => Freshness::Fresh { remember_until: later(created, self.replay_window + self.max_clock_skew) },
        }
    }
}

impl Load for AnswerPolicy {
    type Files = AnswerProfile;

    fn paths(files: &AnswerProfile) -> Vec<&Path> {
        match &files.signers {
            SignersAsFiles::Nobody => Vec::new(),
            SignersAsFiles::Pinned(paths) => paths.iter().map(PathBuf::as_path).collect(),
            SignersAsFiles::Authority { path, .. } => vec![path],
        }
    }

    fn load(files: &AnswerProfile, now: Timestamp) -> Result<Self, TrustError> {
        AnswerPolicy::load(files, now)
    }

    fn warnings(&self, _: &AnswerProfile, now: Timestamp) -> Vec<String> {
        AnswerPolicy::warnings(self, now)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    Fresh { remember_until: Timestamp },
    Stale,
    FromTheFuture,
}

impl TrustedSigners {
    /// And what the operator should know of the files.
    fn load(files: &SignersAsFiles) -> Result<(Self, Vec<String>), TrustError> {
        match files {
            SignersAsFiles::Nobody => Ok((Self::Pinned(Vec::new()), Vec::new())),
            SignersAsFiles::Pinned(paths) => {
                let (mut certificates, mut notes) = (Vec::new(), Vec::new());
                for path in paths {
                    let contents = pem::certificates(path)?;
                    notes.extend(contents.notes.into_iter().chain(contents.passed_over));
                    for found in contents.it {
                        let fault = |text| TrustError::Certificate {
                            path: path.clone(),
                            text: format!("line {}: {text}", found.line),
                        };
                        let certificate = Certificate::from_der(&found.it).map_err(fault)?;
                        if certificate.public_key.is_none() {
                            return Err(fault("its key is neither RSA nor on the curve P-256".to_owned()));
                        }
                        certificates.push(certificate);
                    }
                }
                Ok((Self::Pinned(certificates), notes))
            }
            SignersAsFiles::Authority { path, subject } => {
                let authorities = Authorities::load(std::slice::from_ref(path), &[])?;
                let authority = TrustedAuthority { authorities, subject: subject.clone() };
                Ok((Self::Authority(Arc::new(authority)), Vec::new()))
            }
        }
    }

    /// The one subject that counts, if not everybody's does whom the authority vouches for.
    pub fn subject(&self) -> Option<&SubjectMatch> {
        match self {
            TrustedSigners::Pinned(_) => None,
            TrustedSigners::Authority(authority) => authority.subject.as_ref(),
        }
    }

    /// The certificates that are known beforehand.
    pub(super) fn pinned(&self) -> &[Certificate] {
        match self {
            TrustedSigners::Pinned(certificates) => certificates,
            TrustedSigners::Authority(_) => &[],
        }
    }

    /// Of the certificates that are known beforehand, those that fit and can be used now: a renewed one stands beside the
    /// one that it replaces, perhaps with the same key.
    pub(super) fn usable(
        &self,
        now: Timestamp,
        fits: impl Fn(&Certificate) -> bool,
    ) -> Result<Vec<Certificate>, SignerRefusal> {
        let mut found: Vec<_> = self.pinned().iter().filter(|known| fits(known)).cloned().collect();
        let first = found.first().ok_or_else(|| match self {
            TrustedSigners::Pinned(_) => {
                SignerRefusal::not_trusted("the message names none of those in `certificates`")
            }
            TrustedSigners::Authority(_) => SignerRefusal::not_trusted(
                "the message does not bring it, so that nothing shows that `ca` has issued it",
            ),
        })?;
        let verdict = check_usable(first, now);
        found.retain(|certificate| check_usable(certificate, now).is_ok());
        match verdict {
            Err(refusal) if found.is_empty() => Err(refusal),
            _ => Ok(found),
        }
    }

    /// A certificate that came with the message: it counts only if the policy already knows it or its authority.
    pub(super) fn recognise(&self, shown: &[CertificateDer<'_>], now: Timestamp) -> Result<Certificate, SignerRefusal> {
        let none = || SignerRefusal::Malformed("the message describes it and holds none".into());
        let (own, intermediates) = shown.split_first().ok_or_else(none)?;
        let certificate = match self {
            TrustedSigners::Pinned(known) => {
                let stranger = || SignerRefusal::not_trusted("it is none of those in `certificates`");
                known.iter().find(|known| known.der == *own).cloned().ok_or_else(stranger)?
            }
            TrustedSigners::Authority(authority) => {
                let verified = authority.authorities.verify(own, intermediates, Usage::Signatures, now);
                let facts = verified.map_err(refusal_of)?;
                if authority.subject.as_ref().is_some_and(|subject| !subject.fits(&facts.name)) {
                    let found = Named::of(Some(&facts.subject));
                    return Err(SignerRefusal::NotTrusted(format!("it is of {found}, and not of `subject`")));
                }
                Certificate::from_der(own).map_err(SignerRefusal::Malformed)?
            }
        };
        check_usable(&certificate, now)?;
        Ok(certificate)
    }
}

/// Dates and usage count for pinned certificates too.
pub(super) fn check_usable(certificate: &Certificate, now: Timestamp) -> Result<(), SignerRefusal> {
    if !certificate.facts.is_valid_at(now) {
        return Err(SignerRefusal::OutOfDate);
    }
    if let Some(flaw) = certificate.facts.flaws.first() {
        return Err(SignerRefusal::Malformed(flaw.to_string()));
    }
    if !certificate.facts.may_sign() {
        return Err(SignerRefusal::Usage);
    }
    match certificate.public_key {
        Some(_) => Ok(()),
        None => Err(SignerRefusal::Malformed("its key is neither RSA nor on the curve P-256".into())),
    }
}

fn refusal_of(fault: ChainFault) -> SignerRefusal {
    match fault {
        ChainFault::Expired | ChainFault::NotYetValid => SignerRefusal::OutOfDate,
        ChainFault::Revoked => SignerRefusal::Revoked,
        // Nobody has signed what a stranger's certificate says of its issuer.
        ChainFault::UnknownIssuer { issuer } => {
            let issuer = Named::of(Some(&issuer));
            SignerRefusal::NotTrusted(format!(
                "its issuer, {issuer}, is none of the authorities in `ca`, and no chain to one came with it"
            ))
        }
        why @ (ChainFault::Unfit(_) | ChainFault::OtherName { .. }) => SignerRefusal::NotTrusted(why.to_string()),
    }
}

impl SignerRefusal {
    pub(super) const NOT_TRUSTED: &str = "signer-not-trusted";

    pub(super) fn not_trusted(why: &str) -> Self {
        Self::NotTrusted(why.to_owned())
    }

    pub fn reason(&self) -> &'static str {
        match self {
            SignerRefusal::Malformed(_) => "signer-malformed",
            SignerRefusal::NotTrusted(_) => Self::NOT_TRUSTED,
            SignerRefusal::Revoked => "signer-revoked",
            SignerRefusal::OutOfDate => "signer-out-of-date",
            SignerRefusal::Usage => "signer-usage",
        }
    }
}
