//! Whether a request says clearly where it begins, ends and goes: what readers could divide differently, or names no host,
//! is refused.

use super::{framing::REFUSED, problem::Problem};
use crate::domain::Code;
use http::{
    HeaderMap, HeaderValue, Request, Uri, Version, header,
    uri::{Authority, Scheme},
};
use std::net::Ipv6Addr;

/// The last one of its connection if it is refused: nobody knows what the bytes after it are.
pub fn check_request<B>(request: &Request<B>) -> Result<(), Problem> {
    let (headers, version) = (request.headers(), request.version());
    let judged = if version >= Version::HTTP_2 {
        h2_host(request)
    } else if let Some(reason) = headers.get(REFUSED) {
        Err(reason.to_str().unwrap_or("the head is not understood"))
    } else {
        host(headers, version).and_then(|()| target(request.uri(), headers))
    };
    judged.map_err(|problem| Problem::at(Code::RequestFraming, "", problem))
}

/// A target that names a host itself (RFC 9112, sections 3.2.2 and 3.2.3) names the one that Host names: one reader goes by
/// the one, another by the other.
fn target(uri: &Uri, headers: &HeaderMap) -> Result<(), &'static str> {
    let Some(named) = uri.authority().map(Authority::as_str) else { return Ok(()) };
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    match uri.scheme() {
        _ if !is_host(named.as_bytes()) => Err("the target names a host that is no name or address, or a user"),
        _ if host.is_some_and(|host| !named.as_bytes().eq_ignore_ascii_case(host)) => {
            Err("the target and Host name different hosts")
        }
        Some(scheme) if *scheme != Scheme::HTTPS => Err("the target's scheme is not https"),
        _ => Ok(()),
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
fn h2_host<B>(request: &Request<B>) -> Result<(), &'static str> {
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
        Some(port) => port.strip_prefix(':').is_some_and(is_port),
        None => false,
    };
    // A comma may stand in a name, and is where some reader joined two fields.
    !host.is_empty() && !host.contains(',') && are_brackets_right(host) && has_right_port
}

/// They stand around an address of version 6 (RFC 3986, section 3.2.2), and nowhere else.
fn are_brackets_right(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    !host.contains(['[', ']']) || address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// Digits alone (RFC 3986, section 3.2.3), or nothing.
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && (text.is_empty() || text.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for good in
            ["x", "punte.example", "punte.example:8443", "127.0.0.1:1", "[::1]:8443", "[::1]", "[2001:db8::7]", "x:"]
        {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":8443",
            "x:y",
            "x:99999",
            "a b",
            "a,b",
            "user@x",
            "x/y",
            "http://x",
            "x:1:2",
            "x:+443",
            "x:-1",
            "\"x\"",
            "é",
            "[]",
            "[xyz]",
            "[xyz]:1",
            "[127.0.0.1]",
            "[::1",
            "::1]",
            "[[::1]]",
            "a[b]c",
            "x[::1]",
            "[::1]x",
            "[::1%25eth0]",
            "[v1.x]",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_target_names_the_host_that_the_header_names() {
        let judged = |uri: &str, host: &str| {
            let headers = [(header::HOST, host.parse().unwrap())].into_iter().collect();
            target(&uri.parse().unwrap(), &headers).is_ok()
        };
        for (uri, host) in [("/v1", "x"), ("*", "x"), ("https://X:1/v1?a", "x:1"), ("x:443", "x:443")] {
            assert!(judged(uri, host), "{uri} {host}");
        }
        for (uri, host) in [
            ("https://evil.example/v1", "x"),
            ("https://x:443/v1", "x"),
            ("https://a@x/v1", "x"),
            ("https://a@x/v1", "a@x"),
            ("http://x/v1", "x"),
            ("ftp://x/v1", "x"),
            ("x:443", "y:443"),
        ] {
            assert!(!judged(uri, host), "{uri} {host}");
        }
    }
}
