//! The command line: words come in, one subcommand runs, an exit code goes out. One file a subcommand.

pub mod exit;
mod config_file;
mod runtime;
mod wanted_roles;

mod check;
mod check_online;
mod demo;
mod journal;
mod named;
mod operator;
mod output;
mod parked;
mod pki;
mod print;
mod queues;
mod serve;
mod signals;
mod simulate;
mod submissions;
mod uncertain;
pub mod trust;
pub mod trust_verify;

use config_file::ConfigFile;
use wanted_roles::WantedRoles;

use clap::{Parser, Subcommand};
use runtime::block_on;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "punte", version, about, long_about = LONG_ABOUT, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "Punte carries a citizen's request from the counter of a town hall to the national registry \
    that can answer it, and carries the answer back.";

const AFTER_HELP: &str = "Examples:
  punte demo                                  see submissions travel, with nothing to set up
  punte check --config config/punte.toml      every fault of the configuration at once
  punte serve --config config/punte.toml      run all roles in one process
  punte parked list                           what waits for an operator

Exit codes: 0 done, 1 failed or no, 2 wrong usage, 3 wrong configuration, 4 stopped before everything had ended.";

#[derive(Subcommand)]
enum Command {
    /// Run the bus: all roles, or those named
    Serve(serve::Serve),
    /// Check configuration, adapters, schemas and certificates
    Check(check::Check),
    /// See it work: throw-away keys, two simulated agencies, a handful of submissions
    Demo(demo::Demo),
    /// Make keys and certificates for trying out
    Pki(pki::Pki),
    /// Look at submissions
    Submissions(submissions::Submissions),
    /// Decide about what the machine has given up
    Parked(parked::Parked),
    /// Say what has become of what the agency may have done
    Uncertain(uncertain::Uncertain),
    /// See what waits in the broker
    Queues(queues::Queues),
    /// Back up the journal, put a backup in place, go on with an earlier state
    Journal(journal::JournalCommand),
    /// Play an agency over mutual TLS
    Simulate(simulate::Simulate),
    /// Check signatures
    Trust(trust::Trust),
}

/// Reads the command line and does what it says.
pub fn run() -> ExitCode {
    crate::telemetry::tell_panics_discreetly();
    crate::failpoints::arm();
    let arguments = Arguments::parse();
    let code = match arguments.command {
        Command::Serve(serve) => serve.run(),
        Command::Check(check) => check.run(),
        Command::Demo(demo) => demo.run(),
        Command::Pki(pki) => pki.run(),
        Command::Submissions(submissions) => submissions.run(),
        Command::Parked(parked) => parked.run(),
        Command::Uncertain(uncertain) => uncertain.run(),
        Command::Queues(queues) => queues.run(),
        Command::Journal(journal) => journal.run(),
        Command::Simulate(simulate) => block_on(simulate.run()).unwrap_or_else(|code| code),
        Command::Trust(trust) => trust.run(),
    };
    match code {
        exit::DONE if output::has_failed() => ExitCode::from(exit::FAILED),
        code => ExitCode::from(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed_and_every_subcommand_has_examples() {
        let mut root = Arguments::command();
        root.build();
        root.clone().debug_assert();
        for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{} has no examples", command.get_name());
        }
    }
}
