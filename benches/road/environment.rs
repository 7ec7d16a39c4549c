//! Adapters and services for so many agencies, all of them copies of the project's civil registry without the limits that
//! spare a real one; and one set of keys for all of them, because one listener plays them all.

use anyhow::Context;
use std::path::Path;
use tempfile::TempDir;

pub struct BenchEnvironment {
    folder: TempDir,
    pub agencies: Vec<String>,
    /// In the order of their agencies.
    pub services: Vec<String>,
}

impl BenchEnvironment {
    pub fn make(agencies: usize, algorithm: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("punte-bench.").tempdir()?;
        let names = |kind: &str| (0..agencies).map(|number| format!("{kind}-{number}")).collect::<Vec<_>>();
        let env = Self { folder, agencies: names("registry"), services: names("lookup") };
        for (agency, service) in env.agencies.iter().zip(&env.services) {
            env.add(agency, service, algorithm)?;
        }
        Ok(env)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All agencies use the first one's keys.
    pub fn share_keys(&self, secrets: &Path) -> anyhow::Result<()> {
        let folder = |agency: &String| secrets.join("agencies").join(agency);
        self.agencies[1..].iter().try_for_each(|agency| copy(&folder(&self.agencies[0]), &folder(agency)))
    }

    fn add(&self, agency: &str, service: &str, algorithm: &str) -> anyhow::Result<()> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let model = project.join("adapters/civil-registry");
        copy(&project.join("schemas/services/person-lookup"), &self.folder().join("services").join(service))?;
        let adapter = self.folder().join("adapters").join(agency);
        copy(&model.join("person-lookup"), &adapter.join(service))?;
        // Files may be named, of which no message contains anything.
        let about = self.folder().join("services").join(service).join("service.toml");
        edit(&about, |text| format!("{text}\n[attachments]\nat_most = 1\nmax_total_bytes = 209715200\n"))?;
        let template = adapter.join(service).join("request.xml");
        edit(&template, |text| format!("{text}{{% set papers = attachments|map(attribute='sha256')|list %}}"))?;
        for example in std::fs::read_dir(adapter.join(service).join("examples"))? {
            edit(&example?.path().join("request.json"), |text| text.replace("person-lookup", service))?;
        }
        std::fs::copy(model.join("agency.toml"), adapter.join("agency.toml"))?;
        edit(&adapter.join("agency.toml"), |text| {
            let without_extract = text.split("[operations.civil-status-extract]").next().unwrap_or_default();
            without_extract
                .replace("person-lookup", service)
                .replace("concurrency = 8", "concurrency = 256")
                .replace("requests_per_second = 50\n", "")
                .replace("rsa-sha256", algorithm)
        })
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (path, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name())))?;
        match path.is_dir() {
            true => copy(&path, &target)?,
            false => drop(std::fs::copy(&path, &target)?),
        }
    }
    Ok(())
}

/// A file that stays as it was is not the one that was meant.
pub fn edit(file: &Path, change: impl Fn(String) -> String) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let changed = change(text.clone());
    anyhow::ensure!(text != changed, "{} was not changed", file.display());
    Ok(std::fs::write(file, changed)?)
}
