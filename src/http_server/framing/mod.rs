//! A client's bytes of HTTP/1.1 come in; the same bytes go out, as long as all readers of HTTP would divide them into the
//! same requests (RFC 9112, sections 2.2, 5, 6 and 7). A head that could be divided in two ways is replaced by one that
//! says so, and nothing is read after it.

mod chunks;
mod head;

use bytes::{Buf, BytesMut};
use chunks::Chunks;
use head::{Framing, read_head};

pub use head::{REFUSED, is_token};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A longer head is left to the reader behind, which answers 431.
const MAX_HEAD_BYTES: usize = 33 << 10;
const READ_BYTES: usize = 8 << 10;

/// Owned by the task of its connection.
pub struct FramedStream<S> {
    stream: S,
    state: State,
    /// Read, and not looked at yet.
    unread: BytesMut,
    /// Looked at, and not handed over yet.
    passed: BytesMut,
}

enum State {
    /// Between requests, or within a head, of which so many bytes have been looked at.
    Head(usize),
    /// So many bytes of a body are still to come.
    Body(u64),
    Chunks(Chunks),
    /// Everything passes: HTTP/2, which frames by itself, or what the reader behind refuses.
    Open,
    /// A head was refused: nothing more is read.
    Refused,
}

impl<S> FramedStream<S> {
    pub fn http1(stream: S) -> Self {
        Self::new(stream, State::Head(0))
    }

    /// HTTP/2 needs no such care.
    pub fn http2(stream: S) -> Self {
        Self::new(stream, State::Open)
    }

    fn new(stream: S, state: State) -> Self {
        Self { stream, state, unread: BytesMut::new(), passed: BytesMut::new() }
    }

    /// Looks at what has come, as far as that can be done now.
    fn process_unread(&mut self) {
        loop {
            match &mut self.state {
                State::Open => self.passed.unsplit(self.unread.split()),
                State::Refused => self.unread.clear(),
                State::Body(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(self.unread.len());
                    *left -= here as u64;
                    let is_whole = *left == 0;
                    self.passed.unsplit(self.unread.split_to(here));
                    if is_whole {
                        self.state = State::Head(0);
                        continue;
                    }
                }
                State::Chunks(chunks) => {
                    let here = chunks.pass(&mut self.unread);
                    let is_whole = chunks.is_whole();
                    self.passed.unsplit(here);
                    if is_whole {
                        self.state = State::Head(0);
                        continue;
                    }
                }
                State::Head(looked_at) => {
                    let Some(framing) = read_head(&self.unread, looked_at) else {
                        if self.unread.len() > MAX_HEAD_BYTES {
                            self.state = State::Open;
                            continue;
                        }
                        return;
                    };
                    self.begin(framing);
                    continue;
                }
            }
            return;
        }
    }

    fn begin(&mut self, framing: Framing) {
        let (head_bytes, state) = match framing {
            Framing::Length { head_bytes, body_bytes } => (head_bytes, State::Body(body_bytes)),
            Framing::Chunked { head_bytes } => (head_bytes, State::Chunks(Chunks::default())),
            Framing::Refused(reason) => {
                tracing::debug!(reason, "a request's framing is refused");
                let instead = format!("GET / HTTP/1.1\r\nhost: x\r\n{REFUSED}: {reason}\r\nconnection: close\r\n\r\n");
                self.passed.extend_from_slice(instead.as_bytes());
                self.unread.clear();
                self.state = State::Refused;
                return;
            }
        };
        self.passed.unsplit(self.unread.split_to(head_bytes));
        self.state = state;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FramedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.passed.is_empty() {
                let here = this.passed.len().min(buffer.remaining());
                buffer.put_slice(&this.passed[..here]);
                this.passed.advance(here);
                return Poll::Ready(Ok(()));
            }
            if let State::Refused = this.state {
                // The answer closes the connection; an end here would break it off before.
                return Poll::Pending;
            }
            // What needs no look is not copied.
            if this.unread.is_empty() && matches!(this.state, State::Open) {
                return Pin::new(&mut this.stream).poll_read(cx, buffer);
            }
            if this.unread.is_empty()
                && let State::Body(left) = &mut this.state
                && *left > 0
            {
                let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.remaining());
                let mut part = ReadBuf::new(buffer.initialize_unfilled_to(wanted));
                ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
                let read = part.filled().len();
                buffer.advance(read);
                *left -= read as u64;
                return Poll::Ready(Ok(()));
            }
            let mut bytes = [0; READ_BYTES];
            let mut part = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
            if part.filled().is_empty() {
                // Half a head, or none: the reader behind judges it.
                this.passed.unsplit(this.unread.split());
                this.state = State::Open;
                if this.passed.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            this.unread.extend_from_slice(part.filled());
            this.process_unread();
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FramedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What the reader behind sees of these bytes, which come in pieces of this size.
    async fn seen(bytes: &[u8], piece: usize) -> Vec<u8> {
        let (mut theirs, ours) = tokio::io::duplex(1 << 20);
        let mut framed = FramedStream::http1(ours);
        for piece in bytes.chunks(piece) {
            theirs.write_all(piece).await.unwrap();
        }
        drop(theirs);
        let mut all = Vec::new();
        let reading = framed.read_to_end(&mut all);
        let _ = tokio::time::timeout(std::time::Duration::from_millis(50), reading).await;
        all
    }

    #[tokio::test]
    async fn what_all_readers_divide_alike_passes_unchanged_in_pieces_of_any_size() {
        let requests = b"POST /a HTTP/1.1\r\nhost: x\r\nContent-Length: 5\r\n\r\nhelloPOST /b HTTP/1.1\r\nhost: x\r\n\
            Transfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nx: y\r\n\r\nGET /c HTTP/1.1\r\nhost: x\r\n\r\n";
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(seen(requests, piece).await, requests, "{piece}");
        }
    }

    #[tokio::test]
    async fn nothing_passes_after_a_head_that_is_refused() {
        let bytes =
            b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /c";
        for piece in [1, 1000] {
            let seen = String::from_utf8(seen(bytes, piece).await).unwrap();
            assert!(seen.starts_with("GET / HTTP/1.1\r\nhost: x\r\npunte-refused-framing: "), "{seen}");
            assert!(seen.ends_with("\r\n\r\n") && !seen.contains("/c") && !seen.contains("/a"), "{seen}");
        }
    }
}
