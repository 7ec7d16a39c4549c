//! The sessions that are open: one is lent out at a time, and comes back only when nothing more is expected from it.

use super::{
    connector::Connector,
    failure::Failure,
    session::{Session, Way},
};
use crate::journal::JournalError;
use deadpool::{
    Runtime,
    managed::{Object, Pool, PoolError, Timeouts},
};
use std::time::Duration;
use tokio::{runtime::Handle, time::timeout};

/// For one to become free.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);
/// For a session whose user has gone away in the middle, to come to the end of what it was asked.
const REST_TIMEOUT: Duration = Duration::from_secs(2);

pub struct Sessions(Pool<Connector>);

/// A session, until it is given back or ended. If its user goes away before, it is given back when it is at rest.
pub struct Held(Option<Object<Connector>>);

impl Sessions {
    pub fn new(connector: Connector, most: usize) -> Result<Self, JournalError> {
        let pool = Pool::builder(connector)
            .max_size(most)
            .runtime(Runtime::Tokio1)
            // Making one has limits of its own, host by host.
            .timeouts(Timeouts { wait: Some(WAIT_TIMEOUT), create: None, recycle: None })
            .build();
        pool.map(Self).map_err(|_| JournalError::Unavailable("no pool of connections".into()))
    }

    pub async fn take(&self) -> Result<Held, Failure> {
        match self.0.get().await {
            Ok(session) => Ok(Held(Some(session))),
            Err(PoolError::Backend(mut failure)) => {
                // A connection that was never made ends no other, but where the server lets no more in, one of ours may come free.
                failure.finding.is_retryable = failure.finding.turns_away && self.0.status().size > 0;
                failure.finding.ends_session = false;
                Err(failure)
            }
            Err(PoolError::Timeout(_)) => Err(Failure::said("no connection to PostgreSQL became free in time")),
            Err(_) => Err(Failure::said("the connections to PostgreSQL are closed")),
        }
    }

    /// Ends the session, and those that nobody uses now: what made this one useless has probably met them, too.
    pub fn end(&self, mut held: Held, failure: &Failure) {
        let ended = held.0.take().map(Object::take);
        self.0.retain(|_, _| false);
        // What a pooler says of other troubles has the same code; where nothing was prepared, no statement was lost.
        let has_prepared = ended.is_some_and(|session| matches!(session.way, Way::Direct(_)));
        if failure.finding.loses_statements && has_prepared && self.0.manager().distrust() {
            tracing::warn!(
                error = %failure.error,
                "prepared statements get lost on the way to PostgreSQL, as with a pooler: none is prepared from now on"
            );
        }
    }

    pub fn close(&self) {
        self.0.close();
    }
}

impl Held {
    pub fn session(&mut self) -> Result<&mut Session, JournalError> {
        self.0.as_deref_mut().ok_or_else(|| JournalError::Unavailable("the connection was given back".into()))
    }

    pub fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(session) = self.0.take() else { return };
        let Ok(runtime) = Handle::try_current() else {
            drop(Object::take(session));
            return;
        };
        runtime.spawn(async move {
            let rest = timeout(REST_TIMEOUT, session.client.check_connection()).await;
            if !matches!(rest, Ok(Ok(()))) {
                drop(Object::take(session));
            }
        });
    }
}
