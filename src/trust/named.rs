//! What a message names and we do not take: told by name, so that the agency can be asked about it.

use super::wss::names::{EXC_C14N, STR_TRANSFORM};
use crate::domain::redact_for_display;
use std::fmt;

/// An algorithm, a type or a place, as the message names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named(Option<String>);

const MAX_CHARS: usize = 160;

/// Some addresses hold a date, which looks like a person's number where it is told.
const TITLES: [(&str, &str); 8] = [
    ("http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "Canonical XML 1.0"),
    ("http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments", "Canonical XML 1.0 with comments"),
    ("http://www.w3.org/2006/12/xml-c14n11", "Canonical XML 1.1"),
    ("http://www.w3.org/2001/10/xml-exc-c14n#WithComments", "Exclusive C14N with comments"),
    ("http://www.w3.org/TR/1999/REC-xslt-19991116", "XSLT"),
    ("http://www.w3.org/TR/1999/REC-xpath-19991116", "XPath"),
    (EXC_C14N, "Exclusive C14N"),
    (STR_TRANSFORM, "STR-Transform"),
];

impl Named {
    pub(super) fn of(found: Option<&str>) -> Self {
        Self(found.filter(|name| !name.is_empty()).map(str::to_owned))
    }

    /// Several, in their order.
    pub(super) fn all<'a>(found: impl Iterator<Item = &'a str>) -> Self {
        Self::of(Some(&found.take(4).collect::<Vec<_>>().join(" ")))
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(name) = &self.0 else { return f.write_str("nothing") };
        write!(f, "`{}`", redact_for_display(name, MAX_CHARS))?;
        match TITLES.iter().find(|(uri, _)| uri == name) {
            Some((_, title)) => write!(f, " ({title})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_told_within_bounds() {
        assert_eq!(Named::of(None).to_string(), "nothing");
        assert_eq!(Named::of(Some("urn:x\n2000000000001")).to_string(), "`urn:x …`");
        assert_eq!(
            Named::of(Some("http://www.w3.org/TR/2001/REC-xml-c14n-20010315")).to_string(),
            "`http://www.w3.org/TR/2001/REC-xml-c14n-…` (Canonical XML 1.0)"
        );
        assert!(Named::of(Some(&"x".repeat(1000))).to_string().len() < 200);
        assert_eq!(Named::all(["a", "b"].into_iter()).to_string(), "`a b`");
    }
}
