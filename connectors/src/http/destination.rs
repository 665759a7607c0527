//! Sends each message as one HTTP request.

use async_trait::async_trait;
use clinic::exchange::Response;
use engine::connector::{ConnectorError, Mine, Outgoing, SendError, Surroundings};
use reqwest::header::CONTENT_TYPE;

use super::client::Caller;
use super::settings;

/// A place to send to.
pub(super) struct HttpDestination {
    settings: settings::Destination,
    caller: Caller,
}

impl HttpDestination {
    pub(super) async fn open(
        settings: settings::Destination,
        surroundings: &Surroundings,
    ) -> Result<Self, ConnectorError> {
        let caller = Caller::open(&settings.calling, surroundings).await?;
        Ok(HttpDestination { settings, caller })
    }
}

#[async_trait]
impl engine::connector::Destination for HttpDestination {
    /// HTTP pairs question and answer, so `mine` is not asked.
    async fn send(&self, outgoing: &Outgoing, _mine: &Mine<'_>) -> Result<Response, SendError> {
        let mut request = self
            .caller
            .client()
            .await?
            .request(self.settings.method.clone(), self.settings.url.clone());
        if !self.settings.calling.headers.contains_key(CONTENT_TYPE) {
            request = request.header(CONTENT_TYPE, &outgoing.content_type);
        }
        if let Some(name) = &self.settings.idempotency_header {
            request = request.header(name, outgoing.delivery.to_string());
        }
        let answer = self.caller.exchange(request.body(outgoing.body.clone())).await?;
        Ok(answer.response)
    }

    async fn probe(&self) -> Result<(), ConnectorError> {
        let url = &self.settings.url;
        let port = url.port_or_known_default().unwrap_or(80);
        let host = url.host_str().unwrap_or_default();
        crate::sockets::connect(&format!("{host}:{port}"), self.settings.calling.connect_timeout)
            .await
            .map(drop)
            .map_err(ConnectorError::new)
    }
}
