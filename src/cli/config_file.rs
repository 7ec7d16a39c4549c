//! The argument with which every subcommand that needs one is given the configuration.

use std::path::PathBuf;

/// The configuration file, for the subcommands that need one.
#[derive(clap::Args, Clone)]
pub struct ConfigFile {
    /// The configuration file; offices.toml is expected beside it
    #[arg(long, value_name = "FILE", default_value = "config/punte.toml", env = "PUNTE_CONFIG")]
    pub config: PathBuf,
}
