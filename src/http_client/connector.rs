//! The connector below the HTTP client: a connection that is established, and proved if the server says so in time, goes out,
//! or a failure that says that nothing was sent.

use super::{
    failure::ConnectFailure,
    moment::{Wanted, poll_connecting, wanted},
    noted::{Noted, Renegotiations, noting},
    proof::{Seen, watch},
    tls_failure::{TlsFailure, tls_failure},
    unasked::is_unasked,
};
use crate::network_errors::in_words;
use hyper::rt::{Read, ReadBuf};
use std::{
    error::Error,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service};

type AnyError = Box<dyn Error + Send + Sync>;

/// How new connections of one client are made.
#[derive(Debug, Clone)]
pub(super) struct Connecting {
    pub timeout: Duration,
    pub proofs: Arc<Proofs>,
    pub renegotiations: Renegotiations,
}

/// What new connections have proved so far.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    /// Connections in a row that were waited for in vain.
    missed: AtomicU32,
    /// Whether the last new connection has proved itself.
    is_proved: AtomicBool,
}

/// So many misses in a row, and whoever learns waits no longer.
const ENOUGH_MISSES: u32 = 2;
/// The server's first message after our last one needs one way to it and back; the handshake needed at least two.
const PROOF_AT_LEAST: Duration = Duration::from_millis(250);
const PROOF_AT_MOST: Duration = Duration::from_secs(1);

/// A connection is not there again at the very moment at which its answer is.
const GIVEN_BACK_WITHIN: Duration = Duration::from_millis(20);

impl Proofs {
    /// Whether this server's connections prove nothing by themselves.
    fn are_in_vain(&self) -> bool {
        self.missed.load(Ordering::Relaxed) >= ENOUGH_MISSES
    }

    fn learn(&self, is_proved: bool) {
        self.is_proved.store(is_proved, Ordering::Relaxed);
        match is_proved {
            true => self.missed.store(0, Ordering::Relaxed),
            false => _ = self.missed.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl<S> Layer<S> for Connecting {
    type Service = Connector<S>;

    fn layer(&self, inner: S) -> Connector<S> {
        Connector { inner, how: self.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Connector<S> {
    inner: S,
    how: Connecting,
}

impl<S, R> Service<R> for Connector<S>
where
    S: Service<R, Error = AnyError>,
    S::Future: Send + 'static,
    S::Response: Read + Unpin + Send + 'static,
{
    type Response = S::Response;
    type Error = AnyError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, AnyError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AnyError>> {
        self.inner.poll_ready(cx).map_err(|error| failure(&*error, Seen::default()).into())
    }

    fn call(&mut self, request: R) -> Self::Future {
        let how = self.how.clone();
        let wanted = wanted().unwrap_or(Wanted::Any);
        if wanted == Wanted::Proved && !how.proofs.is_proved.load(Ordering::Relaxed) {
            // Waiting for this one's proof would most likely be in vain, and a probe opens one that is certain.
            return Box::pin(async {
                sleep(GIVEN_BACK_WITHIN).await;
                Err(ConnectFailure::Unproved.into())
            });
        }
        let connecting = self.inner.call(request);
        Box::pin(async move {
            let mut established = pin!(timeout(how.timeout, how.establish(connecting, wanted)));
            let established = poll_fn(|cx| poll_connecting(established.as_mut(), cx)).await;
            Ok(established.unwrap_or(Err(ConnectFailure::Timeout))?)
        })
    }
}

impl Connecting {
    async fn establish<C>(
        &self,
        connecting: impl Future<Output = Result<C, AnyError>>,
        wanted_for: Wanted,
    ) -> Result<C, ConnectFailure>
    where
        C: Read + Unpin,
    {
        let begun = Instant::now();
        let mut connecting = pin!(connecting);
        let noted = Noted { renegotiations: self.renegotiations.clone(), has_asked: Arc::default() };
        let mut seen = Seen::default();
        let connected = poll_fn(|cx| {
            let (polled, more) = watch(|| noting(&noted, || connecting.as_mut().poll(cx)));
            seen = seen.and(more);
            polled
        });
        let mut connection = connected.await.map_err(|error| failure(&*error, seen))?;
        let mut is_proved = !seen.is_tls13;
        if seen.is_tls13 && (wanted_for.is_proof_awaited() || !self.proofs.are_in_vain()) {
            let limit = (begun.elapsed() * 2).clamp(PROOF_AT_LEAST, PROOF_AT_MOST);
            is_proved = match timeout(limit, until_proved(&mut connection, seen)).await {
                Ok(proved) => proved.map(|()| true)?,
                Err(_) => false,
            };
            self.proofs.learn(is_proved);
        } else if is_proved {
            self.proofs.learn(true);
        }
        let is_good_enough = match wanted_for {
            Wanted::Any => true,
            Wanted::Proved => is_proved,
            // If its request has found another one meanwhile, whoever took this one later would take it for proved.
            Wanted::ToBeProved | Wanted::ProvedIfPossible => is_proved || wanted().is_some(),
        };
        if !is_good_enough {
            return Err(ConnectFailure::Unproved);
        }
        still_silent(&mut connection, seen).await?;
        Ok(connection)
    }
}

/// Nothing has been asked yet, so all that may come is the server's ticket.
pub(super) async fn until_proved<C: Read + Unpin>(connection: &mut C, so_far: Seen) -> Result<(), ConnectFailure> {
    poll_fn(|cx| {
        let (polled, Seen { has_ticket, .. }) = watch(|| poll_unread(connection, cx));
        match polled {
            Poll::Ready(Err(error)) => Poll::Ready(Err(failure(&error, so_far))),
            Poll::Ready(Ok(())) => Poll::Ready(Err(ConnectFailure::Closed)),
            Poll::Pending if has_ticket => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// What stands on the connection already is no answer to what has not been asked.
async fn still_silent<C: Read + Unpin>(connection: &mut C, seen: Seen) -> Result<(), ConnectFailure> {
    poll_fn(|cx| {
        Poll::Ready(match poll_unread(connection, cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => Err(ConnectFailure::Closed),
            Poll::Ready(Err(error)) => Err(failure(&error, seen)),
        })
    })
    .await
}

/// Lets TLS read, without room for anything that would have to be given on.
fn poll_unread<C: Read + Unpin>(connection: &mut C, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    let mut nothing = ReadBuf::new(&mut []);
    Pin::new(connection).poll_read(cx, nothing.unfilled())
}

/// Before the server has proved who it is, and has asked for our certificate, nobody can refuse it, and anybody on the way can
/// say that they do.
pub(super) fn failure(error: &(dyn Error + 'static), seen: Seen) -> ConnectFailure {
    if is_unasked(error) {
        return ConnectFailure::Unasked;
    }
    match tls_failure(error) {
        Some(TlsFailure::ServerCertificate(text)) => ConnectFailure::ServerCertificate(text),
        Some(TlsFailure::OurCertificate(text) | TlsFailure::OurCertificateFirst(text)) => match seen.may_be_refused() {
            true => ConnectFailure::OurCertificate(text),
            false => ConnectFailure::Tls(text),
        },
        Some(TlsFailure::Renegotiation) => {
            ConnectFailure::Tls("it asks for another handshake before anything was sent".into())
        }
        Some(TlsFailure::Other(text)) => ConnectFailure::Tls(text),
        None => ConnectFailure::Unreachable(in_words(error)),
    }
}
