//! The format `clinic`: the change set itself as JSON, by `schemas/change-set.schema.json`.

use std::borrow::Cow;

use clinic::exchange::{Judgement, Keys, MapError, Reason, Response, Stamp, Verdict};
use clinic::{Applied, ChangeSet, json};
use engine::format::{Answered, Format, Replies, SetOp, Settings};
use serde_json::{Value, json};

use super::bytes::{by_status, is_nowhere};

/// Change sets.
pub struct Clinic;

fn no_paths() -> MapError {
    MapError::new(
        Reason::UnsupportedType,
        None,
        "a change set can't be searched or changed by paths",
    )
}

impl Format for Clinic {
    fn name(&self) -> &'static str {
        "clinic"
    }
    fn content_type(&self) -> &'static str {
        "application/json"
    }
    fn keys(&self, message: &[u8]) -> Keys {
        json::keys(message)
    }
    fn inspect(&self, message: &[u8]) -> Result<(), MapError> {
        match message.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'{') => Ok(()),
            Some(_) => Err(MapError::new(Reason::UnsupportedType, None, "is no JSON table")),
            None => Err(MapError::new(Reason::RequiredMissing, None, "is empty")),
        }
    }
    fn decode(&self, message: &[u8], settings: &Settings) -> Result<ChangeSet, MapError> {
        let set = json::decode(message)?;
        let wrongs = match settings.typed {
            true => json::wrong_numbers(&set),
            false => vec![],
        };
        match wrongs.is_empty() {
            true => Ok(set),
            false => Err(json::error(&wrongs)),
        }
    }
    fn encode(&self, changes: &ChangeSet, _: &Applied, _: &Settings, _: &Stamp) -> Result<Vec<u8>, MapError> {
        json::write(changes)
    }
    /// The number of the message that was stored, and what was wrong with it.
    fn replies(&self, to: &[u8], verdict: Verdict<'_>, stamp: &Stamp) -> Replies {
        let mut answer = json!({ "message": stamp.id });
        if let Some(control_id) = json::keys(to).control_id {
            answer["control_id"] = control_id.into();
        }
        if let Verdict::Refused(error) = verdict {
            answer["error"] =
                json!({ "code": error.reason.code(), "place": error.place, "detail": error.what });
        }
        Replies {
            frames: vec![answer.to_string().into_bytes()],
        }
    }
    fn is_answer_to(&self, sent: &[u8], candidate: &[u8]) -> bool {
        let answered = serde_json::from_slice::<Value>(candidate).unwrap_or_default();
        let (asked, answered) = (json::keys(sent).control_id, answered["control_id"].as_str());
        answered.is_none() || asked.as_deref() == answered
    }
    /// An answer is believed when it is JSON, or when there is nothing to be said (204).
    fn judge(&self, sent: &[u8], answer: &Response) -> Judgement {
        if let Some(judged) = by_status(answer) {
            return judged;
        }
        if answer.status == Some(204) {
            return Judgement::Accepted;
        }
        match serde_json::from_slice::<Value>(&answer.body) {
            Ok(Value::Object(body)) => match &body.get("error") {
                Some(error) => Judgement::Refused {
                    why: format!("the far side refused it (code {})", error["code"]),
                },
                None if self.is_answer_to(sent, &answer.body) => Judgement::Accepted,
                None => Judgement::Unsure {
                    why: "the answer names another message".into(),
                },
            },
            Ok(_) | Err(_) => Judgement::Unsure {
                why: "the answer is no JSON table: it can't be believed".into(),
            },
        }
    }
    fn answered(&self, question: &[u8], answer: &Response) -> Answered {
        match is_nowhere(question, answer) {
            true => Answered::Nothing,
            false => Answered::by(self.judge(question, answer), &answer.body),
        }
    }
    fn values(&self, _: &[u8], _: &str) -> Result<Vec<String>, MapError> {
        Err(no_paths())
    }
    fn check_path(&self, _: &str) -> Result<(), String> {
        Err("a change set has no paths in this version".into())
    }
    fn set<'a>(&self, _: &'a [u8], _: &[(String, SetOp)]) -> Result<Cow<'a, [u8]>, MapError> {
        Err(no_paths())
    }
}
