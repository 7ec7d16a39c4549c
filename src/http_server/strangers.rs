//! Connections of nobody we know yet come in; when they are too many, the one that has stood there longest goes out.
//!
//! Whoever floods the door with silent connections shows out his own: an honest handshake takes milliseconds, and is over
//! long before it is the oldest.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio_util::sync::CancellationToken;

/// Fewer are never shown out.
const FEW: usize = 16;

pub(super) struct Strangers {
    most: usize,
    standing: Mutex<Standing>,
}

#[derive(Default)]
struct Standing {
    next_number: u64,
    /// The oldest first.
    queue: VecDeque<(u64, CancellationToken)>,
}

/// One stranger, for as long as this is held.
pub(super) struct Stranger {
    strangers: Arc<Strangers>,
    number: u64,
    shown_out: CancellationToken,
}

impl Strangers {
    /// At most half of all connections.
    pub fn new(max_connections: usize) -> Arc<Self> {
        Arc::new(Self { most: (max_connections / 2).max(FEW), standing: Mutex::default() })
    }

    pub fn enter(self: &Arc<Self>) -> Stranger {
        let mut standing = self.standing();
        let (number, shown_out) = (standing.next_number, CancellationToken::new());
        standing.next_number += 1;
        standing.queue.push_back((number, shown_out.clone()));
        if standing.queue.len() > self.most
            && let Some((_, oldest)) = standing.queue.pop_front()
        {
            oldest.cancel();
        }
        Stranger { strangers: self.clone(), number, shown_out }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stranger {
    /// Ends when there is no room for this one any longer.
    pub async fn shown_out(&self) {
        self.shown_out.cancelled().await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut standing = self.strangers.standing();
        if let Ok(place) = standing.queue.binary_search_by_key(&self.number, |(number, _)| *number) {
            standing.queue.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_too_many_strangers_is_shown_out() {
        let strangers = Strangers::new(40);
        let mut standing: Vec<_> = (0..20).map(|_| strangers.enter()).collect();
        drop(standing.remove(3));
        standing.push(strangers.enter());
        assert!(standing.iter().all(|it| !it.shown_out.is_cancelled()));
        let newest = strangers.enter();
        assert!(standing[0].shown_out.is_cancelled() && !standing[1].shown_out.is_cancelled());
        drop((standing, newest));
        assert!(strangers.standing().queue.is_empty());
    }
}
