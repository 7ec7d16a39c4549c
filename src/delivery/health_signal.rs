//! Health signal: what an exchange came to comes in, how it speaks for the agency's health goes out.

use crate::{
    adapter::Reading,
    domain::{Code, Fault, Origin},
};
use std::time::Duration;

/// How an exchange speaks for the agency's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthSignal {
    /// The agency answered as one that is healthy: with a yes, with a no, or by refusing the request as a faulty one.
    Healthy,
    /// It answered with a fault or with something that cannot be authenticated or read. That speaks of one request: it is no
    /// sign of failure, and none of health, but that somebody is there.
    Responded,
    /// It was silent, broke off, failed without a word about the request, or somebody in its place said what says nothing of
    /// it: a page for maintenance, a redirect, an address that is not there. `retry_after`: the wait it asks for.
    Failing { retry_after: Option<Duration> },
    /// It could not be reached, whatever the request.
    Unreachable,
    /// Nothing was learnt: the agency was not asked.
    NoSignal,
}

impl HealthSignal {
    pub fn of_reading(reading: &Result<Reading, Fault>) -> Self {
        match reading {
            Ok(Reading::Failed { .. }) => HealthSignal::Responded,
            Ok(_) => HealthSignal::Healthy,
            Err(fault) => HealthSignal::of_fault(fault),
        }
    }

    /// What a fault says about the agency. Only the network, silence and HTTP statuses that say nothing of the request, without
    /// a fault in the answer, speak of its health.
    pub fn of_fault(fault: &Fault) -> Self {
        match (fault.code.origin(), fault.code) {
            (Origin::Bus | Origin::Office, _) => HealthSignal::NoSignal,
            (_, Code::AgencyClientError | Code::AgencySoapClientFault) => HealthSignal::Healthy,
            (_, Code::NetworkConnect | Code::NetworkTls | Code::AgencyCertificate) => HealthSignal::Unreachable,
            (Origin::Network, _)
            | (
                _,
                Code::AgencyUnavailable
                | Code::AgencyRateLimited
                | Code::AgencyServerError
                | Code::AgencyNoVerdict
                | Code::AgencyRedirect
                | Code::AgencyAway,
            ) => HealthSignal::Failing { retry_after: fault.retry_after },
            (Origin::Agency, _) => HealthSignal::Responded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Stage;

    #[test]
    fn only_the_network_silence_and_what_says_nothing_of_the_request_are_signs_of_failure() {
        let signal = |code| HealthSignal::of_fault(&Fault::new(code, Stage::Send, ""));
        let failing = HealthSignal::Failing { retry_after: None };
        for code in [
            Code::NetworkTimeout,
            Code::NetworkReset,
            Code::AgencyUnavailable,
            Code::AgencyServerError,
            Code::AgencyNoVerdict,
            Code::AgencyRedirect,
        ] {
            assert_eq!(signal(code), failing, "{code}");
        }
        for code in [Code::NetworkConnect, Code::NetworkTls, Code::AgencyCertificate] {
            assert_eq!(signal(code), HealthSignal::Unreachable, "{code}");
        }
        for code in [Code::AgencySoapServerFault, Code::AgencyFault, Code::AgencyFaultTransient, Code::AnswerSignature]
        {
            assert_eq!(signal(code), HealthSignal::Responded, "{code}");
        }
        assert_eq!(signal(Code::AgencyClientError), HealthSignal::Healthy);
        assert_eq!(signal(Code::TemplateFailed), HealthSignal::NoSignal);
    }
}
