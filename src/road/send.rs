//! Send: a sealed request comes in, the agency's bytes or the reason why there are none go out.

use super::{Line, Sealed};
use crate::{
    domain::{Code, Fault, Stage},
    wire::{Received, SendFailure},
};
use std::{future::poll_fn, task::Poll};
use tokio::time::Instant;

/// Whoever wakes up after the deadline sends nothing: it is looked at before each step, because a timer that was made
/// before a long pause may not have run out yet when its task goes on.
pub async fn send(sealed: Sealed, line: &Line, deadline: Instant) -> Result<Received, Fault> {
    let client = line.client();
    let left = deadline.saturating_duration_since(Instant::now());
    let is_late = poll_fn(|_| if Instant::now() >= deadline { Poll::Ready(()) } else { Poll::Pending });
    let sent = tokio::select! {
        biased;
        () = is_late => Err(SendFailure::Timeout),
        sent = client.exchange(sealed.into_outgoing(), left) => sent,
    };
    sent.map_err(fault)
}

fn fault(failure: SendFailure) -> Fault {
    let code = match &failure {
        SendFailure::Connect(_) => Code::NetworkConnect,
        SendFailure::Tls { is_peer_certificate: true, .. } => Code::AgencyCertificate,
        SendFailure::Tls { is_peer_certificate: false, .. } => Code::NetworkTls,
        SendFailure::Timeout => Code::NetworkTimeout,
        SendFailure::Reset(_) => Code::NetworkReset,
        SendFailure::TooLarge { .. } => Code::AnswerTooLarge,
    };
    Fault::new(code, Stage::Send, failure)
}
