//! Where figures go: a table for people, or one JSON line a measurement.

use crate::figures::{Figures, HEAD, rounded};
use serde_json::{Value, json};

#[derive(Debug, Clone, Copy)]
pub struct Report {
    pub is_json: bool,
}

impl Report {
    pub fn title(self, title: &str) {
        if !self.is_json {
            println!("\n{title}\n{HEAD}");
        }
    }

    pub fn figures(self, figures: &Figures) {
        match self.is_json {
            true => println!("{}", figures.json()),
            false => println!("{}", figures.line()),
        }
    }

    /// Something said about the figures: `text` for people, `value` for machines.
    pub fn note(self, text: &str, value: Value) {
        match self.is_json {
            true => println!("{value}"),
            false => println!("{text}"),
        }
    }

    /// PostgreSQL's processor time, which the table has no column for; in the JSON it stands among the figures.
    pub fn database_cpu(self, figures: &Figures) {
        let Figures { clients, subject, median, .. } = figures;
        if !self.is_json {
            println!("{clients:>7}  {subject}, PostgreSQL a submission: {:.3} CPU-ms", median.database_cpu_ms);
        }
    }

    /// How one subject does beside another with as many clients: the medians of the rounds' ratios.
    pub fn ratio(self, one: &Figures, other: &Figures) {
        let of = |figure| one.ratio(other, figure);
        let (per_second, cpu) = (of(|it| it.per_second), of(|it| it.cpu_ms));
        let (p50, p99) = (of(|it| it.p50_ms), of(|it| it.p99_ms));
        let text = format!(
            "{:>7}  {} ÷ {}: requests/s {per_second:.3}, p50 {p50:.2}, p99 {p99:.2}, CPU-ms {cpu:.2}",
            one.clients, one.subject, other.subject
        );
        let value = json!({
            "scenario": one.scenario,
            "ratio": format!("{}/{}", one.subject, other.subject),
            "clients": one.clients,
            "requests_per_second": rounded(per_second, 3),
            "p50": rounded(p50, 3),
            "p99": rounded(p99, 3),
            "cpu_ms_per_request": rounded(cpu, 3),
        });
        self.note(&text, value);
    }
}
