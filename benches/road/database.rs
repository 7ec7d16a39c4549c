//! A database of its own for one installation, in a PostgreSQL server that keeps what it has confirmed.

pub mod counts;
pub mod proxy;
pub mod rows;

use crate::services::Service;
use anyhow::{Context, ensure};
use tokio_postgres::{Client, NoTls};

#[derive(Debug, Clone)]
pub struct Database {
    pub url: String,
    pub name: String,
    /// The URL of the server's first database, in which nothing is counted.
    server_url: String,
    /// The server's first process, if it is ours.
    pub server_pid: Option<u32>,
}

impl Database {
    pub async fn new(server: &Service) -> anyhow::Result<Self> {
        let name = format!("road_{}", uuid::Uuid::new_v4().simple());
        connected(&server.url).await?.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        let (start, _) = server.url.rsplit_once('/').context("the URL of a database")?;
        Ok(Self { url: format!("{start}/{name}"), name, server_url: server.url.clone(), server_pid: server.pid() })
    }

    /// For whoever looks at the server and must not be counted.
    pub async fn connect_beside(&self) -> anyhow::Result<Client> {
        connected(&self.server_url).await
    }

    pub async fn connect(&self) -> anyhow::Result<Client> {
        connected(&self.url).await
    }

    /// The same database, reached by this port of the loopback.
    pub fn through(&self, port: u16) -> anyhow::Result<Self> {
        let (scheme, rest) = self.url.split_once("://").context("a URL")?;
        let (authority, path) = rest.split_once('/').context("the URL of a database")?;
        let who = authority.rsplit_once('@').map_or(String::new(), |(who, _)| format!("{who}@"));
        Ok(Self { url: format!("{scheme}://{who}127.0.0.1:{port}/{path}"), ..self.clone() })
    }

    /// Where its server listens.
    fn address(&self) -> anyhow::Result<(String, u16)> {
        let (_, rest) = self.url.split_once("://").context("a URL")?;
        let (authority, _) = rest.split_once('/').context("the URL of a database")?;
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        let (host, port) = place.rsplit_once(':').unwrap_or((place, "5432"));
        Ok((host.to_owned(), port.parse()?))
    }
}

/// A server that confirms what it could still lose is not what is to be measured.
pub async fn ensure_durable(server: &Service) -> anyhow::Result<()> {
    let client = connected(&server.url).await?;
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let value: String = client.query_one(&format!("SHOW {setting}"), &[]).await?.get(0);
        ensure!(value == "on", "PostgreSQL's {setting} is {value}: what it confirms could be lost");
    }
    let folder: String = client.query_one("SHOW data_directory", &[]).await?.get(0);
    let is_in_memory = rustix::fs::statfs(&folder).is_ok_and(|it| i128::from(it.f_type) == TMPFS);
    ensure!(!is_in_memory, "{folder} is in memory, where nothing is durable: let TMPDIR name a folder on a disk");
    Ok(())
}

/// `TMPFS_MAGIC` of statfs(2).
const TMPFS: i128 = 0x0102_1994;

async fn connected(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // It ends with its client.
    tokio::spawn(connection);
    Ok(client)
}
