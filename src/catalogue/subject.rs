//! Whom or what a service's requests may be about: its `[subject]` comes in, what is wrong with a request's subject goes out.

use super::{Schema, SchemaFault};
use crate::{domain::Subject, settings::ConfigFaults};
use serde::Serialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path};

/// Which kinds of identifier a service takes.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct SubjectRule {
    /// By the name of the scheme.
    schemes: BTreeMap<String, Pattern>,
}

/// A regular expression as JSON Schema writes them, which the whole identifier has to fit.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Pattern {
    written: String,
    #[serde(skip)]
    whole: Schema,
}

/// As the envelope of a submission allows.
const MAX_SCHEME_CHARS: usize = 64;

impl SubjectRule {
    pub(super) fn of(written: BTreeMap<String, String>, file: &Path, faults: &mut ConfigFaults) -> Self {
        if written.is_empty() {
            let remedy = "name a scheme and its pattern, such as idnp = \"[0-9]{13}\", or remove the section";
            faults.add(file, "subject", "names no scheme, so that nothing could be asked", remedy);
        }
        let schemes = written.into_iter().filter_map(|(name, text)| scheme(name, text, file, faults));
        Self { schemes: schemes.collect() }
    }

    /// Places are those of a submission's envelope. The identifier is never quoted.
    pub fn fault(&self, subject: &Subject) -> Option<SchemaFault> {
        let fault = |pointer: &str, problem: String| Some(SchemaFault { pointer: pointer.to_owned(), problem });
        let Some(pattern) = self.schemes.get(&subject.scheme) else {
            let known: Vec<_> = self.schemes.keys().map(String::as_str).collect();
            return fault("/subject/scheme", format!("this service takes {}", known.join(", ")));
        };
        if pattern.fits(&subject.id) {
            return None;
        }
        let Pattern { written, .. } = pattern;
        fault("/subject/id", format!("the whole of it must fit the pattern {written} of {}", subject.scheme))
    }
}

impl Pattern {
    /// The text is compiled by itself too: what closes a bracket that it did not open would reach beyond the whole.
    fn compile(written: String) -> Result<Self, String> {
        let schema = |pattern: &str| Schema::compile(json!({"type": "string", "pattern": pattern}));
        schema(&written)?;
        let whole = schema(&format!("^(?:{written})$"))?;
        Ok(Self { written, whole })
    }

    fn fits(&self, id: &str) -> bool {
        self.whole.faults(&Value::from(id)).is_empty()
    }
}

fn scheme(name: String, written: String, file: &Path, faults: &mut ConfigFaults) -> Option<(String, Pattern)> {
    let key = format!("subject.{name}");
    if !(1..=MAX_SCHEME_CHARS).contains(&name.chars().count()) {
        faults.add(
            file,
            key,
            "no request can name it",
            format!("give it a name of 1 to {MAX_SCHEME_CHARS} characters"),
        );
        return None;
    }
    if written.is_empty() {
        faults.add(file, key, "is empty, and no identifier is", "write a pattern, such as [0-9]{13}");
        return None;
    }
    match Pattern::compile(written) {
        Ok(pattern) => Some((name, pattern)),
        Err(_) => {
            let remedy = "write a regular expression as JSON Schema has them, such as [0-9]{13}";
            faults.add(file, key, "is no regular expression", remedy);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(schemes: &[(&str, &str)]) -> Result<SubjectRule, String> {
        let written = schemes.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let mut faults = ConfigFaults::default();
        let rule = SubjectRule::of(written, Path::new("service.toml"), &mut faults);
        if faults.is_empty() { Ok(rule) } else { Err(faults.to_string()) }
    }

    fn place(rule: &SubjectRule, scheme: &str, id: &str) -> Option<String> {
        let fault = rule.fault(&Subject { scheme: scheme.into(), id: id.into() })?;
        assert!(!fault.problem.contains(id), "{}", fault.problem);
        Some(fault.pointer)
    }

    #[test]
    fn the_whole_identifier_has_to_fit_the_pattern_of_its_scheme() {
        let rule = rule(&[("idnp", "[0-9]{13}"), ("plate", r"[A-Z]{3}|\d{3}")]).unwrap();
        for (scheme, id) in [("idnp", "2000000000001"), ("plate", "ABC"), ("plate", "123")] {
            assert_eq!(place(&rule, scheme, id), None, "{id}");
        }
        for id in [
            "x-canary",
            "2000000000001 ",
            " 2000000000001",
            "2000000000001\n",
            "20000000000011",
            "٢٠٠٠٠٠٠٠٠٠٠٠١",
            "２０００００００００００１",
        ] {
            assert_eq!(place(&rule, "idnp", id).as_deref(), Some("/subject/id"), "{id:?}");
        }
        for id in ["ABCD", "1ABC", "ABC123", "٢٢٢"] {
            assert_eq!(place(&rule, "plate", id).as_deref(), Some("/subject/id"), "{id:?}");
        }
        for scheme in ["IDNP", "idnp ", "personal"] {
            assert_eq!(place(&rule, scheme, "2000000000001").as_deref(), Some("/subject/scheme"), "{scheme:?}");
        }
    }

    #[test]
    fn what_is_no_pattern_of_its_own_is_told_with_its_key() {
        for bad in ["[0-9", "[0-9]+)|(.*", "(", "*", ""] {
            let told = rule(&[("idnp", bad)]).unwrap_err();
            assert!(told.contains("subject.idnp"), "{bad}: {told}");
        }
        assert!(rule(&[]).unwrap_err().contains("names no scheme"));
        assert!(rule(&[("", "x")]).unwrap_err().contains("no request can name it"));
    }
}
