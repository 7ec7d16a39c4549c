//! How one agency is reached now: its adapter and key files come in; client, signing identity and answer policy go out,
//! each renewed when its files change.

use super::{
    Halt,
    credential_refusals::CredentialRefusals,
    halt::CheckFailure,
    health_check::{self, HealthCheckFailure, HealthChecks, HealthReport},
};
use crate::{
    adapter::{Adapter, Reading},
    domain::{Code, Fault, Stage, Submission},
    http_client::{Client, ClientSettings, SendFailure, attentive_provider, server_is_proved},
    settings::{ConfigFaults, SecretFiles},
    trust::{
        AgencyRoots, AnswerPolicy, ClientTls, Identity, IdentityFiles, Purpose, Refreshed, Reloading, ReplayCache,
        Seal, SealProfile, TrustError, client_config,
    },
};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use std::{
    io::ErrorKind,
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

/// One to each agency, held by [`AgencyConnections`](super::AgencyConnections) and by every attempt on its way to that agency.
#[derive(Debug)]
pub struct AgencyConnection {
    /// The agency's folder as it was loaded at the start. It never changes.
    pub adapter: Arc<Adapter>,
    /// How requests are signed, as the adapter's profile says.
    pub seal: Seal,
    /// What is weak in that profile.
    profile_warnings: Vec<String>,
    /// Whose certificates the agency's server may show. Read again when the file changes, as the next three are.
    roots: Reloading<AgencyRoots>,
    /// The certificate and key that we show to the agency's server.
    client_identity: Reloading<Identity>,
    /// The certificate and key with which requests are signed; `None` where the profile does not sign.
    signing_identity: Option<Reloading<Identity>>,
    /// How answers are signed, and by whom.
    answers: Reloading<AnswerPolicy>,
    /// Holds the open TLS connections. A new one takes its place when roots or client certificate change; the old one is
    /// dropped when the last exchange over it has ended.
    client: ArcSwap<Client>,
    /// Why no client could be made of the newest files; the one that was made before sends on.
    client_trouble: Mutex<Option<String>>,
    /// Whether nothing is sent, because the agency does not take our certificate. It ends when a health check goes well.
    pub halt: Halt,
    /// Requests that the agency has answered with a refusal to let us in. Forgotten when somebody is let in.
    credential_refusals: CredentialRefusals,
    /// The health checks that such refusals have caused, one at a time. Ended when the worker stops.
    health_checks: HealthChecks,
    /// Signed answers that were seen, so that none counts twice. The oldest make place for new ones.
    pub replays: ReplayCache,
    /// Whether the last probe that went before a request has failed: then another one goes first, though there is a
    /// connection that has proved itself.
    pub has_failed_probe: AtomicBool,
}

/// What waits for a health check is tried again when that is over.
const CHECK_TAKES: Duration = Duration::from_secs(2);
/// What an agency that does not let us in may not know of us.
pub(super) const OUR_ACCESS: &str = "our certificate, key and token";
const REPLAYS_REMEMBERED: usize = 100_000;

impl AgencyConnection {
    /// How the agency's messages are signed; what is wrong in its `agency.toml` goes to `faults`.
    pub(super) fn check_profile(adapter: &Adapter, base: &Path, faults: &mut ConfigFaults) -> Option<SealProfile> {
        match adapter.seal.check(base) {
            Ok(profile) => Some(profile),
            Err(problems) => {
                for problem in problems {
                    let key = format!("seal.{}", problem.key);
                    faults.add(adapter.folder.join("agency.toml"), key, problem.text, problem.remedy);
                }
                None
            }
        }
    }

    /// The connection, or everything that is wrong with its key files.
    pub(super) fn open(
        adapter: Arc<Adapter>,
        files: &SecretFiles,
        profile: SealProfile,
        now: Timestamp,
    ) -> Result<Self, ConfigFaults> {
        let mut faults = ConfigFaults::default();
        match Self::opened(adapter, files, profile, now, &mut faults) {
            Some(connection) if faults.is_empty() => Ok(connection),
            _ => Err(faults),
        }
    }

    fn opened(
        adapter: Arc<Adapter>,
        files: &SecretFiles,
        profile: SealProfile,
        now: Timestamp,
        faults: &mut ConfigFaults,
    ) -> Option<Self> {
        let tls = IdentityFiles {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            purpose: Purpose::TlsClient,
        };
        let roots = usable(Reloading::<AgencyRoots>::load(files.ca.clone(), now), &files.ca, faults);
        let client_identity = usable(Reloading::<Identity>::load(tls, now), &files.certificate, faults);
        let profile_warnings = profile.warnings();
        let signing = match profile.seal {
            Seal::None => None,
            Seal::Wss(_) | Seal::Jws(_) | Seal::HttpSignature(_) => {
                let signing = IdentityFiles {
                    certificate: files.signing_certificate.clone(),
                    key: files.signing_key.clone(),
                    purpose: Purpose::Signatures,
                };
                Some(usable(Reloading::<Identity>::load(signing, now), &files.signing_certificate, faults))
            }
        };
        let answers = usable(Reloading::<AnswerPolicy>::load(profile.answer, now), &files.folder, faults);
        let (roots, client_identity, answers) = (roots?, client_identity?, answers?);
        let signing_identity = match signing {
            None => None,
            Some(signing) => Some(signing?),
        };
        let halt = Halt::new(adapter.breaker.cooldown);
        let client = usable(client(&adapter, &roots.current(), &client_identity.current()), &files.ca, faults)?;
        Some(Self {
            adapter,
            seal: profile.seal,
            profile_warnings,
            roots,
            client_identity,
            signing_identity,
            answers,
            client: ArcSwap::from_pointee(client),
            client_trouble: Mutex::default(),
            halt,
            credential_refusals: CredentialRefusals::default(),
            health_checks: HealthChecks::default(),
            replays: ReplayCache::with_capacity(REPLAYS_REMEMBERED),
            has_failed_probe: AtomicBool::default(),
        })
    }

    pub fn client(&self) -> Arc<Client> {
        self.client.load_full()
    }

    pub fn signing_identity(&self) -> Option<Arc<Identity>> {
        self.signing_identity.as_ref().map(Reloading::current)
    }

    pub fn answer_policy(&self) -> Arc<AnswerPolicy> {
        self.answers.current()
    }

    /// What the operator should know: weak algorithms, keys that others can read, certificates that end soon, and what the
    /// other side will have against ours.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let signing = self.signing_identity.iter().flat_map(|identity| identity.warnings(now));
        let of_files = self.client_identity.warnings(now).into_iter().chain(signing);
        let of_others = self.roots.warnings(now).into_iter().chain(self.answers.warnings(now));
        let all = self.profile_warnings.iter().cloned().chain(self.adapter.warnings()).chain(of_files).chain(of_others);
        all.map(|text| format!("{}: {text}", self.adapter.agency)).collect()
    }

    /// Whether anything may be sent now, as far as our certificate goes.
    pub fn check_identity(&self, now: Timestamp) -> Result<(), Fault> {
        self.check_dates(now)?;
        match self.halt.halted() {
            None => Ok(()),
            Some(halted) => {
                let left = halted.next_check.saturating_duration_since(Instant::now()) + CHECK_TAKES;
                let text =
                    format!("nothing is sent to this agency now, because it refused an earlier request: {halted}");
                Err(Fault::new(Code::IdentityRefused, Stage::Seal, text).with_retry_after(Some(left)))
            }
        }
    }

    /// Of our certificate, as it was last taken up.
    pub fn check_dates(&self, now: Timestamp) -> Result<(), Fault> {
        let identity = self.client_identity.current();
        if !identity.facts().is_valid_at(now) {
            let text = format!(
                "our TLS client certificate is valid from {} to {}, and not now: put a new pair in its place",
                identity.facts().not_before,
                identity.facts().not_after
            );
            return Err(Fault::new(Code::IdentityUnusable, Stage::Seal, text));
        }
        Ok(())
    }

    /// One refusal of our certificate is enough: every other request would meet the same.
    pub(super) fn halt_if_certificate_refused(&self, failure: &SendFailure) {
        if failure.refusal_of_our_certificate().is_none() {
            return;
        }
        self.halt_sending(&failure.to_string(), "our certificate and its issuer");
    }

    /// Answers by which the agency does not let us in speak of the installation if the declared probe meets the same, or if
    /// requests of two offices have.
    pub(super) fn track_credential_refusals(
        self: &Arc<Self>,
        submission: &Submission,
        reading: &Result<Reading, Fault>,
    ) {
        match reading {
            Ok(_) => self.credential_refusals.forget(),
            Err(fault) if fault.code == Code::CredentialsRefused => {
                if self.credential_refusals.refused(&submission.office, submission.id) {
                    let why = format!("requests of two offices were answered with {}", fault.detail);
                    self.halt_sending(&why, OUR_ACCESS);
                } else if self.adapter.probe.is_some() && self.halt.halted().is_none() {
                    let connection = self.clone();
                    self.health_checks.begin(async move { _ = connection.check_health_and_halt().await });
                }
            }
            Err(_) => {}
        }
    }

    /// A health check, which halts the agency if it does not let us in. One that cannot be reached now has said nothing about us.
    pub async fn check_health_and_halt(&self) -> Result<HealthReport, HealthCheckFailure> {
        let outcome = self.check_health().await;
        if let Err(failure) = &outcome
            && failure.kind == CheckFailure::AccessRefused
        {
            self.halt_sending(&failure.problem, OUR_ACCESS);
        }
        outcome
    }

    pub async fn check_health(&self) -> Result<HealthReport, HealthCheckFailure> {
        health_check::check_health(&self.client(), &self.adapter).await
    }

    /// Breaks off the health checks that refusals have caused.
    pub async fn stop_health_checks(&self) {
        self.health_checks.end().await;
    }

    /// `registered`: what the agency may not have of us.
    pub(super) fn halt_sending(&self, why: &str, registered: &str) {
        if self.halt.begin(why, Instant::now()) {
            let agency = &self.adapter.agency;
            let text = "the agency does not let this installation in; nothing more is sent there until a health check \
                        succeeds";
            tracing::error!(%agency, why, "{text}: ask the agency whether {registered} are registered");
        }
    }

    /// Whether the agency takes our certificate again.
    pub async fn recheck_halt(&self) {
        let agency = &self.adapter.agency;
        match self.check_health().await {
            Ok(_) => {
                tracing::warn!(%agency, "the agency's server takes our certificate; sending goes on");
                // A handshake alone says nothing of what the agency says over HTTP.
                if self.adapter.probe.is_some() {
                    self.credential_refusals.forget();
                }
                self.halt.end(Instant::now());
            }
            Err(error) => {
                tracing::error!(%agency, %error, remedy = error.remedy, "nothing is sent there yet");
                self.halt.go_on(error.kind, &error.problem, Instant::now());
            }
        }
    }

    /// New files that are refused, while the old ones are still used.
    pub(super) fn trouble(&self) -> Option<String> {
        let signing = self.signing_identity.as_ref().and_then(Reloading::trouble);
        let client = self.client_trouble();
        let client = client.map(|why| format!("the new files are not used, and the old connection sends on: {why}"));
        let all = [self.roots.trouble(), self.client_identity.trouble(), client, signing, self.answers.trouble()];
        all.into_iter().flatten().next()
    }

    pub(super) fn refresh(&self, now: Timestamp) {
        let roots = self.roots.refresh(now);
        let identity = self.client_identity.refresh(now);
        if let Some(signing) = &self.signing_identity {
            signing.refresh(now);
        }
        self.answers.refresh(now);
        let is_new = matches!(roots, Refreshed::Reloaded) || matches!(identity, Refreshed::Reloaded);
        let trouble = self.client_trouble();
        if !is_new && trouble.is_none() {
            return;
        }
        let failure = match client(&self.adapter, &self.roots.current(), &self.client_identity.current()) {
            Ok(client) => {
                self.client.store(Arc::new(client));
                self.halt.check_now(Instant::now());
                None
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = failure.as_ref().filter(|_| failure != trouble) {
            tracing::error!(agency = %self.adapter.agency, %error, "the old client stays in use");
        }
        *self.client_trouble.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    fn client_trouble(&self) -> Option<String> {
        self.client_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn client(adapter: &Adapter, roots: &AgencyRoots, identity: &Identity) -> Result<Client, TrustError> {
    let wanted = ClientTls {
        identity: Some(identity),
        provider: Some(attentive_provider()),
        alpn: &[b"http/1.1"],
        on_proved: Some(server_is_proved),
        ..ClientTls::default()
    };
    let settings = ClientSettings {
        tls: client_config(roots, wanted)?,
        connect_timeout: adapter.limits.connect_timeout,
        answer_max_bytes: adapter.limits.answer_max_bytes,
        idle_connections: adapter.limits.concurrency.get() as usize,
        keep_alive: adapter.limits.keep_alive,
        is_probed: adapter.probe.is_some(),
    };
    Client::new(settings).map_err(TrustError::Tls)
}

fn usable<T>(result: Result<T, TrustError>, file: &Path, faults: &mut ConfigFaults) -> Option<T> {
    match result {
        Ok(it) => Some(it),
        Err(error) => {
            let (path, problem) = error.apart();
            let remedy = match path.map(std::fs::File::open) {
                Some(Err(error)) if error.kind() == ErrorKind::PermissionDenied => {
                    "let the user that runs Punte read it (chown)"
                }
                _ => "put a usable file there; `punte pki dev` makes throw-away ones",
            };
            faults.add(path.unwrap_or(file), "", problem, remedy);
            None
        }
    }
}
