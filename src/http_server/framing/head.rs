//! The head of one request comes in; how its body is framed goes out, or why readers would disagree about that.

use http::Uri;
use std::ops::Range;

/// Stands in the head that replaces a refused one, with the reason; no client's head gets through with it.
pub const REFUSED: &str = "punte-refused-framing";

#[derive(Debug, PartialEq, Eq)]
pub enum Framing {
    Length { head_bytes: usize, body_bytes: u64 },
    Chunked { head_bytes: usize },
    Refused(&'static str),
}

/// What the fields of a head have said so far.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    is_chunked: bool,
}

/// `None`: the head is not whole yet. `looked_at`: how many of the bytes were there before, so that none of them is looked at
/// more than a few times, however small the pieces in which a head comes.
pub fn read_head(bytes: &[u8], looked_at: &mut usize) -> Option<Framing> {
    // One empty line before a request is passed over (RFC 9112, section 2.2).
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    // Four bytes end a head, so that the last three may begin its end.
    let from = looked_at.saturating_sub(3).max(start);
    *looked_at = bytes.len();
    let new = bytes.get(from..).unwrap_or_default();
    let end = new.windows(4).position(|four| four == b"\r\n\r\n").map(|end| from + end);
    if let Some(reason) = bare_line_end(bytes, start, from..end.unwrap_or(bytes.len())) {
        return Some(Framing::Refused(reason));
    }
    let end = end?;
    let head_bytes = end + 4;
    let mut lines = bytes.get(start..end).unwrap_or_default().split(|byte| *byte == b'\n');
    let lines = lines.by_ref().map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect::<Vec<_>>();
    let (first, fields) = lines.split_first()?;
    let mut said = Said::default();
    if let Err(reason) = read_request_line(first) {
        return Some(Framing::Refused(reason));
    }
    for field in fields {
        if let Err(reason) = read_field(field, &mut said) {
            return Some(Framing::Refused(reason));
        }
    }
    Some(match said {
        Said { length: Some(_), is_chunked: true } => {
            Framing::Refused("Content-Length and Transfer-Encoding stand beside each other")
        }
        Said { is_chunked: true, .. } if !first.ends_with(b" HTTP/1.1") => {
            Framing::Refused("Transfer-Encoding means nothing in this older version of HTTP")
        }
        Said { is_chunked: true, .. } => Framing::Chunked { head_bytes },
        Said { length, .. } => Framing::Length { head_bytes, body_bytes: length.unwrap_or(0) },
    })
}

/// Within a head every line ends with CRLF, and CR and LF stand nowhere else (RFC 9112, section 2.2).
fn bare_line_end(bytes: &[u8], start: usize, places: Range<usize>) -> Option<&'static str> {
    for at in places {
        match bytes.get(at)? {
            b'\n' if at == start || bytes.get(at - 1) != Some(&b'\r') => {
                return Some("a line of the head ends without CR");
            }
            b'\r' if bytes.get(at + 1).is_some_and(|next| *next != b'\n') => {
                return Some("a CR stands alone in the head");
            }
            0 => return Some("a NUL stands in the head"),
            _ => {}
        }
    }
    None
}

/// RFC 9112, section 3. The reader behind would refuse the same, but without a word.
fn read_request_line(line: &[u8]) -> Result<(), &'static str> {
    let parts: Vec<_> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = parts[..] else {
        return Err("the first line is not a method, a target and a version with one space between them");
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err("the method has a character that no method may have");
    }
    if target.contains(&b'#') {
        return Err("the target has a fragment, which readers keep to themselves");
    }
    if Uri::try_from(target).is_err() {
        return Err(
            "the target is no address: it has a character that no address may have, or a bracket without its pair",
        );
    }
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => Ok(()),
        _ => Err("the version of HTTP is neither 1.1 nor 1.0"),
    }
}

fn read_field(line: &[u8], said: &mut Said) -> Result<(), &'static str> {
    if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
        return Err("a field is folded over two lines");
    }
    let colon = line.iter().position(|byte| *byte == b':').ok_or("a line of the head is no field")?;
    let (name, value) = line.split_at(colon);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err("a field's name has a character that no name may have");
    }
    let value = value.get(1..).unwrap_or_default();
    if value.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)) {
        return Err("a field's value has a control character");
    }
    let value = trimmed(value);
    if name.eq_ignore_ascii_case(b"content-length") {
        if said.length.is_some() {
            return Err("Content-Length is there twice");
        }
        said.length = Some(length(value)?);
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        if said.is_chunked {
            return Err("Transfer-Encoding is there twice");
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err("Transfer-Encoding may only be chunked");
        }
        said.is_chunked = true;
    } else if name.eq_ignore_ascii_case(REFUSED.as_bytes()) {
        return Err("a field has a name that this server keeps for itself");
    }
    Ok(())
}

fn length(value: &[u8]) -> Result<u64, &'static str> {
    let is_number = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_number);
    text.and_then(|text| text.parse().ok()).ok_or("Content-Length is not one number of bytes")
}

/// RFC 9110, section 5.6.2.
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn trimmed(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let begin = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(begin, |last| last + 1);
    value.get(begin..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(fields: &str) -> Option<Framing> {
        let head = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n");
        let whole = read_head(head.as_bytes(), &mut 0);
        let mut looked_at = 0;
        let in_pieces = (1..=head.len()).find_map(|here| read_head(&head.as_bytes()[..here], &mut looked_at));
        assert_eq!(in_pieces, whole, "{fields:?}");
        whole
    }

    #[test]
    fn a_long_head_that_comes_byte_by_byte_costs_no_more_than_its_length() {
        let head = format!("POST / HTTP/1.1\r\n{}", "x: y\r\n".repeat(5500));
        let (begun, mut looked_at) = (std::time::Instant::now(), 0);
        for here in 1..=head.len() {
            assert_eq!(read_head(&head.as_bytes()[..here], &mut looked_at), None);
        }
        // Looked at as a whole each time, it would be half a billion bytes.
        assert!(begun.elapsed() < std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_body_is_as_long_as_it_says_or_in_chunks() {
        assert!(matches!(framing("host: x"), Some(Framing::Length { body_bytes: 0, .. })));
        assert!(matches!(framing("content-length:  7 "), Some(Framing::Length { body_bytes: 7, .. })));
        assert!(matches!(framing("Transfer-Encoding: Chunked"), Some(Framing::Chunked { .. })));
        assert_eq!(read_head(b"GET / HTTP/1.1\r\nhost", &mut 0), None);
        assert_eq!(
            read_head(b"\r\nGET / HTTP/1.1\r\n\r\n", &mut 0),
            Some(Framing::Length { head_bytes: 20, body_bytes: 0 })
        );
    }

    #[test]
    fn what_readers_divide_differently_is_refused() {
        for fields in [
            "content-length: 1\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\ncontent-length: 1",
            "content-length: 1\r\ncontent-length: 1",
            "content-length: 1, 1",
            "content-length: +1",
            "content-length: 1 1",
            "content-length:",
            "content-length: 0x1",
            "content-length: 99999999999999999999",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: chunked, chunked",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            "transfer-encoding: identity",
            "transfer-encoding:",
            "transfer-encoding : chunked",
            "x: y\r\n z",
            "x: y\r\n\tz",
            "x y: z",
            ": z",
            "no field",
            "x: a\nb: c",
            "x: a\rb: c",
            "x: a\r",
            "x: a\0b",
            "x: a\x0bb",
            "punte-refused-framing: x",
        ] {
            assert!(matches!(framing(fields), Some(Framing::Refused(_))), "{fields:?}");
        }
        for target in ["/v1/services#a", "/#", "https://x/#a", "https://[::1/", "https://[::1", "/a b", ""] {
            let head = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
            assert!(matches!(read_head(head.as_bytes(), &mut 0), Some(Framing::Refused(_))), "{target}");
        }
        for line in ["GET / HTTP/1.2", "GET / HTTP/2.0", "GET  / HTTP/1.1", "GET /", "G(T / HTTP/1.1", " / HTTP/1.1"] {
            let head = format!("{line}\r\nhost: x\r\n\r\n");
            assert!(matches!(read_head(head.as_bytes(), &mut 0), Some(Framing::Refused(_))), "{line}");
        }
        for line in ["OPTIONS * HTTP/1.1", "GET https://[::1]:8443/v1 HTTP/1.1", "GET /?a=%20b HTTP/1.0"] {
            let head = format!("{line}\r\nhost: x\r\n\r\n");
            assert!(matches!(read_head(head.as_bytes(), &mut 0), Some(Framing::Length { .. })), "{line}");
        }
        let older = b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(matches!(read_head(older, &mut 0), Some(Framing::Refused(_))));
    }
}
