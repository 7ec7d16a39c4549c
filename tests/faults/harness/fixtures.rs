//! The adapters and services of a cluster: the project's own, and one more agency that does extracts without recognising
//! repeats, so that every effect is there.

use crate::environment;
use std::path::Path;

/// An exchange with an agency may take so long.
pub const TIMEOUT_SECS: u64 = 3;

/// `change` gets each agency's name and its `agency.toml`.
pub fn write_fixtures(folder: &Path, change: impl Fn(&str, String) -> String) {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (adapters, services) = (folder.join("adapters"), folder.join("services"));
    environment::copy(&project.join("adapters"), &adapters);
    environment::copy(&project.join("schemas/services"), &services);
    environment::copy(&services.join("civil-status-extract"), &services.join("certified-extract"));
    add_the_forgetful(&adapters);
    for agency in ["civil-registry", "legal-events", "once-registry"] {
        edit(&adapters.join(agency).join("agency.toml"), |text| {
            let quick = text
                .replace("timeout_secs = 20\n", &format!("timeout_secs = {TIMEOUT_SECS}\n"))
                .replace("timeout_secs = 30\n", &format!("timeout_secs = {TIMEOUT_SECS}\n"));
            change(agency, quick.replace("cooldown_secs = 15", "cooldown_secs = 1"))
        });
    }
}

fn add_the_forgetful(adapters: &Path) {
    let once = adapters.join("once-registry");
    environment::copy(&adapters.join("civil-registry"), &once);
    std::fs::remove_dir_all(once.join("person-lookup")).unwrap();
    std::fs::rename(once.join("civil-status-extract"), once.join("certified-extract")).unwrap();
    for example in std::fs::read_dir(once.join("certified-extract/examples")).unwrap() {
        edit(&example.unwrap().path().join("request.json"), |text| {
            text.replace("civil-status-extract", "certified-extract")
        });
    }
    edit(&once.join("agency.toml"), |text| {
        let (head, tail) = text.split_once("[operations.person-lookup]").unwrap();
        let operation = tail.split_once("[operations.civil-status-extract]").unwrap().1;
        format!("{head}[operations.certified-extract]{}", operation.replace("\"idempotent\"", "\"once\""))
    });
}

fn edit(file: &Path, change: impl Fn(String) -> String) {
    let text = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, change(text)).unwrap();
}
