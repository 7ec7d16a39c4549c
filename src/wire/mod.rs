//! What goes over the wire to agencies: SOAP envelopes, XML as JSON, strict JSON.

mod json;
mod soap;
mod xml_json;

pub use json::{InvalidJson, strict_json};
pub use soap::{Envelope, SoapFault, SoapRefusal, SoapVersion, open, read_fault};
pub use xml_json::{XmlToJson, XmlToJsonError};
