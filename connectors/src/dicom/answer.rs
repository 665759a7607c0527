//! What is answered: the words of a format as a status, and a status as words.

use dimse::{Command, Operation, Status};
use engine::connector::{Acknowledgement, Outcome};

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Data sets that go before: the matches of a question.
    pub(super) data_sets: Vec<Vec<u8>>,
    /// What is said with each of them.
    pub(super) pending: Status,
    /// What the last answer says.
    pub(super) status: Status,
    /// Why, in words.
    pub(super) comment: Option<String>,
    /// Why, as a number of its service: Error ID (0000,0903).
    pub(super) error_id: Option<u16>,
}

/// A status as a line says it.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    status: Status,
    error_id: Option<u16>,
    comment: Option<String>,
}

impl Answer {
    pub(super) fn of(status: Status) -> Self {
        Answer {
            data_sets: vec![],
            pending: Status::PENDING,
            status,
            comment: None,
            error_id: None,
        }
    }

    pub(super) fn with(status: Status, comment: &str) -> Self {
        Answer {
            comment: Some(comment.to_owned()),
            ..Answer::of(status)
        }
    }

    /// The last frame of an acknowledgement is the status line, those before it are data sets; a first one that is a status
    /// line is what is said with each data set. Without any frame the outcome says it.
    pub(super) fn by(mut acknowledgement: Acknowledgement, operation: Operation) -> Self {
        let Some(last) = acknowledgement.frames.pop() else {
            return match acknowledgement.outcome {
                Outcome::Stored => Answer::of(Status::SUCCESS),
                Outcome::Failed => Answer::of(failed(operation)),
                Outcome::Unavailable => Answer::with(unavailable(operation), "not now; send it again"),
            };
        };
        let mut pending = Status::PENDING;
        if let Some(said) = acknowledgement
            .frames
            .first()
            .and_then(|first| read_status_line(first))
        {
            pending = said.status;
            acknowledgement.frames.remove(0);
        }
        match read_status_line(&last) {
            Some(line) => Answer {
                data_sets: acknowledgement.frames,
                pending,
                status: line.status,
                comment: line.comment,
                error_id: line.error_id,
            },
            None => {
                tracing::error!(
                    "The format of a channel answers without a status; its peer is told that it failed."
                );
                Answer::of(failed(operation))
            }
        }
    }

    /// As a command set.
    pub(super) fn command(&self, request: &Command) -> Command {
        let mut answer = request.answer(self.status);
        if let Some(id) = self.error_id {
            answer = answer.number(dimse::tags::ERROR_ID, id);
        }
        match &self.comment {
            Some(comment) if !comment.is_empty() => answer.comment(comment),
            Some(_) | None => answer,
        }
    }
}

/// What could not be read: C-services have a code of their own (PS3.4 B.2.3, C.4.1.1.4).
fn failed(operation: Operation) -> Status {
    match is_composite(operation) {
        true => Status::CANNOT_UNDERSTAND,
        false => Status::PROCESSING_FAILURE,
    }
}

/// To be tried again.
pub(super) fn unavailable(operation: Operation) -> Status {
    match is_composite(operation) {
        true => Status::OUT_OF_RESOURCES,
        false => Status::RESOURCE_LIMITATION,
    }
}

fn is_composite(operation: Operation) -> bool {
    match operation {
        Operation::Store | Operation::Get | Operation::Find | Operation::Move | Operation::Echo => true,
        Operation::EventReport
        | Operation::NGet
        | Operation::NSet
        | Operation::NAction
        | Operation::NCreate
        | Operation::NDelete => false,
    }
}

/// Four hex digits, perhaps a slash and an Error ID of four more, and perhaps a space and a comment.
fn read_status_line(line: &[u8]) -> Option<Line> {
    let line = std::str::from_utf8(line).ok()?;
    let (code, comment) = match line.split_once(' ') {
        Some((code, comment)) => (code, Some(comment.to_owned())),
        None => (line, None),
    };
    let number = |code: &str| {
        let is_code = code.len() == 4 && code.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_code.then(|| u16::from_str_radix(code, 16).ok()).flatten()
    };
    let (code, error_id) = match code.split_once('/') {
        Some((code, id)) => (code, Some(number(id)?)),
        None => (code, None),
    };
    Some(Line {
        status: Status(number(code)?),
        error_id,
        comment,
    })
}

/// What a far side's answer says, for the format to judge.
pub(super) fn status_line(answer: &Command) -> Vec<u8> {
    let status = match answer.get_number(dimse::tags::ERROR_ID) {
        Some(id) => format!("{}/{id:04X}", answer.status()),
        None => answer.status().to_string(),
    };
    match answer.get_text(dimse::tags::ERROR_COMMENT) {
        Some(comment) => format!("{status} {comment}").into_bytes(),
        None => status.into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line() {
        let read = |line: &[u8]| read_status_line(line).map(|line| (line.status, line.comment));
        assert_eq!(read(b"0000"), Some((Status::SUCCESS, None)));
        let comment = Some("the UIDs differ".to_owned());
        assert_eq!(
            read(b"a900 the UIDs differ"),
            Some((Status::DATA_SET_MISMATCH, comment))
        );
        for wrong in [
            &b""[..],
            b"0",
            b"00000",
            b"+000",
            b"A900: no",
            b"A900/",
            b"A900/A71",
            b"\xff",
        ] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
        let request = Command::request(Operation::Store, 1);
        let answer = Answer::with(Status::OUT_OF_RESOURCES, "not now").command(&request);
        assert_eq!(status_line(&answer), b"A700 not now");
        assert_eq!(status_line(&request.answer(Status::SUCCESS)), b"0000");
        let frames = vec![b"0110/A710 it has ended".to_vec()];
        let acknowledgement = Acknowledgement {
            frames,
            ..Acknowledgement::default()
        };
        let answer = Answer::by(acknowledgement, Operation::NSet).command(&request);
        assert_eq!(answer.get_number(dimse::tags::ERROR_ID), Some(0xA710));
        assert_eq!(status_line(&answer), b"0110/A710 it has ended");
    }

    #[test]
    fn a_status_may_stand_before_the_matches() {
        let of = |frames: &[&[u8]]| {
            let acknowledgement = Acknowledgement {
                frames: frames.iter().map(|frame| frame.to_vec()).collect(),
                ..Acknowledgement::default()
            };
            let answer = Answer::by(acknowledgement, Operation::Find);
            (answer.pending.0, answer.data_sets.len(), answer.status.0)
        };
        let match_ = b"\x10\0\x20\0\x02\0\0\0P1";
        assert_eq!(of(&[b"FF01", match_, match_, b"0000"]), (0xFF01, 2, 0));
        assert_eq!(of(&[match_, b"0000"]), (0xFF00, 1, 0));
        assert_eq!(of(&[b"A700 not now"]), (0xFF00, 0, 0xA700));
    }

    #[test]
    fn without_a_frame_the_outcome_says_it() {
        let of = |outcome, operation| {
            let acknowledgement = Acknowledgement {
                outcome,
                ..Acknowledgement::default()
            };
            Answer::by(acknowledgement, operation).status.0
        };
        assert_eq!(of(Outcome::Stored, Operation::Store), 0);
        assert_eq!(of(Outcome::Failed, Operation::Store), 0xC000);
        assert_eq!(of(Outcome::Unavailable, Operation::Store), 0xA700);
        assert_eq!(of(Outcome::Failed, Operation::NCreate), 0x0110);
        assert_eq!(of(Outcome::Unavailable, Operation::NSet), 0x0213);
    }
}
