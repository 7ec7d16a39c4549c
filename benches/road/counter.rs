//! The offices' counters: clients who each wait for one answer before they send the next request, over connections that
//! stay open. They are part of the measurement, so they do as little as possible; what they use is told with the figures.

use crate::exchange::{Buffer, find};
use anyhow::{Context, ensure};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Barrier};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Who is asked, and what.
#[derive(Clone)]
pub struct Question {
    pub port: u16,
    pub tls: Arc<ClientConfig>,
    pub body: Arc<str>,
    /// What stands in a good answer.
    pub expected: &'static str,
}

/// What one round came to.
#[derive(Debug, Clone, Default)]
pub struct Served {
    pub seconds: f64,
    /// Sorted.
    pub latencies: Vec<Duration>,
}

/// One client, connected.
struct Client {
    stream: TlsStream<TcpStream>,
    buffer: Buffer,
    question: Question,
    /// No two requests of any run have the same Idempotency-Key.
    key: String,
    sent: u64,
}

/// So many clients ask for so long. `begin` is called once all are connected and have had one answer each.
pub async fn ask<T>(
    question: &Question,
    clients: usize,
    duration: Duration,
    begin: impl FnOnce() -> T,
) -> anyhow::Result<(Served, T)> {
    let mut connected = Vec::new();
    for _ in 0..clients {
        connected.push(Client::connect(question).await?);
    }
    let (ready, go) = (Arc::new(Barrier::new(clients + 1)), Arc::new(Barrier::new(clients + 1)));
    let tasks: Vec<_> = connected
        .into_iter()
        .map(|mut client| {
            let (ready, go) = (ready.clone(), go.clone());
            tokio::spawn(async move {
                let first = client.ask().await;
                ready.wait().await;
                go.wait().await;
                first?;
                let (begun, mut latencies) = (Instant::now(), Vec::new());
                while begun.elapsed() < duration {
                    latencies.push(client.ask().await?);
                }
                anyhow::Ok(latencies)
            })
        })
        .collect();
    ready.wait().await;
    let at_begin = begin();
    let begun = Instant::now();
    go.wait().await;
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Ok((Served { seconds, latencies }, at_begin))
}

impl Served {
    pub fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    pub fn percentile_ms(&self, percent: usize) -> f64 {
        let at = self.latencies.len().saturating_sub(1) * percent / 100;
        self.latencies.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }
}

impl Client {
    async fn connect(question: &Question) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", question.port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(question.tls.clone()).connect(name, stream).await?;
        let key = uuid::Uuid::new_v4().to_string();
        Ok(Self { stream, buffer: Buffer::default(), question: question.clone(), key, sent: 0 })
    }

    /// How long the answer took.
    async fn ask(&mut self) -> anyhow::Result<Duration> {
        let Question { port, body, expected, .. } = &self.question;
        self.sent += 1;
        let request = format!(
            "POST /v1/submissions HTTP/1.1\r\nhost: localhost:{port}\r\ncontent-type: application/json\r\n\
             prefer: wait=20\r\nidempotency-key: {}-{}\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            self.sent,
            body.len()
        );
        let begun = Instant::now();
        self.stream.write_all(request.as_bytes()).await?;
        self.stream.flush().await?;
        let message = self.buffer.read(&mut self.stream).await?.context("the connection was closed")?;
        let took = begun.elapsed();
        let (head, body) = (self.buffer.head(&message), self.buffer.body(&message));
        ensure!(
            head.starts_with(b"HTTP/1.1 200") && find(body, expected.as_bytes()).is_some(),
            "not a good answer: {} {}",
            String::from_utf8_lossy(head),
            String::from_utf8_lossy(body)
        );
        Ok(took)
    }
}
