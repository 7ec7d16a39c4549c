//! What goes over the wire to agencies: requests as bytes, answers as SOAP envelopes and XML as JSON; every failure named.

mod attentive;
mod client;
pub mod content;
mod connector;
mod failure;
mod first_word;
mod handshake;
mod moment;
mod noted;
mod proof;
mod renegotiation;
mod soap;
mod tls_failure;
mod unasked;
mod xml_json;

pub use attentive::attentive_provider;
pub use client::{Care, Client, ClientSettings, Outgoing, Received, retry_after};
pub use failure::{ConnectFailure, ExchangeFailure, SendFailure};
pub use handshake::Handshake;
pub use proof::server_is_proved;
pub use soap::{Blames, Envelope, SoapFault, SoapRefusal, SoapVersion, open, read_fault};
pub use tls_failure::{TlsFailure, tls_failure};
pub use xml_json::{XmlToJson, XmlToJsonError};
