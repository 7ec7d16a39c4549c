//! Revocation lists and the authorities beside them come in; which certificates are revoked goes out.
//!
//! A list counts for the certificates of its issuer, all of them: what an authority has signed as revoked is revoked,
//! whatever the list's distribution point (RFC 5280, section 5.2.5) and the certificate's say. A list that would count for
//! nothing, or that cannot be understood, is a fault and never passed over.

use super::{TrustError, authority::Authority, certificate::minimal, pem::Found, revocation_scope::scope_of};
use crate::{domain::DistinguishedName, trust::certificate::name_from};
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateRevocationListDer;
use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};
use x509_parser::{error::X509Error, prelude::FromDer, revocation_list::CertificateRevocationList};

/// Lists that count.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    lists: Vec<List>,
    /// By the issuer's name, as its certificate has it.
    revoked: HashMap<Vec<u8>, HashSet<Vec<u8>>>,
}

#[derive(Debug)]
struct List {
    path: PathBuf,
    line: usize,
    issuer: DistinguishedName,
    /// The issuer's name as in its certificate: DER without its head.
    issuer_der: Vec<u8>,
    /// The extension issuingDistributionPoint: lists with another one are other parts of the whole.
    part: Option<Vec<u8>>,
    notes: Vec<String>,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    serials: HashSet<Vec<u8>>,
}

/// Nobody is told of an authority's clock that is a little ahead.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);

impl Revocations {
    pub fn load(
        lists: &[(PathBuf, Found<CertificateRevocationListDer<'static>>)],
        authorities: &[Authority],
    ) -> Result<Self, TrustError> {
        let mut all = Self::default();
        for (path, found) in lists {
            let text = |text: String| TrustError::RevocationList { path: path.clone(), text: at(found.line, &text) };
            all.lists.push(read(&found.it, (path, found.line), authorities).map_err(text)?);
        }
        all.pass_over_older();
        for list in &mut all.lists {
            let revoked = all.revoked.entry(list.issuer_der.clone()).or_default();
            revoked.extend(std::mem::take(&mut list.serials));
        }
        Ok(all)
    }

    /// Whether they name this certificate: its issuer's DER without its head, and its serial number's bytes.
    pub fn name(&self, issuer: &[u8], serial: &[u8]) -> bool {
        self.revoked.get(issuer).is_some_and(|serials| serials.contains(minimal(serial)))
    }

    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        self.lists.iter().flat_map(|list| list.warnings(now)).collect()
    }

    /// A newer list of the same issuer about the same part takes the older one's place: a certificate may be released.
    fn pass_over_older(&mut self) {
        let mut kept: Vec<List> = Vec::new();
        for list in std::mem::take(&mut self.lists) {
            let same = kept.iter_mut().find(|it| it.issuer_der == list.issuer_der && it.part == list.part);
            match same {
                None => kept.push(list),
                Some(other) => {
                    let is_newer = list.this_update > other.this_update;
                    let (mut newer, older) = if is_newer {
                        (list, std::mem::replace(other, List::empty()))
                    } else {
                        (std::mem::replace(other, List::empty()), list)
                    };
                    let place = at(older.line, &older.path.display().to_string());
                    newer
                        .notes
                        .push(format!("an older or equally old one of the same issuer ({place}) is passed over"));
                    *other = newer;
                }
            }
        }
        self.lists = kept;
    }
}

impl List {
    fn empty() -> Self {
        Self {
            path: PathBuf::new(),
            line: 0,
            issuer: DistinguishedName::new(Vec::new()),
            issuer_der: Vec::new(),
            part: None,
            notes: Vec::new(),
            this_update: Timestamp::MIN,
            next_update: None,
            serials: HashSet::new(),
        }
    }

    fn warnings(&self, now: Timestamp) -> Vec<String> {
        let mut texts = self.notes.clone();
        match self.next_update {
            Some(next) if next < now => {
                texts.push(format!("it should have been renewed by {next}; it is still used"));
            }
            Some(_) => {}
            None => texts.push("it does not say when it is renewed".into()),
        }
        if self.this_update.duration_since(now) > CLOCKS_DIFFER {
            texts.push(format!("it is dated {}, which has not come yet", self.this_update));
        }
        let told = |text| format!("the revocation list {} of {}: {text}", self.path.display(), self.issuer);
        texts.into_iter().map(told).collect()
    }
}

fn at(line: usize, text: &str) -> String {
    if line > 1 { format!("line {line}: {text}") } else { text.to_owned() }
}

fn read(
    der: &CertificateRevocationListDer<'_>,
    (path, line): (&Path, usize),
    authorities: &[Authority],
) -> Result<List, String> {
    let (rest, parsed) = CertificateRevocationList::from_der(der).map_err(|_| "it is not a revocation list")?;
    if !rest.is_empty() {
        return Err("bytes follow the revocation list".into());
    }
    let issuer = name_from(parsed.issuer());
    let signer = signer_of(&parsed, &issuer, authorities)?;
    let scope = scope_of(&parsed, signer)?;
    let serials = parsed.iter_revoked_certificates().map(|entry| minimal(entry.raw_serial()).to_vec()).collect();
    let time = |seconds: i64| Timestamp::from_second(seconds).map_err(|_| "its dates are out of range".to_owned());
    Ok(List {
        path: path.into(),
        line,
        issuer,
        issuer_der: signer.subject_der(),
        part: scope.part,
        notes: scope.notes,
        this_update: time(parsed.last_update().timestamp())?,
        next_update: parsed.next_update().map(|next| time(next.timestamp())).transpose()?,
        serials,
    })
}

/// The authority that has signed it.
fn signer_of<'a>(
    list: &CertificateRevocationList<'_>,
    issuer: &DistinguishedName,
    authorities: &'a [Authority],
) -> Result<&'a Authority, String> {
    let named: Vec<_> = authorities.iter().filter(|authority| authority.facts.name == *issuer).collect();
    if named.is_empty() {
        let known: Vec<_> = authorities.iter().map(|authority| authority.facts.subject.clone()).collect();
        return Err(format!(
            "it is the revocation list of {issuer}, and no certificate of this authority stands beside it (there: {}); \
             put that certificate there too",
            known.join("; ")
        ));
    }
    if !named.iter().any(|authority| authority.may_sign_lists()) {
        return Err(format!("{issuer} may not sign revocation lists: its key usage does not name cRLSign"));
    }
    let mut is_unknown_algorithm = false;
    for authority in named.into_iter().filter(|authority| authority.may_sign_lists()) {
        match authority.verify(list) {
            Ok(()) => return Ok(authority),
            Err(X509Error::SignatureUnsupportedAlgorithm) => is_unknown_algorithm = true,
            Err(_) => {}
        }
    }
    match is_unknown_algorithm {
        true => Err(format!("the list of {issuer} is signed with an algorithm that is not supported")),
        false => Err(format!("{issuer} has not signed it: its signature does not hold with the certificate beside it")),
    }
}
