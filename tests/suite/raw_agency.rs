//! An agency that shakes hands properly, reads whole requests and counts them, and then says whatever a test wants: records
//! that nobody can read, alerts of every kind, another protocol, or nothing.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{
    CipherSuite, ConnectionTrafficSecrets, ExtractedSecrets, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::runtime::Handle;

/// What the agency says, below HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Say {
    /// A record that cannot be decrypted.
    Corrupt,
    /// No TLS at all.
    Plain,
    /// A record longer than TLS allows.
    Oversized,
    /// A well-made alert, fatal.
    Alert(u8),
    /// The same, only a warning.
    Warning(u8),
    /// A well-made record of this kind.
    Record(u8, Vec<u8>),
    /// A whole answer of HTTP.
    Http(&'static str),
    /// One of a record, never finished.
    HalfRecord,
}

/// How the agency ends, once all has been said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Fin,
    Reset,
    Silence,
    /// Serves what comes next on the connection.
    Stay,
    /// Serves one request of a connection, and closes it so much later, whatever has arrived meanwhile.
    CloseAfter(Duration),
    /// Serves one request of a connection, and closes it when the next has been read to its last byte.
    CloseAtSecond,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// No handshake is begun.
    InsteadOfHandshake,
    /// As soon as our side of the handshake has ended.
    BeforeRequest,
    /// The request has been read to its last byte, and carried out.
    AfterRequest,
}

#[derive(Debug, Clone)]
pub struct Act {
    pub when: When,
    pub says: Vec<Say>,
    pub end: End,
}

pub struct RawAgency {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    act: Mutex<Act>,
    requests: AtomicU64,
    /// The first line of each.
    lines: Mutex<Vec<String>>,
    /// The first line of the first one on each connection.
    openings: Mutex<Vec<String>>,
    /// What requests for `/health` are answered with, if not like all others.
    health: Mutex<Option<&'static str>>,
    handshakes: AtomicU64,
    tickets: AtomicU64,
    config: Mutex<ServerConfig>,
}

impl RawAgency {
    /// `keys`: the folder of the simulated agency's.
    pub fn open(keys: &Path, version: &'static SupportedProtocolVersion) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let act = Act { when: When::AfterRequest, says: Vec::new(), end: End::Fin };
        let (act, tickets) = (Mutex::new(act), AtomicU64::new(2));
        let config = Mutex::new(config(keys, &keys.join("client-ca.pem"), version));
        let shared = Arc::new(Shared {
            act,
            requests: 0.into(),
            lines: Mutex::default(),
            openings: Mutex::default(),
            health: Mutex::default(),
            handshakes: 0.into(),
            tickets,
            config,
        });
        let (serving, runtime) = (shared.clone(), Handle::current());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut config = serving.config.lock().unwrap().clone();
                config.send_tls13_tickets = serving.tickets.load(Ordering::Relaxed) as usize;
                let (config, shared, runtime) = (Arc::new(config), serving.clone(), runtime.clone());
                std::thread::spawn(move || {
                    let _entered = runtime.enter();
                    serve(stream.ok()?, config, &shared)
                });
            }
        });
        Self { port, shared }
    }

    pub fn acts(&self, act: Act) {
        *self.shared.act.lock().unwrap() = act;
    }

    /// Session tickets after each handshake of TLS 1.3, from the next one on.
    pub fn gives_tickets(&self, count: u64) {
        self.shared.tickets.store(count, Ordering::Relaxed);
    }

    /// Takes client certificates of this authority only.
    pub fn trusts(&self, keys: &Path, authority: &Path, version: &'static SupportedProtocolVersion) {
        *self.shared.config.lock().unwrap() = config(keys, authority, version);
    }

    /// How many requests were read to their last byte: each was carried out.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Requests for `/health`, which are not counted, are answered with this, whatever happens to others.
    pub fn says_of_its_health(&self, answer: &'static str) {
        *self.shared.health.lock().unwrap() = Some(answer);
    }

    /// The first line of each.
    pub fn lines(&self) -> Vec<String> {
        self.shared.lines.lock().unwrap().clone()
    }

    /// The first line of the first one on each connection.
    pub fn openings(&self) -> Vec<String> {
        self.shared.openings.lock().unwrap().clone()
    }

    pub fn handshakes(&self) -> u64 {
        self.shared.handshakes.load(Ordering::Relaxed)
    }
}

fn config(keys: &Path, authority: &Path, version: &'static SupportedProtocolVersion) -> ServerConfig {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let known = |suite: CipherSuite| format!("{suite:?}").contains("AES_256_GCM");
    provider.cipher_suites.retain(|suite| known(suite.suite()));
    let provider = Arc::new(provider);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let chain = CertificateDer::pem_file_iter(keys.join("server.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(keys.join("server.key")).unwrap();
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let mut config = builder.with_client_cert_verifier(clients).with_single_cert(chain, key).unwrap();
    config.enable_secret_extraction = true;
    config
}

fn serve(mut stream: TcpStream, config: Arc<ServerConfig>, shared: &Shared) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    stream.set_nodelay(true).ok()?;
    let act = shared.act.lock().unwrap().clone();
    if act.when == When::InsteadOfHandshake {
        return end(stream, act.end);
    }
    let mut session = ServerConnection::new(config).ok()?;
    let mut heard = Vec::new();
    // Our part of the handshake, tickets included, leaves before anything is made of it.
    while session.is_handshaking() || session.wants_write() {
        if session.complete_io(&mut stream).is_err() {
            // The alert is on its way; the other side hears it if it may read to the end.
            return end(stream, End::Fin);
        }
    }
    shared.handshakes.fetch_add(1, Ordering::Relaxed);
    for served in 0.. {
        let act = shared.act.lock().unwrap().clone();
        if act.when == When::AfterRequest {
            let line = read_request(&mut session, &mut stream, &mut heard)?;
            if served == 0 {
                shared.openings.lock().unwrap().push(line.clone());
            }
            let health = *shared.health.lock().unwrap();
            if let Some(answer) = health.filter(|_| line.contains("/health")) {
                session.writer().write_all(answer.as_bytes()).ok()?;
                while session.wants_write() {
                    session.write_tls(&mut stream).ok()?;
                }
                continue;
            }
            shared.lines.lock().unwrap().push(line);
            shared.requests.fetch_add(1, Ordering::Relaxed);
        }
        // What was changed while the connection was idle counts.
        let act = shared.act.lock().unwrap().clone();
        if act.end == End::CloseAtSecond && served == 1 {
            return end(stream, End::Fin);
        }
        if matches!(act.end, End::Stay | End::CloseAfter(_) | End::CloseAtSecond) {
            for say in &act.says {
                let Say::Http(text) = say else { panic!("{say:?} and staying do not go together") };
                session.writer().write_all(text.as_bytes()).ok()?;
            }
            while session.wants_write() {
                session.write_tls(&mut stream).ok()?;
            }
            if let End::CloseAfter(while_idle) = act.end {
                std::thread::sleep(while_idle);
                return Some(());
            }
            continue;
        }
        let mut speaker = Speaker::of(session)?;
        for say in &act.says {
            stream.write_all(&speaker.spoken(say)).ok()?;
        }
        return end(stream, act.end);
    }
    None
}

fn end(mut stream: TcpStream, end: End) -> Option<()> {
    match end {
        End::Fin | End::Stay | End::CloseAfter(_) | End::CloseAtSecond => {
            stream.shutdown(Shutdown::Write).ok()?;
            // Until the other side has gone, too: what lies unread would make a reset of it.
            while stream.read(&mut [0; 1024]).ok()? > 0 {}
        }
        End::Reset => {
            stream.set_nonblocking(true).ok()?;
            tokio::net::TcpStream::from_std(stream).ok()?.set_zero_linger().ok()?;
        }
        End::Silence => std::thread::sleep(Duration::from_secs(20)),
    }
    Some(())
}

fn read_request(session: &mut ServerConnection, stream: &mut TcpStream, heard: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(head) = heard.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&heard[..head]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let whole = head + 4 + length.map_or(0, |length| length.trim().parse().unwrap());
            if heard.len() >= whole {
                let line = String::from_utf8_lossy(heard).lines().next().map(str::to_owned);
                heard.drain(..whole);
                return line;
            }
        }
        let mut buffer = [0; 16384];
        match session.reader().read(&mut buffer) {
            Ok(0) => return None,
            Ok(count) => heard.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if session.read_tls(stream).ok()? == 0 {
                    return None;
                }
                session.process_new_packets().ok()?;
            }
            Err(_) => return None,
        }
    }
}

/// Seals records with the session's own keys: what the library itself would never say can be said.
struct Speaker {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    is_tls13: bool,
}

impl Speaker {
    fn of(session: ServerConnection) -> Option<Self> {
        let is_tls13 = session.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
        let ExtractedSecrets { tx: (sequence, secrets), .. } = session.dangerous_extract_secrets().ok()?;
        let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { return None };
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).ok()?);
        Some(Self { key, iv: iv.as_ref().try_into().ok()?, sequence, is_tls13 })
    }

    fn spoken(&mut self, say: &Say) -> Vec<u8> {
        match say {
            Say::Corrupt => framed(23, vec![0x5a; 80]),
            Say::Plain => b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".to_vec(),
            Say::Oversized => framed(23, vec![0x5a; 0x4901]),
            Say::Alert(number) => self.record(21, &[2, *number]),
            Say::Warning(number) => self.record(21, &[1, *number]),
            Say::Record(kind, bytes) => self.record(*kind, bytes),
            Say::Http(text) => self.record(23, text.as_bytes()),
            Say::HalfRecord => {
                let mut record = self.record(23, b"HTTP/1.1 200 OK\r\n");
                record.truncate(12);
                record
            }
        }
    }

    fn record(&mut self, kind: u8, bytes: &[u8]) -> Vec<u8> {
        let sequence = self.sequence.to_be_bytes();
        self.sequence += 1;
        let mut nonce = self.iv;
        if self.is_tls13 {
            // RFC 8446, section 5.2 and 5.3.
            nonce[4..].iter_mut().zip(sequence).for_each(|(byte, of_sequence)| *byte ^= of_sequence);
            let mut sealed = [bytes, &[kind]].concat();
            let length = u16::try_from(sealed.len() + 16).unwrap().to_be_bytes();
            let aad = [23, 3, 3, length[0], length[1]];
            self.key
                .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut sealed)
                .unwrap();
            return framed(23, sealed);
        }
        // RFC 5288, section 3, and RFC 5246, section 6.2.3.3. The library's own records use other explicit parts.
        nonce[4..].copy_from_slice(&[sequence, [0xa5; 8]].concat()[4..12]);
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let aad: Vec<u8> = [&sequence[..], &[kind, 3, 3], &length].concat();
        let mut sealed = bytes.to_vec();
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut sealed).unwrap();
        framed(kind, [&nonce[4..], &sealed].concat())
    }
}

fn framed(kind: u8, bytes: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3, length[0], length[1]], &bytes[..]].concat()
}
