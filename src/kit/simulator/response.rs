//! A sealed answer comes in; an HTTP response goes out, whole, or spoilt on its way.

use super::{behaviour::SimulatedFault, cut::Break};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

pub(super) type Body = BoxBody<Bytes, io::Error>;

pub(super) fn status(code: u16, retry_after_secs: Option<u64>) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::from_static(b"simulated")));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if let Some(secs) = retry_after_secs {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    if response.status().is_redirection() {
        response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("https://elsewhere.invalid/"));
    }
    response
}

pub(super) fn empty(code: u16) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::new()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::NO_CONTENT);
    response
}

const PAGE: &[u8] = b"<html><body>Back soon</body></html>";

/// As whatever stands before the agency shows it.
pub(super) fn page(code: u16) -> Response<Body> {
    let mut response = Response::new(whole(Bytes::from_static(PAGE)));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::OK);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

pub(super) fn with(
    status: StatusCode,
    mut headers: HeaderMap,
    body: Vec<u8>,
    fault: Option<&SimulatedFault>,
    max_bytes: usize,
) -> Response<Body> {
    let body = match fault {
        Some(SimulatedFault::Garbage) => whole(Bytes::from_static(b"\x00\xFF<<{{garbage")),
        Some(SimulatedFault::GarbageInTurn) => garbage_in_turn(body, &mut headers, max_bytes),
        Some(SimulatedFault::WrongContentType) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            whole(body.into())
        }
        Some(SimulatedFault::HugeAnswer) => huge(body, max_bytes),
        Some(SimulatedFault::TruncatedAnswer) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
            truncated(body)
        }
        Some(SimulatedFault::SlowDrip { millis_per_byte }) => dripping(body, Duration::from_millis(*millis_per_byte)),
        _ => whole(body.into()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if fault == Some(&SimulatedFault::AnswerTwice) {
        response.extensions_mut().insert(Break::TWICE);
    }
    response
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// Bytes, an envelope that never ends, the answer's first half as if it were all, as much text as is taken, nothing, a page
/// for people.
fn garbage_in_turn(mut body: Vec<u8>, headers: &mut HeaderMap, max_bytes: usize) -> Body {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    whole(match TURN.fetch_add(1, Ordering::Relaxed) % 6 {
        0 => Bytes::copy_from_slice(&rand::random::<[u8; 512]>()),
        1 => Bytes::from_static(b"<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><answer"),
        2 => {
            body.truncate(body.len() / 2);
            body.into()
        }
        3 => vec![b'x'; max_bytes].into(),
        4 => Bytes::new(),
        _ => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            Bytes::from_static(PAGE)
        }
    })
}

/// The answer, and white space until it is larger than anybody takes.
fn huge(body: Vec<u8>, max_bytes: usize) -> Body {
    const PIECE: &[u8] = &[b' '; 16_384];
    let pieces = max_bytes / PIECE.len() + 2;
    let padding = stream::iter((0..pieces).map(|_| Ok(Frame::data(Bytes::from_static(PIECE)))));
    let answer = stream::once(async move { Ok(Frame::data(Bytes::from(body))) });
    BodyExt::boxed(StreamBody::new(answer.chain(padding)))
}

fn truncated(body: Vec<u8>) -> Body {
    let half = Bytes::from(body[..body.len() / 2].to_vec());
    let begun = stream::once(async move { Ok(Frame::data(half)) });
    let broken = stream::once(async {
        // So that the first half has left before the connection breaks.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(io::Error::other("the simulated agency breaks its answer off"))
    });
    BodyExt::boxed(StreamBody::new(begun.chain(broken)))
}

fn dripping(body: Vec<u8>, pause: Duration) -> Body {
    let drops = stream::iter(body).then(move |byte| async move {
        tokio::time::sleep(pause).await;
        Ok(Frame::data(Bytes::from(vec![byte])))
    });
    BodyExt::boxed(StreamBody::new(drops))
}
