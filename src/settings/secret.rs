//! A text that must not be printed: it comes from a file or the environment and goes only where it is asked for.

use super::address::fault_of_form;
use crate::secret_file;
use serde::{Deserialize, Serialize, Serializer};
use std::{fmt, io, path::Path};

#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The file's text without the mark of an editor and the white space around it; and what everybody could do to it.
    pub fn from_file(path: &Path) -> io::Result<(Self, Vec<String>)> {
        let file = secret_file::read(path)?;
        let no_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8");
        let text = String::from_utf8(file.bytes).map_err(no_text)?;
        Ok((Self(text.trim_start_matches('\u{feff}').trim().to_owned()), file.warnings))
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Written out, it shows what may be known: where an address leads, and never a password.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&shown(&self.0))
    }
}

/// Of an address whose path may be a secret: where it leads.
pub(super) fn origin<S: Serializer>(address: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match reqwest::Url::parse(address) {
        Ok(url) if url.has_host() => serializer.serialize_str(&format!("{}/…", url.origin().ascii_serialization())),
        Ok(_) | Err(_) => serializer.serialize_str("…"),
    }
}

fn shown(text: &str) -> String {
    if text.starts_with("sqlite:") {
        return text.to_owned();
    }
    let Some((scheme, _)) = text.split_once("://") else { return "…".into() };
    // An address that is not quite right may have its password anywhere.
    match reqwest::Url::parse(text) {
        Ok(url) if url.host_str().is_some() && fault_of_form(text).is_none() => {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            let user = if url.username().is_empty() { "" } else { "…@" };
            format!("{scheme}://{user}{}{port}{}", url.host_str().unwrap_or_default(), url.path())
        }
        Ok(_) | Err(_) => format!("{scheme}://…"),
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_webhook_only_the_server_is_shown() {
        #[derive(Serialize)]
        struct Webhook(#[serde(serialize_with = "origin")] String);
        let shown = |url: &str| serde_json::to_string(&Webhook(url.into())).unwrap();
        assert_eq!(shown("https://u:canary@hooks.example:8443/canary?canary"), "\"https://hooks.example:8443/…\"");
        assert_eq!(shown("canary"), "\"…\"");
    }

    #[test]
    fn where_a_secret_address_leads_is_shown_and_who_asks_there_is_not() {
        assert_eq!(shown("sqlite:/var/lib/punte/journal.db"), "sqlite:/var/lib/punte/journal.db");
        assert_eq!(shown("postgres://punte:canary@db:5432/punte?password=canary"), "postgres://…@db:5432/punte");
        assert_eq!(shown("amqps://canary:canary@mq.example/%2f"), "amqps://…@mq.example/%2f");
        for odd in [
            "amqps://u:canary/b@c@h:5671/v",
            "amqp://u:p@h/canary#1",
            "postgres://u:1/canary@h/d",
            "canary",
            "amqp://:canary@",
        ] {
            assert!(!shown(odd).contains("canary"), "{odd}");
        }
    }
}
