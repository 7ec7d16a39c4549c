//! Log lines: a format and a filter come in, and from then on every `tracing` event goes to standard error.

use std::io;
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, thiserror::Error)]
#[error("`{filter}` is no log filter: {problem}")]
pub struct InvalidLogFilter {
    filter: String,
    problem: String,
}

/// Begins to log to standard error, so that standard output stays for results. Later calls change nothing.
pub fn begin_logging(format: LogFormat, filter: &str) -> Result<(), InvalidLogFilter> {
    let filter = EnvFilter::try_new(with_quiet_libraries(filter))
        .map_err(|error| InvalidLogFilter { filter: filter.to_owned(), problem: error.to_string() })?;
    // Where nobody reads standard error any more, the subscriber's own complaint about it would panic.
    let lines = fmt::layer().with_writer(io::stderr).with_target(true).log_internal_errors(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    };
    let lines = lines.with_filter(filter.and(filter_fn(is_fit_to_be_logged)));
    // A second call finds a subscriber in place: whoever came first (a test, an embedding program) keeps it.
    let _ = tracing_subscriber::registry().with(lines).try_init();
    Ok(())
}

/// The libraries below connections warn of each refusal, each odd message and each broken connection, RabbitMQ's in several
/// lines each time. Punte handles them, and tells them once and in words of its own; who names one of these in the filter
/// hears them all the same. `hyper` stands for `hyper_util` as well.
const QUIET: [&str; 9] =
    ["lapin", "amq_protocol", "async_rs", "tcp_stream", "rustls", "hyper", "reqwest", "h2", "tokio_postgres"];

fn with_quiet_libraries(filter: &str) -> String {
    let unnamed = QUIET.iter().filter(|library| !filter.contains(*library));
    unnamed.fold(filter.to_owned(), |filter, library| match filter.trim() {
        "" => format!("{library}=off"),
        _ => format!("{filter},{library}=off"),
    })
}

/// Below `info`, libraries tell what they are given: queries with their parameters, frames with passwords, whole headers.
/// No filter that an operator writes may let that through.
fn is_fit_to_be_logged(metadata: &Metadata<'_>) -> bool {
    let is_own = metadata.target().split("::").next() == Some(env!("CARGO_PKG_NAME"));
    is_own || *metadata.level() <= Level::INFO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_whose_failures_are_handled_are_heard_only_if_they_are_named() {
        let off =
            "amq_protocol=off,async_rs=off,tcp_stream=off,rustls=off,hyper=off,reqwest=off,h2=off,tokio_postgres=off";
        assert_eq!(with_quiet_libraries("info"), format!("info,lapin=off,{off}"));
        assert_eq!(with_quiet_libraries("warn,lapin=info"), format!("warn,lapin=info,{off}"));
        assert_eq!(with_quiet_libraries(" "), format!("lapin=off,{off}"));
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_refused() {
        assert!(begin_logging(LogFormat::Text, "punte=verry").is_err());
    }
}
