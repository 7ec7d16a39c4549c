//! Punte's processes: which of them plays which roles; each is started and waited for.

use crate::{
    bus::Installation,
    process::{Running, Usage, forget_peak},
};
use anyhow::{Context, bail};
use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

/// How the roles are spread over processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// One process plays all of them.
    #[default]
    Together,
    /// A gateway, a worker, and a process that is scheduler and notifier.
    Apart,
    /// Two gateways, two workers, and one scheduler and notifier.
    Several,
}

/// What is measured: all processes of one installation.
pub struct Punte {
    processes: Vec<Running>,
    /// Where its gateways listen.
    pub ports: Arc<[u16]>,
}

/// How long a process may take until it listens.
const PATIENCE: Duration = Duration::from_secs(120);

impl Layout {
    /// The roles of each process; none are all.
    fn processes(self) -> &'static [&'static [&'static str]] {
        const REST: &[&str] = &["scheduler", "notifier"];
        match self {
            Layout::Together => &[&[]],
            Layout::Apart => &[&["gateway"], &["worker"], REST],
            Layout::Several => &[&["gateway"], &["gateway"], &["worker"], &["worker"], REST],
        }
    }
}

impl Punte {
    pub fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Running::pid).collect()
    }

    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of_all(&self.pids())
    }

    pub fn forget_peak(&self) {
        self.pids().into_iter().for_each(forget_peak);
    }
}

impl Installation {
    /// Starts Punte's processes and waits until each has begun with all its roles.
    pub async fn open(&self) -> anyhow::Result<Punte> {
        self.open_build(Path::new(env!("CARGO_BIN_EXE_punte"))).await
    }

    /// The same for another build.
    pub async fn open_build(&self, program: &Path) -> anyhow::Result<Punte> {
        let (mut processes, mut ports) = (Vec::new(), Vec::new());
        for (number, roles) in self.layout.processes().iter().enumerate() {
            // One after the other: the first makes the journal's tables.
            let (process, port) = self.open_process(program, number, roles).await?;
            processes.push(process);
            ports.extend(port);
        }
        Ok(Punte { processes, ports: ports.into() })
    }

    /// With the gateway's port, if it is one.
    async fn open_process(
        &self,
        program: &Path,
        number: usize,
        roles: &[&str],
    ) -> anyhow::Result<(Running, Option<u16>)> {
        let log = self.stack.folder.path().join(format!("punte-{number}.log"));
        let child = Command::new(program)
            .args(["serve", "--config"])
            .arg(self.stack.config())
            .args(roles.iter().flat_map(|role| ["--role", role]))
            .env("PUNTE__GATEWAY__ATTACHMENTS__MAX_BYTES", (32 << 20).to_string())
            .env("PUNTE__GATEWAY__ATTACHMENTS__MAX_UNUSED_BYTES_PER_OFFICE", (1_u64 << 32).to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?)
            .spawn()
            .context("Punte's process")?;
        let (mut process, begun) = (Running::new(child), Instant::now());
        loop {
            let text = std::fs::read_to_string(&log)?;
            // Its last word at the start: all its roles have begun.
            if text.contains("health and metrics are served") {
                return Ok((process, gateway_port_in(&text)));
            }
            if process.child().try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                bail!("Punte does not listen:\n{text}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn gateway_port_in(log: &str) -> Option<u16> {
    let (_, after) = log.split_once("the gateway listens address=")?;
    after.lines().next()?.trim().rsplit(':').next()?.parse().ok()
}
