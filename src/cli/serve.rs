//! `punte serve`: the roles run until the process is told to stop, and then until what is under way has ended.

use super::{
    ConfigFile, WantedRoles, exit, output,
    signals::{ReloadSignals, StopSignals},
};
use crate::{
    domain::SystemClock,
    process::{DRAIN, Installation, Process, Role, Stopped},
    telemetry::{LogFormat, begin_logging},
};
use clap::Args;
use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::sync::Arc;

#[derive(Args)]
#[command(after_help = "Examples:
  punte serve
  punte serve --role gateway
  punte serve --role worker --role scheduler --role notifier --log-format json

Without --role all roles run in one process. Apart they need PostgreSQL and RabbitMQ.
SIGTERM and SIGINT stop it: nothing new is taken, and what is under way has 30 seconds to end; a second one ends it at
once. SIGHUP has it look at certificates, keys and revocation lists now; it looks at them twice a minute anyway. Other
changes of the configuration need a restart.

Exit codes: 0 stopped in order, 1 could not start, 2 wrong usage, 3 wrong configuration, 4 stopped before everything under
way had ended.")]
pub struct Serve {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    roles: WantedRoles,
    /// What is logged to standard error: error, warn, info, debug, or `punte::delivery=debug` for a part
    #[arg(long, default_value = "info,tokio_postgres=warn", env = "PUNTE_LOG", value_name = "FILTER")]
    log: String,
    /// json: one object a line
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
}

impl Serve {
    pub fn run(self) -> u8 {
        if let Err(error) = begin_logging(self.log_format, &self.log) {
            output::aside(format_args!("punte: {error}"));
            return exit::USAGE;
        }
        if cfg!(not(any(debug_assertions, feature = "jemalloc"))) {
            tracing::warn!(
                "this build uses the system's allocator, which is slower under load: build it with --features jemalloc"
            );
        }
        // A core file would hold keys and personal data.
        if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
            tracing::warn!(%error, "the system does not let us forbid core files");
        }
        if let Some(warning) = self.roles.warning() {
            tracing::warn!("{warning}");
        }
        let roles = self.roles.listed();
        let installation = match Installation::load_for(&self.config.config, Timestamp::now(), &roles) {
            Ok(installation) => installation,
            Err(faults) => {
                output::aside(faults.to_string().trim_end());
                return exit::CONFIGURATION;
            }
        };
        super::block_on(serve(installation, roles)).unwrap_or_else(|code| code)
    }
}

async fn serve(installation: Installation, roles: Vec<Role>) -> u8 {
    let (mut stop, mut reload) = match (StopSignals::listen(), ReloadSignals::listen()) {
        (Ok(stop), Ok(reload)) => (stop, reload),
        (Err(error), _) | (_, Err(error)) => return failed(&error),
    };
    let starting = Process::start(installation, &roles, Arc::new(SystemClock));
    let process = tokio::select! {
        started = starting => match started {
            Ok(process) => process,
            Err(error) => return failed(&error),
        },
        () = stop.told_to_stop() => return exit::DONE,
    };
    loop {
        tokio::select! {
            () = stop.told_to_stop() => break,
            () = reload.told_to_reload() => process.reload(),
        }
    }
    tracing::info!("stopping; a second signal ends it at once");
    let stopped = tokio::select! {
        stopped = process.stop(DRAIN) => stopped,
        () = stop.told_to_stop() => Stopped::Aborted,
    };
    match stopped {
        Stopped::Drained => {
            tracing::info!("stopped");
            exit::DONE
        }
        Stopped::Aborted => {
            tracing::warn!("not everything under way has ended; it is taken up at the next start");
            exit::NOT_DRAINED
        }
    }
}

fn failed(error: &dyn std::fmt::Display) -> u8 {
    output::aside(format_args!("punte: {error}"));
    exit::FAILED
}
