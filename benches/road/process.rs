//! Operating-system processes: how one is ended whatever happens, and what it has used of processor and memory.

use anyhow::Context;
use std::process::Child;

/// A process of ours, killed when it is dropped.
pub struct Running(Child);

/// What a process has used, from `/proc`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub cpu_ms: f64,
    pub resident_mib: f64,
    pub peak_mib: f64,
}

/// Linux has given user space 100 ticks a second on every machine for decades (`getconf CLK_TCK`).
const TICK_MS: f64 = 10.0;

impl Running {
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Usage {
    /// All threads together, those that have ended too (proc(5): fields 14 and 15 of `stat`).
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the process has ended")?;
        let (_, fields) = stat.rsplit_once(')').context("stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
        };
        Ok(Self { cpu_ms: ticks.sum::<f64>() * TICK_MS, resident_mib: mib("VmRSS:"), peak_mib: mib("VmHWM:") })
    }

    pub fn of_self() -> anyhow::Result<Self> {
        Self::of(std::process::id())
    }
}

/// The peak is counted anew from here (proc(5), `clear_refs`).
pub fn forget_peak(pid: u32) {
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}
