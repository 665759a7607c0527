//! What objects say, as JSON (PS3.18 §10.4.1.1.2): without pixels and without values that are long,
//! which have addresses.

use std::collections::VecDeque;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State as Extract};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use engine::store::StoreError;
use mappings::dicom::json;

use super::super::super::auth::Who;
use super::super::super::{Problem, State};
use super::super::found::Object;
use super::stored::{Stored, Wanted, gone, stored, told};

/// The longest value, in bytes, that stands in the answer itself.
const LONGEST_INLINE: usize = 4 * 1024;

pub async fn study_metadata(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path(study): Path<String>,
) -> Result<Response, Problem> {
    metadata(state, who, &headers, Wanted::of_study(study)).await
}

pub async fn series_metadata(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path((study, series)): Path<(String, String)>,
) -> Result<Response, Problem> {
    metadata(state, who, &headers, Wanted::of_series(study, series)).await
}

pub async fn instance_metadata(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path((study, series, instance)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    metadata(state, who, &headers, Wanted::of_instance(study, series, instance)).await
}

struct Told {
    state: State,
    objects: VecDeque<Object>,
    /// The address of the study.
    study: String,
    before: &'static str,
}

async fn metadata(state: State, who: Who, headers: &HeaderMap, wanted: Wanted) -> Result<Response, Problem> {
    super::super::takes_json(headers)?;
    let objects = wanted.objects(&state, who, "read").await?;
    if let [one] = objects.as_slice()
        && stored(&state, one).await?.is_none()
    {
        return Err(gone());
    }
    let study = format!("{}/studies/{}", super::super::base(&state, headers), wanted.study);
    let told = Told {
        state,
        objects: objects.into(),
        study,
        before: "[",
    };
    let body = futures_util::stream::try_unfold(told, async |mut told| {
        if told.before.is_empty() {
            return Ok(None);
        }
        while let Some(object) = told.objects.pop_front() {
            let found = stored(&told.state, &object).await;
            let found = found.map_err(|problem| StoreError::Unavailable(problem.detail))?;
            let Some(stored) = found else { continue };
            let series = object.object.series_uid.as_deref().unwrap_or_default();
            let uid = object.object.uid().unwrap_or_default();
            let address = format!("{}/series/{series}/instances/{uid}", told.study);
            let said = said(stored, address).await?;
            let piece = Bytes::from(format!("{}{said}", told.before));
            told.before = ",";
            return Ok::<_, StoreError>(Some((piece, told)));
        }
        let end = if told.before == "[" { "[]" } else { "]" };
        told.before = "";
        Ok(Some((Bytes::from(end), told)))
    });
    let kind = [(header::CONTENT_TYPE, "application/dicom+json")];
    Ok((kind, Body::from_stream(body)).into_response())
}

/// What an object says, as JSON.
async fn said(stored: Stored, address: String) -> Result<String, StoreError> {
    let told = told(stored).await?;
    let said = told.read(move |set| {
        let said = json::referring(set, LONGEST_INLINE, &|path| format!("{address}/bulkdata/{path}"));
        serde_json::Value::Object(said).to_string()
    });
    Ok(said.await?)
}
