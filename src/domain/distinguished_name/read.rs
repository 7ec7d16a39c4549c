//! A name as a person has written it comes in, attributes go out, or what is wrong with the text and where.

use super::{Attribute, DistinguishedName, RelativeName, Value, attribute::oid_of};
use crate::domain::byte_of_hex;
use std::str::FromStr;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDistinguishedName(String);

type Reading<T> = Result<T, InvalidDistinguishedName>;

fn fault<T>(text: impl Into<String>) -> Reading<T> {
    Err(InvalidDistinguishedName(text.into()))
}

impl FromStr for DistinguishedName {
    type Err = InvalidDistinguishedName;

    fn from_str(text: &str) -> Result<Self, InvalidDistinguishedName> {
        read(text)
    }
}

fn read(text: &str) -> Reading<DistinguishedName> {
    if text.trim().is_empty() {
        return fault("it is empty");
    }
    let mut reader = Reader { rest: text };
    let mut names = Vec::new();
    loop {
        let mut attributes = vec![reader.attribute()?];
        let mut end = reader.end()?;
        while end == End::Attribute {
            attributes.push(reader.attribute()?);
            end = reader.end()?;
        }
        names.push(RelativeName::new(attributes));
        if end == End::Text {
            return Ok(DistinguishedName::new(names));
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

#[derive(PartialEq, Eq)]
enum End {
    Attribute,
    RelativeName,
    Text,
}

impl Reader<'_> {
    fn attribute(&mut self) -> Reading<Attribute> {
        let end = self.rest.find(['=', ',', '+']).unwrap_or(self.rest.len());
        let (kind, rest) = self.rest.split_at(end);
        let kind = kind.trim();
        let Some(rest) = rest.strip_prefix('=') else {
            return match kind.is_empty() {
                true => fault("an attribute is empty: a comma or plus sign is too many"),
                false => fault(format!(
                    "{kind:?} is no attribute such as CN=name; a comma or plus sign inside a value is written \\, or \\+"
                )),
            };
        };
        let Some(oid) = oid_of(kind) else {
            return fault(format!("{kind:?} is no known type of attribute; write its OID, such as 2.5.4.97=…"));
        };
        self.rest = rest.trim_start_matches(' ');
        Ok(Attribute { oid, value: self.value()? })
    }

    fn value(&mut self) -> Reading<Value> {
        if let Some(rest) = self.rest.strip_prefix('"') {
            self.rest = rest;
            return self.quoted().map(Value::Text);
        }
        if self.rest.starts_with('#') {
            return self.hexadecimal();
        }
        let (mut bytes, mut kept) = (Vec::new(), 0);
        while let Some(character) = self.rest.chars().next() {
            match character {
                ',' | '+' => break,
                ';' => return fault("a ; inside a value is written \\;"),
                '\\' => {
                    self.escape(&mut bytes)?;
                    kept = bytes.len();
                }
                _ => {
                    self.take(character, &mut bytes);
                    if character != ' ' {
                        kept = bytes.len();
                    }
                }
            }
        }
        // Spaces at the end belong to the value only if they are escaped.
        bytes.truncate(kept);
        text(bytes).map(Value::Text)
    }

    fn quoted(&mut self) -> Reading<String> {
        let mut bytes = Vec::new();
        loop {
            match self.rest.chars().next() {
                None => return fault("a quotation mark is not closed"),
                Some('"') => break,
                Some('\\') => self.escape(&mut bytes)?,
                Some(character) => self.take(character, &mut bytes),
            }
        }
        self.rest = self.rest.get(1..).unwrap_or_default().trim_start_matches(' ');
        match self.rest.is_empty() || self.rest.starts_with([',', '+']) {
            true => text(bytes),
            false => fault("after a closing quotation mark comes a comma, a plus sign or the end"),
        }
    }

    /// The value's whole DER (RFC 4514, section 2.4).
    fn hexadecimal(&mut self) -> Reading<Value> {
        let end = self.rest.find([',', '+']).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        let digits: Vec<u8> = digits.bytes().skip(1).filter(|byte| *byte != b' ').collect();
        let (pairs, []) = digits.as_chunks::<2>() else {
            return fault("after # come pairs of hexadecimal digits; a text that begins with # is written \\#");
        };
        let der: Option<Vec<u8>> = pairs.iter().map(|pair| byte_of_hex(*pair)).collect();
        match der.and_then(|der| Value::from_whole_der(&der)) {
            Some(value) => Ok(value),
            None => fault("after # comes a value's DER in hexadecimal; a text that begins with # is written \\#"),
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Reading<()> {
        let rest = self.rest.get(1..).unwrap_or_default();
        if let Some(character) = rest.chars().next().filter(|character| " \"#+,;<=>\\".contains(*character)) {
            self.rest = rest;
            self.take(character, bytes);
            return Ok(());
        }
        let byte = rest.as_bytes().first_chunk::<2>().and_then(|pair| byte_of_hex(*pair));
        let Some(byte) = byte else {
            return fault("after \\ comes the character itself, or two hexadecimal digits");
        };
        bytes.push(byte);
        self.rest = rest.get(2..).unwrap_or_default();
        Ok(())
    }

    fn take(&mut self, character: char, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        self.rest = self.rest.get(character.len_utf8()..).unwrap_or_default();
    }

    fn end(&mut self) -> Reading<End> {
        let (end, rest) = match self.rest.split_at_checked(1) {
            None => return Ok(End::Text),
            Some((",", rest)) => (End::RelativeName, rest),
            Some((_, rest)) => (End::Attribute, rest),
        };
        self.rest = rest;
        Ok(end)
    }
}

fn text(bytes: Vec<u8>) -> Reading<String> {
    String::from_utf8(bytes).or_else(|_| fault("what its \\ escapes say is not UTF-8"))
}
