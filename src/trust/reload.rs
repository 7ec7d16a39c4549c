//! Files that may be replaced while we run come in; the newest content that was good goes out.

use super::TrustError;
use crate::secret_file;
use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use jiff::Timestamp;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Something that is made from files alone.
pub trait Load: Sized {
    type Files: Clone + Send + Sync;

    fn paths(files: &Self::Files) -> Vec<&Path>;
    fn load(files: &Self::Files, now: Timestamp) -> Result<Self, TrustError>;
    /// What the operator should see to.
    fn warnings(&self, files: &Self::Files, now: Timestamp) -> Vec<String>;
}

/// What a look at the files brought.
#[derive(Debug, Clone)]
pub enum Refreshed {
    Unchanged,
    Reloaded,
    /// The new files are bad; what was loaded before stays in use.
    Refused(TrustError),
}

pub struct Reloading<T: Load> {
    files: T::Files,
    current: ArcSwap<T>,
    /// Never held while files are read: whoever asks for the trouble must not wait for a disk.
    seen: Mutex<Seen>,
    /// Held by who looks at the files.
    looking: Mutex<()>,
}

/// The files as they were last looked at.
struct Seen {
    digest: Vec<u8>,
    /// They were bad, which has been logged. They may become good without a change: a certificate that is not valid yet.
    refused: Option<String>,
}

impl<T: Load> fmt::Debug for Reloading<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloading").field("files", &T::paths(&self.files)).finish_non_exhaustive()
    }
}

impl<T: Load> Reloading<T> {
    pub fn load(files: T::Files, now: Timestamp) -> Result<Self, TrustError> {
        let seen = Seen { digest: digest_of::<T>(&files), refused: None };
        let current = T::load(&files, now)?;
        Ok(Self { files, current: ArcSwap::from_pointee(current), seen: Mutex::new(seen), looking: Mutex::default() })
    }

    pub fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// What the operator should see to, of what is in use.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        self.current().warnings(&self.files, now)
    }

    /// New files that were refused and are still there, in words.
    pub fn trouble(&self) -> Option<String> {
        let seen = self.seen();
        let refused = seen.refused.as_ref()?;
        Some(format!("new files are refused, and what was loaded before stays in use: {refused}"))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn paths(&self) -> Vec<PathBuf> {
        T::paths(&self.files).into_iter().map(Path::to_path_buf).collect()
    }

    /// Looks at the files again, and blocks its thread meanwhile; cheap when nothing changed.
    pub fn refresh(&self, now: Timestamp) -> Refreshed {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = digest_of::<T>(&self.files);
        let (is_new, is_refused) = {
            let seen = self.seen();
            (seen.digest != digest, seen.refused.is_some())
        };
        if !is_new && !is_refused {
            return Refreshed::Unchanged;
        }
        let loaded = T::load(&self.files, now);
        *self.seen() = Seen { digest, refused: loaded.as_ref().err().map(ToString::to_string) };
        match loaded {
            Ok(fresh) => {
                tracing::info!(files = ?T::paths(&self.files), "reloaded");
                fresh.warnings(&self.files, now).iter().for_each(|warning| tracing::warn!("{warning}"));
                self.current.store(Arc::new(fresh));
                Refreshed::Reloaded
            }
            Err(_) if !is_new => Refreshed::Unchanged,
            Err(error) => {
                tracing::error!(%error, "the new files are refused; what was loaded before stays in use");
                Refreshed::Refused(error)
            }
        }
    }
}

fn digest_of<T: Load>(files: &T::Files) -> Vec<u8> {
    digest_of_files(T::paths(files))
}

/// Content and rights, not modification time: a copy that keeps the old time must be noticed too.
pub fn digest_of_files<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    for path in paths {
        match secret_file::read(path) {
            Ok(file) => {
                context.update(digest::digest(&digest::SHA256, &file.bytes).as_ref());
                file.warnings.iter().for_each(|warning| context.update(warning.as_bytes()));
            }
            Err(error) => context.update(error.kind().to_string().as_bytes()),
        }
    }
    context.finish().as_ref().to_vec()
}
