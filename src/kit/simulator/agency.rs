//! One HTTP request comes in; the simulated agency's response goes out, or the connection breaks as it was told to.

use super::{
    behaviour::{Blamed, Script, SimulatedFault},
    cut::Break,
    example_answers::{self, Asked, Reply},
    ledger::{Arrival, Ledger},
    older_answers::OlderAnswers,
    response::{self, Body},
    seal::{AgencySeal, Flaw},
};
use crate::{
    adapter::{Adapter, Form, Protocol, Purpose},
    domain::{Clock, TraceParent},
    soap::SoapVersion,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

const MAX_REQUEST_BYTES: usize = 32 << 20;

pub(super) struct Agency {
    pub adapter: Arc<Adapter>,
    pub seal: AgencySeal,
    pub script: Script,
    pub ledger: Ledger,
    pub received: AtomicU64,
    /// Connections that were shown another certificate than its own.
    pub shown_another: AtomicU64,
    /// Why requests were turned away: the rules that the bus has broken.
    pub refusals: Mutex<Vec<String>>,
    /// Connections hold a child of it. It is cancelled, and another takes its place, when another certificate is to be shown:
    /// so old connections end and new ones are made.
    pub certificate_changed: Mutex<CancellationToken>,
    pub clock: Mutex<Arc<dyn Clock>>,
    pub swap: Swap,
    pub older: OlderAnswers,
    /// Answers whose turn it was to break, or to be whole.
    pub breaks: AtomicUsize,
}

/// When a fault shows: before the agency has done what it is asked, or afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    BeforeEffect,
    AfterEffect,
}

type Answer = Result<Response<Body>, Reset>;

/// An answer that waits for another one, and where its own receiver waits for that other one.
#[derive(Default)]
pub(super) struct Swap(Mutex<Option<(Answer, oneshot::Sender<Answer>)>>);

impl Swap {
    async fn with_another(&self, answer: Answer) -> Answer {
        let (give, take) = oneshot::channel();
        // In a block of its own, because the lock must not be held while waiting.
        let first = {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match waiting.take() {
                Some(first) => Some((first, answer)),
                None => {
                    *waiting = Some((answer, give));
                    None
                }
            }
        };
        match first {
            Some(((theirs, receiver), ours)) => {
                let _ = receiver.send(ours);
                theirs
            }
            None => take.await.unwrap_or(Err(Reset)),
        }
    }
}

/// The connection is to be reset.
#[derive(Debug, thiserror::Error)]
#[error("the simulated agency resets the connection")]
pub(super) struct Reset;

impl Agency {
    pub async fn answer(&self, request: axum::extract::Request) -> Result<Response<Body>, Reset> {
        self.received.fetch_add(1, Ordering::Relaxed);
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, MAX_REQUEST_BYTES).collect().await.map_err(|_| Reset)?.to_bytes();
        let plan = self.script.of_request(&body);
        let now = self.now();
        let opened = self.seal.open(&parts.method, &absolute(&parts), &parts.headers, &body, now);
        let asked = match opened {
            Ok(opened) => example_answers::understand(&self.adapter, &parts.method, &parts.uri, &parts.headers, opened),
            Err(reason) => Err(format!("the signature: {reason}")),
        };
        if let Ok(asked) = &asked {
            self.note(asked, &parts.headers, now);
        }
        tokio::time::sleep(Duration::from_millis(plan.delay_ms)).await;
        if let Some(response) = self.fault(plan.fault.as_ref(), Phase::BeforeEffect) {
            return response;
        }
        let answer = match asked {
            Ok(asked) => {
                let answer = self.act(&asked, plan.fault.as_ref(), &parts.headers);
                match plan.fault {
                    Some(SimulatedFault::Swapped) => self.swap.with_another(answer).await,
                    Some(SimulatedFault::OlderBusy) if asked.purpose == Purpose::Submit => {
                        self.older.in_place_of(answer?, &asked).await.map_err(|_| Reset)
                    }
                    Some(SimulatedFault::BrokenHttpInTurn) => answer.map(|answer| self.broken_in_turn(answer)),
                    _ => answer,
                }
            }
            Err(reason) => Ok(self.refuse(reason)),
        };
        tokio::time::sleep(Duration::from_millis(plan.answer_delay_ms)).await;
        answer
    }

    /// Every other one.
    fn broken_in_turn(&self, mut answer: Response<Body>) -> Response<Body> {
        let turn = self.breaks.fetch_add(1, Ordering::Relaxed);
        if turn.is_multiple_of(2) {
            answer.extensions_mut().insert(Break::in_turn(turn / 2));
        }
        answer
    }

    fn note(&self, asked: &Asked<'_>, headers: &HeaderMap, at: Timestamp) {
        self.ledger.arrived(Arrival {
            operation: asked.operation.service.clone(),
            reference: asked.reference.clone(),
            at,
            is_question: asked.purpose == Purpose::Lookup,
            traceparent: traceparent(headers),
        });
    }

    fn now(&self) -> Timestamp {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).now()
    }

    fn act(
        &self,
        asked: &Asked<'_>,
        fault: Option<&SimulatedFault>,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Reset> {
        let is_busy = match fault {
            Some(SimulatedFault::Busy) => asked.purpose == Purpose::Submit,
            Some(SimulatedFault::OlderBusy) => asked.purpose == Purpose::Submit && !self.older.has_of(asked),
            _ => false,
        };
        if let Some(reply) = asked.busy().filter(|_| is_busy) {
            return Ok(self.respond(reply, None));
        }
        let reply = match asked.reply(&self.ledger) {
            Ok(reply) => reply,
            Err(reason) => return Ok(self.refuse(reason)),
        };
        if asked.has_effect() {
            let operation = asked.operation;
            let reference = asked.reference.as_deref();
            self.ledger.record(&operation.service, operation.effect, reference, traceparent(headers));
        }
        if let Some(response) = self.fault(fault, Phase::AfterEffect) {
            return response;
        }
        let reply = match fault {
            Some(SimulatedFault::OtherReference) => reply.about_another(asked),
            _ => reply,
        };
        Ok(self.respond(reply, fault))
    }

    /// What the faults do that need no understanding of the request, before or after the effect.
    fn fault(&self, fault: Option<&SimulatedFault>, phase: Phase) -> Option<Result<Response<Body>, Reset>> {
        let is_after = phase == Phase::AfterEffect;
        match fault? {
            SimulatedFault::Status { code, retry_after_secs, after_effect } if *after_effect == is_after => {
                Some(Ok(response::status(*code, *retry_after_secs)))
            }
            SimulatedFault::SoapFault { blames, after_effect, unsigned } if *after_effect == is_after => {
                let flaw = unsigned.then_some(&SimulatedFault::NoSignature);
                Some(Ok(self.respond(self.blame(*blames, "simulated"), flaw)))
            }
            SimulatedFault::Page { code } if !is_after => Some(Ok(response::page(*code))),
            SimulatedFault::EmptyAnswer { code } if is_after => Some(Ok(response::empty(*code))),
            SimulatedFault::ResetBeforeEffect if !is_after => Some(Err(Reset)),
            SimulatedFault::ResetAfterEffect if is_after => Some(Err(Reset)),
            _ => None,
        }
    }

    fn respond(&self, reply: Reply, fault: Option<&SimulatedFault>) -> Response<Body> {
        let flaw = match fault {
            Some(SimulatedFault::NoSignature) => Flaw::Absent,
            Some(SimulatedFault::WrongSignature) => Flaw::Broken,
            Some(SimulatedFault::ForeignSignature) => Flaw::Foreign,
            Some(SimulatedFault::StaleTimestamp) => Flaw::Stale,
            _ => Flaw::None,
        };
        let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
        let named = reply.headers.iter().filter_map(|(name, value)| {
            Some((http::HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
        });
        let (mut headers, body) = match self.seal.seal(status, named.collect(), &reply.body, flaw, self.now()) {
            Ok(sealed) => sealed,
            Err(reason) => {
                tracing::error!(%reason, "the simulated agency cannot sign its answer");
                return response::status(500, None);
            }
        };
        headers.insert(header::CONTENT_TYPE, self.media_type(reply.form));
        let status = match fault {
            Some(SimulatedFault::RewrittenStatus { code }) => StatusCode::from_u16(*code).unwrap_or(status),
            _ => status,
        };
        response::with(status, headers, body, fault, self.adapter.limits.answer_max_bytes)
    }

    fn refuse(&self, reason: String) -> Response<Body> {
        tracing::info!(agency = %self.adapter.agency, %reason, "the simulated agency refuses a request");
        let reply = self.blame(Blamed::Client, "refused");
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).push(reason);
        self.respond(reply, None)
    }

    /// A fault in the protocol's own form.
    fn blame(&self, blamed: Blamed, text: &str) -> Reply {
        let status = match (blamed, self.adapter.protocol) {
            (Blamed::Client, Protocol::Rest) => 400,
            (Blamed::Client | Blamed::Server, _) => 500,
        };
        let v11 = |code| {
            let namespace = SoapVersion::V11.namespace();
            format!(
                "<s:Envelope xmlns:s=\"{namespace}\"><s:Header/><s:Body><s:Fault><faultcode>s:{code}</faultcode>\
                 <faultstring>{text}</faultstring></s:Fault></s:Body></s:Envelope>"
            )
        };
        let v12 = |code| {
            let namespace = SoapVersion::V12.namespace();
            format!(
                "<s:Envelope xmlns:s=\"{namespace}\"><s:Header/><s:Body><s:Fault><s:Code><s:Value>s:{code}</s:Value></s:Code>\
                 <s:Reason><s:Text xml:lang=\"en\">{text}</s:Text></s:Reason></s:Fault></s:Body></s:Envelope>"
            )
        };
        let (form, body) = match (self.adapter.protocol, blamed) {
            (Protocol::Soap11, Blamed::Client) => (Form::Xml, v11("Client")),
            (Protocol::Soap11, Blamed::Server) => (Form::Xml, v11("Server")),
            (Protocol::Soap12, Blamed::Client) => (Form::Xml, v12("Sender")),
            (Protocol::Soap12, Blamed::Server) => (Form::Xml, v12("Receiver")),
            (Protocol::Rest, Blamed::Client | Blamed::Server) => {
                (Form::Json, serde_json::json!({"code": text}).to_string())
            }
        };
        Reply { status, headers: Default::default(), body: body.into_bytes(), form }
    }

    fn media_type(&self, form: Form) -> HeaderValue {
        HeaderValue::from_static(match (form, self.adapter.protocol) {
            (Form::Xml, Protocol::Soap12) => "application/soap+xml; charset=utf-8",
            (Form::Xml, Protocol::Soap11 | Protocol::Rest) => "text/xml; charset=utf-8",
            (Form::Json, _) => "application/json",
        })
    }
}

/// HTTP/1.1 requests name their host in a header; signatures cover the whole address.
fn absolute(parts: &http::request::Parts) -> http::Uri {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let path = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    format!("https://{host}{path}").parse().unwrap_or_else(|_| parts.uri.clone())
}

fn traceparent(headers: &HeaderMap) -> Option<String> {
    let trace = headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(TraceParent::parse);
    trace.map(|trace| trace.to_string())
}
