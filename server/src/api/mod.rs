//! The HTTP interface: health, metrics, admin, FHIR.

mod admin;
mod alternatives;
pub mod auth;
mod changes;
mod fhir;
pub mod metrics;
mod problem;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use engine::run::Engine;
use engine::store::Store;

pub use problem::Problem;

use crate::door::Doorway;

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
    /// The key of the owner of the folder, good for everything.
    local_key: String,
    metrics: metrics::Handle,
    zone: jiff::tz::TimeZone,
}

impl State {
    /// Puts it together.
    pub fn new(
        engine: Arc<Engine>,
        store: Arc<dyn Store>,
        doorway: Doorway,
        local_key: String,
        metrics: metrics::Handle,
        zone: jiff::tz::TimeZone,
    ) -> Self {
        State {
            inner: Arc::new(Inner {
                engine,
                store,
                doorway,
                local_key,
                metrics,
                zone,
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

    /// Where change sets are handed in.
    pub fn doorway(&self) -> &Doorway {
        &self.inner.doorway
    }

    /// The clinic's zone.
    pub fn zone(&self) -> &jiff::tz::TimeZone {
        &self.inner.zone
    }
}

/// All routes.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics::show))
        .nest("/admin", admin::routes())
        .nest("/clinic", changes::routes())
        .nest("/fhir", fhir::routes())
        .fallback(|| async { Problem::not_found("there is nothing at this address") })
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
        .layer(tower_http::limit::RequestBodyLimitLayer::new(64 * 1024 * 1024))
        .with_state(state)
}

/// Whether the store answers.
async fn health(
    axum::extract::State(state): axum::extract::State<State>,
) -> Result<axum::Json<serde_json::Value>, Problem> {
    state.store().counts().await?;
    Ok(axum::Json(
        serde_json::json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }),
    ))
}
