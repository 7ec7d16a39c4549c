//! Which throw-away keys agencies need: the folder of the adapters comes in, names and kinds of keys go out.

use super::dev_pki::DevAgency;
use crate::trust::Algorithm;
use serde::Deserialize;
use std::{io, path::Path};

/// The only thing of an `agency.toml` that matters here; what else is wrong with it is told elsewhere.
#[derive(Deserialize)]
struct SealOnly {
    seal: AlgorithmOnly,
}

#[derive(Deserialize)]
struct AlgorithmOnly {
    algorithm: Option<Algorithm>,
}

/// Every folder with an `agency.toml`, in the order of their names, with the algorithm that its seal names.
pub fn dev_agencies(adapters: &Path) -> io::Result<Vec<DevAgency>> {
    let mut agencies = Vec::new();
    for entry in std::fs::read_dir(adapters)? {
        let entry = entry?;
        let Ok(text) = std::fs::read_to_string(entry.path().join("agency.toml")) else { continue };
        let written = toml::from_str::<SealOnly>(&text).ok().and_then(|file| file.seal.algorithm);
        let name = entry.file_name().to_string_lossy().into_owned();
        agencies.push(DevAgency { name, signing: written.unwrap_or(Algorithm::RsaSha256) });
    }
    agencies.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(agencies)
}
