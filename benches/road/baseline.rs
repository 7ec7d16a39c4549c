//! The floor's process, as the measurement sees it: started over an installation's keys and agency, asked like Punte.

use crate::{
    bus::{Installation, request},
    load_client::{Expected, Question},
    process::Running,
};
use anyhow::Context;
use punte::kit::test_stack::OFFICE;
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

pub struct Baseline {
    pub process: Running,
    port: u16,
}

impl Baseline {
    pub fn begin(installation: &Installation, amqp: &str) -> anyhow::Result<Self> {
        let child = Command::new(std::env::current_exe()?)
            .arg("floor")
            .args(["--agency", installation.first_agency(), "--amqp", amqp])
            .args(["--queue", &format!("floor-{}", uuid::Uuid::new_v4().simple())])
            .args(["--agency-port", &installation.agency_port.to_string()])
            .arg("--secrets")
            .arg(installation.stack.secrets())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the floor's process")?;
        let mut process = Running::new(child);
        let output = process.child().stdout.take().context("the floor's output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let port = line.trim().parse().context("the floor does not listen")?;
        Ok(Self { process, port })
    }

    pub fn question(&self, installation: &Installation) -> anyhow::Result<Question> {
        let tls = installation.office(OFFICE)?;
        let bodies = [request("person-lookup", None)].into();
        Ok(Question { ports: [self.port].into(), tls, bodies, expected: Expected::Answer("LookUpPersonResponse") })
    }
}
