//! A client that writes frames of HTTP/2 by hand (RFC 9113), and reads what comes back until the connection ends.

use crate::front::{environment::Open, raw::raw};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub struct Frames(TlsStream<TcpStream>);

/// What the server said until it ended the connection, or until nothing more came.
#[derive(Debug, Default)]
pub struct Heard {
    /// By stream: the first byte of its header block, which tells the status where that is one of the usual.
    pub headers: Vec<(u32, u8)>,
    pub resets: Vec<(u32, u32)>,
    /// The code of its GOAWAY.
    pub goaway: Option<u32>,
    pub data: Vec<u8>,
    pub has_ended: bool,
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Literals without indexing, no Huffman code (RFC 7541, section 6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        text(&mut bytes, name.as_bytes());
        text(&mut bytes, value.as_bytes());
    }
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &[u8]) {
    number(bytes, 0, 7, text.len());
    bytes.extend(text);
}

/// An integer with a prefix of so many bits (RFC 7541, section 5.1).
pub fn number(bytes: &mut Vec<u8>, first: u8, prefix_bits: u32, value: usize) {
    let most = (1 << prefix_bits) - 1;
    if value < most {
        return bytes.push(first | u8::try_from(value).unwrap());
    }
    bytes.push(first | u8::try_from(most).unwrap());
    let mut rest = value - most;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
}

pub const ASKING: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/v1/services")];

impl Frames {
    pub async fn begin(open: &Open) -> Self {
        let mut frames = Self(raw(open, b"h2").await);
        frames.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        frames.write(&frame(SETTINGS, 0, 0, &[])).await;
        frames
    }

    /// Whether the server still takes it.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        let written = async {
            self.0.write_all(bytes).await?;
            self.0.flush().await
        };
        matches!(tokio::time::timeout(Duration::from_secs(2), written).await, Ok(Ok(())))
    }

    /// Until the end, or until nothing has come for so long.
    pub async fn hear(&mut self, quiet: Duration) -> Heard {
        let mut bytes = Vec::new();
        let mut has_ended = false;
        loop {
            let mut piece = [0; 16_384];
            match tokio::time::timeout(quiet, self.0.read(&mut piece)).await {
                Err(_) => break,
                Ok(Ok(count)) if count > 0 => bytes.extend_from_slice(&piece[..count]),
                Ok(_) => {
                    has_ended = true;
                    break;
                }
            }
        }
        Heard { has_ended, ..understood(&bytes) }
    }
}

fn understood(mut bytes: &[u8]) -> Heard {
    let mut heard = Heard::default();
    let word = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().unwrap());
    while bytes.len() >= 9 {
        let length = usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2]);
        let (kind, stream) = (bytes[3], word(&bytes[5..]));
        let Some(payload) = bytes.get(9..9 + length) else { break };
        match kind {
            DATA => heard.data.extend_from_slice(payload),
            HEADERS => heard.headers.push((stream, payload[0])),
            RST_STREAM => heard.resets.push((stream, word(payload))),
            GOAWAY => heard.goaway = Some(word(&payload[4..])),
            _ => {}
        }
        bytes = &bytes[9 + length..];
    }
    heard
}
