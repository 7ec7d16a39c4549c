//! Servers of a test's own, which it may stop, kill, starve and wipe: RabbitMQ, a cluster of three of it, PostgreSQL.

use punte::{
    broker::rabbitmq::names::Names,
    domain::{AgencyName, Priority},
};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

pub struct Rabbitmq {
    folder: PathBuf,
    pub url: String,
    home: Option<TempDir>,
}

pub struct Cluster {
    home: TempDir,
    pub nodes: Vec<Rabbitmq>,
    /// Each node has a cable to the others that can be pulled out; else why not.
    pub cables: Result<(), String>,
}

pub struct Postgres {
    home: TempDir,
    pub url: String,
}

/// Runs one of the scripts beside the tests; what it prints.
async fn run(script: &str, arguments: Vec<String>) -> String {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(script));
    command.args(&arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{script} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn run_now(script: &str, action: &str, folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(script);
    let _ = Command::new(script).arg(action).arg(folder).output();
}

fn exported(exports: &str, name: &str) -> String {
    let start = format!("export {name}=");
    let value = exports.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_else(|| panic!("no {name}"));
    value.to_owned()
}

impl Rabbitmq {
    pub async fn started() -> Self {
        let home = TempDir::new().unwrap();
        let folder = home.path().to_owned();
        let mut node = Self { folder, url: String::new(), home: Some(home) };
        node.url = exported(&node.action("start").await, "PUNTE_TEST_AMQP_URL");
        node
    }

    pub async fn action(&self, action: &str) -> String {
        run("rabbitmq", vec![action.into(), self.folder.display().to_string()]).await
    }

    pub async fn ctl(&self, arguments: &[&str]) -> String {
        let before = ["ctl".to_owned(), self.folder.display().to_string()];
        run("rabbitmq", before.into_iter().chain(arguments.iter().map(ToString::to_string)).collect()).await
    }

    /// All that it ever stored is gone; it comes back as new.
    pub async fn wipe(&self) {
        self.action("kill").await;
        std::fs::remove_dir_all(self.folder.join("mnesia")).unwrap();
        self.action("start").await;
    }

    /// As Erlang calls it, `punte-…@localhost`.
    pub fn name(&self) -> String {
        let ports = std::fs::read_to_string(self.folder.join("ports")).unwrap();
        ports.lines().find_map(|line| line.strip_prefix("node=")).unwrap().to_owned()
    }

    pub async fn channel(&self) -> (lapin::Connection, lapin::Channel) {
        channel(&self.url).await
    }
}

impl Drop for Rabbitmq {
    fn drop(&mut self) {
        if self.home.is_some() {
            ["kill", "stop"].iter().for_each(|action| run_now("rabbitmq", action, &self.folder));
        }
    }
}

pub async fn channel(url: &str) -> (lapin::Connection, lapin::Channel) {
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

impl Cluster {
    pub async fn started() -> Self {
        let home = TempDir::new().unwrap();
        let exports = run("rabbitmq", vec!["cluster".into(), home.path().display().to_string()]).await;
        let node = |number: usize| Rabbitmq {
            folder: home.path().join(number.to_string()),
            url: exported(&exports, &format!("PUNTE_TEST_CLUSTER_URL_{number}")),
            home: None,
        };
        let nodes = (1..=3).map(node).collect();
        let cables = match exported(&exports, "PUNTE_TEST_CLUSTER_CABLES").as_str() {
            "yes" => Ok(()),
            reason => Err(reason.to_owned()),
        };
        Self { home, nodes, cables }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        run_now("rabbitmq", "cluster-stop", self.home.path());
    }
}

impl Postgres {
    pub async fn started() -> Self {
        let mut server = Self { home: TempDir::new().unwrap(), url: String::new() };
        server.url = exported(&server.action("start").await, "PUNTE_TEST_POSTGRES_URL");
        server
    }

    /// A server that follows another one, and takes no writes until it is promoted.
    pub async fn following(other: &Self) -> Self {
        let mut server = Self { home: TempDir::new().unwrap(), url: String::new() };
        let folders = [&server, other].map(|it| it.home.path().display().to_string());
        let exports = run("postgres", ["standby".to_owned()].into_iter().chain(folders).collect()).await;
        server.url = exported(&exports, "PUNTE_TEST_POSTGRES_URL");
        server
    }

    pub async fn action(&self, action: &str) -> String {
        run("postgres", vec![action.into(), self.home.path().display().to_string()]).await
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        run_now("postgres", "stop", self.home.path());
    }
}

pub fn work_queue(prefix: &str, agency: &str) -> lapin::types::ShortString {
    Names::new(prefix).unwrap().work_queue(&agency.parse::<AgencyName>().unwrap(), Priority::Ordinary)
}
