//! One exchange with an agency: a submission comes in and its wire request goes out; a wire answer comes in and its
//! reading goes out.

use crate::domain::{AttachmentRef, Refusal, Submission};
use jiff::Timestamp;
use serde_json::Value;

/// What a template may see.
pub struct TransformInput<'a> {
    pub submission: &'a Submission,
    pub attempt: u32,
    pub now: Timestamp,
    pub attachments: &'a [(AttachmentRef, Vec<u8>)],
}

/// A request in the agency's form, not yet sealed.
#[derive(Clone, PartialEq)]
pub struct WireRequest {
    pub method: http::Method,
    pub url: reqwest::Url,
    /// Beside content type, trace and seal: `SOAPAction`, `Accept`, ….
    pub headers: http::HeaderMap,
    pub media_type: String,
    pub body: Vec<u8>,
}

/// An answer after its safety, its signature and its form were checked.
#[derive(Clone, PartialEq)]
pub struct WireAnswer {
    pub status: u16,
    /// JSON, or the verified SOAP Body's content as JSON; null if the answer is empty.
    pub body: Value,
    pub soap_fault: Option<SoapFault>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct SoapFault {
    /// Local part of the fault code: `Client`/`Sender`, `Server`/`Receiver`, ….
    pub code: String,
    pub text: String,
    pub detail: Value,
}

/// What an answer means.
#[derive(Clone, PartialEq)]
pub enum Reading {
    /// `reference`: of which request the agency says that it is the answer.
    Answered {
        answer: Value,
        reference: Option<String>,
    },
    Refused {
        refusal: Refusal,
        reference: Option<String>,
    },
    /// The agency works on it.
    Waiting {
        reference: Option<String>,
    },
    /// The agency failed. `transient`: it has not acted and may be asked again.
    Failed {
        code: String,
        text: String,
        transient: bool,
    },
    /// Lookup only: the agency has never seen our reference.
    NotSeen,
    /// The filter has nothing to say: HTTP status and SOAP fault decide.
    Unmapped,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    #[error("template {file}, line {line}: {problem}")]
    Template { file: String, line: u32, problem: String },
    #[error("the request does not fit the agency's contract: {0}")]
    Contract(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterpretError {
    #[error("filter {file}: {problem}")]
    Filter { file: String, problem: String },
    #[error("filter {file} gave what no reading looks like: {problem}")]
    Shape { file: String, problem: String },
}

/// Template, filter and address of one kind of exchange.
#[derive(Debug)]
pub struct Exchange {}
