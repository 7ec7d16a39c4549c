//! The moment of an exchange: whether it is still connecting, or whether its request has been given to a connection.
//!
//! The client below tells nobody when it hands a request over. But it polls the connector from within the request's own
//! future, and only as long as the request is still in hand. So whoever polls the request can see, after each poll, whether
//! the connector has just been polled and is not done: then the request has not been handed over. And the connector can see
//! for which request it is polled, and what kind of connection that one wants.

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll},
};

thread_local! {
    static IS_CONNECTING: Cell<bool> = const { Cell::new(false) };
    /// Of the request that is polled on this thread now.
    static WANTED: Cell<Option<Wanted>> = const { Cell::new(None) };
}

/// Which new connection is good enough for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Any; a proof is waited for only where this server has given one before.
    Any,
    /// The same, and the request itself is the proof for those that come after it.
    ToBeProved,
    /// Any, but it has its chance to prove itself first.
    ProvedIfPossible,
    /// None that has not proved itself.
    Proved,
}

impl Wanted {
    /// Even of a server whose connections have proved nothing so far.
    pub fn is_proof_awaited(self) -> bool {
        matches!(self, Self::ProvedIfPossible | Self::Proved)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// No byte of the request has been given to anybody.
    BeforeSending,
    /// The request may have been given to an established connection.
    Given,
}

/// Polls a request and tells how far it is.
pub(super) fn poll_request<F: Future>(
    request: Pin<&mut F>,
    wanted: Wanted,
    cx: &mut Context<'_>,
) -> (Poll<F::Output>, Moment) {
    IS_CONNECTING.set(false);
    WANTED.set(Some(wanted));
    let polled = request.poll(cx);
    WANTED.set(None);
    let moment = if IS_CONNECTING.replace(false) { Moment::BeforeSending } else { Moment::Given };
    (polled, moment)
}

/// What the request wants that is polled on this thread now. A connection whose request has found another one meanwhile is
/// finished for none.
pub(super) fn wanted() -> Option<Wanted> {
    WANTED.get()
}

/// Polls the connector's future. Where it is polled from within no request, nobody reads what it notes.
pub(super) fn poll_connecting<F: Future>(connecting: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    let polled = connecting.poll(cx);
    IS_CONNECTING.set(polled.is_pending());
    polled
}
