//! `punte trust`: signatures are checked by hand, with the rules that the worker uses.

use super::{exit, trust_verify};
use crate::{
    domain::SubjectMatch,
    trust::{AnswerPolicy, AnswerProfile, SealAsWritten, SignersAsFiles},
};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Deserialize;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(Args)]
#[command(after_help = "Examples:
  punte trust verify --profile adapters/civil-registry/agency.toml --message answer.xml
  punte trust verify --profile seal.toml --message token.txt --payload body.json --json
  punte trust verify --certificate agency.pem --message corpus/ --now 2026-11-21T10:00:00Z --json

Exits 0 if every message is accepted, 1 if one is refused or cannot be read, 2 if the command line is wrong.")]
pub struct Trust {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Verify messages by the answer policy of a profile, and say why not
    #[command(after_help = VERIFY_HELP)]
    Verify(Verify),
}

const VERIFY_HELP: &str = "A profile is what stands in an agency.toml; its paths are relative to its folder:
  [seal]
  kind = \"none\"                     # how requests are signed; not looked at here
  [seal.answer]
  kind = \"wss\"                      # or jws-compact, jws-detached, http-signature
  algorithms = [\"rsa-sha256\"]       # also ecdsa-sha256, and for wss only rsa-sha1
  certificates = [\"agency.pem\"]     # or ca = \"ca.pem\" and perhaps subject = \"CN or whole name\"
  max_clock_skew_secs = 60           # at most 300
  replay_window_secs = 300           # how old a message may be, at most 3600

A message is read as the worker reads an answer: with a byte order mark, in UTF-16, or in an older encoding that its XML
declaration names. What begins with `HTTP/` is a whole response: its headers say how it is compressed, in parts and
encoded, and a detached JWS stands in its header.
Without --profile, messages are SOAP envelopes with WS-Security, signed with rsa-sha256 or ecdsa-sha256.
Each message is judged for itself; with --in-sequence as if they came one after the other, so that a repetition is
refused (`replayed`). Standard output has a line for each message: with --json an object with its `message` and `reason`.
Exits 0 if every message is accepted, 1 if one is refused or cannot be read (an empty folder too), 2 if the command
line is wrong.";

#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    pub policy: PolicyFiles,
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
pub struct PolicyFiles {
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

/// Other tables of the file are not looked at, so that an `agency.toml` will do.
#[derive(Deserialize)]
struct ProfileFile {
    seal: SealAsWritten,
}

/// What counts where no profile is given.
const WITHOUT_PROFILE: &str = "[seal]\nkind = \"none\"\n[seal.answer]\nkind = \"wss\"\n\
    algorithms = [\"rsa-sha256\", \"ecdsa-sha256\"]\ncertificates = [\"given\"]";

impl Trust {
    pub fn run(self) -> u8 {
        let What::Verify(verify) = self.what;
        if trust_verify::run(&verify) == ExitCode::SUCCESS { exit::DONE } else { exit::FAILED }
    }
}

impl PolicyFiles {
    /// The error names file and key, never a certificate's content.
    pub fn load(&self, now: Timestamp) -> Result<AnswerPolicy, String> {
        let mut answer = self.profile()?;
        match (&self.ca, self.certificate.as_slice()) {
            (Some(path), _) => {
                answer.signers = SignersAsFiles::Authority { path: path.clone(), subject: self.subject.clone() };
            }
            (None, []) => {}
            (None, paths) => answer.signers = SignersAsFiles::Pinned(paths.to_vec()),
        }
        AnswerPolicy::load(&answer, now).map_err(|error| error.to_string())
    }

    fn profile(&self) -> Result<AnswerProfile, String> {
        let (path, text) = match &self.profile {
            None => (Path::new("(no profile)"), WITHOUT_PROFILE.to_owned()),
            Some(path) => {
                (path.as_path(), std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?)
            }
        };
        let file: ProfileFile = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let base = path.parent().unwrap_or(Path::new("."));
        let checked = file.seal.check(base).map_err(|faults| {
            faults.iter().map(|fault| format!("{}: [seal] {fault}", path.display())).collect::<Vec<_>>().join("\n")
        })?;
        Ok(checked.answer)
    }
}
