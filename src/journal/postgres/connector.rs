//! New sessions: the hosts of a URL are tried, and the first session that is fit for a journal goes out.
//!
//! A pooler such as PgBouncer either refuses the settings with which a session starts, or passes them over in silence. A
//! session that does not show our mark is therefore one of a pooler's, and is used in a way that a pooler bears even where
//! it gives each transaction to another session of the server.

use super::{
    address::{Address, Target},
    failure::Failure,
    passwords::Passwords,
    recent::Recent,
    session::{Prepared, Session, Way},
    session_settings as settings,
};
use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage, error::SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A host that is silent for so long has the next one asked beside it.
const NEXT_HOST: Duration = Duration::from_millis(500);
/// For all that is asked of a host before its session is used, once there is a connection.
const ASKING_TIMEOUT: Duration = Duration::from_secs(3);

pub struct Connector {
    hosts: Vec<KnownHost>,
    passwords: Passwords,
    tls: Option<MakeRustlsConnect>,
    /// Makes the settings, behind a pooler.
    prelude: Arc<str>,
    recent: Arc<Recent>,
    /// Which host was fit for a journal last: it is tried first.
    last_fit: AtomicUsize,
}

struct KnownHost {
    target: Target,
    /// The same, with our settings for the whole session.
    with_settings: Config,
    is_pooler: AtomicBool,
}

impl Connector {
    pub fn new(address: Address, passwords: Passwords, tls: Option<MakeRustlsConnect>, recent: Arc<Recent>) -> Self {
        let startup = settings::startup(&address.settings);
        let known = |target: Target| {
            let mut with_settings = target.config.clone();
            with_settings.options(&startup);
            KnownHost { target, with_settings, is_pooler: AtomicBool::new(false) }
        };
        let prelude = settings::for_one_transaction(&address.settings).into();
        let hosts = address.targets.into_iter().map(known).collect();
        Self { hosts, passwords, tls, prelude, recent, last_fit: AtomicUsize::new(0) }
    }

    /// Statements were lost: whoever is between us and the server is treated as a pooler from now on. Whether that is new.
    pub fn distrust(&self) -> bool {
        let trusted = self.hosts.iter().filter(|host| !host.is_pooler.swap(true, Ordering::Relaxed));
        trusted.count() > 0
    }

    async fn first_fit(&self) -> Result<Session, Failure> {
        let (first, count) = (self.last_fit.load(Ordering::Relaxed), self.hosts.len());
        let mut waiting = (0..count).map(|step| (first + step) % count);
        let (mut tried, mut failures) = (FuturesUnordered::new(), Vec::new());
        loop {
            let more = waiting.next();
            if let Some(host) = more.and_then(|index| Some((index, self.hosts.get(index)?))) {
                tried.push(self.try_host(host));
            } else if tried.is_empty() {
                return Err(all_of(failures));
            }
            tokio::select! {
                Some(outcome) = tried.next() => match outcome {
                    Ok((index, session)) => {
                        self.last_fit.store(index, Ordering::Relaxed);
                        return Ok(session);
                    }
                    Err(failure) => failures.push(failure),
                },
                () = next_host(more.is_some()) => {}
            }
        }
    }

    async fn try_host(&self, (index, host): (usize, &KnownHost)) -> Result<(usize, Session), Failure> {
        let late = |_| Err(Failure::said("it did not answer in time"));
        let to_connect = host.target.config.get_connect_timeout().copied().unwrap_or_default();
        match timeout(to_connect + ASKING_TIMEOUT, self.open(host)).await.unwrap_or_else(late) {
            Ok(session) => Ok((index, session)),
            Err(failure) => Err(failure.at(&host.target.name)),
        }
    }

    async fn open(&self, host: &KnownHost) -> Result<Session, Failure> {
        if !host.is_pooler.load(Ordering::Relaxed) {
            match self.connect(host, &host.with_settings).await {
                Ok(mut opened) => {
                    if has_our_settings(&opened.client).await.map_err(lost)? {
                        return Ok(opened.into_session(Way::Direct(Prepared::default()), host, &self.recent));
                    }
                    self.check_pooler(&mut opened.client).await?;
                    return Ok(self.behind_pooler(host, opened));
                }
                Err(error) if refuses_settings(&error) => {}
                Err(error) => return Err(lost(error)),
            }
        }
        let mut opened = self.connect(host, &host.target.config).await.map_err(lost)?;
        self.check_pooler(&mut opened.client).await?;
        Ok(self.behind_pooler(host, opened))
    }

    fn behind_pooler(&self, host: &KnownHost, opened: Opened) -> Session {
        if !host.is_pooler.swap(true, Ordering::Relaxed) {
            tracing::info!(
                host = %host.target.name,
                "a pooler stands before PostgreSQL: settings are made in each transaction, and no statement is prepared"
            );
        }
        opened.into_session(Way::Pooler(self.prelude.clone()), host, &self.recent)
    }

    /// With the password as it stands in its file now, if it stands in one.
    async fn connect(&self, host: &KnownHost, config: &Config) -> Result<Opened, tokio_postgres::Error> {
        let mut config = config.clone();
        if let Some(password) = self.passwords.of_host(&host.target.name) {
            config.password(password);
        }
        match &self.tls {
            Some(tls) => config.connect(tls.clone()).await.map(|(client, connection)| Opened::new(client, connection)),
            None => config.connect(NoTls).await.map(|(client, connection)| Opened::new(client, connection)),
        }
    }

    /// Whether a transaction keeps the settings that it begins with.
    async fn check_pooler(&self, client: &mut Client) -> Result<(), Failure> {
        let scattered = || {
            Failure::said(
                "the pooler before PostgreSQL does not keep a transaction together: set its pool_mode to transaction or \
                 session",
            )
        };
        let transaction = client.transaction().await.map_err(|error| match error.code() {
            Some(code) if *code == SqlState::PROTOCOL_VIOLATION => scattered(),
            _ => lost(error),
        })?;
        transaction.batch_execute(&self.prelude).await.map_err(lost)?;
        let is_kept = shows_mark(&transaction.simple_query(MARK_QUERY).await.map_err(lost)?);
        transaction.rollback().await.map_err(lost)?;
        if is_kept { Ok(()) } else { Err(scattered()) }
    }
}

impl Manager for Connector {
    type Type = Session;
    type Error = Failure;

    async fn create(&self) -> Result<Session, Failure> {
        self.first_fit().await
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<Failure> {
        if session.client.is_closed() { Err(RecycleError::message("the connection is closed")) } else { Ok(()) }
    }
}

/// A connection whose settings are not known yet.
struct Opened {
    client: Client,
    reader: tokio::task::JoinHandle<()>,
}

impl Opened {
    fn new<S, T>(client: Client, connection: tokio_postgres::Connection<S, T>) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        T: tokio_postgres::tls::TlsStream + Unpin + Send + 'static,
    {
        let reader = tokio::spawn(async move {
            // Whoever uses the client is told.
            let _ = connection.await;
        });
        Self { client, reader }
    }

    fn into_session(self, way: Way, host: &KnownHost, recent: &Arc<Recent>) -> Session {
        Session::new(self.client, way, host.target.name.clone(), recent.clone(), self.reader)
    }
}

async fn next_host(is_there_more: bool) {
    if is_there_more {
        sleep(NEXT_HOST).await;
    } else {
        pending::<()>().await;
    }
}

const MARK_QUERY: &str = "SELECT current_setting('punte.session', true)";

/// Whether the server has heard of them; then also that what is committed is on disk.
async fn has_our_settings(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let is_marked = shows_mark(&client.simple_query(MARK_QUERY).await?);
    if is_marked {
        client.batch_execute(&format!("SELECT {}", settings::DURABLE.replace("$local", "false"))).await?;
    }
    Ok(is_marked)
}

fn shows_mark(answer: &[SimpleQueryMessage]) -> bool {
    answer.iter().any(|it| matches!(it, SimpleQueryMessage::Row(row) if row.get(0) == Some(settings::MARK.1)))
}

/// PgBouncer: `unsupported startup parameter`. Other poolers say that the feature is unknown to them.
fn refuses_settings(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| [SqlState::PROTOCOL_VIOLATION, SqlState::FEATURE_NOT_SUPPORTED].contains(code))
}

#[expect(clippy::needless_pass_by_value, reason = "a function for map_err")]
fn lost(error: tokio_postgres::Error) -> Failure {
    Failure::of(&error, false)
}

fn all_of(failures: Vec<Failure>) -> Failure {
    let finding = failures.last().map(|it| it.finding).unwrap_or_default();
    let texts: Vec<_> = failures.into_iter().map(|it| it.text()).collect();
    Failure { finding, ..Failure::said(texts.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::postgres::{Files, Server};

    #[test]
    fn a_pooler_is_found_out_once() {
        let server = Server { url: "postgres://u@localhost,127.0.0.1/d", passfile: None, files: Files::default() };
        let address = Address::parse(server.url, None).unwrap();
        let connector = Connector::new(address, Passwords::of(&server), None, Arc::default());
        assert!(connector.distrust());
        assert!(!connector.distrust());
    }
}
