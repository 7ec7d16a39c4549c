//! The command line: one file per subcommand.

pub mod trust_verify;
