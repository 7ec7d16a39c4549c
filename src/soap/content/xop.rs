//! An XML text whose binary contents were sent as parts of their own (XOP, MTOM) comes in; the same text with the contents
//! in their places, in base64, goes out.
//!
//! That is the text that signatures are about and that filters see: the standard calls it the original infoset.

use super::multipart::Part;
use crate::{
    domain::{byte_of_hex, grouped},
    xml::{self, XmlRefusal},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use roxmltree::Node;

const XOP: &str = "http://www.w3.org/2004/08/xop/include";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XopRefusal {
    #[error(transparent)]
    Xml(#[from] XmlRefusal),
    #[error("an xop:Include must stand alone in its element and name one part by its Content-ID")]
    Form,
    #[error("an xop:Include names a part that is not there exactly once")]
    NoPart,
    #[error("it is larger than {} bytes with its parts in their places", grouped(*limit_bytes))]
    TooLarge { limit_bytes: usize },
}

/// Which parts have found a place is told, too. `None`: the text has no place for any.
pub fn included(text: &str, parts: &[Part], limit_bytes: usize) -> Result<Option<(String, Vec<bool>)>, XopRefusal> {
    if !text.contains(XOP) {
        return Ok(None);
    }
    let document = xml::parse(text)?;
    let source = document.input_text();
    let (mut whole, mut from, mut used) = (String::with_capacity(text.len()), 0, vec![false; parts.len()]);
    for include in document.descendants().filter(|node| node.has_tag_name((XOP, "Include"))) {
        let index = named_by(include, parts)?;
        let content = parts.get(index).map(|part| part.content.as_ref()).unwrap_or_default();
        if whole.len() + include.range().start.saturating_sub(from) + content.len() / 3 * 4 > limit_bytes {
            return Err(XopRefusal::TooLarge { limit_bytes });
        }
        whole.push_str(source.get(from..include.range().start).unwrap_or_default());
        STANDARD.encode_string(content, &mut whole);
        from = include.range().end;
        used.iter_mut().skip(index).take(1).for_each(|it| *it = true);
    }
    whole.push_str(source.get(from..).unwrap_or_default());
    match whole.len() > limit_bytes {
        true => Err(XopRefusal::TooLarge { limit_bytes }),
        false => Ok(Some((whole, used))),
    }
}

/// XOP 1.0, section 2.1: it is the only child of its element. An Include within another one is none.
fn named_by(include: Node<'_, '_>, parts: &[Part]) -> Result<usize, XopRefusal> {
    let parent = include.parent().filter(Node::is_element).ok_or(XopRefusal::Form)?;
    let is_alone =
        parent.children().all(|child| child == include || child.is_text() && child.text().is_none_or(is_space));
    let is_within = include.ancestors().skip(1).any(|above| above.has_tag_name((XOP, "Include")));
    let id = include.attribute("href").and_then(|href| href.strip_prefix("cid:")).and_then(unescaped);
    let Some(id) = id.filter(|_| is_alone && !is_within) else { return Err(XopRefusal::Form) };
    let mut found = parts.iter().enumerate().filter(|(_, part)| part.id.as_deref() == Some(id.as_str()));
    match (found.next(), found.next()) {
        (Some((index, _)), None) => Ok(index),
        _ => Err(XopRefusal::NoPart),
    }
}

/// XML's white space alone (XML 1.0, section 2.3).
fn is_space(text: &str) -> bool {
    text.chars().all(|c| matches!(c, ' ' | '\t' | '\r' | '\n'))
}

/// A `cid:` address escapes what a Content-ID may hold and an address may not (RFC 2392).
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = match (first, behind) {
            (b'%', [high, low, after @ ..]) => {
                bytes.push(byte_of_hex([*high, *low])?);
                after
            }
            (byte, after) => {
                bytes.push(*byte);
                after
            }
        };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn part(id: &str, content: &'static [u8]) -> Part {
        Part { number: 1, id: Some(id.into()), media_type: Default::default(), content: Bytes::from_static(content) }
    }

    fn text(includes: &str) -> String {
        format!("<a xmlns:x='{XOP}'>{includes}</a>")
    }

    #[test]
    fn contents_take_their_places() {
        let parts = [part("p1@x", b"abc"), part("p 2", b""), part("p3", b"more")];
        let whole =
            text("<b>é<c> <x:Include href='cid:p1%40x'/>\n</c></b><d><x:Include href=\"cid:p%202\"></x:Include></d>");
        let (included, used) = included(&whole, &parts, 1000).unwrap().unwrap();
        assert_eq!(included, text("<b>é<c> YWJj\n</c></b><d></d>"));
        assert_eq!(used, [true, true, false]);
        assert_eq!(super::included("<a/>", &parts, 1000), Ok(None));
    }

    #[test]
    fn what_stands_for_no_part_is_refused() {
        let parts = [part("p", b"abc"), part("two", b""), part("two", b"")];
        for (includes, refusal) in [
            ("<x:Include href='cid:q'/>", XopRefusal::NoPart),
            ("<x:Include href='cid:two'/>", XopRefusal::NoPart),
            ("<x:Include href='https://x/p'/>", XopRefusal::Form),
            ("<x:Include/>", XopRefusal::Form),
            ("text<x:Include href='cid:p'/>", XopRefusal::Form),
            ("<x:Include href='cid:p'/><c/>", XopRefusal::Form),
            ("<x:Include href='cid:p'/><c> </c>", XopRefusal::Form),
            ("<x:Include href='cid:p'/>\u{a0}", XopRefusal::Form),
            ("<x:Include href='cid:%+70'/>", XopRefusal::Form),
            ("<x:Include href='cid:%+7'/>", XopRefusal::Form),
            ("<x:Include href='cid:p'/><x:Include href='cid:p'/>", XopRefusal::Form),
            ("<x:Include href='cid:p'><c><x:Include href='cid:p'/></c></x:Include>", XopRefusal::Form),
        ] {
            assert_eq!(included(&text(includes), &parts, 1000), Err(refusal), "{includes}");
        }
        assert_eq!(
            included("<x:Include xmlns:x='http://www.w3.org/2004/08/xop/include' href='cid:p'/>", &parts, 1000),
            Err(XopRefusal::Form)
        );
    }

    #[test]
    fn a_part_that_is_named_a_thousand_times_is_stopped() {
        let parts = [part("p", &[7; 3000])];
        let many = text(&"<b><x:Include href='cid:p'/></b>".repeat(1000));
        assert_eq!(included(&many, &parts, 100_000), Err(XopRefusal::TooLarge { limit_bytes: 100_000 }));
    }
}
