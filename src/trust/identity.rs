//! A certificate chain's and a key's PEM files come in; an identity that can open TLS connections and sign goes out.

use super::{
    Certificate, CertificateFacts, CertificateFlaw, Load, Purpose, Signer, TrustError,
    pem::{self, Contents, Found},
};
use jiff::Timestamp;
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdentityFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// What it will be shown for, and must be good for whenever it is read.
    pub purpose: Purpose,
}

/// Who we are towards somebody: a chain, its private key, and what the first certificate says.
pub struct Identity {
    pub certificate: Certificate,
    /// What the operator should know of the files, e.g. that everybody may read the key.
    pub warnings: Vec<String>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    signer: Signer,
    certified: Arc<CertifiedKey>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("subject", &self.facts().subject).finish_non_exhaustive()
    }
}

impl Identity {
    pub fn load(certificate_path: &Path, key_path: &Path, now: Timestamp) -> Result<Self, TrustError> {
        let Contents { it: found, notes: mut warnings, passed_over } = pem::certificates(certificate_path)?;
        let certificate = first_of(&found, certificate_path)?;
        check_dates(&certificate.facts, certificate_path, now)?;
        let Contents { it: key, notes, passed_over: beside_key } = pem::private_key(key_path)?;
        // Of one file that holds both, all counts, and its rights are told once.
        if key_path != certificate_path {
            warnings.extend(passed_over.into_iter().chain(notes).chain(beside_key));
        }
        let key_fault = |text: String| TrustError::Key { path: key_path.into(), text };
        let signer = Signer::from_key(&key).map_err(|fault| key_fault(fault.to_string()))?;
        check_pair(&found, &certificate, &signer, (certificate_path, key_path))?;
        let chain: Vec<_> = found.into_iter().map(|found| found.it).collect();
        let tls_key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|_| key_fault("TLS cannot use this key".into()))?;
        let certified = Arc::new(CertifiedKey::new(chain.clone(), tls_key));
        Ok(Self { certificate, warnings, chain, key, signer, certified })
    }

    /// What the operator should know, and what whoever is shown it for that purpose will have against it.
    pub fn warnings_as(&self, purpose: Purpose, now: Timestamp) -> Vec<String> {
        let facts = self.facts();
        let against = purpose.objections_to(facts).into_iter();
        let against = against.map(|text| format!("our certificate {} will not be taken: {text}", facts.subject));
        self.warnings.iter().cloned().chain(facts.ends_soon(now)).chain(against).collect()
    }

    pub fn facts(&self) -> &CertificateFacts {
        &self.certificate.facts
    }

    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(super) fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

impl Load for Identity {
    type Files = IdentityFiles;

    fn paths(files: &IdentityFiles) -> Vec<&Path> {
        vec![&files.certificate, &files.key]
    }

    fn load(files: &IdentityFiles, now: Timestamp) -> Result<Self, TrustError> {
        Identity::load(&files.certificate, &files.key, now)
    }

    fn warnings(&self, files: &IdentityFiles, now: Timestamp) -> Vec<String> {
        self.warnings_as(files.purpose, now)
    }
}

fn first_of(chain: &[Found<CertificateDer<'static>>], path: &Path) -> Result<Certificate, TrustError> {
    let fault = |text: String| TrustError::Certificate { path: path.into(), text };
    let mut first = None;
    for found in chain {
        let certificate =
            Certificate::from_der(&found.it).map_err(|text| fault(format!("line {}: {text}", found.line)))?;
        first.get_or_insert(certificate);
    }
    let first = first.ok_or_else(|| fault("it holds no certificate".into()))?;
    // No TLS library takes it, ours neither.
    match first.facts.flaws.iter().find(|flaw| matches!(flaw, CertificateFlaw::Version(_))) {
        Some(flaw) => Err(fault(flaw.to_string())),
        None => Ok(first),
    }
}

fn check_dates(facts: &CertificateFacts, path: &Path, now: Timestamp) -> Result<(), TrustError> {
    if now > facts.not_after {
        return Err(TrustError::Expired { path: path.into(), since: facts.not_after });
    }
    if now < facts.not_before {
        return Err(TrustError::NotYetValid { path: path.into(), until: facts.not_before });
    }
    Ok(())
}

fn check_pair(
    chain: &[Found<CertificateDer<'static>>],
    certificate: &Certificate,
    signer: &Signer,
    (path, key): (&Path, &Path),
) -> Result<(), TrustError> {
    let fits = |it: &Certificate| it.public_key.as_ref().is_some_and(|public| public.is(signer.public_key()));
    if fits(certificate) {
        return Ok(());
    }
    let later = chain.iter().skip(1).find(|found| Certificate::from_der(&found.it).is_ok_and(|it| fits(&it)));
    match later {
        Some(Found { line, .. }) => Err(TrustError::Certificate {
            path: path.into(),
            text: format!("the certificate that fits the key {} stands in line {line}: put it first", key.display()),
        }),
        None => Err(TrustError::PairMismatch { certificate: path.into(), key: key.into() }),
    }
}
