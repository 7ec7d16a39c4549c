//! Who comes in: a certificate chain comes in, the office it belongs to goes out, or the code of the refusal.

use super::limits::{Capacity, OfficeLimits};
use crate::{
    domain::{Clock, Code, Office, OfficeName},
    settings::{CertificateMatch, OfficeSettings},
    trust::{CertificateFacts, CertificateRefusal, ClientTrust, Reloading},
};
use rustls::pki_types::CertificateDer;
use std::sync::Arc;

/// An office that was recognised, with what it may still take.
pub struct KnownOffice {
    pub office: Office,
    pub limits: OfficeLimits,
}

pub struct Doorman {
    trust: Arc<Reloading<ClientTrust>>,
    directory: Vec<(CertificateMatch, Arc<KnownOffice>)>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a certificate that is office {one}'s would be office {other}'s too")]
pub struct Ambiguous {
    pub one: OfficeName,
    pub other: OfficeName,
}

impl Doorman {
    pub fn new(
        offices: &[OfficeSettings],
        whole: Capacity,
        trust: Arc<Reloading<ClientTrust>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Ambiguous> {
        check_apart(offices)?;
        let mut directory = Vec::new();
        for settings in offices {
            let limits = OfficeLimits::new(settings.office.requests_per_minute, whole);
            let known = Arc::new(KnownOffice { office: settings.office.clone(), limits });
            directory.extend(settings.certificates.iter().map(|wanted| (wanted.clone(), known.clone())));
        }
        Ok(Self { trust, directory, clock })
    }

    pub fn judge(&self, chain: &[CertificateDer<'static>]) -> Result<Arc<KnownOffice>, Code> {
        let facts = self.trust.current().judge(chain, self.clock.now()).map_err(code_of)?;
        self.recognise(&facts).ok_or(Code::CertificateUnknownOffice)
    }

    fn recognise(&self, facts: &CertificateFacts) -> Option<Arc<KnownOffice>> {
        let mut found = self.directory.iter().filter(|(wanted, _)| fits(wanted, facts)).map(|(_, known)| known);
        let fingerprint = &facts.fingerprint_sha256;
        let Some(first) = found.next() else {
            tracing::warn!(fingerprint, "a certificate that is no office's");
            return None;
        };
        if let Some(other) = found.find(|known| known.office.name != first.office.name) {
            tracing::error!(fingerprint, one = %first.office.name, other = %other.office.name, "two offices' certificate");
            return None;
        }
        Some(first.clone())
    }
}

fn code_of(refusal: CertificateRefusal) -> Code {
    match refusal {
        CertificateRefusal::Missing => Code::CertificateMissing,
        CertificateRefusal::Invalid => Code::CertificateInvalid,
        CertificateRefusal::Expired => Code::CertificateExpired,
        CertificateRefusal::NotYetValid => Code::CertificateNotYetValid,
        CertificateRefusal::Revoked => Code::CertificateRevoked,
        CertificateRefusal::UnknownIssuer => Code::CertificateUnknownIssuer,
    }
}

/// All that is given must hold, and something is given.
fn fits(wanted: &CertificateMatch, facts: &CertificateFacts) -> bool {
    let is = |wanted: &Option<String>, have: Option<&str>| wanted.as_deref().is_none_or(|text| have == Some(text));
    let names = || facts.dns_names.iter().chain(&facts.uris).chain(&facts.emails);
    *wanted != CertificateMatch::default()
        && is(&wanted.fingerprint_sha256, Some(&facts.fingerprint_sha256))
        && is(&wanted.subject, Some(&facts.subject))
        && is(&wanted.organization_identifier, facts.organization_identifier.as_deref())
        && is(&wanted.serial_number, Some(&facts.serial_hex))
        && wanted.alternative_name.as_ref().is_none_or(|text| names().any(|name| name == text))
}

/// Finds what is certainly ambiguous: one office's properties are all among another's.
pub fn check_apart(offices: &[OfficeSettings]) -> Result<(), Ambiguous> {
    let all = || offices.iter().flat_map(|it| it.certificates.iter().map(|wanted| (&it.office.name, wanted)));
    for (one, looser) in all() {
        if let Some((other, _)) = all().find(|(other, stricter)| *other != one && implies(stricter, looser)) {
            return Err(Ambiguous { one: one.clone(), other: other.clone() });
        }
    }
    Ok(())
}

fn implies(stricter: &CertificateMatch, looser: &CertificateMatch) -> bool {
    let properties = |it: &CertificateMatch| {
        let CertificateMatch { fingerprint_sha256, subject, organization_identifier, alternative_name, serial_number } =
            it.clone();
        [fingerprint_sha256, subject, organization_identifier, alternative_name, serial_number]
    };
    let pairs = properties(stricter).into_iter().zip(properties(looser));
    pairs.into_iter().all(|(strict, loose)| loose.is_none() || loose == strict)
}
