//! The mutual-TLS client of one agency: a request comes in as bytes, an answer goes out as bytes, or a failure that knows
//! its moment.

mod client;
mod failure;
mod moment;

mod connector;
mod handshake;
mod proof;
mod retry_after;
mod tls_failure;

mod attentive;
mod first_word;
mod renegotiation;
mod noted;
mod unasked;

pub use attentive::attentive_provider;
pub use client::{Answered, Care, Client, ClientSettings, Outgoing, Received};
pub use failure::{ConnectFailure, ExchangeFailure, SendFailure};
pub use handshake::Handshake;
pub use proof::server_is_proved;
pub use retry_after::{RetryAfter, retry_after};
pub use tls_failure::{TlsFailure, tls_failure};
