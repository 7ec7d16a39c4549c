//! Files that hold secrets: a path comes in, the bytes go out, and with them what everybody on this machine could do to the
//! file. Every secret is read here, so that none is read without a look at its rights.
//!
//! Who belongs to a file's group is left to the operator: services share keys in this way. Everybody is too many.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// What was read, and what should be known of its rights.
pub struct SecretFile {
    pub bytes: Vec<u8>,
    pub warnings: Vec<String>,
}

const READ_BY_ALL: u32 = 0o004;
const WRITTEN_BY_ALL: u32 = 0o002;
/// In such a folder, as /tmp is, only a file's owner can put another one in its place.
const STICKY: u32 = 0o1000;

pub fn read(path: &Path) -> io::Result<SecretFile> {
    Ok(SecretFile { bytes: fs::read(path)?, warnings: exposures(path) })
}

/// What everybody could do to a file that holds a secret.
pub fn exposures(path: &Path) -> Vec<String> {
    let Some(mode) = mode_of(path) else { return Vec::new() };
    let can = match (mode & READ_BY_ALL != 0, mode & WRITTEN_BY_ALL != 0) {
        (true, true) => Some("read and write it"),
        (true, false) => Some("read it"),
        (false, true) => Some("write it"),
        (false, false) => None,
    };
    let shown = path.display();
    let told = |can| {
        format!("{shown} holds a secret, and everybody on this machine may {can} (mode {mode:04o}): chmod 640 {shown}")
    };
    can.map(told).into_iter().chain(replaceable(path)).collect()
}

/// What everybody could do to a file that says whom to trust.
pub fn changeable(path: &Path) -> Vec<String> {
    let shown = path.display();
    let written = mode_of(path).filter(|mode| mode & WRITTEN_BY_ALL != 0);
    let told = |mode| {
        format!(
            "{shown} says whom to trust, and everybody on this machine may write it (mode {mode:04o}): chmod o-w {shown}"
        )
    };
    written.map(told).into_iter().chain(replaceable(path)).collect()
}

/// A folder above it in which everybody may put another file, or another folder, in its place.
fn replaceable(path: &Path) -> Option<String> {
    let written = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // A link can be changed where it stands, and what it leads to where that stands.
    let real = path.canonicalize().unwrap_or_else(|_| written.clone());
    let folders: BTreeSet<&Path> = written.ancestors().skip(1).chain(real.ancestors().skip(1)).collect();
    let open = folders.into_iter().find_map(|folder| {
        let mode = mode_of(folder)?;
        (mode & WRITTEN_BY_ALL != 0 && mode & STICKY == 0).then_some((folder, mode))
    });
    let (folder, mode) = open?;
    let (shown, folder) = (path.display(), folder.display());
    Some(format!(
        "{shown} can be replaced: everybody on this machine may write in the folder {folder} (mode {mode:04o}): \
         chmod o-w {folder}"
    ))
}

fn mode_of(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|metadata| metadata.permissions().mode() & 0o7777)
}

const LARGEST: u64 = 64 << 10;
const DEEPEST: usize = 8;
const MOST: usize = 10_000;

/// The same of every file below a folder of secrets, also of those that nobody names: throw-away keys, copies of old ones.
pub fn exposed_below(folder: &Path) -> Vec<String> {
    let (mut folders, mut warnings, mut seen) = (vec![(folder.to_owned(), 0)], Vec::new(), 0);
    while let Some((folder, depth)) = folders.pop() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(&folder).into_iter().flatten().flatten().map(|it| it.path()).collect();
        entries.sort();
        for path in entries {
            seen += 1;
            match fs::metadata(&path) {
                _ if seen > MOST => return warnings,
                Ok(metadata) if metadata.is_dir() && depth < DEEPEST => folders.push((path, depth + 1)),
                Ok(metadata) if metadata.is_file() && metadata.len() <= LARGEST => warnings.extend(exposed(&path)),
                Ok(_) | Err(_) => {}
            }
        }
    }
    warnings
}

/// Most files there have good rights, and are not read.
fn exposed(path: &Path) -> Vec<String> {
    let warnings = exposures(path);
    let is_secret = || {
        let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
        ["key", "p12", "pfx", "jks"].contains(&extension) || fs::read(path).is_ok_and(|bytes| holds_secret(&bytes))
    };
    if !warnings.is_empty() && is_secret() { warnings } else { Vec::new() }
}

fn holds_secret(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let is_key = text.lines().any(|line| line.contains("-----BEGIN") && line.contains("PRIVATE KEY-----"));
    is_key || text.split_whitespace().any(is_secret)
}

/// Whether a text gives a secret away: an address with a password in it, or a webhook's secret.
pub fn is_secret(text: &str) -> bool {
    if text.starts_with("whsec_") {
        return true;
    }
    let Some((_, rest)) = text.split_once("://") else { return false };
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    let credentials = rest.rsplit_once('@').map_or("", |(before, _)| before);
    // In a path, too, `@` may stand; but then a port stands after the colon, if there is one.
    let is_password = |(_, after): (&str, &str)| {
        let first = after.split('/').next().unwrap_or_default();
        first == after || !first.bytes().all(|byte| byte.is_ascii_digit())
    };
    query.split('&').any(|pair| pair.starts_with("password=")) || credentials.split_once(':').is_some_and(is_password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_everybody_may_read_write_or_replace_is_told_with_its_mode_and_the_way_out() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("keys");
        fs::create_dir(&folder).unwrap();
        let key = folder.join("server.key");
        fs::write(&key, "s3cret").unwrap();
        let shown = key.display();
        for (mode, can) in [(0o644, "may read it"), (0o666, "may read and write it"), (0o622, "may write it")] {
            set(&key, mode);
            let SecretFile { bytes, warnings } = read(&key).unwrap();
            assert_eq!(bytes, b"s3cret");
            let told = format!("{can} (mode {mode:04o}): chmod 640 {shown}");
            assert!(warnings.len() == 1 && warnings[0].ends_with(&told), "{warnings:?}");
        }
        for mode in [0o600, 0o640, 0o660, 0o400] {
            set(&key, mode);
            assert!(exposures(&key).is_empty(), "{mode:o}");
        }
        set(&folder, 0o777);
        let warnings = exposures(&key);
        assert!(
            warnings.len() == 1 && warnings[0].ends_with(&format!("chmod o-w {}", folder.display())),
            "{warnings:?}"
        );
        let link = home.path().join("link.key");
        std::os::unix::fs::symlink(&key, &link).unwrap();
        assert_eq!(exposures(&link).len(), 1, "what it leads to can be replaced");
        for mode in [0o1777, 0o775, 0o755] {
            set(&folder, mode);
            assert!(exposures(&key).is_empty() && changeable(&key).is_empty(), "{mode:o}");
        }
        set(&key, 0o666);
        assert!(changeable(&key)[0].contains("says whom to trust"));
        assert!(exposures(&folder.join("nothing")).is_empty());
    }

    #[test]
    fn below_a_folder_only_what_holds_a_secret_is_told() {
        let home = tempfile::tempdir().unwrap();
        let deeper = home.path().join("a/b");
        fs::create_dir_all(&deeper).unwrap();
        for (file, text, is_told) in [
            ("ca.pem", "-----BEGIN CERTIFICATE-----\n", false),
            ("both.pem", "-----BEGIN CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\n", true),
            ("old.key", "", true),
            ("hook", "whsec_MDEy\n", true),
            ("url", "amqps://u:p@h/v\n", true),
            ("README", "see https://punte.example/keys\n", false),
        ] {
            let path = deeper.join(file);
            fs::write(&path, text).unwrap();
            set(&path, 0o644);
            let told = exposed_below(home.path());
            assert_eq!(told.iter().any(|it| it.contains(file)), is_told, "{file}: {told:?}");
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn an_address_with_a_password_is_a_secret_and_one_without_is_none() {
        for secret in
            ["postgres://u:p@h/d", "amqps://u:a/b@c@h:5671/v", "postgres://h/d?user=u&password=p", "whsec_MDEy"]
        {
            assert!(is_secret(secret), "{secret}");
        }
        for open in [
            "postgres://u@h:5432/d",
            "https://h:8443/a@b",
            "sqlite:a:b@c",
            "https://h/",
            "amqp://localhost/%2f",
            "0.0.0.0:1",
        ] {
            assert!(!is_secret(open), "{open}");
        }
    }
}
