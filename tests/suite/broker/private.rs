//! A RabbitMQ node of a test's own, which it may stop, kill and starve without disturbing others.

use super::fixture::{fresh_prefix, raw};
use punte::broker::rabbitmq::RabbitmqSettings;
use std::{path::PathBuf, process::Command, time::Duration};
use tempfile::TempDir;

pub struct PrivateNode {
    folder: TempDir,
    pub uri: String,
}

impl PrivateNode {
    pub async fn started() -> Self {
        Self::with("start").await
    }

    /// Its ports are chosen, but nobody listens.
    pub async fn down() -> Self {
        Self::with("prepare").await
    }

    async fn with(action: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let mut node = Self { folder, uri: String::new() };
        let exports = node.run(&[action]).await;
        let uri = exports.lines().find_map(|line| line.strip_prefix("export PUNTE_TEST_AMQP_URL=")).unwrap();
        node.uri = uri.to_owned();
        node
    }

    pub fn settings(&self) -> RabbitmqSettings {
        RabbitmqSettings {
            prefix: fresh_prefix(),
            confirm_timeout: Duration::from_secs(2),
            reconnect_after_at_most: Duration::from_secs(1),
            ..RabbitmqSettings::new(&self.uri)
        }
    }

    pub async fn start(&self) {
        self.run(&["start"]).await;
    }

    pub async fn kill(&self) {
        self.run(&["kill"]).await;
    }

    pub async fn ctl(&self, arguments: &[&str]) {
        self.run(&[&["ctl"], arguments].concat()).await;
    }

    /// It neither answers nor hangs up.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.folder.path().join("node.pid")).unwrap();
        assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
    }

    /// A user with these rights: to configure, to write, to read.
    pub async fn user(&self, name: &str, rights: [&str; 3]) {
        self.ctl(&["add_user", name, "geheim"]).await;
        self.ctl(&[&["set_permissions", "-p", "/", name][..], &rights].concat()).await;
    }

    /// The node's address for this user, whose password it is.
    pub fn uri_of(&self, name: &str) -> String {
        self.uri.replace("guest:guest", &format!("{name}:geheim"))
    }

    pub async fn raw(&self) -> lapin::Connection {
        raw(&self.uri).await
    }

    /// The first argument is the script's action; the folder comes after it.
    async fn run(&self, arguments: &[&str]) -> String {
        let mut command = script();
        command.arg(arguments[0]).arg(self.folder.path()).args(&arguments[1..]);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn script() -> Command {
    Command::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/services/rabbitmq"))
}

impl Drop for PrivateNode {
    fn drop(&mut self) {
        for action in ["kill", "stop"] {
            let _ = script().arg(action).arg(self.folder.path()).output();
        }
    }
}
