//! A proxy between Punte and PostgreSQL that counts statements and round trips, which the server does not.

use super::Database;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

pub struct CountingProxy {
    pub port: u16,
    counted: Arc<Counted>,
    listening: JoinHandle<()>,
}

/// What has gone through so far.
#[derive(Debug, Default)]
struct Counted {
    statements: AtomicU64,
    round_trips: AtomicU64,
}

/// At one moment.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    /// Those that the server has completed, `BEGIN` and `COMMIT` too.
    pub statements: u64,
    /// How often a connection's client has spoken after its server: what is sent before an answer comes is one trip.
    pub round_trips: u64,
}

impl CountingProxy {
    pub async fn before(database: &Database) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (counted, address) = (Arc::new(Counted::default()), database.address()?);
        let listening = tokio::spawn({
            let counted = counted.clone();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let (counted, address) = (counted.clone(), address.clone());
                    // A connection that breaks ends on both sides; Punte says so if it minds.
                    tokio::spawn(async move { pass(client, (&address.0, address.1), &counted).await });
                }
            }
        });
        Ok(Self { port, counted, listening })
    }

    pub fn traffic(&self) -> Traffic {
        Traffic {
            statements: self.counted.statements.load(Ordering::Relaxed),
            round_trips: self.counted.round_trips.load(Ordering::Relaxed),
        }
    }
}

impl Drop for CountingProxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn pass(mut client: TcpStream, server: (&str, u16), counted: &Counted) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let start = start_without_tls(&mut client).await?;
    server.write_all(&start).await?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let (is_asked, mut messages) = (AtomicBool::new(true), Messages::default());
    let asking = forward(from_client, to_server, |_| {
        if !is_asked.swap(true, Ordering::Relaxed) {
            counted.round_trips.fetch_add(1, Ordering::Relaxed);
        }
    });
    let answering = forward(from_server, to_client, |bytes| {
        is_asked.store(false, Ordering::Relaxed);
        counted.statements.fetch_add(messages.completed_in(bytes), Ordering::Relaxed);
    });
    // Whoever closes first ends both ways.
    tokio::select! {
        ended = asking => ended,
        ended = answering => ended,
    }
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut see: impl FnMut(&[u8]),
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        see(&buffer[..count]);
        to.write_all(&buffer[..count]).await?;
    }
}

/// The request codes of `SSLRequest` and `GSSENCRequest`.
const ENCRYPTION_REQUESTS: [u32; 2] = [80_877_103, 80_877_104];

/// The first bytes of the message that a connection starts with. Whoever asks for encryption is told that there is none,
/// because nothing could be counted then.
async fn start_without_tls(client: &mut TcpStream) -> std::io::Result<[u8; 8]> {
    loop {
        let mut start = [0; 8];
        client.read_exact(&mut start).await?;
        let [.., a, b, c, d] = start;
        if !ENCRYPTION_REQUESTS.contains(&u32::from_be_bytes([a, b, c, d])) {
            return Ok(start);
        }
        client.write_all(b"N").await?;
    }
}

/// A server's messages, as they come in pieces: a type, a length that counts itself, and what belongs to it.
#[derive(Default)]
struct Messages {
    head: Vec<u8>,
    /// Bytes of the message whose head has come that have not come yet.
    missing: usize,
}

const HEAD_BYTES: usize = 5;

impl Messages {
    /// How many statements are completed in these bytes: `CommandComplete` begins with C.
    fn completed_in(&mut self, mut bytes: &[u8]) -> u64 {
        let mut completed = 0;
        while !bytes.is_empty() {
            let skipped = self.missing.min(bytes.len());
            self.missing -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD_BYTES - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if let [kind, a, b, c, d] = self.head[..] {
                completed += u64::from(kind == b'C');
                self.missing = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
                self.head.clear();
            }
        }
        completed
    }
}
