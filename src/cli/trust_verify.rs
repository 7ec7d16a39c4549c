//! `punte trust verify`: a policy and messages' files come in; each verdict and its reason go out, exit code 0 or 1.

use super::output;
use crate::{
    domain::SubjectMatch,
    kit::signature_check::{PolicyFiles, SignatureCheck, Verdict, judge, listed},
    trust::ReplayCache,
};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    pub policy: PolicyArguments,
    /// The messages, or folders of them: SOAP envelopes, JWS, or HTTP responses with start line and headers
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    pub message: Vec<PathBuf>,
    /// What a detached JWS is about
    #[arg(long, value_name = "FILE")]
    pub payload: Option<PathBuf>,
    /// Judge as if it were this time (RFC 3339, e.g. 2026-11-21T10:00:00Z)
    #[arg(long, value_name = "TIME")]
    pub now: Option<Timestamp>,
    /// Remember what was accepted: a message that comes again is refused
    #[arg(long)]
    pub in_sequence: bool,
    /// One JSON object a message: {message, accepted, reason, text, signer, fingerprint_sha256, algorithm}
    #[arg(long)]
    pub json: bool,
}

/// Whose signatures count.
#[derive(Args, Default)]
pub struct PolicyArguments {
    /// A TOML file with a table `seal`: an agency.toml will do
    #[arg(long, value_name = "FILE", required_unless_present_any = ["certificate", "ca"])]
    pub profile: Option<PathBuf>,
    /// The signers' certificates (PEM), instead of those that the profile names
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "ca")]
    pub certificate: Vec<PathBuf>,
    /// The signers' authority (PEM), instead of what the profile names
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// With --ca: only the holder of this name, a common name or a whole subject
    #[arg(long, value_name = "NAME", requires = "ca")]
    pub subject: Option<SubjectMatch>,
}

impl PolicyArguments {
    fn files(&self) -> PolicyFiles {
        PolicyFiles {
            profile: self.profile.clone(),
            certificates: self.certificate.clone(),
            ca: self.ca.clone(),
            subject: self.subject.clone(),
        }
    }
}

#[derive(Serialize)]
struct Named<'a> {
    message: &'a Path,
    #[serde(flatten)]
    verdict: &'a Verdict,
}

/// Every message in turn. Exits 0 if all are accepted, and 1 if one is refused or cannot be read.
pub fn run(verify: &Verify) -> ExitCode {
    let now = verify.now.unwrap_or_else(Timestamp::now);
    let policy = verify.policy.files().load(now);
    let replays = ReplayCache::default();
    let (mut accepted, mut refused) = (0_usize, 0_usize);
    let messages = listed(&verify.message);
    let format = output::Format::from_flag(verify.json);
    for message in &messages {
        let fresh = ReplayCache::default();
        let replays = if verify.in_sequence { &replays } else { &fresh };
        let verdict = match &policy {
            Ok(policy) => judge(message, verify.payload.as_deref(), &SignatureCheck { policy, now, replays }),
            Err(text) => Verdict::refused("profile", text.clone()),
        };
        tell(&verdict, message, messages.len() > 1, format);
        *(if verdict.accepted { &mut accepted } else { &mut refused }) += 1;
    }
    if messages.len() != 1 && !verify.json {
        output::line(format_args!("{} messages: {accepted} accepted, {refused} refused", messages.len()));
    }
    match (accepted, refused) {
        (1.., 0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn tell(verdict: &Verdict, message: &Path, among_others: bool, format: output::Format) {
    match (format, among_others) {
        (output::Format::Json, _) => output::json(&Named { message, verdict }),
        (output::Format::Text, true) => {
            output::line(format_args!("{}: {}", message.display(), for_people(verdict).replace('\n', "; ")))
        }
        (output::Format::Text, false) => output::line(for_people(verdict)),
    }
}

fn for_people(verdict: &Verdict) -> String {
    match (verdict.accepted, &verdict.signer, &verdict.algorithm) {
        (true, Some(signer), Some(algorithm)) => {
            format!("accepted: {}\nsigner: {signer}\nalgorithm: {algorithm}", verdict.text)
        }
        _ => format!("refused ({}): {}", verdict.reason, verdict.text),
    }
}
