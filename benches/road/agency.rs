//! A light agency: requests come in over mutual TLS and are not looked at; a rightly signed answer goes out at once, or
//! after a while.
//!
//! No answer may be given twice (whoever verifies remembers it), and signing takes longer than everything else that this
//! agency does. So answers are signed beforehand, while nothing is measured: [`Agency::stock_up`]. What is asked for
//! beyond the stock is signed on the spot and counted. Whoever asks below [`UNVERIFIED`] is the floor, which verifies
//! nothing: it gets the same bytes, but always the same.

use crate::exchange::Buffer;
use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use punte::trust::{
    Algorithm, ClientTrust, ClientTrustFiles, Identity, IdentityFiles, Purpose, Reloading, WssProfile,
    strict_server_config, wss,
};
use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{io::AsyncWriteExt, net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

pub struct Agency {
    pub state: Arc<AgencyState>,
    listening: JoinHandle<()>,
}

/// What all connections share.
pub struct AgencyState {
    identity: Arc<Reloading<Identity>>,
    algorithm: Algorithm,
    /// Each with the time when it was signed.
    stock: Mutex<VecDeque<(Instant, Vec<u8>)>>,
    unverified: Vec<u8>,
    delay_ms: AtomicU64,
    pub answered: AtomicU64,
    pub signed_on_the_spot: AtomicU64,
}

/// A listener that is open before the agency is there, so that its address can be written down.
pub struct AgencyListener {
    listener: std::net::TcpListener,
}

pub const UNVERIFIED: &str = "/unverified";
/// Whoever asks below this path never gets an answer.
pub const SILENT: &str = "/silent";

/// An answer counts as fresh for five minutes.
const KEPT: Duration = Duration::from_secs(120);

const ANSWER: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:cr="urn:example:civil-registry:1">
  <soap:Header/>
  <soap:Body>
    <cr:LookUpPersonResponse>
      <cr:PersonalNumber>2000000000001</cr:PersonalNumber>
      <cr:FamilyName>Exemplar</cr:FamilyName>
      <cr:GivenName>Ana &amp; Maria</cr:GivenName>
      <cr:BirthDate>1980-02-29</cr:BirthDate>
      <cr:Citizenship>MD</cr:Citizenship>
      <cr:Address>
        <cr:Settlement>Northtown</cr:Settlement>
        <cr:Street>Bridge Street 1</cr:Street>
      </cr:Address>
    </cr:LookUpPersonResponse>
  </soap:Body>
</soap:Envelope>"#;

impl AgencyListener {
    pub fn open() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener })
    }

    pub fn port(&self) -> anyhow::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }
}

impl Agency {
    /// `folder` holds the agency's keys, as `dev_pki` writes them for a simulator.
    pub fn begin(listener: AgencyListener, folder: &Path) -> anyhow::Result<Self> {
        let now = Timestamp::now();
        let identity = |name: &str, purpose: Purpose| {
            let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
            Reloading::<Identity>::load(IdentityFiles { certificate, key, purpose }, now).map(Arc::new)
        };
        let clients =
            ClientTrustFiles { authorities: vec![folder.join("client-ca.pem")], revocation_lists: Vec::new() };
        let tls = strict_server_config(identity("server", Purpose::TlsServer)?, &ClientTrust::load(&clients, now)?)?;
        let identity = identity("signing", Purpose::Signatures)?;
        let algorithm = identity.current().signer().default_algorithm();
        let unverified = signed(&identity.current(), algorithm)?;
        let state = Arc::new(AgencyState {
            identity,
            algorithm,
            stock: Mutex::default(),
            unverified,
            delay_ms: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            signed_on_the_spot: AtomicU64::new(0),
        });
        let listener = TcpListener::from_std(listener.listener)?;
        let listening = tokio::spawn(listen(listener, TlsAcceptor::from(Arc::new(tls)), state.clone()));
        Ok(Self { state, listening })
    }

    pub fn answer_after(&self, delay: Duration) {
        self.state.delay_ms.store(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Sees to it that so many answers lie ready.
    pub async fn stock_up(&self, count: usize) -> anyhow::Result<()> {
        let state = self.state.clone();
        tokio::task::spawn_blocking(move || state.stock_up(count)).await?
    }
}

impl Drop for Agency {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl AgencyState {
    fn stock_up(&self, count: usize) -> anyhow::Result<()> {
        let missing = {
            let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
            stock.retain(|(signed, _)| signed.elapsed() < KEPT);
            count.saturating_sub(stock.len())
        };
        let threads = std::thread::available_parallelism()?.get();
        std::thread::scope(|scope| {
            let signing = || -> anyhow::Result<()> {
                for _ in 0..missing.div_ceil(threads) {
                    let answer = self.sign()?;
                    let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
                    stock.push_back((Instant::now(), answer));
                }
                Ok(())
            };
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(signing)).collect();
            handles.into_iter().try_for_each(|handle| handle.join().unwrap_or(Ok(())))
        })
    }

    fn sign(&self) -> anyhow::Result<Vec<u8>> {
        signed(&self.identity.current(), self.algorithm)
    }

    fn take_stocked(&self) -> Option<Vec<u8>> {
        let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((signed, answer)) = stock.pop_front() {
            if signed.elapsed() < 2 * KEPT {
                return Some(answer);
            }
        }
        None
    }

    fn fresh(&self) -> anyhow::Result<Vec<u8>> {
        self.take_stocked().map_or_else(
            || {
                self.signed_on_the_spot.fetch_add(1, Ordering::Relaxed);
                self.sign()
            },
            Ok,
        )
    }
}

/// The whole HTTP response.
fn signed(identity: &Identity, algorithm: Algorithm) -> anyhow::Result<Vec<u8>> {
    let ttl = SignedDuration::from_secs(300);
    let profile = WssProfile { algorithm, ttl, sign_headers: Vec::new(), must_understand: false, sign_token: false };
    let body = wss::sign(ANSWER, &profile, identity, Timestamp::now()).context("the agency cannot sign")?;
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/xml; charset=utf-8\r\ncontent-length: {length}\r\n\r\n");
    Ok([head.into_bytes(), body.into_bytes()].concat())
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<AgencyState>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (acceptor, state) = (acceptor.clone(), state.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut buffer = Buffer::default();
            while let Ok(Some(message)) = buffer.read(&mut stream).await {
                let head = buffer.head(&message);
                let is_unverified = is_below(UNVERIFIED, head);
                if is_below(SILENT, head) {
                    std::future::pending::<()>().await;
                }
                let delay = state.delay_ms.load(Ordering::Relaxed);
                if delay > 0 {
                    tokio::time::sleep(Duration::from_millis(delay)).await;
                }
                state.answered.fetch_add(1, Ordering::Relaxed);
                let written = if is_unverified {
                    stream.write_all(&state.unverified).await
                } else {
                    let Ok(answer) = state.fresh() else { return };
                    stream.write_all(&answer).await
                };
                if written.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
        });
    }
}

fn is_below(path: &str, head: &[u8]) -> bool {
    head.strip_prefix(b"POST ").is_some_and(|rest| rest.starts_with(path.as_bytes()))
}
