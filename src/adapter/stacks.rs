//! Threads with stacks that do not end before bounded depth does: work comes in, its outcome goes out, or the news that it
//! takes too long.
//!
//! They are kept, because making one costs more than most of what is done on them.

use std::{
    cell::Cell,
    sync::{Mutex, PoisonError, mpsc},
    time::Duration,
};
use tokio::sync::oneshot;

/// Of address space; memory is what is really used of it. Levels of an answer are a hundred or so, and take kilobytes each.
const STACK_BYTES: usize = 256 << 20;
/// Threads that are kept while there is nothing to do.
const KEPT: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDone {
    NoThread,
    TakesTooLong,
    BreaksOff,
}

type Work = Box<dyn FnOnce() + Send>;

static IDLE: Mutex<Vec<mpsc::Sender<Work>>> = Mutex::new(Vec::new());

thread_local! {
    static IS_ONE: Cell<bool> = const { Cell::new(false) };
}

/// Runs it and waits for the outcome, so the caller must be allowed to block. On one of these threads already, it is run
/// there, and whoever has handed that over keeps the time. `is_large`: it may use much of its stack, and the thread is
/// given up afterwards, together with the memory.
pub fn run<T: Send + 'static>(
    is_large: bool,
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NotDone> {
    if IS_ONE.get() {
        return Ok(work());
    }
    let (give, take) = mpsc::sync_channel(1);
    // Whoever waits no longer has no use for the outcome.
    let work: Work = Box::new(move || drop(give.send(work())));
    hand_over(work, is_large)?;
    take.recv_timeout(patience).map_err(|why| match why {
        mpsc::RecvTimeoutError::Timeout => NotDone::TakesTooLong,
        mpsc::RecvTimeoutError::Disconnected => NotDone::BreaksOff,
    })
}

/// The same for who must not block.
pub async fn run_aside<T: Send + 'static>(
    is_large: bool,
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NotDone> {
    let (give, take) = oneshot::channel();
    hand_over(Box::new(move || drop(give.send(work()))), is_large)?;
    match tokio::time::timeout(patience, take).await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(_)) => Err(NotDone::BreaksOff),
        Err(_) => Err(NotDone::TakesTooLong),
    }
}

fn hand_over(mut work: Work, is_large: bool) -> Result<(), NotDone> {
    while !is_large && let Some(thread) = idle().pop() {
        match thread.send(work) {
            Ok(()) => return Ok(()),
            // It has broken off in what it did before.
            Err(mpsc::SendError(unsent)) => work = unsent,
        }
    }
    let thread = std::thread::Builder::new().name("filter".into()).stack_size(STACK_BYTES);
    let begun = thread.spawn(move || {
        IS_ONE.set(true);
        if is_large { work() } else { serve(work) }
    });
    begun.map(drop).map_err(|_| NotDone::NoThread)
}

fn serve(first: Work) {
    let (sender, taken) = mpsc::channel::<Work>();
    let mut work = Some(first);
    while let Some(now) = work.take() {
        now();
        {
            let mut idle = idle();
            if idle.len() >= KEPT {
                return;
            }
            idle.push(sender.clone());
        }
        work = taken.recv().ok();
    }
}

fn idle() -> std::sync::MutexGuard<'static, Vec<mpsc::Sender<Work>>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_thread_that_breaks_off_harms_nobody_else() {
        for _ in 0..3 {
            assert_eq!(run(false, PATIENCE, || panic!("on purpose")), Err::<(), _>(NotDone::BreaksOff));
            assert_eq!(run(false, PATIENCE, || 7), Ok(7));
        }
    }

    #[test]
    fn what_takes_too_long_is_not_waited_for() {
        let (done, wait) = mpsc::channel::<()>();
        let work = move || wait.recv().is_ok();
        assert_eq!(run(false, Duration::from_millis(20), work), Err(NotDone::TakesTooLong));
        drop(done);
    }

    #[tokio::test]
    async fn what_is_run_aside_may_run_more_in_the_same_place() {
        let (outer, inner) = run_aside(false, PATIENCE, || {
            let id = || std::thread::current().id();
            (id(), run(false, PATIENCE, id).unwrap())
        })
        .await
        .unwrap();
        assert_eq!(outer, inner);
        assert_ne!(outer, std::thread::current().id());
        let broken = run_aside(false, PATIENCE, || panic!("on purpose")).await;
        assert_eq!(broken, Err::<(), _>(NotDone::BreaksOff));
    }

    #[test]
    fn large_work_has_a_thread_of_its_own() {
        let name = || std::thread::current().id();
        let first = run(true, PATIENCE, name).unwrap();
        assert_ne!(run(true, PATIENCE, name).unwrap(), first);
    }
}
