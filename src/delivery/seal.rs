//! Seal: a composed request comes in, the signed bytes that may leave go out.

use super::{
    AgencyConnection,
    compose::{Composed, Size},
    contents::Held,
    correlation::digests,
    job::{Job, gone},
};
use crate::{
    adapter::{BodyOf, Exchange, WireRequest},
    domain::{Code, Fault, MessageId, Stage, TraceParent},
    http_client::Outgoing,
    trust::{
        HttpSignatureProfile, Identity, JwsForm, JwsProfile, Seal,
        http_signature::{self, HttpMessage, HttpStart},
        jws,
    },
};
use http::{HeaderName, HeaderValue, Uri, header};
use jiff::Timestamp;
use std::sync::Arc;

/// A request as the agency's profile wants it signed. Only this can be sent.
pub(super) struct Sealed {
    outgoing: Outgoing,
    message: MessageId,
    body_of: BodyOf,
    /// The memory permit for the attachments that the request contains.
    held: Option<Held>,
}

/// Of a message that has left, what its answer may name.
pub(super) struct SentMessage {
    pub message: MessageId,
    /// Empty where the filter names none.
    pub digests: Vec<String>,
    pub body_of: BodyOf,
}

const JOSE: &str = "application/jose";

pub(super) async fn seal(composed: Composed, job: &Job<'_>, now: Timestamp) -> Result<Sealed, Fault> {
    let (connection, trace) = (job.connection, job.record.submission.trace.child());
    match composed.size {
        Size::Small => sealed(composed, connection, trace, now),
        Size::Large => {
            let connection = connection.clone();
            let blocking = move || sealed(composed, &connection, trace, now);
            tokio::task::spawn_blocking(blocking).await.map_err(|_| gone(Code::Internal))?
        }
    }
}

fn sealed(
    composed: Composed,
    connection: &AgencyConnection,
    trace: TraceParent,
    now: Timestamp,
) -> Result<Sealed, Fault> {
    connection.check_identity(now)?;
    let Composed { request, prepared, reference, message, held, size: _ } = composed;
    let WireRequest { method, url, mut headers, media_type, body } = request;
    let body_of = match connection.seal {
        // WS-Security's identifiers are random.
        Seal::Wss(_) => BodyOf::Message,
        _ if body.is_empty() => BodyOf::NoBody,
        _ if holds(&body, &message.to_string()) => BodyOf::Message,
        _ if holds(&body, &reference.to_string()) => BodyOf::Submission,
        _ => BodyOf::NotUnique,
    };
    headers.insert("traceparent", value(&trace.to_string())?);
    // Compressed answers are read all the same, but nothing is gained by them.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if !body.is_empty() {
        headers.insert(header::CONTENT_TYPE, value(&media_type)?);
    }
    let mut outgoing = Outgoing { method, url, headers, body: body.into() };
    match &connection.seal {
        Seal::None => {}
        Seal::Wss(profile) => {
            let prepared = prepared.ok_or_else(|| failed("there is no envelope"))?.map_err(failed)?;
            outgoing.body = prepared.sign(profile, &*identity(connection, now)?, now).map_err(failed)?.into();
        }
        // A question without a body has nothing to sign: mutual TLS vouches for it.
        Seal::Jws(_) if outgoing.body.is_empty() => {}
        Seal::Jws(profile) => jws_signed(&mut outgoing, profile, &*identity(connection, now)?)?,
        Seal::HttpSignature(profile) => http_signed(&mut outgoing, profile, &*identity(connection, now)?, now)?,
    }
    Ok(Sealed { outgoing, message, body_of, held })
}

impl Sealed {
    /// The permit is to be kept until the request has been sent.
    pub(super) fn into_parts(self) -> (Outgoing, Option<Held>) {
        (self.outgoing, self.held)
    }

    /// What its answer may name. Digests are made only where the filter names them.
    pub(super) fn to_be_answered(&self, exchange: &Exchange) -> SentMessage {
        let digests = if exchange.binds_by_digest() { digests(&self.outgoing.body) } else { Vec::new() };
        SentMessage { message: self.message, digests, body_of: self.body_of }
    }

    /// The beginning of the request as an HTTP/1.1 message, for the journal, and whether there is more of it.
    pub fn beginning(&self, limit_bytes: usize) -> (Vec<u8>, bool) {
        let Outgoing { method, url, headers, body } = &self.outgoing;
        let mut message = format!("{method} {} HTTP/1.1\r\nhost: {}\r\n", path_of(url), url.authority()).into_bytes();
        for (name, value) in headers {
            message.extend_from_slice(name.as_str().as_bytes());
            message.extend_from_slice(b": ");
            message.extend_from_slice(value.as_bytes());
            message.extend_from_slice(b"\r\n");
        }
        message.extend_from_slice(b"\r\n");
        let size_bytes = message.len() + body.len();
        message.truncate(limit_bytes);
        message.extend_from_slice(&body[..body.len().min(limit_bytes - message.len())]);
        (message, size_bytes > limit_bytes)
    }
}

fn holds(body: &[u8], text: &str) -> bool {
    str::from_utf8(body).is_ok_and(|body| body.contains(text))
}

fn path_of(url: &reqwest::Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

/// A key that has expired since it was loaded signs nothing: the submission waits for a new one.
fn identity(connection: &AgencyConnection, now: Timestamp) -> Result<Arc<Identity>, Fault> {
    let unusable = |text: &str| Fault::new(Code::IdentityUnusable, Stage::Seal, text);
    let identity = connection.signing_identity().ok_or_else(|| unusable("there is no signing certificate"))?;
    if !identity.facts().is_valid_at(now) {
        return Err(unusable("the signing certificate is not valid now: put a new pair in its place"));
    }
    Ok(identity)
}

fn jws_signed(outgoing: &mut Outgoing, profile: &JwsProfile, identity: &Identity) -> Result<(), Fault> {
    match &profile.form {
        JwsForm::Compact => {
            outgoing.body = jws::sign_compact(&outgoing.body, profile, identity).map_err(failed)?.into();
            outgoing.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JOSE));
        }
        JwsForm::Detached { header } => {
            let token = jws::sign_detached(&outgoing.body, profile, identity).map_err(failed)?;
            let name = HeaderName::from_bytes(header.as_bytes()).map_err(failed)?;
            outgoing.headers.insert(name, value(&token)?);
        }
    }
    Ok(())
}

fn http_signed(
    outgoing: &mut Outgoing,
    profile: &HttpSignatureProfile,
    identity: &Identity,
    now: Timestamp,
) -> Result<(), Fault> {
    let uri: Uri = outgoing.url.as_str().parse().map_err(failed)?;
    let start = HttpStart::Request { method: &outgoing.method, uri: &uri };
    let message = HttpMessage { start, headers: &outgoing.headers, body: &outgoing.body };
    let seal = http_signature::sign(&message, profile, identity, now).map_err(failed)?;
    seal.insert_into(&mut outgoing.headers);
    Ok(())
}

fn value(text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(text).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Fault {
    Fault::new(Code::SealFailed, Stage::Seal, error)
}
