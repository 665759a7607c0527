//! Command sets (PS3.7 6.3, annex E): implicit VR little endian, group length first.

use std::fmt;

use bytes::{Buf, Bytes};

use crate::pdu::Fault;
use crate::status::Status;

/// The elements of group 0000 (PS3.7 E.1).
pub mod tags {
    /// Affected SOP Class UID.
    pub const AFFECTED_CLASS: u16 = 0x0002;
    /// Requested SOP Class UID.
    pub const REQUESTED_CLASS: u16 = 0x0003;
    /// Command Field.
    pub const FIELD: u16 = 0x0100;
    /// Message ID.
    pub const MESSAGE_ID: u16 = 0x0110;
    /// Message ID Being Responded To.
    pub const RESPONDED_TO: u16 = 0x0120;
    /// Move Destination.
    pub const MOVE_DESTINATION: u16 = 0x0600;
    /// Priority.
    pub const PRIORITY: u16 = 0x0700;
    /// Command Data Set Type: 0101 is none, anything else is one.
    pub const DATA_SET_TYPE: u16 = 0x0800;
    /// Status.
    pub const STATUS: u16 = 0x0900;
    /// Error Comment.
    pub const ERROR_COMMENT: u16 = 0x0902;
    /// Error ID.
    pub const ERROR_ID: u16 = 0x0903;
    /// Affected SOP Instance UID.
    pub const AFFECTED_INSTANCE: u16 = 0x1000;
    /// Requested SOP Instance UID.
    pub const REQUESTED_INSTANCE: u16 = 0x1001;
    /// Event Type ID.
    pub const EVENT_TYPE: u16 = 0x1002;
    /// Action Type ID.
    pub const ACTION_TYPE: u16 = 0x1008;
    /// Number of Remaining Sub-operations.
    pub const REMAINING: u16 = 0x1020;
    /// Number of Completed Sub-operations.
    pub const COMPLETED: u16 = 0x1021;
    /// Number of Failed Sub-operations.
    pub const FAILED: u16 = 0x1022;
    /// Number of Warning Sub-operations.
    pub const WARNING: u16 = 0x1023;
    /// Move Originator Application Entity Title.
    pub const MOVE_ORIGINATOR: u16 = 0x1030;
    /// Move Originator Message ID.
    pub const MOVE_ORIGINATOR_ID: u16 = 0x1031;
}

/// No data set follows.
const NO_DATA_SET: u16 = 0x0101;
/// A cancel: a request that is not answered (PS3.7 9.3.2.3).
const CANCEL: u16 = 0x0FFF;
/// The bit of the command field that makes an answer.
const ANSWER: u16 = 0x8000;

/// More elements than any command set has.
const MOST_ELEMENTS: usize = 128;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Operation {
    /// C-STORE.
    Store = 0x0001,
    /// C-GET.
    Get = 0x0010,
    /// C-FIND.
    Find = 0x0020,
    /// C-MOVE.
    Move = 0x0021,
    /// C-ECHO.
    Echo = 0x0030,
    /// N-EVENT-REPORT.
    EventReport = 0x0100,
    /// N-GET.
    NGet = 0x0110,
    /// N-SET.
    NSet = 0x0120,
    /// N-ACTION.
    NAction = 0x0130,
    /// N-CREATE.
    NCreate = 0x0140,
    /// N-DELETE.
    NDelete = 0x0150,
}

impl Operation {
    const ALL: [Operation; 11] = [
        Operation::Store,
        Operation::Get,
        Operation::Find,
        Operation::Move,
        Operation::Echo,
        Operation::EventReport,
        Operation::NGet,
        Operation::NSet,
        Operation::NAction,
        Operation::NCreate,
        Operation::NDelete,
    ];
}

/// A command set.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// In ascending order, without the group length.
    elements: Vec<(u16, Bytes)>,
}

impl Command {
    /// A request of ours.
    pub fn request(operation: Operation, message_id: u16) -> Self {
        let command = Command {
            elements: Vec::with_capacity(8),
        };
        command
            .number(tags::FIELD, operation as u16)
            .number(tags::MESSAGE_ID, message_id)
    }

    /// That what was asked with this message id is no longer wanted.
    pub fn cancel(message_id: u16) -> Self {
        let command = Command {
            elements: Vec::with_capacity(4),
        };
        command
            .number(tags::FIELD, CANCEL)
            .number(tags::RESPONDED_TO, message_id)
    }

    /// The answer to this request: its message id, class, instance, and type of event or action.
    pub fn answer(&self, status: Status) -> Self {
        let field = self.get_number(tags::FIELD).unwrap_or(0) | ANSWER;
        let mut answer = Command {
            elements: Vec::with_capacity(8),
        }
        .number(tags::FIELD, field)
        .number(tags::RESPONDED_TO, self.message_id())
        .number(tags::STATUS, status.0);
        if let Some(class) = self.class() {
            answer = answer.uid(tags::AFFECTED_CLASS, &class);
        }
        if let Some(instance) = self.instance() {
            answer = answer.uid(tags::AFFECTED_INSTANCE, &instance);
        }
        for tag in [tags::EVENT_TYPE, tags::ACTION_TYPE] {
            if let Some(number) = self.get_number(tag) {
                answer = answer.number(tag, number);
            }
        }
        answer
    }

    /// Reads one. The first element should be the group length; it is not believed, and may be absent.
    pub fn read(bytes: &Bytes) -> Result<Self, Fault> {
        let mut rest = bytes.clone();
        let mut elements: Vec<(u16, Bytes)> = Vec::with_capacity(8);
        while !rest.is_empty() {
            if rest.len() < 8 {
                return Err(Fault::invalid("a command set ends inside an element"));
            }
            let (group, element) = (rest.get_u16_le(), rest.get_u16_le());
            let length = rest.get_u32_le() as usize;
            if group != 0 {
                return Err(Fault::invalid("a command set with an element of another group"));
            }
            if rest.len() < length || elements.len() == MOST_ELEMENTS {
                return Err(Fault::invalid(
                    "an element of a command set is longer than what is left of it",
                ));
            }
            let value = rest.split_to(length);
            if element != 0 {
                elements.push((element, value));
            }
        }
        elements.sort_by_key(|(element, _)| *element);
        let command = Command { elements };
        match command.get_number(tags::FIELD) {
            Some(_) => Ok(command),
            None => Err(Fault::invalid("a command set without a command field")),
        }
    }

    /// As it travels. `has_data`: a data set follows.
    pub fn write(&self, has_data: bool) -> Vec<u8> {
        let mut out = vec![0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0];
        let begin = out.len();
        let mut write = |element: u16, value: &[u8]| {
            out.extend([0, 0]);
            out.extend(element.to_le_bytes());
            let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
            out.extend(length.to_le_bytes());
            out.extend_from_slice(value);
        };
        let kind: u16 = if has_data { 0x0000 } else { NO_DATA_SET };
        let mut kind = Some(kind.to_le_bytes());
        for (element, value) in &self.elements {
            if tags::DATA_SET_TYPE <= *element
                && let Some(kind) = kind.take()
            {
                write(tags::DATA_SET_TYPE, &kind);
            }
            if *element != tags::DATA_SET_TYPE {
                write(*element, value);
            }
        }
        if let Some(kind) = kind {
            write(tags::DATA_SET_TYPE, &kind);
        }
        let length = u32::try_from(out.len() - begin).unwrap_or(u32::MAX);
        out[begin - 4..begin].copy_from_slice(&length.to_le_bytes());
        out
    }

    /// Sets a number (US).
    pub fn number(self, tag: u16, number: u16) -> Self {
        self.set(tag, Bytes::copy_from_slice(&number.to_le_bytes()))
    }

    /// Sets a UID, padded to an even length.
    pub fn uid(self, tag: u16, uid: &str) -> Self {
        self.padded(tag, uid, 0)
    }

    /// Sets a text (AE, LO), padded to an even length.
    pub fn text(self, tag: u16, text: &str) -> Self {
        self.padded(tag, text, b' ')
    }

    /// Sets what is said about an error: at most 64 characters (LO).
    pub fn comment(self, comment: &str) -> Self {
        let printable = comment.chars().map(|c| {
            if matches!(c, ' '..='~') && c != '\\' {
                c
            } else {
                '?'
            }
        });
        let short: String = printable.take(64).collect();
        self.text(tags::ERROR_COMMENT, &short)
    }

    fn padded(self, tag: u16, text: &str, pad: u8) -> Self {
        let mut value = text.as_bytes().to_vec();
        if value.len() % 2 == 1 {
            value.push(pad);
        }
        self.set(tag, value.into())
    }

    fn set(mut self, tag: u16, value: Bytes) -> Self {
        match self.elements.binary_search_by_key(&tag, |(element, _)| *element) {
            Ok(at) => self.elements[at].1 = value,
            Err(at) => self.elements.insert(at, (tag, value)),
        }
        self
    }

    fn get(&self, tag: u16) -> Option<&Bytes> {
        self.elements
            .iter()
            .find_map(|(element, value)| (*element == tag).then_some(value))
    }

    /// A number (US).
    pub fn get_number(&self, tag: u16) -> Option<u16> {
        self.get(tag)?
            .first_chunk()
            .map(|bytes| u16::from_le_bytes(*bytes))
    }

    /// A UID or text without its padding; none: absent or empty. What is no printable ASCII becomes `?`.
    pub fn get_text(&self, tag: u16) -> Option<String> {
        let shown = self.get(tag)?.iter().map(|byte| match byte {
            0 => ' ',
            b' '..=b'~' => char::from(*byte),
            _ => '?',
        });
        let text = shown.collect::<String>().trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// What is asked for; none: this is no request, or one that nobody knows.
    pub fn operation(&self) -> Option<Operation> {
        let field = self.get_number(tags::FIELD)?;
        Operation::ALL
            .into_iter()
            .find(|operation| *operation as u16 == field)
    }

    /// To what it is the answer; none: it is none.
    pub fn answers(&self) -> Option<Operation> {
        let field = self.get_number(tags::FIELD)?;
        Operation::ALL
            .into_iter()
            .find(|operation| *operation as u16 | ANSWER == field)
    }

    /// It is an answer, of whichever kind.
    pub fn is_answer(&self) -> bool {
        self.get_number(tags::FIELD)
            .is_some_and(|field| field & ANSWER != 0)
    }

    /// It is a cancel; of which message.
    pub fn cancels(&self) -> Option<u16> {
        (self.get_number(tags::FIELD)? == CANCEL).then(|| self.get_number(tags::RESPONDED_TO).unwrap_or(0))
    }

    /// A data set follows (PS3.7 E.1: anything but 0101 says so).
    pub fn has_data(&self) -> bool {
        self.get_number(tags::DATA_SET_TYPE)
            .is_some_and(|kind| kind != NO_DATA_SET)
    }

    /// Of a request.
    pub fn message_id(&self) -> u16 {
        self.get_number(tags::MESSAGE_ID).unwrap_or(0)
    }

    /// Of an answer: to which request.
    pub fn responds_to(&self) -> u16 {
        self.get_number(tags::RESPONDED_TO).unwrap_or(0)
    }

    /// Affected or requested class.
    pub fn class(&self) -> Option<String> {
        self.get_text(tags::AFFECTED_CLASS)
            .or_else(|| self.get_text(tags::REQUESTED_CLASS))
    }

    /// Affected or requested instance.
    pub fn instance(&self) -> Option<String> {
        self.get_text(tags::AFFECTED_INSTANCE)
            .or_else(|| self.get_text(tags::REQUESTED_INSTANCE))
    }

    /// Of an answer; without one it failed.
    pub fn status(&self) -> Status {
        self.get_number(tags::STATUS)
            .map_or(Status::PROCESSING_FAILURE, Status)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.get_number(tags::FIELD).unwrap_or(0);
        let class = self.class().unwrap_or_default();
        match self.is_answer() {
            true => write!(
                out,
                "{field:04X} to {}, {:?}, {class}",
                self.responds_to(),
                self.status()
            ),
            false => write!(out, "{field:04X}, message {}, {class}", self.message_id()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_set_as_it_travels() {
        let echo = Command::request(Operation::Echo, 7).uid(tags::AFFECTED_CLASS, crate::uids::VERIFICATION);
        let bytes = Bytes::from(echo.write(false));
        let expected = b"\0\0\0\0\x04\0\0\0\x38\0\0\0\
            \0\0\x02\0\x12\0\0\x001.2.840.10008.1.1\0\
            \0\0\0\x01\x02\0\0\0\x30\0\
            \0\0\x10\x01\x02\0\0\0\x07\0\
            \0\0\0\x08\x02\0\0\0\x01\x01";
        assert_eq!(&bytes[..], expected);
        let read = Command::read(&bytes).expect("a command set");
        assert_eq!(read.operation(), Some(Operation::Echo));
        assert!(!read.has_data());
        let answer = read.answer(Status::SUCCESS);
        assert_eq!(answer.answers(), Some(Operation::Echo));
        assert_eq!(answer.responds_to(), 7);
        assert_eq!(answer.class().as_deref(), Some(crate::uids::VERIFICATION));
        assert_eq!(answer.instance(), None);
    }

    #[test]
    fn an_answer_names_what_was_asked() {
        let action = Command::request(Operation::NAction, 3)
            .uid(tags::REQUESTED_CLASS, crate::uids::COMMITMENT)
            .uid(tags::REQUESTED_INSTANCE, crate::uids::COMMITMENT_INSTANCE)
            .number(tags::ACTION_TYPE, 1);
        let answer = action.answer(Status::NO_SUCH_ACTION).comment("șapte\\8");
        let bytes = Bytes::from(answer.write(true));
        let read = Command::read(&bytes).expect("a command set");
        assert!(read.has_data());
        assert_eq!(
            read.get_text(tags::AFFECTED_CLASS).as_deref(),
            Some(crate::uids::COMMITMENT)
        );
        assert_eq!(
            read.get_text(tags::AFFECTED_INSTANCE).as_deref(),
            Some(crate::uids::COMMITMENT_INSTANCE)
        );
        assert_eq!(read.get_number(tags::ACTION_TYPE), Some(1));
        assert_eq!(read.status(), Status::NO_SUCH_ACTION);
        assert_eq!(read.get_text(tags::ERROR_COMMENT).as_deref(), Some("?apte?8"));
    }

    #[test]
    fn what_is_no_command_set() {
        let whole = Command::cancel(9).write(false);
        assert_eq!(
            Command::read(&Bytes::from(whole.clone()))
                .ok()
                .and_then(|read| read.cancels()),
            Some(9)
        );
        for end in 1..whole.len() {
            // Cut between elements it may still be one; never a panic.
            let _ = Command::read(&Bytes::copy_from_slice(&whole[..end]));
        }
        for wrong in [
            &b""[..],
            b"\x08\0\x05\0\0\0\0\0",
            b"\0\0\0\x01\xff\xff\xff\xff\x01\0",
            b"\0\0\x10\x01\x02\0\0\0\x07\0",
        ] {
            assert!(Command::read(&Bytes::from_static(wrong)).is_err(), "{wrong:?}");
        }
        let many = b"\0\0\x10\x01\x02\0\0\0\x07\0".repeat(MOST_ELEMENTS + 1);
        assert!(Command::read(&many.into()).is_err());
    }
}
