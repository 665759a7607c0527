//! What an archive answers by DICOMweb (PS3.18 §10.5.3, §10.6.3): what became of an object that was sent to it, and what
//! was found.

use clinic::exchange::{Judgement, MapError, Reason, Response};
use dicom_core::VR;
use serde_json::{Map, Value as Json};

use super::charset::Set;
use super::names;
use super::native::EXPLICIT;
use super::part10::{self, Meta};
use super::reply;
use super::scan::Coding;
use super::write::{Out, Said};

const FAILED: &str = "00081198";
const OTHER_FAILURES: &str = "0008119A";
const STORED: &str = "00081199";
const REASON: &str = "00081197";
const INSTANCE: &str = "00081155";
/// The most rows of an answer that are looked at.
const MOST: usize = 10_000;

/// What an answer to one object means, by its status and by what it lists; none: there is no status. An archive that says
/// that all is well and does not list the object has not got it.
pub fn judge(sent: &[u8], answer: &Response) -> Option<Judgement> {
    let status = answer.status?;
    let why = format!("HTTP {status}");
    let listed = serde_json::from_slice::<Json>(&answer.body).ok();
    if let Some(code) = failure(status, listed.as_ref()) {
        return Some(match code {
            Some(code) => reply::judge_status(code, &why),
            None => Judgement::Refused { why },
        });
    }
    let instance = part10::meta(sent)
        .map(|(meta, _)| meta.instance)
        .unwrap_or_default();
    let has_it = items(listed.as_ref(), STORED).iter().any(|item| {
        let uid = item
            .get(INSTANCE)
            .and_then(|uid| uid.get("Value")?.get(0)?.as_str());
        uid.is_some_and(|uid| uid.trim_end_matches([' ', '\0']) == instance)
    });
    Some(match status {
        200 | 202 if has_it => Judgement::Accepted,
        // Not every archive writes a list.
        200 if listed.is_none() => Judgement::Accepted,
        200 | 202 => Judgement::Refused {
            why: format!("{why}, and the object is not among those that it says were stored"),
        },
        201..=299 => Judgement::Unsure { why },
        408 | 425 | 429 | 502 | 503 | 504 => Judgement::Retry { why },
        400..=499 => Judgement::Refused { why },
        // Another status says nothing of what became of the object.
        _ => Judgement::Unsure { why },
    })
}

/// Whether an archive says that it has no room, or not enough of something, for the object.
pub fn is_out_of_resources(answer: &Response) -> bool {
    let listed = serde_json::from_slice::<Json>(&answer.body).ok();
    let failed = answer.status.and_then(|status| failure(status, listed.as_ref()));
    matches!(failed, Some(Some(0xA700..=0xA7FF)))
}

/// What an answer lists as failed: the reason that it gives, where it gives one.
fn failure(status: u16, listed: Option<&Json>) -> Option<Option<u16>> {
    let mut failed = items(listed, FAILED)
        .into_iter()
        .chain(items(listed, OTHER_FAILURES));
    let failed = failed.next().filter(|_| matches!(status, 200 | 202 | 409))?;
    let code = failed
        .get(REASON)
        .and_then(|reason| reason.get("Value")?.get(0)?.as_u64());
    Some(code.and_then(|code| u16::try_from(code).ok()))
}

/// The items of a sequence in an answer, which some archives write as a list of one.
fn items(listed: Option<&Json>, tag: &str) -> Vec<Json> {
    let set = listed.map(|listed| listed.get(0).unwrap_or(listed));
    let items = set.and_then(|set| set.get(tag)?.get("Value")?.as_array());
    items.cloned().unwrap_or_default()
}

/// The rows of an answer to a search, or what objects say; none: it is no such answer.
pub fn rows(answer: &[u8]) -> Option<Vec<Map<String, Json>>> {
    if answer.trim_ascii().is_empty() {
        return Some(vec![]);
    }
    let rows = serde_json::from_slice::<Vec<Map<String, Json>>>(answer).ok()?;
    (rows.len() <= MOST).then_some(rows)
}

/// A row as a message, so that its values have paths: text, numbers and sequences; what is elsewhere or in base64 is left
/// out.
pub fn message(row: &Map<String, Json>) -> Result<Vec<u8>, MapError> {
    let mut out = out(row);
    out.text("SpecificCharacterSet", "ISO_IR 192");
    let meta = Meta {
        syntax: EXPLICIT.to_owned(),
        ..Meta::default()
    };
    let mut bytes = meta.written();
    bytes.extend(out.written(Coding::EXPLICIT, Set::Utf8));
    match bytes.len() <= 16 << 20 {
        true => Ok(bytes),
        false => Err(MapError::new(Reason::DataType, None, "the answer says too much")),
    }
}

/// Deeper than 40 nothing is nested: a reader of JSON ends at 128 levels, of which an item takes three.
fn out(row: &Map<String, Json>) -> Out {
    let mut out = Out::default();
    for (key, said) in row {
        let tag = Some(key)
            .filter(|key| key.len() == 8)
            .and_then(|key| names::by_number(key));
        let vr = said
            .get("vr")
            .and_then(Json::as_str)
            .and_then(|vr| vr.parse::<VR>().ok());
        let (Some(tag), Some(vr)) = (tag.filter(|tag| 8 <= tag.0 && tag.1 != 0), vr) else {
            continue;
        };
        let values = said.get("Value").and_then(Json::as_array);
        let is_elsewhere = said.get("BulkDataURI").is_some() || said.get("InlineBinary").is_some();
        if let Some(said) = value(vr, values.map(Vec::as_slice).unwrap_or_default())
            && !is_elsewhere
        {
            out.set(tag, vr, said);
        }
    }
    out
}

fn value(vr: VR, values: &[Json]) -> Option<Said> {
    let numbers = || {
        values
            .iter()
            .map(|value| text(value).parse::<f64>().unwrap_or_default())
    };
    Some(match vr {
        VR::SQ => {
            let items = values.iter().filter_map(Json::as_object);
            Said::Items(items.map(out).collect())
        }
        VR::US => Said::Bytes(
            numbers()
                .flat_map(|number| (number as u16).to_le_bytes())
                .collect(),
        ),
        VR::SS => Said::Bytes(
            numbers()
                .flat_map(|number| (number as i16).to_le_bytes())
                .collect(),
        ),
        VR::UL => Said::Bytes(
            numbers()
                .flat_map(|number| (number as u32).to_le_bytes())
                .collect(),
        ),
        VR::SL => Said::Bytes(
            numbers()
                .flat_map(|number| (number as i32).to_le_bytes())
                .collect(),
        ),
        VR::FL => Said::Bytes(
            numbers()
                .flat_map(|number| (number as f32).to_le_bytes())
                .collect(),
        ),
        VR::FD => Said::Bytes(numbers().flat_map(f64::to_le_bytes).collect()),
        VR::PN => Said::Texts(values.iter().map(name).collect()),
        VR::AE
        | VR::AS
        | VR::CS
        | VR::DA
        | VR::DS
        | VR::DT
        | VR::IS
        | VR::LO
        | VR::LT
        | VR::SH
        | VR::ST
        | VR::TM
        | VR::UC
        | VR::UI
        | VR::UR
        | VR::UT => Said::Texts(values.iter().map(text).collect()),
        VR::AT | VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::SV | VR::UN | VR::UV => {
            return None;
        }
    })
}

fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Number(number) => number.to_string(),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => String::new(),
    }
}

/// Up to three groups of components.
fn name(value: &Json) -> String {
    let group = |name: &str| value.get(name).and_then(Json::as_str).unwrap_or_default();
    let groups = [group("Alphabetic"), group("Ideographic"), group("Phonetic")];
    groups.join("=").trim_end_matches('=').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::charset::Fallback;
    use super::super::json;
    use super::super::part10::File;
    use super::*;

    fn judged(status: u16, body: &Json) -> Judgement {
        let body = match body {
            Json::Null => vec![],
            body => body.to_string().into_bytes(),
        };
        let sent = Meta {
            instance: "1.2".to_owned(),
            syntax: EXPLICIT.to_owned(),
            ..Meta::default()
        };
        let answer = Response {
            status: Some(status),
            body,
            ..Response::default()
        };
        judge(&sent.written(), &answer).expect("a status")
    }

    #[test]
    fn an_object_is_judged_by_what_is_said_of_it() {
        let stored = json!({ "00081199": { "vr": "SQ", "Value": [{ "00081155": { "vr": "UI", "Value": ["1.2"] } }] } });
        let failed = |code: u16| json!({ "00081198": { "vr": "SQ", "Value": [{ "00081197": { "vr": "US", "Value": [code] } }] } });
        for (status, body) in [
            (200, &stored),
            (200, &Json::Null),
            (202, &stored),
            (409, &failed(0x0111)),
            (202, &failed(0xB000)),
        ] {
            assert_eq!(judged(status, body), Judgement::Accepted, "{status} {body}");
        }
        for (status, body) in [
            (409, failed(0xA700)),
            (202, failed(0xA700)),
            (503, Json::Null),
            (429, Json::Null),
        ] {
            assert!(
                matches!(judged(status, &body), Judgement::Retry { .. }),
                "{status} {body}"
            );
        }
        for (status, body) in [
            (409, failed(0xA900)),
            // What Orthanc answers to a part that it passes over.
            (
                200,
                json!({ "00081198": { "vr": "SQ" }, "00081199": { "vr": "SQ" } }),
            ),
            (202, Json::Null),
            (409, Json::Null),
            (400, Json::Null),
            (403, stored.clone()),
            (415, Json::Null),
        ] {
            assert!(
                matches!(judged(status, &body), Judgement::Refused { .. }),
                "{status} {body}"
            );
        }
        for (status, body) in [(206, Json::Null), (500, stored.clone()), (302, Json::Null)] {
            assert!(
                matches!(judged(status, &body), Judgement::Unsure { .. }),
                "{status} {body}"
            );
        }
        let other = json!({ "0008119A": { "vr": "SQ", "Value": [{}] } });
        assert!(matches!(judged(202, &other), Judgement::Refused { .. }));
    }

    #[test]
    fn a_row_is_a_message() {
        let row = json!({
            "00080005": { "vr": "CS", "Value": ["ISO_IR 192"] },
            "00100010": { "vr": "PN", "Value": [{ "Alphabetic": "Țîră^Ana" }] },
            "00100020": { "vr": "LO" },
            "00201208": { "vr": "IS", "Value": [3] },
            "00280010": { "vr": "US", "Value": [512] },
            "00400275": { "vr": "SQ", "Value": [{ "00400007": { "vr": "LO", "Value": ["Torace"] } }] },
        });
        let row = row.as_object().expect("an object");
        let bytes = message(row).expect("right");
        let file = File::read(&bytes).expect("right");
        let set = file.data_set(Fallback::default()).expect("right");
        assert_eq!(&json::of(&set), row);
        assert_eq!(rows(b" ").map(|rows| rows.len()), Some(0));
        assert_eq!(rows(b"[{}, {}]").map(|rows| rows.len()), Some(2));
        for wrong in [&b"{}"[..], b"<html>", b"[1]"] {
            assert!(rows(wrong).is_none());
        }
        let odd = json!({ "x": 1, "00100010": { "vr": "PN", "Value": ["A"] }, "00100020": { "vr": "??" }, "7FE00010": { "vr": "OW", "BulkDataURI": "x" } });
        assert!(message(odd.as_object().expect("an object")).is_ok());
    }
}
