//! STOW-RS (PS3.18 §10.5): each part of a request, or all of it, is an object, and a message of the channel whose source is `dicomweb`.
//! Parts are read one after the other and handed in as they arrive; none is whole in memory.

use axum::body::Body;
use axum::extract::{Path, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use connectors::dicomweb::Open;
use connectors::dicomweb::multipart::{Parts, Wrong, parameters};
use engine::body::{BodyError, BodyWriter};
use engine::connector::{Acknowledgement, Outcome};
use engine::message::Incoming;
use futures_util::{Stream, StreamExt as _, stream};
use mappings::dicom::json;
use mappings::dicom::part10::{self, File, Meta};
use mappings::dicom::scan::{self, Event, Until};
use mappings::dicom::write::{Out, Said};
use serde_json::Value;
use uuid::Uuid;

use super::super::auth::{Asker, Scope, Who};
use super::super::{Problem, State};

/// An object.
const OBJECT: &str = "application/dicom";
/// So much of an object is looked at to see which one it is.
const HEAD: usize = 256 * 1024;
/// The most objects of one request.
const MOST: usize = 100_000;

/// The class is not kept, or the object is none (PS3.18 table 10.5.3-2, PS3.4 B.2.3).
const CANNOT_UNDERSTAND: u16 = 0xC000;
const OUT_OF_RESOURCES: u16 = 0xA700;
const WRONG_STUDY: u16 = 0xA900;

pub async fn any_study(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    take(&state, who, &headers, None, body).await
}

pub async fn one_study(
    Extract(state): Extract<State>,
    who: Who,
    headers: HeaderMap,
    Path(study): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    take(&state, who, &headers, Some(study), body).await
}

/// Which object a part is, as far as it says.
#[derive(Default)]
struct Which {
    class: String,
    instance: String,
    study: String,
    series: String,
}

/// What became of the parts.
#[derive(Default)]
struct Became {
    stored: Vec<Which>,
    failed: Vec<(Which, u16)>,
    /// Those that are no objects.
    unreadable: usize,
}

async fn take(
    state: &State,
    who: Who,
    headers: &HeaderMap,
    study: Option<String>,
    body: Body,
) -> Result<Response, Problem> {
    let asker = who.may(Scope::ImagesWrite)?;
    super::takes_json(headers)?;
    let unsupported = |what: &str| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what);
    if headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| coding != "identity")
    {
        return Err(unsupported("a compressed body is not taken; send it as it is"));
    }
    let form = "objects are sent as multipart/related; type=\"application/dicom\"; boundary=…, or one by itself as application/dicom";
    let said = headers
        .get(header::CONTENT_TYPE)
        .and_then(|said| said.to_str().ok());
    let (media, parameters) = parameters(said.unwrap_or_default());
    let said = |name: &str| {
        parameters
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    let is_one = media == OBJECT;
    let in_parts =
        media == "multipart/related" && said("type").is_none_or(|of| of.eq_ignore_ascii_case(OBJECT));
    if !is_one && !in_parts {
        return Err(unsupported(form));
    }
    // One object by itself (§8.6.1.1) is read as the only part.
    let (boundary, before, after) = match is_one {
        false => (said("boundary").unwrap_or_default().to_owned(), None, None),
        true => {
            let boundary = Uuid::now_v7().simple().to_string();
            let before = format!("--{boundary}\r\nContent-Type: {OBJECT}\r\n\r\n");
            let after = format!("\r\n--{boundary}--\r\n");
            (boundary, Some(before), Some(after))
        }
    };
    let around = |text: Option<String>| stream::iter(text.map(|text| Ok(Bytes::from(text))));
    let body = around(before).chain(body.into_data_stream()).chain(around(after));
    let parts = Parts::new(body, &boundary);
    let mut parts = parts.ok_or_else(|| Problem::bad_request(form))?;
    let open = state.image_door().open().await.ok_or_else(|| {
        let what = "no channel takes objects; a channel file with the source `dicomweb` opens this door";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, what)
    })?;
    let mut became = Became::default();
    loop {
        match parts.next().await {
            Ok(Some(headers)) => {
                let is_object = headers
                    .iter()
                    .all(|(name, value)| name != "content-type" || self::parameters(value).0 == OBJECT);
                if MOST <= became.stored.len() + became.failed.len() + became.unreadable {
                    return Err(Problem::new(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "too many objects in one request",
                    ));
                }
                match is_object {
                    true => one(&mut parts, &open, &asker, study.as_deref(), &mut became).await?,
                    false => became.unreadable += 1,
                }
            }
            Ok(None) => break,
            Err(wrong) => return Err(broken(wrong)),
        }
    }
    Ok(answer(&super::base(state, headers), &became))
}

fn broken(wrong: Wrong) -> Problem {
    match wrong {
        Wrong::Form(what) => Problem::bad_request(format!("the parts can't be read: {what}")),
        Wrong::BrokenOff => Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "the request broke off before its end",
        ),
    }
}

/// One object. An error: the request can't be read on.
async fn one<S, E>(
    parts: &mut Parts<S>,
    open: &Open,
    asker: &Asker,
    study: Option<&str>,
    became: &mut Became,
) -> Result<(), Problem>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let mut head = BytesMut::new();
    while head.len() < HEAD
        && let Some(chunk) = parts.chunk().await.map_err(broken)?
    {
        head.extend_from_slice(&chunk);
    }
    let Ok((meta, begins)) = part10::meta(&head) else {
        became.unreadable += 1;
        return Ok(());
    };
    let which = which(&meta, &head);
    if study.is_some_and(|study| study != which.study) {
        became.failed.push((which, WRONG_STUDY));
        return Ok(());
    }
    let mut writer = open.intake.begin_body(open.max_object);
    // As every object is kept: a meta header of ours, and the data set as it came. What an object is, is said by its data set: many a
    // program that gives objects other UIDs leaves the meta header as it was.
    let ours = Meta {
        command: None,
        class: which.class.clone(),
        instance: which.instance.clone(),
        ..meta
    };
    let written = write(parts, &mut writer, &ours, &head[begins..]).await?;
    let body = match written {
        Ok(()) => writer.finish().await,
        Err(error) => Err(error),
    };
    let body = match body {
        Ok(body) => body,
        Err(BodyError::TooLong { .. }) => {
            became.failed.push((which, CANNOT_UNDERSTAND));
            return Ok(());
        }
        Err(BodyError::Store(error)) => {
            tracing::error!(%error, "An object could not be stored; its sender was told so.");
            became.failed.push((which, OUT_OF_RESOURCES));
            return Ok(());
        }
    };
    let mut headers = vec![
        ("service".to_owned(), "store".to_owned()),
        ("key".to_owned(), asker.name()),
    ];
    headers.extend(asker.actor.peer.clone().map(|peer| ("peer".to_owned(), peer)));
    let incoming = Incoming {
        body: body.bytes,
        big: body.big,
        content_type: "application/dicom".to_owned(),
        headers,
        received_at: (crate::world::real().now)(),
        identity: None,
    };
    match status(&open.intake.accept(incoming).await) {
        0x0000 | 0x0107 | 0x0116 | 0xB000..=0xBFFF => became.stored.push(which),
        status => became.failed.push((which, status)),
    }
    Ok(())
}

/// What of the part is not read yet is, in both cases.
async fn write<S, E>(
    parts: &mut Parts<S>,
    writer: &mut BodyWriter,
    meta: &Meta,
    begun: &[u8],
) -> Result<Result<(), BodyError>, Problem>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let mut written = writer.write(&meta.written()).await;
    if written.is_ok() {
        written = writer.write(begun).await;
    }
    while let Some(chunk) = parts.chunk().await.map_err(broken)? {
        if written.is_ok() {
            written = writer.write(&chunk).await;
        }
    }
    Ok(written)
}

/// Which object this is the beginning of, with its meta header.
fn which(meta: &Meta, head: &[u8]) -> Which {
    let mut which = Which {
        class: meta.class.clone(),
        instance: meta.instance.clone(),
        ..Which::default()
    };
    // What can't be inflated is refused where it is taken.
    let Ok(file) = File::read(head) else {
        return which;
    };
    let mut depth = 0;
    // What is cut off after that is no matter here.
    let _ = scan::walk(
        file.plain(),
        file.coding(),
        Until::Pixels,
        &mut |event| match event {
            Event::Begin(_) => depth += 1,
            Event::End(_) => depth -= 1,
            Event::Value(header, value) if depth == 0 => {
                let text = || {
                    String::from_utf8_lossy(value)
                        .trim_matches(['\0', ' '])
                        .to_owned()
                };
                match (header.tag.0, header.tag.1) {
                    (0x0008, 0x0016) if !text().is_empty() => which.class = text(),
                    (0x0008, 0x0018) if !text().is_empty() => which.instance = text(),
                    (0x0020, 0x000D) => which.study = text(),
                    (0x0020, 0x000E) => which.series = text(),
                    _ => {}
                }
            }
            Event::Value(..) | Event::Item | Event::ItemEnd | Event::Fragments(..) | Event::Pixels(..) => {}
        },
    );
    which
}

/// The status of an object: what its format answers, in the last frame; else by how far it was taken.
fn status(told: &Acknowledgement) -> u16 {
    let said = told.frames.last().and_then(|frame| {
        let digits = std::str::from_utf8(frame.get(..4)?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    });
    said.unwrap_or(match told.outcome {
        Outcome::Stored => 0,
        Outcome::Failed => CANNOT_UNDERSTAND,
        Outcome::Unavailable => OUT_OF_RESOURCES,
    })
}

/// PS3.18 table 10.5.3-1.
fn answer(base: &str, became: &Became) -> Response {
    let mut out = Out::default();
    let named = |which: &Which| {
        let mut item = Out::default();
        item.text("ReferencedSOPClassUID", &which.class);
        item.text("ReferencedSOPInstanceUID", &which.instance);
        item
    };
    let stored = became.stored.iter().map(|which| {
        let mut item = named(which);
        let address = format!(
            "{base}/studies/{}/series/{}/instances/{}",
            which.study, which.series, which.instance
        );
        if !which.study.is_empty() && !which.series.is_empty() {
            item.text("RetrieveURL", &address);
        }
        item
    });
    let failed = became.failed.iter().map(|(which, status)| {
        let mut item = named(which);
        item.put("FailureReason", Said::Number(*status));
        item
    });
    let unreadable = (0..became.unreadable).map(|_| {
        let mut item = Out::default();
        item.put("FailureReason", Said::Number(CANNOT_UNDERSTAND));
        item
    });
    let lists: [(&str, Vec<Out>); 3] = [
        ("ReferencedSOPSequence", stored.collect()),
        ("FailedSOPSequence", failed.collect()),
        ("OtherFailuresSequence", unreadable.collect()),
    ];
    for (keyword, items) in lists {
        if !items.is_empty() {
            out.put(keyword, Said::Items(items));
        }
    }
    let studies: Vec<&str> = became.stored.iter().map(|which| which.study.as_str()).collect();
    if let Some(study) = studies
        .first()
        .filter(|first| !first.is_empty() && studies.iter().all(|study| study == *first))
    {
        out.text("RetrieveURL", &format!("{base}/studies/{study}"));
    }
    let failures = became.failed.len() + became.unreadable;
    let status = match (became.stored.len(), failures) {
        (0, 0) => StatusCode::BAD_REQUEST,
        (_, 0) => StatusCode::OK,
        (0, _) if became.failed.is_empty() => StatusCode::BAD_REQUEST,
        (0, _)
            if became
                .failed
                .iter()
                .all(|(_, status)| *status == OUT_OF_RESOURCES) =>
        {
            StatusCode::SERVICE_UNAVAILABLE
        }
        (0, _) => StatusCode::CONFLICT,
        _ => StatusCode::ACCEPTED,
    };
    super::json(status, &Value::Object(json::of_out(&out)))
}

#[cfg(test)]
mod tests {
    use mappings::dicom::charset::Set;
    use mappings::dicom::scan::Coding;

    use super::*;

    #[test]
    fn which_object_it_is_says_its_data_set_deflated_too() {
        let mut item = Out::default();
        item.text("StudyInstanceUID", "1.2.9");
        let mut out = Out::default();
        out.put("ReferencedStudySequence", Said::Items(vec![item]));
        out.text("SOPInstanceUID", "1.2.3.4.5");
        out.text("StudyInstanceUID", "1.2.3");
        out.text("SeriesInstanceUID", "1.2.3.4");
        let plain = out.written(Coding::EXPLICIT, Set::Ascii);
        // One last block, stored as it is (RFC 1951 §3.2.4).
        let length = plain.len() as u16;
        let head = [&[1][..], &length.to_le_bytes(), &(!length).to_le_bytes()].concat();
        let deflated = [head, plain.clone()].concat();
        for (syntax, data) in [
            ("1.2.840.10008.1.2.1", &plain),
            ("1.2.840.10008.1.2.1.99", &deflated),
        ] {
            let meta = Meta {
                instance: "1.2.7".to_owned(),
                syntax: syntax.to_owned(),
                ..Meta::default()
            };
            let which = which(&meta, &[&meta.written()[..], data].concat());
            assert_eq!(
                (&*which.study, &*which.series, &*which.instance),
                ("1.2.3", "1.2.3.4", "1.2.3.4.5"),
                "{syntax}"
            );
        }
    }
}
