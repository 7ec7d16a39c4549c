//! A signed revocation list comes in; which part of its issuer's certificates it is about, or why it cannot count, goes out.

use super::authority::Authority;
use std::collections::HashSet;
use x509_parser::{
    extensions::IssuingDistributionPoint,
    prelude::{ParsedExtension, X509Extension},
    revocation_list::CertificateRevocationList,
};

pub(super) struct Scope {
    /// The extension that says so, if there is one.
    pub part: Option<Vec<u8>>,
    /// The list's own number, which grows with each new list: its length and its bytes, so that it is compared as a number.
    pub number: Option<(usize, Vec<u8>)>,
    /// What the operator should know of it.
    pub notes: Vec<String>,
}

const ISSUER_ALTERNATIVE_NAME: &str = "2.5.29.18";
const NUMBER: &str = "2.5.29.20";
const DELTA: &str = "2.5.29.27";
const ISSUING_DISTRIBUTION_POINT: &str = "2.5.29.28";
const AUTHORITY_KEY: &str = "2.5.29.35";
const REASON: &str = "2.5.29.21";
const INVALIDITY_DATE: &str = "2.5.29.24";
const CERTIFICATE_ISSUER: &str = "2.5.29.29";

const INDIRECT: &str = "it is an indirect list, which speaks of other authorities' certificates; put each authority's own \
                        list there";

/// RFC 5280, sections 5.2 and 5.3: with a critical extension that is not understood, a list may not be used.
pub(super) fn scope_of(list: &CertificateRevocationList<'_>, issuer: &Authority) -> Result<Scope, String> {
    let number = list.crl_number().map(|number| number.to_bytes_be()).map(|bytes| (bytes.len(), bytes));
    let mut scope = Scope { part: None, number, notes: Vec::new() };
    let mut seen = HashSet::new();
    for extension in list.extensions() {
        let oid = extension.oid.to_id_string();
        if !seen.insert(oid.clone()) {
            return Err(format!("the extension {oid} stands in it twice"));
        }
        match oid.as_str() {
            DELTA => {
                return Err("it is a delta list, which only tells what has changed; put the whole list there".into());
            }
            ISSUING_DISTRIBUTION_POINT => {
                scope.part = Some(extension.value.to_vec());
                scope.notes = about(extension, issuer)?;
            }
            ISSUER_ALTERNATIVE_NAME | NUMBER | AUTHORITY_KEY => {}
            _ if extension.critical => return Err(format!("its critical extension {oid} is not known here")),
            _ => {}
        }
    }
    for extension in list.iter_revoked_certificates().flat_map(|entry| entry.extensions()) {
        match extension.oid.to_id_string().as_str() {
            CERTIFICATE_ISSUER => return Err(INDIRECT.into()),
            REASON | INVALIDITY_DATE => {}
            oid if extension.critical => return Err(format!("an entry's critical extension {oid} is not known here")),
            _ => {}
        }
    }
    Ok(scope)
}

fn about(extension: &X509Extension<'_>, issuer: &Authority) -> Result<Vec<String>, String> {
    let ParsedExtension::IssuingDistributionPoint(point) = extension.parsed_extension() else {
        return Err("its extension issuingDistributionPoint is malformed".into());
    };
    let IssuingDistributionPoint { only_contains_user_certs, only_contains_ca_certs, .. } = point;
    if point.indirect_crl {
        return Err(INDIRECT.into());
    }
    if point.only_contains_attribute_certs {
        return Err("it covers nothing here: it is about attribute certificates only".into());
    }
    if *only_contains_user_certs && *only_contains_ca_certs {
        return Err("it covers nothing: it is about authorities only and about everybody else only".into());
    }
    if *only_contains_ca_certs && issuer.issues_no_authorities() {
        return Err(format!(
            "it covers nothing: it is about authorities' certificates only, and {} may issue none (pathLenConstraint 0)",
            issuer.facts.subject
        ));
    }
    let mut notes = Vec::new();
    if *only_contains_ca_certs {
        notes.push("it is about authorities' certificates; who else was revoked it does not say".to_owned());
    }
    if point.only_some_reasons.is_some() {
        notes.push(
            "it tells only certificates that were revoked for some reasons; others were left out of it".to_owned(),
        );
    }
    Ok(notes)
}
