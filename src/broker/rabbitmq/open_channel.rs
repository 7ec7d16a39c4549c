//! A channel that is kept: a reconnecting connection comes in, a channel on the connection that is open now goes out.

use super::{
    connection::{AmqpConnection, answered},
    reconnecting::ReconnectingConnection,
};
use crate::broker::BrokerError;
use lapin::{Channel, options::ConfirmSelectOptions};
use std::sync::Arc;

/// Whether the broker says of each message what became of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Confirms {
    Off,
    On,
}

pub(super) struct OpenChannel {
    confirms: Confirms,
    /// With the connection that it was opened on.
    kept: Option<(Arc<AmqpConnection>, Channel)>,
}

impl OpenChannel {
    pub(super) fn plain() -> Self {
        Self { confirms: Confirms::Off, kept: None }
    }

    pub(super) fn confirming() -> Self {
        Self { confirms: Confirms::On, kept: None }
    }

    pub(super) async fn get(&mut self, reconnecting: &ReconnectingConnection) -> Result<Channel, BrokerError> {
        let connection = reconnecting.now()?;
        if let Some((opened_on, channel)) = &self.kept
            && Arc::ptr_eq(opened_on, &connection)
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        self.kept = None;
        let channel = connection.channel().await?;
        if self.confirms == Confirms::On {
            answered(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        }
        self.kept = Some((connection, channel.clone()));
        Ok(channel)
    }

    /// The next one is a new one.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }
}
