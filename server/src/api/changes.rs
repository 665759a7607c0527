//! The write door: `POST /clinic/changes` takes a change set, through the same apply as every message.
//!
//! What comes is a message of the channel `write-door`, stored in one transaction with what it does; the answer is made of
//! what is stored, so that a repeat is answered alike.
//!
//! | answer | when |
//! |---|---|
//! | 200, 201 | applied (201: something new was made); ids, versions, and what was not taken |
//! | 202 | parked: a person decides which of the candidates is meant |
//! | 400 | no change set by its schema: all errors, each with a JSON pointer |
//! | 409 | the time is taken (with free times), or the version that was seen is not the newest |
//! | 422 | read, and the rules of the clinic refuse it, such as a CNP that is none; of wrong numbers all, each with a JSON pointer |
//! | 503 | not stored: send it again |

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use clinic::exchange::Reason;
use engine::channel::write_door;
use engine::connector::Outcome;
use engine::message::{Failure, Incoming, MessageDetail, MessageState};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::auth::{Scope, Who};
use super::{Problem, State, alternatives};
use crate::journal;

/// Its routes.
pub fn routes() -> Router<State> {
    Router::new().route("/changes", post(changes))
}

async fn changes(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let asker = who.may(Scope::ClinicWrite)?;
    let body = super::whole(body).await?;
    let incoming = incoming(&headers, &asker.name(), body.clone())?;
    let unavailable = |what: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, what);
    let intake = state.doorway().intake().await;
    let intake = intake.ok_or_else(|| unavailable("the write door is not open; send it again later"))?;
    let taken = intake.accept(incoming).await;
    let note = taken.note.unwrap_or_default();
    match taken.outcome {
        Outcome::Unavailable => return Err(unavailable(&note)),
        Outcome::Stored | Outcome::Failed => {}
    }
    let answer: Value = taken
        .frames
        .first()
        .and_then(|frame| serde_json::from_slice(frame).ok())
        .unwrap_or_default();
    let id: Option<Uuid> = answer["message"].as_str().and_then(|id| id.parse().ok());
    let detail = match id {
        Some(id) => state.store().message(id).await?,
        None => None,
    };
    let detail = detail.ok_or_else(|| unavailable("what was stored can't be read just now"))?;
    let (channels, formats) = (super::channels_of(&state), state.engine().formats());
    journal::note_write(state.store(), asker, &channels, formats, &detail).await?;
    match detail.row.state {
        MessageState::Routed | MessageState::Filtered | MessageState::Answered => {
            applied(&state, &detail).await
        }
        MessageState::Parked => Ok(parked(&detail)),
        MessageState::Failed => refused(&state, &detail, &body).await,
    }
}

/// The request as a message.
fn incoming(headers: &HeaderMap, actor: &str, body: Bytes) -> Result<Incoming, Problem> {
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default().trim())
    };
    let content_type = text(header::CONTENT_TYPE.as_str()).unwrap_or("application/json");
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if media != "application/json" && !media.ends_with("+json") {
        let what = "a change set is JSON: Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what));
    }
    if headers.contains_key(header::IF_MATCH) {
        let what =
            "If-Match can't say which of several it means: write the version that was seen into find.version";
        return Err(Problem::bad_request(what));
    }
    let mut kept = vec![(write_door::ACTOR.to_owned(), actor.to_owned())];
    if let Some(number) = text(write_door::IDEMPOTENCY_KEY) {
        if number.is_empty() || number.len() > 255 {
            return Err(Problem::bad_request(
                "Idempotency-Key: write 1 to 255 letters, digits and signs",
            ));
        }
        kept.push((write_door::IDEMPOTENCY_KEY.to_owned(), number.to_owned()));
    }
    Ok(Incoming {
        body,
        big: None,
        content_type: media.to_owned(),
        headers: kept,
        identity: None,
        received_at: (crate::world::real().now)(),
    })
}

/// What was written, and what each key of the set turned out to be.
async fn applied(state: &State, detail: &MessageDetail) -> Result<Response, Problem> {
    let wrote: BTreeMap<Uuid, u64> = detail
        .wrote
        .iter()
        .map(|wrote| (wrote.id, wrote.version))
        .collect();
    let mut ids = Map::new();
    for (key, (kind, id)) in &detail.notes.ids {
        let version = match wrote.get(id) {
            Some(version) => Some(*version),
            None => state
                .store()
                .read(*kind, *id)
                .await?
                .map(|record| record.meta.version),
        };
        let changed = wrote.contains_key(id);
        ids.insert(
            key.clone(),
            json!({ "kind": kind.as_str(), "id": id, "version": version, "changed": changed }),
        );
    }
    let list: Vec<Value> = detail
        .wrote
        .iter()
        .map(|wrote| {
            json!({ "kind": wrote.kind.as_str(), "id": wrote.id, "version": wrote.version, "event": wrote.event })
        })
        .collect();
    let mut answer = json!({
        "message": detail.row.id,
        "state": "applied",
        "ids": ids,
        "wrote": list,
    });
    if !detail.notes.left_out.is_empty() {
        answer["left_out"] = detail.notes.left_out.clone().into();
    }
    if detail.row.reused_control_id {
        answer["warning"] =
            "the same number came before with another body; this one was applied as well".into();
    }
    let is_new = detail.wrote.iter().any(|wrote| wrote.version == 1);
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(answer)).into_response())
}

/// Not decided yet: it is kept, and a person says who is meant.
fn parked(detail: &MessageDetail) -> Response {
    let answer = json!({
        "message": detail.row.id,
        "state": "parked",
        "detail": detail.row.failure.as_ref().map(|failure| &failure.why),
        "candidates": detail.row.candidates,
    });
    (StatusCode::ACCEPTED, Json(answer)).into_response()
}

/// Kept as failed, with the reason.
async fn refused(state: &State, detail: &MessageDetail, body: &[u8]) -> Result<Response, Problem> {
    let Some(failure) = &detail.row.failure else {
        return Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "refused without a reason",
        ));
    };
    let mut more = Map::new();
    more.insert("message".to_owned(), json!(detail.row.id));
    let read = clinic::json::read(body);
    let numbers = read.as_ref().map(clinic::json::wrong_numbers).unwrap_or_default();
    let errors = match read {
        Err(errors) => Some((StatusCode::BAD_REQUEST, errors)),
        Ok(_) if !numbers.is_empty() => Some((StatusCode::UNPROCESSABLE_ENTITY, numbers)),
        Ok(_) => None,
    };
    let status = match (&errors, failure.reason) {
        (Some((status, errors)), _) => {
            more.insert("errors".to_owned(), json!(errors));
            let count = errors.len();
            let what = match errors.as_slice() {
                [one] => one.to_string(),
                _ => format!("{count} things are wrong; see errors"),
            };
            return Ok(problem(*status, &what, more));
        }
        (None, Reason::Duplicate) => {
            more.insert("alternatives".to_owned(), alternatives::of(state, body).await?);
            StatusCode::CONFLICT
        }
        (None, Reason::Conflict) => StatusCode::CONFLICT,
        (None, Reason::Internal | Reason::Locked) => StatusCode::INTERNAL_SERVER_ERROR,
        (
            None,
            Reason::Sequence
            | Reason::RequiredMissing
            | Reason::DataType
            | Reason::UnknownCode
            | Reason::UnsupportedType
            | Reason::UnsupportedEvent
            | Reason::UnsupportedProcessingId
            | Reason::UnsupportedVersion
            | Reason::UnknownKey,
        ) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    if let Some(pointer) = pointer(failure) {
        more.insert("pointer".to_owned(), pointer.into());
    }
    Ok(problem(status, &failure.why, more))
}

/// `changes[0].find.id` as `/changes/0/find/id`.
fn pointer(failure: &Failure) -> Option<String> {
    let place = &failure.place.as_ref()?.0;
    Some(format!("/{}", place.replace(['.', '['], "/").replace(']', "")))
}

pub(super) fn problem(status: StatusCode, detail: &str, more: Map<String, Value>) -> Response {
    let mut body = more;
    body.insert("type".to_owned(), "about:blank".into());
    body.insert(
        "title".to_owned(),
        status.canonical_reason().unwrap_or("error").into(),
    );
    body.insert("status".to_owned(), status.as_u16().into());
    body.insert("detail".to_owned(), detail.into());
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (status, kind, Value::Object(body).to_string()).into_response()
}
