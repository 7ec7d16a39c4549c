//! What agencies write: contents no longer compressed and taken out of their parts, SOAP envelopes and faults, XML as JSON.

pub mod content;
mod envelope;
mod fault;
mod xml_json;

pub use envelope::{Envelope, SoapRefusal, SoapVersion, open};
pub use fault::{Blames, SoapFault, read_fault};
pub use xml_json::XmlToJson;
use xml_json::XmlToJsonError;
