//! FHIR R4, as the engine sees it: written, and its answers read. It is not decoded yet.

use std::borrow::Cow;

use clinic::exchange::{Judgement, Keys, MapError, Reason, Response, Stamp, Verdict};
use clinic::{Applied, ChangeSet};
use engine::format::{Format, Replies, SetOp, Settings};
use mappings_fhir::Shape;

use super::bytes::by_status;

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
    fn keys(&self, _: &[u8]) -> Keys {
        Keys::default()
    }
    fn inspect(&self, _: &[u8]) -> Result<(), MapError> {
        Ok(())
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
            Shape::Transaction => mappings_fhir::bundle(changes, applied, shape, stamp),
        }
    }
    fn replies(&self, _: &[u8], _: Verdict<'_>, _: &Stamp) -> Replies {
        Replies::default()
    }
    fn is_answer_to(&self, _: &[u8], _: &[u8]) -> bool {
        true
    }
    fn judge(&self, _: &[u8], answer: &Response) -> Judgement {
        judge(answer)
    }
    fn values(&self, _: &[u8], _: &str) -> Result<Vec<String>, MapError> {
        Err(not_read("searched by paths"))
    }
    fn check_path(&self, _: &str) -> Result<(), String> {
        Err("FHIR paths can't be used in this version".into())
    }
    fn set<'a>(&self, _: &'a [u8], _: &[(String, SetOp)]) -> Result<Cow<'a, [u8]>, MapError> {
        Err(not_read("changed by paths"))
    }
}

/// A FHIR answer is believed when it is FHIR: a transaction-response whose entries are all 2xx, or a resource.
/// A page of HTML with status 200 is nobody's answer.
fn judge(answer: &Response) -> Judgement {
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
            match refused {
                Some(why) => Judgement::Refused { why },
                None => Judgement::Accepted,
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
        _ => Judgement::Accepted,
    }
}
