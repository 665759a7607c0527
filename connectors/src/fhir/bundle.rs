//! A transaction Bundle taken apart into requests, and their answers put together again. No network here.
//!
//! Resources stay the text that they are: only references to other entries are exchanged for the ids that the server
//! gave them, so that decimals keep their digits.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use clinic::exchange::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// More entries than this are no message.
const MOST_ENTRIES: usize = 10_000;

/// One entry as a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Its place in the Bundle.
    pub(super) index: usize,
    pub(super) method: Method,
    /// Relative to the base.
    pub(super) url: String,
    pub(super) if_none_exist: Option<String>,
    pub(super) if_match: Option<String>,
    pub(super) resource: Option<String>,
    /// The name by which others refer to it.
    full_url: Option<String>,
}

/// What an entry may ask for. All of them can be repeated without doubling anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Update or conditional update.
    Put,
    /// Conditional create.
    Post,
    Delete,
}

/// What of a resource may be left out at first, where it and another entry refer to each other: the entry is sent without it,
/// then the other one, then the entry again, whole. None of these has to be there (FHIR R4).
const CLOSING: &[(&str, &[&str])] = &[
    ("Patient", &["link"]),
    ("Encounter", &["diagnosis"]),
    (
        "ServiceRequest",
        &["specimen", "supportingInfo", "reasonReference"],
    ),
    ("Observation", &["hasMember", "derivedFrom"]),
];

/// The entries still to be sent, and the ids learnt so far.
pub(super) struct Plan {
    open: Vec<Step>,
    /// The places of those that were sent without what closes a circle.
    begun: BTreeSet<usize>,
    /// The names that entries of this Bundle have and whose ids are not known yet.
    unknown: BTreeSet<String>,
    /// Name to `Type/id`.
    known: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle<'a> {
    #[serde(borrow)]
    resource_type: Cow<'a, str>,
    #[serde(default, borrow)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    full_url: Option<String>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    request: Option<EntryRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryRequest {
    method: String,
    url: String,
    if_none_exist: Option<String>,
    if_match: Option<String>,
}

impl Plan {
    /// Reads a Bundle. The error says why it can't be sent entry by entry.
    pub(super) fn read(body: &[u8]) -> Result<Self, String> {
        // The text of serde's error may quote a value; its place may not.
        let bundle: Bundle<'_> = serde_json::from_slice(body).map_err(|error| {
            format!(
                "The message is no FHIR Bundle in JSON (line {}, column {}).",
                error.line(),
                error.column()
            )
        })?;
        if bundle.resource_type != "Bundle" {
            return Err("The message is no FHIR Bundle; only a Bundle can be sent as resources.".to_owned());
        }
        if bundle.entry.is_empty() {
            return Err("The Bundle has no entries; there is nothing to send.".to_owned());
        }
        if MOST_ENTRIES < bundle.entry.len() {
            return Err(format!(
                "The Bundle has {} entries, over the limit of {MOST_ENTRIES}.",
                bundle.entry.len()
            ));
        }
        let mut open = Vec::new();
        for (index, entry) in bundle.entry.into_iter().enumerate() {
            let step = step(index, entry).map_err(|what| format!("Bundle.entry[{index}]: {what}"))?;
            open.push(step);
        }
        let unknown = open
            .iter()
            .filter_map(|step| step.full_url.clone())
            .filter(|name| name.starts_with("urn:"));
        Ok(Plan {
            unknown: unknown.collect(),
            open,
            begun: BTreeSet::new(),
            known: BTreeMap::new(),
        })
    }

    /// The next entry whose references are all known, with the server's ids in their place. None: all are sent.
    pub(super) fn next(&mut self) -> Result<Option<Step>, String> {
        if self.open.is_empty() {
            return Ok(None);
        }
        let ready = self
            .open
            .iter()
            .position(|step| !step.texts().any(|text| self.mentions_unknown(text)));
        let step = match ready {
            Some(ready) => Some(self.open.remove(ready)),
            None => self.without_what_closes(),
        };
        let Some(mut step) = step else {
            let places: Vec<String> = self
                .open
                .iter()
                .map(|step| format!("entry[{}]", step.index))
                .collect();
            return Err(format!(
                "{} refer to each other in a circle, or to one whose id the server did not tell (neither Location nor \
                 the resource in its answer). Send it as a transaction.",
                places.join(", ")
            ));
        };
        step.url = self.resolve(&step.url);
        step.if_none_exist = step.if_none_exist.map(|text| self.resolve(&text));
        step.resource = step.resource.map(|text| self.resolve(&text));
        Ok(Some(step))
    }

    /// The first entry that can be sent once without what closes a circle; it stays open, to be sent whole.
    fn without_what_closes(&mut self) -> Option<Step> {
        let mut found = self
            .open
            .iter()
            .filter(|step| step.method == Method::Put && step.if_match.is_none())
            .filter(|step| step.full_url.is_some() && !self.begun.contains(&step.index));
        let step = found.find_map(|step| {
            let resource = without(step.resource.as_deref()?)?;
            let step = Step {
                resource: Some(resource),
                ..step.clone()
            };
            let is_open = step.texts().any(|text| self.mentions_unknown(text));
            (!is_open).then_some(step)
        })?;
        self.begun.insert(step.index);
        Some(step)
    }

    /// An entry has its id.
    pub(super) fn learn(&mut self, step: &Step, id: Option<String>) {
        if let (Some(name), Some(id)) = (&step.full_url, id) {
            self.unknown.remove(name);
            self.known.insert(name.clone(), id);
        }
    }

    fn mentions_unknown(&self, text: &str) -> bool {
        names_in(text).any(|(start, end)| self.unknown.contains(&text[start..end]))
    }

    fn resolve(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for (start, end) in names_in(text) {
            if let Some(id) = self.known.get(&text[start..end]) {
                out.push_str(&text[done..start]);
                out.push_str(id);
                done = end;
            }
        }
        out.push_str(&text[done..]);
        out
    }
}

impl Step {
    fn texts(&self) -> impl Iterator<Item = &str> {
        [
            Some(&self.url),
            self.if_none_exist.as_ref(),
            self.resource.as_ref(),
        ]
        .into_iter()
        .flatten()
        .map(String::as_str)
    }

    /// The id that its own address names, for an update that is not conditional.
    pub(super) fn id_by_address(&self) -> Option<String> {
        (self.method == Method::Put)
            .then(|| type_and_id(&self.url))
            .flatten()
    }
}

fn step(index: usize, entry: Entry<'_>) -> Result<Step, String> {
    let request = entry
        .request
        .ok_or("it has no request; the Bundle is to be of type transaction.")?;
    let method = match (request.method.as_str(), &request.if_none_exist) {
        ("PUT", _) => Method::Put,
        ("DELETE", _) => Method::Delete,
        ("POST", Some(_)) => Method::Post,
        ("POST", None) => {
            return Err("a POST without ifNoneExist would make doubles when it is repeated.".to_owned());
        }
        _ => return Err("its method is none of PUT, POST and DELETE.".to_owned()),
    };
    if method != Method::Delete && entry.resource.is_none() {
        return Err("it has no resource.".to_owned());
    }
    if !is_relative(&request.url) {
        return Err("its request.url is no address relative to the base.".to_owned());
    }
    Ok(Step {
        index,
        method,
        url: request.url,
        if_none_exist: request.if_none_exist,
        if_match: request.if_match,
        resource: entry.resource.map(|resource| resource.get().to_owned()),
        full_url: entry.full_url,
    })
}

/// The resource without what [`CLOSING`] has of its type; all else byte for byte. None: there is nothing of it.
fn without(resource: &str) -> Option<String> {
    let members: Members<'_> = serde_json::from_str(resource).ok()?;
    let kind = members.0.iter().find(|(name, _)| name == "resourceType")?.1.get();
    let (_, closing) = CLOSING.iter().find(|(of, _)| kind.trim_matches('"') == *of)?;
    let left: Vec<String> = members
        .0
        .iter()
        .filter(|(name, _)| !closing.contains(&name.as_ref()))
        .map(|(name, value)| format!("{}:{}", serde_json::Value::from(name.as_ref()), value.get()))
        .collect();
    (left.len() < members.0.len()).then(|| format!("{{{}}}", left.join(",")))
}

/// The members of an object, in their order, as they stand.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> serde::de::Visitor<'de> for Reader {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = vec![];
                while let Some((name, value)) = map.next_entry()? {
                    all.push((name, value));
                }
                Ok(all)
            }
        }
        deserializer.deserialize_map(Reader).map(Members)
    }
}

/// An address relative to the base, that does not lead away from it.
pub(super) fn is_relative(url: &str) -> bool {
    let path = url.split('?').next().unwrap_or_default();
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_');
    path.starts_with(|c: char| c.is_ascii_alphabetic())
        && path.bytes().all(is_letter)
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
        && !url.contains(|c: char| c.is_control() || c == '#')
}

/// Where `urn:uuid:…` and `urn:oid:…` stand that refer to an entry. A resource may also carry its own as an identifier
/// (`"value": "urn:uuid:…"`): that is a name, and no reference.
fn names_in(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let is_name = |start: &usize| {
        let before = text[..*start].trim_end_matches('"').trim_end();
        let key = before.strip_suffix(':').map(str::trim_end);
        key.is_some_and(|key| key.ends_with("\"value\""))
    };
    text.match_indices("urn:")
        .map(|(start, _)| start)
        .filter(move |start| !is_name(start))
        .map(|start| {
            let length = text[start..]
                .bytes()
                .take_while(|byte| byte.is_ascii_alphanumeric() || b":.-_".contains(byte))
                .count();
            (start, start + length)
        })
}

/// `Type/id` out of an address: `https://…/Patient/7/_history/2`, `Patient/7`. FHIR R4 §3.1.0.1, §2.24.0.1.
pub(super) fn type_and_id(address: &str) -> Option<String> {
    if address.contains('?') {
        return None;
    }
    let mut parts: Vec<&str> = address.trim_end_matches('/').split('/').collect();
    if 4 <= parts.len() && parts[parts.len() - 2] == "_history" {
        parts.truncate(parts.len() - 2);
    }
    let (id, kind) = (parts.pop()?, parts.pop()?);
    as_reference(kind, id)
}

/// `Type/id` out of a resource in an answer.
pub(super) fn reference_of(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        resource_type: String,
        id: String,
    }
    let head: Head = serde_json::from_slice(body).ok()?;
    (head.resource_type != "OperationOutcome")
        .then(|| as_reference(&head.resource_type, &head.id))
        .flatten()
}

fn as_reference(kind: &str, id: &str) -> Option<String> {
    let kind_is_right =
        kind.starts_with(|c: char| c.is_ascii_uppercase()) && kind.bytes().all(|b| b.is_ascii_alphabetic());
    let id_is_right = (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    (kind_is_right && id_is_right).then(|| format!("{kind}/{id}"))
}

/// The answers to the entries, as one Bundle of type transaction-response.
pub(super) struct Answers {
    entries: Vec<AnswerEntry>,
}

#[derive(Clone, Serialize)]
struct AnswerEntry {
    response: AnswerResponse,
}

#[derive(Clone, Serialize)]
struct AnswerResponse {
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Box<RawValue>>,
}

impl Answers {
    pub(super) fn new(entries: usize) -> Self {
        let untried = AnswerEntry {
            response: AnswerResponse {
                status: "424 Failed Dependency".to_owned(),
                location: None,
                outcome: None,
            },
        };
        Answers {
            entries: vec![untried; entries],
        }
    }

    pub(super) fn set(&mut self, index: usize, status: &str, location: Option<String>, body: &[u8]) {
        self.entries[index] = AnswerEntry {
            response: AnswerResponse {
                status: status.to_owned(),
                location,
                outcome: outcome_in(body),
            },
        };
    }

    /// `status` is that of the entry that failed, 200 where none did.
    pub(super) fn into_response(self, status: u16) -> Response {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Summary {
            resource_type: &'static str,
            r#type: &'static str,
            entry: Vec<AnswerEntry>,
        }
        let summary = Summary {
            resource_type: "Bundle",
            r#type: "transaction-response",
            entry: self.entries,
        };
        Response {
            status: Some(status),
            content_type: Some(super::FHIR_JSON.to_owned()),
            location: None,
            // Strings and raw JSON: there is nothing here that can't be written.
            body: serde_json::to_vec(&summary).unwrap_or_default(),
        }
    }
}

impl Plan {
    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

/// An answer that is an OperationOutcome.
fn outcome_in(body: &[u8]) -> Option<Box<RawValue>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        resource_type: String,
    }
    let is_short = body.len() <= 64 * 1024;
    let head: Head = is_short.then(|| serde_json::from_slice(body).ok()).flatten()?;
    (head.resource_type == "OperationOutcome")
        .then(|| serde_json::from_slice(body).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn bundle(entries: Value) -> Vec<u8> {
        json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })
            .to_string()
            .into_bytes()
    }

    fn put(name: &str, url: &str, resource: Value) -> Value {
        json!({ "fullUrl": name, "resource": resource, "request": { "method": "PUT", "url": url } })
    }

    #[test]
    fn references_become_ids_and_digits_stay() {
        let text = r#"{"resourceType":"Bundle","entry":[
            {"fullUrl":"urn:uuid:b","resource":{"resourceType":"Observation","subject":{"reference":"urn:uuid:a"},
              "value":5.40,"text":{"div":"<a href=\"urn:uuid:a\">x</a>"},"note":"urn:uuid:ab"},
             "request":{"method":"PUT","url":"Observation?identifier=1&subject=urn:uuid:a"}},
            {"fullUrl":"urn:uuid:a","resource":{"resourceType":"Patient"},
             "request":{"method":"POST","url":"Patient","ifNoneExist":"identifier=7"}}]}"#;
        let mut plan = Plan::read(text.as_bytes()).expect("a plan");
        let patient = plan.next().expect("no circle").expect("a step");
        assert_eq!((patient.index, patient.method), (1, Method::Post));
        plan.learn(&patient, Some("Patient/77".to_owned()));
        let observation = plan.next().expect("no circle").expect("a step");
        assert_eq!(observation.url, "Observation?identifier=1&subject=Patient/77");
        let resource = observation.resource.expect("a resource");
        assert!(
            resource.contains(r#""reference":"Patient/77""#) && resource.contains(r#"href=\"Patient/77\""#)
        );
        assert!(resource.contains("5.40") && resource.contains("urn:uuid:ab"));
        assert_eq!(plan.next(), Ok(None));
    }

    #[test]
    fn a_circle_is_opened_where_it_can_be() {
        let text = r#"{"resourceType":"Bundle","entry":[
            {"fullUrl":"urn:uuid:c","resource":{"resourceType":"Condition","encounter":{"reference":"urn:uuid:e"}},
             "request":{"method":"PUT","url":"Condition?identifier=1"}},
            {"fullUrl":"urn:uuid:e","resource":{"resourceType":"Encounter", "length":5.40,
              "diagnosis":[{"condition":{"reference":"urn:uuid:c"}}]},
             "request":{"method":"PUT","url":"Encounter?identifier=2"}}]}"#;
        let mut plan = Plan::read(text.as_bytes()).expect("a plan");
        let mut sent = vec![];
        while let Some(step) = plan.next().expect("no circle") {
            let id = format!(
                "{}/{}",
                step.url.split('?').next().unwrap_or_default(),
                step.index
            );
            plan.learn(&step, Some(id));
            sent.push((step.index, step.resource.expect("a resource")));
        }
        let order: Vec<usize> = sent.iter().map(|(index, _)| *index).collect();
        assert_eq!(order, [1, 0, 1]);
        assert_eq!(sent[0].1, r#"{"resourceType":"Encounter","length":5.40}"#);
        assert!(
            sent[1].1.contains(r#""Encounter/1""#) && sent[2].1.contains(r#""Condition/0""#),
            "{sent:?}"
        );
        // One whose id is not told is not tried for ever.
        let mut plan = Plan::read(text.as_bytes()).expect("a plan");
        let step = plan.next().expect("no circle").expect("a step");
        plan.learn(&step, None);
        assert!(plan.next().is_err());
        // Patients who were merged.
        let link =
            |to: &str| json!({ "resourceType": "Patient", "link": [{ "other": { "reference": to } }] });
        let merged = bundle(json!([
            put("urn:uuid:a", "Patient?identifier=1", link("urn:uuid:b")),
            put("urn:uuid:b", "Patient?identifier=2", link("urn:uuid:a")),
        ]));
        let mut plan = Plan::read(&merged).expect("a plan");
        let mut count = 0;
        while let Some(step) = plan.next().expect("no circle") {
            plan.learn(&step, Some(format!("Patient/{}", step.index)));
            count += 1;
        }
        assert_eq!(count, 3);
    }

    #[test]
    fn circles_and_unknown_ids_are_refused() {
        let circle = bundle(json!([
            put(
                "urn:uuid:a",
                "Patient?identifier=1",
                json!({ "link": "urn:uuid:b" })
            ),
            put(
                "urn:uuid:b",
                "Patient?identifier=2",
                json!({ "link": "urn:uuid:a" })
            ),
        ]));
        assert!(Plan::read(&circle).expect("a plan").next().is_err());
        let chain = bundle(json!([
            put("urn:uuid:a", "Patient?identifier=1", json!({})),
            put(
                "urn:uuid:b",
                "Encounter?identifier=2",
                json!({ "subject": "urn:uuid:a" })
            ),
        ]));
        let mut plan = Plan::read(&chain).expect("a plan");
        let step = plan.next().expect("no circle").expect("a step");
        plan.learn(&step, None);
        assert!(plan.next().is_err());
    }

    #[test]
    fn what_can_not_be_repeated_or_leads_elsewhere_is_refused() {
        let wrong = [
            json!({ "resource": {}, "request": { "method": "POST", "url": "Patient" } }),
            json!({ "resource": {}, "request": { "method": "PATCH", "url": "Patient/1" } }),
            json!({ "resource": {} }),
            json!({ "request": { "method": "PUT", "url": "Patient/1" } }),
            put("a", "https://elsewhere.example/Patient/1", json!({})),
            put("a", "//elsewhere.example/Patient/1", json!({})),
            put("a", "../admin", json!({})),
            put("a", "Patient/../../admin", json!({})),
            put("a", "", json!({})),
            put("a", "Patient?a=b#c", json!({})),
        ];
        for entry in wrong {
            let error = Plan::read(&bundle(json!([entry]))).err().expect("refused");
            assert!(error.starts_with("Bundle.entry[0]: "), "{error}");
        }
        for body in [
            "",
            "<html>",
            "[]",
            "{}",
            r#"{"resourceType":"Patient"}"#,
            r#"{"resourceType":"Bundle"}"#,
        ] {
            assert!(Plan::read(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn ids_are_learnt() {
        let found = |address: &str| type_and_id(address).unwrap_or_default();
        assert_eq!(
            found("https://portal.example/fhir/Patient/7/_history/2"),
            "Patient/7"
        );
        assert_eq!(found("Patient/7"), "Patient/7");
        for wrong in [
            "",
            "Patient",
            "Patient?identifier=7",
            "https://x/fhir/",
            "Patient/a b",
            "fhir/7",
            "Patient/",
        ] {
            assert_eq!(found(wrong), "", "{wrong}");
        }
        assert_eq!(
            reference_of(br#"{"id":"8","resourceType":"Patient"}"#),
            Some("Patient/8".to_owned())
        );
        assert_eq!(
            reference_of(br#"{"id":"8","resourceType":"OperationOutcome"}"#),
            None
        );
        assert_eq!(reference_of(b"<html>"), None);
    }

    #[test]
    fn answers_are_put_together() {
        let mut answers = Answers::new(3);
        answers.set(0, "201 Created", Some("Patient/7".to_owned()), b"");
        answers.set(
            2,
            "422 Unprocessable Entity",
            None,
            br#"{"resourceType":"OperationOutcome","issue":[]}"#,
        );
        let response = answers.into_response(422);
        let summary: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(summary["type"], "transaction-response");
        assert_eq!(
            summary["entry"][0]["response"],
            json!({ "status": "201 Created", "location": "Patient/7" })
        );
        assert_eq!(summary["entry"][1]["response"]["status"], "424 Failed Dependency");
        assert_eq!(
            summary["entry"][2]["response"]["outcome"]["resourceType"],
            "OperationOutcome"
        );
        assert_eq!(response.status, Some(422));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..200), text in "(urn:|uuid|:|ș|a|\")*") {
            let _ = Plan::read(&body);
            let whole = bundle(json!([put(&text, "Patient?identifier=1", json!({ "a": text }))]));
            if let Ok(mut plan) = Plan::read(&whole) {
                let _ = plan.next();
            }
        }
    }
}
