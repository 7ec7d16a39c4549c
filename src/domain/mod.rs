//! Plain types of one submission's life: no I/O, no clock, nothing that can wait.

mod actor;
mod attempt;
mod clock;
pub mod distinguished_name;
mod fault;
mod hex;
mod id_part;
mod ids;
mod invisible;
mod mark;
mod office;
mod schedule;
mod schema_fault;
mod service;
mod state;
mod submission;
mod trace;
mod transitions;

pub use actor::{Actor, NoActor};
pub use attempt::{Attempt, AttemptOutcome, WireRecord};
pub use clock::{Clock, ManualClock, SystemClock, later, whole_microseconds};
pub use distinguished_name::{DistinguishedName, InvalidDistinguishedName, SubjectMatch};
pub use fault::{Code, Fault, Origin, Stage, Verdict, grouped, told};
pub use hex::{byte_of_hex, lower_hex};
pub use id_part::{IdPart, InvalidIdPart};
pub use ids::{AgencyName, AttachmentId, InvalidName, MessageId, OfficeName, ServiceName, SubmissionId};
pub use invisible::is_invisible;
pub use mark::{Behind, JournalMark, Mark};
pub use office::Office;
pub use schedule::{InvalidSchedule, Schedule};
pub use schema_fault::SchemaFault;
pub use service::{Effect, Priority};
pub use state::{Answer, Progress, Refusal, State, StateName};
pub use submission::{AttachmentRef, CallContext, Subject, Submission};
pub use trace::TraceParent;
pub use transitions::{Change, Event, EventName, Facts, Finding, Forbidden, apply};
