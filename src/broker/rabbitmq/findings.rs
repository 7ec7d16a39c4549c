//! What was found on the things in RabbitMQ comes in; it is told once, when it begins and when it is over, and what hinders
//! goes out to whoever asks how the broker is.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How a thing is that Punte needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// It is there with other properties, and is used as it is.
    Differs(Vec<String>),
    /// It is there, and our user may not declare it: somebody has made it for us.
    Given,
    /// Something does not work because of it.
    Hinders(String),
}

#[derive(Default)]
pub(super) struct Findings(Mutex<BTreeMap<String, Finding>>);

impl Findings {
    pub(super) fn note(&self, thing: &str, finding: Finding) {
        let before = self.all().insert(thing.to_owned(), finding.clone());
        if before.as_ref() != Some(&finding) {
            tell(thing, &finding);
        }
    }

    pub(super) fn hinders(&self, thing: &str, why: impl Into<String>) {
        self.note(thing, Finding::Hinders(why.into()));
    }

    /// It is as it should be.
    pub(super) fn fits(&self, thing: &str) {
        if let Some(Finding::Hinders(why)) = self.all().remove(thing) {
            tracing::info!(thing, was = %why, "this is mended");
        }
    }

    /// What does not work, in one text; `None` if nothing hinders.
    pub(super) fn in_words(&self) -> Option<String> {
        let hindering: Vec<_> = self.all().values().filter_map(hindrance).collect();
        if hindering.is_empty() { None } else { Some(hindering.join("; ")) }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Finding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hindrance(finding: &Finding) -> Option<String> {
    match finding {
        Finding::Hinders(why) => Some(why.clone()),
        Finding::Differs(_) | Finding::Given => None,
    }
}

fn tell(thing: &str, finding: &Finding) {
    match finding {
        Finding::Differs(differences) => {
            let differences = differences.join(", ");
            tracing::warn!(thing, %differences, "it exists with other properties, and is used as it is: messages flow");
        }
        Finding::Given => tracing::info!(thing, "our user may not declare it; it is there, and is used as it is"),
        Finding::Hinders(why) => tracing::error!(thing, %why, "RabbitMQ is not as Punte needs it"),
    }
}
