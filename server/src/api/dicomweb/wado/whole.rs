//! Objects that are not pictures (PS3.18 §8.7.4): films and documents, which are shown as they are, and reports.

use axum::response::Response;
use engine::store::StoreError;
use mappings::dicom::pixels::places;
use mappings::dicom::report::{self, Report};

use super::super::super::{Problem, State};
use super::super::found::Object;
use super::accept::{self, Media, not_acceptable};
use super::bulk;
use super::frames::{self, found};
use super::stored::{Stored, gone, stored, told};
use super::written::{Unable, blocking};

/// The classes of objects with a document in them begin like this (PS3.4 B.5).
const DOCUMENTS: &str = "1.2.840.10008.5.1.4.1.1.104.";

/// Whether an object is a film, a document or a report.
pub fn is_whole(object: &Object) -> bool {
    let syntax = object.object.transfer_syntax.as_deref().unwrap_or_default();
    let class = object.object.sop_class.as_deref().unwrap_or_default();
    places::film(syntax).is_some() || class.starts_with(DOCUMENTS) || report::is_report(class)
}

/// How it looks: what is in it.
pub async fn show(state: &State, object: &Object, accepted: &[Media]) -> Result<Response, Problem> {
    let stored = stored(state, object).await?.ok_or_else(gone)?;
    if places::film(&stored.meta.syntax).is_some() {
        return film(stored, accepted).await;
    }
    if report::is_report(&stored.meta.class) {
        return report(stored, accepted).await;
    }
    let (kind, bytes) = bulk::document(stored).await?;
    let is_bare = accept::document(accepted, &kind)
        .ok_or_else(|| not_acceptable(format!("it is a document; ask for {kind}")))?;
    Ok(bulk::one(&kind, bytes, is_bare))
}

/// A report as a page, or as plain text.
async fn report(stored: Stored, accepted: &[Media]) -> Result<Response, Problem> {
    const KINDS: [&str; 2] = ["text/html", "text/plain"];
    let kind = accepted
        .iter()
        .find_map(|media| KINDS.into_iter().find(|kind| media.takes(kind)))
        .ok_or_else(|| not_acceptable("it is a report; ask for text/html or text/plain"))?;
    let is_bare = accept::document(accepted, kind).unwrap_or(true);
    let is_page = kind == KINDS[0];
    let read = told(stored).await?.read(move |set| {
        let report = Report::of(set);
        match is_page {
            true => report.html(),
            false => report.plain(),
        }
    });
    let text = read.await?;
    Ok(bulk::one(
        &format!("{kind}; charset=utf-8"),
        text.into_bytes(),
        is_bare,
    ))
}

/// A film is shown by who can play it: as MPEG, or as MP4 where it lies in one.
async fn film(stored: Stored, accepted: &[Media]) -> Result<Response, Problem> {
    let frames = found(&stored).await?;
    let first = frames.places.first().and_then(|places| places.first());
    let from = first.map_or(0, |place| place.from);
    let body = stored.body.clone();
    let begins = blocking(move || {
        let mut begins = [0; 8];
        let mut file = body.open()?;
        let read = std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(from))
            .and_then(|_| std::io::Read::read_exact(&mut file, &mut begins));
        read.map_err(|error| Unable::Store(StoreError::Unavailable(error.to_string())))?;
        Ok(begins)
    });
    let begins = begins.await?;
    let kind = match places::film(&stored.meta.syntax) {
        Some("video/mpeg") => Some("video/mpeg"),
        // A file of ISO 14496-12 begins with its kind.
        _ if begins[4..] == *b"ftyp" => Some("video/mp4"),
        _ => None,
    };
    let kind = kind.ok_or_else(|| {
        not_acceptable(
            "it is a film that lies in no MP4, and is not packed anew; its stream is its frames, or its bulk data",
        )
    })?;
    let is_bare = accept::document(accepted, kind).ok_or_else(|| {
        not_acceptable(format!(
            "it is a film, and no picture is made of it; ask for {kind}"
        ))
    })?;
    frames::stream(stored, frames, kind, is_bare).await
}
