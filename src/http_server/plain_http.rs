//! Plain HTTP on a port of TLS: who speaks it gets an answer in words, and the connection's end.

use super::{TcpConnection, framing::is_token, problem::Problem};
use crate::domain::{Code, TraceParent};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// Longer than any registered method and the space after it (IANA, "HTTP Method Registry").
const LONGEST_METHOD_BYTES: usize = 32;

/// A client that speaks HTTP without TLS to this port gets an answer that it understands, and its end.
pub(super) async fn answers_plain_http(connection: &mut TcpConnection) -> bool {
    if !begins_with_a_method(connection).await {
        return false;
    }
    let response = Problem::from(Code::RequestPlainHttp).into_response_of(&TraceParent::fresh());
    let (head, body) = response.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut text = format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    for (name, value) in &head.headers {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
    }
    text.push_str("\r\n");
    let _ = connection.write_all(&[text.as_bytes(), &body].concat()).await;
    let _ = connection.shutdown().await;
    true
}

/// TLS begins with a byte that begins no method (RFC 8446, section 5.1), so its first bytes are not waited for here.
async fn begins_with_a_method(connection: &TcpConnection) -> bool {
    let mut first = [0; LONGEST_METHOD_BYTES];
    loop {
        let Ok(count) = connection.socket().peek(&mut first).await else { return false };
        match first_word(first.get(..count).unwrap_or_default()) {
            FirstWord::Method => return true,
            FirstWord::Other => return false,
            // The rest comes, or the handshake's deadline does.
            FirstWord::HalfAMethod => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstWord {
    Method,
    HalfAMethod,
    Other,
}

/// A method is any token (RFC 9110, section 9.1) but the one with which HTTP/2 begins, whose client would not understand us
/// (RFC 9113, section 3.4).
fn first_word(bytes: &[u8]) -> FirstWord {
    let length = bytes.iter().take_while(|byte| is_token(**byte)).count();
    match bytes.get(length) {
        Some(b' ') if length > 0 && !bytes.starts_with(b"PRI ") => FirstWord::Method,
        None if (1..LONGEST_METHOD_BYTES).contains(&length) => FirstWord::HalfAMethod,
        Some(_) | None => FirstWord::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_method_is_known_from_its_first_word_and_a_handshake_is_none() {
        for method in ["GET /", "get /", "QUERY /v1", "PROPFIND /", "BASELINE-CONTROL /", "M-SEARCH *"] {
            assert_eq!(first_word(method.as_bytes()), FirstWord::Method, "{method}");
        }
        for half in ["G", "PROPFIND"] {
            assert_eq!(first_word(half.as_bytes()), FirstWord::HalfAMethod, "{half}");
        }
        for other in [
            &b""[..],
            b" GET /",
            b"PRI * HTTP/2.0",
            b"\x16\x03\x01\x02\x00",
            b"GET\t/",
            b"a:b ",
            &[b'A'; LONGEST_METHOD_BYTES],
        ] {
            assert_eq!(first_word(other), FirstWord::Other, "{other:?}");
        }
    }
}
