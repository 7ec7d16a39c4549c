//! Additions to a throw-away PKI: new offices, new agencies and further certificates come in; they are issued by the
//! authorities that are there, and nothing that is there is written over.

use super::{DevAgency, DevPki, Leaf, OFFICES, failed, make_agency};
use crate::{secret_file, trust::TrustError};
use jiff::Timestamp;
use rcgen::{Issuer, KeyPair};
use std::path::{Path, PathBuf};

/// What has been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// `identifier`: by which `offices.toml` can recognise it.
    Office {
        name: String,
        certificate: PathBuf,
        identifier: String,
    },
    /// Our own certificate towards an agency that has all else already.
    Client {
        certificate: PathBuf,
    },
    Agency {
        name: String,
    },
}

/// An office's first certificate, or one more with the same identifier.
pub fn add_office(pki: &DevPki, name: &str, now: Timestamp) -> Result<Added, TrustError> {
    let issuer = issuer(pki, "offices", &pki.gateway("office-ca.pem"))?;
    let identifier = identifier_of(name);
    let stem = free_stem(&pki.office(name));
    Leaf::office(name, &identifier).issue(&issuer, &stem, now)?;
    Ok(Added::Office { name: name.to_owned(), certificate: stem.with_extension("pem"), identifier })
}

/// All keys of a new agency, or one more client certificate of ours for one that is there.
pub fn add_agency(pki: &DevPki, agency: &DevAgency, now: Timestamp) -> Result<Added, TrustError> {
    if !pki.agency(&agency.name, "").exists() {
        make_agency(pki, agency, now)?;
        return Ok(Added::Agency { name: agency.name.clone() });
    }
    let issuer = issuer(pki, &format!("agency-{}", agency.name), &pki.agency(&agency.name, "ca.pem"))?;
    let stem = free_stem(&pki.agency(&agency.name, "client"));
    Leaf::client("Punte demo bus").issue(&issuer, &stem, now)?;
    Ok(Added::Client { certificate: stem.with_extension("pem") })
}

fn issuer(pki: &DevPki, name: &str, certificate: &Path) -> Result<Issuer<'static, KeyPair>, TrustError> {
    let read = |path: &Path| {
        let file = secret_file::read(path);
        let file = file.map_err(|error| TrustError::File { path: path.into(), text: error.to_string() })?;
        String::from_utf8(file.bytes).map_err(|_| failed("it is no text"))
    };
    let key = KeyPair::from_pem(&read(&pki.authority_key(name))?).map_err(failed)?;
    Issuer::from_ca_cert_pem(&read(certificate)?, key).map_err(failed)
}

/// `causeni`, `causeni-2`, `causeni-3`, …: the first that no file has.
fn free_stem(stem: &Path) -> PathBuf {
    let is_free = |stem: &PathBuf| !stem.with_extension("pem").exists() && !stem.with_extension("key").exists();
    let name = stem.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let numbered = |number: u32| match number {
        1 => stem.to_owned(),
        _ => stem.with_file_name(format!("{name}-{number}")),
    };
    (1..).map(numbered).find(is_free).unwrap_or_else(|| stem.to_owned())
}

/// Of a new office: digits that follow from its name, so that its further certificates have the same.
fn identifier_of(name: &str) -> String {
    if let Some((_, identifier)) = OFFICES.iter().find(|(known, _)| *known == name) {
        return (*identifier).to_owned();
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, name.as_bytes());
    let number = digest.as_ref().iter().take(6).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    format!("GOVXX-1{:012}", number % 1_000_000_000_000)
}
