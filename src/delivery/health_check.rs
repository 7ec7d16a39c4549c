//! The health check of an agency: a handshake and the declared probe; how that went goes out in words for the operator. Nothing
//! changes at the agency by it.

use super::{Incoming, halt::CheckFailure, status::StatusClass};
use crate::{
    adapter::{Adapter, Probe},
    http_client::{Client, Handshake, SendFailure},
};
use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// An agency's server as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReport {
    pub text: String,
    /// What works, but should be known.
    pub warning: Option<String>,
}

/// Why nothing can be sent there now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct HealthCheckFailure {
    pub problem: String,
    pub remedy: &'static str,
    pub(super) kind: CheckFailure,
}

/// The health checks that refusals have caused. Each is one more handshake and probe for the agency to bear: they come one
/// at a time, and not soon after each other.
#[derive(Debug, Default)]
pub struct HealthChecks {
    begun_at: Mutex<Option<Instant>>,
    under_way: TaskTracker,
    ending: CancellationToken,
}

const CHECKS_APART: Duration = Duration::from_secs(2);

impl HealthChecks {
    pub fn begin(&self, check: impl Future<Output = ()> + Send + 'static) {
        let mut begun_at = self.begun_at.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.under_way.is_empty() {
            return;
        }
        let wait = begun_at.map_or(Duration::ZERO, |at| CHECKS_APART.saturating_sub(at.elapsed()));
        *begun_at = Some(Instant::now() + wait);
        let ending = self.ending.clone();
        self.under_way.spawn(async move {
            tokio::select! {
                () = ending.cancelled() => {}
                () = async { sleep(wait).await; check.await } => {}
            }
        });
    }

    /// Breaks off what is under way, once nothing begins another one.
    pub async fn end(&self) {
        self.ending.cancel();
        self.under_way.close();
        self.under_way.wait().await;
    }
}

/// A handshake, and the probe if the adapter declares one.
pub(super) async fn check_health(client: &Client, adapter: &Adapter) -> Result<HealthReport, HealthCheckFailure> {
    let handshake = client.handshake(&adapter.endpoint).await;
    let handshake = handshake.map_err(|failure| of_send_failure(&SendFailure::NotSent(failure)))?;
    let probed = send_probe(client, adapter).await?;
    let proof = match (handshake, &probed) {
        (Handshake { is_mutual: false, .. }, _) => "it did not ask for our certificate",
        (Handshake { is_proved: true, .. }, _) | (_, Some(_)) => "it takes our certificate",
        _ => "it said nothing about our certificate",
    };
    let version = if handshake.is_tls13 { "TLS 1.3" } else { "TLS 1.2" };
    let probed = probed.unwrap_or_else(|| "no probe is declared".into());
    let warning = proof_warning(handshake, adapter.probe.is_some());
    Ok(HealthReport { text: format!("was reached over {version}; {proof}; {probed}"), warning })
}

async fn send_probe(client: &Client, adapter: &Adapter) -> Result<Option<String>, HealthCheckFailure> {
    let Some(probe) = &adapter.probe else { return Ok(None) };
    let deadline = Instant::now() + adapter.limits.connect_timeout * 2;
    let answered = client.probe(probe.outgoing(), deadline).await.map_err(|failure| of_send_failure(&failure))?;
    evaluate_probe(probe, &answered.received.into()).map(Some)
}

/// What the probe's answer says of the agency: nothing but a word about the agency itself shows that requests would reach it.
pub(super) fn evaluate_probe(probe: &Probe, answered: &Incoming) -> Result<String, HealthCheckFailure> {
    let status = answered.status;
    let told = format!("the probe {} {} was answered with {status}", probe.method, probe.url.path());
    let (why, remedy, kind) = match StatusClass::of(status) {
        // Some servers say so where they were shown no certificate, or none that they take.
        StatusClass::Message if status == 400 && answered.is_html_page() => (
            " and a page for people: most likely what stands before the agency does not let us in",
            "ask the agency whether its server asks for our certificate, and has its issuer registered",
            CheckFailure::AccessRefused,
        ),
        StatusClass::Success | StatusClass::Message => return Ok(told),
        StatusClass::Credentials => (
            ": the agency does not let us in",
            "ask the agency whether it has our certificate registered for this endpoint",
            CheckFailure::AccessRefused,
        ),
        StatusClass::RateLimited | StatusClass::Unavailable | StatusClass::Server | StatusClass::Odd => {
            (": the agency's server is not well", "try again later, or ask the agency", CheckFailure::Other)
        }
        StatusClass::Redirect | StatusClass::NotTheRequest => (
            ": nobody answers there for the agency",
            "compare [probe] in agency.toml with the agency's addresses, and try again later",
            CheckFailure::Other,
        ),
    };
    Err(HealthCheckFailure { problem: told + why, remedy, kind })
}

fn proof_warning(handshake: Handshake, is_probed: bool) -> Option<String> {
    let text = match handshake {
        Handshake { is_mutual: false, .. } => {
            "the server did not ask for our certificate in the handshake; if it does so later, by renegotiation, no request \
             will work: ask the agency to demand it in the first handshake"
        }
        Handshake { is_proved: false, .. } if !is_probed => {
            "the server gives no session tickets, so a new connection does not prove that it takes our certificate: declare \
             a [probe] in agency.toml if it has an address that changes nothing"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

fn of_send_failure(failure: &SendFailure) -> HealthCheckFailure {
    use crate::http_client::{ConnectFailure as Connect, ExchangeFailure as Exchange};
    let remedy = match failure {
        SendFailure::NotSent(Connect::OurCertificate(_))
        | SendFailure::Unknown(Exchange::OurCertificate(_) | Exchange::OurCertificateFirst(_)) => {
            "ask the agency whether it has our certificate and its issuer registered, and compare `client.pem`'s dates"
        }
        SendFailure::NotSent(Connect::ServerCertificate(_)) => {
            "compare the agency's certificate with `ca.pem`, and the endpoint's host with the certificate's names"
        }
        SendFailure::NotSent(Connect::Tls(_)) | SendFailure::Unknown(Exchange::Tls(_)) => {
            "check that the endpoint's port speaks TLS 1.2 or 1.3"
        }
        SendFailure::Unknown(Exchange::Renegotiation) => {
            "ask the agency to demand the client certificate in the first handshake, and not by renegotiation"
        }
        _ => "check the endpoint's host and port, and the way there",
    };
    let kind = match failure.refusal_of_our_certificate() {
        Some(_) => CheckFailure::AccessRefused,
        None => CheckFailure::Other,
    };
    HealthCheckFailure { problem: failure.to_string(), remedy, kind }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    #[test]
    fn only_an_answer_about_the_agency_itself_finds_it_well_and_every_refusal_of_us_is_one() {
        let probe = Probe { method: http::Method::GET, url: "https://registry.test/health".parse().unwrap() };
        let found = |status: u16, media_type: &'static str| {
            let media_type = (http::header::CONTENT_TYPE, http::HeaderValue::from_static(media_type));
            let headers = http::HeaderMap::from_iter([media_type]);
            match evaluate_probe(&probe, &Incoming { status, headers, body: "x".into() }) {
                Ok(_) => "well",
                Err(failure) if failure.kind == CheckFailure::AccessRefused => "not let in",
                Err(_) => "not well",
            }
        };
        for (status, expected) in (100..=999).map(|status| (status, StatusClass::of(status))) {
            let expected = match expected {
                StatusClass::Success | StatusClass::Message => "well",
                StatusClass::Credentials => "not let in",
                _ => "not well",
            };
            assert_eq!(found(status, "application/json"), expected, "{status}");
        }
        for (status, expected) in [(401, "not let in"), (496, "not let in"), (404, "not well"), (302, "not well")] {
            assert_eq!(found(status, "text/html"), expected, "{status}");
        }
        assert_eq!((found(200, "text/html"), found(400, "text/html")), ("well", "not let in"));
    }

    #[tokio::test]
    async fn health_checks_come_one_at_a_time_and_not_soon_after_each_other_and_end_with_the_process() {
        let (checks, count) = (HealthChecks::default(), Arc::new(AtomicU32::new(0)));
        let begin_many = async || {
            for _ in 0..20 {
                let count = count.clone();
                checks.begin(async move {
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
            sleep(Duration::from_millis(100)).await;
        };
        begin_many().await;
        begin_many().await;
        assert_eq!(count.load(Ordering::Relaxed), 1, "the second comes later");
        sleep(CHECKS_APART).await;
        assert_eq!(count.load(Ordering::Relaxed), 2);
        checks.begin(std::future::pending());
        checks.end().await;
    }
}
