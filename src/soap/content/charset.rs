//! Bytes of a text come in, with what its message says of them; characters go out, or the byte that is none.
//!
//! A mark at the beginning counts before the header, and the header before the text's own declaration (RFC 7303, section
//! 3.2). Nothing is replaced: a byte that is no character in that encoding is refused, and so is a control character of
//! the range 80 to 9F, because it is how a text looks that is in another encoding than it says.

use super::plain;
use encoding_rs::{Encoding, UTF_8};
use std::borrow::Cow;

/// What kind of text it is: each has ways of its own to say in which encoding it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    Xml,
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CharsetRefusal {
    #[error("its character encoding `{0}` is not read: UTF-8, UTF-16, and the ISO-8859, Windows and KOI8 families are")]
    Unknown(String),
    #[error("it is in UTF-32, which is not read")]
    Utf32,
    #[error("{source_of_it} says {encoding}, but byte {at} ({byte:02X}) is no character in it")]
    Malformed { source_of_it: &'static str, encoding: String, at: usize, byte: u8 },
    #[error("{one} says {first}, and {other} says {second}")]
    Contradiction { one: &'static str, first: String, other: &'static str, second: String },
    #[error("it begins with two byte order marks")]
    TwoMarks,
}

const MARK: &str = "its byte order mark";
const HEADER: &str = "its Content-Type";
const DECLARATION: &str = "its XML declaration";
const BYTES: &str = "its first bytes";
const NOTHING: &str = "nothing but the standard";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Utf8,
    Ascii,
    Utf16Le,
    Utf16Be,
    /// One byte a character.
    Single(&'static Encoding),
}

/// `header`: the parameter `charset` of the Content-Type. The mark is not a part of the text.
pub fn decode<'a>(bytes: &'a [u8], header: Option<&str>, kind: TextKind) -> Result<Cow<'a, str>, CharsetRefusal> {
    let header = header.map(str::trim).filter(|name| !name.is_empty());
    if let Some((reader, length)) = mark(bytes)? {
        return reader.read(bytes, length, MARK);
    }
    if let Some(name) = header {
        return named(name, bytes)?.read(bytes, 0, HEADER);
    }
    let looks_like = shape(bytes)?;
    let declared = match (kind, looks_like) {
        (TextKind::Xml, None) => declaration(bytes),
        (TextKind::Xml | TextKind::Json, _) => None,
    };
    match (looks_like, declared) {
        (Some(reader), _) => reader.read(bytes, 0, BYTES),
        (None, Some(name)) => match named(&name, bytes)? {
            // What could be read as it was is written in bytes.
            Reader::Utf16Le | Reader::Utf16Be => Err(contradiction(DECLARATION, &name, BYTES, "another encoding")),
            reader => reader.read(bytes, 0, DECLARATION),
        },
        (None, None) => Reader::Utf8.read(bytes, 0, NOTHING),
    }
}

/// Whether there is nothing in it but a mark and white space.
pub fn is_blank(bytes: &[u8]) -> bool {
    let length = mark(bytes).ok().flatten().map_or(0, |(_, length)| length);
    bytes.iter().skip(length).all(u8::is_ascii_whitespace)
}

fn contradiction(one: &'static str, first: &str, other: &'static str, second: &str) -> CharsetRefusal {
    CharsetRefusal::Contradiction { one, first: shown(first), other, second: shown(second) }
}

fn shown(name: &str) -> String {
    plain(bare(name)).to_owned()
}

fn bare(name: &str) -> &str {
    name.trim_matches(['\'', '"', ' ', '\t'])
}

/// The byte order mark and its length.
fn mark(bytes: &[u8]) -> Result<Option<(Reader, usize)>, CharsetRefusal> {
    Ok(match bytes {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => return Err(CharsetRefusal::Utf32),
        [0xEF, 0xBB, 0xBF, ..] => Some((Reader::Utf8, 3)),
        [0xFF, 0xFE, ..] => Some((Reader::Utf16Le, 2)),
        [0xFE, 0xFF, ..] => Some((Reader::Utf16Be, 2)),
        _ => None,
    })
}

/// The first character of XML and JSON is an ASCII one, which in UTF-16 has a zero beside it (XML 1.0, appendix F; RFC
/// 4627, section 3).
fn shape(bytes: &[u8]) -> Result<Option<Reader>, CharsetRefusal> {
    Ok(match bytes {
        [0, 0, ..] | [1..=0x7F, 0, 0, 0, ..] => return Err(CharsetRefusal::Utf32),
        [0, 1..=0x7F, ..] => Some(Reader::Utf16Be),
        [1..=0x7F, 0, ..] => Some(Reader::Utf16Le),
        _ => None,
    })
}

fn named(name: &str, bytes: &[u8]) -> Result<Reader, CharsetRefusal> {
    let known = bare(name).to_ascii_lowercase();
    Ok(match known.as_str() {
        "us-ascii" | "ascii" | "ansi_x3.4-1968" | "iso646-us" | "iso_646.irv:1991" | "cp367" => Reader::Ascii,
        "utf-16le" => Reader::Utf16Le,
        "utf-16be" | "unicodefffe" => Reader::Utf16Be,
        // Of which order is told by a mark or seen, and is otherwise the big-endian one (RFC 2781, section 4.3).
        "utf-16" | "utf16" | "ucs-2" | "iso-10646-ucs-2" | "unicode" | "csunicode" => {
            let seen = mark(bytes)?.map(|(reader, _)| reader).or(shape(bytes)?);
            seen.filter(|reader| *reader != Reader::Utf8).unwrap_or(Reader::Utf16Be)
        }
        "utf-32" | "utf-32le" | "utf-32be" | "ucs-4" | "iso-10646-ucs-4" => return Err(CharsetRefusal::Utf32),
        other => match Encoding::for_label(other.as_bytes()) {
            Some(encoding) if encoding == UTF_8 => Reader::Utf8,
            Some(encoding) if encoding.is_single_byte() && encoding != encoding_rs::X_USER_DEFINED => {
                Reader::Single(encoding)
            }
            Some(_) | None => return Err(CharsetRefusal::Unknown(shown(name))),
        },
    })
}

/// What an XML declaration names, which is written in ASCII characters whatever the encoding of bytes.
fn declaration(bytes: &[u8]) -> Option<String> {
    let beginning = &bytes[..bytes.len().min(1024)];
    let text: String = beginning.iter().take_while(|byte| byte.is_ascii()).map(|byte| char::from(*byte)).collect();
    crate::xml::declared(&text, "encoding").map(str::to_owned)
}

impl Reader {
    fn name(self) -> &'static str {
        match self {
            Reader::Utf8 => "UTF-8",
            Reader::Ascii => "US-ASCII",
            Reader::Utf16Le => "UTF-16LE",
            Reader::Utf16Be => "UTF-16BE",
            Reader::Single(encoding) => encoding.name(),
        }
    }

    /// `from`: where the text begins; `source_of_it`: who says that it is in this encoding.
    fn read<'a>(
        self,
        bytes: &'a [u8],
        from: usize,
        source_of_it: &'static str,
    ) -> Result<Cow<'a, str>, CharsetRefusal> {
        let content = bytes.get(from..).unwrap_or_default();
        let read = match self {
            Reader::Utf8 => str::from_utf8(content).map(Cow::Borrowed).map_err(|error| error.valid_up_to()),
            Reader::Ascii => ascii(content),
            Reader::Utf16Le => utf16(content, u16::from_le_bytes),
            Reader::Utf16Be => utf16(content, u16::from_be_bytes),
            Reader::Single(encoding) => single(content, encoding),
        };
        let text = read.map_err(|at| CharsetRefusal::Malformed {
            source_of_it,
            encoding: self.name().to_owned(),
            at: from + at,
            byte: content.get(at).copied().unwrap_or_default(),
        })?;
        // A reader of the text would take it away as one more mark.
        match text.starts_with('\u{FEFF}') {
            true => Err(CharsetRefusal::TwoMarks),
            false => Ok(text),
        }
    }
}

// Each gives the text, or the place of the first byte that is none.

fn ascii(bytes: &[u8]) -> Result<Cow<'_, str>, usize> {
    match bytes.iter().position(|byte| !byte.is_ascii()) {
        Some(at) => Err(at),
        None => str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| error.valid_up_to()),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Cow<'_, str>, usize> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(bytes.len());
    let mut at = 0;
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        let character = character.map_err(|_| at)?;
        at += 2 * character.len_utf16();
        text.push(character);
    }
    match rest.is_empty() {
        true => Ok(text.into()),
        false => Err(bytes.len() - 1),
    }
}

fn single<'a>(bytes: &'a [u8], encoding: &'static Encoding) -> Result<Cow<'a, str>, usize> {
    let is_none = |byte: &u8| {
        let alone = [*byte];
        let character = encoding.decode_without_bom_handling_and_without_replacement(&alone);
        character.is_none_or(|text| text.chars().any(|it| matches!(it, '\u{80}'..='\u{9F}' | '\u{FFFD}')))
    };
    // Which bytes are no characters is looked up once.
    let unfit: Vec<u8> = (0x80..=0xFF).filter(is_none).collect();
    if let Some(at) = bytes.iter().position(|byte| unfit.contains(byte)) {
        return Err(at);
    }
    encoding.decode_without_bom_handling_and_without_replacement(bytes).ok_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn utf16_le(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    fn utf16_be(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_be_bytes).collect()
    }

    fn xml(bytes: &[u8], header: Option<&str>) -> Result<String, CharsetRefusal> {
        decode(bytes, header, TextKind::Xml).map(Cow::into_owned)
    }

    fn json(bytes: &[u8], header: Option<&str>) -> Result<String, CharsetRefusal> {
        decode(bytes, header, TextKind::Json).map(Cow::into_owned)
    }

    #[test]
    fn the_encodings_of_our_countries_are_read_by_header_and_by_declaration() {
        for (name, text) in [
            ("windows-1250", "Šćepanović Đorđe, Żółć, Ștefan".replace('Ș', "Ş")),
            ("ISO-8859-2", "Šćepanović Đorđe".into()),
            ("iso-8859-16", "Ștefan Țîrcă, Đorđe, 5 €".into()),
            ("windows-1251", "Михаил Ђорђевић, Ѓорѓи, Їжак".into()),
            ("iso-8859-5", "Михаил Ђорђевић № 5".into()),
            ("koi8-r", "Михаил".into()),
            ("koi8-u", "Їжак".into()),
            ("windows-1252", "François „é“ €".into()),
            ("iso-8859-1", "François é".into()),
            ("iso-8859-15", "5 €".into()),
            ("windows-1254", "Şükrü".into()),
            ("windows-1253", "Γιώργος".into()),
        ] {
            let encoding = Encoding::for_label(name.as_bytes()).unwrap();
            let encoded = |text: &str| {
                let (bytes, _, is_lossy) = encoding.encode(text);
                assert!(!is_lossy, "{name}: {text}");
                bytes.into_owned()
            };
            let plain = format!("<a>{text}</a>");
            assert_eq!(xml(&encoded(&plain), Some(name)).unwrap(), plain, "{name}");
            assert_eq!(json(&encoded(&plain), Some(&format!(" '{name}' "))).unwrap(), plain, "{name}");
            let declared = format!("<?xml version=\"1.0\" encoding='{name}'?><a>{text}</a>");
            assert_eq!(xml(&encoded(&declared), None).unwrap(), declared, "{name}");
        }
    }

    #[test]
    fn utf_8_and_utf_16_are_read_with_and_without_a_mark() {
        let text = "<a>Жș𝄞</a>";
        let marked = format!("\u{FEFF}{text}");
        for read in [xml, json] {
            for (bytes, header) in [
                (text.as_bytes().to_vec(), None),
                (text.as_bytes().to_vec(), Some("UTF-8")),
                (marked.as_bytes().to_vec(), None),
                (marked.as_bytes().to_vec(), Some("utf8")),
                (utf16_le(&marked), None),
                (utf16_be(&marked), None),
                (utf16_le(&marked), Some("utf-16")),
                (utf16_be(&marked), Some("UTF-16")),
                (utf16_le(text), None),
                (utf16_be(text), None),
                (utf16_le(text), Some("utf-16")),
                (utf16_be(text), Some("utf-16")),
                (utf16_le(text), Some("utf-16le")),
                (utf16_be(text), Some("utf-16be")),
            ] {
                assert_eq!(read(&bytes, header).unwrap(), text, "{header:?}");
            }
        }
        assert_eq!(xml(&utf16_be("<?xml version='1.0' encoding='utf-16'?><a/>"), None).unwrap().len(), 43);
        assert_eq!((xml(b"", None), json(b"", Some("utf-8"))), (Ok(String::new()), Ok(String::new())));
    }

    #[test]
    fn a_mark_counts_before_the_header_and_the_header_before_the_declaration() {
        let declared = |name: &str| format!("<?xml version=\"1.0\" encoding=\"{name}\"?><a>Ж</a>");
        let marked = format!("\u{FEFF}{}", declared("windows-1250"));
        assert_eq!(xml(marked.as_bytes(), Some("windows-1251")).unwrap(), declared("windows-1250"));
        let (bytes, ..) = encoding_rs::WINDOWS_1251.encode("<?xml version=\"1.0\" encoding=\"windows-1250\"?><a>Ж</a>");
        assert_eq!(xml(&bytes, Some("windows-1251")).unwrap(), declared("windows-1250"));
        assert_eq!(xml(&bytes, None).unwrap(), declared("windows-1250").replace('Ж', "Ć"));
        assert_eq!(xml(declared("windows-1250").as_bytes(), Some("utf-8")).unwrap(), declared("windows-1250"));
        for said in ["windows-1251", "utf-16", "x-unknown"] {
            assert_eq!(json("\u{FEFF}{\"a\":\"Ж\"}".as_bytes(), Some(said)).unwrap(), "{\"a\":\"Ж\"}");
        }
    }

    #[test]
    fn what_is_no_text_in_its_encoding_is_refused_with_its_place() {
        for (bytes, header, problem) in [
            (&b"<a>\xE9</a>"[..], None, "nothing but the standard says UTF-8, but byte 3 (E9)"),
            (b"\xEF\xBB\xBF<a>\xE9</a>", None, "its byte order mark says UTF-8, but byte 6 (E9)"),
            (b"<a>\xE9</a>", Some("us-ascii"), "its Content-Type says US-ASCII, but byte 3 (E9)"),
            (b"<a>\x9A</a>", Some("iso-8859-2"), "its Content-Type says ISO-8859-2, but byte 3 (9A)"),
            (b"<a>\x81</a>", Some("windows-1250"), "byte 3 (81)"),
            (b"<a>\x98</a>", Some("windows-1251"), "byte 3 (98)"),
            (b"<\0a\0\0\xD8>\0", None, "says UTF-16LE, but byte 4"),
            (b"<\0a\0>", None, "says UTF-16LE, but byte 4"),
            (
                b"<?xml version='1.0' encoding='utf-16'?><a/>",
                None,
                "its XML declaration says utf-16, and its first bytes",
            ),
            (b"<?xml version='1.0' encoding='cp852'?><a/>", None, "`cp852` is not read"),
            (b"<a/>", Some("iso-2022-jp"), "`iso-2022-jp` is not read"),
            (b"<a/>", Some("utf-7"), "`utf-7` is not read"),
            (b"<a/>", Some("x-user-defined"), "is not read"),
            (b"\xFF\xFE\0\0<\0\0\0", None, "UTF-32"),
            (b"<\0\0\0a\0\0\0", None, "UTF-32"),
            ("\u{FEFF}\u{FEFF}<a/>".as_bytes(), None, "two byte order marks"),
        ] {
            let refusal = xml(bytes, header).unwrap_err().to_string();
            assert!(refusal.contains(problem), "{problem}: {refusal}");
        }
    }

    #[test]
    fn a_mark_and_white_space_are_blank() {
        for blank in [&b""[..], b"\r\n", b" \t\n", b"\xEF\xBB\xBF", b"\xEF\xBB\xBF\r\n", b"\xFF\xFE", b"\xFE\xFF"] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for other in [&b"{}"[..], b"\0", b"\xEF\xBB", b"\xC2\xA0", b"\xEF\xBB\xBF\xEF\xBB\xBF", b"\xFF\xFE\0\0"] {
            assert!(!is_blank(other), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), header in "(utf-8|utf-16|windows-125[0-8]|iso-8859-[0-9]{1,2}|koi8-r|x)?") {
            let _ = xml(&bytes, Some(&header));
            let _ = json(&bytes, None);
        }
    }
}
