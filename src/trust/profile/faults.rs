//! A written value comes in; a valid one goes out, and what was wrong with it is added to the faults.

use super::{ProfileFault, written::SealKind};
use jiff::SignedDuration;

const DETACHED_HEADER: &str = "x-jws-signature";

/// Collects, so that all faults are told at once.
pub(super) struct Faults(pub(super) Vec<ProfileFault>);

impl Faults {
    pub(super) fn add(&mut self, key: &str, text: &str, remedy: &str) {
        self.0.push(ProfileFault { key: key.into(), text: text.into(), remedy: remedy.into() });
    }

    pub(super) fn misplaced(&mut self, key: &str, kind: SealKind) {
        self.add(key, &format!("it means nothing for kind \"{}\"", kind.as_str()), "Remove it");
    }
}

pub(super) fn seconds(written: Option<u32>, default: u32, most: u32, key: &str, faults: &mut Faults) -> SignedDuration {
    let secs = written.unwrap_or(default);
    if secs > most {
        faults.add(key, &format!("it is more than {most}"), "Use a smaller number");
    }
    SignedDuration::from_secs(secs.into())
}

pub(super) fn header_name(written: Option<&String>, key: &str, faults: &mut Faults) -> String {
    let name = written.map_or_else(|| DETACHED_HEADER.to_owned(), |name| name.to_ascii_lowercase());
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        faults.add(key, "it is not the name of an HTTP header", "Write e.g. x-jws-signature");
    }
    name
}

pub(super) fn components(
    written: Option<&Vec<String>>,
    default: &[&str],
    key: &str,
    faults: &mut Faults,
) -> Vec<String> {
    let names = written.cloned().unwrap_or_else(|| default.iter().map(|name| (*name).to_owned()).collect());
    if names.is_empty() {
        faults.add(key, "nothing is covered", "Name at least @method, @target-uri and content-digest");
    }
    for (index, name) in names.iter().enumerate() {
        let key = format!("{key}[{index}]");
        if !crate::trust::http_signature::is_component(name) {
            faults.add(&key, "it is neither a header in lower case nor a derived component", "See RFC 9421 §2");
        }
        if names[..index].contains(name) {
            faults.add(&key, "it is named twice", "Remove one");
        }
    }
    names
}
