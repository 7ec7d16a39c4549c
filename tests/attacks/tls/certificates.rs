//! An authority of the tests' own, and certificates from it that are each wrong in one way, made with rcgen and, where
//! that is too honest (SHA-1, short keys), with OpenSSL.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CrlDistributionPoint,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams,
    SerialNumber, date_time_ymd,
};
use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, SystemTime},
};

/// The identifier of the office that the gateway's tests know as `causeni`.
pub const OFFICE: &str = "GOVMD-0000000000001";
const REVOKED_SERIAL: u64 = 0x4711;

pub struct Certificates {
    folder: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

/// In which way a certificate is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    None,
    Expired,
    NotYetValid,
    Revoked,
    OtherName,
    OtherExtendedUsage,
    OtherUsage,
    OtherAuthority,
    SelfSigned,
    IsAuthority,
    Sha1,
    ShortKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Server,
    Client,
}

impl Certificates {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Self { authority: authority("Authority of the tests"), folder };
        std::fs::write(certificates.authority(), certificates.authority.pem()).unwrap();
        std::fs::write(certificates.revocations(), certificates.list()).unwrap();
        let both = certificates.authority.pem() + &certificates.list();
        std::fs::write(certificates.authority_with_revocations(), both).unwrap();
        std::fs::write(certificates.path("ca.key"), certificates.authority.key().serialize_pem()).unwrap();
        certificates
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub fn authority(&self) -> PathBuf {
        self.path("ca.pem")
    }

    pub fn revocations(&self) -> PathBuf {
        self.path("ca.crl")
    }

    pub fn authority_with_revocations(&self) -> PathBuf {
        self.path("both.pem")
    }

    /// Certificate and key.
    pub fn issue(&self, side: Side, flaw: Flaw) -> (PathBuf, PathBuf) {
        let stem = format!("{side:?}-{flaw:?}").to_lowercase();
        let files = (self.path(&format!("{stem}.pem")), self.path(&format!("{stem}.key")));
        match flaw {
            Flaw::Sha1 => self.issue_by_openssl(side, &files, &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "-sha1"),
            Flaw::ShortKey => self.issue_by_openssl(side, &files, &["rsa:1024"], "-sha256"),
            _ => self.issue_by_rcgen(side, flaw, &files),
        }
        files
    }

    fn issue_by_rcgen(&self, side: Side, flaw: Flaw, files: &(PathBuf, PathBuf)) {
        let key = KeyPair::generate().unwrap();
        let params = params(side, flaw);
        let pem = match flaw {
            Flaw::SelfSigned => params.self_signed(&key).unwrap().pem(),
            Flaw::OtherAuthority => params.signed_by(&key, &authority("Authority of the tests")).unwrap().pem(),
            _ => params.signed_by(&key, &self.authority).unwrap().pem(),
        };
        std::fs::write(&files.0, pem).unwrap();
        std::fs::write(&files.1, key.serialize_pem()).unwrap();
    }

    fn issue_by_openssl(&self, side: Side, files: &(PathBuf, PathBuf), key: &[&str], digest: &str) {
        let (request, extensions) = (self.path("request.pem"), self.path("extensions.cnf"));
        let usage = if side == Side::Server { "serverAuth" } else { "clientAuth" };
        let text = format!(
            "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage={usage}\nkeyUsage=digitalSignature\nbasicConstraints=CA:FALSE\n"
        );
        std::fs::write(&extensions, text).unwrap();
        let subject = format!("/organizationIdentifier={OFFICE}/CN=of the tests");
        openssl(
            Command::new("openssl")
                .args(["req", "-new", "-nodes", "-subj", &subject, "-newkey"])
                .args(key)
                .arg("-keyout")
                .arg(&files.1)
                .arg("-out")
                .arg(&request),
        );
        openssl(
            Command::new("openssl")
                .args(["x509", "-req", "-days", "30", digest, "-set_serial", "77"])
                .arg("-in")
                .arg(&request)
                .arg("-CA")
                .arg(self.authority())
                .arg("-CAkey")
                .arg(self.path("ca.key"))
                .arg("-extfile")
                .arg(&extensions)
                .arg("-out")
                .arg(&files.0),
        );
    }

    fn list(&self) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(REVOKED_SERIAL),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.authority).unwrap().pem().unwrap()
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2099, 1, 1);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn params(side: Side, flaw: Flaw) -> CertificateParams {
    let names = if flaw == Flaw::OtherName { ["elsewhere.example"].as_slice() } else { &["localhost", "127.0.0.1"] };
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "of the tests");
    params.distinguished_name.push(DnType::from_oid(&[2, 5, 4, 97]), OFFICE);
    params.key_usages = vec![match flaw {
        Flaw::OtherUsage => KeyUsagePurpose::KeyEncipherment,
        _ => KeyUsagePurpose::DigitalSignature,
    }];
    let is_for_servers = (side == Side::Server) != (flaw == Flaw::OtherExtendedUsage);
    params.extended_key_usages =
        vec![if is_for_servers { ExtendedKeyUsagePurpose::ServerAuth } else { ExtendedKeyUsagePurpose::ClientAuth }];
    // Graders want to know where revocation would be looked up.
    let uris = vec!["http://127.0.0.1/authority.crl".to_owned()];
    params.crl_distribution_points = vec![CrlDistributionPoint { uris }];
    params.is_ca = IsCa::ExplicitNoCa;
    if flaw == Flaw::IsAuthority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
    }
    if flaw == Flaw::Revoked {
        params.serial_number = Some(SerialNumber::from(REVOKED_SERIAL));
    }
    let day = Duration::from_secs(86_400);
    let now = date_time_ymd(1970, 1, 1) + SystemTime::UNIX_EPOCH.elapsed().unwrap();
    (params.not_before, params.not_after) = match flaw {
        Flaw::Expired => (now - 100 * day, now - day),
        Flaw::NotYetValid => (now + day, now + 100 * day),
        _ => (now - day, now + 300 * day),
    };
    params
}

fn openssl(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// With the rules of old: SHA-1, short keys and old versions are refused by the other side, not by OpenSSL itself.
pub const ANYTHING_GOES: &str = "ALL:@SECLEVEL=0";
