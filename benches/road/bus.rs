//! An installation of Punte: its files and keys, its journal and broker, and an agency that the measurement plays.

use crate::{
    agency::{Agency, AgencyListener},
    database::Database,
    environment::{self, BenchEnvironment},
    load_client::{Expected, Question},
    roles::{Layout, Punte},
};
use jiff::Timestamp;
use punte::{
    domain::AgencyName,
    kit::test_stack::{OFFICE, TestStack, TestStackPlan},
    trust::{AgencyRoots, ClientTls, Identity, client_config},
};
use rustls::ClientConfig;
use serde_json::json;
use std::{path::PathBuf, sync::Arc};

/// Everything around the processes: files, keys, the agency.
pub struct Installation {
    pub stack: TestStack,
    pub agency: Agency,
    pub agency_port: u16,
    pub layout: Layout,
    /// Where the journal is, if it is PostgreSQL.
    pub database: Option<Database>,
    env: BenchEnvironment,
}

/// What an installation is for.
#[derive(Clone, Copy)]
pub struct InstallationPlan<'a> {
    /// `None`: the embedded broker.
    pub amqp: Option<&'a str>,
    /// `None`: SQLite.
    pub postgres: Option<&'a Database>,
    pub layout: Layout,
    /// Of the messages to and from the agency: `rsa-sha256` or `ecdsa-sha256`.
    pub algorithm: &'static str,
    pub agencies: usize,
    /// How many of them, the last ones, never answer.
    pub dead: usize,
    /// What the first office may ask for in a minute; the others may ask for as much as they like.
    pub first_office: u32,
}

/// No office asks for more.
pub const ROOMY: u32 = 100_000_000;

impl Default for InstallationPlan<'_> {
    fn default() -> Self {
        Self {
            amqp: None,
            postgres: None,
            layout: Layout::Together,
            algorithm: "rsa-sha256",
            agencies: 1,
            dead: 0,
            first_office: ROOMY,
        }
    }
}

impl Installation {
    pub async fn prepare(plan: InstallationPlan<'_>) -> anyhow::Result<Self> {
        let env = BenchEnvironment::make(plan.agencies, plan.algorithm)?;
        let listener = AgencyListener::open()?;
        let agency_port = listener.port()?;
        let mut stack = TestStackPlan::of_project(env.folder());
        stack.services = env.folder().join("services");
        stack.journal_url = plan.postgres.map(|database| database.url.clone());
        stack.rabbitmq = plan.amqp.map(|uri| (uri.to_owned(), format!("road-{}", uuid::Uuid::new_v4().simple())));
        for (number, agency) in env.agencies.iter().enumerate() {
            let endpoint = endpoint(agency_port, number, &plan);
            stack.external_agencies.insert(agency.parse::<AgencyName>()?, Box::new(move |_| endpoint));
        }
        let stack = TestStack::prepare(stack).await?;
        env.share_keys(&stack.secrets())?;
        let usual = "requests_per_minute = 100000\n";
        let (first, others) =
            (format!("requests_per_minute = {}\n", plan.first_office), format!("requests_per_minute = {ROOMY}\n"));
        environment::edit(&stack.folder.path().join("offices.toml"), |text| {
            text.replacen(usual, &first, 1).replace(usual, &others)
        })?;
        let agency = Agency::begin(listener, &stack.secrets().join("simulators").join(&env.agencies[0]))?;
        let (layout, database) = (plan.layout, plan.postgres.cloned());
        Ok(Self { stack, agency, agency_port, layout, database, env })
    }

    pub fn first_agency(&self) -> &str {
        &self.env.agencies[0]
    }

    pub fn services(&self) -> &[String] {
        &self.env.services
    }

    /// Where the journal is, if it is SQLite.
    pub fn journal(&self) -> PathBuf {
        self.stack.folder.path().join("data/journal.db")
    }

    /// TLS of an office's client.
    pub fn office(&self, name: &str) -> anyhow::Result<Arc<ClientConfig>> {
        let offices = self.stack.secrets().join("offices");
        let (certificate, key) = (offices.join(format!("{name}.pem")), offices.join(format!("{name}.key")));
        let identity = Identity::load(&certificate, &key, Timestamp::now())?;
        let roots = AgencyRoots::load(&self.stack.secrets().join("gateway/server-ca.pem"))?;
        Ok(Arc::new(client_config(&roots, ClientTls { identity: Some(&identity), ..ClientTls::default() })?))
    }

    /// Clients of the usual office who wait for the answers of all services.
    pub fn question(&self, punte: &Punte) -> anyhow::Result<Question> {
        self.question_of(punte, OFFICE, self.services(), Expected::Answer("\"state\":\"completed\""))
    }

    pub fn question_of(
        &self,
        punte: &Punte,
        office: &str,
        services: &[String],
        expected: Expected,
    ) -> anyhow::Result<Question> {
        let bodies = services.iter().map(|service| request(service, None)).collect();
        Ok(Question { ports: punte.ports.clone(), tls: self.office(office)?, bodies, expected })
    }
}

/// Dead agencies are so in two ways: every other one takes requests and stays silent, the others are not there at all.
fn endpoint(port: u16, number: usize, plan: &InstallationPlan<'_>) -> String {
    match (number + plan.dead < plan.agencies, number % 2) {
        (true, _) => format!("https://localhost:{port}/registry"),
        (false, 0) => format!("https://localhost:{port}{}", crate::agency::SILENT),
        (false, _) => "https://localhost:1/registry".to_owned(),
    }
}

/// The standard request that every client sends.
pub fn request(service: &str, attachment: Option<&str>) -> String {
    let attachments: Vec<_> = attachment.into_iter().collect();
    json!({
        "service": service,
        "context": {
            "clerk": "2000000000900",
            "entity": "1000000000001",
            "legal_basis": "Law 100/2020, art. 5",
            "reason": "Application 123",
        },
        "subject": {"scheme": "idnp", "id": "2000000000001"},
        "data": {},
        "attachments": attachments,
    })
    .to_string()
}
