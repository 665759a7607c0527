//! HTTP: one message in each request.
//!
//! ```toml
//! [source.http]
//! listen = "127.0.0.1:8080"
//! path   = "/orders"
//! auth   = { bearer_env = "ORDERS_TOKEN" }   # beyond loopback this or `allow` is needed
//!
//! [[destination]]
//! name = "erp"
//! http = { url = "https://erp.example/orders", auth = { bearer_file = "erp.token" } }
//! ```
//!
//! **Source.** HTTP/1.1. Channels that name the same address share the listener; path and method tell them apart. What
//! is handed in: body, content type, and as headers `peer`, `method`, `path`, `query`, a few that name a request
//! (`user-agent`, `x-request-id` …) and those of `keep_headers`; never an authorization.
//!
//! | status | when |
//! |---|---|
//! | 200 | stored (also when parked or filtered) |
//! | 422 | stored as failed: it can't be read as it is |
//! | 503 with Retry-After | not stored, or the channel is stopping: to be sent again |
//! | 400 · 401 · 403 · 404 · 405 · 415 | empty body · no or a wrong token · address not allowed · no such path · method · compressed body |
//! | 408 · 413 | the body did not arrive in time · is over `max_body`; its first 256 KB are kept with the reason |
//!
//! The body of the answer is what the format has to say, of the request's content type; otherwise nothing (200) or
//! `application/problem+json` (RFC 9457). A channel shapes it by `answer`:
//!
//! ```toml
//! [source.http]
//! listen = "127.0.0.1:8080"
//! path   = "/orders/{id}"                          # one segment; "/orders/{rest...}" is whatever follows
//! answer.stored = { status = 201, body = '{ "id": "{id}" }' }
//! answer.failed = { status = 400, body = '{ "error": "{why}", "place": "{place}" }' }
//! ```
//!
//! `{id}` is the message's id, `{state}` what it came to, `{why}` and `{place}` what is wrong, `{response}` the format's
//! answer or, with `ack = { delivered = … }`, that of the destination. Steps ask for `path:id`, `query:NAME` and
//! `header:NAME`.
//!
//! **Destination.** Every answer is handed to the format's judge with its status; no redirect is followed. *Retry*: not
//! connected, and 429 or 503 with a Retry-After. *Unsure*: sent, and the answer did not come, or not whole. A UUID
//! of the delivery travels as `Idempotency-Key`, the same at each try.
//!
//! **Asked.** A question that begins with `/` or `?` is fetched (GET) from that address below the `url`; any other is sent
//! as a message is. An answer over `max_answer` is none.
//!
//! Both ends speak TLS ([`crate::tls`]): a source by its `tls` table, a destination by an address that begins with https.
//! A message of a caller that has shown a certificate has the header `certificate`: whom it names.
//!
//! Absent by design: proxies, redirects, compression.

mod answer;
pub mod calls;
pub(crate) mod client;
mod destination;
mod listener;
mod pattern;
mod request;
pub mod settings;
mod source;

use std::sync::Arc;

use async_trait::async_trait;
use engine::channel::OnUnsure;
use engine::connector::{Asks, Connector, ConnectorError, Destination, Looked, Source, Surroundings};
use serde_json::Value;

use crate::tls::{look_at_destination, look_at_source};
use crate::values::{checked, read, tables};
use settings::{DestinationSettings, SourceSettings};

/// The connector `http`, with the listeners that its channels share.
#[derive(Clone, Default)]
pub struct Http {
    listeners: listener::Listeners,
}

#[async_trait]
impl Connector for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    /// HTTP carries anything: the channel says what.
    fn format(&self) -> Option<&'static str> {
        None
    }

    tables!(source = SourceSettings, destination = DestinationSettings);

    fn look_at_source(&self, settings: &Value, surroundings: &Surroundings) -> Looked {
        match read::<SourceSettings>(settings) {
            Ok(settings) => look_at_source(settings.listen, settings.tls.as_ref(), surroundings),
            Err(_) => Looked::default(),
        }
    }

    fn look_at_destination(&self, settings: &Value, surroundings: &Surroundings) -> Looked {
        match read::<DestinationSettings>(settings) {
            Ok(settings) => look_at_destination(settings.calling.tls(), surroundings),
            Err(_) => Looked::default(),
        }
    }

    async fn open_source(
        &self,
        settings: &Value,
        surroundings: &Surroundings,
    ) -> Result<Box<dyn Source>, ConnectorError> {
        let settings = checked::<SourceSettings>(settings)?;
        Ok(Box::new(
            source::HttpSource::open(settings, surroundings, &self.listeners).await?,
        ))
    }

    async fn open_destination(
        &self,
        settings: &Value,
        surroundings: &Surroundings,
    ) -> Result<Arc<dyn Destination>, ConnectorError> {
        let settings = checked::<DestinationSettings>(settings)?;
        Ok(Arc::new(
            destination::HttpDestination::open(settings, surroundings).await?,
        ))
    }

    fn asks(&self) -> Option<Asks> {
        Some(Asks::Either)
    }

    /// Few servers know doubles by the key; a person decides.
    fn on_unsure(&self) -> OnUnsure {
        OnUnsure::Hold
    }
}
