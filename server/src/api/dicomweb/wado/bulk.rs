//! Long values by the addresses that the metadata names (PS3.18 §10.4.1.1.5).

use axum::extract::{Path, RawQuery, State as Extract};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use mappings::dicom::json;

use super::super::super::auth::Who;
use super::super::super::{Problem, State};
use super::accept::{accepted, not_acceptable};
use super::stored::{Wanted, told};
use super::{boundary, frames};

const OCTETS: &str = "application/octet-stream";
/// The pixel data, also of fractions: all frames, each a part.
const PIXELS: [&str; 3] = ["7FE00010", "7FE00008", "7FE00009"];

pub async fn bulk_data(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path((study, series, instance, path)): Path<(String, String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let accepted = accepted(&headers, query.as_deref());
    let wanted = Wanted::of_instance(study, series, instance);
    if PIXELS.contains(&path.as_str()) {
        return frames::answer(state, who, &accepted, wanted, None).await;
    }
    let media = accepted.iter().find(|media| media.takes(OCTETS));
    let media = media.ok_or_else(|| not_acceptable("values are answered as application/octet-stream"))?;
    let stored = wanted.object(&state, who).await?;
    let value = told(stored).await?.read(move |set| json::referred(set, &path));
    let value = value
        .await?
        .ok_or_else(|| Problem::not_found("there is no value of bytes at this address"))?;
    if media.is_bare && !media.in_parts {
        return Ok(([(header::CONTENT_TYPE, OCTETS)], value).into_response());
    }
    let boundary = boundary();
    let mut body = format!("\r\n--{boundary}\r\nContent-Type: {OCTETS}\r\n\r\n").into_bytes();
    body.extend(value);
    body.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
    let kind = format!("multipart/related; type=\"{OCTETS}\"; boundary={boundary}");
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}
