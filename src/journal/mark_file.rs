//! The mark's copy in a folder of this process: a mark comes in, and is there after any crash.

use crate::domain::Mark;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    fs::{DirBuilder, File, Metadata},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
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

/// The one mark of an installation: it is found whatever the journal's own file is called.
#[derive(Debug, Clone)]
pub struct MarkFile {
    folder: PathBuf,
}

/// What the folder knows of the mark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    pub kept: Vec<(PathBuf, Kept)>,
    /// What is there and cannot be read may say that the journal is an older one.
    pub unreadable: Vec<Unreadable>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub path: PathBuf,
    pub why: String,
    /// When it was changed last, be it in content, name or rights. Nobody can set this back.
    pub changed_at: Option<Timestamp>,
}

const NAME: &str = "journal-mark.json";
/// Earlier releases named the file after the journal's.
const ENDING: &str = "-mark.json";
const LONGEST_BYTES: u64 = 64 << 10;

impl MarkFile {
    /// In a folder of this user alone, which is made if need be.
    pub fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    pub fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    pub fn is_gone(&self) -> bool {
        is_gone(&self.path())
    }

    /// Those by names of earlier releases, too.
    pub fn find(&self) -> Found {
        let mut found = Found::default();
        match self.names() {
            Ok(paths) => paths.into_iter().for_each(|path| found.add(path)),
            Err(error) => found.unreadable.push(Unreadable::new(self.folder.clone(), error.to_string())),
        }
        found
    }

    fn names(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ENDING)) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    /// The old one or the new one is there at every moment, and the new one for good afterwards. Other processes may share
    /// the folder, and be ahead: then theirs stays.
    pub fn write(&self, kept: &Kept) -> io::Result<()> {
        let path = self.path();
        let is_ahead = |there: &Kept| there.mark.journal == kept.mark.journal && there.mark.at > kept.mark.at;
        match read(&path) {
            Ok(there) if is_ahead(&there) => return Ok(()),
            Ok(_) => {}
            Err(_) if is_gone(&path) => {}
            Err(why) => {
                tracing::error!(place = %path.display(), why, "the copy of the journal's mark cannot be read, and is made anew");
                // Nothing takes the place of a folder.
                if path.is_dir() {
                    put_aside(&path)?;
                }
            }
        }
        let mut file = NamedTempFile::new_in(&self.folder)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.as_file().sync_data()?;
        give_to_owner_of(&self.folder, file.as_file());
        file.persist(&path).map_err(|error| error.error)?;
        File::open(&self.folder)?.sync_all()
    }

    /// The same, in place of all that was found there.
    pub fn replace(&self, found: &Found, kept: &Kept) -> io::Result<()> {
        self.write(kept)?;
        let old = found.kept.iter().map(|(path, _)| path).filter(|path| **path != self.path());
        for path in old {
            std::fs::remove_file(path)?;
        }
        let odd =
            found.unreadable.iter().map(|it| &it.path).filter(|path| **path != self.path() && **path != self.folder);
        odd.filter(|path| !is_gone(path)).try_for_each(|path| put_aside(path))
    }
}

impl Found {
    fn add(&mut self, path: PathBuf) {
        match read(&path) {
            Ok(kept) => self.kept.push((path, kept)),
            // Another process has just taken it over.
            Err(_) if is_gone(&path) => {}
            Err(why) => self.unreadable.push(Unreadable::new(path, why)),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.unreadable.is_empty()
    }
}

impl Unreadable {
    fn new(path: PathBuf, why: String) -> Self {
        let changed = |it: Metadata| Timestamp::new(it.ctime(), i32::try_from(it.ctime_nsec()).ok()?).ok();
        let changed_at = std::fs::symlink_metadata(&path).ok().and_then(changed);
        Self { path, why, changed_at }
    }
}

fn read(path: &Path) -> Result<Kept, String> {
    let in_words = |error: io::Error| error.to_string();
    // Who opens a pipe waits for its other end.
    if !path.metadata().map_err(in_words)?.is_file() {
        return Err("it is no file".into());
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LONGEST_BYTES).read_to_end(&mut bytes)).map_err(in_words)?;
    if bytes.is_empty() {
        return Err("it is empty".into());
    }
    serde_json::from_slice(&bytes).map_err(|_| "it holds no mark".into())
}

fn is_gone(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn put_aside(path: &Path) -> io::Result<()> {
    let named = |number: u32| PathBuf::from(format!("{}.unreadable-{number}", path.display()));
    let free = (1..).map(named).find(|aside| is_gone(aside));
    free.map_or(Ok(()), |aside| std::fs::rename(path, aside))
}

/// An operator may be root, and the process must be able to read it all the same. Nobody else can give files away.
fn give_to_owner_of(folder: &Path, file: &File) {
    if let Ok(folder) = folder.metadata() {
        let _ = std::os::unix::fs::fchown(file, Some(folder.uid()), Some(folder.gid()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(second: i64) -> Kept {
        let mark = Mark { journal: "a".into(), at: Timestamp::from_second(second).unwrap() };
        Kept { mark, sent_before_restore: None }
    }

    #[test]
    fn what_was_written_is_found_and_never_goes_back() {
        let home = tempfile::tempdir().unwrap();
        let file = MarkFile::open(&home.path().join("made/here")).unwrap();
        assert!(file.find().is_empty());
        for kept in [mark(1), Kept { sent_before_restore: Some(Timestamp::UNIX_EPOCH), ..mark(2) }] {
            file.write(&kept).unwrap();
            assert_eq!(file.find().kept, [(file.path(), kept)]);
        }
        file.write(&mark(1)).unwrap();
        assert_eq!(file.find().kept[0].1.mark, mark(2).mark);
        assert_eq!(std::fs::read_dir(file.path().parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn whatever_is_there_and_is_no_mark_is_not_taken_for_none() {
        use std::os::unix::fs::symlink;
        let home = tempfile::tempdir().unwrap();
        let file = MarkFile::open(home.path()).unwrap();
        let path = file.path();
        let spoil: [&dyn Fn(); 5] = [
            &|| std::fs::write(&path, "").unwrap(),
            &|| std::fs::write(&path, "{\"mark\"").unwrap(),
            &|| std::fs::create_dir(&path).unwrap(),
            &|| symlink(home.path().join("nowhere"), &path).unwrap(),
            &|| {
                rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
                    .unwrap()
            },
        ];
        for spoil in spoil {
            spoil();
            let found = file.find();
            assert!(found.kept.is_empty() && found.unreadable.len() == 1, "{found:?}");
            assert!(found.unreadable[0].changed_at.is_some() && !found.unreadable[0].why.is_empty());
            file.replace(&found, &mark(1)).unwrap();
            assert_eq!(file.find(), Found { kept: vec![(path.clone(), mark(1))], unreadable: vec![] });
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn marks_by_the_names_of_earlier_releases_are_found_and_taken_over() {
        let home = tempfile::tempdir().unwrap();
        let file = MarkFile::open(home.path()).unwrap();
        std::fs::write(home.path().join("tuesday-mark.json"), serde_json::to_vec(&mark(5)).unwrap()).unwrap();
        std::fs::write(home.path().join("monday-mark.json"), "").unwrap();
        let found = file.find();
        assert_eq!((found.kept.len(), found.unreadable.len()), (1, 1));
        file.replace(&found, &mark(6)).unwrap();
        assert_eq!(file.find(), Found { kept: vec![(file.path(), mark(6))], unreadable: vec![] });
    }
}
