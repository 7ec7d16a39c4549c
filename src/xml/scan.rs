//! The text of a document comes in, before its tree is built; what would be too much for the tree is refused, and so is what
//! the tree's parser lets pass and other readers take for something else.
//!
//! It only tells tags, comments, sections and text apart. Up to the first place that is not well-formed, this is how the
//! tree's parser tells them apart too, and there the parser stops.

use super::{
    is_xml_char,
    limits::{Limits, XmlRefusal},
};
use memchr::{memchr, memchr2, memchr3, memmem};

pub(super) fn scan(text: &str, limits: &Limits) -> Result<(), XmlRefusal> {
    let (mut scan, mut depth) = (Scan { text, at: 0, namespaces: 0, limits }, 0_usize);
    scan.pass_declaration()?;
    while scan.pass_text()? {
        match scan.pass_markup()? {
            Passed::Start => depth += 1,
            Passed::End => depth = depth.saturating_sub(1),
            Passed::Other => {}
        }
        if depth > limits.depth {
            return Err(XmlRefusal::TooDeep { limit: limits.depth });
        }
    }
    Ok(())
}

/// What it has come by, as far as depth goes.
enum Passed {
    Start,
    End,
    /// An empty element, a comment, a section.
    Other,
}

struct Scan<'a> {
    text: &'a str,
    /// A byte of it, at the beginning of a character.
    at: usize,
    /// Declared so far.
    namespaces: usize,
    limits: &'a Limits,
}

const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn malformed(&self) -> XmlRefusal {
        XmlRefusal::Malformed(format!("at byte {}", self.at))
    }

    fn pass_declaration(&mut self) -> Result<(), XmlRefusal> {
        match self.rest().strip_prefix("<?xml").is_some_and(|rest| rest.starts_with(WHITE_SPACE)) {
            true => self.pass_until("?>"),
            false => Ok(()),
        }
    }

    /// Up to the next markup; `false` if there is none.
    fn pass_text(&mut self) -> Result<bool, XmlRefusal> {
        while let Some(length) = memchr2(b'<', b'&', self.rest().as_bytes()) {
            self.at += length;
            if self.rest().starts_with('<') {
                return Ok(true);
            }
            self.at += 1;
            if !starts_reference(self.rest()) {
                return Err(self.malformed());
            }
        }
        Ok(false)
    }

    fn pass_markup(&mut self) -> Result<Passed, XmlRefusal> {
        let other = |()| Passed::Other;
        match self.rest().as_bytes() {
            [b'<', b'/', ..] => self.pass_until(">").map(|()| Passed::End),
            [b'<', b'!', b'-', b'-', ..] => {
                self.at += "<!--".len();
                self.pass_until("-->").map(other)
            }
            [b'<', b'!', b'[', ..] => self.pass_until("]]>").map(other),
            [b'<', b'!', b'D' | b'd', ..] => Err(XmlRefusal::DocumentType),
            [b'<', b'!', ..] => Err(self.malformed()),
            [b'<', b'?', ..] => Err(XmlRefusal::ProcessingInstruction),
            _ => self.pass_start_tag(),
        }
    }

    fn pass_until(&mut self, end: &str) -> Result<(), XmlRefusal> {
        let length = memmem::find(self.rest().as_bytes(), end.as_bytes()).ok_or_else(|| self.malformed())?;
        self.at += length + end.len();
        Ok(())
    }

    fn pass_start_tag(&mut self) -> Result<Passed, XmlRefusal> {
        let mut attributes = 0;
        loop {
            let (before, end) = self.pass_until_quote_or_end()?;
            if end == b'>' {
                return Ok(if before.ends_with('/') { Passed::Other } else { Passed::Start });
            }
            attributes += 1;
            if attributes > self.limits.attributes_per_element {
                return Err(XmlRefusal::TooManyAttributes { limit: self.limits.attributes_per_element });
            }
            let length = memchr(end, self.rest().as_bytes()).ok_or_else(|| self.malformed())?;
            let value = self.rest().get(..length).unwrap_or_default();
            self.check_attribute(before, value)?;
            self.at += value.len() + 1;
        }
    }

    /// What stands before it within the tag, and which of them it is.
    fn pass_until_quote_or_end(&mut self) -> Result<(&'a str, u8), XmlRefusal> {
        let rest = self.rest();
        let length = memchr3(b'>', b'"', b'\'', rest.as_bytes()).ok_or_else(|| self.malformed())?;
        self.at += length + 1;
        Ok((rest.get(..length).unwrap_or_default(), rest.as_bytes()[length]))
    }

    /// `before`: what stands before its value, and ends with its name.
    fn check_attribute(&mut self, before: &str, value: &str) -> Result<(), XmlRefusal> {
        let name = before.trim_end_matches(WHITE_SPACE).strip_suffix('=').map(|it| it.trim_end_matches(WHITE_SPACE));
        let name = name.and_then(|name| name.rsplit(WHITE_SPACE).next()).ok_or_else(|| self.malformed())?;
        let prefix = name.strip_prefix("xmlns:");
        // No prefix can be unbound, and `xmlns` is none (Namespaces in XML 1.0, section 3).
        let is_sound = prefix.is_none_or(|prefix| prefix != "xmlns" && !value.is_empty());
        if !is_sound || !has_sound_references(value) {
            return Err(self.malformed());
        }
        self.namespaces += usize::from(prefix.is_some() || name == "xmlns");
        match self.namespaces > self.limits.namespace_declarations {
            true => Err(XmlRefusal::TooManyNamespaces { limit: self.limits.namespace_declarations }),
            false => Ok(()),
        }
    }
}

fn has_sound_references(value: &str) -> bool {
    memchr(b'&', value.as_bytes()).is_none() || value.split('&').skip(1).all(starts_reference)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use roxmltree::{Document, Node};

    fn refusal(text: &str, depth: usize) -> Option<XmlRefusal> {
        scan(text, &Limits { depth, attributes_per_element: 2, namespace_declarations: 2, ..Limits::default() }).err()
    }

    #[test]
    fn what_stands_in_quotes_comments_and_sections_is_no_markup() {
        for text in [
            "<a b='<c><c>' d=\"'>/>\"></a>",
            "<a><!-- <c><c> & &#0; ' --></a>",
            "<a><![CDATA[<c><c> & &#0; ']]></a>",
            "<?xml version='1.0'?>\n<a>it's <!----> \"</a>",
            "<?xml\nversion='1.0'?><a b = 'c'/>",
            "<a><b\n/><b></b><b c='>' /></a>",
        ] {
            assert_eq!(refusal(text, 2), None, "{text}");
        }
        assert_eq!(refusal("<a b='/>'><c><d>", 2), Some(XmlRefusal::TooDeep { limit: 2 }));
        assert_eq!(refusal("<!----><a><![CDATA[]]]]></a>]]><c><d><e>", 2), Some(XmlRefusal::TooDeep { limit: 2 }));
    }

    #[test]
    fn attributes_are_counted_however_they_are_written() {
        for text in ["<a b='' c=\"\" d=''>", "<a b=''c=''d=''>", "<a\nb =''\tc= ''\r\nd\n=\n''/>"] {
            assert_eq!(refusal(text, 2), Some(XmlRefusal::TooManyAttributes { limit: 2 }), "{text}");
        }
        for text in ["<a xmlns='u'><b xmlns:x='v' xmlns='w'/>", "<a xmlns:x='u'xmlns:y='v'/><a\nxmlns\n=\n'u'>"] {
            assert_eq!(refusal(text, 2), Some(XmlRefusal::TooManyNamespaces { limit: 2 }), "{text}");
        }
        for text in ["<a b'c'>", "<a b='c>", "<a 'b'>", "<a b", "<!-- ->", "<![CDATA[]>", "</a", "<?xml "] {
            assert!(matches!(refusal(text, 2), Some(XmlRefusal::Malformed(_))), "{text}");
        }
    }

    fn depth(element: Node<'_, '_>) -> usize {
        let is_pair = !element.document().input_text()[element.range()].ends_with("/>");
        element.ancestors().filter(Node::is_element).count() - usize::from(!is_pair)
    }

    proptest! {
        #[test]
        fn it_sees_the_elements_that_the_trees_parser_sees(
            text in "(<b( [xy]=('[a-c>\"/]{0,4}'|\"[a-c>'/]{0,4}\")){0,2} ?/?>|</b>|<!--[a-c<>'\"]{0,4}-->|<!\\[CDATA\\[[a-c<>\\]'\"]{0,4}\\]\\]>|[a-c>/'\"]{0,3}){0,12}"
        ) {
            let text = format!("<a>{text}</a>");
            if let Ok(document) = Document::parse(&text) {
                let deepest = document.descendants().filter(Node::is_element).map(depth).max().unwrap_or(0);
                prop_assert_eq!(refusal(&text, deepest), None);
                prop_assert_eq!(refusal(&text, deepest - 1), Some(XmlRefusal::TooDeep { limit: deepest - 1 }));
            }
        }
    }
}
