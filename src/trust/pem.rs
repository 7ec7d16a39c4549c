//! A path to a PEM (or DER) file comes in; what it holds goes out, and what it holds in vain is a fault with its line.

use super::{
    TrustError,
    section::{Kind, Section},
    sections::sections,
};
use crate::secret_file::{self, SecretFile};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer,
    PrivateSec1KeyDer,
};
use std::path::Path;

/// Something that was found in a file, and the line at which it begins.
#[derive(Debug, Clone)]
pub(super) struct Found<T> {
    pub line: usize,
    pub it: T,
}

/// What a file holds, and what the operator should know of it.
pub(super) struct Contents<T> {
    pub it: T,
    /// Rights that everybody has.
    pub notes: Vec<String>,
    /// Sections that count for nothing here, each in words; another setting may name the file for their sake.
    pub passed_over: Vec<String>,
}

/// Authorities and their lists, from one file.
#[derive(Debug, Default)]
pub(super) struct AuthorityFile {
    pub certificates: Vec<Found<CertificateDer<'static>>>,
    pub lists: Vec<Found<CertificateRevocationListDer<'static>>>,
}

type Certificates = Vec<Found<CertificateDer<'static>>>;
type RevocationLists = Vec<Found<CertificateRevocationListDer<'static>>>;

/// A chain, the first certificate its holder's own.
pub(super) fn certificates(path: &Path) -> Result<Contents<Certificates>, TrustError> {
    let fault = |text: String| TrustError::Certificate { path: path.into(), text };
    let mut certificates = Vec::new();
    let (sections, notes) = taken_apart(path, fault)?;
    let mut passed_over = Vec::new();
    for section in sections {
        match section.kind {
            Kind::Certificate => certificates.push(found(section)),
            ref kind if kind.is_of_key() => passed_over.push(note_of(path, &section, "certificates count")),
            _ => return Err(fault(in_vain(&section, "certificates"))),
        }
    }
    match certificates.is_empty() {
        true => Err(fault("it holds no certificate".into())),
        false => Ok(Contents { it: certificates, notes, passed_over }),
    }
}

/// At least one authority.
pub(super) fn authorities(path: &Path) -> Result<Contents<AuthorityFile>, TrustError> {
    let fault = |text: String| TrustError::Certificate { path: path.into(), text };
    let mut file = AuthorityFile::default();
    let (sections, notes) = taken_apart(path, fault)?;
    let mut passed_over = Vec::new();
    for section in sections {
        match section.kind {
            Kind::Certificate => file.certificates.push(found(section)),
            Kind::RevocationList => {
                file.lists.push(Found { line: section.line, it: CertificateRevocationListDer::from(section.der) });
            }
            ref kind if kind.is_of_key() => {
                passed_over.push(note_of(path, &section, "certificates and revocation lists count"));
            }
            _ => return Err(fault(in_vain(&section, "authorities' certificates and revocation lists"))),
        }
    }
    match file.certificates.is_empty() {
        true => Err(fault("it holds no certificate".into())),
        false => Ok(Contents { it: file, notes, passed_over }),
    }
}

/// At least one list.
pub(super) fn revocation_lists(path: &Path) -> Result<Contents<RevocationLists>, TrustError> {
    let fault = |text: String| TrustError::RevocationList { path: path.into(), text };
    let mut lists = Vec::new();
    let (sections, notes) = taken_apart(path, fault)?;
    for section in sections {
        match section.kind {
            Kind::RevocationList => {
                lists.push(Found { line: section.line, it: CertificateRevocationListDer::from(section.der) });
            }
            _ => return Err(fault(in_vain(&section, "revocation lists"))),
        }
    }
    match lists.is_empty() {
        true => Err(fault("it holds no revocation list".into())),
        false => Ok(Contents { it: lists, notes, passed_over: Vec::new() }),
    }
}

/// Exactly one key. Its text never reaches the error.
pub(super) fn private_key(path: &Path) -> Result<Contents<PrivateKeyDer<'static>>, TrustError> {
    let fault = |text: String| TrustError::Key { path: path.into(), text };
    let mut key: Option<(usize, PrivateKeyDer<'static>)> = None;
    let (sections, notes) = taken_apart(path, fault)?;
    let mut passed_over = Vec::new();
    for section in sections {
        let line = section.line;
        let found = match section.kind {
            Kind::Pkcs8Key => PrivatePkcs8KeyDer::from(section.der).into(),
            Kind::Pkcs1Key => PrivatePkcs1KeyDer::from(section.der).into(),
            Kind::Sec1Key => PrivateSec1KeyDer::from(section.der).into(),
            Kind::EncryptedKey => return Err(fault(format!("line {line}: {ENCRYPTED}"))),
            // OpenSSL writes them before the key, which holds them too.
            Kind::Parameters => continue,
            Kind::Certificate | Kind::PublicKey => {
                passed_over.push(note_of(path, &section, "the private key counts"));
                continue;
            }
            _ => return Err(fault(in_vain(&section, "one private key"))),
        };
        if let Some((first, _)) = key {
            return Err(fault(format!(
                "it holds two private keys, in the lines {first} and {line}; leave the right one"
            )));
        }
        key = Some((line, found));
    }
    let none = "it holds no private key; it must be PEM, in PKCS#8, PKCS#1 or SEC1, and not encrypted";
    key.map(|(_, key)| Contents { it: key, notes, passed_over }).ok_or_else(|| fault(none.into()))
}

const ENCRYPTED: &str = "the private key is encrypted, and nobody is there to type a password; \
     `openssl pkcs8 -topk8 -nocrypt -in KEY -out NEW` takes the encryption away, and the file's mode 0600 protects it";

/// Any of these files may hold a key, so each is read as one that does; what is said of its rights follows from what it holds.
fn taken_apart(path: &Path, fault: impl Fn(String) -> TrustError) -> Result<(Vec<Section>, Vec<String>), TrustError> {
    let file = secret_file::read(path);
    let file = file.map_err(|error| TrustError::File { path: path.into(), text: error.to_string() })?;
    let SecretFile { bytes, warnings } = file;
    let it = sections(&bytes).map_err(fault)?;
    let is_secret = it.iter().any(|section| section.kind.is_private_key());
    let notes = if is_secret { warnings } else { secret_file::changeable(path) };
    Ok((it, notes))
}

fn note_of(path: &Path, section: &Section, what_counts: &str) -> String {
    let (path, line, kind) = (path.display(), section.line, section.kind.as_str());
    format!("{path}: line {line}: {kind} is passed over: only {what_counts} here")
}

fn found(section: Section) -> Found<CertificateDer<'static>> {
    Found { line: section.line, it: CertificateDer::from(section.der) }
}

/// What to do about a section that would count for nothing.
fn in_vain(section: &Section, expected: &str) -> String {
    let way_out = match section.kind {
        Kind::TrustedCertificate => "`openssl x509 -in FILE -out NEW` makes a plain certificate of it",
        Kind::Pkcs7 => "`openssl pkcs7 -print_certs -in FILE -out NEW` takes certificates and lists out of it",
        Kind::CertificateRequest => "an authority makes a certificate of it",
        Kind::RevocationList => "put it into the file of its authority, or name it in `client_crl`",
        Kind::Certificate => "put it into a file of its own",
        _ => "take it out of the file",
    };
    let (line, kind) = (section.line, section.kind.as_str());
    format!("line {line}: {kind} stands there and counts for nothing among {expected}; {way_out}")
}
