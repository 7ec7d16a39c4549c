//! A pool of threads with 256 MiB stacks, on which answers are read and jq filters run: each job has a time limit.
//!
//! What is nested as deep as the limits allow still fits into such a stack. Threads are kept, because making one costs more
//! than most jobs. A job that exceeds its time limit is not waited for any longer, but cannot be stopped: it keeps its thread
//! until it ends by itself.

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
/// Whoever has waited so long no longer waits for threads that are at work, but has another one take what is queued. Most
/// work takes a tenth of it: a thread that is awake takes it sooner than another one wakes up.
const IMPATIENT_AFTER: Duration = Duration::from_millis(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDone {
    NoThread,
    TakesTooLong,
    Panicked,
}

/// How much of its stack a job may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobSize {
    Small,
    Large,
}

/// From here on what a job works on may take much of a stack.
pub const LARGE_BYTES: usize = 64 << 10;

impl JobSize {
    pub fn of(input_bytes: usize) -> Self {
        if input_bytes > LARGE_BYTES { Self::Large } else { Self::Small }
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// The jobs that wait, and the threads that take them.
struct Threads {
    work: VecDeque<Work>,
    at_work: usize,
    asleep: usize,
    /// Of those that are asleep: how many were told to wake up.
    called: usize,
}

static THREADS: Mutex<Threads> = Mutex::new(Threads { work: VecDeque::new(), at_work: 0, asleep: 0, called: 0 });
static WAKE: Condvar = Condvar::new();

thread_local! {
    static IS_POOL_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Runs it and waits for the outcome, so the caller must be allowed to block. On one of these threads already, it is run
/// there, within the time limit of the job that it is part of. A large job has a thread of its own, which is given up afterwards,
/// together with its memory.
pub fn run<T: Send + 'static>(
    size: JobSize,
    time_limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NotDone> {
    if IS_POOL_THREAD.get() {
        return Ok(work());
    }
    let (give, take) = mpsc::sync_channel(1);
    // Whoever waits no longer has no use for the outcome.
    enqueue(Box::new(move || drop(give.send(work()))), size)?;
    let soon = take.recv_timeout(IMPATIENT_AFTER);
    let outcome = match soon {
        Err(mpsc::RecvTimeoutError::Timeout) => {
            start_another_thread();
            take.recv_timeout(time_limit)
        }
        soon => soon,
    };
    outcome.map_err(|why| match why {
        mpsc::RecvTimeoutError::Timeout => NotDone::TakesTooLong,
        mpsc::RecvTimeoutError::Disconnected => NotDone::Panicked,
    })
}

/// The same for who must not block.
pub async fn run_aside<T: Send + 'static>(
    size: JobSize,
    time_limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NotDone> {
    let (give, mut take) = oneshot::channel();
    enqueue(Box::new(move || drop(give.send(work()))), size)?;
    let outcome = match timeout(IMPATIENT_AFTER, &mut take).await {
        Err(_) => {
            start_another_thread();
            timeout(time_limit, take).await
        }
        soon => soon,
    };
    match outcome {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(_)) => Err(NotDone::Panicked),
        Err(_) => Err(NotDone::TakesTooLong),
    }
}

fn enqueue(work: Work, size: JobSize) -> Result<(), NotDone> {
    if size == JobSize::Large {
        return spawn_thread(work);
    }
    let mut threads = threads();
    threads.work.push_back(work);
    // Those that are at work or on their way take one more each when they are done with what they have.
    let is_taken_soon = threads.work.len() <= threads.at_work + threads.called;
    if is_taken_soon {
        return Ok(());
    }
    // Where no more threads can be had, those that are at work take it in time.
    wake(threads).or_else(|why| {
        let threads = self::threads();
        if threads.at_work + threads.called > 0 { Ok(()) } else { Err(why) }
    })
}

/// For what waits in the queue, if anything does. It waits for those at work if no more threads can be had.
fn start_another_thread() {
    let threads = threads();
    if !threads.work.is_empty() {
        let _ = wake(threads);
    }
}

fn wake(mut threads: MutexGuard<'static, Threads>) -> Result<(), NotDone> {
    if threads.asleep > threads.called {
        threads.called += 1;
        drop(threads);
        WAKE.notify_one();
        return Ok(());
    }
    threads.at_work += 1;
    drop(threads);
    spawn_thread(Box::new(serve)).inspect_err(|_| self::threads().at_work -= 1)
}

fn spawn_thread(work: Work) -> Result<(), NotDone> {
    let thread = std::thread::Builder::new().name("reading".into()).stack_size(STACK_BYTES);
    let begun = thread.spawn(move || {
        IS_POOL_THREAD.set(true);
        work();
    });
    begun.map(drop).map_err(|_| NotDone::NoThread)
}

/// Until no job waits and enough others are asleep.
fn serve() {
    /// Also when the work panics, and the thread ends with it.
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
            threads = WAKE.wait(threads).unwrap_or_else(PoisonError::into_inner);
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

    const TIME_LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn a_job_that_panics_harms_nobody_else() {
        for _ in 0..3 {
            assert_eq!(run(JobSize::Small, TIME_LIMIT, || panic!("on purpose")), Err::<(), _>(NotDone::Panicked));
            assert_eq!(run(JobSize::Small, TIME_LIMIT, || 7), Ok(7));
        }
    }

    #[test]
    fn what_takes_too_long_is_not_waited_for() {
        let (done, wait) = mpsc::channel::<()>();
        let work = move || wait.recv().is_ok();
        assert_eq!(run(JobSize::Small, Duration::from_millis(20), work), Err(NotDone::TakesTooLong));
        drop(done);
    }

    #[tokio::test]
    async fn whoever_is_behind_slow_work_is_taken_by_another_thread() {
        let (done, wait) = mpsc::channel::<()>();
        let stuck = tokio::spawn(run_aside(JobSize::Small, TIME_LIMIT, move || wait.recv().is_ok()));
        tokio::task::yield_now().await;
        let begun = std::time::Instant::now();
        assert_eq!(run_aside(JobSize::Small, TIME_LIMIT, || 7).await, Ok(7));
        assert!(begun.elapsed() < TIME_LIMIT / 10);
        drop(done);
        assert_eq!(stuck.await.unwrap(), Ok(false));
    }

    #[tokio::test]
    async fn what_is_run_aside_may_run_more_in_the_same_place() {
        let (outer, inner) = run_aside(JobSize::Small, TIME_LIMIT, || {
            let id = || std::thread::current().id();
            (id(), run(JobSize::Small, TIME_LIMIT, id).unwrap())
        })
        .await
        .unwrap();
        assert_eq!(outer, inner);
        assert_ne!(outer, std::thread::current().id());
        let broken = run_aside(JobSize::Small, TIME_LIMIT, || panic!("on purpose")).await;
        assert_eq!(broken, Err::<(), _>(NotDone::Panicked));
    }

    #[test]
    fn large_work_has_a_thread_of_its_own() {
        let name = || std::thread::current().id();
        let first = run(JobSize::Large, TIME_LIMIT, name).unwrap();
        assert_ne!(run(JobSize::Large, TIME_LIMIT, name).unwrap(), first);
    }
}
