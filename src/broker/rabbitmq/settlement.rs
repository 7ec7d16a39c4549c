//! The end of one delivery: a worker's decision comes in, an acknowledgement goes to the broker, or the message goes back.

use super::connection::answered;
use crate::broker::{BrokerError, Settle};
use async_trait::async_trait;
use lapin::{
    Acker,
    options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions},
};
use tokio::sync::{mpsc::UnboundedSender, oneshot};

/// Dropped without a decision, it gives its message to the consumer's task, which gives it back to the broker.
pub(super) struct Settlement {
    acker: Option<Acker>,
    /// While one of these lives, the consumer's channel is kept open.
    settled: UnboundedSender<Settled>,
}

/// What the consumer's task has to tell the broker, many at a time.
pub(super) enum Settled {
    /// The message may go; the worker waits until the broker has been acked.
    Done(Acker, oneshot::Sender<Result<(), BrokerError>>),
    GivenBack(Acker),
}

impl Settlement {
    pub(super) fn new(acker: Acker, settled: UnboundedSender<Settled>) -> Self {
        Self { acker: Some(acker), settled }
    }
}

impl Settled {
    /// The error is one that only the end of the channel mends: the broker believes the message to be in our hands.
    pub(super) async fn send(self) -> Result<(), BrokerError> {
        match self {
            Settled::Done(acker, acked) => {
                let result = answered(acker.ack(BasicAckOptions::default())).await.and_then(taken);
                // A worker that has gone away needs no answer.
                let _ = acked.send(result);
                Ok(())
            }
            Settled::GivenBack(acker) => give_back(&acker).await,
        }
    }
}

pub(super) async fn give_back(acker: &Acker) -> Result<(), BrokerError> {
    answered(acker.nack(BasicNackOptions { multiple: false, requeue: true })).await.map(drop)
}

#[async_trait]
impl Settle for Settlement {
    async fn ack(mut self: Box<Self>) -> Result<(), BrokerError> {
        let Some(acker) = self.acker.take() else { return Err(too_late()) };
        let (acked, answer) = oneshot::channel();
        self.settled.send(Settled::Done(acker, acked)).map_err(|_| too_late())?;
        answer.await.map_err(|_| too_late())?
    }

    async fn reject(mut self: Box<Self>) -> Result<(), BrokerError> {
        let Some(acker) = self.acker.take() else { return Err(too_late()) };
        answered(acker.reject(BasicRejectOptions { requeue: false })).await.and_then(taken)
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
            let _ = self.settled.send(Settled::GivenBack(acker));
        }
    }
}
