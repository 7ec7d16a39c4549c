//! An XML element comes in; JSON goes out, its keys named by prefixes that we chose and not the document.

use roxmltree::{ExpandedName, Node};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// No answer of an agency nests this deep; the bound keeps the recursion off the stack's end.
const MAX_DEPTH: usize = 128;
const MAX_JSON_BYTES: usize = 64 << 20;
/// `wsu:Id`, by which a signature refers to a block, `mustUnderstand`, `actor`, `role`.
const OF_PROTOCOL: [&str; 3] = [
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd",
    "http://schemas.xmlsoap.org/soap/envelope/",
    "http://www.w3.org/2003/05/soap-envelope",
];
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// | XML | JSON |
/// | --- | --- |
/// | element of a known namespace | key `prefix:Local`; of an unknown one `{uri}Local`; of none `Local` |
/// | attribute | key `@name` |
/// | element with text only | string, as it stands |
/// | element with text and attributes or children | object, under `#text` all its texts as one, unless they are white space |
/// | repeated element, or one named as a list | array |
/// | `xsi:nil="true"`, and nothing beside it but attributes of `xsi` | null; with more, what the other rows say |
#[derive(Debug, Clone, Default)]
pub struct XmlToJson {
    prefix_by_uri: BTreeMap<String, String>,
    lists: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XmlToJsonError {
    #[error("the XML nests too deeply")]
    TooDeep,
    #[error("the XML is too large as JSON")]
    TooLarge,
}

impl XmlToJson {
    /// `namespaces`: prefix to URI. `lists`: the keys, as `prefix:Local`, that are arrays even when they come once.
    pub fn new(namespaces: &BTreeMap<String, String>, lists: impl IntoIterator<Item = String>) -> Self {
        let known = namespaces.iter().map(|(prefix, uri)| (uri.clone(), prefix.clone()));
        let prefix_by_uri = std::iter::once((XSI.to_owned(), "xsi".to_owned())).chain(known).collect();
        Self { prefix_by_uri, lists: lists.into_iter().collect() }
    }

    /// What is within the element: its attributes are the object's, unless it has text only.
    pub fn value(&self, element: Node<'_, '_>) -> Result<Value, XmlToJsonError> {
        Walk { names: self, bytes_left: MAX_JSON_BYTES, left_out: &[] }.value(element, 0)
    }

    /// The element's children alone, as an object.
    pub fn children(&self, element: Node<'_, '_>) -> Result<Value, XmlToJsonError> {
        let mut object = Map::new();
        Walk { names: self, bytes_left: MAX_JSON_BYTES, left_out: &[] }.put_children(element, &mut object, 0)?;
        Ok(Value::Object(object))
    }

    /// These blocks of a SOAP header, as if they were all children of one, without what belongs to the protocol.
    pub fn header_blocks<'a, 'input: 'a>(
        &self,
        elements: impl Iterator<Item = Node<'a, 'input>>,
    ) -> Result<Map<String, Value>, XmlToJsonError> {
        let mut object = Map::new();
        Walk { names: self, bytes_left: MAX_JSON_BYTES, left_out: &OF_PROTOCOL }.put_elements(
            elements,
            &mut object,
            0,
        )?;
        Ok(object)
    }

    fn key(&self, name: ExpandedName<'_, '_>) -> String {
        match name.namespace() {
            None | Some("") => name.name().to_owned(),
            Some(uri) => match self.prefix_by_uri.get(uri) {
                Some(prefix) => format!("{prefix}:{}", name.name()),
                None => format!("{{{uri}}}{}", name.name()),
            },
        }
    }
}

struct Walk<'w> {
    names: &'w XmlToJson,
    /// Long namespace names are repeated in every key, so JSON may be much larger than its XML.
    bytes_left: usize,
    /// Namespaces whose attributes are left out.
    left_out: &'w [&'w str],
}

impl Walk<'_> {
    fn value(&mut self, element: Node<'_, '_>, depth: usize) -> Result<Value, XmlToJsonError> {
        if depth >= MAX_DEPTH {
            return Err(XmlToJsonError::TooDeep);
        }
        if self.is_null(element) {
            return Ok(Value::Null);
        }
        let mut object = Map::new();
        for attribute in element.attributes() {
            if self.is_left_out(attribute.namespace()) {
                continue;
            }
            let name = match attribute.namespace() {
                Some(uri) => self.names.key((uri, attribute.name()).into()),
                None => attribute.name().to_owned(),
            };
            self.spend(name.len() + attribute.value().len())?;
            object.insert(format!("@{name}"), Value::String(attribute.value().to_owned()));
        }
        self.put_children(element, &mut object, depth)?;
        let text = text_of(element);
        self.spend(text.len())?;
        if object.is_empty() {
            return Ok(Value::String(text));
        }
        if !text.trim().is_empty() {
            object.insert("#text".to_owned(), Value::String(text));
        }
        Ok(Value::Object(object))
    }

    fn is_left_out(&self, namespace: Option<&str>) -> bool {
        namespace.is_some_and(|uri| self.left_out.contains(&uri))
    }

    /// What else a nil element says must not be lost.
    fn is_null(&self, element: Node<'_, '_>) -> bool {
        let says_more = |namespace| namespace != Some(XSI) && !self.is_left_out(namespace);
        matches!(element.attribute((XSI, "nil")), Some("true" | "1"))
            && !element.attributes().any(|attribute| says_more(attribute.namespace()))
            && !element.children().any(|child| child.is_element())
            && text_of(element).trim().is_empty()
    }

    fn put_children(
        &mut self,
        element: Node<'_, '_>,
        object: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), XmlToJsonError> {
        self.put_elements(element.children().filter(Node::is_element), object, depth)
    }

    fn put_elements<'a, 'input: 'a>(
        &mut self,
        elements: impl Iterator<Item = Node<'a, 'input>>,
        object: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<(), XmlToJsonError> {
        for child in elements {
            let key = self.names.key(child.tag_name());
            self.spend(key.len())?;
            let value = self.value(child, depth + 1)?;
            self.put(object, key, value);
        }
        Ok(())
    }

    fn put(&self, object: &mut Map<String, Value>, key: String, value: Value) {
        match object.get_mut(&key) {
            // A child's own value is never an array, so an array here is one that repetition has made.
            Some(Value::Array(list)) => list.push(value),
            Some(first) => {
                let first = std::mem::take(first);
                object.insert(key, Value::Array(vec![first, value]));
            }
            None if self.names.lists.contains(&key) => drop(object.insert(key, Value::Array(vec![value]))),
            None => drop(object.insert(key, value)),
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), XmlToJsonError> {
        self.bytes_left = self.bytes_left.checked_sub(bytes + 16).ok_or(XmlToJsonError::TooLarge)?;
        Ok(())
    }
}

/// All text, also what stands behind a comment: text must not be cut short by one.
fn text_of(element: Node<'_, '_>) -> String {
    element.children().filter(Node::is_text).filter_map(|node| node.text()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn convert(xml: &str) -> Result<Value, XmlToJsonError> {
        let namespaces = BTreeMap::from([("r".to_owned(), "urn:r".to_owned())]);
        let names = XmlToJson::new(&namespaces, ["r:Row".to_owned()]);
        let document = roxmltree::Document::parse(xml).unwrap();
        names.value(document.root_element())
    }

    #[test]
    fn keys_take_our_prefixes_and_not_those_of_the_document() {
        let value = convert(r#"<x:A xmlns:x="urn:r" xmlns:r="urn:evil"><x:B>1</x:B><r:B>2</r:B><C/></x:A>"#).unwrap();
        assert_eq!(value, json!({"r:B": "1", "{urn:evil}B": "2", "C": ""}));
    }

    #[test]
    fn text_attributes_nothing_and_nil_each_have_their_form() {
        let xml = r#"<A xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><t> 007 </t><a n="1">x</a><e/><m>  <c/></m>
            <n xsi:nil="true" xsi:type="N"> </n><w a="1"> </w></A>"#;
        let expected =
            json!({"t": " 007 ", "a": {"@n": "1", "#text": "x"}, "e": "", "m": {"c": ""}, "n": null, "w": {"@a": "1"}});
        assert_eq!(convert(xml).unwrap(), expected);
    }

    #[test]
    fn what_stands_beside_nil_and_among_children_is_kept() {
        let xml = r#"<A xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><n xsi:nil="true" reason="sealed"/>
            <t xsi:nil="1">x</t><c xsi:nil="true"><d/></c><m>born <y>1980</y> in <p>Soroca</p></m></A>"#;
        let expected = json!({
            "n": {"@xsi:nil": "true", "@reason": "sealed"},
            "t": {"@xsi:nil": "1", "#text": "x"},
            "c": {"@xsi:nil": "true", "d": ""},
            "m": {"y": "1980", "p": "Soroca", "#text": "born  in "},
        });
        assert_eq!(convert(xml).unwrap(), expected);
    }

    #[test]
    fn repeated_elements_and_named_lists_are_arrays() {
        let value = convert(r#"<A xmlns="urn:r"><Row>1</Row><B>1</B><B/><B>3</B></A>"#).unwrap();
        assert_eq!(value, json!({"r:Row": ["1"], "r:B": ["1", "", "3"]}));
    }

    #[test]
    fn a_comment_does_not_cut_a_text_short() {
        assert_eq!(convert("<A>12<!-- x -->34<![CDATA[5]]></A>").unwrap(), json!("12345"));
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = "<a>".repeat(200) + &"</a>".repeat(200);
        assert_eq!(convert(&deep), Err(XmlToJsonError::TooDeep));
        let long = "u".repeat(1 << 20);
        let wide = format!(r#"<a xmlns:x="{long}">{}</a>"#, "<x:b/>".repeat(100));
        assert_eq!(convert(&wide), Err(XmlToJsonError::TooLarge));
    }
}
