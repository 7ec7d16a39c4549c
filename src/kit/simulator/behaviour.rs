//! What a tester asks for comes in; for each request, the way in which the simulated agency is to fail goes out.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Plans are followed in order, each for its number of requests. After the last one the agency behaves well.
///
/// As JSON: a list of plans, one plan, or null for good behaviour, e.g. `{"fault": "reset-after-effect", "times": 1}` or
/// `[{"fault": {"status": {"code": 503, "retry_after_secs": 1}}, "times": 2}, {"delay_ms": 500}]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct SimulatorBehaviour(pub Vec<Plan>);

#[derive(Debug, thiserror::Error)]
#[error("this is no behaviour of a simulated agency: {0}")]
pub struct InvalidBehaviour(#[from] serde_json::Error);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// Waits this long before anything else.
    pub delay_ms: u64,
    /// Waits this long between the effect and the answer.
    pub answer_delay_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<SimulatedFault>,
    /// Only for requests in whose bytes this text stands, such as a person's number; the others are served well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// For the next requests; without it, for all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SimulatedFault {
    /// An HTTP status without a message; a redirect names another address.
    Status {
        code: u16,
        #[serde(default)]
        retry_after_secs: Option<u64>,
        /// Whether the agency has acted all the same.
        #[serde(default)]
        after_effect: bool,
    },
    /// A signed SOAP fault; for REST a signed JSON error with status 500 or 400.
    SoapFault {
        blames: Blamed,
        #[serde(default)]
        after_effect: bool,
        /// As somebody says it who does not have the agency's key.
        #[serde(default)]
        unsigned: bool,
    },
    /// The example's passing fault, signed and bound to this request: nothing was done.
    Busy,
    /// The first time the same; afterwards the agency acts, and somebody without its key gives that older word instead of
    /// its answer.
    OlderBusy,
    /// A page for people instead of the agency's answer, before any effect.
    Page {
        code: u16,
    },
    /// No body at all, after the effect, and no signature.
    EmptyAnswer {
        code: u16,
    },
    /// The signed answer under another status, as somebody on the way writes it over.
    RewrittenStatus {
        code: u16,
    },
    /// The signed answers to two requests that come together are given to each other.
    Swapped,
    ResetBeforeEffect,
    ResetAfterEffect,
    /// The answers below come after the effect: the agency has acted, and its answer is of no use.
    Garbage,
    /// Each time garbage of another sort.
    GarbageInTurn,
    WrongContentType,
    HugeAnswer,
    TruncatedAnswer,
    WrongSignature,
    NoSignature,
    /// Signed with somebody else's key.
    ForeignSignature,
    StaleTimestamp,
    OtherReference,
    SlowDrip {
        millis_per_byte: u64,
    },
    /// The whole answer comes, and then comes again on the same connection.
    AnswerTwice,
    /// Every other answer breaks HTTP within good TLS: at each place of it, in each way, one after the other.
    BrokenHttpInTurn,
    /// The server shows a certificate of another authority. Counts connections, not requests.
    RogueCertificate,
    /// The server shows a new certificate of its own authority. Counts connections, not requests.
    RenewedCertificate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blamed {
    Client,
    Server,
}

/// Which certificate a connection is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Own,
    Renewed,
    Rogue,
}

impl SimulatedFault {
    /// What concerns connections and not requests.
    pub(super) fn shown(&self) -> Option<Shown> {
        match self {
            Self::RogueCertificate => Some(Shown::Rogue),
            Self::RenewedCertificate => Some(Shown::Renewed),
            _ => None,
        }
    }
}

impl Plan {
    pub fn always(fault: SimulatedFault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }

    pub fn once(fault: SimulatedFault) -> Self {
        Self { times: Some(1), ..Self::always(fault) }
    }

    pub fn slow(delay_ms: u64) -> Self {
        Self { delay_ms, ..Self::default() }
    }

    fn shown(&self) -> Option<Shown> {
        self.fault.as_ref().and_then(SimulatedFault::shown)
    }
}

impl TryFrom<Value> for SimulatorBehaviour {
    type Error = InvalidBehaviour;

    fn try_from(written: Value) -> Result<Self, InvalidBehaviour> {
        Ok(match written {
            Value::Null => Self::default(),
            list @ Value::Array(_) => Self(serde_json::from_value(list)?),
            plan => Self(vec![serde_json::from_value(plan)?]),
        })
    }
}

impl From<Plan> for SimulatorBehaviour {
    fn from(plan: Plan) -> Self {
        Self(vec![plan])
    }
}

/// The plans that are left.
#[derive(Debug, Default)]
pub(super) struct Script(Mutex<VecDeque<Plan>>);

impl Script {
    pub fn set(&self, behaviour: SimulatorBehaviour) {
        *self.plans() = behaviour.0.into();
    }

    pub fn left(&self) -> SimulatorBehaviour {
        SimulatorBehaviour(self.plans().iter().cloned().collect())
    }

    pub fn of_request(&self, body: &[u8]) -> Plan {
        let holds = |text: &String| body.windows(text.len().max(1)).any(|part| part == text.as_bytes());
        let is_about_it = |plan: &Plan| plan.about.as_ref().is_none_or(holds);
        self.take(|plan| plan.shown().is_none() && is_about_it(plan)).unwrap_or_default()
    }

    /// Which certificate this connection is to be shown.
    pub fn of_connection(&self) -> Shown {
        let plan = self.take(|plan| plan.shown().is_some());
        plan.and_then(|plan| plan.shown()).unwrap_or(Shown::Own)
    }

    fn take(&self, is_meant: impl Fn(&Plan) -> bool) -> Option<Plan> {
        let mut plans = self.plans();
        while plans.front().is_some_and(|plan| plan.times == Some(0)) {
            plans.pop_front();
        }
        let first = plans.front_mut().filter(|plan| is_meant(plan))?;
        let taken = first.clone();
        first.times = first.times.map(|times| times - 1);
        Some(taken)
    }

    fn plans(&self) -> MutexGuard<'_, VecDeque<Plan>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn plans_are_followed_in_order_and_then_all_is_well() {
        let script = Script::default();
        let written = json!([
            {"fault": "reset-after-effect", "times": 2},
            {"fault": "rogue-certificate", "times": 1},
            {"fault": "renewed-certificate", "times": 1},
            {"fault": {"status": {"code": 503, "retry_after_secs": 1}}, "times": 0},
            {"delay_ms": 5}
        ]);
        script.set(written.try_into().unwrap());
        assert_eq!(script.of_connection(), Shown::Own);
        assert_eq!(script.of_request(b"x").fault, Some(SimulatedFault::ResetAfterEffect));
        assert_eq!(script.of_request(b"x").fault, Some(SimulatedFault::ResetAfterEffect));
        assert_eq!([(); 3].map(|()| script.of_connection()), [Shown::Rogue, Shown::Renewed, Shown::Own]);
        assert_eq!((script.of_request(b"x"), script.of_request(b"x")), (Plan::slow(5), Plan::slow(5)));
        let about = Plan { about: Some("2000".into()), ..Plan::once(SimulatedFault::Busy) };
        script.set(about.clone().into());
        assert_eq!(script.of_request(b"<id>1000</id>"), Plan::default());
        assert_eq!(script.of_request(b"<id>2000</id>"), about);
        script.set(SimulatorBehaviour::default());
        assert_eq!(script.of_request(b"x"), Plan::default());
    }

    #[test]
    fn a_misspelt_plan_is_refused() {
        for bad in [json!({"fault": "explode"}), json!([{"delay": 1}]), json!(7), json!({"fault": {"status": {}}})] {
            assert!(SimulatorBehaviour::try_from(bad.clone()).is_err(), "{bad}");
        }
        assert_eq!(SimulatorBehaviour::try_from(Value::Null).unwrap(), SimulatorBehaviour::default());
    }
}
