//! The answer that a channel shapes: status, type and a text with places.

use engine::connector::{Acknowledgement, Outcome};
use hyper::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::values::Problems;

/// `[source.http.answer]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerSettings {
    /// To a message that is stored.
    pub stored: Option<OneAnswer>,
    /// To a message that is stored as failed.
    pub failed: Option<OneAnswer>,
    /// Where it could not be stored, or a destination that is waited for did not answer in time.
    pub unavailable: Option<OneAnswer>,
}

/// One answer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneAnswer {
    /// The status: 200, 422 and 503 unless said.
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<u16>,
    /// The content type: "application/json". In JSON and XML the places are escaped as it asks for.
    #[serde(rename = "type", default = "json_type")]
    pub content_type: String,
    /// The body. {id}, {state}, {why}, {place} and {response} stand for what is to be said.
    #[serde(default)]
    pub body: String,
}

fn json_type() -> String {
    "application/json".to_owned()
}

/// What may stand in braces.
const PLACES: [&str; 5] = ["id", "state", "why", "place", "response"];

impl AnswerSettings {
    /// What is wrong with it.
    pub(super) fn check(&self, problems: &mut Problems) {
        for (name, answer) in [
            ("stored", &self.stored),
            ("failed", &self.failed),
            ("unavailable", &self.unavailable),
        ] {
            let Some(answer) = answer else { continue };
            if answer
                .status
                .is_some_and(|status| StatusCode::from_u16(status).is_err() || !(200..600).contains(&status))
            {
                problems.add(
                    &format!("answer.{name}.status"),
                    "a status is a number from 200 to 599",
                );
            }
            if answer.status == Some(204) && !answer.body.is_empty() {
                problems.add(
                    &format!("answer.{name}.body"),
                    "204 says that there is no body; leave it out, or write 200",
                );
            }
            if hyper::header::HeaderValue::from_str(&answer.content_type).is_err() {
                problems.add(
                    &format!("answer.{name}.type"),
                    "a content type is one line, such as \"application/json\"",
                );
            }
            for word in words(&answer.body) {
                if !PLACES.contains(&word) {
                    let what = format!(
                        "{{{word}}} stands for nothing; known are {{id}}, {{state}}, {{why}}, {{place}}, {{response}}"
                    );
                    problems.add(&format!("answer.{name}.body"), what);
                }
            }
        }
    }

    /// The answer to one message, where the channel shapes it: status, type, body.
    pub(super) fn to(&self, acknowledgement: &Acknowledgement) -> Option<(StatusCode, &str, String)> {
        let (answer, usual) = match acknowledgement.outcome {
            Outcome::Stored => (self.stored.as_ref()?, StatusCode::OK),
            Outcome::Failed => (self.failed.as_ref()?, StatusCode::UNPROCESSABLE_ENTITY),
            Outcome::Unavailable => (self.unavailable.as_ref()?, StatusCode::SERVICE_UNAVAILABLE),
        };
        let status = answer
            .status
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or(usual);
        let mut body = String::with_capacity(answer.body.len());
        let mut rest = answer.body.as_str();
        while let Some((before, word, after)) = next_place(rest) {
            body.push_str(before);
            let value = match word {
                "id" => acknowledgement.message.map(|id| id.to_string()),
                "state" => acknowledgement.state.map(|state| state.as_str().to_owned()),
                "why" => acknowledgement.note.clone(),
                "place" => acknowledgement.place.clone(),
                _ => Some(String::from_utf8_lossy(&acknowledgement.frames.concat()).into_owned()),
            };
            let value = value.unwrap_or_default();
            // An answer of a destination that is JSON itself stands in JSON as it is, where it is not put in quotes.
            let is_bare = word == "response" && !before.ends_with('"');
            body.push_str(&if is_bare {
                value
            } else {
                escaped(&value, &answer.content_type)
            });
            rest = after;
        }
        body.push_str(rest);
        Some((status, &answer.content_type, body))
    }
}

/// What stands before a place, its word, and what follows. Braces of JSON are no places.
fn next_place(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(open) = text[from..].find('{').map(|at| from + at) {
        let inside = &text[open + 1..];
        let length = inside
            .find(|c: char| !(c.is_ascii_lowercase() || c == '_'))
            .unwrap_or(inside.len());
        if length != 0 && inside[length..].starts_with('}') {
            return Some((&text[..open], &inside[..length], &inside[length + 1..]));
        }
        from = open + 1;
    }
    None
}

fn words(text: &str) -> Vec<&str> {
    let mut words = vec![];
    let mut rest = text;
    while let Some((_, word, after)) = next_place(rest) {
        words.push(word);
        rest = after;
    }
    words
}

/// A value as it may stand in a text of this type.
fn escaped(value: &str, content_type: &str) -> String {
    if content_type.contains("json") {
        let quoted = serde_json::Value::from(value).to_string();
        return quoted[1..quoted.len() - 1].to_owned();
    }
    if content_type.contains("xml") || content_type.contains("html") {
        return value
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;");
    }
    value.to_owned()
}

#[cfg(test)]
mod tests {
    use engine::connector::SettingsProblem;

    use super::*;

    fn problems_of(settings: &AnswerSettings) -> Vec<SettingsProblem> {
        let mut problems = Problems::default();
        settings.check(&mut problems);
        problems.into_result(()).err().unwrap_or_default()
    }

    fn settings(toml: serde_json::Value) -> AnswerSettings {
        serde_json::from_value(toml).expect("settings")
    }

    #[test]
    fn places_are_filled_and_escaped() {
        let answer = settings(serde_json::json!({
            "stored": { "status": 201, "body": "{ \"id\": \"{id}\", \"state\": \"{state}\", \"answer\": {response} }" },
            "failed": { "type": "application/xml", "body": "<e place=\"{place}\">{why}</e>" },
        }));
        assert_eq!(problems_of(&answer), []);
        let id = uuid::Uuid::from_u128(7);
        let stored = Acknowledgement {
            frames: vec![b"{\"ok\":true}".to_vec()],
            message: Some(id),
            state: Some(engine::message::MessageState::Routed),
            ..Acknowledgement::default()
        };
        let (status, content_type, body) = answer.to(&stored).expect("shaped");
        assert_eq!((status.as_u16(), content_type), (201, "application/json"));
        assert_eq!(
            body,
            format!("{{ \"id\": \"{id}\", \"state\": \"routed\", \"answer\": {{\"ok\":true}} }}")
        );
        let failed = Acknowledgement {
            outcome: Outcome::Failed,
            note: Some("a < b & \"c\"".to_owned()),
            place: Some("1:2".to_owned()),
            ..Acknowledgement::default()
        };
        let (status, _, body) = answer.to(&failed).expect("shaped");
        assert_eq!(status.as_u16(), 422);
        assert_eq!(body, "<e place=\"1:2\">a &lt; b &amp; &quot;c&quot;</e>");
        let unavailable = Acknowledgement {
            outcome: Outcome::Unavailable,
            ..Acknowledgement::default()
        };
        assert_eq!(answer.to(&unavailable), None);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let answer = settings(serde_json::json!({
            "stored": { "status": 99, "body": "{ \"id\": \"{idd}\" }" },
            "failed": { "status": 204, "body": "x" },
        }));
        let told: Vec<String> = problems_of(&answer)
            .into_iter()
            .map(|problem| problem.path)
            .collect();
        assert_eq!(
            told,
            ["answer.stored.status", "answer.stored.body", "answer.failed.body"]
        );
    }
}
