//! Two messages of one form come in; the place of their first difference goes out. Prefixes, the order of attributes and
//! of JSON keys, comments and blank text between elements do not count.

use super::Form;
use crate::{
    json::{self, Rules},
    xml,
};
use roxmltree::{Document, Node};
use serde_json::Value;

/// One text of a message and the way to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf {
    pub path: String,
    pub text: String,
}

/// All texts of a message with their places, in order. An empty element is a leaf as well.
pub fn leaves(form: Form, bytes: &[u8]) -> Result<Vec<Leaf>, String> {
    let mut found = Vec::new();
    match form {
        Form::Xml => {
            let document = xml::decode(bytes).and_then(xml::parse).map_err(|refusal| refusal.to_string())?;
            of_element(document.root_element(), "", &[], &mut found);
        }
        Form::Json if bytes.is_empty() => {}
        Form::Json => of_value(&json::parse(bytes, Rules::AGENCY).map_err(|error| error.to_string())?, "", &mut found),
    }
    Ok(found)
}

/// The same of a tree, without elements and attributes of some namespaces.
pub fn leaves_without(document: &Document<'_>, namespaces: &[&str]) -> Vec<Leaf> {
    let mut found = Vec::new();
    of_element(document.root_element(), "", namespaces, &mut found);
    found
}

/// Where two messages differ first; `None` if they say the same. Only places are told, no texts.
pub fn difference(expected: &[Leaf], found: &[Leaf]) -> Option<String> {
    let mut pairs = expected.iter().zip(found);
    if let Some((expected, found)) = pairs.find(|(expected, found)| expected != found) {
        return Some(match expected.path == found.path {
            true => format!("the text at {} is another", expected.path),
            false => format!("{} stands where {} is expected", found.path, expected.path),
        });
    }
    let (expected, found) = (expected.get(found.len()), found.get(expected.len()));
    expected.map(|leaf| format!("{} is missing", leaf.path)).or(found.map(|leaf| format!("{} is too much", leaf.path)))
}

/// Depth is bounded by the guard that parsed the tree.
fn of_element(element: Node<'_, '_>, above: &str, without: &[&str], found: &mut Vec<Leaf>) {
    let is_meant = |namespace: Option<&str>| !namespace.is_some_and(|namespace| without.contains(&namespace));
    let name = |namespace: Option<&str>, local: &str| match namespace {
        Some(namespace) => format!("{{{namespace}}}{local}"),
        None => local.to_owned(),
    };
    let path = format!("{above}/{}", name(element.tag_name().namespace(), element.tag_name().name()));
    let mut attributes: Vec<_> = element
        .attributes()
        .filter(|it| is_meant(it.namespace()))
        .map(|it| (name(it.namespace(), it.name()), it.value()))
        .collect();
    attributes.sort();
    let attributes =
        attributes.into_iter().map(|(name, value)| Leaf { path: format!("{path}/@{name}"), text: value.into() });
    found.extend(attributes);
    let text: String = element.children().filter(Node::is_text).filter_map(|node| node.text()).collect();
    let children = || element.children().filter(|child| child.is_element() && is_meant(child.tag_name().namespace()));
    let has_children = children().next().is_some();
    if !has_children || !text.trim().is_empty() {
        found.push(Leaf { path: path.clone(), text });
    }
    children().for_each(|child| of_element(child, &path, without, found));
}

fn of_value(value: &Value, path: &str, found: &mut Vec<Leaf>) {
    match value {
        Value::Object(object) if !object.is_empty() => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            entries.into_iter().for_each(|(key, value)| of_value(value, &format!("{path}/{key}"), found));
        }
        Value::Array(list) if !list.is_empty() => {
            list.iter().enumerate().for_each(|(index, value)| of_value(value, &format!("{path}/{index}"), found));
        }
        Value::String(text) => found.push(Leaf { path: path.to_owned(), text: text.clone() }),
        Value::Number(number) => {
            found.push(Leaf { path: format!("{path} (number)"), text: json::canonical_number(number) });
        }
        // Their kinds must differ from those of equal texts.
        other => found.push(Leaf { path: format!("{path} ({})", kind(other)), text: other.to_string() }),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differ(form: Form, one: &str, two: &str) -> Option<String> {
        difference(&leaves(form, one.as_bytes()).unwrap(), &leaves(form, two.as_bytes()).unwrap())
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        let (one, two) =
            ("<a:x xmlns:a='u' p='1' q='2'>\n <a:y/>\n</a:x>", "<x xmlns='u' q='2' p='1'><!-- c --><y></y></x>");
        assert_eq!(differ(Form::Xml, one, two), None);
        assert_eq!(differ(Form::Json, r#"{"a": 1, "b": [{}]}"#, r#"{"b":[{}],"a":1}"#), None);
        assert_eq!(differ(Form::Json, "[1.10, 100, 0]", "[1.1, 1e2, 0.0]"), None);
    }

    #[test]
    fn every_kind_of_difference_is_seen_and_told_without_texts() {
        for (one, two) in [
            ("<x>1</x>", "<x>2</x>"),
            ("<x/>", "<x xmlns='u'/>"),
            ("<x a='1'/>", "<x a='2'/>"),
            ("<x><y/></x>", "<x><y/><y/></x>"),
            ("<x><y/><z/></x>", "<x><z/><y/></x>"),
            ("<x><y/></x>", "<x>t<y/></x>"),
        ] {
            assert!(differ(Form::Xml, one, two).is_some(), "{one} {two}");
            assert!(differ(Form::Xml, two, one).is_some(), "{two} {one}");
        }
        for (one, two) in [
            ("1", "\"1\""),
            ("1.1", "1.10000000000000000001"),
            ("[1,2]", "[2,1]"),
            ("{\"a\":null}", "{}"),
            ("[]", "{}"),
        ] {
            assert!(differ(Form::Json, one, two).is_some(), "{one} {two}");
        }
        assert_eq!(differ(Form::Json, "{\"a\":\"canary\"}", "{\"a\":\"other\"}").unwrap(), "the text at /a is another");
    }
}
