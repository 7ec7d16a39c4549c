//! Why there is no whole answer. The moment comes first, and then what happened: only what failed while connecting was
//! certainly not sent, and what kind of error it was never decides that.

use crate::domain::grouped;

/// A failure without a moment cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// No byte of the request had been given to an established connection.
    #[error("{0}")]
    NotSent(ConnectFailure),
    /// From then on the request may have been read, and nobody on this side knows what was done with it.
    #[error("{0}")]
    Unknown(ExchangeFailure),
    /// The head of an answer has come, and not the whole of it.
    #[error("the agency has answered with HTTP status {status}, but {failure}")]
    Answered { status: u16, failure: ExchangeFailure },
}

/// What happens before a connection is established. Only the connector and its deadline make one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectFailure {
    #[error("no connection: {0}")]
    Unreachable(String),
    #[error("no connection in time")]
    Timeout,
    #[error("the server closed the new connection before it was asked")]
    Closed,
    #[error("the server spoke before it was asked, so what it said is no answer")]
    Unasked,
    #[error("no connection has proved itself")]
    Unproved,
    #[error("the server's certificate: {0}")]
    ServerCertificate(String),
    #[error("the server says that it refuses our certificate: {0}")]
    OurCertificate(String),
    #[error("no secure connection: {0}")]
    Tls(String),
    #[error("the probe that goes before a request failed: {0}")]
    Probe(ExchangeFailure),
}

/// What happens to a connection that has been given a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeFailure {
    #[error("no whole answer in time")]
    Timeout,
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("the secure connection broke: {0}")]
    Tls(String),
    #[error("the server said that it refuses our certificate, after the request had been sent: {0}")]
    OurCertificate(String),
    /// In its part of the handshake, before it has said anything else on the connection (TLS 1.3).
    #[error(
        "the server said that it refuses our certificate, in its part of the handshake, when the request had been sent: {0}"
    )]
    OurCertificateFirst(String),
    #[error(
        "after the request the server began a new TLS handshake (renegotiation), most likely to ask for our certificate; \
         ask the agency to demand the client certificate in the first handshake"
    )]
    Renegotiation,
    #[error("the answer is larger than {} bytes", grouped(*limit_bytes))]
    TooLarge { limit_bytes: usize },
}

impl SendFailure {
    /// The server's words against our certificate: the same would happen to every other request.
    pub fn refusal_of_our_certificate(&self) -> Option<&str> {
        match self {
            Self::NotSent(ConnectFailure::OurCertificate(text)) => Some(text),
            Self::NotSent(ConnectFailure::Probe(failure)) | Self::Unknown(failure) | Self::Answered { failure, .. } => {
                match failure {
                    ExchangeFailure::OurCertificate(text) | ExchangeFailure::OurCertificateFirst(text) => Some(text),
                    _ => None,
                }
            }
            Self::NotSent(_) => None,
        }
    }

    /// The same failure of a probe, seen from the request that was to follow it.
    pub fn before_request(self) -> Self {
        match self {
            Self::NotSent(failure) => Self::NotSent(failure),
            Self::Unknown(failure) | Self::Answered { failure, .. } => Self::NotSent(ConnectFailure::Probe(failure)),
        }
    }

    /// The same failure, if the head of an answer with this status had come before.
    pub(super) fn after_head(self, status: Option<u16>) -> Self {
        match (self, status) {
            (Self::Unknown(failure), Some(status)) => Self::Answered { status, failure },
            (other, _) => other,
        }
    }

    /// Of the answer whose head has come.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answered { status, .. } => Some(*status),
            Self::NotSent(_) | Self::Unknown(_) => None,
        }
    }
}
