//! The admin interface: what the command line and the console ask.

use axum::body::Bytes;
use axum::extract::{Path, Query, State as Extract};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use engine::store::ApiKey;
use serde::Deserialize;
use serde_json::{Value, json};

use super::auth::{self, Scope, Who};
use super::{Problem, State};
use crate::command::try_out;
use crate::{journal, views};

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

async fn whoami(who: Who) -> Answer {
    let asker = who.may(Scope::Admin)?;
    Ok(Json(json!({ "name": asker.actor.key, "scopes": asker.scopes })))
}

async fn messages(
    Extract(state): Extract<State>,
    who: Who,
    words: Result<Query<views::ListWords>, axum::extract::rejection::QueryRejection>,
) -> Answer {
    let asker = who.may(Scope::MessagesRead)?;
    let Query(words) = words.map_err(|error| Problem::bad_request(error.body_text()))?;
    let now = (crate::world::real().now)();
    let value = views::messages(state.store(), &words, now)
        .await?
        .map_err(|wrong| Problem::bad_request(wrong.0))?;
    journal::note_listing(state.store(), asker, "messages", &value, &words).await?;
    Ok(Json(value))
}

async fn message(Extract(state): Extract<State>, who: Who, Path(id): Path<String>) -> Answer {
    let asker = who.may(Scope::MessagesRead)?;
    let engine = state.engine();
    let channel = |name: &str| engine.channel(name).map(|channel| channel.as_ref().clone());
    let found = views::message(state.store(), &channel, engine.formats(), &id).await?;
    let seen = journal::message(state.store(), &channel, engine.formats(), &id).await?;
    journal::note(state.store(), asker, "message", seen).await?;
    found
        .map(Json)
        .ok_or_else(|| Problem::not_found(format!("there is no message {id}")))
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Replay {
    to: Vec<String>,
}

async fn replay(Extract(state): Extract<State>, who: Who, Path(id): Path<String>, body: Bytes) -> Answer {
    who.may(Scope::MessagesReplay)?;
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

async fn parked(Extract(state): Extract<State>, who: Who) -> Answer {
    let asker = who.may(Scope::MessagesRead)?;
    let value = views::parked(state.store()).await?;
    journal::note_listing(
        state.store(),
        asker,
        "parked",
        &value,
        &views::ListWords::default(),
    )
    .await?;
    Ok(Json(value))
}

async fn channels(Extract(state): Extract<State>, who: Who) -> Answer {
    who.may(Scope::MessagesRead)?;
    let rows = state.engine().channels().await?;
    Ok(Json(json!({ "running": true, "channels": rows })))
}

async fn try_message(
    Extract(state): Extract<State>,
    who: Who,
    Path(id): Path<String>,
    body: Bytes,
) -> Answer {
    let asker = who.may(Scope::ChannelsAdmin)?;
    let channel = state.engine().channel(&id);
    let channel = channel.ok_or_else(|| Problem::not_found(format!("there is no channel {id:?}")))?;
    let value = {
        let snapshot = state.store().snapshot()?;
        try_out::show(channel, state.engine().formats(), body, snapshot.as_ref())?
    };
    journal::note_try(state.store(), asker, &id, &value).await?;
    Ok(Json(value))
}

async fn keys(Extract(state): Extract<State>, who: Who) -> Answer {
    who.may(Scope::KeysAdmin)?;
    Ok(Json(json!({ "keys": state.store().api_keys().await? })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    name: String,
    scopes: Vec<String>,
    #[serde(default)]
    expires_at: Option<jiff::Timestamp>,
}

async fn add_key(Extract(state): Extract<State>, who: Who, body: Bytes) -> Answer {
    let asker = who.may(Scope::KeysAdmin)?;
    let new: NewKey = parse(&body)?;
    for scope in &new.scopes {
        let scope = Scope::of(scope).map_err(Problem::bad_request)?;
        // Who may make keys can't make one that may more than their own.
        if !asker
            .scopes
            .iter()
            .any(|has| has == scope.as_str() || has == Scope::Admin.as_str())
        {
            let what = format!("your key does not have the scope {} itself", scope.as_str());
            return Err(Problem::new(axum::http::StatusCode::FORBIDDEN, what));
        }
    }
    let secret = auth::new_secret()?;
    let key = ApiKey {
        name: new.name,
        scopes: new.scopes,
        created_at: (crate::world::real().now)(),
        expires_at: new.expires_at,
    };
    if !state.store().add_api_key(&key, &secret).await? {
        return Err(Problem::new(
            axum::http::StatusCode::CONFLICT,
            format!("there is a key {:?} already; remove it first", key.name),
        ));
    }
    Ok(Json(json!({ "name": key.name, "key": secret })))
}

async fn remove_key(Extract(state): Extract<State>, who: Who, Path(name): Path<String>) -> Answer {
    who.may(Scope::KeysAdmin)?;
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
