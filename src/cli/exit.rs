//! Exit codes, the same for every subcommand.

/// It did what it was asked for.
pub const DONE: u8 = 0;
/// It could not, or the answer is no: the text on standard error says why.
pub const FAILED: u8 = 1;
/// The command line itself is wrong.
pub const USAGE: u8 = 2;
/// The configuration, an adapter, a schema or a certificate is wrong: every fault is listed.
pub const CONFIGURATION: u8 = 3;
/// Stopped, but not everything under way had ended within the time for it.
pub const NOT_DRAINED: u8 = 4;
