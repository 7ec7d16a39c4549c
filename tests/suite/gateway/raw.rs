//! An office's connection without an HTTP client on it: what is written goes out as it is.

use super::environment::Open;
use jiff::Timestamp;
use punte::trust::{AgencyRoots, ClientTls, Identity, client_config};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{io::AsyncReadExt, net::TcpStream};
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
