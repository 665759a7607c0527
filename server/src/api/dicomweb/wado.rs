//! WADO-RS (PS3.18 §10.4): objects as they were received, what they say, and their frames.
//!
//! Nothing is decoded. Who asks for what lies otherwise in the store gets 406; what was sent in implicit little endian is
//! written in explicit, since that is what everybody has to take.

use std::collections::VecDeque;

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clinic::Kind;
use clinic::aggregate::Source;
use engine::body::{Pieces, StoredBody};
use engine::room;
use engine::store::StoreError;
use mappings::dicom::charset::Fallback;
use mappings::dicom::part10::{self, Meta, packing};
use mappings::dicom::scan::{self, Reached, Until};
use mappings::dicom::{explicit, json, pixels};
use uuid::Uuid;

use super::super::auth::{Scope, Who};
use super::super::{Problem, State};
use super::found::{self, Object};
use super::multipart::parameters;
use crate::journal::{self, Seen};

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const IMPLICIT: &str = "1.2.840.10008.1.2";
/// So much of an object is read at first to see what it says, and at most.
const FIRST_HEAD: u64 = 256 * 1024;
const LONGEST_HEAD: u64 = 64 * 1024 * 1024;
/// The longest object that is written anew.
const LONGEST_WRITTEN: u64 = 128 * 1024 * 1024;
/// The most frames of one request.
const MAX_FRAMES: usize = 1_000;

/// Which transfer syntax an answer may have.
enum Syntax {
    /// Any: as it lies in the store.
    Any,
    /// This one.
    One(String),
}

/// What an asker takes (PS3.18 §8.7.4).
struct Accepts {
    syntax: Syntax,
    /// One object by itself, not as a part.
    bare: bool,
}

impl Accepts {
    /// By the header: parts of this type.
    fn read(headers: &HeaderMap, part: &str) -> Result<Self, Problem> {
        let accept = headers
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok());
        for media in accept.unwrap_or("*/*").split(',') {
            let (media, parameters) = parameters(media);
            let said = |name: &str| {
                parameters
                    .iter()
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| value)
            };
            let bare = media == part;
            let in_parts = matches!(media.as_str(), "*/*" | "" | "multipart/*")
                || media == "multipart/related"
                    && said("type")
                        .is_none_or(|of| of.eq_ignore_ascii_case(part) || of == "*/*" || part.is_empty());
            if bare || in_parts {
                let syntax = match said("transfer-syntax").map(String::as_str) {
                    Some("*") => Syntax::Any,
                    Some(syntax) => Syntax::One(syntax.to_owned()),
                    None => Syntax::One(EXPLICIT.to_owned()),
                };
                return Ok(Accepts { syntax, bare });
            }
        }
        Err(not_acceptable(
            "objects are answered as multipart/related; type=\"application/dicom\"",
        ))
    }

    /// How an object that lies in this transfer syntax is answered; none: not at all.
    fn answer(&self, stored: &str) -> Option<Answered> {
        match &self.syntax {
            Syntax::Any => Some(Answered::AsStored),
            Syntax::One(wanted) if wanted == stored => Some(Answered::AsStored),
            Syntax::One(wanted) if wanted == EXPLICIT && stored == IMPLICIT => Some(Answered::Explicit),
            Syntax::One(_) => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answered {
    AsStored,
    Explicit,
}

fn not_acceptable(what: &str) -> Problem {
    Problem::new(StatusCode::NOT_ACCEPTABLE, what)
}

/// An object in the store.
struct Stored {
    body: StoredBody,
    meta: Meta,
    /// Where its data set begins.
    begins: u64,
}

/// The bytes of an object: those of the message that made it. None: they were taken out.
async fn stored(state: &State, object: &Object) -> Result<Option<Stored>, Problem> {
    let uid = object.object.uid().unwrap_or_default();
    let message = |source: &Source| match source {
        Source::Message { message, .. } => Some(*message),
        Source::Actor { message, .. } => *message,
    };
    let last = message(&object.record.meta.source);
    if let Some(found) = of_message(state, last, uid).await? {
        return Ok(Some(found));
    }
    // Something else has written it since.
    let history = state
        .store()
        .history(Kind::ImagingInstance, object.record.meta.id)
        .await?;
    for version in history.iter().rev() {
        if let Some(found) = of_message(state, message(&version.meta.source), uid).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

async fn of_message(state: &State, message: Option<Uuid>, uid: &str) -> Result<Option<Stored>, Problem> {
    let Some(message) = message else {
        return Ok(None);
    };
    let Some(body) = state.store().stored_body(message).await? else {
        return Ok(None);
    };
    let head = body.pieces(0).next().await?.unwrap_or_default();
    let Ok((meta, begins)) = part10::meta(&head) else {
        return Ok(None);
    };
    let is_it = meta.instance == uid;
    Ok(is_it.then_some(Stored {
        body,
        meta,
        begins: begins as u64,
    }))
}

/// Which objects are meant.
struct Wanted {
    study: String,
    series: Option<String>,
    instance: Option<String>,
}

impl Wanted {
    fn of_study(study: String) -> Self {
        Wanted {
            study,
            series: None,
            instance: None,
        }
    }

    fn of_series(study: String, series: String) -> Self {
        Wanted {
            series: Some(series),
            ..Wanted::of_study(study)
        }
    }

    fn of_instance(study: String, series: String, instance: String) -> Self {
        Wanted {
            instance: Some(instance),
            ..Wanted::of_series(study, series)
        }
    }

    /// The objects, or 404. Whom they are about is noted before anything of them is shown.
    async fn objects(&self, state: &State, who: Who, action: &str) -> Result<Vec<Object>, Problem> {
        let asker = who.may(Scope::ClinicRead)?;
        let study = found::study(state, &self.study).await;
        let mut seen = Seen::default();
        let found = match &study {
            Ok(study) => {
                let mut objects = found::objects(state, study).await?;
                objects.retain(|object| {
                    let of_series = self
                        .series
                        .as_ref()
                        .is_none_or(|series| object.object.series_uid.as_ref() == Some(series));
                    of_series
                        && self
                            .instance
                            .as_deref()
                            .is_none_or(|uid| object.object.uid() == Some(uid))
                });
                if !objects.is_empty() {
                    seen.record(&study.record);
                }
                Ok(objects)
            }
            Err(problem) => Err(Problem::new(problem.status, problem.detail.clone())),
        };
        seen.words = Some(self.path());
        journal::note(state.store(), asker, action, seen).await?;
        match found {
            Ok(objects) if objects.is_empty() => Err(Problem::not_found("there are no such objects")),
            found => found,
        }
    }

    fn path(&self) -> String {
        let mut path = format!("studies/{}", self.study);
        for (name, uid) in [("series", &self.series), ("instances", &self.instance)] {
            if let Some(uid) = uid {
                path.push_str(&format!("/{name}/{uid}"));
            }
        }
        path
    }
}

pub async fn study(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path(study): Path<String>,
) -> Result<Response, Problem> {
    retrieve(state, who, &headers, Wanted::of_study(study)).await
}

pub async fn series(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path((study, series)): Path<(String, String)>,
) -> Result<Response, Problem> {
    retrieve(state, who, &headers, Wanted::of_series(study, series)).await
}

pub async fn instance(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path((study, series, instance)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    retrieve(state, who, &headers, Wanted::of_instance(study, series, instance)).await
}

/// A part of an answer, not read yet.
struct Part {
    object: Object,
    answered: Answered,
}

async fn retrieve(state: State, who: Who, headers: &HeaderMap, wanted: Wanted) -> Result<Response, Problem> {
    let accepts = Accepts::read(headers, "application/dicom")?;
    let objects = wanted.objects(&state, who, "read").await?;
    let count = objects.len();
    let parts: VecDeque<Part> = objects
        .into_iter()
        .filter_map(|object| {
            let answered = accepts.answer(object.object.transfer_syntax.as_deref().unwrap_or(EXPLICIT))?;
            Some(Part { object, answered })
        })
        .collect();
    let Some(first) = parts.front() else {
        return Err(not_acceptable(
            "they lie in other transfer syntaxes; ask for transfer-syntax=*",
        ));
    };
    if count == 1 {
        let Some(stored) = stored(&state, &first.object).await? else {
            return Err(gone());
        };
        if accepts.bare {
            let kind = format!(
                "application/dicom; transfer-syntax={}",
                syntax(first.answered, &stored)
            );
            let pieces = written(stored, first.answered).await?;
            return Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(stream(pieces))).into_response());
        }
    }
    let status = match parts.len() == count {
        true => StatusCode::OK,
        false => StatusCode::PARTIAL_CONTENT,
    };
    let boundary = boundary();
    let kind = format!("multipart/related; type=\"application/dicom\"; boundary={boundary}");
    let going = Going {
        state,
        parts,
        boundary,
        open: None,
        is_over: false,
    };
    let body = futures_util::stream::try_unfold(going, async |mut going| {
        let piece = going.next().await?;
        Ok::<_, StoreError>(piece.map(|piece| (piece, going)))
    });
    Ok((status, [(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response())
}

fn gone() -> Problem {
    Problem::new(
        StatusCode::GONE,
        "what it is is known, and its bytes were taken out after their time",
    )
}

fn boundary() -> String {
    format!("punte-{}", Uuid::now_v7().simple())
}

fn syntax(answered: Answered, stored: &Stored) -> &str {
    match answered {
        Answered::AsStored => &stored.meta.syntax,
        Answered::Explicit => EXPLICIT,
    }
}

/// The bytes of an object as they are answered.
async fn written(stored: Stored, answered: Answered) -> Result<Pieces, StoreError> {
    if answered == Answered::AsStored {
        return Ok(stored.body.pieces(0));
    }
    let length = stored.body.length();
    if LONGEST_WRITTEN < length {
        return Err(StoreError::Unavailable(
            "an object is too long to be written anew".into(),
        ));
    }
    let place = room::going_out()
        .take(2 * usize::try_from(length).unwrap_or(usize::MAX))
        .await;
    let mut all = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    let mut pieces = stored.body.pieces(0);
    while let Some(piece) = pieces.next().await? {
        all.extend_from_slice(&piece);
    }
    let rewritten = tokio::task::spawn_blocking(move || {
        let begins = usize::try_from(stored.begins).unwrap_or(usize::MAX);
        let data = all.get(begins..).unwrap_or_default();
        let data = explicit::written(data, packing(&stored.meta.syntax).coding)?;
        let meta = Meta {
            syntax: EXPLICIT.to_owned(),
            ..stored.meta
        };
        let mut out = meta.written();
        out.extend_from_slice(&data);
        Ok::<_, clinic::exchange::MapError>(out)
    });
    let broken = |what: String| StoreError::Unavailable(format!("an object can't be written anew: {what}"));
    let rewritten = rewritten.await.map_err(|error| broken(error.to_string()))?;
    let rewritten = rewritten.map_err(|error| broken(error.to_string()))?;
    Ok(StoredBody::from(place.hold(rewritten.into())).pieces(0))
}

fn stream(pieces: Pieces) -> impl futures_util::Stream<Item = Result<Bytes, StoreError>> {
    futures_util::stream::try_unfold(pieces, async |mut pieces| {
        let piece = pieces.next().await?;
        Ok(piece.map(|piece| (piece, pieces)))
    })
}

/// An answer of parts, on its way.
struct Going {
    state: State,
    parts: VecDeque<Part>,
    boundary: String,
    open: Option<Pieces>,
    is_over: bool,
}

impl Going {
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
            let found = stored(&self.state, &part.object).await;
            let found = found.map_err(|problem| StoreError::Unavailable(problem.detail))?;
            // What was taken out meanwhile is left out.
            let Some(stored) = found else { continue };
            let head = format!(
                "\r\n--{}\r\nContent-Type: application/dicom; transfer-syntax={}\r\n\r\n",
                self.boundary,
                syntax(part.answered, &stored)
            );
            self.open = Some(written(stored, part.answered).await?);
            return Ok(Some(head.into()));
        }
    }
}

// ---- metadata ----

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

async fn metadata(state: State, who: Who, headers: &HeaderMap, wanted: Wanted) -> Result<Response, Problem> {
    super::takes_json(headers)?;
    let objects = wanted.objects(&state, who, "read").await?;
    if let [one] = objects.as_slice()
        && stored(&state, one).await?.is_none()
    {
        return Err(gone());
    }
    let objects: VecDeque<Object> = objects.into();
    let body =
        futures_util::stream::try_unfold((state, objects, "["), async |(state, mut objects, before)| {
            if before.is_empty() {
                return Ok(None);
            }
            while let Some(object) = objects.pop_front() {
                let found = stored(&state, &object).await;
                let found = found.map_err(|problem| StoreError::Unavailable(problem.detail))?;
                let Some(stored) = found else { continue };
                let said = said(stored).await?;
                return Ok::<_, StoreError>(Some((
                    Bytes::from(format!("{before}{said}")),
                    (state, objects, ","),
                )));
            }
            let end = if before == "[" { "[]" } else { "]" };
            Ok(Some((Bytes::from(end), (state, objects, ""))))
        });
    let kind = [(header::CONTENT_TYPE, "application/dicom+json")];
    Ok((kind, Body::from_stream(body)).into_response())
}

/// What an object says, without its pixels, as JSON.
async fn said(stored: Stored) -> Result<String, StoreError> {
    let head = head(&stored).await?;
    let said = tokio::task::spawn_blocking(move || {
        let file = part10::File::read(&head)?;
        let set = file.data_set(Fallback::default())?;
        Ok::<_, clinic::exchange::MapError>(serde_json::Value::Object(json::of(&set)).to_string())
    });
    let broken = |what: String| StoreError::Damaged(format!("an object can't be read: {what}"));
    let said = said.await.map_err(|error| broken(error.to_string()))?;
    said.map_err(|error| broken(error.to_string()))
}

/// The beginning of an object, up to its pixels at least.
async fn head(stored: &Stored) -> Result<Bytes, StoreError> {
    let length = stored.body.length();
    let packing = packing(&stored.meta.syntax);
    let mut wanted = FIRST_HEAD;
    loop {
        let most = usize::try_from(wanted.min(length)).unwrap_or(usize::MAX);
        let place = room::going_out().take(most).await;
        let mut bytes = Vec::with_capacity(most);
        let mut pieces = stored.body.pieces(0);
        while bytes.len() < most
            && let Some(piece) = pieces.next().await?
        {
            bytes.extend_from_slice(&piece[..piece.len().min(most - bytes.len())]);
        }
        let begins = usize::try_from(stored.begins).unwrap_or(usize::MAX);
        let data = bytes.get(begins..).unwrap_or_default();
        let has_all = bytes.len() as u64 == length
            || match packing.deflated {
                true => part10::File::read(&bytes).is_ok(),
                false => matches!(
                    scan::check(data, packing.coding, Until::Pixels),
                    Ok(Reached::Pixels(_))
                ),
            };
        if has_all {
            return Ok(place.hold(bytes.into()));
        }
        if LONGEST_HEAD <= wanted {
            return Err(StoreError::Unavailable(
                "an object says too much to be shown".into(),
            ));
        }
        wanted *= 4;
    }
}

// ---- frames ----

pub async fn frames(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path((study, series, instance, list)): Path<(String, String, String, String)>,
    RawQuery(_): RawQuery,
) -> Result<Response, Problem> {
    let wrong = || Problem::bad_request("frames are numbers from 1 on, with commas between them");
    let numbers: Vec<u32> = list
        .split(',')
        .map(|number| number.trim().parse::<u32>().ok().filter(|number| 0 < *number))
        .collect::<Option<_>>()
        .ok_or_else(wrong)?;
    if MAX_FRAMES < numbers.len() {
        return Err(Problem::bad_request(format!(
            "at most {MAX_FRAMES} frames at once"
        )));
    }
    let wanted = Wanted {
        study,
        series: Some(series),
        instance: Some(instance),
    };
    let objects = wanted.objects(&state, who, "read").await?;
    let Some(object) = objects.first() else {
        return Err(Problem::not_found("there is no such object"));
    };
    let Some(stored) = stored(&state, object).await? else {
        return Err(gone());
    };
    let (media, syntax) = pixels::media(&stored.meta.syntax)
        .ok_or_else(|| not_acceptable("frames of this transfer syntax are not taken apart"))?;
    let accepts = frames_accepted(&headers, media)?;
    if accepts.is_some_and(|accepts| accepts != "*" && accepts != syntax) {
        return Err(not_acceptable(
            "they lie in another transfer syntax; ask for transfer-syntax=*",
        ));
    }
    let head = head(&stored).await?;
    let begins = usize::try_from(stored.begins).unwrap_or(usize::MAX);
    let coding = packing(&stored.meta.syntax).coding;
    let data = head.get(begins..).unwrap_or_default();
    let no_frames =
        |error: clinic::exchange::MapError| Problem::not_found(format!("there are no frames: {error}"));
    let layout = pixels::layout(data, coding).map_err(no_frames)?;
    let body = stored.body.clone();
    let from = stored.begins;
    let places = tokio::task::spawn_blocking(move || {
        let mut open = body.open()?;
        Ok::<_, StoreError>(pixels::frames(&mut open, from, &layout))
    });
    let places = places
        .await
        .map_err(|error| Problem::failed(error.to_string()))??;
    let places = places.map_err(no_frames)?;
    let mut parts = VecDeque::new();
    for number in numbers {
        let place = places
            .get(number as usize - 1)
            .ok_or_else(|| Problem::not_found("there is no such frame"))?;
        parts.push_back(place.clone());
    }
    let boundary = boundary();
    let kind = format!("multipart/related; type=\"{media}\"; boundary={boundary}");
    let head = format!("\r\n--{boundary}\r\nContent-Type: {media}; transfer-syntax={syntax}\r\n\r\n");
    let end = format!("\r\n--{boundary}--\r\n");
    let going = Framing {
        body: stored.body,
        parts,
        open: VecDeque::new(),
        reading: None,
        head: head.into(),
        end: Some(end.into()),
    };
    let body = futures_util::stream::try_unfold(going, async |mut going| {
        let piece = going.next().await?;
        Ok::<_, StoreError>(piece.map(|piece| (piece, going)))
    });
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response())
}

/// The transfer syntax that an asker for frames wants; none: it does not say.
fn frames_accepted(headers: &HeaderMap, media: &str) -> Result<Option<String>, Problem> {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    for wanted in accept.unwrap_or("*/*").split(',') {
        let (of, parameters) = parameters(wanted);
        let said = |name: &str| {
            parameters
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
        };
        let fits = match of.as_str() {
            "*/*" | "" | "multipart/*" => true,
            // Askers who want it as it is name octets.
            "multipart/related" => said("type").is_none_or(|of| {
                of.eq_ignore_ascii_case(media)
                    || matches!(of.as_str(), "*/*" | "image/*" | "application/octet-stream")
            }),
            of => of == media || of == "application/octet-stream",
        };
        if fits {
            return Ok(said("transfer-syntax"));
        }
    }
    Err(not_acceptable(&format!("its frames are {media}")))
}

/// Frames on their way.
struct Framing {
    body: StoredBody,
    parts: VecDeque<Vec<pixels::Place>>,
    /// What is still to be read of the frame.
    open: VecDeque<pixels::Place>,
    reading: Option<(Pieces, u64)>,
    head: Bytes,
    end: Option<Bytes>,
}

impl Framing {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            if let Some((pieces, left)) = &mut self.reading {
                if 0 < *left
                    && let Some(piece) = pieces.next().await?
                {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
                    *left -= count as u64;
                    return Ok(Some(piece.slice(..count)));
                }
                self.reading = None;
            }
            if let Some(place) = self.open.pop_front() {
                self.reading = Some((self.body.pieces(place.from), place.length));
                continue;
            }
            return Ok(match self.parts.pop_front() {
                Some(places) => {
                    self.open = places.into();
                    Some(self.head.clone())
                }
                None => self.end.take(),
            });
        }
    }
}
