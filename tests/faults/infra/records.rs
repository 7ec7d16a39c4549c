//! A proxy before an agency that reads along which records of TLS go by, without being able to read what is in them, and breaks
//! one of each connection: every record of both directions, in every way there is, one after the other.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::sleep,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Towards {
    Agency,
    Bus,
}

/// What becomes of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// One bit of it is another.
    Corrupt,
    /// It comes a second time.
    Twice,
    /// Plain HTTP comes in its place.
    Plain,
    /// A longer one than TLS allows comes in its place.
    Oversized,
    /// An alert that nobody has sealed comes in its place.
    Alert,
    /// The connection ends before it.
    End,
    /// The connection ends in the middle of it.
    Half,
    /// The connection is reset before it.
    Reset,
    /// Neither it nor anything after it arrives.
    Swallow,
}

impl How {
    pub const ALL: [How; 9] = [
        How::Corrupt,
        How::Twice,
        How::Plain,
        How::Oversized,
        How::Alert,
        How::End,
        How::Half,
        How::Reset,
        How::Swallow,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            How::Corrupt => "a corrupt record",
            How::Twice => "a record twice",
            How::Plain => "plain text",
            How::Oversized => "an oversized record",
            How::Alert => "an alert",
            How::End => "the end",
            How::Half => "half a record",
            How::Reset => "a reset",
            How::Swallow => "silence",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Break {
    pub towards: Towards,
    /// Of the connection's records in this direction, from 0: handshake, tickets, requests, answers.
    pub record: usize,
    pub how: How,
}

pub struct RecordBreaker {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    server: AtomicU16,
    is_armed: AtomicBool,
    waiting: Mutex<VecDeque<Break>>,
    made: Mutex<BTreeMap<Break, u64>>,
    /// When the last connection came.
    last: Mutex<Option<Instant>>,
}

/// Whoever comes after so long a silence looks at an agency to which nothing is sent: a break that the look met would only keep it
/// halted. It is let through, and soon ended, so that what is sent next meets breaks again.
const SILENCE: Duration = Duration::from_millis(400);
const LOOK: Duration = Duration::from_millis(500);

/// As many records as a connection has until some requests have gone over it.
pub const RECORDS: usize = 8;

impl RecordBreaker {
    /// Lets everything through until it is armed.
    pub fn open() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listener = TcpListener::from_std(listener).unwrap();
        let waiting = Mutex::new(every_break());
        let shared = Arc::new(Shared {
            server: 0.into(),
            is_armed: false.into(),
            waiting,
            made: Mutex::default(),
            last: Mutex::default(),
        });
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = serving.clone();
                tokio::spawn(async move { shared.serve(client).await });
            }
        });
        Self { port, shared }
    }

    pub fn stands_before(&self, port: u16) {
        self.shared.server.store(port, Ordering::Relaxed);
    }

    pub fn arm(&self, is_armed: bool) {
        self.shared.is_armed.store(is_armed, Ordering::Relaxed);
    }

    /// As if it had broken nothing yet.
    pub fn begin_anew(&self) {
        *self.shared.waiting.lock().unwrap() = every_break();
        self.shared.made.lock().unwrap().clear();
    }

    /// How often each was made.
    pub fn made(&self) -> BTreeMap<Break, u64> {
        self.shared.made.lock().unwrap().clone()
    }
}

fn every_break() -> VecDeque<Break> {
    let of_record = |record| {
        let of_how = move |how| [Towards::Agency, Towards::Bus].map(|towards| Break { towards, record, how });
        How::ALL.into_iter().flat_map(of_how)
    };
    (0..RECORDS).flat_map(of_record).collect()
}

impl Shared {
    async fn serve(&self, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(("127.0.0.1", self.server.load(Ordering::Relaxed))).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let is_armed = self.is_armed.load(Ordering::Relaxed);
        let last = self.last.lock().unwrap().replace(Instant::now());
        let is_look = is_armed && last.is_some_and(|at| at.elapsed() > SILENCE);
        let next = if is_armed && !is_look { self.waiting.lock().unwrap().pop_front() } else { None };
        let (from_bus, to_bus) = client.into_split();
        let (from_agency, to_agency) = server.into_split();
        let break_of = |towards| next.filter(|it| it.towards == towards);
        tokio::select! {
            _ = self.pump(from_bus, to_agency, break_of(Towards::Agency)) => {}
            _ = self.pump(from_agency, to_bus, break_of(Towards::Bus)) => {}
            _ = sleep(LOOK), if is_look => {}
        }
        self.waiting.lock().unwrap().extend(next);
        Ok(())
    }

    /// Ends with the connection.
    async fn pump(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, next: Option<Break>) -> io::Result<()> {
        for number in 0.. {
            let mut record = vec![0; 5];
            from.read_exact(&mut record).await?;
            let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
            record.resize(5 + length, 0);
            from.read_exact(&mut record[5..]).await?;
            match next.filter(|it| it.record == number) {
                None => to.write_all(&record).await?,
                Some(it) => {
                    *self.made.lock().unwrap().entry(it).or_default() += 1;
                    broken(&mut record, it.how, &from, &mut to).await?;
                }
            }
        }
        Ok(())
    }
}

/// An error ends the connection.
async fn broken(record: &mut [u8], how: How, from: &OwnedReadHalf, to: &mut OwnedWriteHalf) -> io::Result<()> {
    let over = || Err(io::ErrorKind::ConnectionAborted.into());
    match how {
        How::Corrupt => {
            if let Some(last) = record.last_mut() {
                *last ^= 1;
            }
            return to.write_all(record).await;
        }
        How::Twice => return to.write_all(&[&record[..], &record[..]].concat()).await,
        How::Plain => to.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await?,
        How::Oversized => to.write_all(&[&[23, 3, 3, 0x49, 1], &[0; 0x4901][..]].concat()).await?,
        How::Alert => to.write_all(&[21, 3, 3, 0, 2, 2, 40]).await?,
        How::End => {}
        How::Half => to.write_all(&record[..record.len() / 2]).await?,
        How::Reset => {
            let sides: [&TcpStream; 2] = [from.as_ref(), to.as_ref()];
            sides.into_iter().try_for_each(TcpStream::set_zero_linger)?;
            return over();
        }
        How::Swallow => sleep(Duration::from_secs(600)).await,
    }
    to.shutdown().await?;
    // What the other side still says is read, or its words would make a reset of the end.
    sleep(Duration::from_millis(20)).await;
    over()
}
