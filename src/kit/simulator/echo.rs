//! What is written to a connection goes out; on demand it goes out once more, as from an agency that answers twice.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Marks a response that is to come twice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Twice;

pub(super) struct Echo<S> {
    stream: S,
    switch: EchoSwitch,
    /// What has been written since the switch was turned on.
    copy: Vec<u8>,
    repeated_bytes: usize,
}

#[derive(Clone, Default)]
pub(super) struct EchoSwitch(Arc<AtomicBool>);

impl EchoSwitch {
    /// From the next byte to the next flush.
    pub fn answer_twice(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl<S> Echo<S> {
    pub fn around(stream: S) -> (Self, EchoSwitch) {
        let switch = EchoSwitch::default();
        (Self { stream, switch: switch.clone(), copy: Vec::new(), repeated_bytes: 0 }, switch)
    }

    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Echo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Echo<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        if self.switch.is_on() {
            self.copy.extend_from_slice(&bytes[..count]);
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.repeated_bytes < this.copy.len() {
            let left = &this.copy[this.repeated_bytes..];
            this.repeated_bytes += ready!(Pin::new(&mut this.stream).poll_write(context, left))?;
        }
        if !this.copy.is_empty() {
            this.switch.0.store(false, Ordering::Release);
            (this.copy, this.repeated_bytes) = (Vec::new(), 0);
        }
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_is_written_while_it_is_on_comes_twice_and_nothing_else_does() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (mut echo, switch) = Echo::around(ours);
        for (text, twice) in [("a", false), ("bc", true), ("d", false)] {
            if twice {
                switch.answer_twice();
            }
            echo.write_all(text.as_bytes()).await.unwrap();
            echo.flush().await.unwrap();
        }
        drop(echo);
        let mut text = String::new();
        theirs.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "abcbcd");
    }
}
