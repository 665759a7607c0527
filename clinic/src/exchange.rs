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

/// What one message begins and others go on with, as far as the [`Keys`] of a message tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// Whether this message begins it.
    pub is_beginning: bool,
    /// The message type of what begins it.
    pub begun_by: String,
    /// The control id of what begins it.
    pub begins: String,
    /// The message type of what goes on with it.
    pub goes_on_by: String,
    /// The control ids of all that may go on with it.
    pub goes_on: Vec<String>,
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
    /// An id for the new message; [`control_id`] makes its control id.
    pub id: uuid::Uuid,
}

/// The digits of [`control_id`], after Crockford: no letter is there twice, great and small, and none looks like a digit.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The control id of a message that we write: 20 digits and letters, as many as MSH-10 holds (HL7 v2.5.1 §2.15.9.10), never
/// `I`, `L`, `O` or `U`. Another id of a message has another one, also within the same millisecond: of an id by the time
/// (RFC 9562 §5.7) the 48 bits of the time stand there, the 42 that count within it, and the last 10. Those with a higher
/// time come later in their order.
pub fn control_id(id: uuid::Uuid) -> String {
    let bits = id.as_u128();
    let of = |from: u32, n_bits: u32| (bits >> from) & ((1 << n_bits) - 1);
    // Version and variant are left out; they are always the same.
    let packed = of(80, 48) << 52 | of(64, 12) << 40 | of(32, 30) << 10 | of(0, 10);
    (0..20_u32)
        .rev()
        .filter_map(|place| DIGITS.get(((packed >> (place * 5)) & 31) as usize))
        .map(|digit| char::from(*digit))
        .collect()
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_control_id_is_one_messages_alone() {
        // Some hundred of them are made within a millisecond.
        let ids: Vec<Uuid> = (0..20_000).map(|_| Uuid::now_v7()).collect();
        let named: Vec<String> = ids.iter().map(|id| control_id(*id)).collect();
        assert_eq!(named.iter().collect::<BTreeSet<_>>().len(), ids.len());
        assert!(named.is_sorted(), "as they were made");
        // Also without the last one: the second answer of enhanced mode has another letter there.
        let shorter: BTreeSet<&str> = named.iter().filter_map(|id| id.get(..19)).collect();
        assert_eq!(shorter.len(), ids.len());
        let fits = |id: &str| id.len() == 20 && id.bytes().all(|byte| DIGITS.contains(&byte));
        assert!(named.iter().all(|id| fits(id)));
        // Engines beside each other, which know nothing of what the others counted.
        let others: BTreeSet<String> = (0..20_000).map(|_| control_id(Uuid::from_u128(rand()))).collect();
        assert_eq!(others.len(), 20_000);
    }

    /// By chance, but for the time, which is the same in all.
    fn rand() -> u128 {
        use std::hash::{BuildHasher, RandomState};
        let half = || u128::from(RandomState::new().hash_one(0_u8));
        0x0197_a3b2_0000_7000_8000_0000_0000_0000 | ((half() & 0xfff) << 64) | (half() >> 2)
    }

    #[test]
    fn a_control_id_is_the_same_for_the_same_id() {
        let id = Uuid::from_u128(0x0197_a3b2_c4d5_7abc_8def_0123_4567_89ab);
        assert_eq!(control_id(id), control_id(id));
        assert_eq!(control_id(Uuid::nil()), "0".repeat(20));
        assert_eq!(control_id(Uuid::max()), "Z".repeat(20));
    }
}
