//! An authority's certificate comes in; whether it may be one, and what it has signed, goes out.

use super::{CertificateFacts, CertificateFlaw};
use rustls::pki_types::{CertificateDer, TrustAnchor};
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
    pub der: CertificateDer<'static>,
    pub anchor: TrustAnchor<'static>,
    pub serial: Vec<u8>,
    path_length: Option<u32>,
}

impl Authority {
    pub fn from_der(der: &CertificateDer<'static>) -> Result<Self, String> {
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
        let serial = parsed.raw_serial().to_vec();
        let anchor = anchor.to_owned();
        Ok(Self { facts, der: der.clone(), anchor, serial, path_length })
    }

    /// Algorithm and key, as they stand in its certificate.
    pub fn public_key(&self) -> &[u8] {
        &self.anchor.subject_public_key_info
    }

    pub fn has_signed(&self, other: &Authority) -> bool {
        if self.facts.name.folded() != other.facts.issuer_name.folded() {
            return false;
        }
        let parsed = (X509Certificate::from_der(&self.der), X509Certificate::from_der(&other.der));
        let (Ok((_, own)), Ok((_, other))) = parsed else { return false };
        other.verify_signature(Some(own.public_key())).is_ok()
    }

    pub fn may_sign_lists(&self) -> bool {
        self.facts.allows_any_use() || self.facts.key_usages.contains(&"cRLSign")
    }

    pub fn issues_no_authorities(&self) -> bool {
        self.path_length == Some(0)
    }

    pub fn verify(&self, list: &CertificateRevocationList<'_>) -> Result<(), X509Error> {
        let (_, parsed) = X509Certificate::from_der(&self.der).map_err(|_| X509Error::InvalidCertificate)?;
        list.verify_signature(parsed.public_key())
    }
}
