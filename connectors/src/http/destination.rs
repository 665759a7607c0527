//! Sends each message as one HTTP request.

use async_trait::async_trait;
use clinic::exchange::Response;
use engine::body::StoredBody;
use engine::channel::ask::is_address;
use engine::connector::{ConnectorError, Mine, Outgoing, SendError, Surroundings};
use engine::store::StoreError;
use reqwest::Body;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};

use super::client::{Caller, below};
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
            request = request.header(name, outgoing.key().to_string());
        }
        let request = match &outgoing.big {
            None => request.body(outgoing.body.clone()),
            Some(big) => request.header(CONTENT_LENGTH, big.length()).body(in_pieces(big)),
        };
        let answer = self.caller.exchange(request).await?;
        Ok(answer.response)
    }

    fn takes_pieces(&self) -> bool {
        true
    }

    /// An address is fetched; anything else is sent as a message is.
    async fn query(&self, question: &Outgoing, _mine: &Mine<'_>) -> Result<Response, SendError> {
        let client = self.caller.client().await?;
        let text = std::str::from_utf8(&question.body).unwrap_or_default();
        let request = if is_address(text) {
            let url = below(&self.settings.url, text).map_err(|why| SendError::Refused { why })?;
            client.get(url)
        } else {
            let mut request = client.request(self.settings.method.clone(), self.settings.url.clone());
            if !self.settings.calling.headers.contains_key(CONTENT_TYPE) {
                request = request.header(CONTENT_TYPE, &question.content_type);
            }
            request.body(question.body.clone())
        };
        self.caller.question(request).await
    }

    async fn probe(&self) -> Result<(), ConnectorError> {
        self.settings.calling.reach(&self.settings.url).await
    }
}

/// A long body as it is read from the store.
fn in_pieces(body: &StoredBody) -> Body {
    let pieces = futures_util::stream::try_unfold(body.pieces(0), async |mut pieces| {
        let piece = pieces.next().await?;
        Ok::<_, StoreError>(piece.map(|piece| (piece, pieces)))
    });
    Body::wrap_stream(pieces)
}
