//! A private RabbitMQ or PostgreSQL for one run: started by the scripts of the tests, stopped when it is dropped.

use anyhow::{Context, ensure};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

pub struct Service {
    pub url: String,
    /// `None`: it is somebody else's, and goes on.
    own: Option<Own>,
}

struct Own {
    script: PathBuf,
    folder: PathBuf,
}

impl Service {
    /// With a name of the scripts, and the variable that they tell its address in.
    pub fn start(name: &str, variable: &str, folder: &Path) -> anyhow::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(name);
        // From now on dropping it stops what a failing start may have left behind.
        let own = Own { script, folder: folder.join(name) };
        let output = Command::new(&own.script).arg("start").arg(&own.folder).output().context("a service")?;
        ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let value =
            text.lines().find_map(|line| line.strip_prefix("export ")?.strip_prefix(variable)?.strip_prefix('='));
        // The scripts quote for a shell: nothing in these addresses needs more than that undone.
        let url = value.with_context(|| format!("{name} does not tell {variable}"))?.replace('\\', "");
        Ok(Self { url, own: Some(own) })
    }

    pub fn of_somebody_else(url: String) -> Self {
        Self { url, own: None }
    }

    /// The service's first process, if it is ours.
    pub fn pid(&self) -> Option<u32> {
        let folder = &self.own.as_ref()?.folder;
        // PostgreSQL's script says so where its user cannot get at the folder.
        let elsewhere = std::fs::read_to_string(folder.join("elsewhere")).ok();
        let folder = elsewhere.map_or(folder.clone(), |path| path.trim_end().into());
        let files = ["node.pid", "data/postmaster.pid"];
        let text = files.iter().find_map(|file| std::fs::read_to_string(folder.join(file)).ok())?;
        text.lines().next()?.trim().parse().ok()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = Command::new(&self.script).arg("stop").arg(&self.folder).output();
    }
}
