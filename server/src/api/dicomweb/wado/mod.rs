//! WADO-RS (PS3.18 §10.4): objects, what they say, their frames, their long values, and how they look.
//!
//! What nobody asks for otherwise comes in explicit little endian, not compressed, which everybody has to take; who asks
//! for `transfer-syntax=*` gets what was received. What can't be decoded is answered with 406.

use std::collections::VecDeque;

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::store::StoreError;
use mappings::dicom::native::EXPLICIT;
use uuid::Uuid;

use super::super::auth::Who;
use super::super::{Problem, State};
use super::found::Object;
use accept::{Answered, accepted, not_acceptable};
use stored::{Stored, Wanted, gone, stored};
use written::Written;

mod accept;
mod bulk;
mod frames;
mod metadata;
mod rendered;
mod stored;
mod whole;
mod written;

pub use bulk::bulk_data;
pub use frames::frames;
pub use metadata::{instance_metadata, series_metadata, study_metadata};
pub use rendered::{
    frames_rendered, frames_thumbnail, instance_rendered, instance_thumbnail, series_rendered,
    series_thumbnail, study_rendered, study_thumbnail,
};

pub async fn study(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path(study): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let accepted = accepted(&headers, query.as_deref());
    retrieve(state, who, &accepted, Wanted::of_study(study)).await
}

pub async fn series(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path((study, series)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let accepted = accepted(&headers, query.as_deref());
    retrieve(state, who, &accepted, Wanted::of_series(study, series)).await
}

pub async fn instance(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path((study, series, instance)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let accepted = accepted(&headers, query.as_deref());
    let wanted = Wanted::of_instance(study, series, instance);
    retrieve(state, who, &accepted, wanted).await
}

/// A part of an answer, not read yet.
struct Part {
    object: Object,
    answered: Answered,
}

async fn retrieve(
    state: State,
    who: Who,
    accepted: &[accept::Media],
    wanted: Wanted,
) -> Result<Response, Problem> {
    if !accepted.iter().any(|media| media.takes("application/dicom")) {
        return Err(not_acceptable(
            "objects are answered as multipart/related; type=\"application/dicom\"",
        ));
    }
    let objects = wanted.objects(&state, who, "read").await?;
    let count = objects.len();
    let mut is_bare = count == 1;
    let mut parts = VecDeque::new();
    for object in objects {
        let lies = object.object.transfer_syntax.as_deref().unwrap_or(EXPLICIT);
        if let Some((answered, may_be_bare)) = accept::object(accepted, lies) {
            is_bare &= may_be_bare;
            parts.push_back(Part { object, answered });
        }
    }
    let Some(first) = parts.pop_front() else {
        return Err(not_acceptable(
            "they lie in other transfer syntaxes; ask for transfer-syntax=*",
        ));
    };
    let status = match parts.len() + 1 == count {
        true => StatusCode::OK,
        false => StatusCode::PARTIAL_CONTENT,
    };
    let mut going = Going {
        state,
        parts,
        boundary: boundary(),
        open: None,
        is_over: false,
    };
    // The first is begun before anything is answered: what can't be given is refused then.
    let begun = Going::begin(&going.state, &first).await?;
    let head = match (begun, is_bare) {
        (None, _) if count == 1 => return Err(gone()),
        (None, _) => Bytes::new(),
        (Some((kind, written)), true) => {
            return Ok((
                [(header::CONTENT_TYPE, kind)],
                Body::from_stream(written.stream()),
            )
                .into_response());
        }
        (Some((kind, written)), false) => {
            going.open = Some(written);
            going.part(&kind)
        }
    };
    let kind = format!(
        "multipart/related; type=\"application/dicom\"; boundary={}",
        going.boundary
    );
    let first = futures_util::stream::once(async move { Ok(head) });
    let rest = futures_util::stream::try_unfold(going, async |mut going| {
        let piece = going.next().await?;
        Ok::<_, StoreError>(piece.map(|piece| (piece, going)))
    });
    let body = Body::from_stream(futures_util::StreamExt::chain(first, rest));
    Ok((status, [(header::CONTENT_TYPE, kind)], body).into_response())
}

fn boundary() -> String {
    format!("punte-{}", Uuid::now_v7().simple())
}

fn syntax(answered: Answered, stored: &Stored) -> &str {
    match answered {
        Answered::AsStored => &stored.meta.syntax,
        Answered::Native => EXPLICIT,
    }
}

/// An answer of parts, on its way.
struct Going {
    state: State,
    parts: VecDeque<Part>,
    boundary: String,
    open: Option<Written>,
    is_over: bool,
}

impl Going {
    /// Begins one: its content type, and its bytes. None: it was taken out meanwhile.
    async fn begin(state: &State, part: &Part) -> Result<Option<(String, Written)>, Problem> {
        let Some(stored) = stored(state, &part.object).await? else {
            return Ok(None);
        };
        let syntax = syntax(part.answered, &stored);
        let kind = format!("application/dicom; transfer-syntax={syntax}");
        let written = Written::begin(&stored, part.answered).await?;
        Ok(Some((kind, written)))
    }

    /// What stands before a part.
    fn part(&self, kind: &str) -> Bytes {
        format!("\r\n--{}\r\nContent-Type: {kind}\r\n\r\n", self.boundary).into()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            if let Some(open) = &mut self.open {
                match open.next().await? {
                    Some(piece) => return Ok(Some(piece)),
                    None => self.open = None,
                }
            }
            let Some(part) = self.parts.pop_front() else {
                let end = format!("\r\n--{}--\r\n", self.boundary);
                return Ok((!std::mem::replace(&mut self.is_over, true)).then(|| end.into()));
            };
            let begun = Going::begin(&self.state, &part).await.map_err(|problem| {
                tracing::warn!(error = problem.detail, "An answer with objects broke off.");
                StoreError::Unavailable(problem.detail)
            })?;
            if let Some((kind, written)) = begun {
                self.open = Some(written);
                return Ok(Some(self.part(&kind)));
            }
        }
    }
}
