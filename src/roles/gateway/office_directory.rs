//! Whose certificate it is: a certificate chain comes in, the office it belongs to goes out, or the code of the refusal.

use super::limits::{Capacity, OfficeLimits};
use crate::{
    domain::{Clock, Code, Office, OfficeName},
    http_server::Problem,
    settings::{CertificateMatch, OfficeSettings},
    trust::{CertificateFacts, CertificateRefusal, ClientTrust, Reloading},
};
use rustls::pki_types::CertificateDer;
use std::sync::Arc;

/// An office that was recognised, with what it may still take. The directory and the office's connections and requests
/// share it.
pub struct KnownOffice {
    pub office: Office,
    pub limits: OfficeLimits,
}

/// Made when the gateway starts; its acceptor and its router hold it.
pub struct OfficeDirectory {
    /// Read anew when its files change.
    trust: Arc<Reloading<ClientTrust>>,
    /// Each certificate that offices.toml names, and whose it is.
    certificates: Vec<(CertificateMatch, Arc<KnownOffice>)>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a certificate that is office {one}'s would be office {other}'s too")]
pub struct Ambiguous {
    pub one: OfficeName,
    pub other: OfficeName,
}

impl OfficeDirectory {
    pub fn new(
        offices: &[OfficeSettings],
        whole: Capacity,
        trust: Arc<Reloading<ClientTrust>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Ambiguous> {
        check_apart(offices)?;
        let mut certificates = Vec::new();
        for settings in offices {
            let limits = OfficeLimits::new(settings.office.requests_per_minute, whole);
            let known = Arc::new(KnownOffice { office: settings.office.clone(), limits });
            certificates.extend(settings.certificates.iter().map(|wanted| (wanted.clone(), known.clone())));
        }
        Ok(Self { trust, certificates, clock })
    }

    pub fn judge(&self, chain: &[CertificateDer<'static>]) -> Result<Arc<KnownOffice>, Problem> {
        let judged = self.trust.current().judge(chain, self.clock.now());
        let facts = judged.inspect_err(|refusal| tell(refusal, chain.first())).map_err(problem_of)?;
        self.recognise(&facts).ok_or_else(|| Code::CertificateUnknownOffice.into())
    }

    fn recognise(&self, facts: &CertificateFacts) -> Option<Arc<KnownOffice>> {
        let mut found = self.certificates.iter().filter(|(wanted, _)| fits(wanted, facts)).map(|(_, known)| known);
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

fn tell(refusal: &CertificateRefusal, own: Option<&CertificateDer<'_>>) {
    let Some(own) = own else {
        return tracing::info!("a client has shown no certificate, and is refused");
    };
    // A subject may name a person; the fingerprint is enough to find the certificate.
    let fingerprint = CertificateFacts::from_der(own).map(|facts| facts.fingerprint_sha256).unwrap_or_default();
    tracing::warn!(why = %refusal, fingerprint, "a client's certificate is not taken");
}

fn problem_of(refusal: CertificateRefusal) -> Problem {
    match refusal {
        CertificateRefusal::Missing => Code::CertificateMissing.into(),
        CertificateRefusal::Invalid(why) => Problem::at(Code::CertificateInvalid, "", why),
        CertificateRefusal::Expired => Code::CertificateExpired.into(),
        CertificateRefusal::NotYetValid => Code::CertificateNotYetValid.into(),
        CertificateRefusal::Revoked => Code::CertificateRevoked.into(),
        CertificateRefusal::UnknownIssuer => Code::CertificateUnknownIssuer.into(),
    }
}

/// All that is given must hold, and something is given.
fn fits(wanted: &CertificateMatch, facts: &CertificateFacts) -> bool {
    let is = |wanted: &Option<String>, have: Option<&str>| wanted.as_deref().is_none_or(|text| have == Some(text));
    *wanted != CertificateMatch::default()
        && is(&wanted.fingerprint_sha256, Some(&facts.fingerprint_sha256))
        && wanted.subject.as_ref().is_none_or(|subject| *subject == facts.name)
        && is(&wanted.organization_identifier, facts.organization_identifier.as_deref())
        && wanted.serial_number.as_ref().is_none_or(|number| digits(number) == digits(&facts.serial_hex))
        && wanted.alternative_name.as_ref().is_none_or(|name| names_like(name, facts).contains(name))
}

/// Zeros at the beginning say nothing.
fn digits(number: &str) -> (bool, &str) {
    let digits = number.strip_prefix('-');
    (digits.is_some(), digits.unwrap_or(number).trim_start_matches('0'))
}

/// A mail address is no name of a machine, and neither is a URI, even if a certificate has it among them.
fn names_like<'a>(name: &str, facts: &'a CertificateFacts) -> &'a [String] {
    match (name.contains(':'), name.contains('@')) {
        (true, _) => &facts.uris,
        (false, true) => &facts.emails,
        (false, false) => &facts.dns_names,
    }
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
        let subject = subject.map(|subject| subject.to_string());
        [fingerprint_sha256, subject, organization_identifier, alternative_name, serial_number]
    };
    let pairs = properties(stricter).into_iter().zip(properties(looser));
    pairs.into_iter().all(|(strict, loose)| loose.is_none() || loose == strict)
}
