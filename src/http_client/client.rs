//! The mutual-TLS HTTP client of one agency: a whole request comes in, a whole answer of bounded size goes out, or a failure
//! that knows its moment.

use super::{
    connector::{Connecting, Proofs},
    failure::{ConnectFailure, ExchangeFailure, SendFailure},
    handshake::{Handshake, shake_hands},
    moment::{Moment, Wanted, poll_request},
    noted::Renegotiations,
    proof::watched,
    tls_failure::{TlsFailure, tls_failure},
    unasked::is_unasked,
};
use crate::{
    failpoints::{self, Failpoint},
    network_errors::{in_words, sources},
};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Method, Version, header};
use std::{
    error::Error,
    future::poll_fn,
    pin::pin,
    sync::{Arc, OnceLock, atomic::Ordering},
    task::Poll,
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

pub struct ClientSettings {
    /// Roots, identity and protocol versions, as [`crate::trust`] made them.
    pub tls: rustls::ClientConfig,
    pub connect_timeout: Duration,
    pub answer_max_bytes: usize,
    /// Connections kept open while nothing is to send.
    pub idle_connections: usize,
    /// How long each of them is kept.
    pub keep_alive: Duration,
    /// Whether [`Client::probe`] may go first, so that its connection must outlast it.
    pub is_probed: bool,
}

/// Over which connections a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// What may be sent again goes over any.
    Usual,
    /// What must not be repeated goes over one that has proved itself, if one can be had, and over none that has been idle for
    /// more than a second.
    Utmost,
    /// The same, and over none that has not proved itself: then nothing is sent, and a probe can open one that has.
    Proved,
}

/// A client that follows no redirect, uses no proxy, speaks only https, repeats nothing, and reads no more than it may.
///
/// One to each agency, held by its connection and by every exchange under way. New keys or roots make a new one.
#[derive(Debug, Clone)]
pub struct Client {
    /// For what may be sent again. It keeps its own idle connections, as long as the agency's folder says.
    usual: reqwest::Client,
    /// For what must not be repeated, and for probes. It keeps its own idle connections, for a second at most.
    utmost: reqwest::Client,
    /// For handshakes that send nothing; the same with which both of the others connect.
    tls: Arc<rustls::ClientConfig>,
    /// For name, connection and TLS together.
    connect_timeout: Duration,
    /// How often the agency's server has asked for a new handshake; counted by the connections, and never less.
    renegotiations: Renegotiations,
    /// Of an answer's body. A longer one is given up.
    answer_max_bytes: usize,
}

/// A request as it leaves.
#[derive(Clone)]
pub struct Outgoing {
    pub method: Method,
    pub url: reqwest::Url,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An answer as it arrived.
pub struct Received {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An answer, and what has become of its connection.
pub struct Answered {
    pub received: Received,
    /// Whether it is there for the request that follows, as far as the answer tells.
    pub is_left_open: bool,
}

/// An idle connection may be closed by the agency at the moment at which we use it, and then nobody knows whether it has
/// read the request. Hardly a server closes one that has been idle for less than this.
const IDLE_WITH_UTMOST_CARE: Duration = Duration::from_secs(1);

impl Client {
    pub fn new(settings: ClientSettings) -> Result<Self, String> {
        let (proofs, renegotiations) = (Arc::new(Proofs::default()), Renegotiations::default());
        let tls = watched(settings.tls);
        let utmost_keep_alive = match settings.is_probed && settings.keep_alive.is_zero() {
            true => IDLE_WITH_UTMOST_CARE,
            false => settings.keep_alive.min(IDLE_WITH_UTMOST_CARE),
        };
        let http = |keep_alive: Duration| {
            let how = Connecting {
                timeout: settings.connect_timeout,
                proofs: proofs.clone(),
                renegotiations: renegotiations.clone(),
            };
            let idle_connections = if keep_alive.is_zero() { 0 } else { settings.idle_connections };
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .https_only(true)
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                // Not even what the protocol calls safe to repeat: a proxy may say so of what it has passed on.
                .retry(reqwest::retry::never())
                .connector_layer(how)
                .pool_max_idle_per_host(idle_connections)
                .pool_idle_timeout(keep_alive)
                .tcp_nodelay(true)
                .build()
                .map_err(|error| in_words(&error))
        };
        Ok(Self {
            usual: http(settings.keep_alive)?,
            utmost: http(utmost_keep_alive)?,
            tls: Arc::new(tls.clone()),
            connect_timeout: settings.connect_timeout,
            renegotiations,
            answer_max_bytes: settings.answer_max_bytes,
        })
    }

    /// Sends and receives until `deadline`, connecting included.
    pub async fn exchange(&self, outgoing: Outgoing, deadline: Instant, care: Care) -> Result<Received, SendFailure> {
        let (http, wanted) = match care {
            Care::Usual => (&self.usual, Wanted::Any),
            Care::Utmost => (&self.utmost, Wanted::ProvedIfPossible),
            Care::Proved => (&self.utmost, Wanted::Proved),
        };
        Ok(self.answered(http, outgoing, deadline, wanted).await?.received)
    }

    /// Goes before a request with utmost care, which takes the connection that this one has proved. Of an answer that does not
    /// end whole, the status is enough.
    pub async fn probe(&self, outgoing: Outgoing, deadline: Instant) -> Result<Answered, SendFailure> {
        match self.answered(&self.utmost, outgoing, deadline, Wanted::ToBeProved).await {
            Ok(answered) => Ok(answered),
            Err(failure) => match failure.status().filter(|_| failure.refusal_of_our_certificate().is_none()) {
                Some(status) => {
                    let received = Received { status, headers: HeaderMap::new(), body: Bytes::new() };
                    Ok(Answered { received, is_left_open: false })
                }
                None => Err(failure),
            },
        }
    }

    /// Whoever wakes up after the deadline sends nothing: it is looked at before each step, because a timer that was made before
    /// a long pause may not have run out yet when its task goes on.
    async fn answered(
        &self,
        http: &reqwest::Client,
        outgoing: Outgoing,
        deadline: Instant,
        wanted: Wanted,
    ) -> Result<Answered, SendFailure> {
        let asked_before = self.renegotiations.load(Ordering::Relaxed);
        let status = OnceLock::new();
        let mut exchange = pin!(self.whole_exchange(http, outgoing, &status));
        let mut is_late = pin!(sleep_until(deadline));
        let mut moment = Moment::BeforeSending;
        let late = |moment| match moment {
            Moment::BeforeSending => SendFailure::NotSent(ConnectFailure::Timeout),
            Moment::Given => SendFailure::Unknown(ExchangeFailure::Timeout),
        };
        let answered = poll_fn(|cx| {
            if Instant::now() >= deadline {
                return Poll::Ready(Err(late(moment)));
            }
            let (polled, now) = poll_request(exchange.as_mut(), wanted, cx);
            moment = now;
            if polled.is_pending() && is_late.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(late(moment)));
            }
            polled
        });
        let failed = |failure| self.explained(failure, asked_before).after_head(status.get().copied());
        answered.await.map_err(failed)
    }

    /// If the server asked to renegotiate and was refused, that is the reason.
    fn explained(&self, failure: SendFailure, asked_before: u64) -> SendFailure {
        match failure {
            SendFailure::Unknown(
                ExchangeFailure::Timeout
                | ExchangeFailure::Broken(_)
                | ExchangeFailure::Tls(_)
                | ExchangeFailure::OurCertificate(_),
            ) if self.renegotiations.load(Ordering::Relaxed) > asked_before => {
                SendFailure::Unknown(ExchangeFailure::Renegotiation)
            }
            other => other,
        }
    }

    /// Opens a connection, and sends nothing.
    pub async fn handshake(&self, endpoint: &reqwest::Url) -> Result<Handshake, ConnectFailure> {
        shake_hands(self.tls.clone(), endpoint, self.connect_timeout).await
    }

    /// `seen`: the answer's status, as soon as its head is there.
    async fn whole_exchange(
        &self,
        http: &reqwest::Client,
        outgoing: Outgoing,
        seen: &OnceLock<u16>,
    ) -> Result<Answered, SendFailure> {
        let request = http.request(outgoing.method, outgoing.url).headers(outgoing.headers).body(outgoing.body);
        let response = request.send().await.map_err(|error| classify(&error))?;
        failpoints::hit(Failpoint::WorkerSent);
        let (status, version) = (response.status().as_u16(), response.version());
        let status = *seen.get_or_init(|| status);
        let headers = response.headers().clone();
        let body = self.bounded_body(response).await.map_err(SendFailure::Unknown)?;
        let is_left_open = version == Version::HTTP_11 && leaves_open(&headers);
        Ok(Answered { received: Received { status, headers, body }, is_left_open })
    }

    async fn bounded_body(&self, response: reqwest::Response) -> Result<Bytes, ExchangeFailure> {
        let limit_bytes = self.answer_max_bytes;
        if response.content_length().is_some_and(|length| length > limit_bytes as u64) {
            return Err(ExchangeFailure::TooLarge { limit_bytes });
        }
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| after_sending(&error))?;
            if body.len() + chunk.len() > limit_bytes {
                return Err(ExchangeFailure::TooLarge { limit_bytes });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }
}

/// Whether its connection stays, as far as the head tells (RFC 9112, sections 6.3 and 9.6).
fn leaves_open(headers: &HeaderMap) -> bool {
    let ends_by_itself = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING].iter().any(|it| headers.contains_key(it));
    let options = headers.get_all(header::CONNECTION).iter().filter_map(|options| options.to_str().ok());
    let mut options = options.flat_map(|options| options.split(','));
    ends_by_itself && !options.any(|option| option.trim().eq_ignore_ascii_case("close"))
}

/// The connector marks its own failures, and the client connects anew only while the request is still in its hands. Whatever
/// carries no mark came later.
fn classify(error: &reqwest::Error) -> SendFailure {
    match sources(error).find_map(|source| source.downcast_ref::<ConnectFailure>()) {
        Some(connecting) => SendFailure::NotSent(connecting.clone()),
        // Of the connection that it had been given to, nothing has left.
        None if is_unasked(error) => SendFailure::NotSent(ConnectFailure::Unasked),
        None => SendFailure::Unknown(after_sending(error)),
    }
}

fn after_sending(error: &(dyn Error + 'static)) -> ExchangeFailure {
    match tls_failure(error) {
        Some(TlsFailure::OurCertificate(text)) => ExchangeFailure::OurCertificate(text),
        Some(TlsFailure::OurCertificateFirst(text)) => ExchangeFailure::OurCertificateFirst(text),
        Some(TlsFailure::Renegotiation) => ExchangeFailure::Renegotiation,
        Some(failure @ (TlsFailure::ServerCertificate(_) | TlsFailure::Other(_))) => {
            ExchangeFailure::Tls(failure.to_string())
        }
        None => ExchangeFailure::Broken(in_words(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_connection_stays_only_where_the_answer_has_an_end_of_its_own_and_nobody_closes_it() {
        for (headers, stays) in [
            (&[("content-length", "0")][..], true),
            (&[("transfer-encoding", "chunked"), ("connection", "keep-alive")], true),
            (&[("content-length", "0"), ("connection", "x, Close")], false),
            (&[("content-length", "0"), ("connection", "x"), ("connection", "close")], false),
            (&[], false),
        ] {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (http::HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            let mut map = HeaderMap::new();
            headers.iter().map(pair).for_each(|(name, value)| _ = map.append(name, value));
            assert_eq!(leaves_open(&map), stays, "{headers:?}");
        }
    }
}
