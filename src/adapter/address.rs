//! A path as an adapter writes it comes in; with our reference in its places, the address of one exchange goes out.

use crate::domain::SubmissionId;
use reqwest::Url;

const PLACE: &str = "{reference}";

/// Only our own reference may stand in an address: whatever else a request holds would end up in somebody's access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    endpoint: Url,
    path: String,
    /// With nothing in the reference's places: where there are none, the address of every exchange.
    fixed: Url,
}

impl Address {
    pub fn new(endpoint: &Url, path: &str) -> Result<Self, String> {
        if !path.is_empty() && !path.starts_with('/') && !path.starts_with('?') {
            return Err("must begin with / or ?".to_owned());
        }
        let fixed = path.replace(PLACE, "");
        if fixed.contains(['{', '}']) {
            return Err("has a placeholder other than {reference}: nothing else may get into an address".to_owned());
        }
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'<' | b'>' | b'"' | b'\\');
        if !fixed.bytes().all(is_plain) || path.split('/').any(|part| part == "..") {
            return Err("has a character or a step that an address may not have".to_owned());
        }
        let mut address = Self { endpoint: endpoint.clone(), path: path.to_owned(), fixed: endpoint.clone() };
        address.try_at("00000000-0000-0000-0000-000000000000").map_err(|error| error.to_string())?;
        address.fixed = address.try_at("").unwrap_or_else(|_| endpoint.clone());
        Ok(address)
    }

    pub fn at(&self, reference: SubmissionId) -> Url {
        if !self.path.contains(PLACE) {
            return self.fixed.clone();
        }
        // Checked when it was made, and a reference is always the same kind of text.
        self.try_at(&reference.to_string()).unwrap_or_else(|_| self.endpoint.clone())
    }

    /// An address without a place for the reference.
    pub(super) fn fixed(&self) -> Url {
        self.fixed.clone()
    }

    /// The reference in a request's path and query, if it was made from this address.
    pub fn reference_in(&self, path_and_query: &str) -> Option<String> {
        let whole = self.try_at(PLACE).ok()?;
        let pattern = format!("{}{}", whole.path(), whole.query().map(|query| format!("?{query}")).unwrap_or_default());
        let pattern = pattern.replace("%7Breference%7D", PLACE);
        match pattern.split_once(PLACE) {
            None => (pattern == path_and_query).then(String::new),
            Some((before, after)) => {
                let reference = path_and_query.strip_prefix(before)?.strip_suffix(after)?;
                (!reference.is_empty() && !reference.contains('/')).then(|| reference.to_owned())
            }
        }
    }

    fn try_at(&self, reference: &str) -> Result<Url, impl std::fmt::Display + use<>> {
        let base = self.endpoint.as_str();
        let base = if self.path.starts_with('/') { base.trim_end_matches('/') } else { base };
        Url::parse(&format!("{base}{}", self.path.replace(PLACE, reference)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(path: &str) -> Result<Address, String> {
        Address::new(&Url::parse("https://agency.example:8443/api/").unwrap(), path)
    }

    #[test]
    fn the_reference_takes_its_place_below_the_endpoint() {
        let id = SubmissionId::new();
        let at = |path: &str| address(path).unwrap().at(id).to_string();
        assert_eq!(at(""), "https://agency.example:8443/api/");
        assert_eq!(at("/query?event_id={reference}"), format!("https://agency.example:8443/api/query?event_id={id}"));
        assert_eq!(at("/events/{reference}/state"), format!("https://agency.example:8443/api/events/{id}/state"));
    }

    #[test]
    fn nothing_about_a_person_can_get_into_an_address() {
        for bad in
            ["/p/{subject.id}", "/p?x={{ subject.id }}", "/{}", "/{reference", "/a b", "x", "/../x", "/a#b", "//\\evil"]
        {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_request_is_recognised_by_its_path() {
        let lookup = address("/query?event_id={reference}").unwrap();
        assert_eq!(lookup.reference_in("/api/query?event_id=abc"), Some("abc".to_owned()));
        assert_eq!(lookup.reference_in("/api/query?event_id="), None);
        assert_eq!(lookup.reference_in("/api/register"), None);
        assert_eq!(address("/register").unwrap().reference_in("/api/register"), Some(String::new()));
    }
}
