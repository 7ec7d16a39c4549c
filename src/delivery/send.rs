//! Send: a sealed request comes in, the agency's bytes or the reason why there are none go out.

use super::{
    AgencyConnection, Incoming, agency_connection::OUR_ACCESS, halt::CheckFailure, health_check::evaluate_probe,
    seal::Sealed,
};
use crate::{
    adapter::{DeclaredMoment, NotHandled, Probe},
    domain::{Code, Effect, Fault, Stage},
    http_client::{Answered, Care, ConnectFailure, ExchangeFailure, SendFailure},
};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::Instant;

/// Why there is no answer, and the status of one that had begun.
pub(super) struct Unanswered {
    pub fault: Fault,
    pub http_status: Option<u16>,
}

/// What cannot be repeated goes out with the utmost care.
pub(super) async fn send(
    sealed: Sealed,
    connection: &AgencyConnection,
    effect: Effect,
    not_handled: &NotHandled,
    deadline: Instant,
) -> Result<Incoming, Unanswered> {
    let care = match effect {
        Effect::Once => Care::Utmost,
        Effect::Read | Effect::Idempotent | Effect::Lookup => Care::Usual,
    };
    let client = connection.client();
    let unanswered = |failure| {
        connection.halt_if_certificate_refused(&failure);
        Unanswered { http_status: failure.status(), fault: fault(failure, not_handled) }
    };
    // Its memory is free once the request has been sent.
    let (outgoing, _held) = sealed.into_parts();
    // Where new connections prove nothing by themselves, the probe that the adapter declares opens one and proves it. Another
    // request may take that one meanwhile.
    let probe = connection.adapter.probe.as_ref().filter(|_| care == Care::Utmost);
    for probe in std::iter::repeat_n(probe, PROBES_AT_MOST).flatten() {
        if !connection.has_failed_probe.load(Ordering::Relaxed) {
            match client.exchange(outgoing.clone(), deadline, Care::Proved).await {
                Err(SendFailure::NotSent(ConnectFailure::Unproved)) => {}
                other => return other.map(Incoming::from).map_err(unanswered),
            }
        }
        let until = probe_until(Instant::now(), deadline, connection.adapter.limits.connect_timeout);
        let probed = client.probe(probe.outgoing(), until).await;
        let Answered { received, is_left_open } = probed.map_err(|failure| unanswered(failure.before_request()))?;
        let outcome = probe_outcome(connection, probe, &received.into());
        connection.has_failed_probe.store(outcome.is_err(), Ordering::Relaxed);
        outcome.map_err(|fault| Unanswered { fault, http_status: None })?;
        // Here no connection outlasts its proof.
        if !is_left_open {
            break;
        }
    }
    client.exchange(outgoing, deadline, care).await.map(Incoming::from).map_err(unanswered)
}

/// After so many, a request goes over whatever connection there is.
const PROBES_AT_MOST: usize = 4;

/// A probe that takes long must not leave its request too little time: what is sent late may end uncertain.
fn probe_until(now: Instant, deadline: Instant, connect_timeout: Duration) -> Instant {
    (now + connect_timeout * 2).min(now + deadline.saturating_duration_since(now) / 3)
}

/// What the probe has met, the request would meet as well: it is not sent.
fn probe_outcome(connection: &AgencyConnection, probe: &Probe, probed: &Incoming) -> Result<(), Fault> {
    let Err(failure) = evaluate_probe(probe, probed) else { return Ok(()) };
    let code = match failure.kind {
        CheckFailure::AccessRefused => {
            connection.halt_sending(&failure.problem, OUR_ACCESS);
            Code::IdentityRefused
        }
        CheckFailure::Other => Code::AgencyAway,
    };
    Err(Fault::new(code, Stage::Send, failure))
}

/// The verdict follows from the moment: of all codes, only those of the first half say that nothing was sent, and after that
/// only what the agency's folder declares is certain.
pub(super) fn fault(failure: SendFailure, not_handled: &NotHandled) -> Fault {
    let code = match &failure {
        SendFailure::NotSent(failure) => match failure {
            ConnectFailure::Unreachable(_)
            | ConnectFailure::Timeout
            | ConnectFailure::Closed
            | ConnectFailure::Unasked
            | ConnectFailure::Unproved
            | ConnectFailure::Probe(_) => Code::NetworkConnect,
            ConnectFailure::ServerCertificate(_) => Code::AgencyCertificate,
            ConnectFailure::OurCertificate(_) => Code::IdentityRefused,
            ConnectFailure::Tls(_) => Code::NetworkTls,
        },
        SendFailure::Unknown(failure) => code_of_exchange(failure, not_handled),
        // What is answered has been handled, whatever the folder declares.
        SendFailure::Answered { failure, .. } => code_of_exchange(failure, &NotHandled::default()),
    };
    Fault::new(code, Stage::Send, failure)
}

fn code_of_exchange(failure: &ExchangeFailure, not_handled: &NotHandled) -> Code {
    match failure {
        ExchangeFailure::Timeout => Code::NetworkTimeout,
        ExchangeFailure::Broken(_) => Code::NetworkReset,
        ExchangeFailure::Tls(_) => Code::NetworkTlsBroken,
        ExchangeFailure::OurCertificateFirst(_) if not_handled.has_moment(DeclaredMoment::CertificateAlert) => {
            Code::IdentityRefused
        }
        ExchangeFailure::OurCertificate(_) | ExchangeFailure::OurCertificateFirst(_) => Code::IdentityRefusedLate,
        ExchangeFailure::Renegotiation => Code::AgencyRenegotiation,
        ExchangeFailure::TooLarge { .. } => Code::AnswerTooLarge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Verdict;

    #[test]
    fn a_probe_leaves_its_request_most_of_the_time() {
        let (now, secs) = (Instant::now(), Duration::from_secs);
        assert_eq!(probe_until(now, now + secs(6), secs(5)), now + secs(2));
        assert_eq!(probe_until(now, now + secs(60), secs(5)), now + secs(10));
        assert_eq!(probe_until(now, now, secs(5)), now);
    }

    fn before() -> [ConnectFailure; 9] {
        let text = || "x".to_owned();
        [
            ConnectFailure::Unreachable(text()),
            ConnectFailure::Timeout,
            ConnectFailure::Closed,
            ConnectFailure::Unasked,
            ConnectFailure::Unproved,
            ConnectFailure::ServerCertificate(text()),
            ConnectFailure::OurCertificate(text()),
            ConnectFailure::Tls(text()),
            ConnectFailure::Probe(ExchangeFailure::Timeout),
        ]
    }

    fn after() -> [ExchangeFailure; 7] {
        let text = || "x".to_owned();
        [
            ExchangeFailure::Timeout,
            ExchangeFailure::Broken(text()),
            ExchangeFailure::Tls(text()),
            ExchangeFailure::OurCertificate(text()),
            ExchangeFailure::OurCertificateFirst(text()),
            ExchangeFailure::Renegotiation,
            ExchangeFailure::TooLarge { limit_bytes: 1 },
        ]
    }

    #[test]
    fn the_verdict_follows_from_the_moment_alone() {
        let nothing = NotHandled::default();
        for failure in before() {
            assert_eq!(fault(SendFailure::NotSent(failure), &nothing).verdict, Verdict::Retry);
        }
        for failure in after() {
            assert_eq!(fault(SendFailure::Unknown(failure.clone()), &nothing).verdict, Verdict::Unknown);
            let answered = fault(SendFailure::Answered { status: 200, failure }, &nothing);
            assert_eq!(answered.verdict, Verdict::Unknown);
            assert!(answered.detail.contains("has answered with HTTP status 200, but "), "{}", answered.detail);
        }
    }

    #[test]
    fn a_folder_makes_that_moment_certain_which_it_declares_and_no_other() {
        let declared = NotHandled::of_moments(DeclaredMoment::ALL);
        let certain = |failure: &ExchangeFailure| fault(SendFailure::Unknown(failure.clone()), &declared).verdict;
        let certain: Vec<_> = after().into_iter().filter(|failure| certain(failure) == Verdict::Retry).collect();
        assert_eq!(certain, [ExchangeFailure::OurCertificateFirst("x".into())]);
        for failure in after() {
            assert_eq!(fault(SendFailure::Answered { status: 503, failure }, &declared).verdict, Verdict::Unknown);
        }
    }
}
