//! What a start would refuse, found without starting: valid settings come in, their faults go out.

use super::stores::{check_broker, check_postgres, postgres_tls};
use crate::{
    journal::postgres::PlaceFault,
    roles::courier::check_webhook,
    settings::{BrokerSettings, ConfigFaults, JournalPlace, OfficeSettings, PostgresPlace, Settings},
};
use jiff::Timestamp;
use rustix::fs::{Access, access};
use std::path::Path;

pub fn foresee(settings: &Settings, config: &Path, now: Timestamp, faults: &mut ConfigFaults) {
    if let BrokerSettings::Rabbitmq(place) = &settings.broker
        && let Err(error) = check_broker(place, now)
    {
        faults.add(config, "broker", error, "mend the key that the text speaks of");
    }
    match &settings.journal.place {
        JournalPlace::Sqlite { path } => {
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            check_writable(folder, config, "journal.url", faults);
        }
        JournalPlace::Postgres(place) => foresee_postgres(place, config, faults),
    }
    check_writable(&settings.gateway.attachments.folder, config, "gateway.attachments.folder", faults);
    settings.offices.iter().for_each(|office| check_office(office, &config.with_file_name("offices.toml"), faults));
}

fn foresee_postgres(place: &PostgresPlace, config: &Path, faults: &mut ConfigFaults) {
    if let Err(error) = postgres_tls(place) {
        faults.add(config, "journal.ca", error, "name the PEM file of the authority of the server's certificate");
    }
    let Err(fault) = check_postgres(place) else { return };
    let (key, remedy) = match fault {
        PlaceFault::Url(_) => ("journal.url", "mend it there, or in the file or variable that it comes from"),
        PlaceFault::NeedlessAuthority => ("journal.ca", "add sslmode=verify-full to the URL, or remove ca"),
        PlaceFault::NoAuthority => ("journal.ca", "name the PEM file of the authority of the server's certificate"),
    };
    faults.add(config, key, fault, remedy);
}

fn check_office(it: &OfficeSettings, file: &Path, faults: &mut ConfigFaults) {
    let Some(webhook) = &it.webhook else { return };
    if let Err(error) = check_webhook(webhook) {
        let key = format!("offices.{}.webhook", it.office.name);
        faults.add(file, key, error.to_string(), error.remedy());
    }
}

/// What is not there is made at the start, if the folder above lets us.
fn check_writable(folder: &Path, config: &Path, key: &str, faults: &mut ConfigFaults) {
    let Some(existing) = folder.ancestors().find(|path| path.exists()) else { return };
    let shown = folder.display();
    if !existing.is_dir() {
        let problem = format!("{shown} cannot be made: {} is no folder", existing.display());
        faults.add(config, key, problem, "name another folder");
    } else if access(existing, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let problem = format!("{shown} cannot be written: this user may not write in {}", existing.display());
        faults.add(config, key, problem, "make it for the user that runs Punte (chown), or name another folder");
    }
}
