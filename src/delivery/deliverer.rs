//! What a process delivers with: the stores, connections and limits that all attempts share.

use super::{AgencyConnections, ClockJumpDetector, Contents, FastPath, MarkKeeper, Recorder};
use crate::{catalogue::Catalogue, domain::Clock, telemetry::Metrics};
use std::sync::Arc;

/// One in each process with the role of the worker, made at its start. The consumers of all agencies hold it, and it is dropped
/// when the last of them has ended.
pub struct Deliverer {
    /// Writes what becomes of submissions. It is the way to the journal, which the process owns.
    pub recorder: Recorder,
    /// What makes the way quicker if the submission was accepted in this process. The gateway of the process holds it as well.
    pub fast_path: Arc<FastPath>,
    /// The services' schemas, against which answers are held. Loaded at the start, and never changed.
    pub catalogue: Arc<Catalogue>,
    /// One to each agency. The process holds them as well, and has them look at their key files.
    pub connections: Arc<AgencyConnections>,
    /// Reads attachments. Each request holds a permit for the memory that its attachments take, and gives it back when it has
    /// been sent.
    pub contents: Contents,
    pub clock: Arc<dyn Clock>,
    /// Notices that the clock was set forward, so that a time which was recorded before proves nothing.
    pub clock_jumps: ClockJumpDetector,
    /// Moves the journal's mark on before anything leaves. The process's restore guard holds it as well, and has it move the
    /// mark on while an attempt is under way.
    pub mark_keeper: Arc<MarkKeeper>,
    pub metrics: Metrics,
    /// How many bytes of each message sent and of each received the journal keeps.
    pub wire_max_bytes: usize,
}
