//! Which files a service takes with a request: its `[attachments]` comes in, what is wrong with a request's files goes out.

use super::SchemaFault;
use crate::{domain::AttachmentRef, settings::ConfigFaults};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A service without such a rule takes none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AttachmentRule {
    #[serde(default)]
    pub at_least: usize,
    #[serde(default)]
    pub at_most: usize,
    /// Empty: each that the gateway takes.
    #[serde(default)]
    pub media_types: Vec<String>,
    /// Of all together.
    #[serde(default = "default_total_bytes")]
    pub max_total_bytes: u64,
}

/// A template that prints all contents makes a message that may still be sent, however much `data` stands beside them.
fn default_total_bytes() -> u64 {
    8 << 20
}

/// As the envelope of a submission allows.
const MOST: usize = 20;

impl AttachmentRule {
    pub fn takes_any(&self) -> bool {
        self.at_most > 0
    }

    pub(super) fn check(&self, file: &Path, faults: &mut ConfigFaults) {
        if !(1..=MOST).contains(&self.at_most) {
            let remedy = format!("write from 1 to {MOST}, or leave [attachments] out if the service takes none");
            faults.add(file, "attachments.at_most", "is missing or out of range", remedy);
        }
        if self.at_least > self.at_most {
            faults.add(file, "attachments.at_least", "is more than at_most", "write at most as many");
        }
        if self.max_total_bytes == 0 {
            faults.add(
                file,
                "attachments.max_total_bytes",
                "is 0",
                "write a number of bytes, or leave it out for 8 MiB",
            );
        }
    }

    /// How many, how large and of which kind they must be. Places are those of a submission's envelope.
    pub fn faults(&self, attachments: &[AttachmentRef]) -> Vec<SchemaFault> {
        let fault = |pointer: String, problem: String| SchemaFault { pointer, problem };
        let count = attachments.len();
        let mut faults = Vec::new();
        if count > 0 && !self.takes_any() {
            faults.push(fault("/attachments".into(), "this service takes no attachments".into()));
            return faults;
        }
        if !(self.at_least..=self.at_most).contains(&count) {
            let problem = format!("this service takes from {} to {} attachments", self.at_least, self.at_most);
            faults.push(fault("/attachments".into(), problem));
        }
        let total = attachments.iter().fold(0, |sum: u64, attachment| sum.saturating_add(attachment.size_bytes));
        if total > self.max_total_bytes {
            let problem = format!("this service takes at most {} bytes in all attachments", self.max_total_bytes);
            faults.push(fault("/attachments".into(), problem));
        }
        for (place, attachment) in attachments.iter().enumerate() {
            if !self.media_types.is_empty() && !self.media_types.contains(&attachment.media_type) {
                let problem = format!("must be one of {}", self.media_types.join(", "));
                faults.push(fault(format!("/attachments/{place}"), problem));
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::AttachmentId;

    fn files(media_types: &[&str]) -> Vec<AttachmentRef> {
        let file = |media_type: &&str| AttachmentRef {
            id: AttachmentId::new(),
            sha256: String::new(),
            size_bytes: 10,
            media_type: (*media_type).to_owned(),
            name: "x".into(),
        };
        media_types.iter().map(file).collect()
    }

    #[test]
    fn too_many_too_few_too_large_and_of_another_kind_are_found() {
        let pdf = "application/pdf";
        let rule = AttachmentRule { at_least: 1, at_most: 2, media_types: vec![pdf.into()], max_total_bytes: 30 };
        let places = |rule: &AttachmentRule, media_types: &[&str]| {
            rule.faults(&files(media_types)).into_iter().map(|it| it.pointer).collect::<Vec<_>>()
        };
        assert!(places(&rule, &[pdf]).is_empty() && places(&rule, &[pdf, pdf]).is_empty());
        assert_eq!(places(&rule, &[]), ["/attachments"]);
        assert_eq!(places(&rule, &[pdf, pdf, pdf]), ["/attachments"]);
        assert_eq!(places(&rule, &[pdf, "image/png"]), ["/attachments/1"]);
        let larger = AttachmentRule { max_total_bytes: 19, ..rule.clone() };
        assert!(places(&larger, &[pdf]).is_empty());
        assert_eq!(places(&larger, &[pdf, pdf]), ["/attachments"]);
        let none = AttachmentRule::default();
        assert_eq!(places(&none, &[pdf]), ["/attachments"]);
        assert!(places(&none, &[]).is_empty());
    }
}
