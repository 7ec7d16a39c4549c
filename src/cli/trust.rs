//! `punte trust`: signatures are checked by hand, with the rules that the worker uses.

use super::{
    exit,
    trust_verify::{self, Verify},
};
use clap::{Args, Subcommand};
use std::process::ExitCode;

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

impl Trust {
    pub fn run(self) -> u8 {
        let What::Verify(verify) = self.what;
        if trust_verify::run(&verify) == ExitCode::SUCCESS { exit::DONE } else { exit::FAILED }
    }
}
