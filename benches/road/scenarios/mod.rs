//! One scenario a file: the services that it needs come in, its figures go out.

mod road;

use crate::{
    arguments::{Arguments, Scenario},
    report::Report,
    services::Service,
};
use tempfile::TempDir;

/// What a scenario may use.
pub struct Hall {
    pub arguments: Arguments,
    pub report: Report,
    pub rabbitmq: Service,
    _folder: TempDir,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("punte-road.").tempdir()?;
    let path = folder.path().to_owned();
    let rabbitmq = tokio::task::spawn_blocking(move || Service::rabbitmq(&path)).await??;
    let hall = Hall { report: Report { is_json: arguments.json }, arguments, rabbitmq, _folder: folder };
    for scenario in hall.arguments.scenarios.clone() {
        match scenario {
            Scenario::Road => road::run(&hall).await?,
        }
    }
    Ok(())
}

impl Hall {
    pub fn amqp(&self) -> anyhow::Result<&str> {
        self.rabbitmq.url("PUNTE_TEST_AMQP_URL")
    }
}
