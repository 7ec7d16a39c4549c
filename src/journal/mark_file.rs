//! The mark's copy in a folder of this process: a mark comes in, and is there after any crash.

use crate::domain::Mark;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    fs::{DirBuilder, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    pub mark: Mark,
    /// An operator has confirmed an earlier state of the journal: what was sent until then may be missing in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_before_restore: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct MarkFile(PathBuf);

impl MarkFile {
    /// In a folder of this user alone, which is made if need be. `journal`: its name, as several may be kept there.
    pub fn open(folder: &Path, journal: &str) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self(folder.join(format!("{journal}-mark.json"))))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `None`: there is none. What cannot be read is an error: it may say that the journal is an older one.
    pub fn read(&self) -> io::Result<Option<Kept>> {
        match std::fs::read(&self.0) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The old one or the new one is there at every moment, and the new one for good afterwards.
    pub fn write(&self, kept: &Kept) -> io::Result<()> {
        let folder = self.0.parent().unwrap_or(Path::new("."));
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.as_file().sync_data()?;
        file.persist(&self.0).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_cannot_be_read_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let file = MarkFile::open(&home.path().join("made/here"), "journal").unwrap();
        assert_eq!(file.read().unwrap(), None);
        let mark = Mark { journal: "a".into(), at: Timestamp::UNIX_EPOCH };
        for sent_before_restore in [None, Some(Timestamp::UNIX_EPOCH)] {
            let kept = Kept { mark: mark.clone(), sent_before_restore };
            file.write(&kept).unwrap();
            assert_eq!(file.read().unwrap(), Some(kept));
        }
        std::fs::write(file.path(), "half").unwrap();
        assert!(file.read().is_err());
        assert_eq!(std::fs::read_dir(file.path().parent().unwrap()).unwrap().count(), 1);
    }
}
