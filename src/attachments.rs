//! Files that offices upload: bytes come in as a stream and lie on disk under their identifier; the same bytes go out.
//!
//! A file appears under its name only when it is whole and fsynced; one that was broken off leaves nothing behind.
//! Layout: `<folder>/<last two digits of the id>/<id>`, and `<folder>/incoming/` for what is still arriving.

use crate::domain::{AttachmentId, AttachmentRef, lower_hex};
use aws_lc_rs::digest;
use std::{
    fs::DirEntry,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tempfile::{NamedTempFile, TempPath};
use tokio::io::AsyncWriteExt;

/// Where files lie while they are arriving.
const INCOMING: &str = "incoming";
/// After this long, a file that is still arriving belongs to a process that is gone.
const STALE: Duration = Duration::from_secs(86_400);

#[derive(Debug, Clone)]
pub struct AttachmentStore {
    folder: PathBuf,
}

/// A file that is still arriving. Dropping it removes what has arrived.
pub struct Arriving {
    file: tokio::fs::File,
    path: TempPath,
    digest: digest::Context,
    size_bytes: u64,
    folder: PathBuf,
}

/// What is known of a file that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    pub sha256: [u8; 32],
    pub size_bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum AttachmentError {
    #[error("the attachment cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("the attachment's bytes are not those that were uploaded")]
    Changed,
}

impl AttachmentStore {
    /// Makes the folder if need be, and removes what processes that are gone have left half-done.
    pub fn open(folder: &Path) -> io::Result<Self> {
        // For this user alone: the files are citizens' papers.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.join(INCOMING))?;
        let store = Self { folder: folder.to_owned() };
        store.remove_half_done()?;
        Ok(store)
    }

    pub fn begin(&self) -> io::Result<Arriving> {
        let (file, path) = NamedTempFile::new_in(self.folder.join(INCOMING))?.into_parts();
        Ok(Arriving {
            file: tokio::fs::File::from_std(file),
            path,
            digest: digest::Context::new(&digest::SHA256),
            size_bytes: 0,
            folder: self.folder.clone(),
        })
    }

    /// The bytes of an attachment, which are certainly those that were uploaded.
    pub async fn read(&self, attachment: &AttachmentRef) -> Result<Vec<u8>, AttachmentError> {
        let bytes = tokio::fs::read(path_of(&self.folder, attachment.id)).await?;
        let digest = digest::digest(&digest::SHA256, &bytes);
        if lower_hex(digest.as_ref()) != attachment.sha256 {
            return Err(AttachmentError::Changed);
        }
        Ok(bytes)
    }

    /// The files that were last written longer ago than this. What is not named as an attachment is none of ours.
    pub fn older_than(&self, age: Duration) -> io::Result<Vec<AttachmentId>> {
        let mut old = Vec::new();
        for folder in std::fs::read_dir(&self.folder)? {
            let folder = folder?;
            if !folder.file_type()?.is_dir() {
                continue;
            }
            for file in std::fs::read_dir(folder.path())? {
                let file = file?;
                let id = file.file_name().to_str().and_then(|name| name.parse().ok());
                let id = id.filter(|id| path_of(&self.folder, *id) == file.path());
                old.extend(id.filter(|_| is_older_than(&file, age)));
            }
        }
        Ok(old)
    }

    /// Removes what processes that are gone have left half-done.
    pub fn remove_half_done(&self) -> io::Result<()> {
        let incoming = std::fs::read_dir(self.folder.join(INCOMING))?.flatten();
        for file in incoming.filter(|file| is_older_than(file, STALE)) {
            // What cannot be removed now is found again the next time.
            let _ = std::fs::remove_file(file.path());
        }
        Ok(())
    }

    /// Removes the file; it is no failure if there is none.
    pub async fn remove(&self, id: AttachmentId) -> io::Result<()> {
        match tokio::fs::remove_file(path_of(&self.folder, id)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Arriving {
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.digest.update(bytes);
        self.size_bytes += bytes.len() as u64;
        Ok(())
    }

    /// The digest of what has arrived so far.
    pub fn sha256(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.digest.clone().finish().as_ref());
        bytes
    }

    /// Gives the file its name. After that it survives a crash.
    pub async fn keep(mut self, id: AttachmentId) -> io::Result<Arrived> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        let arrived = Arrived { sha256: self.sha256(), size_bytes: self.size_bytes };
        let target = path_of(&self.folder, id);
        let folder = target.parent().unwrap_or(&self.folder).to_owned();
        tokio::fs::create_dir_all(&folder).await?;
        self.path.persist(&target).map_err(|error| error.error)?;
        // The name itself is durable only once the folder is (fsync(2)).
        for folder in [&folder, &self.folder] {
            tokio::fs::File::open(folder).await?.sync_all().await?;
        }
        Ok(arrived)
    }
}

/// A file that is gone meanwhile, or that was written in the future, is not.
fn is_older_than(file: &DirEntry, age: Duration) -> bool {
    let written = file.metadata().and_then(|it| it.modified());
    written.is_ok_and(|written| written.elapsed().is_ok_and(|old| old > age))
}

/// Identifiers begin with the time, so their ends spread better over folders.
fn path_of(folder: &Path, id: AttachmentId) -> PathBuf {
    let name = id.to_string();
    let spread = name.get(name.len().saturating_sub(2)..).unwrap_or_default();
    folder.join(spread).join(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> usize {
        let entries = std::fs::read_dir(folder).unwrap().flatten();
        entries.map(|it| if it.path().is_dir() { files(&it.path()) } else { 1 }).sum()
    }

    fn reference(id: AttachmentId, arrived: &Arrived) -> AttachmentRef {
        AttachmentRef {
            id,
            sha256: lower_hex(arrived.sha256),
            size_bytes: arrived.size_bytes,
            media_type: "application/pdf".into(),
            name: "a.pdf".into(),
        }
    }

    #[tokio::test]
    async fn what_was_kept_is_read_back_and_can_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = AttachmentStore::open(folder.path()).unwrap();
        let mut arriving = store.begin().unwrap();
        arriving.write(b"ab").await.unwrap();
        arriving.write(b"c").await.unwrap();
        let id = AttachmentId::new();
        let arrived = arriving.keep(id).await.unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((lower_hex(arrived.sha256).as_str(), arrived.size_bytes), (abc, 3));
        assert_eq!(store.read(&reference(id, &arrived)).await.unwrap(), b"abc");
        store.remove(id).await.unwrap();
        store.remove(id).await.unwrap();
        assert_eq!(files(folder.path()), 0);
    }

    #[tokio::test]
    async fn old_files_are_found_by_their_names_and_what_has_another_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = AttachmentStore::open(folder.path()).unwrap();
        let (old, young) = (AttachmentId::new(), AttachmentId::new());
        for id in [old, young] {
            store.begin().unwrap().keep(id).await.unwrap();
        }
        let two_hours_ago = std::time::SystemTime::now() - Duration::from_secs(7200);
        let foreign = path_of(folder.path(), old).with_file_name("notes.txt");
        std::fs::write(&foreign, "theirs").unwrap();
        for path in [path_of(folder.path(), old), foreign] {
            std::fs::File::options().write(true).open(path).unwrap().set_modified(two_hours_ago).unwrap();
        }
        assert_eq!(store.older_than(Duration::from_secs(3600)).unwrap(), [old]);
        assert_eq!(store.older_than(Duration::from_secs(9000)).unwrap(), []);
    }

    #[tokio::test]
    async fn nobody_else_on_the_machine_can_read_them() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("attachments");
        let id = AttachmentId::new();
        AttachmentStore::open(&folder).unwrap().begin().unwrap().keep(id).await.unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o077;
        assert_eq!((mode(&folder), mode(&folder.join("incoming")), mode(&path_of(&folder, id))), (0, 0, 0));
    }

    #[tokio::test]
    async fn what_was_broken_off_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = AttachmentStore::open(folder.path()).unwrap();
        let mut arriving = store.begin().unwrap();
        arriving.write(b"half").await.unwrap();
        assert_eq!(files(folder.path()), 1);
        drop(arriving);
        assert_eq!(files(folder.path()), 0);
    }

    #[tokio::test]
    async fn bytes_that_were_changed_on_disk_are_not_handed_out() {
        let folder = tempfile::tempdir().unwrap();
        let store = AttachmentStore::open(folder.path()).unwrap();
        let mut arriving = store.begin().unwrap();
        arriving.write(b"abc").await.unwrap();
        let id = AttachmentId::new();
        let arrived = arriving.keep(id).await.unwrap();
        std::fs::write(path_of(folder.path(), id), b"abd").unwrap();
        assert!(matches!(store.read(&reference(id, &arrived)).await, Err(AttachmentError::Changed)));
    }
}
