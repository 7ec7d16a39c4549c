//! Noted: what the records of a connection show, noted where whoever waits for its answer can read it. TLS makes a connection's
//! algorithms deep inside the handshake; they find here whose they are.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
};

/// How often the servers that one client talks to have asked for a new handshake.
pub(super) type Renegotiations = Arc<AtomicU64>;

/// Whether anything of a request has been sealed on a connection.
pub(super) type HasAsked = Arc<AtomicBool>;

/// What is noted of one connection.
#[derive(Debug, Clone)]
pub(super) struct Noted {
    /// Of all connections of the client.
    pub renegotiations: Renegotiations,
    pub has_asked: HasAsked,
}

thread_local! {
    /// Where the connection notes it whose handshake is polled on this thread now.
    static NOTED_IN: RefCell<Option<Noted>> = const { RefCell::new(None) };
}

/// The connection whose handshake `poll` goes on with notes there what becomes of it later.
pub(super) fn noting<T>(noted: &Noted, poll: impl FnOnce() -> T) -> T {
    NOTED_IN.set(Some(noted.clone()));
    let polled = poll();
    NOTED_IN.take();
    polled
}

/// Where the handshake that is polled on this thread now notes what it sees.
pub(super) fn noted_in() -> Option<Noted> {
    NOTED_IN.with_borrow(Clone::clone)
}
