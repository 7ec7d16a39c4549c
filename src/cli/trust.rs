//! `punte trust`: signatures are checked by hand, with the rules that the worker uses.

use super::{exit, trust_verify};
use clap::{Args, Subcommand};
use std::{path::PathBuf, process::ExitCode};

#[derive(Args)]
#[command(after_help = "Examples:
  punte trust verify --profile adapters/civil-registry/agency.toml --message answer.xml
  punte trust verify --profile seal.toml --message token.txt --payload body.json --json

Exits 0 if the message is accepted, 1 if it is refused or cannot be read.")]
pub struct Trust {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Verify one message by the answer policy of a profile, and say why not
    Verify(Verify),
}

#[derive(Args)]
struct Verify {
    /// A TOML file with a table `seal`: an agency.toml will do
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
    /// The message: a SOAP envelope, a JWS, or an HTTP message with start line and headers
    #[arg(long, value_name = "FILE")]
    message: PathBuf,
    /// What a detached JWS is about
    #[arg(long, value_name = "FILE")]
    payload: Option<PathBuf>,
    /// One JSON object: {accepted, reason, text, signer, fingerprint_sha256, algorithm}
    #[arg(long)]
    json: bool,
}

impl Trust {
    pub fn run(self) -> u8 {
        let What::Verify(verify) = self.what;
        let code = trust_verify::run(&verify.profile, &verify.message, verify.payload.as_deref(), verify.json);
        if code == ExitCode::SUCCESS { exit::DONE } else { exit::FAILED }
    }
}
