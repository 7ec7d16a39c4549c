//! One process of the program: it is started, armed, killed, frozen and drained; how it ended and what it holds is seen
//! from outside.

use super::PATIENCE;
use std::{
    fs::File,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tokio::time::sleep;

pub struct Running {
    pub roles: Vec<&'static str>,
    pub log: PathBuf,
    config: PathBuf,
    /// Where offices reach its gateway, if it has one.
    pub gateway_port: Option<u16>,
    /// Where its health is asked for.
    pub operations_port: u16,
    child: Option<Child>,
}

/// What a process holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Footprint {
    pub resident_kib: u64,
    pub handles: u64,
}

impl Running {
    /// An empty list of roles is all roles.
    pub fn new(roles: &[&'static str], config: PathBuf, log: PathBuf) -> Self {
        let is_gateway = roles.is_empty() || roles.contains(&"gateway");
        let (gateway_port, operations_port) = (is_gateway.then(free_port), free_port());
        Self { roles: roles.to_vec(), log, config, gateway_port, operations_port, child: None }
    }

    /// How it is called in the figures.
    pub fn role(&self) -> String {
        if self.roles.is_empty() { "all roles".into() } else { self.roles.join("+") }
    }

    /// `failpoints` is what the environment's FAILPOINTS says.
    pub fn start(&mut self, failpoints: &str) {
        assert!(self.child.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_punte"));
        command.arg("serve").arg("--config").arg(&self.config);
        self.roles.iter().for_each(|role| _ = command.args(["--role", role]));
        if let Some(port) = self.gateway_port {
            command.env("PUNTE__GATEWAY__LISTEN", format!("127.0.0.1:{port}"));
        }
        command.env("PUNTE__OPERATIONS__LISTEN", format!("127.0.0.1:{}", self.operations_port));
        command.env("FAILPOINTS", failpoints).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// As by `kill -9`, or the loss of power. `false` if it was dead already.
    pub fn kill(&mut self) -> bool {
        let Some(mut child) = self.child.take() else { return false };
        let was_alive = child.try_wait().unwrap().is_none();
        let _ = child.kill();
        child.wait().unwrap();
        was_alive
    }

    /// `STOP` freezes it, `CONT` lets it go on as if nothing had happened, `TERM` asks it to end.
    pub fn signal(&self, signal: &str) {
        let pid = self.pid().expect("it does not run").to_string();
        assert!(Command::new("kill").arg(format!("-{signal}")).arg(pid).status().unwrap().success());
    }

    pub fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// A process that has ended and that nobody has waited for does not live.
    pub fn is_alive(&self) -> bool {
        let stat = self.pid().and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok());
        stat.is_some_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with('Z'))
    }

    /// How it ended, if it has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        Some(status)
    }

    /// Waits until it has ended by itself.
    pub async fn end(&mut self, limit: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            if begun.elapsed() > limit {
                return None;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn is_frozen(&self) -> bool {
        let stat = self.pid().and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok());
        stat.is_some_and(|stat| stat.rsplit(") ").next().unwrap().starts_with('T'))
    }

    pub async fn until_frozen(&self) {
        let begun = Instant::now();
        while !self.is_frozen() {
            assert!(begun.elapsed() < PATIENCE, "it was never frozen");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether the crash point's last words are in the log.
    pub fn has_met(&self, point: &str) -> bool {
        std::fs::read_to_string(&self.log).unwrap_or_default().contains(&format!("crash point {point}:"))
    }

    pub fn footprint(&self) -> Footprint {
        let pid = self.pid().expect("it does not run");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident_kib = resident.trim().trim_end_matches(" kB").parse().unwrap();
        let handles = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
        Footprint { resident_kib, handles }
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The end of the log, for whoever has to find out why.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Below the range from which the kernel gives ports to clients: it stays free while its process is dead.
pub fn free_port() -> u16 {
    loop {
        let port = rand::random_range(12_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
