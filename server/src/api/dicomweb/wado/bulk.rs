//! Long values by the addresses that the metadata names (PS3.18 §10.4.1.1.5).

use axum::extract::{Path, RawQuery, State as Extract};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use mappings::dicom::{document, json};

use super::super::super::auth::Who;
use super::super::super::{Problem, State};
use super::accept::{Media, accepted, not_acceptable};
use super::stored::{Stored, Wanted, told};
use super::{boundary, frames};

const OCTETS: &str = "application/octet-stream";
/// The pixel data, also of fractions: one value where it is not compressed, else all frames, each a part.
const PIXELS: [&str; 3] = ["7FE00010", "7FE00008", "7FE00009"];
/// An encapsulated document.
const DOCUMENT: &str = "00420011";

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
    let stored = wanted.object(&state, who).await?;
    if path == DOCUMENT {
        let (lies, bytes) = document(stored).await?;
        let kinds = [lies.as_str(), OCTETS];
        let kind = accepted
            .iter()
            .find_map(|media| kinds.into_iter().find(|kind| media.takes(kind)));
        let kind = kind.ok_or_else(|| not_acceptable(format!("it is a document in {lies}")))?;
        let is_bare = is_bare(&accepted, kind);
        return Ok(one(kind, bytes, is_bare));
    }
    if !accepted.iter().any(|media| media.takes(OCTETS)) {
        return Err(not_acceptable("values are answered as application/octet-stream"));
    }
    let value = told(stored).await?.read(move |set| json::referred(set, &path));
    let value = value
        .await?
        .ok_or_else(|| Problem::not_found("there is no value of bytes at this address"))?;
    Ok(one(OCTETS, value, is_bare(&accepted, OCTETS)))
}

/// Whether something of this kind is answered by itself: anything is answered in parts.
fn is_bare(accepted: &[Media], kind: &str) -> bool {
    let media = accepted.iter().find(|media| media.takes(kind));
    media.is_some_and(|media| media.is_bare && !media.in_parts)
}

/// An answer of one thing, by itself or as the only part.
pub fn one(kind: &str, value: Vec<u8>, is_bare: bool) -> Response {
    if is_bare {
        let mut answer = ([(header::CONTENT_TYPE, kind)], value).into_response();
        // It came from outside: a browser that opens it runs nothing in it, and takes it for nothing else.
        let headers = answer.headers_mut();
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if kind != "application/pdf" {
            let policy = "sandbox; default-src 'none'; style-src 'unsafe-inline'";
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        }
        return answer;
    }
    let boundary = boundary();
    let mut body = format!("\r\n--{boundary}\r\nContent-Type: {kind}\r\n\r\n").into_bytes();
    body.extend(value);
    body.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
    let (of, _) = kind.split_once(';').unwrap_or((kind, ""));
    let kind = format!("multipart/related; type=\"{of}\"; boundary={boundary}");
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// The document of an object, its media type first; 404 where there is none.
pub async fn document(stored: Stored) -> Result<(String, Vec<u8>), Problem> {
    let read = told(stored).await?.read(|set| {
        let found = document::document(set)?;
        Some((found.kind, found.bytes.to_vec()))
    });
    read.await?
        .ok_or_else(|| Problem::not_found("there is no document in it"))
}
