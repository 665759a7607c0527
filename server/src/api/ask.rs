//! Asking other systems: `POST /clinic/ask/CHANNEL/DESTINATION`, the question as its body.
//!
//! | answer | when |
//! |---|---|
//! | 200 | answered: `found` (0, 1 or more), and what came |
//! | 400 · 404 | no question for such a destination · no such channel or destination |
//! | 409 | the destination stands still |
//! | 502 · 503 · 504 | refused, or no answer that can be believed · not to be reached · not answered in time |

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State as Extract};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use clinic::exchange::Judgement;
use engine::channel::{ask::WITHIN, duration};
use engine::format::Answered;
use engine::run::{Question, Told};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::auth::{Scope, Who};
use super::changes::problem;
use super::{Problem, State};
use crate::views;

/// The longest question.
const LONGEST: usize = 256 * 1024;
/// The longest that an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Its routes.
pub fn routes() -> Router<State> {
    Router::new().route("/ask/{channel}/{destination}", post(ask))
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Words {
    /// How long the answer may take.
    within: Option<String>,
}

async fn ask(
    Extract(state): Extract<State>,
    who: Who,
    Path((channel, destination)): Path<(String, String)>,
    words: Result<Query<Words>, QueryRejection>,
    body: Bytes,
) -> Result<Response, Problem> {
    let asker = who.may(Scope::ClinicAsk)?;
    let Query(words) = words.map_err(|error| Problem::bad_request(error.body_text()))?;
    let within = words.within.as_deref().map(duration::parse).transpose();
    let within = within.map_err(|what| Problem::bad_request(format!("within: {what}")))?;
    let within = within.unwrap_or(WITHIN);
    if within.is_zero() || PATIENCE < within {
        return Err(Problem::bad_request("within: an answer has at most \"1m\""));
    }
    if LONGEST < body.len() {
        return Err(Problem::bad_request(format!(
            "a question has at most {LONGEST} bytes"
        )));
    }
    let question = Question {
        step: String::new(),
        destination,
        body,
        within,
    };
    let told = state
        .engine()
        .ask(&channel, &question, asker.actor, asker.purpose)
        .await?;
    Ok(answer(&told))
}

/// What is told of an answer.
#[derive(Serialize)]
struct Shown {
    message: Uuid,
    found: usize,
    answer: Option<Box<RawValue>>,
}

fn answer(told: &Told) -> Response {
    let found = match &told.heard.answered {
        Answered::Found(_) => 1,
        Answered::Nothing => 0,
        Answered::Several(count) => *count,
        Answered::Not(judgement) => return failed(told, judgement),
    };
    let came = told.heard.response.as_ref();
    let shown = Shown {
        message: told.id,
        found,
        answer: came.and_then(|response| raw(&response.body)),
    };
    // Strings, a number and raw JSON: there is nothing here that can't be written.
    let body = serde_json::to_vec(&shown).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// JSON as it came, its digits too; else text, or Base64.
fn raw(bytes: &[u8]) -> Option<Box<RawValue>> {
    match serde_json::from_slice(bytes) {
        Ok(raw) => Some(raw),
        Err(_) => serde_json::value::to_raw_value(&views::text(bytes)).ok(),
    }
}

fn failed(told: &Told, judgement: &Judgement) -> Response {
    let (status, why) = match judgement {
        Judgement::Refused { why } => (StatusCode::BAD_GATEWAY, why.as_str()),
        Judgement::Retry { why } => (StatusCode::SERVICE_UNAVAILABLE, why.as_str()),
        Judgement::Unsure { why } if told.heard.response.is_some() => (StatusCode::BAD_GATEWAY, why.as_str()),
        Judgement::Unsure { why } => (StatusCode::GATEWAY_TIMEOUT, why.as_str()),
        Judgement::Accepted | Judgement::Pending { .. } => (StatusCode::BAD_GATEWAY, "no answer"),
    };
    let mut more: Map<String, Value> = Map::new();
    more.insert("message".to_owned(), json!(told.id));
    problem(status, why, more)
}
