//! An agency's XML Schema comes in; an envelope that we composed is held against it before it is signed.

use crate::{soap, xml};
use roxmltree::{Document, Node};
use std::path::{Path, PathBuf};
use uppsala::XsdValidator;

/// Elements times bytes: for each fault the validator counts the lines before it.
const MAX_WORK: usize = 2 << 30;
const MAX_MESSAGE_BYTES: usize = 2000;
const MAX_SEARCHED_BYTES: usize = 64 << 10;

pub struct Contract {
    validator: XsdValidator,
}

impl Contract {
    /// `file` is the schema that the others in its folder are included or imported by.
    pub fn load(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
        let document = uppsala::parse(text.trim_start_matches('\u{feff}')).map_err(|error| error.to_string())?;
        let folder = std::path::absolute(file.parent().unwrap_or(Path::new("."))).map_err(|error| error.to_string())?;
        let validator = XsdValidator::from_schema_with_base_path(&document, Some(&folder));
        Ok(Self { validator: validator.map_err(|error| error.to_string())? })
    }

    /// What does not fit: of a SOAP envelope the Body's child is held against the schema, of other XML the root.
    pub fn check(&self, document: &Document<'_>) -> Result<(), String> {
        let part = match soap::open(document) {
            Ok(envelope) => envelope.body.first_element_child().ok_or("the Body is empty")?,
            Err(_) => document.root_element(),
        };
        let alone = alone(part);
        let elements = part.descendants().filter(Node::is_element).count();
        if elements.saturating_mul(alone.len()) > MAX_WORK {
            return Err("it has too many elements for its size".to_owned());
        }
        let tree = uppsala::parse(&alone).map_err(|_| "it is not well-formed".to_owned())?;
        let faults = self.validator.validate(&tree);
        if faults.is_empty() {
            return Ok(());
        }
        let told: Vec<_> = faults.iter().take(5).map(|fault| masked(&fault.message, part)).collect();
        Err(told.join("; "))
    }
}

impl std::fmt::Debug for Contract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Contract(..)")
    }
}

/// The schemas of a folder that no other one there names as its part: there should be one.
pub fn entry_schemas(files: &[PathBuf]) -> Vec<PathBuf> {
    let texts: Vec<_> = files.iter().map(|file| std::fs::read_to_string(file).unwrap_or_default()).collect();
    let is_part = |file: &PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        texts.iter().zip(files).any(|(text, other)| {
            other != file && ["\"", "'", "/"].iter().any(|before| text.contains(&format!("{before}{name}")))
        })
    };
    files.iter().filter(|file| !is_part(file)).cloned().collect()
}

/// The element as a document of its own, with all prefixes that are in scope, as `xsi:type` may need them.
fn alone(element: Node<'_, '_>) -> String {
    let prefixes: Vec<&str> = element.namespaces().filter_map(|namespace| namespace.name()).collect();
    let mut canonical = Vec::new();
    xml::canonicalize(element, &prefixes, &mut canonical);
    String::from_utf8(canonical).unwrap_or_default()
}

/// The validator quotes values, and values are about people: each text of the message is taken out of its sentence. The
/// search takes messages times values, so it is only done where both are few.
fn masked(message: &str, part: Node<'_, '_>) -> String {
    if message.len() > MAX_MESSAGE_BYTES || part.range().len() > MAX_SEARCHED_BYTES {
        return "a value does not fit".to_owned();
    }
    let texts = part.descendants().filter_map(|node| node.text().filter(|_| node.is_text()));
    let attributes = part.descendants().flat_map(|node| node.attributes()).map(|attribute| attribute.value());
    let mut values: Vec<&str> = texts.chain(attributes).flat_map(|value| [value, value.trim()]).collect();
    let words: Vec<&str> = values.iter().flat_map(|value| value.split_whitespace()).collect();
    values.extend(words);
    values.retain(|value| !value.trim().is_empty());
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let mut told = message.to_owned();
    for value in &values {
        told = told.replace(&format!("'{value}'"), "a value").replace(&format!("{value:?}"), "a value");
    }
    // As the validator begins its sentences.
    told = told.replace("Value a value", "a value");
    match values.iter().any(|value| value.len() >= 4 && told.contains(value)) {
        true => "a value does not fit".to_owned(),
        false => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:r" elementFormDefault="qualified">
        <xs:element name="Ask"><xs:complexType><xs:sequence>
          <xs:element name="Number"><xs:simpleType><xs:restriction base="xs:string"><xs:pattern value="[0-9]{13}"/></xs:restriction></xs:simpleType></xs:element>
          <xs:element name="On" type="xs:date" minOccurs="0"/>
        </xs:sequence></xs:complexType></xs:element></xs:schema>"#;

    fn check(body: &str) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("request.xsd");
        std::fs::write(&file, SCHEMA).unwrap();
        let contract = Contract::load(&file).unwrap();
        let text = format!(
            r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:r="urn:r"><s:Body>{body}</s:Body></s:Envelope>"#
        );
        contract.check(&Document::parse(&text).unwrap())
    }

    #[test]
    fn what_fits_passes_and_what_does_not_is_told_without_its_values() {
        assert_eq!(check("<r:Ask><r:Number>2000000000001</r:Number><r:On>2026-01-31</r:On></r:Ask>"), Ok(()));
        for bad in [
            "<r:Ask><r:Number>canary-200000</r:Number></r:Ask>",
            "<r:Ask><r:Number>2000000000001</r:Number><r:On>canary</r:On></r:Ask>",
            "<r:Ask><r:Number>2000000000001</r:Number><r:canary/></r:Ask>",
            "<r:Ask><r:Number>canary-2's 'x' \"y\"</r:Number></r:Ask>",
            "<r:Ask/>",
            "<r:Other/>",
            "",
        ] {
            let Err(problem) = check(bad) else { panic!("{bad} passes") };
            assert!(!problem.contains("2000000000001") && !problem.contains("canary-2"), "{problem}");
            assert!(!problem.contains("Value a value"), "{problem}");
        }
    }

    #[test]
    fn a_request_of_many_or_long_words_is_refused_quickly() {
        let words: String = (0..100_000).map(|i| format!("w{i} ")).collect();
        for bad in [
            format!("<r:Ask><r:Number>{words}</r:Number></r:Ask>"),
            format!("<r:Ask><r:Number>1</r:Number>{}</r:Ask>", "<r:On>x1</r:On>".repeat(5_000)),
        ] {
            assert!(!check(&bad).unwrap_err().contains("w1"));
        }
        let endless = format!("<r:Ask>{}</r:Ask>", "<r:On>x1</r:On>".repeat(100_000));
        assert!(check(&endless).unwrap_err().contains("too many elements"));
        // Processor time: whatever else the machine does meanwhile does not count.
        let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        let nanoseconds: u64 = times.split(' ').next().unwrap().parse().unwrap();
        assert!(nanoseconds < 20_000_000_000, "{nanoseconds} ns");
    }

    #[test]
    fn the_entry_is_the_schema_that_no_other_includes() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one.xsd"), folder.path().join("two.xsd"));
        std::fs::write(&one, "<include schemaLocation=\"two.xsd\"/>").unwrap();
        std::fs::write(&two, "").unwrap();
        assert_eq!(entry_schemas(&[one.clone(), two]), [one]);
    }
}
