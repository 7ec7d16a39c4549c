//! What is wrong in configuration: found in many places, reported at once, each with its place and the way out.

use std::{fmt, path::PathBuf};

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ConfigFault {
    /// Or the environment variable that the key comes from.
    pub file: PathBuf,
    /// From 1, where the key or its section is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The key, in dotted form; empty where the whole file is meant.
    pub key: String,
    pub problem: String,
    pub remedy: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigFaults(pub Vec<ConfigFault>);

impl ConfigFaults {
    pub fn add(
        &mut self,
        file: impl Into<PathBuf>,
        key: impl Into<String>,
        problem: impl fmt::Display,
        remedy: impl fmt::Display,
    ) {
        self.0.push(ConfigFault {
            file: file.into(),
            line: None,
            key: key.into(),
            problem: problem.to_string(),
            remedy: remedy.to_string(),
        });
    }

    /// Of a whole file that cannot be read beyond this line.
    pub fn add_at(&mut self, file: impl Into<PathBuf>, line: usize, problem: impl fmt::Display, remedy: &str) {
        self.add(file, "", problem, remedy);
        if let Some(fault) = self.0.last_mut() {
            fault.line = Some(line);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn extend(&mut self, more: ConfigFaults) {
        self.0.extend(more.0);
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.problem)?;
        if !self.remedy.is_empty() {
            write!(f, " → {}", self.remedy)?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.0 {
            writeln!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigFaults {}
