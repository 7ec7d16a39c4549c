//! The journal and the broker that the settings name: settings come in, open stores behind their traits go out.

use crate::{
    broker::{
        Broker,
        embedded::{EmbeddedBroker, EmbeddedSettings},
        rabbitmq::{Peers, RabbitmqBroker, RabbitmqSettings, SettingsError},
    },
    journal::{
        Journal, JournalError,
        postgres::{self, PostgresJournal},
        sqlite::SqliteJournal,
    },
    settings::{BrokerSettings, JournalSettings, JournalStore, PostgresServer, RabbitmqServer},
    trust::{AgencyRoots, ClientTls, Identity, Purpose, TrustError, client_config},
};
use jiff::Timestamp;
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("broker: {0}")]
    Broker(#[from] SettingsError),
}

pub async fn open_journal(settings: &JournalSettings) -> Result<Arc<dyn Journal>, OpenError> {
    match &settings.store {
        JournalStore::Sqlite { path } => Ok(Arc::new(SqliteJournal::open(path)?)),
        JournalStore::Postgres(server) => {
            Ok(Arc::new(PostgresJournal::open_at(postgres_server(server), postgres_tls(server)?).await?))
        }
    }
}

pub fn postgres_tls(server: &PostgresServer) -> Result<Option<rustls::ClientConfig>, TrustError> {
    let Some(ca) = &server.ca else { return Ok(None) };
    Ok(Some(client_config(&AgencyRoots::load(ca)?, ClientTls::default())?))
}

/// Whether a start would take the authority of its server, and what the operator should know of it.
pub fn check_postgres_tls(server: &PostgresServer, now: Timestamp) -> Result<Vec<String>, TrustError> {
    postgres_tls(server)?;
    server.ca.as_ref().map_or_else(|| Ok(Vec::new()), |ca| Ok(AgencyRoots::load(ca)?.warnings(now)))
}

/// The same server, in the journal's own terms.
fn postgres_server(server: &PostgresServer) -> postgres::Server<'_> {
    let passfile = server.passfile.as_ref();
    postgres::Server {
        url: server.url.reveal(),
        passfile: passfile.map(|(_, text)| text.reveal()),
        files: postgres::Files { url: server.url_file.as_deref(), passfile: passfile.map(|(path, _)| path.as_path()) },
    }
}

/// For a command, beside the processes that work with it or in their absence.
pub async fn open_journal_for_command(settings: &JournalSettings) -> Result<Arc<dyn Journal>, OpenError> {
    match &settings.store {
        JournalStore::Sqlite { path } => Ok(Arc::new(SqliteJournal::open_for_command(path)?)),
        JournalStore::Postgres { .. } => open_journal(settings).await,
    }
}

/// The same, though the log of a SQLite file may be lost.
pub async fn open_journal_without_log(settings: &JournalSettings) -> Result<Arc<dyn Journal>, OpenError> {
    match &settings.store {
        JournalStore::Sqlite { path } => Ok(Arc::new(SqliteJournal::open_without_log(path)?)),
        JournalStore::Postgres { .. } => open_journal(settings).await,
    }
}

/// Starts the broker. RabbitMQ need not be there yet: it is connected to in the background.
pub fn open_broker(
    settings: &BrokerSettings,
    identity: String,
    peers: Peers,
    now: Timestamp,
) -> Result<Arc<dyn Broker>, OpenError> {
    match settings {
        BrokerSettings::Embedded => Ok(Arc::new(EmbeddedBroker::start(EmbeddedSettings::default()))),
        BrokerSettings::Rabbitmq(server) => {
            let identity = Some(identity);
            let settings = RabbitmqSettings { peers, identity, ..rabbitmq_settings(server, now)? };
            Ok(Arc::new(RabbitmqBroker::start(settings)?))
        }
    }
}

/// Whether a start would take these settings, and what the operator should know of their files.
pub fn check_broker(server: &RabbitmqServer, now: Timestamp) -> Result<Vec<String>, OpenError> {
    rabbitmq_settings(server, now)?.check()?;
    let Some(ca) = &server.ca else { return Ok(Vec::new()) };
    let own = broker_identity(server, now)?.map(|identity| identity.warnings_as(Purpose::TlsClient, now));
    Ok(AgencyRoots::load(ca)?.warnings(now).into_iter().chain(own.unwrap_or_default()).collect())
}

/// Whether a start would take this address and authority; nothing is connected to.
pub fn check_postgres(server: &PostgresServer) -> Result<(), postgres::ServerFault> {
    postgres_server(server).check(server.ca.is_some())
}

pub fn rabbitmq_settings(server: &RabbitmqServer, now: Timestamp) -> Result<RabbitmqSettings, TrustError> {
    Ok(RabbitmqSettings {
        tls: rabbitmq_tls(server, now)?.map(Arc::new),
        allow_plaintext: server.allow_plaintext,
        prefix: server.prefix.clone(),
        delivery_limit: server.delivery_limit,
        ..RabbitmqSettings::new(server.uri.reveal())
    })
}

fn rabbitmq_tls(server: &RabbitmqServer, now: Timestamp) -> Result<Option<rustls::ClientConfig>, TrustError> {
    let Some(ca) = &server.ca else { return Ok(None) };
    let identity = broker_identity(server, now)?;
    let wanted = ClientTls { identity: identity.as_ref(), ..ClientTls::default() };
    Ok(Some(client_config(&AgencyRoots::load(ca)?, wanted)?))
}

fn broker_identity(server: &RabbitmqServer, now: Timestamp) -> Result<Option<Identity>, TrustError> {
    match (&server.certificate, &server.key) {
        (Some(certificate), Some(key)) => Identity::load(certificate, key, now).map(Some),
        _ => Ok(None),
    }
}
