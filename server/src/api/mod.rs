//! The HTTP interface: health, metrics, admin, FHIR, DICOMweb.

mod admin;
mod alternatives;
mod ask;
pub mod auth;
mod changes;
mod dicomweb;
pub mod door;
mod fhir;
mod journal;
pub mod metrics;
mod problem;
pub mod refused;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::routing::get;
use engine::channel::Channel;
use engine::run::Engine;
use engine::store::Store;

pub use problem::Problem;

use crate::alerts::Alerts;
use crate::door::Doorway;
use crate::home::Home;
use crate::overview::Lookout;

/// What the handlers work with.
#[derive(Clone)]
pub struct State {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Arc<Engine>,
    store: Arc<dyn Store>,
    /// Where change sets are handed in.
    doorway: Doorway,
    serving: Serving,
}

/// What the interface itself needs beside the engine.
pub struct Serving {
    /// The key of the owner of the folder, good for everything.
    pub local_key: String,
    /// The numbers for Prometheus.
    pub metrics: metrics::Handle,
    /// What looks at how it goes.
    pub lookout: Arc<Lookout>,
    /// What alerts are looked for, and who is told.
    pub alerts: Alerts,
    /// How links to this interface begin: `http` or `https`.
    pub scheme: &'static str,
    /// The folder that the engine lives in.
    pub home: Home,
    /// What is refused, for the journal.
    pub refusals: Arc<refused::Refusals>,
    /// Where objects are handed in that come by DICOMweb.
    pub image_door: connectors::dicomweb::Doorway,
    /// `punte.toml` as it was at the start.
    pub at_start: toml::Table,
}

impl State {
    /// Puts it together.
    pub fn new(engine: Arc<Engine>, store: Arc<dyn Store>, doorway: Doorway, serving: Serving) -> Self {
        State {
            inner: Arc::new(Inner {
                engine,
                store,
                doorway,
                serving,
            }),
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.inner.engine
    }

    /// The store.
    pub fn store(&self) -> &dyn Store {
        self.inner.store.as_ref()
    }

    /// How links to this interface begin: `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        self.inner.serving.scheme
    }

    /// Where change sets are handed in.
    pub fn doorway(&self) -> &Doorway {
        &self.inner.doorway
    }

    /// Where objects are handed in that come by DICOMweb.
    pub fn image_door(&self) -> &connectors::dicomweb::Doorway {
        &self.inner.serving.image_door
    }

    /// The folder that the engine lives in.
    pub fn home(&self) -> &Home {
        &self.inner.serving.home
    }

    /// What is refused, for the journal.
    pub fn refusals(&self) -> &refused::Refusals {
        &self.inner.serving.refusals
    }

    /// `punte.toml` as it was at the start.
    pub fn at_start(&self) -> &toml::Table {
        &self.inner.serving.at_start
    }

    /// What alerts are looked for, and who is told.
    pub fn alerts(&self) -> &Alerts {
        &self.inner.serving.alerts
    }

    /// What looks at how it goes.
    pub fn lookout(&self) -> &Lookout {
        &self.inner.serving.lookout
    }

    /// The clinic's zone.
    pub fn zone(&self) -> &jiff::tz::TimeZone {
        &self.inner.serving.lookout.zone
    }
}

/// The longest body of a request, objects aside.
const LONGEST_BODY: usize = 64 * 1024 * 1024;

/// A body that may be long: read only once it is known that its sender may send it.
async fn whole(body: axum::body::Body) -> Result<axum::body::Bytes, Problem> {
    axum::body::to_bytes(body, LONGEST_BODY).await.map_err(|_| {
        let what = "the body did not come whole, or is longer than 64 MB";
        Problem::new(axum::http::StatusCode::PAYLOAD_TOO_LARGE, what)
    })
}

/// All routes.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics::show))
        .nest("/admin", admin::routes().merge(journal::routes()))
        .nest("/clinic", changes::routes().merge(ask::routes()))
        .nest("/fhir", fhir::routes())
        .layer(tower_http::limit::RequestBodyLimitLayer::new(LONGEST_BODY))
        // Objects have a limit each.
        .nest(dicomweb::ROOT, dicomweb::routes(state.clone()))
        .fallback(|| async { Problem::not_found("there is nothing at this address") })
        .layer(axum::middleware::from_fn_with_state(state.clone(), refused::note))
        .layer(axum::middleware::map_request(with_host))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(
            crate::panics::answer,
        ))
        .layer(axum::middleware::from_fn(fhir::errors_are_outcomes))
        .with_state(state)
}

/// The channels that run, by their names.
fn channels_of(state: &State) -> impl Fn(&str) -> Option<Channel> + Send + Sync + use<'_> {
    |name| {
        state
            .engine()
            .channel(name)
            .map(|channel| channel.as_ref().clone())
    }
}

/// HTTP/2 says the host in `:authority` and not in a header (RFC 9113 §8.3.1): links are made of it all the same.
async fn with_host(mut request: Request) -> Request {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    if let Some(host) = authority.and_then(|host| HeaderValue::from_str(host).ok()) {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
    request
}

/// Whether the store answers.
async fn health(
    axum::extract::State(state): axum::extract::State<State>,
) -> Result<axum::Json<serde_json::Value>, Problem> {
    state.store().counts().await?;
    Ok(axum::Json(
        serde_json::json!({ "status": "ok", "version": crate::VERSION }),
    ))
}
