//! Bytes from a stranger come in; an XML tree of bounded size goes out, or the reason why not.
//!
//! A cheap scan of events runs before the tree is built, because the tree's cost grows with the square of attributes and
//! namespace declarations. A document type is always refused, and so no entity, internal or external, ever exists.

use super::is_xml_char;
use quick_xml::{
    Reader,
    events::{BytesStart, Event, attributes::Attribute},
    name::PrefixDeclaration,
};
use roxmltree::{Document, ParsingOptions};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    pub size_bytes: usize,
    pub depth: usize,
    pub attributes_per_element: usize,
    pub namespace_declarations: usize,
    pub nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            size_bytes: 16 << 20,
            depth: 100,
            attributes_per_element: 64,
            namespace_declarations: 512,
            nodes: 400_000,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlRefusal {
    #[error("the XML is larger than {limit_bytes} bytes")]
    TooLarge { limit_bytes: usize },
    #[error("the XML nests deeper than {limit} elements")]
    TooDeep { limit: usize },
    #[error("an element has more than {limit} attributes")]
    TooManyAttributes { limit: usize },
    #[error("the XML declares more than {limit} namespaces")]
    TooManyNamespaces { limit: usize },
    #[error("the XML has more than {limit} nodes")]
    TooManyNodes { limit: usize },
    #[error("the XML has a document type, which is never read")]
    DocumentType,
    #[error("the XML has a processing instruction, which is never read")]
    ProcessingInstruction,
    #[error("the XML is not UTF-8: {0}")]
    Encoding(String),
    #[error("the XML is not well-formed: {0}")]
    Malformed(String),
}

/// Parses within the default limits.
pub fn parse(text: &str) -> Result<Document<'_>, XmlRefusal> {
    parse_within(text, &Limits::default())
}

fn parse_within<'input>(text: &'input str, limits: &Limits) -> Result<Document<'input>, XmlRefusal> {
    if text.len() > limits.size_bytes {
        return Err(XmlRefusal::TooLarge { limit_bytes: limits.size_bytes });
    }
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    // XML 1.1 has other line ends and other characters, and every other version is unheard of.
    if declared(text, "version").is_some_and(|version| version != "1.0") {
        return Err(XmlRefusal::Malformed("in its version".into()));
    }
    if has_ambiguous_line_end(text) {
        return Err(XmlRefusal::Malformed("in a line end beside a reference".into()));
    }
    scan(text, limits)?;
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: u32::try_from(limits.nodes).unwrap_or(u32::MAX),
        entity_resolver: None,
    };
    Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::DtdDetected => XmlRefusal::DocumentType,
        roxmltree::Error::NodesLimitReached => XmlRefusal::TooManyNodes { limit: limits.nodes },
        error => XmlRefusal::Malformed(place_of(&error)),
    })
}

/// The text of bytes that must be UTF-8, with or without its byte order mark.
pub fn decode(bytes: &[u8]) -> Result<&str, XmlRefusal> {
    if bytes.starts_with(&[0xFE, 0xFF])
        || bytes.starts_with(&[0xFF, 0xFE])
        || bytes.iter().take(4).any(|byte| *byte == 0)
    {
        return Err(XmlRefusal::Encoding("it seems to be UTF-16 or UTF-32".into()));
    }
    let bytes = bytes.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(bytes);
    let text =
        str::from_utf8(bytes).map_err(|error| XmlRefusal::Encoding(format!("at byte {}", error.valid_up_to())))?;
    // `parse` takes a mark away too: with two of them, it would take one for no character at all.
    if text.starts_with('\u{FEFF}') {
        return Err(XmlRefusal::Encoding("it has two byte order marks".into()));
    }
    match declared(text, "encoding") {
        Some(name) if !["utf-8", "utf8", "us-ascii", "ascii"].contains(&name.to_ascii_lowercase().as_str()) => {
            Err(XmlRefusal::Encoding("its declaration names another encoding".into()))
        }
        _ => Ok(text),
    }
}

/// The scan: quick-xml's events cost microseconds and build nothing.
fn scan(text: &str, limits: &Limits) -> Result<(), XmlRefusal> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let (mut depth, mut namespaces) = (0_usize, 0_usize);
    for _ in 0..limits.nodes {
        match reader.read_event().map_err(|_| malformed_at(reader.error_position()))? {
            Event::Start(start) => {
                depth += 1;
                if depth > limits.depth {
                    return Err(XmlRefusal::TooDeep { limit: limits.depth });
                }
                count_attributes(&start, &mut namespaces, limits)?;
            }
            Event::Empty(start) => count_attributes(&start, &mut namespaces, limits)?,
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::DocType(_) => return Err(XmlRefusal::DocumentType),
            Event::PI(_) => return Err(XmlRefusal::ProcessingInstruction),
            Event::Eof => return Ok(()),
            Event::GeneralRef(reference) if !is_reference(&reference) => {
                return Err(malformed_at(reader.buffer_position()));
            }
            Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::GeneralRef(_) => {}
        }
    }
    Err(XmlRefusal::TooManyNodes { limit: limits.nodes })
}

fn count_attributes(start: &BytesStart<'_>, namespaces: &mut usize, limits: &Limits) -> Result<(), XmlRefusal> {
    for (index, attribute) in start.attributes().with_checks(false).enumerate() {
        if index >= limits.attributes_per_element {
            return Err(XmlRefusal::TooManyAttributes { limit: limits.attributes_per_element });
        }
        let attribute = attribute.map_err(|_| XmlRefusal::Malformed("in the attributes of an element".into()))?;
        let is_sound = is_binding(&attribute) && attribute.value.split('&').skip(1).all(starts_reference);
        if !is_sound {
            return Err(XmlRefusal::Malformed("in the attributes of an element".into()));
        }
        *namespaces += usize::from(attribute.key.as_namespace_binding().is_some());
        if *namespaces > limits.namespace_declarations {
            return Err(XmlRefusal::TooManyNamespaces { limit: limits.namespace_declarations });
        }
    }
    Ok(())
}

// What the tree's parser lets pass, and other readers take for something else or refuse.

/// A carriage return alone is a line end (XML 1.0, section 2.11), but beside a reference the tree's parser keeps it as it
/// is: its canonical form would be another one than everybody else's. Nothing writes such line ends any more.
fn has_ambiguous_line_end(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_ambiguous =
        |(at, _): (usize, &str)| match (at.checked_sub(1).and_then(|at| bytes.get(at)), bytes.get(at + 1)) {
            (_, Some(b'\n')) => false,
            (before, behind) => before == Some(&b';') || behind == Some(&b'&'),
        };
    text.match_indices('\r').any(is_ambiguous)
}

/// No prefix can be unbound, and `xmlns` is none (Namespaces in XML 1.0, section 3).
fn is_binding(attribute: &Attribute<'_>) -> bool {
    match attribute.key.as_namespace_binding() {
        Some(PrefixDeclaration::Named(prefix)) => prefix != "xmlns" && !attribute.value.is_empty(),
        Some(PrefixDeclaration::Default) | None => true,
    }
}

fn starts_reference(behind_ampersand: &str) -> bool {
    behind_ampersand.split_once(';').is_some_and(|(name, _)| is_reference(name))
}

/// A reference to a character names one that XML has: others would silently become U+FFFD. The names of entities are
/// left to the tree's parser.
fn is_reference(name: &str) -> bool {
    let Some(number) = name.strip_prefix('#') else { return true };
    // The library's numbers may have a sign.
    if number.contains('+') {
        return false;
    }
    let code = match number.strip_prefix('x') {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
        None => number.parse(),
    };
    code.ok().and_then(char::from_u32).is_some_and(is_xml_char)
}

// Only places: the parsers' own words may quote the document, and documents are about people.

fn malformed_at(byte: u64) -> XmlRefusal {
    XmlRefusal::Malformed(format!("at byte {byte}"))
}

fn place_of(error: &roxmltree::Error) -> String {
    let place = error.pos();
    format!("at line {}, column {}", place.row, place.col)
}

/// The value of a pseudo-attribute of the XML declaration: `version` or `encoding`.
pub fn declared<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let declaration = text.strip_prefix("<?xml")?.split_once("?>")?.0;
    let value = declaration.split_once(name)?.1.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    value.get(1..)?.split_once(quote).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_document_type_is_refused_with_or_without_entities() {
        for text in ["<!DOCTYPE a><a/>", "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>", "<!DOCTYPE a SYSTEM \"x\"><a/>"]
        {
            assert_eq!(parse(text).err(), Some(XmlRefusal::DocumentType), "{text}");
        }
        assert!(matches!(parse("<a>&x;</a>"), Err(XmlRefusal::Malformed(_))));
    }

    #[test]
    fn every_limit_has_its_own_refusal() {
        let limits =
            Limits { size_bytes: 10_000, depth: 3, attributes_per_element: 2, namespace_declarations: 2, nodes: 20 };
        let refusal = |text: &str| parse_within(text, &limits).err();
        assert_eq!(refusal(&" ".repeat(10_001)), Some(XmlRefusal::TooLarge { limit_bytes: 10_000 }));
        assert_eq!(refusal("<a><a><a><a/></a></a></a>"), None);
        assert_eq!(refusal("<a><a><a><a></a></a></a></a>"), Some(XmlRefusal::TooDeep { limit: 3 }));
        assert_eq!(refusal("<a b='' c='' d=''/>"), Some(XmlRefusal::TooManyAttributes { limit: 2 }));
        let many = "<a xmlns='u'><b xmlns='v'/><b xmlns:x='w'/></a>";
        assert_eq!(refusal(many), Some(XmlRefusal::TooManyNamespaces { limit: 2 }));
        let nodes = format!("<a>{}</a>", "<b/>".repeat(20));
        assert_eq!(refusal(&nodes), Some(XmlRefusal::TooManyNodes { limit: 20 }));
        assert_eq!(refusal("<a><?php x?></a>"), Some(XmlRefusal::ProcessingInstruction));
        assert_eq!(refusal("<?xml version='1.0'?><a/>"), None);
    }

    #[test]
    fn only_utf8_is_decoded() {
        assert_eq!(decode(b"\xEF\xBB\xBF<a/>"), Ok("<a/>"));
        assert_eq!(decode("<?xml version='1.0' encoding=\"UTF-8\"?><a/>".as_bytes()).map(str::len), Ok(42));
        for bad in
            [&b"\xFF\xFE<\0a\0"[..], b"\0<\0a", b"<a>\xE9</a>", b"<?xml version='1.0' encoding='ISO-8859-1'?><a/>"]
        {
            assert!(matches!(decode(bad), Err(XmlRefusal::Encoding(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_flood_of_namespaces_is_refused_at_once() {
        let open: String = (0..4000).map(|i| format!("<p{i}:e xmlns:p{i}='u{i}'>")).collect();
        let begun = std::time::Instant::now();
        assert!(parse(&open).is_err());
        assert!(begun.elapsed().as_secs() < 2);
    }

    #[test]
    fn what_other_readers_would_take_otherwise_is_refused() {
        for text in [
            "<?xml version='1.1'?><a/>",
            "<?xml version=\"2.0\"?><a/>",
            "<a>&#xD800;</a>",
            "<a>&#0;</a>",
            "<a>&#x110000;</a>",
            "<a>&#+65;</a>",
            "<a b='&#xDFFF;'/>",
            "<a b='x&amp;&#1;'/>",
            "<a xmlns:b='u'><c xmlns:b=''/></a>",
            "<a xmlns:xmlns='u'/>",
            "<a>x\r&#65;</a>",
            "<a>&#65;\r</a>",
        ] {
            assert!(matches!(parse(text), Err(XmlRefusal::Malformed(_))), "{text}");
        }
        assert!(parse("<a>&#65;\r\n&#66;y\rx\r\n</a>").is_ok());
        assert!(parse("<?xml version='1.0'?><a xmlns='u' b='&#x41;&amp;'><c xmlns=''>&#65;&lt;</c></a>").is_ok());
        assert!(matches!(decode("\u{FEFF}\u{FEFF}<a/>".as_bytes()), Err(XmlRefusal::Encoding(_))));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn no_xml_like_text_makes_it_panic(text in "(<[a-c/!?]{0,3}( [a-c:xmlns]{1,6}=['\"]?[a-c&;]{0,4}['\"]?)?/?>|[a-c&;#x0-9]{0,5}|<!--|-->|<!\\[CDATA\\[|\\]\\]>){0,20}") {
            if let Ok(document) = parse(&text) {
                let mut out = Vec::new();
                crate::xml::canonicalize(document.root_element(), &[], &mut out);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
