//! An answer is written to a connection; on demand it goes out up to some point, and then what breaks HTTP within good TLS,
//! or it goes out twice.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Where an answer breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BreakAt {
    BeforeHead,
    InHead,
    AfterHead,
    InBody,
    BeforeLastByte,
    AfterBody,
}

/// What comes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// The end, with TLS's close_notify.
    End,
    /// The end, without it.
    Drop,
    /// The connection is reset.
    Reset,
    /// Bytes that are nothing, and the end.
    Garbage,
    /// Another answer, and the end.
    AnotherAnswer,
    /// Nothing more.
    Silence,
    /// What has gone out once more, and the connection goes on.
    Again,
}

/// Marks a response that is to break, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Break {
    pub at: BreakAt,
    pub how: How,
}

/// Whoever waits longer for the rest waits in vain.
const SILENCE: Duration = Duration::from_secs(30);

impl Break {
    /// Nothing of the answer comes.
    pub const RESET: Self = Self { at: BreakAt::BeforeHead, how: How::Reset };
    /// The whole answer comes twice.
    pub const TWICE: Self = Self { at: BreakAt::AfterBody, how: How::Again };
    const POINTS: [BreakAt; 6] = [
        BreakAt::BeforeHead,
        BreakAt::InHead,
        BreakAt::AfterHead,
        BreakAt::InBody,
        BreakAt::BeforeLastByte,
        BreakAt::AfterBody,
    ];
    const HOWS: [How; 5] = [How::End, How::Drop, How::Garbage, How::AnotherAnswer, How::Silence];

    /// One after the other.
    pub fn in_turn(turn: usize) -> Self {
        let (points, hows) = (Self::POINTS, Self::HOWS);
        Self { at: points[turn % points.len()], how: hows[turn / points.len() % hows.len()] }
    }

    /// What goes out of the answer, with what comes instead of the rest.
    fn spoils(self, mut answer: Vec<u8>) -> Vec<u8> {
        let head = answer.windows(4).position(|it| it == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
        answer.truncate(match self.at {
            BreakAt::BeforeHead => 0,
            BreakAt::InHead => head / 2,
            BreakAt::AfterHead => head,
            BreakAt::InBody => head + (answer.len() - head) / 2,
            BreakAt::BeforeLastByte => answer.len().saturating_sub(1),
            BreakAt::AfterBody => answer.len(),
        });
        match self.how {
            How::Garbage => answer.extend_from_slice(b"\0\xFF\r\n\r\n\0 200 zzz: \xC3\x28\r\nHTTP/9.9"),
            How::AnotherAnswer => {
                answer.extend_from_slice(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
            }
            How::Again => answer.extend_from_within(..),
            How::End | How::Drop | How::Reset | How::Silence => {}
        }
        answer
    }
}

/// A stream whose connection can be made to end with a reset.
pub(super) trait ResetOnDrop {
    fn reset_on_drop(&self);
}

pub(super) struct Cut<S> {
    stream: S,
    switch: CutSwitch,
    /// An answer that is to break, as far as it was written.
    answer: Vec<u8>,
    going_out: Option<GoingOut>,
}

/// What is left of an answer that breaks.
struct GoingOut {
    how: How,
    bytes: Vec<u8>,
    sent: usize,
    silence: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Default)]
pub(super) struct CutSwitch(Arc<Mutex<Option<Break>>>);

impl CutSwitch {
    /// The next answer.
    pub fn breaks(&self, it: Break) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(it);
    }

    fn next(&self) -> Option<Break> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl<S> Cut<S> {
    pub fn around(stream: S) -> (Self, CutSwitch) {
        let switch = CutSwitch::default();
        (Self { stream, switch: switch.clone(), answer: Vec::new(), going_out: None }, switch)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Cut<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + ResetOnDrop + Unpin> AsyncWrite for Cut<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.switch.next().is_some() {
            self.answer.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    /// An error ends the connection.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let next = this.switch.next().filter(|_| !this.answer.is_empty() && this.going_out.is_none());
        if let Some(it) = next {
            let bytes = it.spoils(std::mem::take(&mut this.answer));
            this.going_out = Some(GoingOut { how: it.how, bytes, sent: 0, silence: None });
        }
        let Some(out) = &mut this.going_out else { return Pin::new(&mut this.stream).poll_flush(context) };
        while out.sent < out.bytes.len() {
            out.sent += ready!(Pin::new(&mut this.stream).poll_write(context, &out.bytes[out.sent..]))?;
        }
        ready!(Pin::new(&mut this.stream).poll_flush(context))?;
        match out.how {
            How::Silence => {
                let silence = out.silence.get_or_insert_with(|| Box::pin(sleep(SILENCE)));
                ready!(silence.as_mut().poll(context));
            }
            How::Again => {
                this.going_out = None;
                this.switch.is_over();
                return Poll::Ready(Ok(()));
            }
            How::Drop => {}
            How::Reset => this.stream.reset_on_drop(),
            How::End | How::Garbage | How::AnotherAnswer => ready!(Pin::new(&mut this.stream).poll_shutdown(context))?,
        }
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    impl ResetOnDrop for tokio::io::DuplexStream {
        fn reset_on_drop(&self) {}
    }

    const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwhole";

    #[tokio::test]
    async fn an_answer_breaks_where_it_is_told_and_the_one_before_it_does_not() {
        for (at, out) in [
            (BreakAt::BeforeHead, ""),
            (BreakAt::InHead, "HTTP/1.1 200 OK\r\nco"),
            (BreakAt::AfterHead, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"),
            (BreakAt::InBody, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwh"),
            (BreakAt::BeforeLastByte, "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwhol"),
            (BreakAt::AfterBody, ANSWER),
        ] {
            let (ours, mut theirs) = tokio::io::duplex(1024);
            let (mut cut, switch) = Cut::around(ours);
            cut.write_all(b"before ").await.unwrap();
            cut.flush().await.unwrap();
            switch.breaks(Break { at, how: How::End });
            cut.write_all(ANSWER.as_bytes()).await.unwrap();
            assert!(cut.flush().await.is_err(), "{at:?}");
            let mut text = String::new();
            theirs.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, format!("before {out}"), "{at:?}");
        }
    }

    #[tokio::test]
    async fn what_is_to_come_twice_does_and_nothing_else_does() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (mut cut, switch) = Cut::around(ours);
        for (text, twice) in [("a", false), ("bc", true), ("d", false)] {
            if twice {
                switch.breaks(Break::TWICE);
            }
            cut.write_all(text.as_bytes()).await.unwrap();
            cut.flush().await.unwrap();
        }
        drop(cut);
        let mut text = String::new();
        theirs.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "abcbcd");
    }

    #[test]
    fn each_kind_has_its_turn() {
        let kinds = Break::POINTS.len() * Break::HOWS.len();
        let met: HashSet<_> = (0..kinds).map(|turn| format!("{:?}", Break::in_turn(turn))).collect();
        assert_eq!(met.len(), kinds);
    }
}
