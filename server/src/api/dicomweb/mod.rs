//! DICOMweb (PS3.18): objects in by STOW-RS, searches by QIDO-RS, objects and what they say by WADO-RS.
//!
//! | request | answer |
//! |---|---|
//! | `POST /studies`, `/studies/{study}` | each part is a message of the channel whose source is `dicomweb` |
//! | `GET /studies`, `/series`, `/instances`, and those below a study or a series | what matches, as JSON |
//! | `GET /studies/{study}[/series/{series}[/instances/{instance}]]` | the objects, in explicit little endian or as they were received |
//! | the same with `/metadata` | what they say, without pixels and long values, as JSON |
//! | the same with `/rendered` or `/thumbnail` | how they look, as JPEG, PNG or GIF |
//! | `…/instances/{instance}/frames/{list}` | frames, decoded or as they lie in the object; how they look |
//! | `…/instances/{instance}/bulkdata/…` | a long value |
//!
//! Reading takes a key with `clinic:read`, sending one with `images:write`. Absent: transcoding to compressed syntaxes,
//! XML, UPS.

mod cors;
mod found;
mod qido;
mod stow;
mod wado;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::Value;

use super::{Problem, State};

/// Where it is.
pub const ROOT: &str = "/dicom-web";

/// Its routes. They have no limit of their own for what comes: each object has one.
pub fn routes(state: State) -> Router<State> {
    Router::new()
        .route("/studies", get(qido::studies).post(stow::any_study))
        .route("/studies/{study}", get(wado::study).post(stow::one_study))
        .route("/studies/{study}/series", get(qido::series))
        .route("/studies/{study}/instances", get(qido::instances))
        .nest("/studies/{study}", of_study())
        .route("/series", get(qido::series))
        .route("/instances", get(qido::instances))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn(whole_address))
        .layer(axum::middleware::from_fn_with_state(state, cors::allow))
}

/// Refuses an address with an empty part: a client whose variable is empty would be told of everybody.
async fn whole_address(
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Result<axum::response::Response, Problem> {
    if request.uri().path().contains("//") {
        let what = "the address has an empty part: write the UID that stands there";
        return Err(Problem::new(axum::http::StatusCode::BAD_REQUEST, what));
    }
    Ok(next.run(request).await)
}

/// What there is of a study and below it.
fn of_study() -> Router<State> {
    const SERIES: &str = "/series/{series}";
    const INSTANCE: &str = "/series/{series}/instances/{instance}";
    Router::new()
        .route("/metadata", get(wado::study_metadata))
        .route("/rendered", get(wado::study_rendered))
        .route("/thumbnail", get(wado::study_thumbnail))
        .route(SERIES, get(wado::series))
        .route(&format!("{SERIES}/metadata"), get(wado::series_metadata))
        .route(&format!("{SERIES}/rendered"), get(wado::series_rendered))
        .route(&format!("{SERIES}/thumbnail"), get(wado::series_thumbnail))
        .route(&format!("{SERIES}/instances"), get(qido::instances))
        .route(INSTANCE, get(wado::instance))
        .route(&format!("{INSTANCE}/metadata"), get(wado::instance_metadata))
        .route(&format!("{INSTANCE}/rendered"), get(wado::instance_rendered))
        .route(&format!("{INSTANCE}/thumbnail"), get(wado::instance_thumbnail))
        .route(&format!("{INSTANCE}/frames/{{frames}}"), get(wado::frames))
        .route(
            &format!("{INSTANCE}/frames/{{frames}}/rendered"),
            get(wado::frames_rendered),
        )
        .route(
            &format!("{INSTANCE}/frames/{{frames}}/thumbnail"),
            get(wado::frames_thumbnail),
        )
        .route(&format!("{INSTANCE}/bulkdata/{{*path}}"), get(wado::bulk_data))
}

/// Where the interface is, as the asker sees it.
fn base(state: &State, headers: &HeaderMap) -> String {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    format!("{}://{host}{ROOT}", state.scheme())
}

/// Says no where the answer could not be JSON (PS3.18 §8.7.3: `application/dicom+json`; browsers say `application/json`).
fn takes_json(headers: &HeaderMap) -> Result<(), Problem> {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    match accept.is_none_or(is_json_taken) {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "only application/dicom+json is written here",
        )),
    }
}

/// Whether one of these media types is what is written here.
fn is_json_taken(accept: &str) -> bool {
    let takes = |media: &str| {
        let media = media.split(';').next().unwrap_or_default().trim();
        matches!(
            media,
            "" | "*/*" | "application/*" | "application/dicom+json" | "application/json"
        )
    };
    accept.split(',').any(takes)
}

fn json(status: StatusCode, value: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/dicom+json")];
    (status, kind, value.to_string()).into_response()
}
