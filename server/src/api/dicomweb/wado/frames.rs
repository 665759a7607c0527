//! Frames (PS3.18 §10.4.1.1.3): as they lie in the object, or decoded.

use std::collections::VecDeque;

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clinic::exchange::{MapError, Reason};
use engine::body::{Pieces, ReadSeek, StoredBody};
use engine::room;
use engine::store::StoreError;
use mappings::dicom::native::EXPLICIT;
use mappings::dicom::pixels::places::{self, Frames, Place};

use super::super::super::auth::Who;
use super::super::super::{Problem, State};
use super::accept::{self, Answered, Media, accepted, not_acceptable};
use super::boundary;
use super::stored::{Stored, Wanted, head, inflated};
use super::written::{Unable, blocking};

const OCTETS: &str = "application/octet-stream";
/// The most frames of one request.
const MAX_FRAMES: usize = 1_000;

pub async fn frames(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path((study, series, instance, list)): Path<(String, String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let numbers = numbers(&list)?;
    let accepted = accepted(&headers, query.as_deref());
    let wanted = Wanted::of_instance(study, series, instance);
    answer(state, who, &accepted, wanted, Some(numbers)).await
}

/// The numbers of frames, counted from 0, of a list that counts from 1.
pub fn numbers(list: &str) -> Result<Vec<usize>, Problem> {
    let wrong = || Problem::bad_request("frames are numbers from 1 on, with commas between them");
    let numbers = list.split(',').map(|number| {
        let number = number.trim();
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        // One that is beyond all numbers is a number, and there is no such frame.
        let number = is_number.then(|| number.parse::<usize>().unwrap_or(usize::MAX))?;
        number.checked_sub(1)
    });
    let numbers: Vec<usize> = numbers.collect::<Option<_>>().ok_or_else(wrong)?;
    match numbers.len() <= MAX_FRAMES {
        true => Ok(numbers),
        false => Err(Problem::bad_request(format!(
            "at most {MAX_FRAMES} frames at once"
        ))),
    }
}

/// The frames of an object, and where they lie. An object without pixels has none (404); where they can't be told apart, they can't
/// be given as they are wanted (406).
pub async fn found(stored: &Stored) -> Result<Frames, Problem> {
    let head = head(stored).await?;
    let body = stored.body.clone();
    let found = blocking(move || Ok(Frames::of(&head, &mut body.open()?)?));
    match found.await {
        Ok(found) => Ok(found),
        Err(Unable::Decode(error)) if is_without_pixels(&error) => {
            Err(Problem::not_found("it has no frames"))
        }
        Err(unable) => Err(unable.into()),
    }
}

fn is_without_pixels(error: &MapError) -> bool {
    error.reason == Reason::RequiredMissing
        && error
            .place
            .as_ref()
            .is_some_and(|place| place.to_string() == "7FE0,0010")
}

/// Some frames of an object, or all of them.
pub async fn answer(
    state: State,
    who: Who,
    accepted: &[Media],
    wanted: Wanted,
    numbers: Option<Vec<usize>>,
) -> Result<Response, Problem> {
    let stored = inflated(wanted.object(&state, who).await?).await?;
    if let Some(kind) = places::film(&stored.meta.syntax) {
        return film(stored, accepted, kind, numbers).await;
    }
    let lies = places::media(&stored.meta.syntax);
    let (answered, may_be_bare) = accept::frames(accepted, &stored.meta.syntax).ok_or_else(|| {
        not_acceptable(match lies {
            Some((kind, _)) => format!("its frames are {kind}; ask for transfer-syntax=*"),
            None => "frames of this transfer syntax are not taken apart".to_owned(),
        })
    })?;
    let frames = found(&stored).await?;
    let answered = match frames.is_within_bytes() {
        true => Answered::Native,
        false => answered,
    };
    let (kind, syntax) = match (answered, lies) {
        (Answered::AsStored, Some((kind, syntax))) => (kind, syntax.to_owned()),
        _ => (OCTETS, EXPLICIT.to_owned()),
    };
    // A value that is not compressed is one, however many frames are in it; of what is compressed each frame is a part.
    let is_one_value = numbers.is_none() && kind == OCTETS;
    let (frames, answered) = match is_one_value.then(|| frames.as_one_value()).flatten() {
        Some(value) => (value, Answered::AsStored),
        None => (frames, answered),
    };
    let numbers = numbers.unwrap_or_else(|| (0..frames.places.len()).collect());
    if numbers.iter().any(|number| frames.places.len() <= *number) {
        return Err(Problem::not_found("there is no such frame"));
    }
    let is_bare = may_be_bare && (is_one_value || numbers.len() == 1);
    Going {
        is_one_value,
        ..Going::of(stored.body, frames, answered, numbers)
    }
    .answer(kind, &syntax, is_bare)
    .await
}

/// All of a film: its frames lie in one stream, and are not told apart.
async fn film(
    stored: Stored,
    accepted: &[Media],
    kind: &'static str,
    numbers: Option<Vec<usize>>,
) -> Result<Response, Problem> {
    let is_bare = accept::film(accepted, kind, &stored.meta.syntax).ok_or_else(|| {
        not_acceptable(format!(
            "it is a film, in one stream; ask for {kind}, or for transfer-syntax=*"
        ))
    })?;
    let frames = found(&stored).await?;
    let count = frames.shape.frames;
    if numbers.is_some_and(|numbers| numbers.iter().any(|number| count <= *number)) {
        return Err(Problem::not_found("there is no such frame"));
    }
    stream(stored, frames, kind, is_bare).await
}

/// The stream of a film.
pub async fn stream(stored: Stored, frames: Frames, kind: &str, is_bare: bool) -> Result<Response, Problem> {
    Going::of(stored.body, frames, Answered::AsStored, vec![0])
        .answer(kind, &stored.meta.syntax, is_bare)
        .await
}

impl Going {
    fn of(body: StoredBody, frames: Frames, answered: Answered, numbers: Vec<usize>) -> Self {
        Going {
            body,
            waiting: numbers.into(),
            frames: Some(frames),
            answered,
            is_one_value: false,
            file: None,
            open: VecDeque::new(),
            ahead: None,
            is_begun: false,
            reading: None,
            head: Bytes::new(),
            end: None,
        }
    }

    async fn answer(mut self, kind: &str, syntax: &str, is_bare: bool) -> Result<Response, Problem> {
        let of_part = format!("{kind}; transfer-syntax={syntax}");
        let boundary = boundary();
        if !is_bare {
            self.head = format!("\r\n--{boundary}\r\nContent-Type: {of_part}\r\n\r\n").into();
            self.end = Some(format!("\r\n--{boundary}--\r\n").into());
        }
        let mut going = self;
        // The first is decoded before anything is answered.
        if let Some(first) = going.waiting.front().copied()
            && going.answered == Answered::Native
        {
            going.ahead = Some(going.decoded(first).await?);
        }
        let body = futures_util::stream::try_unfold(going, async |mut going| {
            let piece = going.next().await?;
            Ok::<_, StoreError>(piece.map(|piece| (piece, going)))
        });
        let kind = match is_bare {
            true => of_part,
            false => format!("multipart/related; type=\"{kind}\"; boundary={boundary}"),
        };
        Ok((
            StatusCode::OK,
            [(header::CONTENT_TYPE, kind)],
            Body::from_stream(body),
        )
            .into_response())
    }
}

/// Frames on their way.
struct Going {
    body: StoredBody,
    /// Their numbers.
    waiting: VecDeque<usize>,
    /// None while a thread has it.
    frames: Option<Frames>,
    answered: Answered,
    /// They follow each other in one part.
    is_one_value: bool,
    file: Option<Box<dyn ReadSeek>>,
    /// What is still to be read of the frame.
    open: VecDeque<Place>,
    /// A frame that was decoded already.
    ahead: Option<Bytes>,
    /// What stands before the frame was said.
    is_begun: bool,
    reading: Option<(Pieces, u64)>,
    head: Bytes,
    end: Option<Bytes>,
}

impl Going {
    async fn decoded(&mut self, number: usize) -> Result<Bytes, Unable> {
        let frames = self.frames.take();
        let gone = || StoreError::Unavailable("the work on an object broke off".into());
        let frames = frames.ok_or_else(gone)?;
        let (body, file) = (self.body.clone(), self.file.take());
        let place = room::going_out().take(frames.memory()).await;
        let work = blocking(move || {
            let mut file = match file {
                Some(file) => file,
                None => body.open()?,
            };
            let frame = frames.decoded(number, &mut file)?.unwrap_or_default();
            Ok((frames, file, frame))
        });
        let (frames, file, frame) = work.await?;
        (self.frames, self.file) = (Some(frames), Some(file));
        Ok(place.hold(frame.into()))
    }

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
            if std::mem::take(&mut self.is_begun)
                && let Some(frame) = self.ahead.take()
            {
                return Ok(Some(frame));
            }
            let Some(number) = self.waiting.pop_front() else {
                return Ok(self.end.take());
            };
            match self.answered {
                Answered::Native if self.ahead.is_none() => self.ahead = Some(self.decoded(number).await?),
                Answered::Native => {}
                Answered::AsStored => {
                    let frames = self.frames.as_ref();
                    let places = frames.and_then(|frames| frames.places.get(number));
                    self.open = places.cloned().unwrap_or_default().into();
                }
            }
            self.is_begun = true;
            let head = match self.is_one_value {
                true => std::mem::take(&mut self.head),
                false => self.head.clone(),
            };
            if !head.is_empty() {
                return Ok(Some(head));
            }
        }
    }
}
