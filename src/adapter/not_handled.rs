//! What an agency's folder declares to mean that a request was certainly not handled: statuses of its answers, and moments of
//! the exchange. Nothing else than such a declaration makes certain what nobody has signed.

use super::Coverage;
use crate::settings::ConfigFaults;
use serde::Deserialize;
use std::path::Path;

/// Nothing, unless the folder says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotHandled {
    statuses: Vec<u16>,
    moments: Vec<DeclaredMoment>,
}

/// A moment after the request was given to a connection, of which a folder may say that nothing was handled by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclaredMoment {
    /// In TLS 1.3 the server's part of the handshake ends after ours: it refuses our certificate there, before it has said
    /// anything else on the connection.
    CertificateAlert,
}

impl DeclaredMoment {
    pub const ALL: [Self; 1] = [Self::CertificateAlert];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::CertificateAlert => "certificate-alert",
        }
    }
}

/// One entry of the list as it is written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "write statuses and moments, e.g. [429, 503, \"certificate-alert\"]")]
pub(super) enum NotHandledWritten {
    Status(i64),
    Moment(String),
}

impl NotHandled {
    pub fn of_moments(moments: impl IntoIterator<Item = DeclaredMoment>) -> Self {
        Self { statuses: Vec::new(), moments: moments.into_iter().collect() }
    }

    pub fn has_status(&self, status: u16) -> bool {
        self.statuses.contains(&status)
    }

    pub fn has_moment(&self, moment: DeclaredMoment) -> bool {
        self.moments.contains(&moment)
    }

    /// What can be used of `written`; `coverage`: what the agency signs of its answers.
    pub(super) fn check(
        file: &Path,
        key: &str,
        written: &[NotHandledWritten],
        coverage: Coverage,
        faults: &mut ConfigFaults,
    ) -> Self {
        let mut declared = Self::default();
        for entry in written {
            if let Err(remedy) = declared.add(entry) {
                let entry = match entry {
                    NotHandledWritten::Status(status) => status.to_string(),
                    NotHandledWritten::Moment(word) => format!("{word:?}"),
                };
                faults.add(file, key, format!("{entry} says no such thing"), remedy);
            }
        }
        if coverage.is_signed() && !written.is_empty() {
            let problem = "the agency signs its answers, and neither a status nor an end of the connection is signed with \
                           a word of our request";
            let remedy =
                "remove it, and have the filter read what is signed: {fault: {…, transient: true}, reference: …}";
            faults.add(file, key, problem, remedy);
        }
        declared
    }

    /// Only a status that speaks of a failure, and only a moment that can be told for certain.
    fn add(&mut self, entry: &NotHandledWritten) -> Result<(), &'static str> {
        match entry {
            NotHandledWritten::Status(status) => {
                let status = u16::try_from(*status).ok().filter(|status| (400..=599).contains(status));
                self.statuses.push(status.ok_or("name statuses from 400 to 599, e.g. [429, 503]")?);
            }
            NotHandledWritten::Moment(word) => {
                let moment = DeclaredMoment::ALL.into_iter().find(|moment| moment.as_str() == word);
                self.moments.push(moment.ok_or_else(|| remedy_for(word))?);
            }
        }
        Ok(())
    }
}

fn remedy_for(word: &str) -> &'static str {
    match word {
        "goaway" | "refused-stream" => {
            "remove it: only HTTP/2 has such moments, and agencies are spoken to in HTTP/1.1; \"certificate-alert\" is the \
             only moment that can be named"
        }
        _ => "\"certificate-alert\" is the only moment that can be named",
    }
}
