//! Send: a sealed request comes in, the agency's bytes or the reason why there are none go out.

use super::{Line, Sealed};
use crate::{
    domain::{Code, Effect, Fault, Stage},
    wire::{Care, ConnectFailure, ExchangeFailure, Received, SendFailure},
};
use tokio::time::Instant;

/// What cannot be repeated goes out with the utmost care.
pub async fn send(sealed: Sealed, line: &Line, effect: Effect, deadline: Instant) -> Result<Received, Fault> {
    let care = match effect {
        Effect::Once => Care::Utmost,
        Effect::Read | Effect::Idempotent | Effect::Lookup => Care::Usual,
    };
    let sent = match prove(line, care, deadline).await {
        Ok(()) => line.client().exchange(sealed.into_outgoing(), deadline, care).await,
        Err(failure) => Err(failure),
    };
    sent.map_err(|failure| {
        line.heed(&failure);
        fault(failure)
    })
}

/// Where new connections prove nothing by themselves, the probe that the adapter declares opens one and proves it.
async fn prove(line: &Line, care: Care, deadline: Instant) -> Result<(), SendFailure> {
    let client = line.client();
    match &line.adapter.probe {
        Some(probe) if care == Care::Utmost && client.lacks_proof() => {
            let probed = client.exchange(probe.outgoing(), deadline, care).await;
            probed.map(drop).map_err(SendFailure::before_request)
        }
        _ => Ok(()),
    }
}

/// The verdict follows from the moment: of all codes, only those of the first half say that nothing was sent.
fn fault(failure: SendFailure) -> Fault {
    let code = match &failure {
        SendFailure::NotSent(failure) => match failure {
            ConnectFailure::Unreachable(_)
            | ConnectFailure::Timeout
            | ConnectFailure::Closed
            | ConnectFailure::Probe(_) => Code::NetworkConnect,
            ConnectFailure::ServerCertificate(_) => Code::AgencyCertificate,
            ConnectFailure::OurCertificate(_) => Code::IdentityRefused,
            ConnectFailure::Tls(_) => Code::NetworkTls,
        },
        SendFailure::Unknown(failure) => match failure {
            ExchangeFailure::Timeout => Code::NetworkTimeout,
            ExchangeFailure::Broken(_) => Code::NetworkReset,
            ExchangeFailure::Tls(_) => Code::NetworkTlsBroken,
            ExchangeFailure::OurCertificate(_) => Code::IdentityRefusedLate,
            ExchangeFailure::Renegotiation => Code::AgencyRenegotiation,
            ExchangeFailure::TooLarge { .. } => Code::AnswerTooLarge,
        },
    };
    Fault::new(code, Stage::Send, failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Verdict;

    #[test]
    fn the_verdict_follows_from_the_moment_alone() {
        let text = || "x".to_owned();
        let before = [
            ConnectFailure::Unreachable(text()),
            ConnectFailure::Timeout,
            ConnectFailure::Closed,
            ConnectFailure::ServerCertificate(text()),
            ConnectFailure::OurCertificate(text()),
            ConnectFailure::Tls(text()),
            ConnectFailure::Probe(ExchangeFailure::Timeout),
        ];
        for failure in before {
            assert_eq!(fault(SendFailure::NotSent(failure)).verdict, Verdict::Retry);
        }
        let after = [
            ExchangeFailure::Timeout,
            ExchangeFailure::Broken(text()),
            ExchangeFailure::Tls(text()),
            ExchangeFailure::OurCertificate(text()),
            ExchangeFailure::Renegotiation,
            ExchangeFailure::TooLarge { limit_bytes: 1 },
        ];
        for failure in after {
            assert_eq!(fault(SendFailure::Unknown(failure)).verdict, Verdict::Unknown);
        }
    }
}
