//! How objects look (PS3.18 §8.3.5, §10.4.1.1.4, §10.4.1.1.6): as JPEG, or as PNG or GIF for who asks for it. Of several frames
//! the first, unless they are named; of a study or a series each image, and as a thumbnail the one in its middle.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State as Extract};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clinic::exchange::{MapError, Reason};
use engine::room;
use engine::store::StoreError;
use mappings::dicom::charset::Fallback;
use mappings::dicom::part10;
use mappings::dicom::pixels::picture::{Part, Picture};
use mappings::dicom::pixels::places::Frames;
use mappings::dicom::pixels::render::{self, Function, Window};
use tokio::sync::Semaphore;

use super::super::super::auth::Who;
use super::super::super::{Problem, State, fhir};
use super::super::found::Object;
use super::accept::{accepted, not_acceptable};
use super::boundary;
use super::frames::{self, numbers};
use super::stored::{Stored, Wanted, gone, head, inflated, stored};
use super::whole;
use super::written::{Unable, blocking};

/// So many are made at the same time.
static AT_ONCE: Semaphore = Semaphore::const_new(4);
/// The longest side of a thumbnail unless its asker says another.
const THUMBNAIL: usize = 128;
/// The longest side of anything.
const LONGEST_SIDE: usize = 4_096;
/// How good a JPEG is unless its asker says so.
const QUALITY: u8 = 90;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Jpeg,
    Png,
    Gif,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Jpeg => "image/jpeg",
            Kind::Png => "image/png",
            Kind::Gif => "image/gif",
        }
    }
}

/// How an asker wants to see it.
#[derive(Clone)]
struct View {
    kind: Kind,
    is_bare: bool,
    in_parts: bool,
    quality: u8,
    window: Option<Window>,
    /// Into which it has to fit.
    fits: Option<(usize, usize)>,
    /// The part that is seen: from left and top, and how much of it. Less than nothing: turned around.
    part: Option<[f64; 4]>,
    /// Never larger than it is.
    is_thumbnail: bool,
    /// What was asked for and is not done, as the standard words it (§8.3.5.1.1): who sees the picture knows what is not in it.
    not_done: Vec<String>,
}

impl View {
    fn read(headers: &HeaderMap, query: Option<&str>, is_thumbnail: bool) -> Result<Self, Problem> {
        let accepted = accepted(headers, query);
        let wanted = accepted.iter().find_map(|media| {
            let kinds = [Kind::Jpeg, Kind::Png, Kind::Gif];
            let kind = kinds.into_iter().find(|kind| media.takes(kind.as_str()))?;
            let mut same = accepted.iter().filter(|media| media.takes(kind.as_str()));
            // One by itself or in parts, as is wanted most; several in parts where those are taken at all.
            Some((kind, media.is_bare, same.any(|media| media.in_parts)))
        });
        let (kind, is_bare, in_parts) =
            wanted.ok_or_else(|| not_acceptable("pictures are image/jpeg, image/png or image/gif"))?;
        let mut view = View {
            kind,
            is_bare,
            in_parts,
            quality: QUALITY,
            window: None,
            fits: is_thumbnail.then_some((THUMBNAIL, THUMBNAIL)),
            part: None,
            is_thumbnail,
            not_done: vec![],
        };
        for (name, value) in fhir::pairs(query.unwrap_or_default()) {
            match name.as_str() {
                "quality" => {
                    let quality = value.parse().ok().filter(|quality| (1..=100).contains(quality));
                    view.quality =
                        quality.ok_or_else(|| Problem::bad_request("quality is a number from 1 to 100"))?;
                }
                "window" => view.window = Some(window(&value)?),
                "viewport" => view.viewport(&value)?,
                "annotation" => view.not_done.push(format!(
                    "The following annotation values are not supported: {}.",
                    word(&value)
                )),
                "iccprofile" if value != "no" => view.not_done.push(format!(
                    "The following iccprofile values are not supported: {}.",
                    word(&value)
                )),
                _ => {}
            }
        }
        Ok(view)
    }

    /// `width,height` and, where a part is seen, from which column and line and how much of it (§8.3.5.1.3).
    fn viewport(&mut self, text: &str) -> Result<(), Problem> {
        let wrong = || {
            Problem::bad_request(format!(
                "viewport is width,height or width,height,x,y,width,height; the first two are 1 to {LONGEST_SIDE}"
            ))
        };
        let numbers: Vec<f64> = text
            .split(',')
            .map(|number| match number.trim() {
                "" => Ok(f64::NAN),
                number => number
                    .parse::<f64>()
                    .ok()
                    .filter(|number| number.is_finite())
                    .ok_or_else(wrong),
            })
            .collect::<Result<_, _>>()?;
        let side = |number: f64| {
            let is_right = (1.0..=LONGEST_SIDE as f64).contains(&number);
            is_right.then_some(number as usize).ok_or_else(wrong)
        };
        let (fits, part) = match *numbers.as_slice() {
            [width, height] => ((width, height), None),
            [width, height, x, y, of, lines] => ((width, height), Some([x, y, of, lines])),
            _ => return Err(wrong()),
        };
        self.fits = Some((side(fits.0)?, side(fits.1)?));
        self.part = part;
        Ok(())
    }

    /// The warnings of an answer.
    fn warnings(&self) -> HeaderMap {
        let texts = self.not_done.iter().map(|text| format!("299 punte \"{text}\""));
        let values = texts.filter_map(|text| HeaderValue::from_str(&text).ok());
        values.map(|value| (header::WARNING, value)).collect()
    }

    /// The picture as it is wanted.
    fn written(&self, picture: Picture) -> Result<Vec<u8>, Unable> {
        let mut picture = picture;
        if let Some([x, y, width, height]) = self.part {
            // What is left out is as large as there is.
            let or = |number: f64, other: usize| if number.is_nan() { other as f64 } else { number };
            let (x, y) = (or(x, 0).max(0.0) as usize, or(y, 0).max(0.0) as usize);
            let width = or(width, picture.width.saturating_sub(x));
            let height = or(height, picture.height.saturating_sub(y));
            let part = Part {
                x,
                y,
                width: width.abs() as usize,
                height: height.abs() as usize,
                is_mirrored: width < 0.0,
                is_upside_down: height < 0.0,
            };
            picture = picture.part(&part).ok_or(Unable::Outside)?;
        }
        if let Some((width, height)) = self.fits {
            let is_small = picture.width <= width && picture.height <= height;
            if !(self.is_thumbnail && is_small) {
                picture = picture.fitted(width, height);
            }
        }
        Ok(match self.kind {
            Kind::Jpeg => picture.jpeg(self.quality)?,
            Kind::Png => picture.png(),
            Kind::Gif => picture.gif(),
        })
    }
}

/// What somebody asked for, as it may stand in a header.
fn word(text: &str) -> String {
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || " ,-_".contains(*letter);
    text.chars().filter(is_plain).take(64).collect()
}

/// `center,width`, and by which function (§8.3.5.1.4).
fn window(text: &str) -> Result<Window, Problem> {
    let wrong = || {
        Problem::bad_request("window is center,width,function; the function LINEAR, LINEAR_EXACT or SIGMOID")
    };
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    let number = |text: &str| {
        text.parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .ok_or_else(wrong)
    };
    let (center, width, function) = match *parts.as_slice() {
        [center, width] => (center, width, Function::Linear),
        [center, width, word] => (center, width, Function::from_word(word).ok_or_else(wrong)?),
        _ => return Err(wrong()),
    };
    let window = Window {
        center: number(center)?,
        width: number(width)?,
        function,
    };
    let least = if function == Function::Linear {
        1.0
    } else {
        f64::MIN_POSITIVE
    };
    match least <= window.width {
        true => Ok(window),
        false => Err(wrong()),
    }
}

/// Makes the picture of one frame.
async fn one(stored: &Stored, number: usize, view: Arc<View>) -> Result<Bytes, Unable> {
    let _turn = AT_ONCE.acquire().await;
    let stored = &inflated(stored.clone()).await?;
    // Nobody waits for room that it has itself: what was read to know how much is needed is let go of first.
    let (beginning, frames) = {
        let head = head(stored).await?;
        let body = stored.body.clone();
        blocking(move || Ok((head.to_vec(), Frames::of(&head, &mut body.open()?)?))).await?
    };
    // Beside the values: the picture, what it is scaled by, and what is written.
    let (width, height) = view.fits.unwrap_or_default();
    let scaled = width * (12 * frames.shape.rows + 6 * height);
    let needed = frames.memory() + 8 * frames.shape.values() + scaled;
    let place = room::going_out().take(needed).await;
    let body = stored.body.clone();
    let picture = blocking(move || {
        let file = part10::File::read(&beginning)?;
        let set = file.data_set(Fallback::default())?;
        if frames.is_fraction {
            return Err(MapError::new(
                Reason::UnsupportedType,
                Some("7FE0,0010"),
                "has fractions for pixels, which are not shown here",
            )
            .into());
        }
        let values = frames
            .decoded(number, &mut body.open()?)?
            .ok_or(Unable::NoFrame)?;
        let picture = render::picture(&set, &frames.decoded_shape(), number, &values, view.window)?;
        drop(values);
        view.written(picture)
    });
    Ok(place.hold(picture.await?.into()))
}

/// What is to be seen: objects, and frames of the only one.
struct Seen {
    state: State,
    view: Arc<View>,
    waiting: VecDeque<(Object, usize)>,
    boundary: String,
    is_over: bool,
}

impl Seen {
    async fn picture(&self, object: &Object, number: usize) -> Result<Option<Bytes>, Problem> {
        let Some(stored) = stored(&self.state, object).await? else {
            return Ok(None);
        };
        let picture = one(&stored, number, self.view.clone()).await?;
        Ok(Some(picture))
    }

    fn part(&self, picture: &[u8]) -> Bytes {
        let kind = self.view.kind.as_str();
        let mut out = format!("\r\n--{}\r\nContent-Type: {kind}\r\n\r\n", self.boundary).into_bytes();
        out.extend(picture);
        out.into()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        while let Some((object, number)) = self.waiting.pop_front() {
            // One that can't be shown is left out: the answer has begun.
            match self.picture(&object, number).await {
                Ok(Some(picture)) => return Ok(Some(self.part(&picture))),
                Ok(None) => {}
                Err(problem) if problem.status == StatusCode::NOT_ACCEPTABLE => {
                    tracing::debug!(error = problem.detail, "An object can't be shown.");
                }
                Err(problem) => return Err(StoreError::Unavailable(problem.detail)),
            }
        }
        let end = format!("\r\n--{}--\r\n", self.boundary);
        Ok((!std::mem::replace(&mut self.is_over, true)).then(|| end.into()))
    }
}

/// Whether an object has something to be seen.
fn is_image(object: &Object) -> bool {
    object.object.rows.is_some() && object.object.columns.is_some()
}

async fn show(
    state: State,
    who: Who,
    view: View,
    wanted: Wanted,
    numbers: Option<Vec<usize>>,
) -> Result<Response, Problem> {
    let objects = wanted.objects(&state, who, "read").await?;
    show_objects(state, view, objects, numbers).await
}

async fn show_objects(
    state: State,
    view: View,
    objects: Vec<Object>,
    numbers: Option<Vec<usize>>,
) -> Result<Response, Problem> {
    let mut images: Vec<Object> = objects.into_iter().filter(is_image).collect();
    if images.is_empty() && numbers.is_some() {
        return Err(Problem::not_found("it has no frames"));
    }
    if images.is_empty() {
        return Err(not_acceptable("there is nothing in it that could be seen"));
    }
    if view.is_thumbnail && 1 < images.len() {
        images = vec![images.swap_remove(images.len() / 2)];
    }
    let numbers = numbers.unwrap_or_else(|| vec![0]);
    let waiting: VecDeque<(Object, usize)> = match images.len() {
        1 => images
            .into_iter()
            .flat_map(|object| numbers.iter().map(move |number| (object.clone(), *number)))
            .collect(),
        _ => images.into_iter().map(|object| (object, 0)).collect(),
    };
    let in_parts = 1 < waiting.len() || !view.is_bare;
    if in_parts && !view.in_parts {
        return Err(not_acceptable(
            "several pictures are answered as multipart/related; ask for one, or for parts",
        ));
    }
    let kind = view.kind.as_str();
    let warnings = view.warnings();
    let mut seen = Seen {
        state,
        view: Arc::new(view),
        waiting,
        boundary: boundary(),
        is_over: false,
    };
    // The first is made before anything is answered, and of several frames of one object it is known that they are there.
    let Some((object, number)) = seen.waiting.pop_front() else {
        return Err(Problem::not_found("there is no such frame"));
    };
    if 1 < numbers.len() {
        let stored = stored(&seen.state, &object).await?.ok_or_else(gone)?;
        let frames = frames::found(&inflated(stored).await?).await?;
        if numbers.iter().any(|number| frames.places.len() <= *number) {
            return Err(Problem::not_found("there is no such frame"));
        }
    }
    let picture = seen.picture(&object, number).await?.ok_or_else(gone)?;
    if !in_parts {
        return Ok((warnings, [(header::CONTENT_TYPE, kind)], picture).into_response());
    }
    let first = seen.part(&picture);
    let kind = format!("multipart/related; type=\"{kind}\"; boundary={}", seen.boundary);
    let first = futures_util::stream::once(async move { Ok(first) });
    let rest = futures_util::stream::try_unfold(seen, async |mut seen| {
        let piece = seen.next().await?;
        Ok::<_, StoreError>(piece.map(|piece| (piece, seen)))
    });
    let body = Body::from_stream(futures_util::StreamExt::chain(first, rest));
    Ok((warnings, [(header::CONTENT_TYPE, kind)], body).into_response())
}

/// One object, which may be something else than a picture.
pub async fn instance_rendered(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path((study, series, instance)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let wanted = Wanted::of_instance(study, series, instance);
    let objects = wanted.objects(&state, who, "read").await?;
    if let Some(object) = objects.first().filter(|object| whole::is_whole(object)) {
        return whole::show(&state, object, &accepted(&headers, query.as_deref())).await;
    }
    let view = View::read(&headers, query.as_deref(), false)?;
    show_objects(state, view, objects, None).await
}

macro_rules! shown {
    ($($name:ident: $thumbnail:literal, ($($uid:ident),+) => $wanted:expr, $numbers:expr;)*) => {$(
        pub async fn $name(
            Extract(state): Extract<State>,
            who: Who,
            headers: HeaderMap,
            Path(($($uid,)+)): Path<($(shown!(@text $uid),)+)>,
            RawQuery(query): RawQuery,
        ) -> Result<Response, Problem> {
            let view = View::read(&headers, query.as_deref(), $thumbnail)?;
            let numbers = $numbers;
            show(state, who, view, $wanted, numbers).await
        }
    )*};
    (@text $uid:ident) => { String };
}

shown! {
    study_rendered: false, (study) => Wanted::of_study(study), None;
    study_thumbnail: true, (study) => Wanted::of_study(study), None;
    series_rendered: false, (study, series) => Wanted::of_series(study, series), None;
    series_thumbnail: true, (study, series) => Wanted::of_series(study, series), None;
    instance_thumbnail: true, (study, series, instance) => Wanted::of_instance(study, series, instance), None;
    frames_rendered: false, (study, series, instance, list) => Wanted::of_instance(study, series, instance), Some(numbers(&list)?);
    frames_thumbnail: true, (study, series, instance, list) => Wanted::of_instance(study, series, instance), Some(numbers(&list)?);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(query: &str) -> Result<View, StatusCode> {
        View::read(&HeaderMap::new(), Some(query), false).map_err(|problem| problem.status)
    }

    #[test]
    fn what_is_asked_for_is_looked_at() {
        let all = view("window=40,400,LINEAR&viewport=100,50&quality=80&accept=image/png").expect("right");
        assert_eq!(
            all.window.map(|window| (window.center, window.width)),
            Some((40.0, 400.0))
        );
        assert_eq!((all.fits, all.quality), (Some((100, 50)), 80));
        assert!(all.kind == Kind::Png && all.part.is_none());
        assert!(all.warnings().is_empty());
        let warned = view("annotation=patient,technique\"%0d%0ax&iccprofile=srgb").expect("right");
        let warnings: Vec<_> = warned
            .warnings()
            .get_all(header::WARNING)
            .iter()
            .cloned()
            .collect();
        assert_eq!(
            warnings,
            [
                "299 punte \"The following annotation values are not supported: patient,techniquex.\"",
                "299 punte \"The following iccprofile values are not supported: srgb.\"",
            ]
        );
        assert!(view("iccprofile=no").expect("right").warnings().is_empty());
        let part = view("viewport=10,10,,,-5,5")
            .expect("right")
            .part
            .expect("a part");
        assert!(part[0].is_nan() && part[2] == -5.0);
        for query in [
            "window=40",
            "window=40,0,LINEAR",
            "window=a,b",
            "window=1,2,CUBIC",
            "viewport=0,1",
            "viewport=10",
            "viewport=1,99999",
            "viewport=nan,1",
            "viewport=1,1,1",
            "quality=0",
            "quality=101",
            "quality=x",
        ] {
            assert_eq!(view(query).err(), Some(StatusCode::BAD_REQUEST), "{query}");
        }
        assert_eq!(view("accept=text/html").err(), Some(StatusCode::NOT_ACCEPTABLE));
    }
}
