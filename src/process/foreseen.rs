//! What a start would refuse, found without starting: valid settings come in, their faults go out.

use super::stores::{OpenError, check_broker, check_postgres, check_postgres_tls};
use crate::{
    journal::postgres::PlaceFault,
    roles::courier::check_webhook,
    settings::{BrokerSettings, ConfigFaults, JournalPlace, OfficeSettings, PostgresPlace, RabbitmqPlace, Settings},
};
use jiff::Timestamp;
use rustix::fs::{Access, access};
use std::path::Path;

#[derive(Default)]
pub struct Foreseen {
    pub faults: ConfigFaults,
    /// What stops one office's webhook each, and nothing else.
    pub stopped: ConfigFaults,
    /// What works, but should be known.
    pub warnings: Vec<String>,
}

pub fn foresee(settings: &Settings, config: &Path, now: Timestamp) -> Foreseen {
    let mut foreseen = Foreseen::default();
    if let BrokerSettings::Rabbitmq(place) = &settings.broker {
        foreseen.broker(place, config, now);
    }
    match &settings.journal.place {
        JournalPlace::Sqlite { path } => {
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            check_writable(folder, config, "journal.url", &mut foreseen.faults);
        }
        JournalPlace::Postgres(place) => foreseen.postgres(place, config, now),
    }
    check_writable(&settings.gateway.attachments.folder, config, "gateway.attachments.folder", &mut foreseen.faults);
    let offices = config.with_file_name("offices.toml");
    settings.offices.iter().for_each(|office| foreseen.office(office, &offices, now));
    foreseen
}

impl Foreseen {
    fn broker(&mut self, place: &RabbitmqPlace, config: &Path, now: Timestamp) {
        let error = match check_broker(place, now) {
            Ok(warnings) => return self.warnings.extend(warnings.into_iter().map(|text| format!("broker: {text}"))),
            Err(error) => error,
        };
        let file = match &error {
            OpenError::Trust(error) => error.apart().0,
            OpenError::Journal(_) | OpenError::Broker(_) => None,
        };
        let files = [("broker.ca", &place.ca), ("broker.certificate", &place.certificate), ("broker.key", &place.key)];
        let key = files.iter().find(|(_, path)| file.is_some() && path.as_deref() == file).map(|(key, _)| *key);
        self.faults.add(config, key.unwrap_or("broker"), error, "mend the key that the text speaks of");
    }

    fn postgres(&mut self, place: &PostgresPlace, config: &Path, now: Timestamp) {
        match check_postgres_tls(place, now) {
            Ok(warnings) => self.warnings.extend(warnings.into_iter().map(|text| format!("journal: {text}"))),
            Err(error) => {
                let remedy = "name the PEM file of the authority of the server's certificate";
                self.faults.add(config, "journal.ca", error, remedy);
            }
        }
        let Err(fault) = check_postgres(place) else { return };
        let (key, remedy) = match fault {
            PlaceFault::Url(_) => ("journal.url", "mend it there, or in the file or variable that it comes from"),
            PlaceFault::NeedlessAuthority => ("journal.ca", "add sslmode=verify-full to the URL, or remove ca"),
            PlaceFault::NoAuthority => ("journal.ca", "name the PEM file of the authority of the server's certificate"),
        };
        self.faults.add(config, key, fault, remedy);
    }

    fn office(&mut self, it: &OfficeSettings, file: &Path, now: Timestamp) {
        let Some(webhook) = &it.webhook else { return };
        let (office, error) = match check_webhook(webhook, now) {
            Ok(warnings) => {
                let named = warnings.into_iter().map(|text| format!("office {}: {text}", it.office.name));
                return self.warnings.extend(named);
            }
            Err(error) => (&it.office.name, error),
        };
        let key = format!("offices.{office}.webhook");
        match error.file_key() {
            Some(part) => self.stopped.add(file, format!("{key}.{part}"), error.to_string(), error.remedy()),
            None => self.faults.add(file, key, error.to_string(), error.remedy()),
        }
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
