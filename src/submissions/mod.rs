//! All that anybody may do with a submission, one verb a file. Gateway, workers, scheduler and commands call these and nothing
//! below them; `record.rs` has the one function that records a change and tells whoever has to know of it.

mod record;
mod local_waiters;

mod accept;
mod publish;
mod begin;
mod end;
mod give_back;
mod hold_back;
mod keep_waiting;
mod park;
mod requeue;
mod wake;
mod expire;
mod take_over;

mod cancel;
mod replay;
mod resolve;
mod discard;
mod restore;
mod erase;

mod find;
mod list;
mod count;

pub use accept::PublishBy;
pub use end::Fate;
pub use local_waiters::{Awaiting, LocalWaiters, Whole};
pub use record::{Listeners, Submissions};
pub use resolve::answer_of;

#[cfg(test)]
pub(crate) use record::tests;
