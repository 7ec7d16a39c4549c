//! The way of one submission, one verb a file. Each step takes one type and returns the next; what `send` takes, only
//! `seal` can make, so nothing leaves unsigned. First try, retry and an operator's replay all come by here.

mod accepted_cache;

mod deliver;
mod begin;
mod contents;
mod exchange;
mod ask;
mod report;
mod halt;
mod suspicion;
mod look;
mod health_signal;
mod clock_jump_detector;

mod agency_connection;
mod agency_connections;
mod marks;

mod transform;
mod seal;
mod send;
mod incoming;
mod read;
mod unpack;
mod authenticate;
mod earlier;
mod bond;
mod status;
mod settle;

pub use accepted_cache::{AcceptedCache, PendingAccept, Taken};
pub use agency_connection::AgencyConnection;
pub use agency_connections::AgencyConnections;
pub use ask::{Asked, after_asking, settled_at};
pub use begin::begins_first;
pub use bond::{Ours, digests};
pub use clock_jump_detector::ClockJumpDetector;
pub use contents::Contents;
pub use deliver::{Delivered, Deliverer, is_to_do, tell_unknown, unsendable};
pub use earlier::Earlier;
pub use exchange::may_leave;
pub use halt::{Halt, Halted};
pub use health_signal::HealthSignal;
pub use incoming::{Incoming, retry_after};
pub use look::{Look, Unwell};
pub use marks::{Marks, PERIOD as MARK_PERIOD};
pub use read::{AnswerExpectation, read};
pub use seal::{Sealed, seal};
pub use send::send;
pub use settle::{Case, settle};
pub use status::{StatusClass, Word, fault_of_status};
pub use transform::{Transformed, transform};
pub use unpack::headers_that_count;
