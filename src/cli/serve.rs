//! `punte serve`: the roles run until the process is told to stop, and then until what is under way has ended.

use super::{ConfigFile, exit};
use crate::{
    domain::SystemClock,
    roles::{DRAIN, Installation, Process, Role, Stopped},
    telemetry::{LogFormat, begin_logging},
};
use clap::Args;
use jiff::Timestamp;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Args)]
#[command(after_help = "Examples:
  punte serve
  punte serve --role gateway
  punte serve --role worker --role scheduler --role courier --log-format json

Without --role all roles run in one process. Apart they need PostgreSQL and RabbitMQ.
SIGTERM and SIGINT stop it: nothing new is taken, and what is under way has 30 seconds to end.")]
pub struct Serve {
    #[command(flatten)]
    config: ConfigFile,
    /// What this process does; may be given more than once
    #[arg(long = "role", value_enum)]
    roles: Vec<Role>,
    #[arg(long, default_value = "info", env = "PUNTE_LOG", value_name = "FILTER")]
    log: String,
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

impl Serve {
    pub fn run(self) -> u8 {
        if let Err(error) = begin_logging(self.log_format, &self.log) {
            eprintln!("punte: {error}");
            return exit::USAGE;
        }
        let installation = match Installation::load(&self.config.config, Timestamp::now()) {
            Ok(installation) => installation,
            Err(faults) => {
                eprint!("{faults}");
                return exit::CONFIGURATION;
            }
        };
        let roles = if self.roles.is_empty() { Role::ALL.to_vec() } else { self.roles };
        super::block_on(serve(installation, roles)).unwrap_or_else(|code| code)
    }
}

async fn serve(installation: Installation, roles: Vec<Role>) -> u8 {
    let process = match Process::start(installation, &roles, Arc::new(SystemClock)).await {
        Ok(process) => process,
        Err(error) => {
            eprintln!("punte: {error}");
            return exit::FAILED;
        }
    };
    told_to_stop().await;
    tracing::info!("stopping");
    match process.stop(DRAIN).await {
        Stopped::Drained => exit::DONE,
        Stopped::Aborted => {
            tracing::warn!("not everything under way has ended; it is taken up at the next start");
            exit::NOT_DRAINED
        }
    }
}

async fn told_to_stop() {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    match signals {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}
