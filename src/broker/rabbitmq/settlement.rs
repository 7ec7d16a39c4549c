//! The end of one delivery: a worker's decision comes in, an acknowledgement goes to the broker, or the message goes back.

use super::connection::answered;
use crate::broker::{BrokerError, Settle};
use async_trait::async_trait;
use lapin::{
    Acker,
    options::{BasicAckOptions, BasicRejectOptions},
};
use tokio::sync::mpsc::UnboundedSender;

/// Dropped without a decision, it gives its message to the consumer's task, which gives it back to the broker.
pub(super) struct Settlement {
    acker: Option<Acker>,
    /// While one of these lives, the consumer's channel is kept open.
    given_back: UnboundedSender<Acker>,
}

impl Settlement {
    pub(super) fn new(acker: Acker, given_back: UnboundedSender<Acker>) -> Self {
        Self { acker: Some(acker), given_back }
    }
}

#[async_trait]
impl Settle for Settlement {
    async fn ack(mut self: Box<Self>) -> Result<(), BrokerError> {
        let Some(acker) = self.acker.take() else { return Err(too_late()) };
        taken(answered(acker.ack(BasicAckOptions::default())).await?)
    }

    async fn reject(mut self: Box<Self>) -> Result<(), BrokerError> {
        let Some(acker) = self.acker.take() else { return Err(too_late()) };
        taken(answered(acker.reject(BasicRejectOptions { requeue: false })).await?)
    }
}

fn taken(was_usable: bool) -> Result<(), BrokerError> {
    if was_usable { Ok(()) } else { Err(too_late()) }
}

/// The broker has given the message to somebody else, or will.
fn too_late() -> BrokerError {
    BrokerError::Unavailable("the channel of this delivery is gone; the broker delivers it again".into())
}

impl Drop for Settlement {
    fn drop(&mut self) {
        if let Some(acker) = self.acker.take() {
            let _ = self.given_back.send(acker);
        }
    }
}
