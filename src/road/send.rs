//! Send: a sealed request comes in, the agency's bytes or the reason why there are none go out.

use super::{Line, Sealed};
use crate::{
    domain::{Code, Fault, Stage},
    wire::{Received, SendFailure},
};
use std::time::Duration;

pub async fn send(sealed: Sealed, line: &Line, timeout: Duration) -> Result<Received, Fault> {
    line.client().exchange(sealed.into_outgoing(), timeout).await.map_err(fault)
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
