//! How the queues stand, for an operator: settings and agencies come in, what RabbitMQ counts goes out. Nothing is changed.

use super::{RabbitmqSettings, connection::AmqpConnection, inspection::inspect};
use crate::{
    broker::{BrokerError, QueueDepth},
    domain::{AgencyName, Priority},
};
use lapin::types::ShortString;

/// One queue, as it is named in RabbitMQ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueReport {
    pub name: String,
    /// `None`: there is no such queue.
    pub depth: Option<QueueDepth>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgencyReport {
    pub agency: AgencyName,
    pub work: Vec<QueueReport>,
    pub dead_letters: QueueReport,
}

pub async fn report(settings: RabbitmqSettings, agencies: &[AgencyName]) -> Result<Vec<AgencyReport>, BrokerError> {
    let target = settings.checked().map_err(|error| BrokerError::Refused(error.to_string()))?;
    let connection = AmqpConnection::open(&target, "report").await?;
    let mut reports = Vec::new();
    for agency in agencies {
        let mut work = Vec::new();
        for priority in Priority::ALL {
            work.push(report_on(&connection, target.names.work_queue(agency, priority), agency).await?);
        }
        let dead_letters = report_on(&connection, target.names.dead_queue(agency), agency).await?;
        reports.push(AgencyReport { agency: agency.clone(), work, dead_letters });
    }
    connection.close().await;
    Ok(reports)
}

async fn report_on(
    connection: &AmqpConnection,
    queue: ShortString,
    agency: &AgencyName,
) -> Result<QueueReport, BrokerError> {
    let depth = match inspect(connection, queue.clone(), agency).await {
        Ok(depth) => Some(depth),
        Err(BrokerError::Unroutable(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(QueueReport { name: queue.to_string(), depth })
}
