//! The offices' clients: each waits for one answer before it sends the next request, over a connection that stays open. They
//! are part of the measurement, so they do as little as possible; what they use is told with the figures.

use crate::exchange::{Buffer, find};
use anyhow::{Context, ensure};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Barrier, task::JoinSet, time::MissedTickBehavior};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Who is asked, and what.
#[derive(Clone)]
pub struct Question {
    /// Of one gateway, or of several, over which the clients are spread.
    pub ports: Arc<[u16]>,
    pub tls: Arc<ClientConfig>,
    /// Each client goes round them, beginning at one of its own.
    pub bodies: Arc<[String]>,
    pub expected: Expected,
}

/// What a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// An answer with this text; any other is an error.
    Answer(&'static str),
    /// Whatever comes, at once.
    Anything,
}

/// What one round came to.
#[derive(Debug, Clone, Default)]
pub struct Served {
    /// The sum of all clients' own rates: none is charged for the others' last answers.
    pub per_second: f64,
    /// Sorted.
    pub latencies: Vec<Duration>,
}

/// One client, connected.
struct Client {
    stream: TlsStream<TcpStream>,
    port: u16,
    buffer: Buffer,
    question: Question,
    /// No two requests of any run have the same Idempotency-Key.
    key: String,
    number: usize,
    sent: usize,
}

/// How many clients ask, and for how long each.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub clients: usize,
    pub duration: Duration,
    /// They begin one after the other, evenly over so long.
    pub spread: Duration,
}

impl Run {
    /// One request, to see that it is answered.
    pub const TRIAL: Self = Self { clients: 1, duration: Duration::ZERO, spread: Duration::ZERO };
}

/// `begin` is called once all are connected and have had one answer each.
pub async fn ask<T>(question: &Question, run: Run, begin: impl FnOnce() -> T) -> anyhow::Result<(Served, T)> {
    let Run { clients, duration, spread } = run;
    let mut connected = Vec::new();
    for number in 0..clients {
        connected.push(Client::connect(question, number).await?);
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
                tokio::time::sleep(spread * client.number as u32 / clients as u32).await;
                let (begun, mut latencies) = (Instant::now(), Vec::new());
                while begun.elapsed() < duration {
                    latencies.push(client.ask().await?);
                }
                anyhow::Ok((latencies, begun.elapsed().as_secs_f64()))
            })
        })
        .collect();
    ready.wait().await;
    let at_begin = begin();
    go.wait().await;
    let mut served = Served::default();
    for task in tasks {
        let (latencies, seconds) = task.await??;
        served.per_second += latencies.len() as f64 / seconds;
        served.latencies.extend(latencies);
    }
    served.latencies.sort_unstable();
    Ok((served, at_begin))
}

/// Requests that come at their own pace, whatever becomes of them: no faster than `per_second` over all clients. Each that
/// was answered is counted.
pub async fn offer(
    question: &Question,
    clients: usize,
    per_second: f64,
    answered: &Arc<AtomicUsize>,
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let mut offering = JoinSet::new();
    for number in 0..clients {
        let mut client = Client::connect(question, number).await?;
        let mut pace = tokio::time::interval(Duration::from_secs_f64(clients as f64 / per_second));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let answered = answered.clone();
        offering.spawn(async move {
            loop {
                pace.tick().await;
                client.ask().await?;
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    Ok(offering)
}

impl Served {
    pub fn percentile_ms(&self, percent: usize) -> f64 {
        let at = self.latencies.len().saturating_sub(1) * percent / 100;
        self.latencies.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }
}

impl Client {
    async fn connect(question: &Question, number: usize) -> anyhow::Result<Self> {
        let port = question.ports[number % question.ports.len()];
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(question.tls.clone()).connect(name, stream).await?;
        let key = uuid::Uuid::new_v4().to_string();
        Ok(Self { stream, port, buffer: Buffer::default(), question: question.clone(), number, key, sent: 0 })
    }

    /// How long the answer took.
    async fn ask(&mut self) -> anyhow::Result<Duration> {
        let request = self.next_request();
        let begun = Instant::now();
        self.stream.write_all(request.as_bytes()).await?;
        self.stream.flush().await?;
        let message = self.buffer.read(&mut self.stream).await?.context("the connection was closed")?;
        let took = begun.elapsed();
        let (head, body) = (self.buffer.head(&message), self.buffer.body(&message));
        let is_good = match self.question.expected {
            Expected::Answer(text) => head.starts_with(b"HTTP/1.1 200") && find(body, text.as_bytes()).is_some(),
            Expected::Anything => true,
        };
        let text = String::from_utf8_lossy;
        ensure!(is_good, "not a good answer: {} {}", text(head), text(body));
        Ok(took)
    }

    fn next_request(&mut self) -> String {
        let (port, Question { bodies, expected, .. }) = (self.port, &self.question);
        let body = &bodies[(self.number + self.sent) % bodies.len()];
        self.sent += 1;
        let prefer = match expected {
            Expected::Answer(_) => "prefer: wait=20\r\n",
            Expected::Anything => "",
        };
        format!(
            "POST /v1/submissions HTTP/1.1\r\nhost: localhost:{port}\r\ncontent-type: application/json\r\n{prefer}\
             idempotency-key: {}-{}\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            self.sent,
            body.len()
        )
    }
}
