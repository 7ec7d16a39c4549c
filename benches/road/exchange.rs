//! HTTP/1.1 by hand, as far as two sides need it that both belong to the measurement: one message is read from a
//! connection, head and body, in a buffer that stays.

use anyhow::{Context, bail};
use std::ops::Range;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What has been read of a connection and not been used yet.
#[derive(Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    used: usize,
}

/// Where the parts of one message stand in the buffer.
pub struct Message {
    head: Range<usize>,
    body: Range<usize>,
}

impl Buffer {
    /// The next message; `None` where the other side has closed the connection between two.
    pub async fn read(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<Option<Message>> {
        self.bytes.drain(..self.used);
        self.used = 0;
        let body_at = loop {
            if let Some(at) = find(&self.bytes, b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut self.bytes).await? == 0 {
                if self.bytes.is_empty() {
                    return Ok(None);
                }
                bail!("the connection was closed within a message");
            }
        };
        let end = body_at + content_length(&self.bytes[..body_at])?;
        while self.bytes.len() < end {
            if stream.read_buf(&mut self.bytes).await? == 0 {
                bail!("the connection was closed within a body");
            }
        }
        self.used = end;
        Ok(Some(Message { head: 0..body_at, body: body_at..end }))
    }

    pub fn head(&self, message: &Message) -> &[u8] {
        &self.bytes[message.head.clone()]
    }

    pub fn body(&self, message: &Message) -> &[u8] {
        &self.bytes[message.body.clone()]
    }
}

pub fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn content_length(head: &[u8]) -> anyhow::Result<usize> {
    let head = std::str::from_utf8(head)?;
    for line in head.lines().skip(1) {
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                return value.trim().parse().context("content-length");
            }
            Some((name, _)) if name.eq_ignore_ascii_case("transfer-encoding") => bail!("a body in chunks"),
            _ => {}
        }
    }
    Ok(0)
}
