//! Names of files and folders come in; the messages' files in a fixed order, and their bytes, go out.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// More than any verifier takes, so that a huge file is refused by the verifier's own rule.
const MAX_BYTES: u64 = 17 << 20;

/// A folder stands for all files in it and below, in the order of their names; hidden ones are left out.
pub fn listed(named: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in named {
        match path.is_dir() {
            true => add_folder(path, &mut found),
            false => found.push(path.clone()),
        }
    }
    found
}

fn add_folder(folder: &Path, found: &mut Vec<PathBuf>) {
    // What cannot be listed is judged like a message that cannot be read: it must not pass in silence.
    let Ok(entries) = std::fs::read_dir(folder) else { return found.push(folder.to_owned()) };
    let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.retain(|path| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")));
    paths.sort();
    for path in paths {
        match path.is_dir() && !path.is_symlink() {
            true => add_folder(&path, found),
            false => found.push(path),
        }
    }
}

/// What is larger than any message is cut off where nobody reads any more.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    match bytes.len() as u64 == MAX_BYTES {
        true => Err(format!("{}: it is larger than 16 MiB", path.display())),
        false => Ok(bytes),
    }
}
