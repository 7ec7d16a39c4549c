//! Agencies as data: the folders of `adapters/` come in; adapters that compose requests and interpret answers go out.

mod load;
mod reader;
mod written;

mod operation;

mod exchange;

mod address;
mod attachments;
mod comments;
mod contract;
mod filter;
mod folder;
mod form;
mod jq_values;
mod natives;
mod not_handled;
mod numbers_met;
mod probe;
mod purpose;
mod reading;
mod recursion;
pub mod worker_pool;
mod template;
mod template_values;
mod unsigned;
mod wire_answer;

mod examples;
mod attachments_proof;
mod proof;
mod sameness;

pub use crate::soap::SoapFault;
pub use address::Address;
pub use contract::Contract;
pub use examples::{Example, WireReply};
pub use exchange::{ComposeError, Exchange, InterpretError, TransformInput, WireRequest};
pub use filter::{Filter, MAX_TIME};
pub use form::Form;
pub use load::load_adapters;
pub use not_handled::{DeclaredMoment, NotHandled};
pub use probe::Probe;
pub use purpose::Purpose;
pub use reading::{BodyOf, CorrelationFields, Mapped, Reading};
pub use sameness::{Leaf, leaves, leaves_without};
pub use template::Template;
use wire_answer::Coverage;
pub use wire_answer::{Beside, WireAnswer};
pub use worker_pool::LARGE_BYTES;

use crate::{
    domain::{AgencyName, Effect, Schedule, ServiceName},
    trust::{ProfileFault, SealAsWritten, SealKind, SealProfile},
};
use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// All agencies, and which of them does which service.
#[derive(Debug, Default)]
pub struct Adapters {
    agencies: BTreeMap<AgencyName, Arc<Adapter>>,
    by_service: BTreeMap<ServiceName, AgencyName>,
}

/// One agency: valid by construction.
#[derive(Debug)]
pub struct Adapter {
    pub agency: AgencyName,
    pub title: String,
    pub folder: PathBuf,
    pub protocol: Protocol,
    /// The https address below which all operations lie.
    pub endpoint: reqwest::Url,
    pub limits: Limits,
    pub schedule: Schedule,
    pub breaker: BreakerPolicy,
    /// A request that changes nothing, if the agency has one.
    pub probe: Option<Probe>,
    /// How requests are signed and answers verified.
    pub seal: SealAsWritten,
    pub operations: BTreeMap<ServiceName, Operation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Soap11,
    Soap12,
    Rest,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Soap11 => "soap-1.1",
            Protocol::Soap12 => "soap-1.2",
            Protocol::Rest => "rest",
        }
    }
}

/// What the agency can bear, and what we bear from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests under way at once.
    pub concurrency: NonZeroU32,
    pub requests_per_second: Option<NonZeroU32>,
    pub connect_timeout: Duration,
    /// How long a connection is kept while nothing is to send. Zero: each request has one of its own.
    pub keep_alive: Duration,
    pub answer_max_bytes: usize,
}

impl Limits {
    /// How many of its submissions may be with the broker and in workers' hands at the same time; the others wait in the
    /// journal, where each office has its turn. Enough that no worker waits for work.
    pub fn window(&self) -> u32 {
        self.concurrency.get().saturating_mul(4).max(LEAST_WINDOW)
    }

    /// How many of each priority a worker takes from the broker: as a rule all that is there, so that it can give each office
    /// its turn.
    pub fn in_hand(&self) -> u16 {
        u16::try_from(self.window().saturating_mul(2)).unwrap_or(u16::MAX)
    }
}

const LEAST_WINDOW: u32 = 16;

/// When the circuit opens, and how long it stays open before a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Failures of the agency or network in a row.
    pub failures: NonZeroU32,
    pub cooldown: Duration,
}

/// Whether an answer says to which request it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Correlates {
    Yes,
    /// The agency's contract has nothing by which it could, and this is why.
    Cannot(String),
}

/// How an agency does one service.
#[derive(Debug)]
pub struct Operation {
    pub service: ServiceName,
    pub effect: Effect,
    /// From acceptance to the end of the submission.
    pub deadline: Duration,
    /// For one whole exchange: connect, send, receive.
    pub timeout: Duration,
    /// Whether each answer names the request that it belongs to; then one that does not is not taken.
    pub correlates: Correlates,
    /// By what, though nobody has signed it, the agency says that it has certainly not handled the request.
    pub not_handled: NotHandled,
    pub request: Exchange,
    /// For effect `lookup`: how the agency is asked by our reference.
    pub lookup: Option<Exchange>,
    pub examples: Vec<Example>,
}

impl Adapter {
    /// How messages are sealed and verified, once it is known in which folder the agency's certificates lie.
    pub fn seal_profile(&self, secrets: &Path) -> Result<SealProfile, Vec<ProfileFault>> {
        self.seal.check(secrets)
    }

    /// What an operator should know of this agency's contract and filters.
    pub fn warnings(&self) -> Vec<String> {
        self.operations
            .values()
            .flat_map(|operation| {
                let in_doubt = self.leaves_a_second_fault_in_doubt(operation).then(|| operation.in_doubt());
                operation.unbound().into_iter().chain(operation.in_vain()).chain(in_doubt)
            })
            .collect()
    }

    fn leaves_a_second_fault_in_doubt(&self, operation: &Operation) -> bool {
        let answers = self.seal.answer.as_ref().map_or(SealKind::None, |answer| answer.kind);
        let tells_no_time = matches!(answers, SealKind::JwsCompact | SealKind::JwsDetached);
        let is_bound = operation.request.binds_to_message(self.seal.kind == SealKind::Wss);
        operation.effect == Effect::Once
            && tells_no_time
            && !is_bound
            && operation.request.may_say_that_nothing_was_done()
    }
}

impl Operation {
    fn unbound(&self) -> Option<String> {
        match &self.correlates {
            Correlates::Yes => None,
            Correlates::Cannot(why) => Some(format!(
                "answers of {} are taken without knowing to which request they belong ({why}); \
                 ask the agency to repeat our reference in what it signs",
                self.service
            )),
        }
    }

    fn in_doubt(&self) -> String {
        format!(
            "a second \"nothing was done\" of {} cannot be told from an older one, and makes it uncertain; have the filter give \
             message_id, or request_digest where the template prints message_id",
            self.service
        )
    }

    fn in_vain(&self) -> Vec<String> {
        let exchanges = std::iter::once(&self.request).chain(&self.lookup);
        let text = |file: &str| {
            format!(
                "{file} looks at `.parts`, which is always empty here: WS-Security does not cover parts, so what has no \
                 place in the envelope is in `.unsigned.parts`"
            )
        };
        exchanges.filter_map(|exchange| exchange.overlooks_parts().map(text)).collect()
    }
}

impl Adapters {
    pub fn agency(&self, name: &AgencyName) -> Option<&Arc<Adapter>> {
        self.agencies.get(name)
    }

    pub fn for_service(&self, service: &ServiceName) -> Option<(&Arc<Adapter>, &Operation)> {
        let adapter = self.agencies.get(self.by_service.get(service)?)?;
        Some((adapter, adapter.operations.get(service)?))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Adapter>> {
        self.agencies.values()
    }
}
