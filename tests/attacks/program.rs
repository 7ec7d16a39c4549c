//! The program itself as a process of its own, over a test stack's configuration: its log, memory and handles are its own.

use http::StatusCode;
use punte::kit::test_stack::TestStack;
use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub struct Program {
    child: Child,
    pub port: u16,
    log: PathBuf,
}

impl Program {
    /// Served when this returns.
    pub async fn start(
        stack: &TestStack,
        office: &reqwest::Client,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let (port, log) = (free_port(), stack.folder.path().join(format!("{}.log", uuid::Uuid::new_v4())));
        let mut command = Command::new(env!("CARGO_BIN_EXE_punte"));
        command.arg("serve").arg("--config").arg(stack.config()).args(arguments);
        command.env("PUNTE__GATEWAY__LISTEN", format!("127.0.0.1:{port}")).envs(variables.iter().copied());
        let output = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let program = Self { child: command.spawn().unwrap(), port, log };
        let (begun, url) = (Instant::now(), program.url("/v1/services"));
        while !office.get(&url).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK) {
            assert!(begun.elapsed() < Duration::from_secs(60), "the gateway does not answer: {}", program.said());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        program
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it has written to standard output and standard error.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    loop {
        // Below the range from which the kernel gives ports to clients.
        let port = rand::random_range(12_000..32_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
