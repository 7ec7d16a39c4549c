//! The moment of an exchange: whether it is still connecting, or whether its request has been given to a connection.
//!
//! The client below tells nobody when it hands a request over. But it polls the connector from within the request's own
//! future, and only as long as the request is still in hand. So whoever polls the request can see, after each poll, whether
//! the connector has just been polled and is not done: then the request has not been handed over.

use std::{
    cell::Cell,
    pin::Pin,
    task::{Context, Poll},
};

thread_local! {
    static IS_CONNECTING: Cell<bool> = const { Cell::new(false) };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// No byte of the request has been given to anybody.
    BeforeSending,
    /// The request may have been given to an established connection.
    Given,
}

/// Polls a request and tells how far it is.
pub(super) fn poll_request<F: Future>(request: Pin<&mut F>, cx: &mut Context<'_>) -> (Poll<F::Output>, Moment) {
    IS_CONNECTING.set(false);
    let polled = request.poll(cx);
    let moment = if IS_CONNECTING.replace(false) { Moment::BeforeSending } else { Moment::Given };
    (polled, moment)
}

/// Polls the connector's future. Where it is polled from within no request, nobody reads what it notes.
pub(super) fn poll_connecting<F: Future>(connecting: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    let polled = connecting.poll(cx);
    IS_CONNECTING.set(polled.is_pending());
    polled
}
