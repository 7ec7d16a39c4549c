//! One throw-away PKI for the whole test program, and what is often wanted of it.

use jiff::Timestamp;
use punte::{
    kit::dev_pki::{self, DevAgency, DevPki},
    trust::{Algorithm, AnswerKind, AnswerPolicy, Certificate, Identity},
};
use std::{path::Path, sync::OnceLock};

struct Made {
    pki: DevPki,
    _dir: tempfile::TempDir,
}

/// `soap` signs with RSA, `rest` with P-256.
pub fn pki() -> &'static DevPki {
    static MADE: OnceLock<Made> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let agencies = [("soap", Algorithm::RsaSha256), ("rest", Algorithm::EcdsaSha256)]
            .map(|(name, signing)| DevAgency { name: name.into(), signing });
        Made { pki: dev_pki::make(dir.path(), &agencies, now()).unwrap(), _dir: dir }
    });
    &made.pki
}

/// One moment for the whole program: tests that need another one add to it.
pub fn now() -> Timestamp {
    static NOW: OnceLock<Timestamp> = OnceLock::new();
    *NOW.get_or_init(|| Timestamp::from_second(Timestamp::now().as_second()).unwrap())
}

pub fn identity(stem: &Path) -> Identity {
    Identity::load(&stem.with_extension("pem"), &stem.with_extension("key"), now()).unwrap()
}

/// Who signs the agency's answers.
pub fn agency_signer(agency: &str) -> Identity {
    identity(&pki().simulator(agency, "signing"))
}

pub fn rogue_signer() -> Identity {
    identity(&pki().rogue("signing"))
}

pub fn certificate(path: &Path) -> Certificate {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    Certificate::from_der(&CertificateDer::from_pem_file(path).unwrap()).unwrap()
}

/// The bus's policy for answers of `agency`, its certificate pinned, both modern algorithms allowed.
pub fn policy(agency: &str, kind: AnswerKind) -> AnswerPolicy {
    let known = certificate(&pki().agency(agency, "answer-signing.pem"));
    AnswerPolicy::pinned(kind, vec![Algorithm::RsaSha256, Algorithm::EcdsaSha256], vec![known])
}
