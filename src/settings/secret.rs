//! A text that must not be printed: it comes from a file or the environment and goes only where it is asked for.

use serde::Deserialize;
use std::{fmt, io, path::Path};

#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The file's text without the white space around it.
    pub fn from_file(path: &Path) -> io::Result<Self> {
        std::fs::read_to_string(path).map(|text| Self(text.trim().to_owned()))
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
