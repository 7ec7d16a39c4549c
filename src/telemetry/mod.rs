//! What operators see of a running process: events and numbers come in, log lines and Prometheus text go out.

mod logs;
mod metrics;
mod panics;

pub use logs::{LogFormat, begin_logging};
pub use metrics::{AttemptEnd, BreakerState, Metrics, WebhookEnd};
pub use panics::tell_panics_discreetly;
