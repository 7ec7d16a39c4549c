//! One scenario a file: the services that it needs come in, its figures go out.

mod attachments;
mod backlog;
mod beside_floor;
mod database_work;
mod dead_agencies;
mod flooding_office;
mod full_journal;
mod full_journal_postgres;
mod raw_rounds;

use crate::{
    arguments::{Arguments, Scenario},
    bus::{Installation, InstallationPlan},
    database::{self, Database},
    interleaved::{Rules, Subject},
    report::Report,
    roles::Punte,
    services::Service,
};
use std::{path::PathBuf, time::Duration};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// What a scenario may use.
pub struct Bench {
    pub arguments: Arguments,
    pub report: Report,
    rabbitmq: Service,
    postgres: OnceCell<Service>,
    /// The rival has a server of its own, because much is counted for a server as a whole.
    rivals_postgres: OnceCell<Service>,
    folder: TempDir,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    for scenario in arguments.scenarios() {
        // Queues that one scenario leaves behind must not burden the next.
        let bench = Bench::open(arguments.clone()).await?;
        match scenario {
            Scenario::Road => beside_floor::road(&bench).await?,
            Scenario::SlowAgency => beside_floor::slow_agency(&bench).await?,
            Scenario::P256 => beside_floor::p256(&bench).await?,
            Scenario::Postgres => beside_floor::postgres(&bench).await?,
            Scenario::Apart => beside_floor::apart(&bench).await?,
            Scenario::Several => beside_floor::several(&bench).await?,
            Scenario::Embedded => beside_floor::embedded(&bench).await?,
            Scenario::DeadAgencies => dead_agencies::run(&bench).await?,
            Scenario::FloodingOffice => flooding_office::run(&bench).await?,
            Scenario::FullJournal => full_journal::run(&bench).await?,
            Scenario::FullJournalPostgres => full_journal_postgres::run(&bench).await?,
            Scenario::Backlog => backlog::run(&bench).await?,
            Scenario::Attachments => attachments::run(&bench).await?,
            Scenario::All => {}
        }
    }
    Ok(())
}

impl Bench {
    async fn open(arguments: Arguments) -> anyhow::Result<Self> {
        // PostgreSQL runs as a user of its own, who must be able to get there.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        let folder = tempfile::Builder::new().prefix("punte-road.").permissions(mode).tempdir()?;
        let rabbitmq = service(&arguments, "rabbitmq", "PUNTE_TEST_AMQP_URL", folder.path().to_owned()).await?;
        let report = Report { is_json: arguments.json };
        let (postgres, rivals_postgres) = (OnceCell::new(), OnceCell::new());
        Ok(Self { arguments, report, rabbitmq, postgres, rivals_postgres, folder })
    }

    pub fn amqp(&self) -> &str {
        &self.rabbitmq.url
    }

    /// A new database. Its server is started when it is first needed.
    pub async fn database(&self) -> anyhow::Result<Database> {
        self.database_in(&self.postgres, self.folder.path().to_owned()).await
    }

    pub async fn rivals_database(&self) -> anyhow::Result<Database> {
        self.database_in(&self.rivals_postgres, self.folder.path().join("rival")).await
    }

    async fn database_in(&self, server: &OnceCell<Service>, folder: PathBuf) -> anyhow::Result<Database> {
        let starting = async || {
            let server = service(&self.arguments, "postgres", "PUNTE_TEST_POSTGRES_URL", folder).await?;
            if !self.arguments.smoke {
                database::ensure_durable(&server).await?;
            }
            anyhow::Ok(server)
        };
        Database::new(server.get_or_try_init(starting).await?).await
    }

    pub fn rules(&self, scenario: &'static str) -> Rules {
        let Arguments { rounds, seconds, .. } = self.arguments;
        Rules { scenario, rounds, seconds, spread: Duration::ZERO, broker: self.rabbitmq.pid() }
    }

    /// RabbitMQ, SQLite, RSA-2048, one agency.
    pub fn usual(&self) -> InstallationPlan<'_> {
        InstallationPlan { amqp: Some(self.amqp()), ..InstallationPlan::default() }
    }

    pub fn most_clients(&self) -> usize {
        self.arguments.clients.iter().copied().max().unwrap_or(1)
    }

    /// Not so many that the machine itself is all that is measured.
    pub fn some_clients(&self) -> usize {
        self.most_clients().min(16)
    }
}

impl<'a> Subject<'a> {
    pub fn punte(name: &'static str, punte: &Punte, installation: &'a Installation) -> anyhow::Result<Self> {
        Ok(Self {
            name,
            pids: punte.pids(),
            database: installation.database.as_ref().and_then(|database| database.server_pid),
            question: installation.question(punte)?,
            agency: Some(&installation.agency),
            beside: None,
        })
    }
}

async fn service(
    arguments: &Arguments,
    name: &'static str,
    variable: &'static str,
    folder: PathBuf,
) -> anyhow::Result<Service> {
    match std::env::var(variable) {
        Ok(url) if arguments.smoke => Ok(Service::of_somebody_else(url)),
        _ => tokio::task::spawn_blocking(move || Service::start(name, variable, &folder)).await?,
    }
}
