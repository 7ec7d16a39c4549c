//! The handshake of a client over TLS: a connection comes in; the stream of its requests, its version of HTTP and the
//! certificates that it has shown go out.

use super::{HttpVersion, TcpConnection, framing::FramedStream, plain_http::answers_plain_http};
use rustls::pki_types::CertificateDer;
use std::io;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// What passes through it is divided into requests by every reader in the same way.
pub type TlsClientStream = FramedStream<TlsStream<TcpConnection>>;

/// The certificates are the client's own and those that it has sent with it; whether they are good is not judged here.
/// `None`: it spoke plain HTTP, and was answered.
pub async fn accept_tls(
    tls: &TlsAcceptor,
    mut connection: TcpConnection,
) -> io::Result<Option<(TlsClientStream, HttpVersion, Vec<CertificateDer<'static>>)>> {
    if answers_plain_http(&mut connection).await {
        return Ok(None);
    }
    let stream = tls.accept(connection).await?;
    let (_, session) = stream.get_ref();
    let chain = session.peer_certificates().unwrap_or_default().to_vec();
    let version = match session.alpn_protocol() {
        Some(b"h2") => HttpVersion::Http2,
        _ => HttpVersion::Http1,
    };
    let stream = match version {
        HttpVersion::Http1 => FramedStream::http1(stream),
        HttpVersion::Http2 => FramedStream::http2(stream),
    };
    Ok(Some((stream, version, chain)))
}
