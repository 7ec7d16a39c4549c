//! The way of one submission, one verb a file. Each step takes one type and returns the next; what `send` takes, only
//! `seal` can make, so nothing leaves unsigned. First try, retry and an operator's replay all come by here.

mod arrivals;
mod awaited;

mod deliver;
mod begin;
mod contents;
mod exchange;
mod ask;
mod report;
mod halt;
mod suspicion;
mod look;
mod sign;
mod steady;

mod line;
mod lines;
mod marks;

mod transform;
mod seal;
mod send;
mod read;
mod unpack;
mod believe;
mod earlier;
mod bond;
mod status;
mod settle;
mod reply;

pub use arrivals::{Arrival, Arrivals, Coming};
pub use ask::{Asked, after_asking, settled_at};
pub use awaited::{Awaited, Whole};
pub use begin::begins_first;
pub use bond::{Ours, digests};
pub use contents::Contents;
pub use deliver::{Delivered, Road, is_to_do, tell_unknown, unsendable};
pub use earlier::Earlier;
pub use exchange::may_leave;
pub use halt::{Halt, Halted};
pub use line::Line;
pub use lines::Lines;
pub use look::{Look, Unwell};
pub use marks::{Marks, PERIOD as MARK_PERIOD};
pub use read::{Answering, read};
pub use reply::Reply;
pub use seal::{Sealed, seal};
pub use send::send;
pub use settle::{Case, settle};
pub use sign::Sign;
pub use status::{StatusClass, Word, fault_of_status};
pub use steady::Steady;
pub use transform::{Transformed, transform};
pub use unpack::headers_that_count;
