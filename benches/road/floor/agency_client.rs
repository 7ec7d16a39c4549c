//! Connections to the agency over mutual TLS, as many as are in use at once, kept open.

use crate::agency::UNVERIFIED;
use anyhow::ensure;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use punte::trust::{AgencyRoots, ClientTls, Identity, client_config};
use rustls::pki_types::ServerName;
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub struct AgencyClient {
    port: u16,
    connector: TlsConnector,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl AgencyClient {
    pub fn new(keys: &Path, port: u16) -> anyhow::Result<Self> {
        let identity = Identity::load(&keys.join("client.pem"), &keys.join("client.key"), Timestamp::now())?;
        let roots = AgencyRoots::load(&keys.join("ca.pem"))?;
        let tls = client_config(&roots, ClientTls { identity: Some(&identity), ..ClientTls::default() })?;
        Ok(Self { port, connector: TlsConnector::from(Arc::new(tls)), idle: Mutex::default() })
    }

    pub async fn post(&self, body: Vec<u8>) -> anyhow::Result<Bytes> {
        let mut sender = self.connection().await?;
        let request = Request::post(UNVERIFIED)
            .header("host", "localhost")
            .header("content-type", "text/xml; charset=utf-8")
            .body(Full::new(Bytes::from(body)))?;
        let response = sender.send_request(request).await?;
        ensure!(response.status().is_success(), "the agency says {}", response.status());
        let answer = response.into_body().collect().await?.to_bytes();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        Ok(answer)
    }

    async fn connection(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut sender) = idle
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let stream = self.connector.connect(ServerName::try_from("localhost")?, stream).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
