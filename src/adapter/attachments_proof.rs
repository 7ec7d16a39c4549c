//! An operation and what its service takes come in; the attachments that its template would drop, or could not hold, go out.

use super::{ComposeError, Example, Operation, TransformInput};
use crate::{
    catalogue::AttachmentRule,
    domain::{AttachmentId, AttachmentRef, Submission},
    settings::ConfigFaults,
};
use std::{path::Path, sync::Arc};
use uuid::Uuid;

/// No message is larger than 16 MiB, in which contents stand in base64 and something stands beside them.
const MOST_BYTES_SENT: u64 = 11 << 20;

/// As many files as the service takes at the most.
struct Full {
    submission: Submission,
    contents: Vec<Arc<str>>,
}

/// `folder`: the agency's. What the template does with none is proved by the examples as they are.
pub(super) fn prove_attachments(
    operation: &Operation,
    rule: &AttachmentRule,
    folder: &Path,
    faults: &mut ConfigFaults,
) {
    if !rule.takes_any() || !operation.request.reads("attachments") {
        return;
    }
    let mut sends_contents = false;
    for example in &operation.examples {
        let full = Full::of(example, rule);
        let compose = |contents| operation.request.compose(&full.input(example, contents));
        sends_contents |= compose(None) == Err(ComposeError::ContentsWanted);
        if let Err(error @ ComposeError::AttachmentUnread { .. }) = compose(Some(&full.contents)) {
            let remedy = "print `sha256` or `base64` of each, or lower attachments.at_most in service.toml";
            let problem = format!("with {} attachments: {error}", rule.at_most);
            faults.add(example.folder.join("request.json"), "attachments", problem, remedy);
        }
    }
    if sends_contents && rule.max_total_bytes > MOST_BYTES_SENT {
        let problem = "prints contents of attachments, of which the service takes more than a message holds";
        let remedy = format!(
            "write at most {MOST_BYTES_SENT} as attachments.max_total_bytes in schemas/services/{}/service.toml, or \
             print `sha256` alone",
            operation.service
        );
        faults.add(folder.join(&operation.request.template_file), "", problem, remedy);
    }
}

impl Full {
    fn of(example: &Example, rule: &AttachmentRule) -> Self {
        let attachment = |place: usize| AttachmentRef {
            id: AttachmentId::from(Uuid::nil()),
            sha256: "0".repeat(64),
            size_bytes: 3,
            media_type: rule.media_types.get(place % rule.media_types.len().max(1)).cloned().unwrap_or_default(),
            name: format!("{place}.pdf"),
        };
        let attachments = (0..rule.at_most).map(attachment).collect();
        let submission = Submission { attachments, ..example.submission.clone() };
        Self { submission, contents: vec!["YWJj".into(); rule.at_most] }
    }

    fn input<'a>(&'a self, example: &Example, contents: Option<&'a [Arc<str>]>) -> TransformInput<'a> {
        let Example { attempt, message, now, .. } = *example;
        TransformInput { submission: &self.submission, attempt, message, now, contents }
    }
}
