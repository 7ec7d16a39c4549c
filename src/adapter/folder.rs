//! A folder comes in; what lies in it goes out, in order.

use std::path::{Path, PathBuf};

/// What lies in a folder, in the order of names, without hidden files.
pub(super) fn entries(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| Some((entry.path(), entry.file_name().into_string().ok()?)));
    let mut found: Vec<_> = named.filter(|(_, name)| !name.starts_with('.')).collect();
    found.sort();
    found
}
