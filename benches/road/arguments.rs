//! The command line comes in; whether this process is to measure, and what, or to be the floor goes out.

use crate::floor::FloorArguments;
use clap::{Parser, ValueEnum};

pub enum Called {
    ToMeasure(Arguments),
    AsFloor(FloorArguments),
}

#[derive(Parser)]
#[command(name = "cargo bench --bench road --")]
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
    /// Cargo says so of every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// RabbitMQ, SQLite, RSA-2048, an agency that answers at once; and the floor
    Road,
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
            _ => Self::ToMeasure(Arguments::parse()),
        }
    }
}
