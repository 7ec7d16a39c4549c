//! Operating-system processes: how one is ended whatever happens, and what it has used of processor and memory.

use anyhow::Context;
use std::{iter::Sum, process::Child};

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
    /// All threads together, those that have ended too.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let cpu_ms = cpu_ms(pid, ITS_OWN)?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
        };
        Ok(Self { cpu_ms, resident_mib: mib("VmRSS:"), peak_mib: mib("VmHWM:") })
    }

    /// Several processes that are one subject.
    pub fn of_all(pids: &[u32]) -> anyhow::Result<Self> {
        pids.iter().map(|pid| Self::of(*pid)).sum()
    }

    /// Processor time of a server that serves each connection in a process of its own: its children are counted too, and
    /// those that have ended. Their memory is not told, because most of it is shared.
    pub fn of_server(pid: u32) -> anyhow::Result<Self> {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).context("its children")?;
        // A child that ends between the two looks is counted by its parent.
        let of_children = children.split_whitespace().filter_map(|child| cpu_ms(child.parse().ok()?, ITS_OWN).ok());
        let of_children: f64 = of_children.sum();
        Ok(Self { cpu_ms: of_children + cpu_ms(pid, WITH_ENDED_CHILDREN)?, ..Self::default() })
    }

    pub fn of_self() -> anyhow::Result<Self> {
        Self::of(std::process::id())
    }
}

impl Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, it| Self {
            cpu_ms: sum.cpu_ms + it.cpu_ms,
            resident_mib: sum.resident_mib + it.resident_mib,
            peak_mib: sum.peak_mib + it.peak_mib,
        })
    }
}

/// So many of `stat`'s times from field 14 on (proc(5)): user and system time, and those of children that were waited for.
const ITS_OWN: usize = 2;
const WITH_ENDED_CHILDREN: usize = 4;

fn cpu_ms(pid: u32, times: usize) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("the process has ended")?;
    let (_, fields) = stat.rsplit_once(')').context("stat")?;
    let ticks = fields.split_whitespace().skip(11).take(times).filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() * TICK_MS)
}

/// The peak is counted anew from here (proc(5), `clear_refs`).
pub fn forget_peak(pid: u32) {
    let _ = std::fs::write(format!("/proc/{pid}/clear_refs"), "5");
}
