//! Files of authorities and their revocation lists come in; who is trusted to vouch for certificates goes out.

use super::{
    CertificateFacts, TrustError,
    authority::Authority,
    chain::{ChainFault, Trusted, Usage},
    pem::{self, Contents, Found},
    revocation::Revocations,
};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use std::path::{Path, PathBuf};

/// Several authorities and all lists that were found for them.
#[derive(Debug, Default)]
pub(super) struct Authorities {
    all: Vec<Authority>,
    /// Of each, those of `all` that have signed it, by their place; itself, if it has signed itself.
    issued_by: Vec<Vec<usize>>,
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
            let Contents { it: file, notes, passed_over } = pem::authorities(path)?;
            authorities.notes.extend(notes.into_iter().chain(passed_over));
            for found in file.certificates {
                authorities.add(&found, path)?;
            }
            lists.extend(file.lists.into_iter().map(|list| (path.clone(), list)));
        }
        for path in more_lists {
            let Contents { it: more, notes, passed_over } = pem::revocation_lists(path)?;
            authorities.notes.extend(notes.into_iter().chain(passed_over));
            lists.extend(more.into_iter().map(|list| (path.clone(), list)));
        }
        authorities.revocations = Revocations::load(&lists, &authorities.all)?;
        let issuers = |authority: &Authority| {
            (0..authorities.all.len()).filter(|&place| authorities.all[place].has_signed(authority)).collect()
        };
        authorities.issued_by = authorities.all.iter().map(issuers).collect();
        Ok(authorities)
    }

    pub fn verify(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: Usage,
        now: Timestamp,
    ) -> Result<CertificateFacts, ChainFault> {
        let verify = |anchors: &[TrustAnchor<'_>]| {
            Trusted { anchors, revocations: &self.revocations }.verify(own, intermediates, usage, now)
        };
        let (fallen, standing): (Vec<_>, Vec<_>) = self.all.iter().zip(self.fallen(now)).partition(|(_, fell)| *fell);
        if fallen.is_empty() {
            return verify(&self.anchors);
        }
        let standing: Vec<_> = standing.into_iter().map(|(authority, _)| authority.anchor.clone()).collect();
        let verdict = verify(&standing);
        let is_stranger = |verdict: &Result<_, ChainFault>| matches!(verdict, Err(ChainFault::UnknownIssuer { .. }));
        let mut fallen = fallen.into_iter().map(|(authority, _)| authority);
        let issuer = fallen.find(|it| is_stranger(&verdict) && !is_stranger(&verify(std::slice::from_ref(&it.anchor))));
        match issuer {
            Some(issuer) => Err(ChainFault::Unfit(format!("its issuer, {}, has been revoked", issuer.facts.subject))),
            None => verdict,
        }
    }

    /// Which authorities a list of their own issuer's names, or who were issued by such alone.
    fn fallen(&self, now: Timestamp) -> Vec<bool> {
        let is_named = |it: &Authority| self.revocations.name(&it.facts.issuer_name, &it.serial, now);
        let mut fallen: Vec<bool> = self.all.iter().map(is_named).collect();
        while let Some(next) = (0..fallen.len()).find(|&place| {
            let issuers = &self.issued_by[place];
            !fallen[place] && !issuers.is_empty() && issuers.iter().all(|&issuer| fallen[issuer])
        }) {
            fallen[next] = true;
        }
        fallen
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
        let fallen = self.all.iter().zip(self.fallen(now)).filter(|(_, fell)| *fell);
        let fallen = fallen.map(|(it, _)| format!("{} has been revoked and vouches for nobody", it.facts.subject));
        self.notes.iter().cloned().chain(lists).chain(fallen).chain(dates).collect()
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
