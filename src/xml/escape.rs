//! Any text comes in; text that may stand in an XML element or attribute goes out, or the character that XML cannot carry.

use std::borrow::Cow;

/// XML 1.0 has no way to write this character, not even escaped (§2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the character U+{:04X} cannot be written in XML", u32::from(*.0))]
pub struct ForbiddenCharacter(pub char);

/// Escapes for element content. A carriage return is written as a reference, because parsers would turn it into a newline.
pub fn text(raw: &str) -> Result<Cow<'_, str>, ForbiddenCharacter> {
    escape(raw, |character| match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '\r' => Some("&#xD;"),
        _ => None,
    })
}

/// Escapes for an attribute's value in either kind of quotes. White space is written as references, because parsers
/// would turn it into spaces (§3.3.3).
pub fn attribute(raw: &str) -> Result<Cow<'_, str>, ForbiddenCharacter> {
    escape(raw, |character| match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\'' => Some("&#x27;"),
        '\t' => Some("&#x9;"),
        '\n' => Some("&#xA;"),
        '\r' => Some("&#xD;"),
        _ => None,
    })
}

/// XML 1.0 §2.2, production `Char`.
pub fn is_xml_char(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

fn escape(raw: &str, reference: impl Fn(char) -> Option<&'static str>) -> Result<Cow<'_, str>, ForbiddenCharacter> {
    if let Some(forbidden) = raw.chars().find(|character| !is_xml_char(*character)) {
        return Err(ForbiddenCharacter(forbidden));
    }
    if raw.chars().all(|character| reference(character).is_none()) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut escaped = String::with_capacity(raw.len() + 16);
    for character in raw.chars() {
        match reference(character) {
            Some(reference) => escaped.push_str(reference),
            None => escaped.push(character),
        }
    }
    Ok(Cow::Owned(escaped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn characters_outside_xml_are_refused() {
        for bad in ["\u{0}", "a\u{1}", "\u{B}", "\u{1F}", "\u{FFFE}", "\u{FFFF}"] {
            assert!(text(bad).is_err() && attribute(bad).is_err(), "{bad:?}");
        }
        assert!(text("\t\n\r \u{7F}é\u{1F600}").is_ok());
    }

    proptest! {
        #[test]
        fn what_was_escaped_reads_back_as_it_was(raw in ".*") {
            if let (Ok(content), Ok(value)) = (text(&raw), attribute(&raw)) {
                let written = format!("<a b=\"{value}\">{content}</a>");
                let read = roxmltree::Document::parse(&written).unwrap();
                prop_assert_eq!(read.root_element().attribute("b").unwrap(), raw.as_str());
                prop_assert_eq!(read.root_element().text().unwrap_or(""), raw.as_str());
            }
        }
    }
}
