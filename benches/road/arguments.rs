//! The command line comes in; whether this process is to measure, and what, or to be the floor goes out.

use crate::floor::FloorArguments;
use clap::{Parser, ValueEnum};
use std::path::PathBuf;

pub enum Called {
    ToMeasure(Arguments),
    AsFloor(FloorArguments),
}

#[derive(Parser, Clone)]
#[command(name = "cargo bench --features jemalloc --bench road --")]
pub struct Arguments {
    /// What is measured
    #[arg(value_enum, default_values_t = [Scenario::Road])]
    pub scenarios: Vec<Scenario>,
    /// How many clients wait at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    pub clients: Vec<usize>,
    /// How often each subject has its turn
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// How long a turn is
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// One JSON line a measurement
    #[arg(long)]
    pub json: bool,
    /// dead-agencies: how many there are; one in twenty is dead
    #[arg(long, default_value_t = 100)]
    pub agencies: usize,
    /// full-journal and full-journal-postgres: how many submissions are there already
    #[arg(long, value_delimiter = ',', default_values_t = [100_000, 1_000_000])]
    pub full_journal_rows: Vec<i64>,
    /// full-journal-postgres: the submissions that are there already have been erased: no content, no bytes of attempts
    #[arg(long)]
    pub slim: bool,
    /// backlog: how many submissions wait
    #[arg(long, default_value_t = 100_000)]
    pub backlog: i64,
    /// attachments: how many are uploaded and sent
    #[arg(long, default_value_t = 32)]
    pub attachments: usize,
    /// attachments: how large each is
    #[arg(long, default_value_t = 25)]
    pub attachment_mib: usize,
    /// Scenarios beside the floor: another build of Punte, which has its turn too
    #[arg(long)]
    pub rival: Option<PathBuf>,
    /// Everything once, with tiny numbers that say nothing: whether the measurement still works. Uses the RabbitMQ of
    /// PUNTE_TEST_AMQP_URL and the PostgreSQL of PUNTE_TEST_POSTGRES_URL where they are given
    #[arg(long)]
    pub smoke: bool,
    /// Cargo says so of every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// RabbitMQ, SQLite, RSA-2048, an agency that answers at once; and the floor
    Road,
    /// The same with an agency that takes 200 ms
    SlowAgency,
    /// The same with P-256 in the place of RSA
    P256,
    /// The same with PostgreSQL in the place of SQLite
    Postgres,
    /// PostgreSQL, and three processes: gateway, worker, scheduler with notifier
    Apart,
    /// The same with two gateways and two workers
    Several,
    /// The same with the embedded broker in the place of RabbitMQ
    Embedded,
    /// Many agencies of which some are dead, beside the same without dead ones
    DeadAgencies,
    /// One office that asks for far more than it may, beside the same without it
    FloodingOffice,
    /// A journal that is full already, beside an empty one
    FullJournal,
    /// The same in PostgreSQL
    FullJournalPostgres,
    /// Many submissions that wait when Punte starts
    Backlog,
    /// Large attachments, and how much memory they take
    Attachments,
    /// All of these
    All,
}

impl Arguments {
    pub fn scenarios(&self) -> Vec<Scenario> {
        match self.smoke || self.scenarios.contains(&Scenario::All) {
            true => Scenario::value_variants().iter().copied().filter(|it| *it != Scenario::All).collect(),
            false => self.scenarios.clone(),
        }
    }

    fn tiny(self) -> Self {
        Self {
            clients: vec![1, 2],
            rounds: 1,
            seconds: 0.2,
            agencies: 4,
            full_journal_rows: vec![50],
            backlog: 20,
            attachments: 2,
            attachment_mib: 1,
            ..self
        }
    }
}

#[derive(Parser)]
struct Floor {
    #[command(flatten)]
    arguments: FloorArguments,
}

impl Called {
    pub fn from_command_line() -> Self {
        let mut words = std::env::args();
        let program = words.next();
        match words.next().as_deref() {
            Some("floor") => Self::AsFloor(Floor::parse_from(program.into_iter().chain(words)).arguments),
            _ => {
                let arguments = Arguments::parse();
                Self::ToMeasure(if arguments.smoke { arguments.tiny() } else { arguments })
            }
        }
    }
}
