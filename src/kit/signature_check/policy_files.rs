//! Whose signatures count when one checks by hand: names of files come in, an answer policy goes out.

use crate::{
    domain::SubjectMatch,
    trust::{AnswerPolicy, AnswerProfile, SealAsWritten, SignersAsFiles},
};
use jiff::Timestamp;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Whose signatures count. Something is given: a profile, certificates, or an authority.
#[derive(Default)]
pub struct PolicyFiles {
    /// TOML with a table `seal`: an agency.toml will do.
    pub profile: Option<PathBuf>,
    /// The signers' certificates, in the place of those that the profile names.
    pub certificates: Vec<PathBuf>,
    /// The signers' authority, in the place of what the profile names.
    pub ca: Option<PathBuf>,
    /// Only this holder of a certificate of `ca`.
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

impl PolicyFiles {
    /// The error names file and key, never a certificate's content.
    pub fn load(&self, now: Timestamp) -> Result<AnswerPolicy, String> {
        let mut answer = self.profile()?;
        match (&self.ca, self.certificates.as_slice()) {
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
