//! Header fields of requests come in; what they ask for goes out, typed.

use crate::{
    domain::{Code, byte_of_hex},
    http_server::Problem,
};
use http::{HeaderMap, HeaderName, header};
use std::time::Duration;

/// The longest that `Prefer: wait=N` is honoured.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// The office's own key for a request (draft-ietf-httpapi-idempotency-key-header): a quoted string, or bare.
pub fn idempotency_key(headers: &HeaderMap) -> Result<String, Problem> {
    let refused = |problem: &str| Err(Problem::at(Code::IdempotencyKeyMissing, "Idempotency-Key", problem));
    let mut fields = headers.get_all("idempotency-key").iter();
    let Some(field) = fields.next() else { return Err(Code::IdempotencyKeyMissing.into()) };
    if fields.next().is_some() {
        return refused("is there twice");
    }
    let Some(key) = field.to_str().ok().and_then(|text| key_of(text.trim())) else {
        return refused("must be one key: visible ASCII characters without a comma, or a quoted string (RFC 9651)");
    };
    match (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(key),
        false => refused("must have 1 to 255 visible ASCII characters"),
    }
}

/// RFC 9651, section 4.2.5: within quotes, a backslash stands before a quote or another backslash. A comma outside of them is
/// where two fields were joined on the way. Parameters mean nothing here (section 3.3).
fn key_of(text: &str) -> Option<String> {
    if split_unquoted(text, ',').len() > 1 {
        return None;
    }
    let Some(rest) = text.strip_prefix('"') else { return Some(text.to_owned()) };
    let mut key = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '\\' => key.push(characters.next().filter(|next| matches!(next, '"' | '\\'))?),
            '"' => break,
            other => key.push(other),
        }
    }
    let parameters = characters.as_str().trim_start();
    (parameters.is_empty() || parameters.starts_with(';')).then_some(key)
}

/// Splits where the separator stands in no quoted string (RFC 9110, section 5.6.4).
fn split_unquoted(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut begin, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if character == separator && !is_quoted => {
                parts.push(&text[begin..at]);
                begin = at + separator.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

/// `Prefer: wait=N` (RFC 7240, section 4.3), the first one. Other preferences are passed over (section 2); a wait that is no
/// number of seconds is told, because whoever wrote it counts on it.
pub fn preferred_wait(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let fields = headers.get_all("prefer").iter().filter_map(|field| field.to_str().ok());
    let wait = fields.flat_map(|field| split_unquoted(field, ',')).find_map(|preference| {
        let preference = split_unquoted(preference, ';').into_iter().next()?;
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').to_owned())
    });
    let Some(wait) = wait else { return Ok(None) };
    if wait.is_empty() || !wait.bytes().all(|byte| byte.is_ascii_digit()) {
        let problem = "wait must be a whole number of seconds, as in `Prefer: wait=20`; at most 60 are waited";
        return Err(Problem::at(Code::RequestHeader, "Prefer", problem));
    }
    // A number that is too large for us is more than is waited.
    let wait = wait.parse().map_or(MAX_WAIT, Duration::from_secs).min(MAX_WAIT);
    Ok(Some(wait).filter(|wait| !wait.is_zero()))
}

/// The media type without its parameters, in lower case. Two of them are none: readers would choose differently. An empty one
/// is missing.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let mut fields = headers.get_all(header::CONTENT_TYPE).iter();
    let field = fields.next().filter(|_| fields.next().is_none())?.to_str().ok()?;
    let media_type = field.split(';').next()?.trim().to_ascii_lowercase();
    (!media_type.is_empty()).then_some(media_type)
}

/// The body must be JSON in UTF-8, and must not be compressed: nothing here unpacks.
pub fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |problem| Err(Problem::at(Code::RequestMediaType, "Content-Type", problem));
    match media_type(headers).as_deref() {
        Some("application/json") if !says_other_charset(headers) => require_plain(headers),
        Some(_) => refused("must be application/json, in UTF-8"),
        None => refused("is missing or doubled: must be application/json, in UTF-8"),
    }
}

/// JSON has no such parameter (RFC 8259, section 11), but there are readers who would obey it.
fn says_other_charset(headers: &HeaderMap) -> bool {
    let field = headers.get(header::CONTENT_TYPE).and_then(|field| field.to_str().ok()).unwrap_or_default();
    split_unquoted(field, ';').into_iter().skip(1).any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.trim().eq_ignore_ascii_case("charset") && !value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    })
}

pub fn require_plain(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.contains_key(header::CONTENT_ENCODING) {
        true => Err(Problem::at(Code::RequestMediaType, "Content-Encoding", "encoded bodies are not taken")),
        false => Ok(()),
    }
}

/// The SHA-256 in `Content-Digest` (RFC 9530, section 2); other algorithms are passed over.
pub fn content_sha256(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Problem> {
    let wrong = |problem: &str| Problem::at(Code::RequestHeader, "Content-Digest", problem);
    let mut fields = headers.get_all(HeaderName::from_static("content-digest")).iter().peekable();
    if fields.peek().is_none() {
        return Ok(None);
    }
    let text = fields.filter_map(|field| field.to_str().ok()).collect::<Vec<_>>().join(", ");
    let digests: sfv::Dictionary = sfv::Parser::new(&text).parse().map_err(|_| wrong("is no dictionary (RFC 9651)"))?;
    match digests.get("sha-256") {
        None => Ok(None),
        Some(sfv::ListEntry::Item(sfv::Item { bare_item: sfv::BareItem::ByteSequence(bytes), .. }))
            if bytes.len() == 32 =>
        {
            Ok(Some(bytes.clone()))
        }
        Some(_) => Err(wrong("sha-256 is not 32 bytes between colons")),
    }
}

/// The file name in `Content-Disposition` (RFC 6266), without path and without characters that mean something elsewhere.
pub fn file_name(headers: &HeaderMap) -> Option<String> {
    let field = headers.get(header::CONTENT_DISPOSITION)?.as_bytes();
    let field = std::str::from_utf8(field).ok()?;
    let parameter = |wanted: &str| {
        split_unquoted(field, ';').into_iter().skip(1).find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    let extended = parameter("filename*").and_then(|value| percent_decoded(value.splitn(3, '\'').nth(2)?));
    sanitised(&extended.or_else(|| parameter("filename"))?)
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                bytes.push(byte_of_hex([rest.next()?, rest.next()?])?);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
}

fn sanitised(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_safe = |c: &char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ' | '(' | ')');
    let safe: String = last.chars().filter(is_safe).take(120).collect();
    let safe = safe.trim_matches(['.', ' ']).to_owned();
    (!safe.is_empty()).then_some(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, http::HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_key_is_the_same_with_and_without_quotes() {
        let key = |values: &[&str]| idempotency_key(&headers("idempotency-key", values)).ok();
        assert_eq!(key(&["abc-1"]).as_deref(), Some("abc-1"));
        assert_eq!(key(&[r#""abc-1""#]).as_deref(), Some("abc-1"));
        assert_eq!(key(&[r#""a\"b\\c""#]).as_deref(), Some(r#"a"b\c"#));
        assert_eq!(key(&[r#""a,b""#]).as_deref(), Some("a,b"));
        assert_eq!(key(&[r#""abc-1";p="x,y""#]).as_deref(), Some("abc-1"));
        let long = "a".repeat(256);
        for bad in [&["a,b"][..], &["a, b"], &[r#""a","b""#], &[r#""a"b"#], &[r#""a";p, "b""#]] {
            assert_eq!(key(bad), None, "{bad:?}");
        }
        let told = idempotency_key(&headers("idempotency-key", &["a,b"])).unwrap_err();
        assert!(told.errors[0].problem.contains("one key"), "{:?}", told.errors);
        for bad in [&[][..], &[""], &["\"\""], &["a b"], &["\"a"], &[r#""a"b""#], &["a", "b"], &[&long]] {
            assert_eq!(key(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_wait_is_capped_and_one_that_is_no_number_is_told() {
        let wait = |values: &[&str]| preferred_wait(&headers("prefer", values)).map(|it| it.map(|wait| wait.as_secs()));
        assert_eq!(wait(&["respond-async, wait=10"]).unwrap(), Some(10));
        assert_eq!(wait(&["handling=strict", "Wait = 7; x=y"]).unwrap(), Some(7));
        assert_eq!(wait(&["wait=100000"]).unwrap(), Some(60));
        assert_eq!(wait(&["wait=18446744073709551616"]).unwrap(), Some(60));
        assert_eq!(wait(&[r#"foo="a, wait=abc", wait="5""#]).unwrap(), Some(5));
        for none in
            ["", "wait=0", "waits=3", "respond-async", "handling=lenient", r#"foo="a, wait=abc""#, r#"a="\", wait=x""#]
        {
            assert_eq!(wait(&[none]).unwrap(), None, "{none}");
        }
        for told in ["wait", "wait=", "wait=-1", "wait=x", "wait=abc", "wait=1.5", "wait=+5", "respond-async, wait=5s"]
        {
            let problem = wait(&[told]).unwrap_err();
            assert_eq!((problem.code, problem.errors[0].pointer.as_str()), (Code::RequestHeader, "Prefer"), "{told}");
        }
    }

    #[test]
    fn a_file_name_carries_no_path_and_no_control() {
        let name = |value: &str| file_name(&headers("content-disposition", &[value]));
        assert_eq!(name(r#"attachment; filename="extras naștere.pdf""#).as_deref(), Some("extras naștere.pdf"));
        assert_eq!(name(r#"attachment; filename="a;b.pdf""#).as_deref(), Some("ab.pdf"));
        assert_eq!(name("attachment; filename*=UTF-8''a%C4%83%20b.pdf; filename=x").as_deref(), Some("aă b.pdf"));
        assert_eq!(name(r#"attachment; filename="..\..\etc/pass<wd>""#).as_deref(), Some("passwd"));
        assert_eq!(name("attachment; filename*=UTF-8''%+9; filename=x").as_deref(), Some("x"));
        for none in ["attachment", r#""attachment; filename="""#, "attachment; filename=..", "attachment; filename*=x"]
        {
            assert_eq!(name(none), None, "{none}");
        }
    }

    #[test]
    fn a_digest_is_read_or_refused() {
        let sha256 = |value: &str| content_sha256(&headers("content-digest", &[value])).map(|it| it.map(|it| it.len()));
        let good = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";
        assert!(matches!(sha256(good), Ok(Some(32))));
        assert!(matches!(sha256("md5=:AAAA:"), Ok(None)));
        assert!(matches!(content_sha256(&HeaderMap::new()), Ok(None)));
        for bad in ["sha-256=abc", "sha-256=:AAAA:", "sha-256", ":::"] {
            assert!(sha256(bad).is_err(), "{bad}");
        }
    }
}
