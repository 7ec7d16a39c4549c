//! How fast the road is, beside the least that could do its errand: everything is started here, and figures come out.
//!
//! `cargo bench --features jemalloc --bench road` starts a RabbitMQ of its own, plays an agency, runs Punte as a process of
//! its own and the floor ([`floor`]) as another, lets clients wait for answers from both in turn, and prints what came to pass.
//! `cargo bench --features jemalloc --bench road -- --help` tells what else there is.

mod agency;
mod arguments;
mod bus;
mod roles;
mod interleaved;
mod load_client;
mod environment;
mod exchange;
mod figures;
mod floor;
mod process;
mod journal_rows;
mod database;
mod raw_queue;
mod report;
mod scenarios;
mod services;
mod upload;
mod baseline;

use arguments::{Arguments, Called};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// As Punte's own: the floor has every advantage that Punte has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let ended = match Called::from_command_line() {
        Called::AsFloor(arguments) => floor::main(&arguments),
        Called::ToMeasure(arguments) => begin(arguments),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the measurement has failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn begin(arguments: Arguments) -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(measure(arguments))
}

/// All that was started is stopped by its `Drop`, also when the run is broken off.
async fn measure(arguments: Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = scenarios::run(arguments) => ended,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("broken off"),
        _ = terminate.recv() => anyhow::bail!("broken off"),
    }
}
