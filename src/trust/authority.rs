//! Files of authorities and their revocation lists come in; who is trusted to vouch for certificates goes out.

use super::{
    CertificateFacts, CertificateFlaw, TrustError,
    chain::{ChainFault, Trusted, Usage},
    pem::{self, Contents, Found},
    revocation::Revocations,
};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use std::path::{Path, PathBuf};
use webpki::anchor_from_trusted_cert;
use x509_parser::{
    error::X509Error,
    prelude::{FromDer, X509Certificate},
    revocation_list::CertificateRevocationList,
};

/// One authority's certificate.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    pub facts: CertificateFacts,
    der: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    path_length: Option<u32>,
}

/// Several authorities and all lists that were found for them.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    all: Vec<Authority>,
    anchors: Vec<TrustAnchor<'static>>,
    revocations: Revocations,
    notes: Vec<String>,
}

impl Authorities {
    /// `paths` may hold lists beside the authorities; `more_lists` are files of lists alone.
    pub fn load(paths: &[PathBuf], more_lists: &[PathBuf]) -> Result<Self, TrustError> {
        let mut authorities = Self::default();
        let mut lists = Vec::new();
        for path in paths {
            let Contents { it: file, notes } = pem::authorities(path)?;
            authorities.notes.extend(notes);
            for found in file.certificates {
                authorities.add(&found, path)?;
            }
            lists.extend(file.lists.into_iter().map(|list| (path.clone(), list)));
        }
        for path in more_lists {
            let Contents { it: more, notes } = pem::revocation_lists(path)?;
            authorities.notes.extend(notes);
            lists.extend(more.into_iter().map(|list| (path.clone(), list)));
        }
        authorities.revocations = Revocations::load(&lists, &authorities.all)?;
        Ok(authorities)
    }

    pub fn verify(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: Usage,
        now: Timestamp,
    ) -> Result<CertificateFacts, ChainFault> {
        let trusted = Trusted { anchors: &self.anchors, revocations: &self.revocations };
        trusted.verify(own, intermediates, usage, now)
    }

    pub fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    pub fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.all.iter().map(|authority| &authority.der)
    }

    /// What the operator should see to: lists that should have been renewed, authorities that end soon or have ended.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let dates = self.all.iter().filter_map(|authority| authority.facts.ends_soon(now));
        let lists = self.revocations.warnings(now);
        self.notes.iter().cloned().chain(lists).chain(dates).collect()
    }

    fn add(&mut self, found: &Found<CertificateDer<'static>>, path: &Path) -> Result<(), TrustError> {
        let fault =
            |text: String| TrustError::Certificate { path: path.into(), text: format!("line {}: {text}", found.line) };
        let authority = Authority::from_der(&found.it).map_err(fault)?;
        if !authority.facts.is_authority {
            self.notes.push(format!(
                "{}: line {}: {} does not say that it is an authority's (CA:TRUE); it is taken for one",
                path.display(),
                found.line,
                authority.facts.subject
            ));
        }
        self.anchors.push(authority.anchor.clone());
        self.all.push(authority);
        Ok(())
    }
}

impl Authority {
    fn from_der(der: &CertificateDer<'static>) -> Result<Self, String> {
        let facts = CertificateFacts::from_der(der)?;
        let decides =
            |flaw: &&CertificateFlaw| matches!(flaw, CertificateFlaw::Repeated(_) | CertificateFlaw::Malformed(_));
        if let Some(flaw) = facts.flaws.iter().find(decides) {
            return Err(format!("{} is malformed: {flaw}", facts.subject));
        }
        let (_, parsed) = X509Certificate::from_der(der).map_err(|_| "it is not an X.509 certificate".to_owned())?;
        let constraints =
            parsed.basic_constraints().map_err(|_| "its extension basicConstraints stands in it twice")?;
        if constraints.as_ref().is_some_and(|constraints| !constraints.value.ca) {
            return Err(format!(
                "{} is no authority's certificate (CA:FALSE); name the certificate of the authority that has issued it",
                facts.subject
            ));
        }
        if !facts.may_sign_certificates() {
            return Err(format!(
                "{} may not sign certificates: its key usage does not name keyCertSign, so that it is no authority",
                facts.subject
            ));
        }
        let path_length = constraints.and_then(|constraints| constraints.value.path_len_constraint);
        let anchor =
            anchor_from_trusted_cert(der).map_err(|_| "it is malformed and can be no authority's certificate")?;
        Ok(Self { facts, der: der.clone(), anchor: anchor.to_owned(), path_length })
    }

    /// Its name's DER without its head, as chains are compared by.
    pub fn subject_der(&self) -> Vec<u8> {
        self.anchor.subject.to_vec()
    }

    pub fn may_sign_lists(&self) -> bool {
        self.facts.key_usages.is_empty() || self.facts.key_usages.contains(&"cRLSign")
    }

    pub fn issues_no_authorities(&self) -> bool {
        self.path_length == Some(0)
    }

    pub fn verify(&self, list: &CertificateRevocationList<'_>) -> Result<(), X509Error> {
        let (_, parsed) = X509Certificate::from_der(&self.der).map_err(|_| X509Error::InvalidCertificate)?;
        list.verify_signature(parsed.public_key())
    }
}
