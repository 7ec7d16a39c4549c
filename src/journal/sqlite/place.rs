//! The journal's files as they were opened: their paths come in; whether they are still at their places goes out. What is
//! written to a file that was removed is gone when its process ends.

use super::beside::log_of;
use crate::journal::JournalError;
use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

#[derive(Clone)]
pub struct Place {
    path: PathBuf,
    /// Each with its device and its number there.
    files: Vec<(PathBuf, (u64, u64))>,
}

impl Place {
    /// Once they are open.
    pub fn of(path: &Path) -> Self {
        let files = [path.to_owned(), log_of(path)].into_iter().filter_map(|file| {
            let number = number_of(&file)?;
            Some((file, number))
        });
        Self { path: path.to_owned(), files: files.collect() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file itself is still there: its log goes with the last connection.
    pub fn has_file(&self) -> bool {
        self.files.first().is_none_or(|(file, number)| number_of(file) == Some(*number))
    }

    pub fn check(&self) -> Result<(), JournalError> {
        let lost = self.files.iter().find(|(file, number)| number_of(file) != Some(*number));
        lost.map_or(Ok(()), |(file, _)| {
            Err(JournalError::Unavailable(format!(
                "its file {} was removed, moved or replaced while Punte runs, and nothing more is written to what is gone: put \
                 the same file back; or stop Punte, and put a backup in place with `punte journal restore`",
                file.display()
            )))
        })
    }
}

fn number_of(file: &Path) -> Option<(u64, u64)> {
    file.metadata().ok().map(|it| (it.dev(), it.ino()))
}
