//! Asynchronous work of a subcommand comes in; it is done on a runtime that lasts as long as the work.

use super::{exit, output};

/// Runs a subcommand's work on a runtime of its own.
pub fn block_on<T>(work: impl Future<Output = T>) -> Result<T, u8> {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let done = runtime.block_on(work);
            // What still blocks a thread must not keep a program that has been told to end.
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            Ok(done)
        }
        Err(error) => {
            output::aside(format_args!("punte: the runtime cannot be started: {error}"));
            Err(exit::FAILED)
        }
    }
}
