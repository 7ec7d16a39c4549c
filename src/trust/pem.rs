//! A path to a PEM (or DER) file comes in; its certificates, key or revocation lists go out.

use super::TrustError;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use std::path::Path;

pub(super) fn read(path: &Path) -> Result<Vec<u8>, TrustError> {
    std::fs::read(path).map_err(|error| TrustError::File { path: path.into(), text: error.to_string() })
}

/// One certificate or more.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let bytes = read(path)?;
    let fault = |text: String| TrustError::Certificate { path: path.into(), text };
    if is_der(&bytes) {
        return Ok(vec![CertificateDer::from(bytes)]);
    }
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fault(format!("it is not PEM: {}", text_of(&error))))?;
    if certificates.is_empty() {
        return Err(fault("it holds no certificate".into()));
    }
    Ok(certificates)
}

/// The key's text never reaches the error.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TrustError> {
    let fault = |text: &str| TrustError::Key { path: path.into(), text: text.into() };
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => fault("it holds no PEM private key (PKCS#8, PKCS#1 or SEC1, not encrypted)"),
        _ => fault("it is not a PEM private key"),
    })
}

pub(super) fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TrustError> {
    let bytes = read(path)?;
    let fault = |text: String| TrustError::RevocationList { path: path.into(), text };
    if is_der(&bytes) {
        return Ok(vec![CertificateRevocationListDer::from(bytes)]);
    }
    let lists = CertificateRevocationListDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fault(format!("it is not PEM: {}", text_of(&error))))?;
    if lists.is_empty() {
        return Err(fault("it holds no revocation list".into()));
    }
    Ok(lists)
}

/// The lists that stand in a file beside its certificates; a file without any is as good.
pub(super) fn revocation_lists_beside(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TrustError> {
    match CertificateRevocationListDer::pem_slice_iter(&read(path)?).next() {
        None => Ok(Vec::new()),
        Some(_) => revocation_lists(path),
    }
}

/// DER certificates and lists begin with a SEQUENCE of more than 127 bytes.
fn is_der(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x30, 0x82]) || bytes.starts_with(&[0x30, 0x81])
}

fn text_of(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::MissingSectionEnd { .. } => "a section does not end".into(),
        pem::Error::IllegalSectionStart { .. } => "a section begins in a wrong way".into(),
        _ => "its encoding is wrong".into(),
    }
}
