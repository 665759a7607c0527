//! Bodies that no format of ours reads: they pass as bytes.

use std::borrow::Cow;

use clinic::exchange::{Judgement, Keys, MapError, Reason, Response, Stamp, Verdict};
use clinic::{Applied, ChangeSet};
use engine::channel::ask::is_address;
use engine::format::{Answered, Format, Reads, Replies, SetOp, Settings};

/// Anything.
pub struct Bytes;

fn unreadable(what: &str) -> MapError {
    MapError::new(
        Reason::UnsupportedType,
        None,
        format!("the format `bytes` can't be {what}"),
    )
}

impl Format for Bytes {
    fn name(&self) -> &'static str {
        "bytes"
    }
    fn content_type(&self) -> &'static str {
        "application/octet-stream"
    }
    fn keys(&self, _: &[u8]) -> Keys {
        Keys::default()
    }
    fn reads(&self, _: &[u8]) -> Reads {
        Reads::Enough
    }
    fn inspect(&self, _: &[u8]) -> Result<(), MapError> {
        Ok(())
    }
    fn decode(&self, _: &[u8], _: &Settings) -> Result<ChangeSet, MapError> {
        Err(unreadable("decoded"))
    }
    fn encode(&self, _: &ChangeSet, _: &Applied, _: &Settings, _: &Stamp) -> Result<Vec<u8>, MapError> {
        Err(unreadable("encoded"))
    }
    fn replies(&self, _: &[u8], _: Verdict<'_>, _: &Stamp) -> Replies {
        Replies::default()
    }
    fn is_answer_to(&self, _: &[u8], _: &[u8]) -> bool {
        true
    }
    fn judge(&self, _: &[u8], answer: &Response) -> Judgement {
        by_status(answer).unwrap_or(Judgement::Accepted)
    }
    fn answered(&self, question: &[u8], answer: &Response) -> Answered {
        match is_nowhere(question, answer) {
            true => Answered::Nothing,
            false => Answered::by(self.judge(question, answer), &answer.body),
        }
    }
    fn values(&self, _: &[u8], _: &str) -> Result<Vec<String>, MapError> {
        Err(unreadable("searched by paths"))
    }
    fn check_path(&self, _: &str) -> Result<(), String> {
        Err("the format `bytes` has no paths".into())
    }
    fn set<'a>(&self, _: &'a [u8], _: &[(String, SetOp)]) -> Result<Cow<'a, [u8]>, MapError> {
        Err(unreadable("changed by paths"))
    }
}

/// Whether there is nothing at the address that was fetched (HTTP 404, 410).
pub fn is_nowhere(question: &[u8], answer: &Response) -> bool {
    let is_address = std::str::from_utf8(question).is_ok_and(is_address);
    is_address && matches!(answer.status, Some(404 | 410))
}

/// What an HTTP status alone says: none where it says that all is well, or where there is no status.
pub fn by_status(answer: &Response) -> Option<Judgement> {
    let status = answer.status?;
    let why = format!("HTTP {status}");
    match status {
        200..=299 => None,
        408 | 425 | 429 | 502 | 503 | 504 => Some(Judgement::Retry { why }),
        400..=499 => Some(Judgement::Refused { why }),
        // Another status says nothing of what became of the message.
        _ => Some(Judgement::Unsure { why }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(question: &str, status: u16, body: &str) -> Answered {
        let response = Response {
            status: Some(status),
            body: body.as_bytes().to_vec(),
            ..Response::default()
        };
        Bytes.answered(question.as_bytes(), &response)
    }

    #[test]
    fn nothing_is_where_the_address_is_not() {
        for (question, status) in [("/orders/7", 404), ("?number=7", 404), ("/orders/7", 410)] {
            assert_eq!(ask(question, status, "<html>"), Answered::Nothing);
        }
        assert_eq!(ask("/orders/7", 204, ""), Answered::Nothing);
        assert_eq!(ask("/orders/7", 200, "x"), Answered::Found("x".into()));
        // Where something was sent, 404 says that the address is wrong.
        for (question, status) in [("seven", 404), ("/orders/7", 403), ("/orders/7", 503)] {
            assert!(
                matches!(ask(question, status, ""), Answered::Not(_)),
                "{question} {status}"
            );
        }
    }
}
