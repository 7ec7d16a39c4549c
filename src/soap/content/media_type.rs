//! A `Content-Type` comes in as agencies write it; media type and parameters go out.

use http::{HeaderMap, header};

/// RFC 9110, section 8.3. Names are in lower case, values as they were written, without their quotes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaType {
    /// Without parameters, in lower case; empty if there is none.
    pub essence: String,
    parameters: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaTypeRefusal {
    #[error("there are two headers Content-Type, and they do not say the same")]
    Two,
    #[error("the Content-Type is no readable text")]
    NotText,
    #[error("the Content-Type gives the parameter `{0}` twice, and not the same")]
    ParameterTwice(String),
}

/// A name such as registries give, of a media type, an encoding or a code. What looks otherwise may be a value of the message,
/// and is not told.
pub fn plain(name: &str) -> &str {
    const MAX_BYTES: usize = 60;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'+' | b'-' | b'_' | b':');
    let is_name = (1..=MAX_BYTES).contains(&name.len()) && name.bytes().all(is_plain);
    if is_name { name } else { "…" }
}

impl MediaType {
    /// Of a message; without the header it is the empty one.
    pub fn of(headers: &HeaderMap) -> Result<Self, MediaTypeRefusal> {
        let mut found: Option<Self> = None;
        for value in headers.get_all(header::CONTENT_TYPE) {
            let next = Self::parse(value.to_str().map_err(|_| MediaTypeRefusal::NotText)?)?;
            match found {
                Some(first) if first != next => return Err(MediaTypeRefusal::Two),
                _ => found = Some(next),
            }
        }
        Ok(found.unwrap_or_default())
    }

    pub fn parse(text: &str) -> Result<Self, MediaTypeRefusal> {
        let (essence, mut rest) = text.split_once(';').unwrap_or((text, ""));
        let mut read = Self { essence: essence.trim().to_ascii_lowercase(), parameters: Vec::new() };
        while let Some((name, value, after)) = parameter(rest) {
            rest = after;
            match read.parameter(&name) {
                _ if name.is_empty() => {}
                Some(known) if known != value => return Err(MediaTypeRefusal::ParameterTwice(plain(&name).to_owned())),
                Some(_) => {}
                None => read.parameters.push((name, value)),
            }
        }
        Ok(read)
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The next `name=value` of what follows the media type, and what comes after it; a piece without `=` has no name.
fn parameter(text: &str) -> Option<(String, String, &str)> {
    let text = text.trim_start_matches([';', ' ', '\t']);
    if text.is_empty() {
        return None;
    }
    let end = text.find([';', '=']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let Some(rest) = rest.strip_prefix('=').map(str::trim_start) else {
        return Some((String::new(), String::new(), rest));
    };
    let (value, rest) = match rest.strip_prefix('"') {
        Some(quoted) => unquoted(quoted),
        None => {
            let (value, rest) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
            (value.trim().to_owned(), rest)
        }
    };
    Some((name.trim().to_ascii_lowercase(), value, rest))
}

/// A quoted string from behind its first quote (RFC 9110, section 5.6.4).
fn unquoted(text: &str) -> (String, &str) {
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => {
                is_escaped = true;
                continue;
            }
            '"' => return (value, text.get(at + 1..).unwrap_or("")),
            _ => {}
        }
        value.push(character);
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_read_as_agencies_write_them() {
        for (written, essence, charset) in [
            ("text/xml", "text/xml", None),
            ("Text/XML;charset=windows-1250", "text/xml", Some("windows-1250")),
            ("application/json ; Charset = \"utf-8\" ;", "application/json", Some("utf-8")),
            ("text/xml;;  odd; charset=\"a;\\\"b\"; charset=\"a;\\\"b\"", "text/xml", Some("a;\"b")),
            ("text/xml; charset=\"unended", "text/xml", Some("unended")),
            ("", "", None),
        ] {
            let read = MediaType::parse(written).unwrap();
            assert_eq!((read.essence.as_str(), read.parameter("charset")), (essence, charset), "{written}");
        }
        assert!(MediaType::parse("text/xml; charset=a; CHARSET=b").is_err());
    }

    #[test]
    fn two_headers_that_differ_are_refused() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_TYPE, value.parse().unwrap());
            }
            MediaType::of(&headers)
        };
        assert_eq!(of(&["text/xml", "text/html"]), Err(MediaTypeRefusal::Two));
        assert!(of(&["text/xml", "Text/xml"]).is_ok_and(|it| it.essence == "text/xml"));
        assert!(of(&[]).is_ok_and(|it| it.essence.is_empty()));
    }
}
