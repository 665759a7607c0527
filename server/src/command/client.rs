//! Talking to the engine that runs in this home folder, or opening its store where none runs.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde_json::Value;

use crate::home::{Home, Running};

/// Longer than any question may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The engine that runs here.
pub struct Client {
    running: Running,
    http: reqwest::Client,
}

impl Client {
    /// The running engine; none where none answers.
    pub async fn find(home: &Home) -> anyhow::Result<Option<Client>> {
        let Some(running) = home.running() else {
            return Ok(None);
        };
        let mut headers = reqwest::header::HeaderMap::new();
        // Who sits at the command line, for the journal.
        if let Some(user) = crate::journal::owner().actor.user
            && let Ok(user) = user.parse()
        {
            headers.insert("x-user", user);
        }
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .timeout(Duration::from_secs(30))
            .no_proxy()
            .build()?;
        let client = Client { running, http };
        // A note of an engine that was killed leads nowhere, or to somebody who does not know its key.
        match client.get("/admin/whoami", &()).await {
            Ok(_) => Ok(Some(client)),
            Err(_) => Ok(None),
        }
    }

    /// The running engine, for what needs one (`what`: "a replay").
    pub async fn needed(home: &Home, what: &str) -> anyhow::Result<Client> {
        Client::find(home).await?.ok_or_else(|| {
            anyhow!(
                "no engine runs in {}; {what} needs one: punte serve",
                home.folder().display()
            )
        })
    }

    /// Asks; an error carries what the engine said.
    pub async fn get(&self, path: &str, query: &impl serde::Serialize) -> anyhow::Result<Value> {
        self.call(self.http.get(self.url(path)).query(query)).await
    }

    /// Tells.
    pub async fn post(&self, path: &str, body: Vec<u8>) -> anyhow::Result<Value> {
        self.call(self.http.post(self.url(path)).body(body)).await
    }

    /// Tells what may take as long as a question to another system.
    pub async fn post_patiently(&self, path: &str, body: Vec<u8>) -> anyhow::Result<Value> {
        let request = self.http.post(self.url(path)).timeout(PATIENCE);
        self.call(request.body(body)).await
    }

    /// Takes away.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.call(self.http.delete(self.url(path))).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running.address)
    }

    async fn call(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let answer = request
            .bearer_auth(&self.running.key)
            .send()
            .await
            .context("the running engine did not answer")?;
        let status = answer.status();
        let body = answer
            .bytes()
            .await
            .context("the running engine broke off its answer")?;
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        if !status.is_success() {
            let detail = value["detail"]
                .as_str()
                .map_or_else(|| format!("HTTP {status}"), str::to_owned);
            bail!(detail);
        }
        Ok(value)
    }
}

/// A word of a path, safe to put into a URL.
pub fn path_word(word: &str) -> anyhow::Result<&str> {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@');
    if word.is_empty() || !word.bytes().all(safe) {
        return Err(anyhow!(
            "{word:?} is no name or id: letters, digits, '-', '_', '.' and '@' only"
        ));
    }
    Ok(word)
}
