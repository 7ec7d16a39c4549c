//! `agency.toml` as it is written, section by section.

use super::not_handled::NotHandledWritten;
use crate::domain::Effect;
use serde::Deserialize;

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProtocolWritten {
    #[serde(rename = "soap-1.1")]
    Soap11,
    #[serde(rename = "soap-1.2")]
    Soap12,
    #[serde(rename = "rest")]
    Rest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsWritten {
    pub concurrency: u32,
    pub requests_per_second: Option<u32>,
    pub connect_timeout_secs: f64,
    pub keep_alive_secs: f64,
    pub answer_max_bytes: usize,
}

impl Default for LimitsWritten {
    fn default() -> Self {
        Self {
            concurrency: 4,
            requests_per_second: None,
            connect_timeout_secs: 5.0,
            keep_alive_secs: 4.0,
            answer_max_bytes: 4 << 20,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BreakerWritten {
    pub failures: u32,
    pub cooldown_secs: f64,
}

impl Default for BreakerWritten {
    fn default() -> Self {
        Self { failures: 5, cooldown_secs: 30.0 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProbeWritten {
    #[serde(default = "get")]
    pub method: String,
    #[serde(default)]
    pub path: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OperationWritten {
    pub effect: Effect,
    pub deadline_secs: f64,
    #[serde(default = "default_timeout_secs")]
    pub timeout_secs: f64,
    #[serde(default)]
    pub correlates: CorrelatesWritten,
    /// In the place of the agency's own.
    pub not_handled: Option<Vec<NotHandledWritten>>,
    /// Elements that are arrays in JSON even when they come once.
    #[serde(default)]
    pub lists: Vec<String>,
    pub method: Option<String>,
    #[serde(default)]
    pub path: String,
    pub soap_action: Option<String>,
    pub media_type: Option<String>,
    pub accept: Option<String>,
    pub lookup: Option<ExchangeWritten>,
}

/// `correlates = true`, or `{ cannot = "why" }`. A bare `false` is read, so that it can be refused in words.
#[derive(Deserialize)]
#[serde(untagged, expecting = "write true, or { cannot = \"the reason\" }")]
pub(super) enum CorrelatesWritten {
    Plain(bool),
    Cannot(CannotWritten),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CannotWritten {
    pub cannot: String,
}

impl Default for CorrelatesWritten {
    fn default() -> Self {
        Self::Plain(true)
    }
}

/// How a request is addressed.
#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct ExchangeWritten {
    pub method: Option<String>,
    #[serde(default)]
    pub path: String,
    pub soap_action: Option<String>,
    pub media_type: Option<String>,
    pub accept: Option<String>,
}

impl OperationWritten {
    pub fn request(&self) -> ExchangeWritten {
        ExchangeWritten {
            method: self.method.clone(),
            path: self.path.clone(),
            soap_action: self.soap_action.clone(),
            media_type: self.media_type.clone(),
            accept: self.accept.clone(),
        }
    }
}

fn get() -> String {
    "GET".into()
}

fn default_timeout_secs() -> f64 {
    30.0
}
