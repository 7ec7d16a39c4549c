//! One office's webhook: a body comes in and is signed and posted; how the receiver took it goes out.

use super::address::{ForbiddenAddress, Guarded, check_host};
use crate::{
    http_client::{RetryAfter, retry_after},
    network_errors::in_words,
    settings::{Secret, WebhookSettings},
    trust::{
        AgencyRoots, ClientTls, TrustError, client_config,
        webhook::{self, WebhookRefusal, WebhookSecret},
    },
};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use reqwest::{Client, Url, dns::Resolve, redirect};
use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub struct WebhookClient {
    url: Url,
    secrets: Vec<WebhookSecret>,
    client: Client,
    /// What the operator should know of the files.
    pub warnings: Vec<String>,
}

/// How the receiver took a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    Taken,
    /// 410: it wants no more (Standard Webhooks 1.0, "Deliverability and reliability").
    Gone,
    NotTaken {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum PostError {
    #[error("the address is not usable: {0}")]
    Url(String),
    #[error("{}: {refusal}", path.display())]
    Secret { path: PathBuf, refusal: WebhookRefusal },
    #[error("{} cannot be read: {error}", path.display())]
    Unread { path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Address(#[from] ForbiddenAddress),
    /// No address of the office's and no body in it.
    #[error("{0}")]
    Transport(String),
}

impl PostError {
    /// The way out, for whoever writes offices.toml.
    pub fn remedy(&self) -> &'static str {
        match self {
            PostError::Url(_) => "write https://HOST/PATH as url",
            PostError::Unread { .. } => "put it there, and let the user of the service read it",
            PostError::Secret { .. } => "let each file of secret_files hold one whsec_ secret",
            PostError::Trust(_) => "name as ca the PEM file of the authority of the webhook's server",
            PostError::Address(_) => {
                "name a public host; or set allow_private_addresses = true for this office if its system really is in \
                 your own network: notices then reach every machine there that the office names"
            }
            PostError::Transport(_) => "mend the office's webhook",
        }
    }

    /// The key in `[offices.<office>.webhook]` that names a file which cannot be used; such a file stops its own webhook alone.
    pub fn file_key(&self) -> Option<&'static str> {
        match self {
            PostError::Unread { .. } | PostError::Secret { .. } => Some("secret_files"),
            PostError::Trust(_) => Some("ca"),
            PostError::Url(_) | PostError::Address(_) | PostError::Transport(_) => None,
        }
    }
}

/// Whether this webhook can be used, and what the operator should know of its files; nothing is connected to.
pub fn check_webhook(settings: &WebhookSettings, now: Timestamp) -> Result<Vec<String>, PostError> {
    WebhookClient::new(settings, now).map(|client| client.warnings)
}

/// Whether its host leads where a notice may go, as a delivery would find it; nothing is connected to.
pub async fn resolve_webhook(settings: &WebhookSettings) -> Result<(), PostError> {
    let url = Url::parse(&settings.url).map_err(|error| PostError::Url(error.to_string()))?;
    // An address is looked at when the settings are.
    let Some(Ok(name)) = url.domain().map(str::parse) else { return Ok(()) };
    match (Guarded { allow_private: settings.allow_private_addresses }).resolve(name).await {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.downcast_ref::<ForbiddenAddress>() {
            Some(forbidden) => PostError::Address(*forbidden),
            None => PostError::Transport("its host is not known to this machine's resolver".into()),
        }),
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Standard Webhooks recommends 15 to 30 s.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(15);

impl WebhookClient {
    pub fn new(settings: &WebhookSettings, now: Timestamp) -> Result<Self, PostError> {
        let url = Url::parse(&settings.url).map_err(|error| PostError::Url(error.to_string()))?;
        if url.scheme() != "https" || !url.username().is_empty() || url.password().is_some() {
            return Err(PostError::Url("it must be https, without a user in it".into()));
        }
        let mut warnings = Vec::new();
        let client = client(settings, now, &mut warnings)?;
        let read = |path: &PathBuf| secret(path, &mut warnings);
        let secrets = settings.secret_files.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { url, secrets, client, warnings })
    }

    pub async fn post(&self, id: &str, at: Timestamp, body: Vec<u8>) -> Result<Posted, PostError> {
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(webhook::ID_HEADER, id)
            .header(webhook::TIMESTAMP_HEADER, at.as_second())
            .header(webhook::SIGNATURE_HEADER, webhook::sign(&self.secrets, id, at, &body))
            .body(body);
        // The answer's body says nothing that is wanted here: it is dropped unread.
        let answer = request.send().await.map_err(|error| fault_of(&error))?;
        Ok(match answer.status() {
            status if status.is_success() => Posted::Taken,
            StatusCode::GONE => Posted::Gone,
            status => Posted::NotTaken { status, retry_after: wait_asked_for(answer.headers(), at) },
        })
    }
}

fn secret(path: &Path, warnings: &mut Vec<String>) -> Result<WebhookSecret, PostError> {
    let unread = |error| PostError::Unread { path: path.into(), error };
    let (secret, told) = Secret::from_file(path).map_err(unread)?;
    warnings.extend(told);
    secret.reveal().parse().map_err(|refusal| PostError::Secret { path: path.into(), refusal })
}

fn client(settings: &WebhookSettings, now: Timestamp, warnings: &mut Vec<String>) -> Result<Client, PostError> {
    let url = Url::parse(&settings.url).map_err(|error| PostError::Url(error.to_string()))?;
    if !settings.allow_private_addresses {
        // An address that is written as a number is never resolved, so it is looked at here.
        check_host(url.host_str().unwrap_or_default())?;
    }
    let builder = Client::builder()
        .https_only(true)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TOTAL_TIMEOUT)
        .pool_max_idle_per_host(2)
        .user_agent(concat!("punte/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(Guarded { allow_private: settings.allow_private_addresses }));
    let builder = match &settings.ca {
        Some(ca) => {
            let tls = ClientTls { alpn: &[b"h2", b"http/1.1"], ..ClientTls::default() };
            let roots = AgencyRoots::load(ca)?;
            warnings.extend(roots.warnings(now));
            builder.tls_backend_preconfigured(client_config(&roots, tls)?)
        }
        None => {
            // The system's authorities, through reqwest's platform verifier, which asks for the process's provider.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            builder.tls_backend_rustls()
        }
    };
    builder.build().map_err(|error| PostError::Transport(in_words(&error)))
}

/// A date that is over says nothing: our own schedule holds.
fn wait_asked_for(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    match retry_after(headers.get(header::RETRY_AFTER)?, now)? {
        RetryAfter::Wait(wait) => Some(wait),
        RetryAfter::Past => None,
    }
}

fn fault_of(error: &reqwest::Error) -> PostError {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(inner) = source {
        if let Some(forbidden) = inner.downcast_ref::<ForbiddenAddress>() {
            return PostError::Address(*forbidden);
        }
        source = inner.source();
    }
    PostError::Transport(match error.is_timeout() {
        true => "it did not answer in time".into(),
        false => in_words(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let wait = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, http::HeaderValue::from_str(text).unwrap());
            wait_asked_for(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait("Thu, 01 Jan 2026 00:00:30 GMT"), Some(30));
        for none in ["Wed, 31 Dec 2025 23:59:59 GMT", "soon", "-1", ""] {
            assert_eq!(wait(none), None, "{none}");
        }
    }

    #[test]
    fn without_an_authority_of_its_own_a_webhook_trusts_the_systems() {
        let settings = WebhookSettings {
            url: "https://office.example/hook".into(),
            secret_files: Vec::new(),
            allow_private_addresses: false,
            ca: None,
        };
        assert!(WebhookClient::new(&settings, Timestamp::now()).is_ok());
    }

    #[test]
    fn an_address_that_is_private_by_its_text_alone_is_refused_at_once() {
        for url in ["https://127.0.0.1/", "https://[::1]/", "https://0x7f000001/", "https://localhost:9000/hook"] {
            let settings =
                WebhookSettings { url: url.into(), secret_files: Vec::new(), allow_private_addresses: false, ca: None };
            let opened = WebhookClient::new(&settings, Timestamp::now());
            assert!(matches!(opened, Err(PostError::Address(_))), "{url}");
        }
    }
}
