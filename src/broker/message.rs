//! What queues carry, as versioned types: identifiers only, so that no personal data lies in a broker.

use crate::domain::{AgencyName, OfficeName, Priority, ServiceName, StateName, SubmissionId, TraceParent};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::error::Category;

/// Work for an agency's worker: which submission to deliver. Everything else is in the journal.
///
/// While processes of two releases run side by side, each reads what the other has published. A release that only adds
/// members keeps the version, and members that a reader does not know are passed over. A version that a reader does not
/// know goes to the dead letters, and the journal, which misses it in the queue, has it published again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkItem {
    pub submission: SubmissionId,
    pub agency: AgencyName,
    /// Whose it is, for fairness among offices. `None`: an older release has published it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub office: Option<OfficeName>,
    pub priority: Priority,
    pub trace: TraceParent,
}

/// A message that can never be handled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Poison {
    #[error("not a work item: {0}")]
    Malformed(String),
    #[error("a work item of version {0}, which this program does not know")]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    body: T,
}

const VERSION: u32 = 1;

impl WorkItem {
    pub const MEDIA_TYPE: &str = "application/vnd.punte.work+json";

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&Versioned { version: VERSION, body: self }).unwrap_or_default()
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Poison> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let malformed = |error: serde_json::Error| Poison::Malformed(without_values(&error));
        match serde_json::from_slice::<Head>(bytes).map_err(malformed)?.version {
            VERSION => serde_json::from_slice::<Versioned<Self>>(bytes).map(|it| it.body).map_err(malformed),
            other => Err(Poison::Version(other)),
        }
    }
}

/// What JSON's reader says quotes what it has read, and who publishes to the broker may have put anything there.
pub(super) fn without_values(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        Category::Io | Category::Eof => "it ends too early",
        Category::Syntax => "no JSON",
        Category::Data => "a member is missing or of another kind",
    };
    format!("{kind}, at line {} column {}", error.line(), error.column())
}

/// A change of state, as the topic exchange carries it: a CloudEvents 1.0 envelope in structured JSON mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "CloudEvent", into = "CloudEvent")]
pub struct Announcement {
    pub submission: SubmissionId,
    pub office: OfficeName,
    pub agency: AgencyName,
    pub service: ServiceName,
    pub state: StateName,
    pub at: Timestamp,
    pub trace: TraceParent,
}

impl Announcement {
    pub const MEDIA_TYPE: &str = "application/cloudevents+json";
    /// Of several in an array (CloudEvents, JSON event format, section 4).
    pub const BATCH_MEDIA_TYPE: &str = "application/cloudevents-batch+json";

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The topic: `submission.<agency>.<office>.<state>`.
    pub fn topic(&self) -> String {
        format!("submission.{}.{}.{}", self.agency, self.office, self.state)
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct CloudEvent {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    event_type: String,
    subject: SubmissionId,
    time: Timestamp,
    datacontenttype: String,
    traceparent: TraceParent,
    data: AnnouncementData,
}

#[derive(Clone, Serialize, Deserialize)]
struct AnnouncementData {
    office: OfficeName,
    agency: AgencyName,
    service: ServiceName,
    state: StateName,
}

impl From<Announcement> for CloudEvent {
    fn from(it: Announcement) -> Self {
        Self {
            specversion: "1.0".into(),
            id: format!("{}/{}", it.submission, it.at.as_microsecond()),
            source: "/punte".into(),
            event_type: format!("punte.submission.{}.v1", it.state),
            subject: it.submission,
            time: it.at,
            datacontenttype: "application/json".into(),
            traceparent: it.trace,
            data: AnnouncementData { office: it.office, agency: it.agency, service: it.service, state: it.state },
        }
    }
}

impl From<CloudEvent> for Announcement {
    fn from(it: CloudEvent) -> Self {
        Self {
            submission: it.subject,
            office: it.data.office,
            agency: it.data.agency,
            service: it.data.service,
            state: it.data.state,
            at: it.time,
            trace: it.traceparent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> WorkItem {
        WorkItem {
            submission: SubmissionId::new(),
            agency: "civil-registry".parse().unwrap(),
            office: Some("causeni".parse().unwrap()),
            priority: Priority::Urgent,
            trace: TraceParent::fresh(),
        }
    }

    #[test]
    fn a_work_item_survives_its_own_bytes() {
        let item = item();
        assert_eq!(WorkItem::from_bytes(&item.to_bytes()), Ok(item));
    }

    #[test]
    fn members_that_a_newer_release_has_added_are_passed_over() {
        let item = item();
        let mut newer = serde_json::from_slice::<serde_json::Value>(&item.to_bytes()).unwrap();
        newer["route"] = "express".into();
        newer["hints"] = serde_json::json!({"size_bytes": 7, "agency": "another"});
        assert_eq!(WorkItem::from_bytes(newer.to_string().as_bytes()), Ok(item));
    }

    #[test]
    fn an_unknown_version_or_other_bytes_are_poison() {
        let mut other = serde_json::from_slice::<serde_json::Value>(&item().to_bytes()).unwrap();
        other["version"] = 2.into();
        assert_eq!(WorkItem::from_bytes(other.to_string().as_bytes()), Err(Poison::Version(2)));
        for bad in [&b""[..], b"{}", b"\xff", b"[]", br#"{"version":1}"#] {
            assert!(matches!(WorkItem::from_bytes(bad), Err(Poison::Malformed(_))));
        }
    }

    #[test]
    fn what_poison_holds_is_not_told() {
        for bad in [
            r#"{"version":"2000000000900"}"#,
            r#"{"version":1,"submission":"2000000000900","agency":"civil-registry"}"#,
            r#"{"version":1,"2000000000900":2000000000900} 2000000000900"#,
        ] {
            let told = WorkItem::from_bytes(bad.as_bytes()).unwrap_err().to_string();
            assert!(!told.contains("2000000000900"), "{told}");
        }
    }

    #[test]
    fn an_announcement_is_a_cloud_event() {
        let announcement = Announcement {
            submission: SubmissionId::new(),
            office: "causeni".parse().unwrap(),
            agency: "civil-registry".parse().unwrap(),
            service: "person-lookup".parse().unwrap(),
            state: StateName::Completed,
            at: Timestamp::UNIX_EPOCH,
            trace: TraceParent::fresh(),
        };
        let json = serde_json::to_value(&announcement).unwrap();
        assert_eq!(json["specversion"], "1.0");
        assert_eq!(json["type"], "punte.submission.completed.v1");
        assert_eq!(serde_json::from_value::<Announcement>(json).unwrap(), announcement);
    }
}
