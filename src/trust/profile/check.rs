//! The seal's table as written comes in; a profile that cannot be invalid goes out, or every fault at once.

use super::{
    AnswerProfile, HttpSignatureProfile, JwsForm, JwsProfile, KeyIdForm, ProfileFault, Seal, SealProfile, SignedHeader,
    WssProfile,
    faults::{Faults, components, header_name},
    written::{KeyIdAsWritten, SealAsWritten, SealKind},
};
use crate::trust::Algorithm;
use jiff::SignedDuration;
use std::path::Path;

impl SealAsWritten {
    /// Paths are resolved against `base`, the folder of the file that holds the table. No file is read.
    pub fn check(&self, base: &Path) -> Result<SealProfile, Vec<ProfileFault>> {
        let mut faults = Faults(Vec::new());
        self.check_keys(&mut faults);
        let seal = self.seal(&mut faults);
        let answer = match &self.answer {
            Some(answer) => answer.check(base, &mut faults),
            None => {
                faults.add("answer", "it is missing", "Say how answers are verified, or `answer.kind = \"none\"`");
                AnswerProfile::unverified()
            }
        };
        match faults.0.is_empty() {
            true => Ok(SealProfile { seal, answer }),
            false => Err(faults.0),
        }
    }

    fn seal(&self, faults: &mut Faults) -> Seal {
        match self.kind {
            SealKind::None => Seal::None,
            SealKind::Wss => Seal::Wss(WssProfile {
                algorithm: self.algorithm(faults),
                ttl: self.ttl(faults).unwrap_or(SignedDuration::from_secs(300)),
                sign_headers: self.signed_headers(faults),
                must_understand: self.must_understand.unwrap_or(true),
                sign_token: self.sign_token.unwrap_or(false),
            }),
            SealKind::JwsCompact => Seal::Jws(self.jws(JwsForm::Compact, faults)),
            SealKind::JwsDetached => Seal::Jws(
                self.jws(JwsForm::Detached { header: header_name(self.header.as_ref(), "header", faults) }, faults),
            ),
            SealKind::HttpSignature => Seal::HttpSignature(HttpSignatureProfile {
                algorithm: self.modern_algorithm(faults),
                label: self.label(faults),
                components: components(
                    self.components.as_ref(),
                    &["@method", "@target-uri", "content-type", "content-digest"],
                    "components",
                    faults,
                ),
                ttl: self.ttl(faults),
                key_id: self.key_id(),
            }),
        }
    }

    fn jws(&self, form: JwsForm, faults: &mut Faults) -> JwsProfile {
        JwsProfile { algorithm: self.modern_algorithm(faults), form, key_id: self.key_id() }
    }

    /// Which keys mean something for which kind.
    fn check_keys(&self, faults: &mut Faults) {
        use SealKind::{HttpSignature, JwsCompact, JwsDetached, Wss};
        let written: [(&str, bool, &[SealKind]); 9] = [
            ("algorithm", self.algorithm.is_some(), &[Wss, JwsCompact, JwsDetached, HttpSignature]),
            ("ttl_secs", self.ttl_secs.is_some(), &[Wss, HttpSignature]),
            ("sign_headers", self.sign_headers.is_some(), &[Wss]),
            ("must_understand", self.must_understand.is_some(), &[Wss]),
            ("sign_token", self.sign_token.is_some(), &[Wss]),
            ("header", self.header.is_some(), &[JwsDetached]),
            ("key_id", self.key_id.is_some(), &[JwsCompact, JwsDetached, HttpSignature]),
            ("label", self.label.is_some(), &[HttpSignature]),
            ("components", self.components.is_some(), &[HttpSignature]),
        ];
        for (key, is_written, kinds) in written {
            if is_written && !kinds.contains(&self.kind) {
                faults.misplaced(key, self.kind);
            }
        }
    }

    fn algorithm(&self, faults: &mut Faults) -> Algorithm {
        self.algorithm.unwrap_or_else(|| {
            faults.add("algorithm", "it is missing", "Write e.g. `algorithm = \"rsa-sha256\"`");
            Algorithm::RsaSha256
        })
    }

    fn modern_algorithm(&self, faults: &mut Faults) -> Algorithm {
        let algorithm = self.algorithm(faults);
        if algorithm == Algorithm::RsaSha1 {
            faults.add("algorithm", "rsa-sha1 exists for WS-Security only", "Use rsa-sha256 or ecdsa-sha256");
        }
        algorithm
    }

    fn ttl(&self, faults: &mut Faults) -> Option<SignedDuration> {
        let secs = self.ttl_secs?;
        if !(1..=3600).contains(&secs) {
            faults.add("ttl_secs", "it must be between 1 and 3600", "300 is usual");
        }
        Some(SignedDuration::from_secs(secs.into()))
    }

    fn signed_headers(&self, faults: &mut Faults) -> Vec<SignedHeader> {
        let written = self.sign_headers.as_deref().unwrap_or_default();
        for (index, header) in written.iter().enumerate() {
            let key = format!("sign_headers[{index}]");
            if header.namespace.is_empty() || header.name.is_empty() {
                faults.add(&key, "namespace and name must not be empty", "Name the header block's element");
            }
            if written[..index].iter().any(|other| (&other.namespace, &other.name) == (&header.namespace, &header.name))
            {
                faults.add(&key, "it is named twice", "Remove one");
            }
        }
        // Room for the Body, the Timestamp and the token among the references that verifiers accept.
        let most = if self.sign_token == Some(true) { 5 } else { 6 };
        if written.len() > most {
            faults.add("sign_headers", &format!("more than {most} headers"), "Name fewer");
        }
        written
            .iter()
            .map(|header| SignedHeader { namespace: header.namespace.clone(), name: header.name.clone() })
            .collect()
    }

    fn key_id(&self) -> KeyIdForm {
        match self.key_id {
            Some(KeyIdAsWritten::Thumbprint) => KeyIdForm::Thumbprint,
            Some(KeyIdAsWritten::Serial) | None => KeyIdForm::Serial,
        }
    }

    fn label(&self, faults: &mut Faults) -> String {
        let label = self.label.clone().unwrap_or_else(|| "sig1".into());
        if sfv::KeyRef::from_str(&label).is_err() {
            faults.add(
                "label",
                "it is not a key of a structured field",
                "Use lower-case letters and digits, e.g. sig1",
            );
        }
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::SignersAsFiles;

    fn check(text: &str) -> Result<SealProfile, Vec<ProfileFault>> {
        toml::from_str::<SealAsWritten>(text).unwrap().check(Path::new("/base"))
    }

    fn keys(text: &str) -> Vec<String> {
        check(text).err().unwrap_or_default().into_iter().map(|fault| fault.key).collect()
    }

    #[test]
    fn a_full_profile_is_read_and_its_paths_are_resolved() {
        let profile = check(
            r#"
            kind = "wss"
            algorithm = "rsa-sha256"
            ttl_secs = 120
            sign_headers = [{ namespace = "urn:x", name = "Caller" }]
            [answer]
            kind = "wss"
            algorithms = ["rsa-sha256", "ecdsa-sha256"]
            certificates = ["trust/agency.pem"]
            "#,
        )
        .unwrap();
        assert_eq!(profile.answer.signers, SignersAsFiles::Pinned(vec!["/base/trust/agency.pem".into()]));
        assert!(matches!(profile.seal, Seal::Wss(wss) if wss.ttl.as_secs() == 120 && wss.sign_headers.len() == 1));
    }

    #[test]
    fn every_fault_is_reported_at_once_with_its_key() {
        let text = r#"
            kind = "jws-detached"
            algorithm = "rsa-sha1"
            must_understand = true
            ttl_secs = 5
            header = "bad header"
            [answer]
            kind = "wss"
            components = ["@status"]
            max_clock_skew_secs = 301
            "#;
        assert_eq!(
            keys(text),
            [
                "ttl_secs",
                "must_understand",
                "header",
                "algorithm",
                "answer.components",
                "answer.algorithms",
                "answer.certificates",
                "answer.max_clock_skew_secs"
            ]
        );
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(toml::from_str::<SealAsWritten>("kind = \"none\"\ntypo = 1").is_err());
        assert!(toml::from_str::<SealAsWritten>("kind = \"none\"\n[answer]\nkind=\"none\"\ntypo = 1").is_err());
    }

    #[test]
    fn sha1_is_allowed_where_it_is_written_and_warned_of() {
        let text = r#"
            kind = "wss"
            algorithm = "rsa-sha1"
            [answer]
            kind = "wss"
            algorithms = ["rsa-sha1"]
            ca = "ca.pem"
            "#;
        assert_eq!(check(text).unwrap().warnings().len(), 2);
        assert_eq!(
            check("kind=\"none\"\n[answer]\nkind=\"none\"").unwrap().warnings().len(),
            1,
            "nobody signs the answers"
        );
    }
}
