//! The probe that an agency declares: a request that changes nothing there, and whose answer shows that it takes ours.

use super::{Address, written::ProbeWritten};
use crate::{http_client::Outgoing, settings::ConfigFaults};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use reqwest::Url;
use std::path::Path;

#[derive(Debug, Clone)]
pub struct Probe {
    pub method: Method,
    pub url: Url,
}

impl Probe {
    pub fn outgoing(&self) -> Outgoing {
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("*/*"))]);
        Outgoing { method: self.method.clone(), url: self.url.clone(), headers, body: Bytes::new() }
    }
}

/// Only methods that RFC 9110 (section 9.2.1) calls safe, and no placeholder.
pub(super) fn probe(file: &Path, endpoint: &Url, written: &ProbeWritten, faults: &mut ConfigFaults) -> Option<Probe> {
    let method = match written.method.as_str() {
        "GET" => Some(Method::GET),
        "HEAD" => Some(Method::HEAD),
        "OPTIONS" => Some(Method::OPTIONS),
        _ => {
            faults.add(file, "probe.method", "may change something", "write GET, HEAD or OPTIONS");
            None
        }
    };
    let has_place = written.path.contains(['{', '}']);
    let fault = if has_place { Err("has a placeholder".to_owned()) } else { Address::new(endpoint, &written.path) };
    let address = fault.map_err(|error| {
        faults.add(file, "probe.path", error, "write a fixed path below the endpoint, e.g. /health or ?wsdl");
    });
    Some(Probe { method: method?, url: address.ok()?.fixed() })
}
