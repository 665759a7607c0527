//! The admin interface: what the command line and the console ask.

use axum::body::Bytes;
use axum::extract::{Path, Query, State as Extract};
use axum::http::HeaderMap;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use engine::store::ApiKey;
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{self, SCOPES, require};
use super::{Problem, State};
use crate::command::try_out;
use crate::views;

type Answer = Result<Json<Value>, Problem>;

/// Its routes.
pub fn routes() -> Router<State> {
    Router::new()
        .route("/whoami", get(whoami))
        .route("/messages", get(messages))
        .route("/messages/{id}", get(message))
        .route("/messages/{id}/replay", post(replay))
        .route("/parked", get(parked))
        .route("/channels", get(channels))
        .route("/channels/{id}/try", post(try_message))
        .route("/keys", get(keys).post(add_key))
        .route("/keys/{name}", delete(remove_key))
}

async fn whoami(Extract(state): Extract<State>, headers: HeaderMap) -> Answer {
    let key = require(&state, &headers, "admin").await?;
    Ok(Json(json!({ "name": key.name, "scopes": key.scopes })))
}

async fn messages(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    words: Result<Query<views::ListWords>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    require(&state, &headers, "messages:read").await?;
    let Query(words) = words.map_err(|error| Problem::bad_request(error.body_text()))?;
    let now = (crate::world::real().now)();
    views::messages(state.store(), &words, now)
        .await?
        .map(Json)
        .map_err(|wrong| Problem::bad_request(wrong.0))
}

async fn message(Extract(state): Extract<State>, headers: HeaderMap, Path(id): Path<String>) -> Answer {
    require(&state, &headers, "messages:read").await?;
    let engine = state.engine();
    let channel = |name: &str| engine.channel(name).map(|channel| channel.as_ref().clone());
    let found = views::message(state.store(), &channel, engine.formats(), &id).await?;
    found
        .map(Json)
        .ok_or_else(|| Problem::not_found(format!("there is no message {id}")))
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Replay {
    to: Vec<String>,
}

async fn replay(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Answer {
    require(&state, &headers, "admin").await?;
    let replay: Replay = if body.is_empty() {
        Replay::default()
    } else {
        parse(&body)?
    };
    let found = views::find(state.store(), &id).await?;
    let id = found.ok_or_else(|| Problem::not_found(format!("there is no message {id}")))?;
    let only = (!replay.to.is_empty()).then_some(replay.to);
    let (id, message_state) = state.engine().replay(id, only).await?;
    Ok(Json(json!({ "id": id, "state": message_state.as_str() })))
}

async fn parked(Extract(state): Extract<State>, headers: HeaderMap) -> Answer {
    require(&state, &headers, "messages:read").await?;
    Ok(Json(views::parked(state.store()).await?))
}

async fn channels(Extract(state): Extract<State>, headers: HeaderMap) -> Answer {
    require(&state, &headers, "messages:read").await?;
    let rows = state.engine().channels().await?;
    Ok(Json(json!({ "running": true, "channels": rows })))
}

async fn try_message(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Bytes,
) -> Answer {
    require(&state, &headers, "admin").await?;
    let channel = state.engine().channel(&id);
    let channel = channel.ok_or_else(|| Problem::not_found(format!("there is no channel {id:?}")))?;
    let snapshot = state.store().snapshot()?;
    Ok(Json(try_out::show(
        channel,
        state.engine().formats(),
        body,
        snapshot.as_ref(),
    )?))
}

async fn keys(Extract(state): Extract<State>, headers: HeaderMap) -> Answer {
    require(&state, &headers, "admin").await?;
    Ok(Json(json!({ "keys": state.store().api_keys().await? })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    name: String,
    scopes: Vec<String>,
}

async fn add_key(Extract(state): Extract<State>, headers: HeaderMap, body: Bytes) -> Answer {
    require(&state, &headers, "admin").await?;
    let new: NewKey = parse(&body)?;
    if let Some(unknown) = new.scopes.iter().find(|scope| !SCOPES.contains(&scope.as_str())) {
        return Err(Problem::bad_request(format!(
            "{unknown:?} is no scope; the scopes are {}",
            SCOPES.join(", ")
        )));
    }
    let secret = auth::new_secret()?;
    let key = ApiKey {
        name: new.name,
        scopes: new.scopes,
        created_at: (crate::world::real().now)(),
    };
    if !state.store().add_api_key(&key, &secret).await? {
        return Err(Problem::new(
            axum::http::StatusCode::CONFLICT,
            format!("there is a key {:?} already; remove it first", key.name),
        ));
    }
    Ok(Json(json!({ "name": key.name, "key": secret })))
}

async fn remove_key(Extract(state): Extract<State>, headers: HeaderMap, Path(name): Path<String>) -> Answer {
    require(&state, &headers, "admin").await?;
    Ok(Json(
        json!({ "removed": state.store().remove_api_key(&name).await? }),
    ))
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        Problem::bad_request(format!(
            "the body is not what is expected here: line {}, column {}",
            error.line(),
            error.column()
        ))
    })
}
