//! An HTTP/1.1 message as a file comes in; its start line, headers and body go out.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

/// A request's target is written in absolute form, or completed from `Host` with `https`.
pub(super) struct HttpFile<'a> {
    pub start: StartLine,
    pub headers: HeaderMap,
    pub body: &'a [u8],
}

pub(super) enum StartLine {
    Request(Method, Uri),
    Response(StatusCode),
}

impl<'a> HttpFile<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let find = |mark: &[u8]| bytes.windows(mark.len()).position(|window| window == mark).map(|at| (at, mark.len()));
        let (end, gap) = match (find(b"\r\n\r\n"), find(b"\n\n")) {
            (Some(network), Some(text)) => {
                if network.0 < text.0 {
                    network
                } else {
                    text
                }
            }
            (found, None) | (None, found) => found?,
        };
        let mut lines = str::from_utf8(bytes.get(..end)?).ok()?.lines();
        let start = lines.next()?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
        }
        Some(Self { start: start_line(start, &headers)?, headers, body: bytes.get(end + gap..)? })
    }
}

fn start_line(line: &str, headers: &HeaderMap) -> Option<StartLine> {
    let mut words = line.split(' ');
    let first = words.next()?;
    if first.starts_with("HTTP/") {
        return StatusCode::from_bytes(words.next()?.as_bytes()).ok().map(StartLine::Response);
    }
    let target = words.next()?;
    let absolute = match target.starts_with('/') {
        true => format!("https://{}{target}", headers.get("host")?.to_str().ok()?),
        false => target.to_owned(),
    };
    Some(StartLine::Request(Method::from_bytes(first.as_bytes()).ok()?, absolute.parse().ok()?))
}
