//! An office's connection without an HTTP client on it: what is written goes out as it is.

use super::environment::Open;
use jiff::Timestamp;
use punte::trust::{AgencyRoots, ClientTls, Identity, client_config};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub async fn raw(open: &Open, alpn: &[u8]) -> TlsStream<TcpStream> {
    let roots = AgencyRoots::load(&open.env.pki.gateway("server-ca.pem")).unwrap();
    let (certificate, key) = open.identity("causeni");
    let identity = Identity::load(&certificate, &key, Timestamp::now()).unwrap();
    let tls = ClientTls { identity: Some(&identity), alpn: &[alpn], ..ClientTls::default() };
    let tls = TlsConnector::from(Arc::new(client_config(&roots, tls).unwrap()));
    let stream = TcpStream::connect(open.address).await.unwrap();
    tls.connect("localhost".try_into().unwrap(), stream).await.unwrap()
}

/// What is still said until the connection ends, and how long that took.
pub async fn until_end(mut stream: impl AsyncReadExt + Unpin) -> (String, Duration) {
    let begun = Instant::now();
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(8), stream.read_to_end(&mut bytes)).await;
    assert!(ended.is_ok(), "the connection was still open");
    (String::from_utf8_lossy(&bytes).into_owned(), begun.elapsed())
}

/// What is answered to these bytes.
pub async fn said_to(open: &Open, bytes: &[u8]) -> String {
    let mut stream = raw(open, b"http/1.1").await;
    // Whoever is refused early may be cut off while he is still talking.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    until_end(stream).await.0
}

/// Of each answer.
pub fn statuses(said: &str) -> Vec<&str> {
    said.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)).collect()
}
