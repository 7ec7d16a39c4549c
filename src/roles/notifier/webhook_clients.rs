//! Every office's client: webhooks' settings come in; a client, or the reason why this office's webhook is stopped, goes out.
//!
//! Files that cannot be used stop their own office's webhook and nothing else. They are looked at again and again, and its
//! notices go out when they are good.

use super::webhook_client::{PostError, WebhookClient};
use crate::{
    domain::OfficeName,
    settings::{OfficeSettings, WebhookSettings},
    trust::digest_of_files,
};
use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

/// What is wrong with a webhook's settings; bad files stop it alone, see [`WebhookClients`].
#[derive(Debug, thiserror::Error)]
pub enum NotifierError {
    #[error("the webhook of office {office}: {error}")]
    Webhook { office: OfficeName, error: PostError },
}

/// Made when the role starts, read by every delivery and by the readiness report, and refreshed by the notifier's loop.
pub struct WebhookClients(BTreeMap<OfficeName, OfficeWebhook>);

struct OfficeWebhook {
    settings: WebhookSettings,
    /// Made from the last good files; a delivery under way keeps the one that it began with.
    client: ArcSwapOption<WebhookClient>,
    /// Locked only to compare or to change it, never while files are read.
    seen: Mutex<Seen>,
}

/// The files as they were looked at last.
struct Seen {
    digest: Vec<u8>,
    /// Why they cannot be used.
    trouble: Option<String>,
}

impl WebhookClients {
    /// What is wrong with the settings themselves is an error.
    pub fn open(offices: &[OfficeSettings], now: Timestamp) -> Result<Self, NotifierError> {
        let webhooks = offices.iter().filter_map(|it| Some((it.office.name.clone(), it.webhook.clone()?)));
        let opened =
            webhooks.map(|(office, settings)| Ok((office.clone(), OfficeWebhook::open(office, settings, now)?)));
        opened.collect::<Result<_, _>>().map(Self)
    }

    pub fn offices(&self) -> impl Iterator<Item = &OfficeName> {
        self.0.keys()
    }

    /// `None`: its webhook is stopped, or there is none.
    pub fn get(&self, office: &OfficeName) -> Option<Arc<WebhookClient>> {
        self.0.get(office)?.client.load_full()
    }

    /// What is wrong with the files of its webhook now.
    pub fn trouble(&self, office: &OfficeName) -> Option<String> {
        let webhook = self.0.get(office)?;
        let trouble = webhook.seen().trouble.clone()?;
        Some(match webhook.client.load().is_some() {
            true => format!("new files are refused, and what was loaded before stays in use: {trouble}"),
            false => format!("the webhook is stopped, its notices wait: {trouble}"),
        })
    }

    /// Looks at all files again; cheap when nothing changed.
    pub fn refresh(&self, now: Timestamp) {
        self.0.iter().for_each(|(office, webhook)| webhook.refresh(office, now));
    }
}

impl OfficeWebhook {
    fn open(office: OfficeName, settings: WebhookSettings, now: Timestamp) -> Result<Self, NotifierError> {
        let digest = digest_of(&settings);
        // Its warnings are told with those of the whole configuration.
        let (client, trouble) = match WebhookClient::new(&settings, now) {
            Ok(client) => (Some(Arc::new(client)), None),
            Err(error) if error.file_key().is_none() => return Err(NotifierError::Webhook { office, error }),
            Err(error) => {
                let why = error.to_string();
                tracing::error!(%office, why, "this webhook is stopped until its files are good; everything else goes on");
                (None, Some(why))
            }
        };
        Ok(Self { settings, client: ArcSwapOption::new(client), seen: Mutex::new(Seen { digest, trouble }) })
    }

    fn refresh(&self, office: &OfficeName, now: Timestamp) {
        let digest = digest_of(&self.settings);
        if self.seen().digest == digest {
            return;
        }
        // Not while it is locked: whoever asks how the webhook is must not wait for a disk.
        let made = WebhookClient::new(&self.settings, now);
        let mut seen = self.seen();
        seen.digest = digest;
        match made {
            Ok(client) => {
                tracing::warn!(%office, "new files of its webhook are taken up");
                client.warnings.iter().for_each(|warning| tracing::warn!("office {office}: {warning}"));
                self.client.store(Some(Arc::new(client)));
                seen.trouble = None;
            }
            Err(error) => {
                let why = error.to_string();
                tracing::error!(%office, why, "new files of its webhook are refused");
                seen.trouble = Some(why);
            }
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest_of(settings: &WebhookSettings) -> Vec<u8> {
    digest_of_files(settings.ca.iter().chain(&settings.secret_files).map(PathBuf::as_path))
}
