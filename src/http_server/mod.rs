//! Serving HTTP: a bound socket, an [`Acceptor`] and an axum `Router` come in; connections with deadlines go out.
//!
//! Every listener of this program stands on it. [`serve`] accepts connections and holds each to its deadlines, so that a
//! client that is slow or silent costs one permit and one small task, and both come back when its deadline passes. The
//! acceptor makes the handshake ([`accept_tls`] for those with client certificates) and says who the other side is; each
//! request then goes to the router, with its [`Connection`] among the request's extensions.
//!
//! For the routers: [`check_request`] refuses what readers of HTTP would understand differently, [`BodyReader`] reads a body
//! within its limits, [`Problem`] is every refusal (RFC 9457), [`trace_of`] the request's id, and [`complete`] gives each
//! response what all have.

mod acceptor;
mod listener;
mod unidentified;
mod client_stream;
mod tls;
mod plain_http;
mod framing;
mod connection;
mod activity;
mod request_host;
mod request_body;
mod body_reader;
mod memory;
mod problem;
mod status;
mod response;

pub use acceptor::{Accepted, Acceptor, Connection, HttpVersion, ListenerLimits, PlainAcceptor};
pub use body_reader::{BodyDeadlines, BodyReader};
pub use client_stream::TcpConnection;
pub use listener::{bind, listen, reserve, serve};
pub use memory::{MemoryLimit, MemoryLimits};
pub use problem::Problem;
pub use request_host::check_request;
pub use response::{After, complete, trace_of};
pub use status::status_of;
pub use tls::{TlsClientStream, accept_tls};
