//! An attribute's value: an ASN.1 string of any kind comes in, its text goes out, so that the kinds are compared as texts.

use super::super::is_invisible;
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    Text(String),
    /// No string, or one whose bytes are not of its kind: tag and content.
    Other(Vec<u8>),
}

// X.680, section 8.6.
const UTF8: u8 = 12;
const NUMERIC: u8 = 18;
const PRINTABLE: u8 = 19;
const T61: u8 = 20;
const IA5: u8 = 22;
const GRAPHIC: u8 = 25;
const VISIBLE: u8 = 26;
const GENERAL: u8 = 27;
const UNIVERSAL: u8 = 28;
const BMP: u8 = 30;

impl Value {
    /// What a string of this universal tag says.
    pub fn from_der(tag: u8, content: &[u8]) -> Self {
        text_of(tag, content).map_or_else(|| Self::Other([&[tag], content].concat()), Self::Text)
    }

    /// Without what case and white space say.
    pub(super) fn folded(&self) -> Self {
        match self {
            Value::Text(text) => Value::Text(text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")),
            other @ Value::Other(_) => other.clone(),
        }
    }

    /// A whole DER value, tag and length included, of less than 65,536 bytes.
    pub(super) fn from_whole_der(der: &[u8]) -> Option<Self> {
        let (tag, rest) = der.split_first()?;
        let (length, content) = match rest {
            [length @ 0..=127, content @ ..] => (usize::from(*length), content),
            [0x81, length, content @ ..] => (usize::from(*length), content),
            [0x82, high, low, content @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), content),
            _ => return None,
        };
        (content.len() == length).then(|| Self::from_der(*tag, content))
    }
}

fn text_of(tag: u8, content: &[u8]) -> Option<String> {
    match tag {
        UTF8 => String::from_utf8(content.to_vec()).ok(),
        // Some authorities put UTF-8 into these; no other reading of such bytes makes sense.
        NUMERIC | PRINTABLE | IA5 | VISIBLE | GRAPHIC | GENERAL => String::from_utf8(content.to_vec()).ok(),
        // Nobody writes T.61 any more: what is found in the field is Latin-1, or UTF-8 again.
        T61 => Some(match std::str::from_utf8(content) {
            Ok(text) => text.to_owned(),
            Err(_) => content.iter().copied().map(char::from).collect(),
        }),
        BMP => {
            let (units, []) = content.as_chunks::<2>() else { return None };
            char::decode_utf16(units.iter().map(|unit| u16::from_be_bytes(*unit))).collect::<Result<_, _>>().ok()
        }
        UNIVERSAL => {
            let (units, []) = content.as_chunks::<4>() else { return None };
            units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect()
        }
        _ => None,
    }
}

/// RFC 4514, section 2.4. What is not seen is written by its bytes too.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Value::Text(text) => text,
            Value::Other(content) => return write_der(content, f),
        };
        let last = text.chars().count().saturating_sub(1);
        for (index, character) in text.chars().enumerate() {
            match character {
                '"' | '+' | ',' | ';' | '<' | '>' | '\\' => write!(f, "\\{character}")?,
                ' ' if index == 0 || index == last => f.write_str("\\ ")?,
                '#' if index == 0 => f.write_str("\\#")?,
                _ if is_invisible(character) => {
                    let mut bytes = [0; 4];
                    character.encode_utf8(&mut bytes).bytes().try_for_each(|byte| write!(f, "\\{byte:02X}"))?;
                }
                _ => write!(f, "{character}")?,
            }
        }
        Ok(())
    }
}

fn write_der(value: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (tag, content) = value.split_first().unwrap_or((&0, &[]));
    write!(f, "#{tag:02X}")?;
    match content.len() {
        length @ 0..=127 => write!(f, "{length:02X}")?,
        length @ 128..=255 => write!(f, "81{length:02X}")?,
        length => write!(f, "82{length:04X}")?,
    }
    content.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_every_kind_are_decoded_and_broken_ones_are_no_text() {
        let text = |tag, content: &[u8]| match Value::from_der(tag, content) {
            Value::Text(text) => Some(text),
            Value::Other(_) => None,
        };
        assert_eq!(text(BMP, b"\x01\x03u").as_deref(), None, "an odd number of bytes");
        assert_eq!(text(BMP, &[0, b'C', 1, 3]).as_deref(), Some("Că"));
        assert_eq!(text(UNIVERSAL, &[0, 0, 0, b'C', 0, 0, 1, 3]).as_deref(), Some("Că"));
        assert_eq!(text(T61, b"Shkod\xebr").as_deref(), Some("Shkodër"));
        assert_eq!(text(T61, "Shkodër".as_bytes()).as_deref(), Some("Shkodër"));
        assert_eq!(text(UTF8, "Căușeni".as_bytes()).as_deref(), Some("Căușeni"));
        assert_eq!(text(PRINTABLE, b"a*b").as_deref(), Some("a*b"));
        assert_eq!(text(UTF8, b"\xff"), None);
        assert_eq!(text(5, b""), None);
        assert_ne!(Value::from_der(UTF8, b"\xff"), Value::from_der(UTF8, b"\xfe"), "broken ones differ too");
    }
}
