//! Whether a request says clearly where it begins, ends and goes: what cannot be told apart or names no host is refused, and
//! so is plain HTTP on the port of TLS, in words.

use super::Problem;
use crate::{
    domain::{Code, TraceParent},
    http_server::{REFUSED, TcpConnection},
};
use http::{HeaderMap, Request, Version, header, uri::Authority};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt;

/// The last one of its connection if it is refused: nobody knows what the bytes after it are.
pub fn check(request: &Request<Incoming>) -> Result<(), Problem> {
    let refused = |problem: &str| Err(Problem::at(Code::RequestFraming, "", problem));
    if request.version() >= Version::HTTP_2 {
        return match h2_host(request) {
            Ok(()) => Ok(()),
            Err(problem) => refused(problem),
        };
    }
    if let Some(reason) = request.headers().get(REFUSED) {
        return refused(reason.to_str().unwrap_or("the head is not understood"));
    }
    match host(request.headers(), request.version()) {
        Ok(()) => Ok(()),
        Err(problem) => refused(problem),
    }
}

/// RFC 9112, section 3.2: exactly one, and a valid one. HTTP/1.0 knew none.
fn host(headers: &HeaderMap, version: Version) -> Result<(), &'static str> {
    let mut fields = headers.get_all(header::HOST).iter();
    match (fields.next(), fields.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (None, _) => Err("Host is missing"),
        (Some(_), Some(_)) => Err("Host is there twice"),
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        (Some(_), None) => Err("Host is no name or address with or without a port"),
    }
}

/// RFC 9113, section 8.3.1: `:authority`, or a host; where both are there they say the same.
fn h2_host(request: &Request<Incoming>) -> Result<(), &'static str> {
    let mut fields = request.headers().get_all(header::HOST).iter();
    let named = request.uri().authority().map(Authority::as_str);
    match (named, fields.next(), fields.next()) {
        (_, Some(_), Some(_)) => Err("Host is there twice"),
        (None, None, _) => Err(":authority is missing"),
        (Some(named), Some(host), None) if !named.as_bytes().eq_ignore_ascii_case(host.as_bytes()) => {
            Err(":authority and Host are not the same")
        }
        (Some(named), _, None) if !is_host(named.as_bytes()) => Err(":authority is no name or address"),
        (None, Some(host), None) if !is_host(host.as_bytes()) => Err("Host is no name or address"),
        _ => Ok(()),
    }
}

/// `uri-host [ ":" port ]` (RFC 9110, section 7.2), without a user.
fn is_host(text: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(text) else { return false };
    let host = authority.host();
    let has_right_port = match authority.as_str().strip_prefix(host) {
        Some("") => true,
        Some(port) => port.strip_prefix(':').is_some_and(|port| port.is_empty() || port.parse::<u16>().is_ok()),
        None => false,
    };
    // A comma may stand in a name, and is where some reader joined two fields.
    !host.is_empty() && !host.contains(',') && has_right_port
}

const METHODS: [&[u8]; 9] =
    [b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"PATCH ", b"OPTIONS ", b"TRACE ", b"CONNECT "];

/// A client that speaks HTTP without TLS to this port gets an answer that it understands, and its end.
pub async fn answers_plain_http(connection: &mut TcpConnection) -> bool {
    if !begins_with_a_method(connection).await {
        return false;
    }
    let response = Problem::from(Code::RequestPlainHttp).to_response(&TraceParent::fresh());
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
    let mut first = [0; 8];
    loop {
        let Ok(count) = connection.socket().peek(&mut first).await else { return false };
        let first = first.get(..count).unwrap_or_default();
        if first.is_empty() || METHODS.iter().any(|method| first.starts_with(method)) {
            return !first.is_empty();
        }
        if !METHODS.iter().any(|method| method.starts_with(first)) {
            return false;
        }
        // Half a method: the rest comes, or the handshake's deadline does.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for good in ["x", "punte.example", "punte.example:8443", "127.0.0.1:1", "[::1]:8443", "[::1]", "x:"] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in ["", ":8443", "x:y", "x:99999", "a b", "a,b", "user@x", "x/y", "http://x", "x:1:2", "\"x\"", "é"] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
