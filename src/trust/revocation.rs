//! Revocation lists and the authorities beside them come in; which certificates are revoked goes out.
//!
//! What an authority has signed as revoked is revoked: every list counts for all certificates of its issuer's name, whatever
//! the list's distribution point (RFC 5280, section 5.2.5) and the certificate's say, and with whichever of its keys the
//! authority has signed it. Only a newer list of the same key about the same part takes an older one's place. A list that
//! would count for nothing, or that cannot be understood, is a fault and never passed over.

use super::{TrustError, authority::Authority, certificate::minimal, pem::Found, revocation_scope::scope_of};
use crate::{domain::DistinguishedName, trust::certificate::name_from};
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateRevocationListDer;
use std::{
    cmp::Ordering,
    collections::HashSet,
    path::{Path, PathBuf},
};
use x509_parser::{error::X509Error, prelude::FromDer, revocation_list::CertificateRevocationList};

/// Lists that count.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    lists: Vec<List>,
}

#[derive(Debug)]
struct List {
    path: PathBuf,
    line: usize,
    issuer: DistinguishedName,
    /// The issuer's, folded: one authority's name may be written in two kinds of string.
    alike: DistinguishedName,
    /// The one that has signed it. An authority that has got a new key signs two kinds of lists for a while.
    key: Vec<u8>,
    /// The extension issuingDistributionPoint: lists with another one are other parts of the whole.
    part: Option<Vec<u8>>,
    number: Option<(usize, Vec<u8>)>,
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
        let read = |(path, found): &(PathBuf, Found<CertificateRevocationListDer<'static>>)| {
            let text = |text: String| TrustError::RevocationList { path: path.clone(), text: at(found.line, &text) };
            read(&found.it, (path, found.line), authorities).map_err(text)
        };
        Ok(Self { lists: lists.iter().map(read).collect::<Result<_, _>>()? })
    }

    /// Whether they name this certificate, by its issuer and its serial number's bytes.
    pub fn name(&self, issuer: &DistinguishedName, serial: &[u8], now: Timestamp) -> bool {
        let (issuer, serial) = (issuer.folded(), minimal(serial));
        let names = |list: &&List| list.alike == issuer && list.serials.contains(serial);
        self.lists.iter().filter(names).any(|list| self.successor(list, now).is_none())
    }

    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        self.lists.iter().flat_map(|list| list.warnings(self.successor(list, now), now)).collect()
    }

    /// The list that has taken its place: a certificate may be released. One that has not come yet takes nobody's.
    fn successor(&self, list: &List, now: Timestamp) -> Option<&List> {
        self.lists.iter().find(|other| !other.is_early(now) && other.is_newer_than(list))
    }
}

impl List {
    /// Its number says so, and its date does not say otherwise; where one of the two has no number, the date alone says it.
    fn is_newer_than(&self, other: &List) -> bool {
        let date = self.this_update.cmp(&other.this_update);
        let newer = match (&self.number, &other.number) {
            (Some(own), Some(others)) => own > others && date != Ordering::Less,
            _ => date == Ordering::Greater,
        };
        newer && self.alike == other.alike && self.key == other.key && self.part == other.part
    }

    fn is_early(&self, now: Timestamp) -> bool {
        self.this_update.duration_since(now) > CLOCKS_DIFFER
    }

    fn warnings(&self, successor: Option<&List>, now: Timestamp) -> Vec<String> {
        let told = |text| format!("the revocation list {} of {}: {text}", self.place(), self.issuer);
        if let Some(newer) = successor {
            return vec![told(format!("it is passed over: the same key has signed a newer one ({})", newer.place()))];
        }
        let mut texts = self.notes.clone();
        match self.next_update {
            Some(next) if next < now => {
                texts.push(format!("it should have been renewed by {next}; it is still used"));
            }
            Some(_) => {}
            None => texts.push("it does not say when it is renewed".into()),
        }
        if self.is_early(now) {
            let date = self.this_update;
            texts.push(format!("it is dated {date}, which has not come yet; it counts beside the others until then"));
        }
        texts.into_iter().map(told).collect()
    }

    fn place(&self) -> String {
        let path = self.path.display();
        if self.line > 1 { format!("{path} (line {})", self.line) } else { path.to_string() }
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
        alike: issuer.folded(),
        issuer,
        key: signer.public_key().to_vec(),
        part: scope.part,
        number: scope.number,
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
    let named: Vec<_> =
        authorities.iter().filter(|authority| authority.facts.name.folded() == issuer.folded()).collect();
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
