//! Whose certificate counts, as people write it: a common name, or a whole subject.

use super::{COMMON_NAME, DistinguishedName, InvalidDistinguishedName};
use std::{fmt, str::FromStr};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectMatch {
    CommonName(String),
    Whole(DistinguishedName),
}

impl SubjectMatch {
    /// A subject with two common names has none that would count.
    pub fn fits(&self, subject: &DistinguishedName) -> bool {
        match self {
            SubjectMatch::Whole(wanted) => subject == wanted,
            SubjectMatch::CommonName(wanted) => {
                subject.count(COMMON_NAME) == 1 && subject.texts(COMMON_NAME).eq([wanted.as_str()])
            }
        }
    }
}

/// What holds an equals sign is a whole subject; in a common name it is written `\=`.
impl FromStr for SubjectMatch {
    type Err = InvalidDistinguishedName;

    fn from_str(text: &str) -> Result<Self, InvalidDistinguishedName> {
        match text.replace("\\=", "").contains('=') {
            true => text.parse().map(Self::Whole),
            false if text.trim().is_empty() => text.parse().map(Self::Whole),
            false => Ok(Self::CommonName(text.replace("\\=", "="))),
        }
    }
}

impl fmt::Display for SubjectMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubjectMatch::Whole(name) => write!(f, "{name}"),
            SubjectMatch::CommonName(name) => write!(f, "any subject whose only common name is {name:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_name_is_no_whole_subject_whatever_it_says() {
        let fits = |wanted: &str, subject: &str| {
            let wanted: SubjectMatch = wanted.parse().unwrap_or_else(|error| panic!("{wanted}: {error}"));
            wanted.fits(&subject.parse().unwrap_or_else(|error| panic!("{subject}: {error}")))
        };
        assert!(fits("Registry, messages", "C=MD, CN=\"Registry, messages\""));
        assert!(fits("C=MD, CN=signer", "C=MD,CN=signer"));
        assert!(fits("a\\=b", "CN=a\\=b"));
        assert!(!fits("C=MD, CN=signer", "CN=\"C=MD, CN=signer\""));
        assert!(!fits("signer", "O=\"x, CN=signer\""));
        assert!(!fits("signer", "CN=signer, CN=other") && !fits("other", "CN=signer, CN=other"));
        assert!("".parse::<SubjectMatch>().is_err() && "O=a, b".parse::<SubjectMatch>().is_err());
    }
}
