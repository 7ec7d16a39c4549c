//! A section of a file of keys, certificates or lists, as it was read.

/// One section of a file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub kind: Kind,
    /// Of its beginning; 1 in a file of DER.
    pub line: usize,
    pub der: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Certificate,
    RevocationList,
    Pkcs8Key,
    Pkcs1Key,
    Sec1Key,
    EncryptedKey,
    /// Of a key: they stand in the key too.
    Parameters,
    PublicKey,
    /// Of OpenSSL: a certificate and what it is trusted for.
    TrustedCertificate,
    Pkcs7,
    CertificateRequest,
    /// The label, or what else is known of it.
    Other(String),
}

impl Kind {
    pub fn is_private_key(&self) -> bool {
        matches!(self, Kind::Pkcs8Key | Kind::Pkcs1Key | Kind::Sec1Key | Kind::EncryptedKey)
    }

    /// What belongs to a key, whether it is secret or not.
    pub fn is_of_key(&self) -> bool {
        self.is_private_key() || matches!(self, Kind::Parameters | Kind::PublicKey)
    }

    pub fn as_str(&self) -> &str {
        match self {
            Kind::Certificate => "a certificate",
            Kind::RevocationList => "a revocation list",
            Kind::Pkcs8Key | Kind::Pkcs1Key | Kind::Sec1Key => "a private key",
            Kind::EncryptedKey => "an encrypted private key",
            Kind::Parameters => "a key's parameters",
            Kind::PublicKey => "a public key",
            Kind::TrustedCertificate => "a certificate with OpenSSL's settings of trust",
            Kind::Pkcs7 => "a PKCS#7 bundle",
            Kind::CertificateRequest => "a certificate request",
            Kind::Other(label) => label,
        }
    }
}

/// Why a file cannot be taken apart; it quotes nothing that may be a key.
pub(super) type Torn = String;
