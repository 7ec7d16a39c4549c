//! An element of a parsed tree comes in; its Exclusive XML Canonicalization 1.0 form, without comments, goes out.
//!
//! Prefixes are read from the source text, because the tree keeps only namespaces. The walk is a loop, not a recursion:
//! no depth of input can exhaust the stack.

use roxmltree::{Node, NodeType};

/// Where canonical bytes go: a buffer, or a hash.
pub trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// An attribute that the apex is going to have. Its prefix means its namespace there, or nothing yet.
pub struct Planned<'a> {
    pub namespace: &'a str,
    pub prefix: &'a str,
    pub name: &'a str,
    pub value: &'a str,
}

/// Writes the canonical form of the subtree at `apex`. `inclusive_prefixes` is the `PrefixList` of `InclusiveNamespaces`
/// (`#default` for the default namespace), treated as inclusive canonicalization would.
pub fn canonicalize(apex: Node<'_, '_>, inclusive_prefixes: &[&str], out: &mut impl Sink) {
    let source = apex.document().input_text();
    Walk::new(source, inclusive_prefixes, None, out).run(apex);
}

/// Writes the canonical form that `apex` will have with that attribute, and no inclusive prefixes.
pub fn canonicalize_planned(apex: Node<'_, '_>, planned: &Planned<'_>, out: &mut impl Sink) {
    let qualified = format!("{}:{}", planned.prefix, planned.name);
    let source = apex.document().input_text();
    let planned = Some((planned.namespace, qualified.as_str(), planned.value));
    Walk::new(source, &[], planned, out).run(apex);
}

struct Open<'a> {
    name: &'a str,
    rendered_before: usize,
}

struct Walk<'a, 'p, S> {
    out: &'p mut S,
    source: &'a str,
    inclusive_prefixes: &'p [&'p str],
    /// What the apex will have: namespace, qualified name, value. Taken when it starts.
    planned: Option<(&'a str, &'a str, &'a str)>,
    /// Namespace declarations already written by open elements: prefix and URI, the innermost last.
    rendered: Vec<(&'a str, &'a str)>,
    open: Vec<Open<'a>>,
    /// Of the element that starts: prefix and URI of the namespaces that it uses. Kept for the next one's.
    used: Vec<(&'a str, &'a str)>,
    /// Of the same element: namespace, local name, qualified name, value.
    attributes: Vec<(&'a str, &'a str, &'a str, &'a str)>,
}

impl<'a, 'p, S: Sink> Walk<'a, 'p, S> {
    fn new(
        source: &'a str,
        inclusive_prefixes: &'p [&'p str],
        planned: Option<(&'a str, &'a str, &'a str)>,
        out: &'p mut S,
    ) -> Self {
        let (rendered, open, used, attributes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { out, source, inclusive_prefixes, planned, rendered, open, used, attributes }
    }

    fn run<'i>(mut self, apex: Node<'a, 'i>)
    where
        'i: 'a,
    {
        let mut here = apex;
        loop {
            match here.node_type() {
                NodeType::Element => self.start(here),
                NodeType::Text => put_text(here.text().unwrap_or(""), self.out),
                NodeType::PI => self.instruction(here),
                NodeType::Comment | NodeType::Root => {}
            }
            if let Some(child) = here.first_child() {
                here = child;
                continue;
            }
            here = loop {
                if here.is_element() {
                    self.end();
                }
                if here == apex {
                    return;
                }
                if let Some(sibling) = here.next_sibling() {
                    break sibling;
                }
                match here.parent() {
                    Some(parent) => here = parent,
                    None => return,
                }
            };
        }
    }

    fn start<'i>(&mut self, element: Node<'a, 'i>)
    where
        'i: 'a,
    {
        let name = qualified_name(self.source, element);
        self.open.push(Open { name, rendered_before: self.rendered.len() });
        self.out.put(b"<");
        self.out.put(name.as_bytes());
        self.used.push((prefix_of(name), element.tag_name().namespace().unwrap_or("")));
        for attribute in element.attributes() {
            let qualified = self.source.get(attribute.range_qname()).unwrap_or_else(|| attribute.name());
            self.add_attribute(attribute.namespace().unwrap_or(""), qualified, attribute.value());
        }
        if let Some((namespace, qualified, value)) = self.planned.take() {
            self.add_attribute(namespace, qualified, value);
        }
        self.add_inclusive(element);
        self.declare();
        self.put_attributes();
        self.out.put(b">");
    }

    fn add_attribute(&mut self, namespace: &'a str, qualified: &'a str, value: &'a str) {
        if !prefix_of(qualified).is_empty() {
            self.used.push((prefix_of(qualified), namespace));
        }
        self.attributes.push((namespace, local_of(qualified), qualified, value));
    }

    fn put_attributes(&mut self) {
        // Sorted by namespace, then local name (C14N §2.2, document order).
        self.attributes.sort_unstable();
        for (_, _, qualified, value) in self.attributes.drain(..) {
            self.out.put(b" ");
            self.out.put(qualified.as_bytes());
            self.out.put(b"=\"");
            put_attribute(value, self.out);
            self.out.put(b"\"");
        }
    }

    fn add_inclusive<'i>(&mut self, element: Node<'a, 'i>)
    where
        'i: 'a,
    {
        for wanted in self.inclusive_prefixes {
            let wanted = (*wanted != "#default").then_some(*wanted);
            // The element's own handle keeps the text alive, hence the round through the parsed declarations.
            let declared = element.namespaces().find(|declared| declared.name() == wanted);
            if let Some(declared) = declared
                && let Some(uri) = element.lookup_namespace_uri(wanted)
            {
                self.used.push((declared.name().unwrap_or(""), uri));
            } else if wanted.is_none() {
                self.used.push(("", element.default_namespace().unwrap_or("")));
            }
        }
    }

    fn declare(&mut self) {
        self.used.sort_unstable();
        self.used.dedup();
        for (prefix, uri) in self.used.drain(..) {
            let before = self.rendered.iter().rev().find(|(rendered, _)| *rendered == prefix).map(|(_, uri)| *uri);
            let superfluous = before == Some(uri) || (before.is_none() && prefix.is_empty() && uri.is_empty());
            if prefix == "xml" || superfluous {
                continue;
            }
            self.out.put(b" xmlns");
            if !prefix.is_empty() {
                self.out.put(b":");
                self.out.put(prefix.as_bytes());
            }
            self.out.put(b"=\"");
            put_attribute(uri, self.out);
            self.out.put(b"\"");
            self.rendered.push((prefix, uri));
        }
    }

    fn end(&mut self) {
        if let Some(open) = self.open.pop() {
            self.out.put(b"</");
            self.out.put(open.name.as_bytes());
            self.out.put(b">");
            self.rendered.truncate(open.rendered_before);
        }
    }

    fn instruction(&mut self, node: Node<'_, '_>) {
        if let Some(instruction) = node.pi() {
            self.out.put(b"<?");
            self.out.put(instruction.target.as_bytes());
            if let Some(value) = instruction.value {
                self.out.put(b" ");
                self.out.put(value.as_bytes());
            }
            self.out.put(b"?>");
        }
    }
}

/// The name as written, prefix included: the source from after `<` to the first delimiter.
fn qualified_name<'a>(source: &'a str, element: Node<'_, '_>) -> &'a str {
    let rest = source.get(element.range().start + 1..).unwrap_or("");
    let is_delimiter = |byte: u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'/' | b'>');
    let end = rest.bytes().position(is_delimiter).unwrap_or(rest.len());
    rest.get(..end).unwrap_or("")
}

fn prefix_of(qualified: &str) -> &str {
    qualified.split_once(':').map_or("", |(prefix, _)| prefix)
}

fn local_of(qualified: &str) -> &str {
    qualified.split_once(':').map_or(qualified, |(_, local)| local)
}

fn put_text(text: &str, out: &mut impl Sink) {
    put_escaped(text, out, |byte| match byte {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        b'>' => Some(b"&gt;"),
        b'\r' => Some(b"&#xD;"),
        _ => None,
    });
}

fn put_attribute(value: &str, out: &mut impl Sink) {
    put_escaped(value, out, |byte| match byte {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        b'"' => Some(b"&quot;"),
        b'\t' => Some(b"&#x9;"),
        b'\n' => Some(b"&#xA;"),
        b'\r' => Some(b"&#xD;"),
        _ => None,
    });
}

fn put_escaped(raw: &str, out: &mut impl Sink, reference: impl Fn(u8) -> Option<&'static [u8]>) {
    let bytes = raw.as_bytes();
    let mut from = 0;
    for (index, byte) in bytes.iter().enumerate() {
        if let Some(reference) = reference(*byte) {
            out.put(&bytes[from..index]);
            out.put(reference);
            from = index + 1;
        }
    }
    out.put(&bytes[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str, path: &[&str], prefixes: &[&str]) -> String {
        let document = roxmltree::Document::parse(text).unwrap();
        let mut out = Vec::new();
        canonicalize(at(&document, path), prefixes, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn at<'a, 'i>(document: &'a roxmltree::Document<'i>, path: &[&str]) -> Node<'a, 'i> {
        let child = |node: Node<'a, 'i>, name| node.children().find(|child| child.tag_name().name() == name).unwrap();
        path.iter().fold(document.root_element(), |node, name| child(node, *name))
    }

    #[test]
    fn a_planned_attribute_makes_the_form_that_it_will_have() {
        for (scope, attributes, inside) in [
            ("", "", "<c/>text"),
            ("xmlns='urn:d'", "b='1' a='2'", "<p:c xmlns:p='urn:wsu' p:Id='x'/>"),
            ("xmlns:wsu='urn:wsu'", "wsu:Other='1' z='2'", "<wsu:c/><d xmlns:wsu='urn:other' wsu:e='1'/>"),
            ("xmlns:wsu='urn:wsu' xmlns:a='urn:a' xmlns:z='urn:z'", "z:z='1' a:a='2' xml:lang='en'", "<a:c/>"),
        ] {
            let is_declared = scope.contains("xmlns:wsu");
            let declaration = if is_declared { "" } else { " xmlns:wsu='urn:wsu'" };
            let before = format!("<r {scope}><b {attributes}>{inside}</b></r>");
            let after = format!("<r {scope}><b{declaration} wsu:Id='it' {attributes}>{inside}</b></r>");
            let planned = Planned { namespace: "urn:wsu", prefix: "wsu", name: "Id", value: "it" };
            let document = roxmltree::Document::parse(&before).unwrap();
            let mut out = Vec::new();
            canonicalize_planned(at(&document, &["b"]), &planned, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), canonical(&after, &["b"], &[]));
        }
    }

    #[test]
    fn only_namespaces_in_use_are_rendered_where_they_are_first_used() {
        let text = "<r xmlns='u:d' xmlns:a='u:a' xmlns:b='u:b'><b:x c='2' a:c='1'><y/></b:x></r>";
        assert_eq!(
            canonical(text, &["x"], &[]),
            r#"<b:x xmlns:a="u:a" xmlns:b="u:b" c="2" a:c="1"><y xmlns="u:d"></y></b:x>"#
        );
        assert_eq!(canonical(text, &["x", "y"], &["a"]), r#"<y xmlns="u:d" xmlns:a="u:a"></y>"#);
    }

    #[test]
    fn comments_go_and_special_characters_stay_escaped() {
        let text = "<r a=\"&#10;&quot;&lt;>'\">x<!-- c -->&amp;&#13;<![CDATA[<]]></r>";
        assert_eq!(canonical(text, &[], &[]), "<r a=\"&#xA;&quot;&lt;>'\">x&amp;&#xD;&lt;</r>");
    }

    #[test]
    fn an_undeclared_default_namespace_is_undone_only_where_it_was_rendered() {
        let text = "<r xmlns='u'><a xmlns=''><b/></a></r>";
        assert_eq!(canonical(text, &[], &[]), "<r xmlns=\"u\"><a xmlns=\"\"><b></b></a></r>");
        assert_eq!(canonical(text, &["a"], &[]), "<a><b></b></a>");
    }

    #[test]
    fn a_very_deep_tree_does_not_exhaust_the_stack() {
        let depth = 1000;
        let text = format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert_eq!(canonical(&text, &[], &[]), text);
    }
}
