//! A channel that is kept: the link as it is now comes in, a channel that is open on it goes out.

use super::{
    connection::{Wire, answered},
    link::Link,
};
use crate::broker::BrokerError;
use lapin::{Channel, options::ConfirmSelectOptions};
use std::sync::Arc;

pub(super) struct OpenChannel {
    confirms: bool,
    /// With the connection that it was opened on.
    kept: Option<(Arc<Wire>, Channel)>,
}

impl OpenChannel {
    pub(super) fn plain() -> Self {
        Self { confirms: false, kept: None }
    }

    /// On it the broker says of each message what became of it.
    pub(super) fn confirming() -> Self {
        Self { confirms: true, kept: None }
    }

    pub(super) async fn get(&mut self, link: &Link) -> Result<Channel, BrokerError> {
        let wire = link.now()?;
        if let Some((opened_on, channel)) = &self.kept
            && Arc::ptr_eq(opened_on, &wire)
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        self.kept = None;
        let channel = wire.channel().await?;
        if self.confirms {
            answered(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        }
        self.kept = Some((wire, channel.clone()));
        Ok(channel)
    }

    /// The next one is a new one.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }
}
