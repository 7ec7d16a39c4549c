//! Why a process does not start.

use super::stores::OpenError;
use crate::{
    broker::BrokerError,
    journal::JournalError,
    roles::{gateway::GatewayError, notifier::NotifierError},
};
use std::{net::SocketAddr, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Broker(BrokerError),
    #[error("the attachments' folder: {0}")]
    Attachments(std::io::Error),
    #[error("the folder {path} for the copy of the journal's mark ([folders] data): {error}")]
    Data { path: PathBuf, error: std::io::Error },
    #[error("another process works on this journal: stop it, or share a PostgreSQL journal")]
    JournalInUse,
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error(transparent)]
    Notifier(#[from] NotifierError),
    #[error(
        "health and metrics cannot be served at {address}: {error}; free the port, or name another address in \
         [operations] of punte.toml"
    )]
    Operations { address: SocketAddr, error: std::io::Error },
}
