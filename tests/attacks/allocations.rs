//! Work comes in; how long it took and the most memory that it held at once go out. Each thread counts for itself.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    time::{Duration, Instant},
};

/// Counts what the thread holds. What another thread frees is not taken off here, so figures only err upwards.
pub struct Counting;

thread_local! {
    static HELD_BYTES: Cell<isize> = const { Cell::new(0) };
    static MOST_BYTES: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends allocates when its own counters are gone.
    let _ = HELD_BYTES.try_with(|held| {
        let now = held.get() + bytes;
        held.set(now);
        let _ = MOST_BYTES.try_with(|most| most.set(most.get().max(now)));
    });
}

fn size(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

// SAFETY: every call goes on to the system's allocator unchanged; counting touches no memory of the callers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(size(layout.size()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-size(layout.size()));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(size(layout.size()));
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Old and new may both be there while it is copied.
        count(size(new_size));
        let moved = unsafe { System.realloc(pointer, layout, new_size) };
        count(-size(layout.size()));
        moved
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Of the thread's own work, not of the time in which others had the processor.
    pub time: Duration,
    pub bytes: usize,
}

impl Cost {
    pub fn most(self, other: Self) -> Self {
        Self { time: self.time.max(other.time), bytes: self.bytes.max(other.bytes) }
    }
}

/// The time is the smaller one of what passed and what this thread worked: neighbours on the machine cost nothing.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let before = HELD_BYTES.with(Cell::get);
    MOST_BYTES.with(|most| most.set(before));
    let (begun, worked) = (Instant::now(), worked());
    let done = work();
    let time = begun.elapsed().min(self::worked().saturating_sub(worked));
    let bytes = usize::try_from(MOST_BYTES.with(Cell::get) - before).unwrap_or(0);
    (done, Cost { time, bytes })
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanos: i64,
}

unsafe extern "C" {
    fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
}

/// The processor's time of this thread.
fn worked() -> Duration {
    const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
    let mut time = Timespec { seconds: 0, nanos: 0 };
    // SAFETY: the pointer is to a live value of the form that the C library writes on 64-bit Linux.
    match unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &raw mut time) } {
        0 => Duration::new(time.seconds.unsigned_abs(), u32::try_from(time.nanos).unwrap_or(0)),
        _ => Duration::ZERO,
    }
}

#[test]
fn what_is_held_at_once_is_counted_and_what_was_freed_is_not() {
    let (_, cost) = measured(|| {
        drop(vec![1_u8; 1 << 20]);
        vec![1_u8; 2 << 20].len()
    });
    assert!((2 << 20..3 << 20).contains(&cost.bytes), "{cost:?}");
    let (_, cost) = measured(|| (0..2_000_000_u64).fold(0, |sum, n| sum ^ std::hint::black_box(n)));
    assert!(cost.time > Duration::from_micros(100), "{cost:?}");
}
