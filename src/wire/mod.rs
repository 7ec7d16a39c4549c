//! What goes over the network to agencies: requests as bytes come in, answers as bytes go out, every failure named.

mod client;

pub use client::{Client, ClientSettings, Outgoing, Received, SendFailure};
