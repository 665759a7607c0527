//! What the answer of a FHIR server says about the clinic: the ids that it gave to what was sent (FHIR R4 §3.1.0.8,
//! §3.1.0.11.3: the answers stand in the order of the entries).
//!
//! The id of a patient is kept as an identifier whose system is the server's address of its patients, so that the next
//! update goes to that id (see [`crate::bundle_to`]).

use clinic::change_set::{Find, Missing};
use clinic::exchange::{Extra, MapError, Reason};
use clinic::patch::Items;
use clinic::people::PatientChange;
use clinic::value::{Concept, Identifier};
use clinic::{Change, ChangeSet};
use serde::Deserialize;
use uuid::Uuid;

use crate::types;

/// More entries than this are no answer.
const MOST_ENTRIES: usize = 10_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    #[serde(default)]
    resource_type: String,
    #[serde(default)]
    entry: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    full_url: Option<String>,
    resource: Option<Resource>,
    response: Option<Answered>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    resource_type: Option<String>,
}

#[derive(Deserialize)]
struct Answered {
    location: Option<String>,
}

/// The system of the identifiers that a server's ids of patients are.
pub fn patients_of(server: &str) -> String {
    format!("{}/Patient", server.trim_end_matches('/'))
}

/// Reads an answer to a Bundle of ours. `server`: its address.
pub fn decode_answer(sent: &[u8], answer: &[u8], server: &str) -> Result<ChangeSet, MapError> {
    let (sent, answer) = (bundle(sent, "what was sent")?, bundle(answer, "the answer")?);
    if sent.entry.len() != answer.entry.len() {
        let what = format!(
            "the answer has {} entries to {} that were sent, so that nobody knows which belongs to which",
            answer.entry.len(),
            sent.entry.len()
        );
        return Err(MapError::new(Reason::Sequence, Some("$.entry"), what));
    }
    let mut set = ChangeSet::default();
    for (idx, (asked, answered)) in sent.entry.iter().zip(&answer.entry).enumerate() {
        let Some(location) = answered
            .response
            .as_ref()
            .and_then(|response| response.location.as_deref())
        else {
            continue;
        };
        let kind = asked
            .resource
            .as_ref()
            .and_then(|resource| resource.resource_type.as_deref());
        let ours = asked.full_url.as_deref().and_then(ours);
        match (kind, ours, id_in(location, "Patient")) {
            (Some("Patient"), Some(patient), Some(id)) => {
                set.changes.push(known_there(idx, patient, id, server));
            }
            _ => set.extra.push(Extra {
                place: format!("$.entry[{idx}].response.location").as_str().into(),
                value: location.to_owned(),
                note: None,
            }),
        }
    }
    Ok(set)
}

fn bundle(bytes: &[u8], which: &str) -> Result<Bundle, MapError> {
    let wrong = |what: String| MapError::new(Reason::DataType, None, what);
    // The text of serde's error may quote a value; its place may not.
    let bundle: Bundle = serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        wrong(format!(
            "{which} is no FHIR Bundle in JSON (line {line}, column {column})"
        ))
    })?;
    if bundle.resource_type != "Bundle" {
        return Err(wrong(format!("{which} is no FHIR Bundle")));
    }
    if MOST_ENTRIES < bundle.entry.len() {
        return Err(wrong(format!("{which} has more than {MOST_ENTRIES} entries")));
    }
    Ok(bundle)
}

/// Our id of what an entry is about.
fn ours(full_url: &str) -> Option<Uuid> {
    full_url.strip_prefix("urn:uuid:")?.parse().ok()
}

/// The id in `https://…/Patient/7/_history/2`, `Patient/7`. FHIR R4 §2.24.0.1: at most 64 letters, digits, `-` and `.`.
fn id_in<'a>(location: &'a str, kind: &str) -> Option<&'a str> {
    let mut parts: Vec<&str> = location.trim_end_matches('/').split('/').collect();
    if 4 <= parts.len() && parts[parts.len() - 2] == "_history" {
        parts.truncate(parts.len() - 2);
    }
    let id = parts.pop()?;
    let is_right = (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    (is_right && parts.pop() == Some(kind)).then_some(id)
}

fn known_there(idx: usize, patient: Uuid, id: &str, server: &str) -> Change {
    let identifier = Identifier {
        system: Some(patients_of(server)),
        value: id.to_owned(),
        // HL7 table 0203: resource identifier.
        kind: Some(Concept::coded(types::V2_0203, "RI", None)),
        ..Identifier::default()
    };
    let say = PatientChange {
        identifiers: Items::merge(vec![identifier]),
        ..PatientChange::default()
    };
    Change {
        find: Find {
            id: Some(patient),
            missing: Missing::Skip,
            ..Find::default()
        },
        ..Change::new(format!("patient-{}", idx + 1), say)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "0197a3b2-0000-7000-8000-000000000001";

    fn sent() -> String {
        format!(
            r#"{{"resourceType":"Bundle","type":"transaction","entry":[
            {{"fullUrl":"urn:uuid:0197a3b2-0000-7000-8000-000000000009","resource":{{"resourceType":"Organization"}}}},
            {{"fullUrl":"urn:uuid:{OURS}","resource":{{"resourceType":"Patient"}}}}]}}"#
        )
    }

    fn read(answer: &str) -> Result<ChangeSet, MapError> {
        decode_answer(
            sent().as_bytes(),
            answer.as_bytes(),
            "https://portal.example/fhir/",
        )
    }

    #[test]
    fn the_id_that_a_server_gave_is_an_identifier_of_our_patient() {
        for location in [
            "Patient/77/_history/1",
            "https://portal.example/fhir/Patient/77",
            "Patient/77",
        ] {
            let answer = format!(
                r#"{{"resourceType":"Bundle","type":"transaction-response","entry":[
                {{"response":{{"status":"201","location":"Organization/5"}}}},
                {{"response":{{"status":"201 Created","location":"{location}"}}}}]}}"#
            );
            let set = read(&answer).unwrap();
            let [change] = set.changes.as_slice() else {
                panic!("one change")
            };
            assert_eq!(change.find.id.unwrap().to_string(), OURS);
            let identifier = &change.say.identifiers()[0];
            assert_eq!(
                identifier.system.as_deref(),
                Some("https://portal.example/fhir/Patient")
            );
            assert_eq!(identifier.value, "77");
            assert_eq!(set.extra[0].place.0, "$.entry[0].response.location");
        }
    }

    #[test]
    fn what_can_not_be_matched_says_nothing() {
        for wrong in [
            "",
            "<html>",
            "[]",
            r#"{"resourceType":"Patient"}"#,
            r#"{"resourceType":"Bundle","entry":[{}]}"#,
            r#"{"resourceType":"Bundle","entry":7}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        for location in [
            "Patient/",
            "Patient/a b",
            "Observation/77",
            "javascript:alert(1)",
            "",
        ] {
            let answer = format!(
                r#"{{"resourceType":"Bundle","entry":[{{}},{{"response":{{"status":"201","location":"{location}"}}}}]}}"#
            );
            assert_eq!(read(&answer).unwrap().changes, [], "{location}");
        }
    }
}
