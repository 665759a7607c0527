//! Notices to people: short texts by e-mail, webhook or syslog. What is told is the business of whoever tells it; nothing
//! here retries.
//!
//! ```toml
//! [alerts.receiver.it]
//! mail = { server = "smtp.example:587", from = "punte@clinic.example", to = ["it@clinic.example"], user = "punte", password_env = "SMTP_PASSWORD" }
//!
//! [alerts.receiver.pager]
//! webhook = { url = "https://pager.example/hook", secret_env = "PAGER_SECRET" }
//!
//! [alerts.receiver.log-server]
//! syslog = { to = "tcp://10.0.0.9:514" }
//! ```
//!
//! **Mail** (RFC 5321, 5322): STARTTLS on every port but 465, which is TLS from the first byte; a server that offers no
//! STARTTLS gets nothing, unless the table says `tls = false`, which only an address of this machine may.
//!
//! **Webhook**: a POST with JSON (`id`, `event` `begin` or `end`, `subject`, `text`, `at`). `X-Punte-Signature` is
//! `sha256=` and the HMAC-SHA-256 of the body under the secret, in hex. Any 2xx is success.
//!
//! **Syslog** (RFC 5424): by UDP (RFC 5426), by TCP with octet counting (RFC 6587, 3.4.1), or by TLS (RFC 5425). None of
//! them is acknowledged: what can't be sent is noticed, what is lost on the way is not.
//!
//! Everything has ten seconds. Absent by design: attachments, HTML, templates.

mod mail;
mod syslog;
mod webhook;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use engine::channel::secret;
use engine::connector::{SettingsProblem, Surroundings};
use jiff::Timestamp;
use serde::Deserialize;

use crate::values::Problems;

/// How long one notice may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The same whenever the same is told: a receiver knows a repeat by it. Letters, digits, `.` and `-`.
    pub id: String,
    /// Since when it is so.
    pub at: Timestamp,
    /// It is over; else it has begun.
    pub is_end: bool,
    /// In one line.
    pub subject: String,
    /// In some lines.
    pub text: String,
}

/// Where notices go: one of the three.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receiver {
    /// By e-mail.
    pub mail: Option<mail::Mail>,
    /// By HTTP.
    pub webhook: Option<webhook::Webhook>,
    /// To a log server.
    pub syslog: Option<syslog::Syslog>,
}

/// A way that notices go.
#[async_trait]
pub trait Way: Send + Sync {
    /// Tells; an error is a sentence without secrets.
    async fn tell(&self, notice: &Notice) -> Result<(), String>;
}

impl Receiver {
    /// What is wrong with its table.
    pub fn check(&self) -> Vec<SettingsProblem> {
        let mut problems = Problems::default();
        match (&self.mail, &self.webhook, &self.syslog) {
            (Some(mail), None, None) => mail.check(&mut problems),
            (None, Some(webhook), None) => webhook.check(&mut problems),
            (None, None, Some(syslog)) => syslog.check(&mut problems),
            _ => problems.add("", "write one of `mail`, `webhook` and `syslog`"),
        }
        problems.into_result(()).err().unwrap_or_default()
    }

    /// What is odd about the secrets that it names.
    pub fn look(&self, folder: &Path) -> Vec<SettingsProblem> {
        let mail = self.mail.iter().flat_map(|mail| {
            [
                ("mail.password_env", &mail.password_env),
                ("mail.password_file", &mail.password_file),
            ]
        });
        let webhook = self.webhook.iter().flat_map(|hook| {
            [
                ("webhook.secret_env", &hook.secret_env),
                ("webhook.secret_file", &hook.secret_file),
            ]
        });
        let odd = mail.chain(webhook).filter_map(|(path, named)| {
            let what = secret::look(path, named.as_deref()?, folder)?;
            Some(SettingsProblem {
                path: path.to_owned(),
                what: format!("{what}; nobody is told there without it"),
            })
        });
        odd.collect()
    }

    /// Reads secrets and certificates. Does not connect yet.
    pub async fn open(&self, folder: &Path) -> Result<Box<dyn Way>, String> {
        let surroundings = Surroundings {
            folder: folder.to_owned(),
            script: None,
        };
        Ok(match (&self.mail, &self.webhook, &self.syslog) {
            (Some(settings), _, _) => Box::new(settings.open(&surroundings).await?),
            (_, Some(settings), _) => Box::new(settings.open(&surroundings).await?),
            (_, _, Some(settings)) => Box::new(settings.open(&surroundings)?),
            (None, None, None) => return Err("it has neither mail nor webhook nor syslog".to_owned()),
        })
    }
}

/// Within the time that a notice has.
async fn within<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| Err(format!("it took longer than {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(late)
}

/// An error with what caused it, in one line.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        cause = error.source();
    }
    words
}
