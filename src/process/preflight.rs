//! What a start would refuse, found without starting: valid settings come in, their faults go out.

use super::{
    listeners::check_listeners,
    role::Role,
    stores::{OpenError, check_broker, check_postgres, check_postgres_tls},
};
use crate::{
    broker::rabbitmq::SettingsError,
    journal::{JournalError, postgres::ServerFault, sqlite},
    roles::notifier::check_webhook,
    settings::{BrokerSettings, ConfigFaults, JournalStore, OfficeSettings, PostgresServer, RabbitmqServer, Settings},
};
use jiff::Timestamp;
use std::{fs::File, io::ErrorKind, path::Path};

#[derive(Default)]
pub struct Preflight {
    pub faults: ConfigFaults,
    /// What stops one office's webhook each, and nothing else.
    pub stopped: ConfigFaults,
    /// What works, but should be known.
    pub warnings: Vec<String>,
}

pub fn preflight(settings: &Settings, config: &Path, now: Timestamp, roles: &[Role]) -> Preflight {
    let mut preflight = Preflight::default();
    check_together(settings, config, roles, &mut preflight.faults);
    check_listeners(settings, config, roles, &mut preflight.faults);
    if let BrokerSettings::Rabbitmq(server) = &settings.broker {
        preflight.broker(server, config, now);
    }
    match &settings.journal.store {
        JournalStore::Sqlite { path } => {
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            check_writable(folder, config, "journal.url", &mut preflight.faults);
            check_journal_file(path, config, &mut preflight.faults);
        }
        JournalStore::Postgres(server) => preflight.postgres(server, config, now),
    }
    check_writable(&settings.gateway.attachments.folder, config, "gateway.attachments.folder", &mut preflight.faults);
    let incoming = settings.gateway.attachments.folder.join("incoming");
    if incoming.exists() {
        check_writable(&incoming, config, "gateway.attachments.folder", &mut preflight.faults);
    }
    check_writable(&settings.folders.data, config, "folders.data", &mut preflight.faults);
    let offices = config.with_file_name("offices.toml");
    if settings.offices.is_empty() {
        preflight.warnings.push(format!("{}: there is no office: the gateway turns everybody away", offices.display()));
    }
    settings.offices.iter().for_each(|office| preflight.office(office, &offices, now));
    preflight
}

/// What lives inside one process cannot be spread over several.
fn check_together(settings: &Settings, config: &Path, roles: &[Role], faults: &mut ConfigFaults) {
    if Role::ALL.iter().all(|role| roles.contains(role)) {
        return;
    }
    let together = "run all roles together (`punte serve` without --role, or the unit punte.service)";
    if matches!(settings.broker, BrokerSettings::Embedded) {
        let problem = "the embedded broker lives inside one process, and this one is to play some of the roles only";
        faults.add(config, "broker.kind", problem, format!("{together}, or use RabbitMQ"));
    }
    if matches!(settings.journal.store, JournalStore::Sqlite { .. }) {
        let problem = "a SQLite journal belongs to one process, and this one is to play some of the roles only";
        faults.add(config, "journal.url", problem, format!("{together}, or use PostgreSQL"));
    }
}

impl Preflight {
    fn broker(&mut self, server: &RabbitmqServer, config: &Path, now: Timestamp) {
        let error = match check_broker(server, now) {
            Ok(warnings) => return self.warnings.extend(warnings.into_iter().map(|text| format!("broker: {text}"))),
            Err(error) => error,
        };
        // Without the word with which such an error begins elsewhere.
        let (key, told) = match error {
            OpenError::Trust(error) => (key_of_file(server, error.apart().0), error.to_string()),
            OpenError::Broker(error) => (key_of_setting(server, &error), error.to_string()),
            OpenError::Journal(error) => ("broker", error.to_string()),
        };
        self.faults.add(config, key, told, "mend the key that the text speaks of");
    }

    fn postgres(&mut self, server: &PostgresServer, config: &Path, now: Timestamp) {
        match check_postgres_tls(server, now) {
            Ok(warnings) => self.warnings.extend(warnings.into_iter().map(|text| format!("journal: {text}"))),
            Err(error) => {
                let remedy = "name the PEM file of the authority of the server's certificate";
                self.faults.add(config, "journal.ca", error, remedy);
            }
        }
        let Err(fault) = check_postgres(server) else { return };
        let (key, remedy) = match fault {
            ServerFault::Url(_) => {
                let key = match (&server.passfile, &server.url_file) {
                    (Some(_), _) if fault.to_string().contains("passfile") => "journal.passfile",
                    (_, Some(_)) => "journal.url_file",
                    (_, None) => "journal.url",
                };
                (key, "mend it there, or in the file or variable that it comes from")
            }
            ServerFault::NeedlessAuthority => ("journal.ca", "add sslmode=verify-full to the URL, or remove ca"),
            ServerFault::NoAuthority => {
                ("journal.ca", "name the PEM file of the authority of the server's certificate")
            }
        };
        // Without the words with which such an error begins elsewhere.
        let told = match &fault {
            ServerFault::Url(JournalError::Unavailable(text)) => text.clone(),
            ServerFault::Url(_) | ServerFault::NeedlessAuthority | ServerFault::NoAuthority => fault.to_string(),
        };
        self.faults.add(config, key, told, remedy);
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

fn key_of_file(server: &RabbitmqServer, file: Option<&Path>) -> &'static str {
    let files = [("broker.certificate", &server.certificate), ("broker.key", &server.key)];
    let found = files.iter().find(|(_, path)| file.is_some() && path.as_deref() == file);
    found.map_or("broker.ca", |(key, _)| *key)
}

fn key_of_setting(server: &RabbitmqServer, error: &SettingsError) -> &'static str {
    match error {
        SettingsError::Uri | SettingsError::Ipv6Address | SettingsError::PlaintextRefused(_) => server.uri_key,
        SettingsError::TlsMissing => "broker.ca",
        SettingsError::Prefix(_) => "broker.prefix",
    }
}

/// What is there must be a journal, or nothing yet.
fn check_journal_file(path: &Path, config: &Path, faults: &mut ConfigFaults) {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let remedy = "make it for the user that runs Punte (chown), or name another file";
            faults.add(config, "journal.url", format!("{} cannot be read: {error}", path.display()), remedy);
        }
        Ok(_) | Err(_) => {
            if let Err(error) = sqlite::check(path) {
                faults.add(config, "journal.url", error.to_string(), "do what the text says");
            }
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
    } else if let Err(error) = tempfile::Builder::new().prefix(".punte-check-").tempfile_in(existing) {
        // Tried, because a user who may do everything cannot write everywhere: it is gone again at once.
        let why = error.kind();
        let problem = format!("{shown} cannot be written: this user may not write in {} ({why})", existing.display());
        faults.add(config, key, problem, "make it for the user that runs Punte (chown), or name another folder");
    }
}
