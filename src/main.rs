//! The door: the command line comes in, an exit code goes out.

use std::process::ExitCode;

fn main() -> ExitCode {
    punte::cli::run()
}
