//! Limits the connections whose peer is not identified yet: when they are too many, the oldest of them is closed.
//!
//! Whoever floods a listener with silent connections so displaces his own: an honest handshake takes milliseconds, and is
//! over long before it is the oldest.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio_util::sync::CancellationToken;

/// So many are always allowed.
const FEW: usize = 16;

/// All connections of one listener whose peer is not identified.
pub(super) struct Unidentified {
    /// With one more, the oldest is closed.
    most: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next_number: u64,
    /// The oldest first. A connection is taken out when it is displaced, identified, or closed.
    queue: VecDeque<(u64, CancellationToken)>,
}

/// One such connection. Its task holds this until the peer is identified, or to the connection's end.
pub(super) struct UnidentifiedConnection {
    all: Arc<Unidentified>,
    number: u64,
    /// Cancelled when a newer one displaces it.
    displaced: CancellationToken,
}

impl Unidentified {
    /// At most half of all connections.
    pub fn new(max_connections: usize) -> Arc<Self> {
        Arc::new(Self { most: (max_connections / 2).max(FEW), open: Mutex::default() })
    }

    pub fn enter(self: &Arc<Self>) -> UnidentifiedConnection {
        let mut open = self.open();
        let (number, displaced) = (open.next_number, CancellationToken::new());
        open.next_number += 1;
        open.queue.push_back((number, displaced.clone()));
        if open.queue.len() > self.most
            && let Some((_, oldest)) = open.queue.pop_front()
        {
            oldest.cancel();
        }
        UnidentifiedConnection { all: self.clone(), number, displaced }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnidentifiedConnection {
    /// Ends when this one is to be closed in favour of a newer one.
    pub async fn displaced(&self) {
        self.displaced.cancelled().await;
    }
}

impl Drop for UnidentifiedConnection {
    fn drop(&mut self) {
        let mut open = self.all.open();
        if let Ok(at) = open.queue.binary_search_by_key(&self.number, |(number, _)| *number) {
            open.queue.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_too_many_unidentified_connections_is_displaced() {
        let all = Unidentified::new(40);
        let mut connections: Vec<_> = (0..20).map(|_| all.enter()).collect();
        drop(connections.remove(3));
        connections.push(all.enter());
        assert!(connections.iter().all(|it| !it.displaced.is_cancelled()));
        let newest = all.enter();
        assert!(connections[0].displaced.is_cancelled() && !connections[1].displaced.is_cancelled());
        drop((connections, newest));
        assert!(all.open().queue.is_empty());
    }
}
