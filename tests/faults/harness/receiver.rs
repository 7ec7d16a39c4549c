//! An office's webhook: it takes every notice and remembers which submissions it was told of.

use punte::{
    kit::test_stack::TestStackPlan,
    trust::{Identity, IdentityFiles, Purpose, Reloading, server_config},
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

#[derive(Clone, Default)]
pub struct Receiver(Arc<Mutex<BTreeMap<String, u64>>>);

/// Where it listens is settled before its keys exist.
pub struct Bound(std::net::TcpListener);

impl Bound {
    pub fn new() -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    /// The office is told here. The secret's file is written by [`Bound::open`].
    pub fn plan(&self, plan: &mut TestStackPlan) {
        let port = self.0.local_addr().unwrap().port();
        plan.more_office = format!(
            "[offices.causeni.webhook]\nurl = \"https://localhost:{port}/hook\"\nsecret_files = [\"webhook-secret\"]\n\
             allow_private_addresses = true\nca = \"secrets/gateway/server-ca.pem\"\n"
        );
    }

    pub fn open(self, stack: &Path) -> Receiver {
        std::fs::write(stack.join("webhook-secret"), "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=").unwrap();
        let file = |name: &str| stack.join("secrets/gateway").join(name);
        let files =
            IdentityFiles { certificate: file("server.pem"), key: file("server.key"), purpose: Purpose::TlsServer };
        let identity = Arc::new(Reloading::<Identity>::load(files, jiff::Timestamp::now()).unwrap());
        let mut tls = server_config(identity, Vec::new()).unwrap();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (tls, receiver) = (TlsAcceptor::from(Arc::new(tls)), Receiver::default());
        let (listener, told) = (TcpListener::from_std(self.0).unwrap(), receiver.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, tls.clone(), told.clone()));
            }
        });
        receiver
    }
}

impl Receiver {
    /// Of which submissions the office was told, and how often.
    pub fn told(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap().clone()
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, receiver: Receiver) -> Option<()> {
    let mut stream = tls.accept(stream).await.ok()?;
    let (mut text, mut piece) = (String::new(), [0; 4096]);
    let id = loop {
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        text.push_str(&String::from_utf8_lossy(&piece[..count]));
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        if let Ok(notice) = serde_json::from_str::<serde_json::Value>(body) {
            break notice["data"]["id"].as_str()?.to_owned();
        }
    };
    *receiver.0.lock().unwrap().entry(id).or_default() += 1;
    stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.ok()?;
    stream.shutdown().await.ok()
}
