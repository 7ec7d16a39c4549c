//! A client's stream comes in; the same stream goes out, with an end for clients that do not read and a soft close.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

/// How long, and how much, is still read of a client after everything was said to it.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_MAX_BYTES: usize = 1 << 20;

pub type TcpConnection = ClientStream<TcpStream>;

/// Owned by the task of its connection.
pub struct ClientStream<S> {
    stream: S,
    /// How long a write may wait for the client to read.
    write_timeout: Duration,
    /// Ends a write that waits, and later the lingering.
    timer: Pin<Box<Sleep>>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Flowing,
    /// The other side does not read; the timer runs.
    Stalled,
    /// Our side is closed, so many bytes were read since; the timer runs.
    Lingering(usize),
}

impl<S> ClientStream<S> {
    pub fn new(stream: S, write_timeout: Duration) -> Self {
        let timer = Box::pin(tokio::time::sleep(write_timeout));
        Self { stream, write_timeout, timer, phase: Phase::Flowing }
    }

    pub fn socket(&self) -> &S {
        &self.stream
    }

    fn checked<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.phase = Phase::Flowing;
            return outcome;
        }
        if self.phase == Phase::Flowing {
            self.phase = Phase::Stalled;
            self.timer.as_mut().reset(Instant::now() + self.write_timeout);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientStream<S> {
    /// A socket that is closed with unread bytes is reset, and the client may lose the answer that was on its way.
    fn linger(&mut self, cx: &mut Context<'_>, mut read: usize) -> Poll<io::Result<()>> {
        while read < LINGER_MAX_BYTES && self.timer.as_mut().poll(cx).is_pending() {
            let mut bytes = [0; 4096];
            let mut buffer = ReadBuf::new(&mut bytes);
            if ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)).is_err() || buffer.filled().is_empty() {
                break;
            }
            read += buffer.filled().len();
            self.phase = Phase::Lingering(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.checked(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.checked(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Phase::Lingering(read) = self.phase {
            return self.linger(cx, read);
        }
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        ready!(self.checked(cx, outcome))?;
        self.timer.as_mut().reset(Instant::now() + LINGER);
        self.phase = Phase::Lingering(0);
        self.linger(cx, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    #[tokio::test]
    async fn a_reader_that_does_not_read_ends_the_stream() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let mut stream = ClientStream::new(ours, Duration::from_millis(50));
        stream.write_all(&[0; 16]).await.unwrap();
        let error = stream.write_all(&[0; 16]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_is_still_sending_gets_what_was_said_last() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(&[b'x'; 100_000]).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let closing = tokio::spawn(async move {
            let mut stream = ClientStream::new(stream, Duration::from_secs(5));
            stream.write_all(b"enough").await.unwrap();
            stream.shutdown().await.unwrap();
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.write_all(&[b'x'; 100_000]).await.unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "enough");
        drop(client);
        closing.await.unwrap();
    }
}
