//! A TCP proxy that misbehaves on demand: the addresses of servers come in; connections to the first of them that listens
//! go through, or are refused, swallowed, slowed down, or cut at a chosen AMQP frame.

use super::frames::{Frame, FrameReader, Way};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Through,
    /// New connections are ended at once, old ones as well.
    Refuse,
    /// Half-open: both sides may write, nothing arrives; nor ever will on connections that have lost something.
    Swallow,
    /// A byte at a time, each after this pause.
    Drip(Duration),
    /// Each piece arrives this much later.
    Delay(Duration),
}

/// Where a connection is cut, as seen from the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Its head arrives, and nothing after it.
    Within,
    /// It arrives, and nothing after it.
    After,
}

pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    servers: Mutex<Vec<String>>,
    mode: watch::Sender<Mode>,
    /// Raised to end every connection there is.
    generation: watch::Sender<u64>,
    armed: Mutex<Option<Armed>>,
    seen: Mutex<BTreeMap<Frame, usize>>,
    cuts: AtomicUsize,
    connections: AtomicUsize,
}

#[derive(Clone, Copy)]
struct Armed {
    frame: Frame,
    cut: Cut,
    /// How many of the kind go through before.
    spare: usize,
}

impl Proxy {
    pub async fn before(servers: &[String]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            servers: Mutex::new(servers.to_vec()),
            mode: watch::channel(Mode::Through).0,
            generation: watch::channel(0).0,
            armed: Mutex::default(),
            seen: Mutex::default(),
            cuts: AtomicUsize::default(),
            connections: AtomicUsize::default(),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, accepting }
    }

    /// The same URL, by way of the proxy.
    pub fn instead_of(&self, url: &str) -> String {
        let (start, end) = authority(url);
        format!("{}{}{}", &url[..start], self.address, &url[end..])
    }

    pub fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
        if mode == Mode::Refuse {
            self.cut_all();
        }
    }

    pub fn cut_all(&self) {
        self.shared.generation.send_modify(|generation| *generation += 1);
    }

    /// Balances over these from now on; connections that exist stay.
    pub fn turn_to(&self, servers: &[String]) {
        *lock(&self.shared.servers) = servers.to_vec();
    }

    /// Cuts the next connection on which such a frame comes after `spare` others of its kind. Once.
    pub fn arm(&self, frame: Frame, cut: Cut, spare: usize) {
        *lock(&self.shared.armed) = Some(Armed { frame, cut, spare });
    }

    pub fn is_armed(&self) -> bool {
        lock(&self.shared.armed).is_some()
    }

    pub fn disarm(&self) {
        *lock(&self.shared.armed) = None;
    }

    /// Every kind of frame that has come so far, and how often.
    pub fn seen(&self) -> BTreeMap<Frame, usize> {
        lock(&self.shared.seen).clone()
    }

    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::Relaxed)
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut_all();
    }
}

/// Where `host:port` lies in a URL.
fn authority(url: &str) -> (usize, usize) {
    let begin = url.find("://").unwrap() + 3;
    let end = url[begin..].find(['/', '?']).map_or(url.len(), |at| begin + at);
    let start = url[begin..end].rfind('@').map_or(begin, |at| begin + at + 1);
    (start, end)
}

/// `host:port` of a URL.
pub fn place(url: &str) -> String {
    let (start, end) = authority(url);
    url[start..end].to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        if *shared.mode.borrow() == Mode::Refuse {
            let _ = client.set_zero_linger();
            continue;
        }
        shared.connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(carry(client, shared.clone()));
    }
}

async fn carry(client: TcpStream, shared: Arc<Shared>) {
    let generation = *shared.generation.borrow();
    let Some(server) = connect(&shared).await else { return drop(client.set_zero_linger()) };
    for stream in [&client, &server] {
        // What is cut ends with a reset, as when a cable is pulled and the machine behind it has forgotten.
        let _ = stream.set_zero_linger();
        let _ = stream.set_nodelay(true);
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut generations = shared.generation.subscribe();
    tokio::select! {
        () = pump(from_client, to_server, Way::ToServer, &shared) => {}
        () = pump(from_server, to_client, Way::ToClient, &shared) => {}
        _ = generations.wait_for(|now| *now != generation) => {}
    }
}

async fn connect(shared: &Shared) -> Option<TcpStream> {
    let servers = lock(&shared.servers).clone();
    for server in servers {
        if let Ok(Ok(stream)) = timeout(Duration::from_secs(2), TcpStream::connect(server)).await {
            return Some(stream);
        }
    }
    None
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way, shared: &Shared) {
    let mut frames = Frames { reader: FrameReader::new(way), cut: None };
    let mut buffer = vec![0; 16 * 1024];
    let mut has_lost_bytes = false;
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..count];
        let mode = *shared.mode.borrow();
        has_lost_bytes |= mode == Mode::Swallow;
        let goes_on = match mode {
            _ if has_lost_bytes => true,
            Mode::Swallow => true,
            Mode::Refuse => false,
            Mode::Through => forward(&mut frames, bytes, &mut to, shared).await,
            Mode::Delay(pause) => {
                sleep(pause).await;
                forward(&mut frames, bytes, &mut to, shared).await
            }
            Mode::Drip(pause) => drip(&mut frames, bytes, pause, &mut to, shared).await,
        };
        if !goes_on {
            return;
        }
    }
}

async fn drip(frames: &mut Frames, bytes: &[u8], pause: Duration, to: &mut OwnedWriteHalf, shared: &Shared) -> bool {
    let mut modes = shared.mode.subscribe();
    for (number, byte) in bytes.iter().enumerate() {
        if *shared.mode.borrow() != Mode::Drip(pause) {
            return forward(frames, &bytes[number..], to, shared).await;
        }
        if !forward(frames, std::slice::from_ref(byte), to, shared).await {
            return false;
        }
        tokio::select! {
            () = sleep(pause) => {}
            _ = modes.changed() => {}
        }
    }
    true
}

/// Passes bytes on, up to where the connection is to be cut. `false`: it has been cut, or has ended.
async fn forward(frames: &mut Frames, bytes: &[u8], to: &mut OwnedWriteHalf, shared: &Shared) -> bool {
    let cut_at = frames.cut_in(bytes, shared);
    if to.write_all(&bytes[..cut_at.unwrap_or(bytes.len())]).await.is_err() {
        return false;
    }
    if cut_at.is_some() {
        shared.cuts.fetch_add(1, Ordering::Relaxed);
        // What was passed on must arrive before the reset overtakes it.
        sleep(Duration::from_millis(20)).await;
    }
    cut_at.is_none()
}

/// One direction of one connection.
struct Frames {
    reader: FrameReader,
    /// The frame that comes now is the one to cut at.
    cut: Option<Cut>,
}

impl Frames {
    /// After how many of these bytes the connection is to be cut.
    fn cut_in(&mut self, bytes: &[u8], shared: &Shared) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            let step = self.reader.step(&bytes[at..]);
            at += step.length;
            if let Some(frame) = step.begun {
                *lock(&shared.seen).entry(frame).or_default() += 1;
                self.cut = struck(shared, frame);
            }
            match self.cut {
                Some(Cut::Within) => return Some(at),
                Some(Cut::After) if step.ends => return Some(at),
                Some(Cut::After) | None => {}
            }
        }
        None
    }
}

fn struck(shared: &Shared, frame: Frame) -> Option<Cut> {
    let mut armed = lock(&shared.armed);
    let it = armed.as_mut().filter(|it| it.frame == frame)?;
    if it.spare > 0 {
        it.spare -= 1;
        return None;
    }
    armed.take().map(|it| it.cut)
}
