//! FHIR R4, as the engine sees it: written, and its answers read. It is not decoded yet.

use std::borrow::Cow;

use clinic::exchange::{Judgement, Keys, MapError, Reason, Response, Stamp, Verdict};
use clinic::{Applied, ChangeSet};
use engine::format::{Answered, Format, Replies, SetOp, Settings, Told};
use mappings_fhir::Shape;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::bytes::by_status;
use super::document::Document;

/// FHIR R4 (4.0.1).
pub struct FhirR4;

fn not_read(what: &str) -> MapError {
    MapError::new(
        Reason::UnsupportedType,
        None,
        format!("FHIR can't be {what} by this version"),
    )
}

impl Format for FhirR4 {
    fn name(&self) -> &'static str {
        "fhir-r4"
    }
    fn content_type(&self) -> &'static str {
        "application/fhir+json"
    }
    /// Of a Patient its numbers, as `value` and `value^system`.
    fn keys(&self, message: &[u8]) -> Keys {
        Keys {
            patients: patient_numbers(message).unwrap_or_default(),
            ..Keys::default()
        }
    }
    fn inspect(&self, _: &[u8]) -> Result<(), MapError> {
        Ok(())
    }
    /// The ids that a server gave to what was sent.
    fn decode_answer(&self, sent: &[u8], answer: &[u8], settings: &Settings) -> Result<ChangeSet, MapError> {
        let server = settings.server.as_deref().ok_or_else(|| {
            MapError::new(
                Reason::Internal,
                None,
                "it is not known which server has answered",
            )
        })?;
        mappings_fhir::decode_answer(sent, answer, server)
    }
    fn decode(&self, _: &[u8], _: &Settings) -> Result<ChangeSet, MapError> {
        Err(not_read("decoded"))
    }
    fn encode(
        &self,
        changes: &ChangeSet,
        applied: &Applied,
        settings: &Settings,
        stamp: &Stamp,
    ) -> Result<Vec<u8>, MapError> {
        let shape = match settings.shape.as_deref() {
            Some("message") => Shape::Message,
            _ => Shape::Transaction,
        };
        match shape {
            // Nobody checks what `convert` prints; a server checks what it is sent.
            Shape::Message => mappings_fhir::checked_bundle(changes, applied, shape, stamp),
            Shape::Transaction => {
                mappings_fhir::bundle_to(settings.server.as_deref(), changes, applied, shape, stamp)
            }
        }
    }
    fn replies(&self, _: &[u8], _: Verdict<'_>, _: &Stamp) -> Replies {
        Replies::default()
    }
    fn is_answer_to(&self, _: &[u8], _: &[u8]) -> bool {
        true
    }
    fn tells(&self, body: &[u8]) -> Vec<Told> {
        told(body).unwrap_or_default()
    }
    fn leaving(&self, body: &[u8], ids: &[Uuid]) -> Option<Vec<u8>> {
        leaving(body, ids)
    }
    fn judge(&self, sent: &[u8], answer: &Response) -> Judgement {
        judge(sent, answer)
    }
    fn answered(&self, question: &[u8], answer: &Response) -> Answered {
        answered(question, answer).unwrap_or_else(Answered::Not)
    }
    /// The paths of JSON, from the resource on: `name[0].family`.
    fn values(&self, message: &[u8], path: &str) -> Result<Vec<String>, MapError> {
        Document::json().values(message, path)
    }
    fn check_path(&self, path: &str) -> Result<(), String> {
        Document::json().check_path(path)
    }
    fn set<'a>(&self, message: &'a [u8], ops: &[(String, SetOp)]) -> Result<Cow<'a, [u8]>, MapError> {
        Document::json().set(message, ops)
    }
}

/// What is looked at of a transaction that goes out.
#[derive(Deserialize)]
struct Going<'a> {
    #[serde(borrow, default)]
    entry: Vec<GoingEntry<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GoingEntry<'a> {
    #[serde(borrow)]
    full_url: Cow<'a, str>,
    #[serde(borrow)]
    request: Option<&'a RawValue>,
    #[serde(borrow)]
    resource: GoingResource<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GoingResource<'a> {
    #[serde(borrow)]
    resource_type: Cow<'a, str>,
    #[serde(borrow, default)]
    meta: GoingMeta<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GoingMeta<'a> {
    #[serde(borrow, default)]
    version_id: Option<Cow<'a, str>>,
}

impl GoingEntry<'_> {
    fn id(&self) -> Option<Uuid> {
        self.full_url.strip_prefix("urn:uuid:")?.parse().ok()
    }
}

/// The aggregates that a transaction updates, by the version that each resource has.
fn told(body: &[u8]) -> Option<Vec<Told>> {
    #[derive(Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        method: Cow<'a, str>,
    }
    let going: Going<'_> = serde_json::from_slice(body).ok()?;
    let of = |entry: &GoingEntry<'_>| {
        let request: Request<'_> = serde_json::from_str(entry.request?.get()).ok()?;
        let version = entry.resource.meta.version_id.as_ref()?.parse().ok()?;
        let kinds = mappings_fhir::kinds(&entry.resource.resource_type);
        (request.method == "PUT" && !kinds.is_empty()).then_some(Told {
            kinds,
            id: entry.id()?,
            version,
        })
    };
    Some(going.entry.iter().filter_map(of).collect())
}

/// A transaction that makes these only where no resource has our identifier of them (FHIR R4 §3.1.0.8.1, conditional create). All
/// the rest of it stays byte for byte.
fn leaving(body: &[u8], ids: &[Uuid]) -> Option<Vec<u8>> {
    let going: Going<'_> = serde_json::from_slice(body).ok()?;
    let mut out = Vec::with_capacity(body.len());
    let mut done = 0;
    for entry in &going.entry {
        let (Some(request), Some(id)) = (entry.request, entry.id()) else {
            continue;
        };
        if !ids.contains(&id) {
            continue;
        }
        let request = request.get();
        let begins = request.as_ptr().addr().checked_sub(body.as_ptr().addr())?;
        out.extend_from_slice(body.get(done..begins)?);
        done = begins + request.len();
        let made = serde_json::json!({
            "method": "POST",
            "url": entry.resource.resource_type,
            "ifNoneExist": format!("identifier=urn%3Aietf%3Arfc%3A3986%7Curn%3Auuid%3A{id}"),
        });
        out.extend_from_slice(made.to_string().as_bytes());
    }
    out.extend_from_slice(body.get(done..)?);
    Some(out)
}

/// What is looked at of what was sent.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    entry: Vec<serde::de::IgnoredAny>,
}

/// What a server answers to what we sent (FHIR R4 §3.1.0.11.3): of the type that belongs to it, with an answer to each
/// entry. Another one is that of an address where nobody takes such Bundles.
fn belongs(sent: &[u8], body: &serde_json::Value) -> Result<(), String> {
    let Ok(sent) = serde_json::from_slice::<Sent<'_>>(sent) else {
        return Ok(());
    };
    let wanted = match sent.kind.as_deref() {
        Some("transaction") => "transaction-response",
        Some("batch") => "batch-response",
        _ => return Ok(()),
    };
    if body["resourceType"] != "Bundle" || body["type"] != wanted {
        return Err(format!("the answer is no Bundle of type {wanted}"));
    }
    let entries = body["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    if entries.len() != sent.entry.len() {
        let (answered, asked) = (entries.len(), sent.entry.len());
        return Err(format!(
            "the answer has {answered} entries to {asked} that were sent"
        ));
    }
    let silent = entries
        .iter()
        .position(|entry| !entry["response"]["status"].is_string());
    silent.map_or(Ok(()), |idx| {
        Err(format!("entry[{idx}] of the answer has no status"))
    })
}

/// A FHIR answer is believed when it is FHIR: a transaction-response whose entries are all 2xx, or a resource.
/// A page of HTML with status 200 is nobody's answer.
fn judge(sent: &[u8], answer: &Response) -> Judgement {
    if let Some(judged) = by_status(answer) {
        return judged;
    }
    let status = answer.status.unwrap_or(200);
    if status == 204 || (answer.body.is_empty() && status == 201) {
        return Judgement::Accepted;
    }
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(&answer.body) else {
        return Judgement::Unsure {
            why: format!("HTTP {status}, and the body is no FHIR: the answer can't be believed"),
        };
    };
    let kind = body["resourceType"].as_str().unwrap_or_default();
    match kind {
        "" => Judgement::Unsure {
            why: format!("HTTP {status}, and the body has no resourceType"),
        },
        "Bundle" => {
            let entries = body["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
            let refused = entries.iter().enumerate().find_map(|(idx, entry)| {
                let status = entry["response"]["status"].as_str()?;
                (!status.starts_with('2'))
                    .then(|| format!("entry[{idx}]: {}", status.chars().take(60).collect::<String>()))
            });
            match (refused, belongs(sent, &body)) {
                (Some(why), _) => Judgement::Refused { why },
                (None, Ok(())) => Judgement::Accepted,
                (None, Err(why)) => unsure_of(status, &why),
            }
        }
        "OperationOutcome" => {
            let issues = body["issue"].as_array().map(Vec::as_slice).unwrap_or_default();
            let bad = issues
                .iter()
                .any(|issue| matches!(issue["severity"].as_str(), Some("error" | "fatal")));
            if bad {
                Judgement::Refused {
                    why: format!("HTTP {status} with an OperationOutcome of severity error"),
                }
            } else {
                Judgement::Accepted
            }
        }
        _ => match belongs(sent, &body) {
            Ok(()) => Judgement::Accepted,
            Err(why) => unsure_of(status, &why),
        },
    }
}

fn unsure_of(status: u16, why: &str) -> Judgement {
    Judgement::Unsure {
        why: format!("HTTP {status}, and {why}"),
    }
}

/// What can be in an answer to a question, as the text that it is: decimals keep their digits.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Searchset<'a> {
    resource_type: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    entry: Vec<SearchEntry<'a>>,
}

#[derive(Deserialize)]
struct SearchEntry<'a> {
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    search: Option<SearchMode>,
}

#[derive(Deserialize)]
struct SearchMode {
    mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfType<'a> {
    resource_type: Cow<'a, str>,
}

/// The answer to a read (`Patient/7`, FHIR R4 §3.1.0.2) is that resource; to a search (`Patient?…`, §3.1.1) a searchset,
/// whose matches are of the type that was asked for. Both are believed only if they are.
fn answered(question: &[u8], answer: &Response) -> Result<Answered, Judgement> {
    let unsure = |why: &str| Judgement::Unsure { why: why.to_owned() };
    let question = String::from_utf8_lossy(question);
    let (path, is_search) = match question.split_once('?') {
        Some((path, _)) => (path, true),
        None => (question.as_ref(), false),
    };
    let mut parts = path.split('/');
    let asked = (parts.next().unwrap_or_default(), parts.next());
    if !is_search && matches!(answer.status, Some(404 | 410)) {
        return Ok(Answered::Nothing);
    }
    if let Some(judged) = by_status(answer) {
        return Err(judged);
    }
    let read: Searchset<'_> =
        serde_json::from_slice(&answer.body).map_err(|_| unsure("the answer is no FHIR resource in JSON"))?;
    if read.resource_type == "OperationOutcome" {
        let why = "the answer is an OperationOutcome".to_owned();
        return Err(Judgement::Refused { why });
    }
    if !is_search {
        let is_it = read.resource_type == asked.0 && read.id.as_deref() == asked.1;
        return match is_it {
            true => Ok(Answered::Found(answer.body.clone().into())),
            false => Err(unsure(
                "the answer is another resource than the one that was asked for",
            )),
        };
    }
    if read.resource_type != "Bundle" || read.kind.as_deref() != Some("searchset") {
        return Err(unsure(
            "the answer to a search is a Bundle of type searchset; this is none",
        ));
    }
    let mut matches = vec![];
    for entry in &read.entry {
        let mode = entry.search.as_ref().and_then(|search| search.mode.as_deref());
        let (Some(resource), None | Some("match")) = (entry.resource, mode) else {
            continue;
        };
        let of: OfType<'_> = serde_json::from_str(resource.get())
            .map_err(|_| unsure("an entry of the answer has no resourceType"))?;
        match of.resource_type.as_ref() {
            kind if kind == asked.0 => matches.push(resource),
            "OperationOutcome" => {}
            _ => {
                return Err(unsure(
                    "the answer has resources of another type than was asked for",
                ));
            }
        }
    }
    Ok(match matches.as_slice() {
        [] => Answered::Nothing,
        [one] => Answered::Found(one.get().as_bytes().to_vec().into()),
        several => Answered::Several(several.len()),
    })
}

fn patient_numbers(message: &[u8]) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        resource_type: String,
        #[serde(default)]
        identifier: Vec<Number>,
    }
    #[derive(Deserialize)]
    struct Number {
        system: Option<String>,
        value: Option<String>,
    }
    let head: Head = serde_json::from_slice(message).ok()?;
    let mut numbers = vec![];
    for Number { system, value } in head.identifier {
        let Some(value) = value.filter(|_| head.resource_type == "Patient") else {
            continue;
        };
        numbers.extend(system.map(|system| format!("{value}^{system}")));
        numbers.push(value);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use clinic::Kind;

    use super::*;

    #[test]
    fn what_is_left_is_made_only_where_it_is_not_there_and_the_rest_stays() {
        let id: Uuid = "0197a3b2-0000-7000-8000-000000000001".parse().expect("an id");
        let other = "0197a3b2-0000-7000-8000-000000000002";
        let entry = |id: &str, kind: &str, request: &str| {
            format!(
                r#"{{"fullUrl":"urn:uuid:{id}","resource":{{"resourceType":"{kind}","id":"x","meta":{{"versionId":"3"}},"n": 5.40}},
                "request": {request} }}"#
            )
        };
        let update = r#"{"method":"PUT","url":"Patient?identifier=A%7CB"}"#;
        let provenance = r#"{"method":"PUT","url":"Provenance/x"}"#;
        let bundle = |first: &str| {
            format!(
                r#"{{ "resourceType":"Bundle","type":"transaction","entry":[{},{},{}]}}"#,
                entry(&id.to_string(), "Patient", first),
                entry(
                    other,
                    "Patient",
                    r#"{"method":"POST","url":"Patient","ifNoneExist":"identifier=x"}"#
                ),
                entry(other, "Provenance", provenance),
            )
        };
        let body = bundle(update);
        let told = FhirR4.tells(body.as_bytes());
        let expected = Told {
            kinds: &[Kind::Patient],
            id,
            version: 3,
        };
        assert_eq!(told, [expected], "what is updated");
        let left = FhirR4.leaving(body.as_bytes(), &[id]).expect("a transaction");
        let query = format!("identifier=urn%3Aietf%3Arfc%3A3986%7Curn%3Auuid%3A{id}");
        let made = format!(r#"{{"ifNoneExist":"{query}","method":"POST","url":"Patient"}}"#);
        assert_eq!(String::from_utf8(left).expect("text"), bundle(&made));
        assert_eq!(
            FhirR4.leaving(body.as_bytes(), &[]).as_deref(),
            Some(body.as_bytes())
        );
        for none in [
            "",
            "{}",
            "[1]",
            r#"{"entry":[{}]}"#,
            r#"{"resourceType":"Patient"}"#,
        ] {
            assert_eq!(FhirR4.tells(none.as_bytes()), [], "{none}");
        }
    }

    fn ask(question: &str, status: u16, body: &str) -> Answered {
        let response = Response {
            status: Some(status),
            content_type: None,
            body: body.as_bytes().to_vec(),
            ..Response::default()
        };
        FhirR4.answered(question.as_bytes(), &response)
    }

    #[test]
    fn an_answer_to_a_transaction_answers_each_entry() {
        let sent = r#"{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"n":1.0}},{"resource":{}}]}"#;
        let judge = |sent: &str, body: &str| {
            let answer = Response {
                status: Some(200),
                body: body.as_bytes().to_vec(),
                ..Response::default()
            };
            match FhirR4.judge(sent.as_bytes(), &answer) {
                Judgement::Accepted => "accepted",
                Judgement::Unsure { .. } => "unsure",
                Judgement::Refused { .. } => "refused",
                Judgement::Retry { .. } | Judgement::Pending { .. } => "other",
            }
        };
        let bundle = |kind: &str, entries: &str| {
            format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{entries}]}}"#)
        };
        let (ok, no) = (
            r#"{"response":{"status":"201 Created"}}"#,
            r#"{"response":{"status":"409"}}"#,
        );
        for (body, wanted) in [
            (bundle("transaction-response", &format!("{ok},{ok}")), "accepted"),
            (bundle("transaction-response", &format!("{ok},{no}")), "refused"),
            (bundle("transaction-response", no), "refused"),
            (bundle("transaction-response", ok), "unsure"),
            (bundle("transaction-response", ""), "unsure"),
            (bundle("transaction-response", &format!("{ok},{{}}")), "unsure"),
            (bundle("batch-response", &format!("{ok},{ok}")), "unsure"),
            (bundle("searchset", ""), "unsure"),
            (r#"{"resourceType":"Patient"}"#.to_owned(), "unsure"),
            (r#"{"resourceType":"OperationOutcome"}"#.to_owned(), "accepted"),
        ] {
            assert_eq!(judge(sent, &body), wanted, "{body}");
        }
        // What is no transaction is answered by any resource.
        let message = r#"{"resourceType":"Bundle","type":"message","entry":[{}]}"#;
        assert_eq!(judge(message, &bundle("message", "")), "accepted");
        assert_eq!(
            judge(r#"{"resourceType":"Patient"}"#, r#"{"resourceType":"Patient"}"#),
            "accepted"
        );
    }

    fn searchset(entries: &str) -> String {
        format!(r#"{{"resourceType":"Bundle","type":"searchset","entry":[{entries}]}}"#)
    }

    #[test]
    fn an_answer_is_matched_to_its_question() {
        let ana = r#"{"resourceType":"Patient","id":"7","weight":5.40}"#;
        let found = Answered::Found(ana.as_bytes().into());
        assert_eq!(ask("Patient/7", 200, ana), found);
        assert_eq!(ask("Patient/7", 404, "<html>"), Answered::Nothing);
        assert!(matches!(
            ask("Patient/8", 200, ana),
            Answered::Not(Judgement::Unsure { .. })
        ));
        assert!(matches!(
            ask("Practitioner/7", 200, ana),
            Answered::Not(Judgement::Unsure { .. })
        ));

        let one = searchset(&format!(r#"{{"resource":{ana},"search":{{"mode":"match"}}}}"#));
        assert_eq!(ask("Patient?identifier=7", 200, &one), found);
        let with_more = searchset(&format!(
            r#"{{"resource":{ana}}},{{"resource":{{"resourceType":"Organization"}},"search":{{"mode":"include"}}}},{{"resource":{{"resourceType":"OperationOutcome"}},"search":{{"mode":"outcome"}}}}"#
        ));
        assert_eq!(ask("Patient?identifier=7", 200, &with_more), found);
        let two = searchset(&format!(r#"{{"resource":{ana}}},{{"resource":{ana}}}"#));
        assert_eq!(ask("Patient?name=ana", 200, &two), Answered::Several(2));
        assert_eq!(ask("Patient?name=x", 200, &searchset("")), Answered::Nothing);
        let refused = |question: &str, status: u16, body: &str| {
            matches!(
                ask(question, status, body),
                Answered::Not(Judgement::Refused { .. })
            )
        };
        assert!(refused("Patient?name=x", 404, ""), "a wrong base is not nobody");
        assert!(refused("Patient?name=x", 401, ""));
        assert!(refused(
            "Patient/7",
            200,
            r#"{"resourceType":"OperationOutcome"}"#
        ));
        let wrong = [
            "<html>all is well</html>",
            "",
            "{}",
            ana,
            &one.replace("searchset", "history"),
            &one.replace("\"Patient\"", "\"Observation\""),
        ];
        for wrong in wrong {
            let answered = ask("Patient?identifier=7", 200, wrong);
            assert!(
                matches!(answered, Answered::Not(Judgement::Unsure { .. })),
                "{wrong}: {answered:?}"
            );
        }
    }
}
