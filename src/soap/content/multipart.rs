//! A `multipart/related` message comes in, as answers with attachments are sent (RFC 2387, SOAP with Attachments, MTOM);
//! its parts go out, the root first.

use super::media_type::{MediaType, MediaTypeRefusal, plain};
use crate::domain::byte_of_hex;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

const MAX_PARTS: usize = 100;
const MAX_HEAD_BYTES: usize = 16 << 10;
/// RFC 2046, section 5.1.1, allows 70.
const MAX_BOUNDARY_BYTES: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MultipartRefusal {
    #[error("its Content-Type names no boundary, or an impossible one")]
    NoBoundary,
    #[error("its boundary is nowhere in it")]
    NoPart,
    #[error("its last boundary is missing: it may have been cut short")]
    NoEnd,
    #[error("it has more than {MAX_PARTS} parts")]
    TooManyParts,
    #[error("the head of part {0} cannot be read")]
    Head(usize),
    #[error("part {0}: {1}")]
    Type(usize, MediaTypeRefusal),
    #[error("part {0} has two headers {1}, and they do not say the same")]
    HeaderTwice(usize, &'static str),
    #[error("part {0} is in the transfer encoding `{1}`, which is not read")]
    TransferEncoding(usize, String),
    #[error("part {0} is not in the transfer encoding that it names")]
    BrokenTransferEncoding(usize),
    #[error("part {0} is compressed, which is read for whole messages only")]
    Coded(usize),
    #[error("its Content-Type names a root part (`start`) that is not there exactly once")]
    Start,
    #[error("its root part is a {0} message itself")]
    Nested(String),
}

/// One part, its transfer encoding undone.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// From 1, in the order in which they came.
    pub number: usize,
    /// `Content-ID` without its brackets.
    pub id: Option<String>,
    pub media_type: MediaType,
    pub content: Bytes,
}

/// A part may be about a person.
impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("size_bytes", &self.content.len()).finish_non_exhaustive()
    }
}

/// The root part and the others.
pub fn related(content: &Bytes, media_type: &MediaType) -> Result<(Part, Vec<Part>), MultipartRefusal> {
    let boundary = media_type.parameter("boundary").filter(|it| (1..=MAX_BOUNDARY_BYTES).contains(&it.len()));
    let delimiter = format!("--{}", boundary.ok_or(MultipartRefusal::NoBoundary)?);
    let pieces = pieces(content, delimiter.as_bytes())?;
    let mut parts = Vec::with_capacity(pieces.len());
    for (index, piece) in pieces.into_iter().enumerate() {
        parts.push(part(index + 1, &content.slice(piece))?);
    }
    // RFC 2387, section 3.2: without `start` the first part is the root.
    let root = match media_type.parameter("start").map(bare) {
        None => 0,
        Some(start) => {
            let is_start = |part: &Part| part.id.as_deref() == Some(start);
            let mut found = parts.iter().enumerate().filter(|(_, part)| is_start(part)).map(|(index, _)| index);
            match (found.next(), found.next()) {
                (Some(index), None) => index,
                _ => return Err(MultipartRefusal::Start),
            }
        }
    };
    let root = parts.remove(root);
    match root.media_type.essence.starts_with("multipart/") {
        true => Err(MultipartRefusal::Nested(plain(&root.media_type.essence).to_owned())),
        false => Ok((root, parts)),
    }
}

fn bare(id: &str) -> &str {
    let id = id.trim();
    id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or(id)
}

/// Where the parts are. What stands before the first boundary and behind the last one belongs to none (RFC 2046, 5.1.1).
fn pieces(content: &[u8], delimiter: &[u8]) -> Result<Vec<std::ops::Range<usize>>, MultipartRefusal> {
    let (mut pieces, mut begun, mut at) = (Vec::new(), None, 0);
    while at < content.len() {
        let line_end = content[at..].iter().position(|byte| *byte == b'\n').map_or(content.len(), |end| at + end + 1);
        if let Some(is_last) = boundary_line(&content[at..line_end], delimiter) {
            if let Some(begun) = begun {
                pieces.push(begun..without_line_end(content, begun, at));
            }
            if is_last {
                return if pieces.is_empty() { Err(MultipartRefusal::NoPart) } else { Ok(pieces) };
            }
            if pieces.len() >= MAX_PARTS {
                return Err(MultipartRefusal::TooManyParts);
            }
            begun = Some(line_end);
        }
        at = line_end;
    }
    Err(if begun.is_some() { MultipartRefusal::NoEnd } else { MultipartRefusal::NoPart })
}

/// Whether the line is the boundary, and if so whether the last one. White space may follow it.
fn boundary_line(line: &[u8], delimiter: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(delimiter)?.trim_ascii_end();
    match rest {
        [] => Some(false),
        b"--" => Some(true),
        _ => None,
    }
}

/// The line end before a boundary belongs to the boundary.
fn without_line_end(content: &[u8], begun: usize, end: usize) -> usize {
    match &content[begun..end] {
        [.., b'\r', b'\n'] => end - 2,
        [.., b'\n'] => end - 1,
        _ => end,
    }
}

fn part(number: usize, piece: &Bytes) -> Result<Part, MultipartRefusal> {
    let (head, content) = head(piece).ok_or(MultipartRefusal::Head(number))?;
    let of = |name: &'static str| {
        let mut values = head.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let first = values.next();
        let is_one = values.all(|other| Some(other) == first);
        is_one.then_some(first).ok_or(MultipartRefusal::HeaderTwice(number, name))
    };
    let media_type = MediaType::parse(of("content-type")?.unwrap_or_default());
    if of("content-encoding")?.is_some_and(|it| !it.trim().eq_ignore_ascii_case("identity")) {
        return Err(MultipartRefusal::Coded(number));
    }
    let broken = || MultipartRefusal::BrokenTransferEncoding(number);
    let content = match of("content-transfer-encoding")?.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "" | "7bit" | "8bit" | "binary" => content,
        "base64" => {
            let plain: Vec<u8> = content.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            STANDARD.decode(plain).map_err(|_| broken())?.into()
        }
        "quoted-printable" => unquoted_printable(&content).ok_or_else(broken)?.into(),
        other => return Err(MultipartRefusal::TransferEncoding(number, plain(other).to_owned())),
    };
    let id = of("content-id")?.map(|id| bare(id).to_owned());
    Ok(Part { number, id, media_type: media_type.map_err(|why| MultipartRefusal::Type(number, why))?, content })
}

/// The header fields, their names in lower case, and what follows the empty line. A field may go on in the next line.
fn head(piece: &Bytes) -> Option<(Vec<(String, String)>, Bytes)> {
    let (mut fields, mut at): (Vec<(String, String)>, _) = (Vec::new(), 0);
    loop {
        let length = piece.get(at..)?.iter().position(|byte| *byte == b'\n')? + 1;
        let line = str::from_utf8(piece.get(at..at + length)?).ok()?.trim_end();
        at += length;
        match (line, line.split_once(':')) {
            ("", _) => return Some((fields, piece.slice(at..))),
            _ if at > MAX_HEAD_BYTES => return None,
            (more, _) if more.starts_with([' ', '\t']) => fields.last_mut()?.1.push_str(more),
            (_, Some((name, value))) => fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned())),
            (_, None) => return None,
        }
    }
}

/// RFC 2045, section 6.7.
fn unquoted_printable(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        rest = match (first, behind) {
            (b'=', [b'\r', b'\n', after @ ..] | [b'\n', after @ ..]) => after,
            (b'=', [high, low, after @ ..]) => {
                plain.push(byte_of_hex([*high, *low])?);
                after
            }
            (b'=', _) => return None,
            (byte, after) => {
                plain.push(*byte);
                after
            }
        };
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const XOP: &str = "multipart/related; type=\"application/xop+xml\"; boundary=b";

    fn read(content_type: &str, message: &str) -> Result<(Part, Vec<Part>), MultipartRefusal> {
        related(&Bytes::from(message.to_owned()), &MediaType::parse(content_type).unwrap())
    }

    fn root(content_type: &str, message: &str) -> String {
        let (root, _) = read(content_type, message).unwrap();
        String::from_utf8(root.content.to_vec()).unwrap()
    }

    const TWO: &str = "ignored\r\n--b\r\nContent-Type: text/plain\r\nContent-ID: <one@x>\r\n\r\nfirst\r\n--b\r\n\
        content-TYPE: application/xop+xml;\r\n charset=UTF-8\r\nCONTENT-ID:<two@x>\r\n\r\n<a/>\r\n\r\n--b--\r\nignored";

    #[test]
    fn the_root_is_the_first_part_or_the_one_that_start_names() {
        assert_eq!(root(XOP, TWO), "first");
        for start in ["start=\"<two@x>\"", "start=two@x", "START=\"two@x\""] {
            assert_eq!(root(&format!("{XOP}; {start}"), TWO), "<a/>\r\n", "{start}");
        }
        let (root, others) = read(&format!("{XOP}; start=\"<two@x>\""), TWO).unwrap();
        assert_eq!((root.media_type.parameter("charset"), root.id.as_deref()), (Some("UTF-8"), Some("two@x")));
        assert_eq!((others.len(), others[0].id.as_deref(), &others[0].content[..]), (1, Some("one@x"), &b"first"[..]));
        assert_eq!(read(&format!("{XOP}; start=three"), TWO), Err(MultipartRefusal::Start));
        assert_eq!(read(&format!("{XOP}; start=one@x"), &TWO.replace("two@x", "one@x")), Err(MultipartRefusal::Start));
    }

    #[test]
    fn boundaries_and_heads_are_read_as_they_are_written() {
        for (content_type, message, content) in [
            ("multipart/related; boundary=\"a b;c\"", "--a b;c\r\n\r\nx\r\n--a b;c--", "x"),
            (XOP, "--b\n\nx\n--b--", "x"),
            (XOP, "--b  \r\n\r\nx\r\n--b-- \r\n", "x"),
            (XOP, "--b\r\n\r\n--bc\r\n--b c\r\n --b\r\n--b--", "--bc\r\n--b c\r\n --b"),
            (XOP, "--b\r\n\r\n\r\n--b--", ""),
            (XOP, "--b\r\nContent-Transfer-Encoding: BASE64\r\n\r\nPGEv\r\nPg==\r\n--b--", "<a/>"),
            (
                XOP,
                "--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<a x=3D\"1\"=\r\n/>\r\n--b--",
                "<a x=\"1\"/>",
            ),
            (XOP, "--b\r\nContent-Transfer-Encoding: 8bit\r\nContent-Encoding: identity\r\n\r\nx\r\n--b--", "x"),
        ] {
            assert_eq!(root(content_type, message), content, "{message}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let long = format!("--b\r\nx: {}\r\n\r\nx\r\n--b--", "y".repeat(20_000));
        for (content_type, message, problem) in [
            ("multipart/related", TWO, "no boundary"),
            (&format!("multipart/related; boundary={}", "b".repeat(300)), TWO, "no boundary"),
            (XOP, "", "nowhere"),
            (XOP, "--c\r\n\r\nx\r\n--c--", "nowhere"),
            (XOP, "--b--", "nowhere"),
            (XOP, "--b\r\n\r\nx\r\n", "cut short"),
            (XOP, "--b\r\n\r\nx\r\n--b\r\n\r\ny", "cut short"),
            (XOP, "--b\r\nno field\r\n\r\nx\r\n--b--", "the head of part 1"),
            (XOP, "--b\r\nContent-Type: text/xml\r\n--b--", "the head of part 1"),
            (XOP, &long, "the head of part 1"),
            (
                XOP,
                "--b\r\nContent-Transfer-Encoding: uuencode\r\n\r\nx\r\n--b--",
                "part 1 is in the transfer encoding `uuencode`",
            ),
            (
                XOP,
                "--b\r\nContent-Transfer-Encoding: base64\r\n\r\n!\r\n--b--",
                "part 1 is not in the transfer encoding",
            ),
            (
                XOP,
                "--b\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<a>=+A</a>\r\n--b--",
                "part 1 is not in the transfer encoding",
            ),
            (XOP, "--b\r\nContent-Encoding: gzip\r\n\r\nx\r\n--b--", "part 1 is compressed"),
            (
                XOP,
                "--b\r\nContent-Type: text/xml\r\nContent-Type: text/html\r\n\r\nx\r\n--b--",
                "two headers content-type",
            ),
            (
                XOP,
                "--b\r\nContent-Transfer-Encoding: binary\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--b--",
                "two headers content-transfer-encoding",
            ),
            (XOP, "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\nx\r\n--b--", "is a multipart/mixed message"),
            (XOP, &format!("{}--b--", "--b\r\n\r\nx\r\n".repeat(101)), "more than 100"),
        ] {
            let refusal = read(content_type, message).unwrap_err().to_string();
            assert!(refusal.contains(problem), "{problem}: {refusal}");
        }
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(text in "((--b|--b--|\\r\\n|\\n|Content-(Type|ID|Transfer-Encoding): |base64|quoted-printable|<|>|;|=|[a-z]){0,3}){0,20}") {
            let _ = read(XOP, &text);
        }
    }
}
