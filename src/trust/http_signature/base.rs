//! A message and the names of its covered components come in; the signature base of RFC 9421 §2.5 goes out.

use super::{HttpMessage, HttpStart};
use http::{HeaderName, Uri};
use std::fmt::Write;

const DERIVED: [&str; 8] =
    ["@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query", "@status"];

/// A derived component that Punte knows, or a header's name in lower case. Component parameters are not supported.
pub fn is_component(name: &str) -> bool {
    match name.starts_with('@') {
        true => DERIVED.contains(&name),
        false => HeaderName::from_bytes(name.as_bytes()).is_ok_and(|header| header.as_str() == name),
    }
}

/// `None` when the message does not have a component. `params` is the signature parameters' own serialisation.
pub(super) fn signature_base(message: &HttpMessage<'_>, components: &[String], params: &str) -> Option<String> {
    let mut base = String::new();
    for name in components {
        let value = value_of(message, name)?;
        // A line break inside a value would forge another line.
        if value.contains(['\r', '\n']) {
            return None;
        }
        let _ = writeln!(base, "\"{name}\": {value}");
    }
    let _ = write!(base, "\"@signature-params\": {params}");
    Some(base)
}

fn value_of(message: &HttpMessage<'_>, name: &str) -> Option<String> {
    if !name.starts_with('@') {
        return field(message, name);
    }
    match (message.start, name) {
        (HttpStart::Response { status }, "@status") => Some(status.as_u16().to_string()),
        (HttpStart::Response { .. }, _) => None,
        (HttpStart::Request { method, .. }, "@method") => Some(method.as_str().to_owned()),
        (HttpStart::Request { uri, .. }, name) => of_uri(uri, name),
    }
}

/// RFC 9421 §2.2, with the normalisation of RFC 9110 §4.2.3: lower case, no default port, never an empty path.
fn of_uri(uri: &Uri, name: &str) -> Option<String> {
    let scheme = || uri.scheme_str().map(str::to_ascii_lowercase);
    let path = || if uri.path().is_empty() { "/" } else { uri.path() };
    let query = || uri.query().map(|query| format!("?{query}"));
    match name {
        "@scheme" => scheme(),
        "@authority" => authority(uri),
        "@target-uri" => Some(format!("{}://{}{}{}", scheme()?, authority(uri)?, path(), query().unwrap_or_default())),
        "@request-target" => Some(format!("{}{}", path(), query().unwrap_or_default())),
        "@path" => Some(path().to_owned()),
        "@query" => Some(query().unwrap_or_else(|| "?".into())),
        _ => None,
    }
}

fn authority(uri: &Uri) -> Option<String> {
    let host = uri.host()?.to_ascii_lowercase();
    let default = match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    };
    match uri.port_u16() {
        Some(port) if Some(port) != default => Some(format!("{host}:{port}")),
        _ => Some(host),
    }
}

/// RFC 9421 §2.1: values trimmed and joined with a comma and a space.
fn field(message: &HttpMessage<'_>, name: &str) -> Option<String> {
    let values: Option<Vec<_>> =
        message.headers.get_all(name).iter().map(|value| value.to_str().ok().map(str::trim)).collect();
    values.filter(|values| !values.is_empty()).map(|values| values.join(", "))
}
