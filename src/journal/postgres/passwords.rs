//! The passwords as they are now: files that may be changed while we run come in; for a host of the URL its password goes out.

use super::{address::Address, server::Server};
use crate::secret_file;
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

pub struct Passwords {
    url_file: Option<PathBuf>,
    passfile: Option<PathBuf>,
    /// As they were good last.
    known: Mutex<Known>,
}

#[derive(Clone, PartialEq, Eq)]
struct Known {
    url: String,
    passfile: Option<String>,
    /// The warnings of the files that were logged last.
    logged: Vec<String>,
}

impl Passwords {
    pub fn of(server: &Server<'_>) -> Self {
        let owned = |path: Option<&Path>| path.map(Path::to_path_buf);
        let (url_file, passfile) = (owned(server.files.url), owned(server.files.passfile));
        let logged = url_file.iter().chain(&passfile).flat_map(|path| secret_file::exposures(path)).collect();
        let known = Known { url: server.url.to_owned(), passfile: server.passfile.map(str::to_owned), logged };
        Self { url_file, passfile, known: Mutex::new(known) }
    }

    /// `None`: the files say nothing new of this host that could be used.
    pub fn of_host(&self, name: &str) -> Option<Vec<u8>> {
        self.url_file.as_ref().or(self.passfile.as_ref())?;
        let known = self.read_again();
        let address = Address::parse(&known.url, known.passfile.as_deref()).ok()?;
        let target = address.targets.into_iter().find(|target| *target.name == *name)?;
        target.config.get_password().map(<[u8]>::to_vec)
    }

    /// A file that is just being written over may be empty or gone: then what was good last is used.
    fn read_again(&self) -> Known {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut warnings = Vec::new();
        let url = text(self.url_file.as_deref(), &mut warnings).unwrap_or_else(|| known.url.clone());
        let passfile = text(self.passfile.as_deref(), &mut warnings).or_else(|| known.passfile.clone());
        let is_good = Address::parse(&url, passfile.as_deref()).is_ok();
        if warnings != known.logged {
            warnings.iter().for_each(|warning| tracing::warn!("journal: {warning}"));
            known.logged = warnings;
        }
        if is_good && (url != known.url || passfile != known.passfile) {
            tracing::info!("the journal's password is read anew from its file");
            (known.url, known.passfile) = (url, passfile);
        }
        known.clone()
    }
}

fn text(path: Option<&Path>, warnings: &mut Vec<String>) -> Option<String> {
    let file = secret_file::read(path?).ok()?;
    warnings.extend(file.warnings);
    let text = String::from_utf8(file.bytes).ok()?;
    let text = text.trim_start_matches('\u{feff}').trim();
    (!text.is_empty()).then(|| text.to_owned())
}
