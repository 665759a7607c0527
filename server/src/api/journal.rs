//! The journal: who read what, and whether it is as it was written.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Extract};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::Value;

use super::auth::{Scope, Who};
use super::{Problem, State};
use crate::journal::{self, JournalWords};

/// Its routes.
pub fn routes() -> Router<State> {
    Router::new()
        .route("/journal", get(list))
        .route("/journal/verify", get(verify))
}

async fn list(
    Extract(state): Extract<State>,
    who: Who,
    words: Result<Query<JournalWords>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let asker = who.may(Scope::JournalRead)?;
    let Query(words) = words.map_err(|error| Problem::bad_request(error.body_text()))?;
    let now = (crate::world::real().now)();
    let (value, seen) = journal::list(state.store(), &words, now)
        .await?
        .map_err(|wrong| Problem::bad_request(wrong.0))?;
    journal::note(state.store(), asker, "journal", seen).await?;
    Ok(Json(value))
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VerifyWords {
    head: Option<String>,
}

async fn verify(
    Extract(state): Extract<State>,
    who: Who,
    words: Result<Query<VerifyWords>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    who.may(Scope::JournalRead)?;
    let Query(words) = words.map_err(|error| Problem::bad_request(error.body_text()))?;
    journal::verify(state.store(), words.head.as_deref())
        .await?
        .map(Json)
        .map_err(|wrong| Problem::bad_request(wrong.0))
}
