//! The server that the configuration names: whether a journal could be looked for there.

use super::address::{Address, Security};
use crate::journal::JournalError;
use std::path::Path;

/// Where a PostgreSQL is, as the configuration says.
pub struct Server<'a> {
    pub url: &'a str,
    /// The text of a file of passwords.
    pub passfile: Option<&'a str>,
    pub files: Files<'a>,
}

/// Where URL and passwords were read, if they stand in files: a password that is changed there counts for new sessions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files<'a> {
    pub url: Option<&'a Path>,
    pub passfile: Option<&'a Path>,
}

/// What is wrong with the configuration of a journal in PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub enum ServerFault {
    #[error(transparent)]
    Url(JournalError),
    #[error("is given, but nothing would be encrypted: the URL says no sslmode, or sslmode=disable")]
    NeedlessAuthority,
    #[error("is missing: the URL asks for TLS")]
    NoAuthority,
}

impl Server<'_> {
    /// Whether a journal could be looked for there. `has_authority`: that of the server's certificate is configured.
    pub fn check(&self, has_authority: bool) -> Result<(), ServerFault> {
        let address = Address::parse(self.url, self.passfile).map_err(ServerFault::Url)?;
        match (address.security, has_authority) {
            (Security::Plain, true) => Err(ServerFault::NeedlessAuthority),
            (Security::Tls, false) => Err(ServerFault::NoAuthority),
            _ => Ok(()),
        }
    }
}
