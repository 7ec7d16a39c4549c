//! A look at an agency's server: a connection is opened, proved as far as the server lets it, and closed with nothing sent.

use super::{
    connector::{failure, until_proved},
    failure::ConnectFailure,
    proof::{Seen, watch},
};
use hyper_util::rt::TokioIo;
use reqwest::Url;
use rustls::{ClientConfig, ProtocolVersion, pki_types::ServerName};
use std::{future::poll_fn, pin::pin, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

/// What a handshake told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    pub is_tls13: bool,
    /// The server has asked for our certificate.
    pub is_mutual: bool,
    /// The server has gone on after our last message, and so after our certificate.
    pub is_proved: bool,
}

/// Longer than for requests, because no submission waits.
const PROOF: Duration = Duration::from_secs(2);

pub(super) async fn shake_hands(
    tls: Arc<ClientConfig>,
    endpoint: &Url,
    limit: Duration,
) -> Result<Handshake, ConnectFailure> {
    timeout(limit + PROOF, met(tls, endpoint, limit)).await.unwrap_or(Err(ConnectFailure::Timeout))
}

async fn met(tls: Arc<ClientConfig>, endpoint: &Url, limit: Duration) -> Result<Handshake, ConnectFailure> {
    let unusable = || ConnectFailure::Unreachable("the endpoint names no host".into());
    let host = endpoint.host_str().ok_or_else(unusable)?.trim_matches(['[', ']']).to_owned();
    let port = endpoint.port_or_known_default().ok_or_else(unusable)?;
    let late = |_| ConnectFailure::Timeout;
    let tcp = timeout(limit, TcpStream::connect((host.as_str(), port))).await.map_err(late)?;
    let tcp = tcp.map_err(|error| failure(&error, Seen::default()))?;
    let name = ServerName::try_from(host).map_err(|_| unusable())?;
    let mut connecting = pin!(timeout(limit, TlsConnector::from(tls).connect(name, tcp)));
    let mut seen = Seen::default();
    let connected = poll_fn(|cx| {
        let (polled, more) = watch(|| connecting.as_mut().poll(cx));
        seen = seen.and(more);
        polled
    });
    let stream = connected.await.map_err(late)?.map_err(|error| failure(&error, seen))?;
    let is_tls13 = stream.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    let mut stream = TokioIo::new(stream);
    let is_proved = match is_tls13 {
        true => timeout(PROOF, until_proved(&mut stream, seen)).await.ok().transpose()?.is_some(),
        false => true,
    };
    Ok(Handshake { is_tls13, is_mutual: seen.was_asked, is_proved })
}
