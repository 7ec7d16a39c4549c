//! Threads with stacks that do not end before bounded depth does: work comes in, its outcome goes out, or the news that it
//! takes too long.
//!
//! They are kept, because making one costs more than most of what is done on them.

use std::{
    cell::Cell,
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};

/// Of address space; memory is what is really used of it. Levels of an answer are a hundred or so, and take kilobytes each.
const STACK_BYTES: usize = 256 << 20;
/// Threads that are kept while there is nothing to do.
const KEPT: usize = 16;
/// Whoever has waited so long no longer waits for threads that are at work, but has another one take what lies there. Most
/// work takes a tenth of it: a thread that is awake takes it sooner than another one wakes up.
const IMPATIENT_AFTER: Duration = Duration::from_millis(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDone {
    NoThread,
    TakesTooLong,
    BreaksOff,
}

type Work = Box<dyn FnOnce() + Send>;

/// What lies there, and who is to take it.
struct Threads {
    work: VecDeque<Work>,
    at_work: usize,
    asleep: usize,
    /// Of those that are asleep: how many were told to wake up.
    called: usize,
}

static THREADS: Mutex<Threads> = Mutex::new(Threads { work: VecDeque::new(), at_work: 0, asleep: 0, called: 0 });
static CALL: Condvar = Condvar::new();

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
    hand_over(Box::new(move || drop(give.send(work()))), is_large)?;
    let soon = take.recv_timeout(IMPATIENT_AFTER);
    let outcome = match soon {
        Err(mpsc::RecvTimeoutError::Timeout) => {
            one_more()?;
            take.recv_timeout(patience)
        }
        soon => soon,
    };
    outcome.map_err(|why| match why {
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
    let (give, mut take) = oneshot::channel();
    hand_over(Box::new(move || drop(give.send(work()))), is_large)?;
    let outcome = match timeout(IMPATIENT_AFTER, &mut take).await {
        Err(_) => {
            one_more()?;
            timeout(patience, take).await
        }
        soon => soon,
    };
    match outcome {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(_)) => Err(NotDone::BreaksOff),
        Err(_) => Err(NotDone::TakesTooLong),
    }
}

fn hand_over(work: Work, is_large: bool) -> Result<(), NotDone> {
    if is_large {
        return begin(work);
    }
    let mut threads = threads();
    threads.work.push_back(work);
    // Those that are at work or on their way take one more each when they are done with what they have.
    let is_taken_soon = threads.work.len() <= threads.at_work + threads.called;
    if is_taken_soon { Ok(()) } else { wake(threads) }
}

/// For what lies there, if anything does.
fn one_more() -> Result<(), NotDone> {
    let threads = threads();
    if threads.work.is_empty() { Ok(()) } else { wake(threads) }
}

fn wake(mut threads: MutexGuard<'static, Threads>) -> Result<(), NotDone> {
    if threads.asleep > threads.called {
        threads.called += 1;
        drop(threads);
        CALL.notify_one();
        return Ok(());
    }
    threads.at_work += 1;
    drop(threads);
    begin(Box::new(serve)).inspect_err(|_| self::threads().at_work -= 1)
}

fn begin(work: Work) -> Result<(), NotDone> {
    let thread = std::thread::Builder::new().name("filter".into()).stack_size(STACK_BYTES);
    let begun = thread.spawn(move || {
        IS_ONE.set(true);
        work();
    });
    begun.map(drop).map_err(|_| NotDone::NoThread)
}

/// Until nothing lies there and enough others are asleep.
fn serve() {
    /// Also when the work breaks off, and the thread with it.
    struct AtWork;
    impl Drop for AtWork {
        fn drop(&mut self) {
            threads().at_work -= 1;
        }
    }
    let _at_work = AtWork;
    let mut threads = threads();
    loop {
        while let Some(work) = threads.work.pop_front() {
            drop(threads);
            work();
            threads = self::threads();
        }
        if threads.asleep >= KEPT {
            return drop(threads);
        }
        threads.asleep += 1;
        threads.at_work -= 1;
        while threads.called == 0 {
            threads = CALL.wait(threads).unwrap_or_else(PoisonError::into_inner);
        }
        threads.called -= 1;
        threads.asleep -= 1;
        threads.at_work += 1;
    }
}

fn threads() -> MutexGuard<'static, Threads> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
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
    async fn whoever_is_behind_slow_work_waits_no_longer_than_patience_asks() {
        let (done, wait) = mpsc::channel::<()>();
        let stuck = tokio::spawn(run_aside(false, PATIENCE, move || wait.recv().is_ok()));
        tokio::task::yield_now().await;
        let begun = std::time::Instant::now();
        assert_eq!(run_aside(false, PATIENCE, || 7).await, Ok(7));
        assert!(begun.elapsed() < PATIENCE / 10);
        drop(done);
        assert_eq!(stuck.await.unwrap(), Ok(false));
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
