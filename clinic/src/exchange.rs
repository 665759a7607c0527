//! What formats and the engine tell each other about a message, without either knowing the other.
//!
//! A format (in `mappings`) produces these values out of bytes; the engine acts on them and never on the bytes.

use std::fmt;

/// What a message says of itself: for dedup, order, search and answers. Finding them never fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Who sent it, as one line (HL7: `MSH-3|MSH-4`).
    pub sender: Option<String>,
    /// The sender's own number of this message (HL7: MSH-10). Together with the sender it is the dedup key.
    pub control_id: Option<String>,
    /// Type and event, e.g. `ADT^A04`.
    pub message_type: Option<String>,
    /// Patient identifiers, each as `value` and, where there is an authority, as `value^authority` too.
    pub patients: Vec<String>,
    /// Visit numbers, in the same two forms.
    pub visits: Vec<String>,
    /// Placer and filler order numbers and appointment numbers, in the same two forms.
    pub orders: Vec<String>,
    /// The control id of the message that this one answers (HL7: MSA-2).
    pub answers: Option<String>,
}

/// Where in a message something stands, in the words of its format: `PID-3[2].1`, `$.entry[0].resource`.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct Place(pub String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Place {
    fn from(place: &str) -> Self {
        Place(place.to_owned())
    }
}

/// Why a message is not taken. The number is that of HL7 table 0357, since that list is the finest of all formats'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// 100: segments in an order that can't be read.
    Sequence,
    /// 101: something essential is missing.
    RequiredMissing,
    /// 102: a value is not of its type.
    DataType,
    /// 103: a code that is not in its table.
    UnknownCode,
    /// 200: a message type nobody here reads.
    UnsupportedType,
    /// 201: an event nobody here reads.
    UnsupportedEvent,
    /// 202: a processing id (test, training) that is not for this store.
    UnsupportedProcessingId,
    /// 203: a version that can't be read.
    UnsupportedVersion,
    /// 204: it speaks of something that is not known.
    UnknownKey,
    /// 205: it would make a second of something that there can be only one of.
    Duplicate,
    /// 205 too: what it would change is not what its sender has seen: somebody else has changed it since.
    Conflict,
    /// 206: what it would change is held by somebody else just now. May be sent again.
    Locked,
    /// 207: we could not do it just now. May be sent again.
    Internal,
}

impl Reason {
    /// The code of HL7 table 0357.
    pub fn code(self) -> u16 {
        match self {
            Reason::Sequence => 100,
            Reason::RequiredMissing => 101,
            Reason::DataType => 102,
            Reason::UnknownCode => 103,
            Reason::UnsupportedType => 200,
            Reason::UnsupportedEvent => 201,
            Reason::UnsupportedProcessingId => 202,
            Reason::UnsupportedVersion => 203,
            Reason::UnknownKey => 204,
            Reason::Duplicate | Reason::Conflict => 205,
            Reason::Locked => 206,
            Reason::Internal => 207,
        }
    }

    /// True where the type, event, version or state is refused (HL7 AR), false where the content is (AE).
    pub fn is_rejection(self) -> bool {
        (200..=203).contains(&self.code())
    }
}

/// A message can't be read or written: what, where, and what to do. Never carries a value from the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("{}{what}", .place.as_ref().map(|p| format!("{p}: ")).unwrap_or_default())]
pub struct MapError {
    /// Which kind of trouble.
    pub reason: Reason,
    /// Where it stands.
    pub place: Option<Place>,
    /// A sentence: what is wrong and what to do.
    pub what: String,
}

impl MapError {
    /// Something essential is missing at `place`.
    pub fn missing(place: &str, what: &str) -> Self {
        MapError {
            reason: Reason::RequiredMissing,
            place: Some(place.into()),
            what: format!("{what} is missing. Correct it at the sender and send it again."),
        }
    }

    /// Any other trouble.
    pub fn new(reason: Reason, place: Option<&str>, what: impl Into<String>) -> Self {
        MapError {
            reason,
            place: place.map(Place::from),
            what: what.into(),
        }
    }
}

/// What we have to say to the sender of a message.
#[derive(Clone, Debug)]
pub enum Verdict<'a> {
    /// Stored (and, where the channel waits, processed).
    Accepted,
    /// Stored as failed, or not at all; the error says why. [`Reason::is_rejection`] tells AR from AE.
    Refused(&'a MapError),
}

/// What a pure function may not know by itself: the time and a fresh id.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// Now.
    pub now: jiff::Timestamp,
    /// An id for the new message; control ids are its first 20 hex digits or fewer.
    pub id: uuid::Uuid,
}

/// What came back from a far side: bytes, and what its transport said of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The status of the transport where it has one (HTTP).
    pub status: Option<u16>,
    /// The content type where the transport says one.
    pub content_type: Option<String>,
    /// Where the transport says that something new is (HTTP `Location`).
    pub location: Option<String>,
    /// The bytes.
    pub body: Vec<u8>,
}

/// What an answer means for the delivery that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Taken for good.
    Accepted,
    /// Taken, with a reference; the decision comes later.
    Pending {
        /// What the later answer will name.
        reference: String,
    },
    /// Received and rejected: not repeated blindly.
    Refused {
        /// The far side's reason, without personal values.
        why: String,
    },
    /// Surely not taken: to be sent again.
    Retry {
        /// The far side's reason.
        why: String,
    },
    /// Another's answer, or none that can be read: it may have been taken.
    Unsure {
        /// Why it can't be believed.
        why: String,
    },
}

/// Something that was read and has no place in the model. Nothing is dropped in silence.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Extra {
    /// Where it stood: `PID-22.1`.
    pub place: Place,
    /// What stood there, decoded.
    pub value: String,
    /// Why it was not carried, where that is not simply "no place for it".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=•••", self.place)
    }
}
