//! The way of one submission, from a message of its queue to its record in the journal. Each step takes one type and returns
//! the next; what `send` takes, only `seal` can make, so nothing leaves unsigned.
//!
//! [`attempt`](mod@attempt) shows the whole way.

mod deliver;
mod deliverer;
mod attempt;

mod job;
mod compose;
mod contents;
mod lease;
mod seal;
mod send;
mod incoming;
mod read;
mod settle;
mod record;
mod report;
mod recorder;
mod unsent;

mod lookup;
mod history;
mod earlier_replies;

mod evaluate;
mod answer_expectation;
mod authenticate;
mod unpack;
mod correlation;
mod status;

mod agency_connections;
mod agency_connection;
mod health_check;
mod halt;
mod credential_refusals;
mod health_signal;

mod mark_keeper;
mod clock_jump_detector;

mod fast_path;
mod accepted_cache;

use accepted_cache::AcceptedCache;
pub use accepted_cache::{PendingAccept, Taken};
pub use agency_connection::AgencyConnection;
pub use agency_connections::AgencyConnections;
use answer_expectation::AnswerExpectation;
pub use clock_jump_detector::ClockJumpDetector;
pub use contents::Contents;
use correlation::SentRequest;
pub use deliver::{Delivered, deliver, is_to_do, log_unknown_submission};
pub use deliverer::Deliverer;
use earlier_replies::EarlierReplies;
use evaluate::evaluate;
pub use fast_path::{FastPath, FastPathMode, Workers, leases_first};
use halt::Halt;
pub use health_signal::HealthSignal;
pub use incoming::Incoming;
pub use lease::may_leave;
pub use lookup::{Asked, after_asking, settled_at};
pub use mark_keeper::{MarkKeeper, PERIOD as MARK_PERIOD};
pub use recorder::Recorder;
pub use settle::{Case, settle};
pub use unpack::headers_that_count;
pub use unsent::unsendable;
