//! The journal and the broker that the settings name: settings come in, open stores behind their traits go out.

use crate::{
    broker::{
        Broker,
        embedded::{EmbeddedBroker, EmbeddedSettings},
        rabbitmq::{RabbitmqBroker, RabbitmqSettings},
    },
    journal::{
        Journal, JournalError,
        postgres::{self, PostgresJournal},
        sqlite::SqliteJournal,
    },
    settings::{BrokerSettings, JournalPlace, JournalSettings, RabbitmqPlace},
    trust::{AgencyRoots, ClientTls, Identity, TrustError, client_config},
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
    Broker(String),
}

pub async fn open_journal(settings: &JournalSettings) -> Result<Arc<dyn Journal>, OpenError> {
    match &settings.place {
        JournalPlace::Sqlite { path } => Ok(Arc::new(SqliteJournal::open(path)?)),
        JournalPlace::Postgres { url, ca } => {
            let tls = match ca {
                Some(ca) => Some(client_config(&AgencyRoots::load(ca)?, ClientTls::default())?),
                None => None,
            };
            Ok(Arc::new(PostgresJournal::open(url.reveal(), tls).await?))
        }
    }
}

/// Starts the broker. RabbitMQ need not be there yet: it is connected to in the background.
pub fn open_broker(
    settings: &BrokerSettings,
    hears_others: bool,
    now: Timestamp,
) -> Result<Arc<dyn Broker>, OpenError> {
    match settings {
        BrokerSettings::Embedded => Ok(Arc::new(EmbeddedBroker::start(EmbeddedSettings::default()))),
        BrokerSettings::Rabbitmq(place) => {
            let settings = RabbitmqSettings { hears_others, ..rabbitmq_settings(place, now)? };
            let broker = RabbitmqBroker::start(settings).map_err(|error| OpenError::Broker(error.to_string()))?;
            Ok(Arc::new(broker))
        }
    }
}

/// Whether a start would take these settings.
pub fn check_broker(place: &RabbitmqPlace, now: Timestamp) -> Result<(), OpenError> {
    rabbitmq_settings(place, now)?.check().map_err(|error| OpenError::Broker(error.to_string()))
}

/// Whether a start would take this address and authority; nothing is connected to.
pub fn check_journal(settings: &JournalSettings) -> Result<(), OpenError> {
    match &settings.place {
        JournalPlace::Sqlite { .. } => Ok(()),
        JournalPlace::Postgres { url, ca } => {
            if let Some(ca) = ca {
                AgencyRoots::load(ca)?;
            }
            Ok(postgres::check_url(url.reveal())?)
        }
    }
}

fn rabbitmq_settings(place: &RabbitmqPlace, now: Timestamp) -> Result<RabbitmqSettings, TrustError> {
    Ok(RabbitmqSettings {
        tls: rabbitmq_tls(place, now)?.map(Arc::new),
        allow_plaintext: place.allow_plaintext,
        prefix: place.prefix.clone(),
        delivery_limit: place.delivery_limit,
        ..RabbitmqSettings::new(place.uri.reveal())
    })
}

fn rabbitmq_tls(place: &RabbitmqPlace, now: Timestamp) -> Result<Option<rustls::ClientConfig>, TrustError> {
    let Some(ca) = &place.ca else { return Ok(None) };
    let identity = match (&place.certificate, &place.key) {
        (Some(certificate), Some(key)) => Some(Identity::load(certificate, key, now)?),
        _ => None,
    };
    let wanted = ClientTls { identity: identity.as_ref(), ..ClientTls::default() };
    Ok(Some(client_config(&AgencyRoots::load(ca)?, wanted)?))
}
