//! Every name that Punte uses in RabbitMQ: a prefix and an agency come in, names of exchanges, queues and keys go out.
//!
//! | name | what |
//! | --- | --- |
//! | `<prefix>.work` | durable direct exchange: work items, by the keys `<agency>` and `<agency>.urgent` |
//! | `<prefix>.work.<agency>` | quorum queue of ordinary work |
//! | `<prefix>.work.<agency>.urgent` | quorum queue of urgent work: quorum queues of RabbitMQ 3.10 know no priorities |
//! | `<prefix>.dead` | durable direct exchange: what killed its worker, by the key `<agency>` |
//! | `<prefix>.dead.<agency>` | quorum queue of dead letters: one an agency, so that an operator sees whose they are |
//! | `<prefix>.mark` | quorum queue of one message: the copy of the journal's mark, by the key `.mark` of `<prefix>.work` |
//! | `<prefix>.events` | durable topic exchange: announcements, by `submission.<agency>.<office>.<state>` |
//! | `<prefix>.events.peers` | durable fanout exchange: the same for Punte's own processes, those of a moment in one message |
//! | `<prefix>.events.<random>` | a process's own queue of announcements, which ends with its connection |
//! | `<prefix>.owner` | durable exchange that carries nothing: its alternate exchange, `<prefix>.owner.<journal>`, says whose the prefix is |

use crate::domain::{AgencyName, Priority};
use lapin::types::ShortString;

/// All announcements.
pub const ALL_SUBMISSIONS: &str = "submission.#";
/// No agency's name begins with a dot.
pub const MARK_KEY: &str = ".mark";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// `None` if the prefix is empty, too long, or has other characters than `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`.
    pub fn new(prefix: &str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let is_valid = (1..=64).contains(&prefix.len()) && prefix.bytes().all(is_plain);
        is_valid.then(|| Self { prefix: prefix.to_owned() })
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn work_exchange(&self) -> ShortString {
        format!("{}.work", self.prefix).into()
    }

    pub fn dead_exchange(&self) -> ShortString {
        format!("{}.dead", self.prefix).into()
    }

    pub fn events_exchange(&self) -> ShortString {
        format!("{}.events", self.prefix).into()
    }

    pub fn peers_exchange(&self) -> ShortString {
        format!("{}.events.peers", self.prefix).into()
    }

    /// A new one each time.
    pub fn own_events_queue(&self) -> ShortString {
        format!("{}.events.{}", self.prefix, uuid::Uuid::new_v4().simple()).into()
    }

    /// What is told of such a queue, without what is new in it each time: what is said again is known by its words.
    pub fn without_random(&self, told: &str, own_events_queue: &ShortString) -> String {
        told.replace(own_events_queue.as_str(), &format!("{}.events.…", self.prefix))
    }

    pub fn owner_exchange(&self) -> ShortString {
        format!("{}.owner", self.prefix).into()
    }

    /// What `<prefix>.owner` names as its alternate exchange, which never exists.
    pub fn owner_key(&self, journal: &str) -> String {
        format!("{}.owner.{journal}", self.prefix)
    }

    /// The reverse.
    pub fn owner_of(&self, key: &str) -> Option<String> {
        key.strip_prefix(&format!("{}.owner.", self.prefix)).map(str::to_owned)
    }

    pub fn work_queue(&self, agency: &AgencyName, priority: Priority) -> ShortString {
        format!("{}.work.{}", self.prefix, work_key(agency, priority)).into()
    }

    pub fn mark_queue(&self) -> ShortString {
        format!("{}.mark", self.prefix).into()
    }

    pub fn dead_queue(&self, agency: &AgencyName) -> ShortString {
        format!("{}.dead.{agency}", self.prefix).into()
    }
}

/// The routing key of work. A dot cannot be in an agency's name, so the keys of two agencies never meet.
pub fn work_key(agency: &AgencyName, priority: Priority) -> String {
    match priority {
        Priority::Ordinary => agency.to_string(),
        Priority::Urgent => format!("{agency}.urgent"),
    }
}

pub fn dead_key(agency: &AgencyName) -> String {
    agency.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_ones_that_operators_read_in_the_documentation() {
        let names = Names::new("punte").unwrap();
        let agency = "civil-registry".parse().unwrap();
        assert_eq!(names.work_queue(&agency, Priority::Ordinary).as_str(), "punte.work.civil-registry");
        assert_eq!(names.work_queue(&agency, Priority::Urgent).as_str(), "punte.work.civil-registry.urgent");
        assert_eq!(names.dead_queue(&agency).as_str(), "punte.dead.civil-registry");
        assert_eq!(names.mark_queue().as_str(), "punte.mark");
        assert_eq!(names.work_exchange().as_str(), "punte.work");
        assert_eq!(names.dead_exchange().as_str(), "punte.dead");
        assert_eq!(names.events_exchange().as_str(), "punte.events");
        assert_eq!(names.peers_exchange().as_str(), "punte.events.peers");
        assert_eq!(names.owner_exchange().as_str(), "punte.owner");
        assert_eq!(names.owner_of(&names.owner_key("5f2e")).as_deref(), Some("5f2e"));
        assert!(names.own_events_queue().as_str().starts_with("punte.events."));
    }

    #[test]
    fn what_is_told_of_two_queues_of_a_process_is_told_in_the_same_words() {
        let names = Names::new("punte").unwrap();
        let told = || {
            let queue = names.own_events_queue();
            names.without_random(&format!("access to queue '{queue}' in vhost '/' refused"), &queue)
        };
        assert_eq!(told(), "access to queue 'punte.events.…' in vhost '/' refused");
        assert_eq!(told(), told());
    }

    #[test]
    fn a_prefix_that_could_not_be_part_of_a_name_is_refused() {
        for bad in ["", "a b", "a/b", "é", "a#", &"a".repeat(65)] {
            assert_eq!(Names::new(bad), None, "{bad}");
        }
    }
}
