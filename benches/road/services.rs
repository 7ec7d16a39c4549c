//! A private RabbitMQ or PostgreSQL for one run: started by the scripts of the tests, stopped when it is dropped.

use anyhow::{Context, ensure};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

pub struct Service {
    script: PathBuf,
    folder: PathBuf,
    exports: BTreeMap<String, String>,
}

impl Service {
    pub fn rabbitmq(folder: &Path) -> anyhow::Result<Self> {
        Self::start("rabbitmq", folder.join("rabbitmq"))
    }

    pub fn postgres(folder: &Path) -> anyhow::Result<Self> {
        Self::start("postgres", folder.join("postgres"))
    }

    fn start(name: &str, folder: PathBuf) -> anyhow::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(name);
        // From now on dropping it stops what a failing start may have left behind.
        let mut service = Self { script, folder, exports: BTreeMap::new() };
        let output = Command::new(&service.script).arg("start").arg(&service.folder).output().context("a service")?;
        ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let exports = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        // The scripts quote for a shell: none of these values needs more than that undone.
        service.exports = exports.map(|(name, value)| (name.to_owned(), value.replace('\\', ""))).collect();
        Ok(service)
    }

    pub fn url(&self, name: &str) -> anyhow::Result<&str> {
        self.exports.get(name).map(String::as_str).with_context(|| format!("{name} is not among the service's exports"))
    }

    /// RabbitMQ's own process.
    pub fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.folder.join("node.pid")).ok()?.trim().parse().ok()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = Command::new(&self.script).arg("stop").arg(&self.folder).output();
    }
}
