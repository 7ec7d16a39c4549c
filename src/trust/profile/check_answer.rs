//! The `[seal.answer]` table as written comes in; how answers are verified goes out, faults are added to the others.

use super::{
    AnswerKind, AnswerProfile, SignersAsFiles,
    faults::{Faults, components, header_name, seconds},
    written::{AnswerAsWritten, SealKind},
};
use crate::{domain::SubjectMatch, trust::Algorithm};
use jiff::SignedDuration;
use std::path::Path;

impl AnswerAsWritten {
    pub(super) fn check(&self, base: &Path, faults: &mut Faults) -> AnswerProfile {
        self.check_keys(faults);
        AnswerProfile {
            kind: self.kind(faults),
            algorithms: self.algorithms(faults),
            signers: self.signers(base, faults),
            max_clock_skew: seconds(self.max_clock_skew_secs, 60, 300, "answer.max_clock_skew_secs", faults),
            replay_window: seconds(self.replay_window_secs, 300, 3600, "answer.replay_window_secs", faults),
        }
    }

    fn check_keys(&self, faults: &mut Faults) {
        let of_any_signature = [
            ("answer.algorithms", self.algorithms.is_some()),
            ("answer.certificates", self.certificates.is_some()),
            ("answer.ca", self.ca.is_some()),
            ("answer.subject", self.subject.is_some()),
            ("answer.max_clock_skew_secs", self.max_clock_skew_secs.is_some()),
            ("answer.replay_window_secs", self.replay_window_secs.is_some()),
        ];
        let unsigned = self.kind == SealKind::None;
        let misplaced = of_any_signature.iter().filter(|(_, written)| *written && unsigned).map(|(key, _)| *key);
        misplaced.for_each(|key| faults.misplaced(key, self.kind));
        if self.header.is_some() && self.kind != SealKind::JwsDetached {
            faults.misplaced("answer.header", self.kind);
        }
        if self.components.is_some() && self.kind != SealKind::HttpSignature {
            faults.misplaced("answer.components", self.kind);
        }
    }

    fn kind(&self, faults: &mut Faults) -> AnswerKind {
        match self.kind {
            SealKind::None => AnswerKind::None,
            SealKind::Wss => AnswerKind::Wss,
            SealKind::JwsCompact => AnswerKind::JwsCompact,
            SealKind::JwsDetached => {
                AnswerKind::JwsDetached { header: header_name(self.header.as_ref(), "answer.header", faults) }
            }
            SealKind::HttpSignature => AnswerKind::HttpSignature {
                components: components(
                    self.components.as_ref(),
                    &["@status", "content-digest"],
                    "answer.components",
                    faults,
                ),
            },
        }
    }

    fn algorithms(&self, faults: &mut Faults) -> Vec<Algorithm> {
        let algorithms = self.algorithms.clone().unwrap_or_default();
        if algorithms.is_empty() && self.kind != SealKind::None {
            faults.add("answer.algorithms", "no algorithm is allowed", "Name those that the agency signs with");
        }
        if algorithms.contains(&Algorithm::RsaSha1) && self.kind != SealKind::Wss {
            faults.add("answer.algorithms", "rsa-sha1 exists for WS-Security only", "Remove it");
        }
        algorithms
    }

    fn subject_match(&self, faults: &mut Faults) -> Option<SubjectMatch> {
        match self.subject.as_ref()?.parse() {
            Ok(subject) => Some(subject),
            Err(error) => {
                faults.add(
                    "answer.subject",
                    &error.to_string(),
                    "Write a common name, or a whole subject such as C=MD, CN=x",
                );
                None
            }
        }
    }

    fn signers(&self, base: &Path, faults: &mut Faults) -> SignersAsFiles {
        let remedy = "Pin the agency's signing certificates with `certificates`, or name its authority with `ca`";
        match (self.kind, &self.certificates, &self.ca) {
            (SealKind::None, _, _) => SignersAsFiles::Nobody,
            (_, Some(paths), None) if !paths.is_empty() => {
                if self.subject.is_some() {
                    faults.add("answer.subject", "it means something only with `ca`", "Remove it");
                }
                SignersAsFiles::Pinned(paths.iter().map(|path| base.join(path)).collect())
            }
            (_, None, Some(path)) => {
                SignersAsFiles::Authority { path: base.join(path), subject: self.subject_match(faults) }
            }
            (_, Some(_), Some(_)) => {
                faults.add("answer.ca", "`certificates` is given too", "Keep one of them");
                SignersAsFiles::Nobody
            }
            (_, Some(_), None) | (_, None, None) => {
                faults.add("answer.certificates", "nobody's signature is trusted", remedy);
                SignersAsFiles::Nobody
            }
        }
    }
}

impl AnswerProfile {
    pub fn unverified() -> Self {
        Self {
            kind: AnswerKind::None,
            algorithms: Vec::new(),
            signers: SignersAsFiles::Nobody,
            max_clock_skew: SignedDuration::ZERO,
            replay_window: SignedDuration::ZERO,
        }
    }
}
