//! The name of a certificate's holder or issuer (X.501): text or attributes come in, a name goes out that is compared
//! attribute by attribute and never as text.
//!
//! Text is read as RFC 4514 has it, escapes and quoted values included, but in the certificate's own order: what stands
//! first there (most often the country) stands first here.

mod attribute;
mod read;
mod subject_match;
mod value;

pub use attribute::{Attribute, name_of};
use read::InvalidDistinguishedName;
pub use subject_match::SubjectMatch;
pub use value::Value;

use std::fmt;

/// The relative names, in the certificate's order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DistinguishedName(Vec<RelativeName>);

/// One attribute, or several of which none comes first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RelativeName(Vec<Attribute>);

pub const COMMON_NAME: &str = "2.5.4.3";
pub const ORGANIZATION_IDENTIFIER: &str = "2.5.4.97";

impl DistinguishedName {
    pub fn new(names: Vec<RelativeName>) -> Self {
        Self(names)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The texts of all attributes of this type (an OID), wherever they stand.
    pub fn texts<'a>(&'a self, oid: &'a str) -> impl Iterator<Item = &'a str> {
        let attributes = self.0.iter().flat_map(|name| &name.0).filter(move |attribute| attribute.oid == oid);
        attributes.filter_map(|attribute| match &attribute.value {
            Value::Text(text) => Some(text.as_str()),
            Value::Other(_) => None,
        })
    }

    /// How many attributes of this type there are, readable or not.
    pub fn count(&self, oid: &str) -> usize {
        self.0.iter().flat_map(|name| &name.0).filter(|attribute| attribute.oid == oid).count()
    }

    /// With all that is alike made equal: case and white space (RFC 5280, section 7.1). For what must not be missed; whose
    /// certificate counts is decided by the name itself.
    pub fn folded(&self) -> Self {
        let folded = |attribute: &Attribute| Attribute { oid: attribute.oid.clone(), value: attribute.value.folded() };
        Self(self.0.iter().map(|name| RelativeName::new(name.0.iter().map(folded).collect())).collect())
    }

    /// Whether it looks like the order of LDAP (RFC 4514), in which certificates' names are not written here.
    pub fn is_reversed(&self) -> bool {
        let is = |name: Option<&RelativeName>, oids: &[&str]| {
            name.is_some_and(|name| name.0.iter().any(|attribute| oids.contains(&attribute.oid.as_str())))
        };
        is(self.0.first(), &[COMMON_NAME]) && is(self.0.last(), &["2.5.4.6", "0.9.2342.19200300.100.1.25"])
    }
}

impl RelativeName {
    pub fn new(mut attributes: Vec<Attribute>) -> Self {
        attributes.sort();
        Self(attributes)
    }
}

/// Can be read again, and holds no character that is not seen.
impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl fmt::Display for RelativeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attribute) in self.0.iter().enumerate() {
            write!(f, "{}{attribute}", if index == 0 { "" } else { " + " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> DistinguishedName {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_name_is_compared_by_its_attributes_and_not_by_its_text() {
        let office = read("C=MD, O=Town hall, CN=desk");
        for same in [
            "C=MD,O=Town hall,CN=desk",
            " c = MD , o = Town hall , cn = desk ",
            "2.5.4.6=MD, OID(2.5.4.10)=Town hall, commonName=desk",
            r#"C="MD", O="Town hall", CN="desk""#,
            r"C=\4D\44, O=Town\20hall, CN=desk",
            "C=#13024D44, O=#0C09546F776E2068616C6C, CN=#1E080064006500730 06B",
        ] {
            assert_eq!(read(same), office, "{same}");
        }
        for other in [
            r#"C=MD, O="Town hall, CN=desk""#,
            r"C=MD, O=Town hall\, CN\=desk",
            "C=MD, O=Town hall + CN=desk",
            "CN=desk, O=Town hall, C=MD",
            "C=MD, O=Town Hall, CN=desk",
            r"C=MD, O=Town hall, CN=desk\ ",
            "C=MD, O=Town hall, CN=desk, CN=desk",
        ] {
            assert_ne!(read(other), office, "{other}");
        }
        assert_eq!(read("CN=a + OU=b"), read("OU=b+CN=a"), "no attribute of one relative name comes first");
    }

    #[test]
    fn names_that_differ_in_case_and_white_space_alone_are_alike_when_folded() {
        let authority = read("C=MD, O=Town hall, CN=Căușeni CA");
        for alike in ["c=md, o=TOWN  HALL, cn=CĂUȘENI ca", r"C=MD, O=\ Town hall\ , CN=Căușeni CA"] {
            assert_ne!(read(alike), authority, "{alike}");
            assert_eq!(read(alike).folded(), authority.folded(), "{alike}");
        }
        for other in ["C=MD, O=Townhall, CN=Căușeni CA", "C=MD, O=Town hall, CN=Causeni CA", "C=MD, O=Town hall"] {
            assert_ne!(read(other).folded(), authority.folded(), "{other}");
        }
    }

    #[test]
    fn what_is_printed_is_read_again_as_the_same_name() {
        for text in [
            r#"O="Town hall, CN=desk", CN=x"#,
            r"O=\ #a+\+\,\;\<\>\\ b\ , CN=\#1",
            "C=MD, OID(2.5.4.97)=GOVMD-1, Email=a@b.example, 1.2.3=#0500",
            "CN=Cău\\C8\\99eni + OU=Општина",
            "O=\\1B[2J\\E2\\80\\AEfdp, CN=\\00",
            "O=, CN=a=b",
        ] {
            let name = read(text.replace("#a+", "#a").as_str());
            assert_eq!(read(&name.to_string()), name, "{text}: {name}");
            assert!(!name.to_string().contains(super::super::is_invisible), "{name}");
        }
    }

    #[test]
    fn what_is_no_name_is_told_with_its_place() {
        for (text, told) in [
            ("", "empty"),
            ("desk", "\"desk\""),
            ("O=Town hall, Ltd, CN=desk", "\"Ltd\""),
            ("O=A + B, CN=desk", "\"B\""),
            ("O=a; CN=b", ";"),
            ("O=\"a", "quotation mark"),
            ("O=\"a\" b", "quotation mark"),
            ("O=a\\", "\\"),
            ("O=a\\q", "\\"),
            ("O=\\FF", "UTF-8"),
            ("XYZ=a", "XYZ"),
            ("O=a,", "empty"),
            ("O=#0", "hexadecimal"),
        ] {
            let error = text.parse::<DistinguishedName>().expect_err(text).to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn the_order_of_ldap_is_noticed() {
        assert!(read("CN=desk,O=Town hall,C=MD").is_reversed());
        assert!(!read("C=MD,O=Town hall,CN=desk").is_reversed() && !read("CN=desk").is_reversed());
    }
}
