//! What the readers of one `agency.toml` share: what is known of it so far, and how a time is read.

use super::{Coverage, NotHandled, Protocol};
use crate::{catalogue::Catalogue, domain::AgencyName, settings::ConfigFaults};
use reqwest::Url;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// One `agency.toml` while it is read.
pub(super) struct Reader<'a> {
    pub agency: AgencyName,
    pub folder: &'a Path,
    pub file: PathBuf,
    pub catalogue: &'a Catalogue,
    pub protocol: Protocol,
    pub endpoint: Url,
    pub namespaces: BTreeMap<String, String>,
    /// What the signature of its answers covers.
    pub coverage: Coverage,
    /// Whether no two messages of ours have the same digest.
    pub is_sealed_anew: bool,
    /// For operations that say nothing else.
    pub not_handled: NotHandled,
}

/// More than nothing, and no more than `most`.
pub(super) fn seconds(file: &Path, key: &str, secs: f64, most: f64, faults: &mut ConfigFaults) -> Option<Duration> {
    let duration = Duration::try_from_secs_f64(secs).ok().filter(|it| !it.is_zero() && secs <= most);
    if duration.is_none() {
        faults.add(
            file,
            key,
            "is out of range",
            format!("must be a number of seconds, more than 0 and at most {most}"),
        );
    }
    duration
}
