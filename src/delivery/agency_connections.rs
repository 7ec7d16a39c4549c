//! The connections to all agencies: adapters and key files come in, a connection or the reason why an agency is stopped goes
//! out.
//!
//! Files that cannot be used stop their own agency and no other. They are looked at again and again, and the agency goes
//! on by itself when they are good.

use super::AgencyConnection;
use crate::{
    adapter::{Adapter, Adapters},
    domain::{AgencyName, Code, Fault, Stage},
    settings::{AgencySettings, ConfigFaults, SecretFiles},
    trust::{AnswerPolicy, Load, SealProfile, digest_of_files},
};
use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// Made when the process starts, and kept until it ends.
#[derive(Debug, Default)]
pub struct AgencyConnections(BTreeMap<AgencyName, Place>);

#[derive(Debug)]
struct Place {
    adapter: Arc<Adapter>,
    /// Where the agency's keys and certificates lie.
    files: SecretFiles,
    /// Attempts under way keep the connection with which they began.
    connection: ArcSwap<Result<Arc<AgencyConnection>, Stopped>>,
    /// The files as they were when the agency was stopped, and when they were looked at last.
    seen: Mutex<(Vec<u8>, Timestamp)>,
}

/// An agency whose key files cannot be used.
#[derive(Debug, Clone)]
struct Stopped(ConfigFaults);

/// A certificate may become valid without any change.
const LOOK_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(30);

impl AgencyConnections {
    /// Opens a connection to every agency. What is wrong in configuration goes to `faults`; what is wrong in key files stops
    /// that agency, see [`AgencyConnections::stopped`].
    pub fn open(
        adapters: &Adapters,
        places: &BTreeMap<AgencyName, AgencySettings>,
        secrets: &Path,
        now: Timestamp,
        faults: &mut ConfigFaults,
    ) -> Self {
        let mut connections = BTreeMap::new();
        for adapter in adapters.iter() {
            let place = places.get(&adapter.agency).and_then(|place| place.secrets.clone());
            let files = place.unwrap_or_else(|| SecretFiles::derived(secrets, &adapter.agency));
            let Some(profile) = AgencyConnection::check_profile(adapter, &files.folder, faults) else { continue };
            let seen = Mutex::new((digest_of(&files, &profile), now));
            let connection =
                AgencyConnection::open(adapter.clone(), &files, profile, now).map(Arc::new).map_err(Stopped);
            let place = Place { adapter: adapter.clone(), files, connection: ArcSwap::from_pointee(connection), seen };
            connections.insert(adapter.agency.clone(), place);
        }
        Self(connections)
    }

    pub fn adapter(&self, agency: &AgencyName) -> Option<&Arc<Adapter>> {
        self.0.get(agency).map(|place| &place.adapter)
    }

    /// `None`: there is no such agency. The fault: nothing can be sent to it now.
    pub fn get(&self, agency: &AgencyName) -> Option<Result<Arc<AgencyConnection>, Fault>> {
        let place = self.0.get(agency)?;
        Some(match &**place.connection.load() {
            Ok(connection) => Ok(connection.clone()),
            Err(stopped) => {
                let text = format!("the agency is stopped: {}", stopped.text());
                Err(Fault::new(Code::IdentityUnusable, Stage::Seal, text))
            }
        })
    }

    /// Those that work.
    pub fn iter(&self) -> impl Iterator<Item = Arc<AgencyConnection>> {
        self.0.values().filter_map(|place| place.connection.load().as_ref().as_ref().ok().cloned())
    }

    /// What stops agencies: each of these faults stops its own agency alone.
    pub fn stopped(&self) -> ConfigFaults {
        let mut all = ConfigFaults::default();
        for place in self.0.values() {
            if let Err(Stopped(faults)) = &**place.connection.load() {
                all.extend(faults.clone());
            }
        }
        all
    }

    /// What is wrong with an agency's key files now: it is stopped, or new files are refused and the old ones used.
    pub fn trouble(&self, agency: &AgencyName) -> Option<String> {
        match &**self.0.get(agency)?.connection.load() {
            Ok(connection) => connection.trouble(),
            Err(stopped) => Some(format!("the agency is stopped, its submissions wait: {}", stopped.text())),
        }
    }

    /// Says of every agency that is stopped that it is, and why.
    pub fn tell_stopped(&self) {
        for (agency, place) in &self.0 {
            if let Err(stopped) = &**place.connection.load() {
                stopped.tell(agency);
            }
        }
    }

    /// Looks at all key files. A bad one is refused, and what was loaded before stays in use.
    pub fn refresh(&self, now: Timestamp) {
        self.0.iter().for_each(|(agency, place)| place.refresh(agency, now));
    }
}

impl Place {
    fn refresh(&self, agency: &AgencyName, now: Timestamp) {
        let before = match &**self.connection.load() {
            Ok(connection) => return connection.refresh(now),
            Err(stopped) => stopped.text(),
        };
        let mut ignored = ConfigFaults::default();
        let Some(profile) = AgencyConnection::check_profile(&self.adapter, &self.files.folder, &mut ignored) else {
            return;
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = digest_of(&self.files, &profile);
        if seen.0 == digest && now.duration_since(seen.1).abs() < LOOK_AGAIN_AFTER {
            return;
        }
        *seen = (digest, now);
        let connection =
            AgencyConnection::open(self.adapter.clone(), &self.files, profile, now).map(Arc::new).map_err(Stopped);
        match &connection {
            Ok(_) => tracing::warn!(%agency, "its key files are good now: the agency goes on"),
            Err(stopped) if stopped.text() != before => stopped.tell(agency),
            Err(_) => {}
        }
        self.connection.store(Arc::new(connection));
    }
}

fn digest_of(files: &SecretFiles, profile: &SealProfile) -> Vec<u8> {
    let answers = AnswerPolicy::paths(&profile.answer);
    digest_of_files(files.all().into_iter().chain(answers))
}

impl Stopped {
    fn text(&self) -> String {
        let faults = self.0.0.iter().map(ToString::to_string);
        faults.collect::<Vec<_>>().join("; ")
    }

    fn tell(&self, agency: &AgencyName) {
        let why = self.text();
        tracing::error!(%agency, why, "this agency is stopped until its key files are good; everything else goes on");
    }
}
