//! Notices by HTTP.

use async_trait::async_trait;
use aws_lc_rs::hmac;
use engine::connector::Surroundings;
use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::json;

use super::{Notice, PATIENCE, Way, in_words, within};
use crate::secrets::{self, Secret};
use crate::tls::{Secured, SenderTable};
use crate::values::Problems;

/// The header with the signature.
const SIGNATURE: &str = "X-Punte-Signature";

/// `webhook = { … }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where to.
    pub url: String,
    /// The environment variable that holds the secret that signs.
    pub secret_env: Option<String>,
    /// The file that holds it.
    pub secret_file: Option<String>,
    /// How the far side's certificate is checked, and which one we show.
    pub tls: Option<SenderTable>,
}

/// An address and what signs.
pub(super) struct Hook {
    url: Url,
    secret: Secret,
    secured: Option<Secured>,
}

impl Webhook {
    pub(super) fn check(&self, problems: &mut Problems) {
        match self.url() {
            Ok(url) if url.scheme() == "http" && self.tls.is_some() => {
                problems.add("webhook.tls", "the address says http; write https");
            }
            Ok(_) => {}
            Err(what) => problems.add("webhook.url", what),
        }
        if [&self.secret_env, &self.secret_file]
            .into_iter()
            .flatten()
            .count()
            != 1
        {
            problems.add(
                "webhook",
                "write one of `secret_env` and `secret_file`: what is sent is signed by it",
            );
        }
    }

    fn url(&self) -> Result<Url, String> {
        let url = Url::parse(&self.url).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        url.filter(|url| url.username().is_empty() && url.password().is_none())
            .ok_or_else(|| "an address as https://pager.example/hook, without user and password".to_owned())
    }

    pub(super) async fn open(&self, surroundings: &Surroundings) -> Result<Hook, String> {
        let url = self.url()?;
        let secret = secrets::read(&self.secret_env, &self.secret_file, surroundings).await;
        let secured = match url.scheme() {
            "https" => {
                let tls = self.tls.clone().unwrap_or_default();
                Some(Secured::open(&tls, &surroundings.folder).map_err(|error| error.to_string())?)
            }
            _ => None,
        };
        Ok(Hook {
            url,
            secret: secret.map_err(|error| error.to_string())?,
            secured,
        })
    }
}

#[async_trait]
impl Way for Hook {
    async fn tell(&self, notice: &Notice) -> Result<(), String> {
        let body = json!({
            "id": notice.id,
            "event": if notice.is_end { "end" } else { "begin" },
            "subject": notice.subject,
            "text": notice.text,
            "at": notice.at,
        })
        .to_string();
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.reveal().as_bytes());
        let tag = hmac::sign(&key, body.as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(secured) = &self.secured {
            client = client.use_preconfigured_tls(secured.config().await.as_ref().clone());
        }
        let client = client.build().map_err(|error| in_words(&error))?;
        let request = client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(SIGNATURE, format!("sha256={hex}"))
            .body(body);
        let answer = within(async {
            request
                .send()
                .await
                .map_err(|error| in_words(&error.without_url()))
        })
        .await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("it answered {status}")),
        }
    }
}
