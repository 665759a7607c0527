//! Messages, deliveries and their states.

use std::collections::BTreeMap;

use bytes::Bytes;
use clinic::apply::{Candidate, Decision};
use clinic::exchange::{Keys, MapError, Place, Reason};
use clinic::held::Kept;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::BlobName;

/// What a message came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum MessageState {
    /// It went through its steps; its deliveries are in their queues.
    Routed = 2,
    /// A filter of the channel left it out.
    Filtered = 3,
    /// A person has to decide.
    Parked = 4,
    /// It could not be understood or written; kept with the reason.
    Failed = 5,
    /// It was a question and has been answered.
    Answered = 6,
}

impl MessageState {
    /// All of them.
    pub const ALL: [MessageState; 5] = [
        MessageState::Routed,
        MessageState::Filtered,
        MessageState::Parked,
        MessageState::Failed,
        MessageState::Answered,
    ];

    /// Its name, as in channel files and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageState::Routed => "routed",
            MessageState::Filtered => "filtered",
            MessageState::Parked => "parked",
            MessageState::Failed => "failed",
            MessageState::Answered => "answered",
        }
    }

    /// By its number in the store.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == number)
    }
}

/// How far a delivery is. `queued` and `sent` are written in one byte less each (numbers 0 and 1 take none in SQLite);
/// the others are rare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum DeliveryState {
    /// Waits for its turn.
    Queued = 0,
    /// Taken by the far side.
    Sent = 1,
    /// On its way; the next start finds it `unsure` where the destination asks or holds, `queued` elsewhere.
    Sending = 2,
    /// Taken, with a reference; the decision comes later.
    Pending = 3,
    /// Surely not taken; waits for its due time.
    Retrying = 4,
    /// Sent, and the answer is lost.
    Unsure = 5,
    /// Refused or out of retries: the queue waits for a person.
    Held = 6,
    /// Refused or out of retries: set aside, the next goes.
    Dead = 7,
    /// A person took it out.
    Cancelled = 8,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: [DeliveryState; 9] = [
        DeliveryState::Queued,
        DeliveryState::Sent,
        DeliveryState::Sending,
        DeliveryState::Pending,
        DeliveryState::Retrying,
        DeliveryState::Unsure,
        DeliveryState::Held,
        DeliveryState::Dead,
        DeliveryState::Cancelled,
    ];

    /// Its name, as in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Queued => "queued",
            DeliveryState::Sent => "sent",
            DeliveryState::Sending => "sending",
            DeliveryState::Pending => "pending",
            DeliveryState::Retrying => "retrying",
            DeliveryState::Unsure => "unsure",
            DeliveryState::Held => "held",
            DeliveryState::Dead => "dead",
            DeliveryState::Cancelled => "cancelled",
        }
    }

    /// By its number in the store.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == number)
    }

    /// True where nothing more is to be done for it.
    pub fn is_over(self) -> bool {
        match self {
            DeliveryState::Sent | DeliveryState::Dead | DeliveryState::Cancelled | DeliveryState::Pending => {
                true
            }
            DeliveryState::Queued
            | DeliveryState::Sending
            | DeliveryState::Retrying
            | DeliveryState::Unsure
            | DeliveryState::Held => false,
        }
    }
}

/// Why a message failed or was parked: which step, where, what. Carries no personal value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which step, as in the channel file: `step[1].decode`, `destination[0].encode`, `source`.
    pub step: String,
    /// Which kind of trouble.
    pub reason: Reason,
    /// Where in the message; of a parked one, the key of the change that a decision is needed for.
    pub place: Option<Place>,
    /// What is wrong and what to do.
    pub why: String,
}

impl Failure {
    /// That a step could not do its work.
    pub fn of(step: &str, error: MapError) -> Self {
        Failure {
            step: step.to_owned(),
            reason: error.reason,
            place: error.place,
            why: error.what,
        }
    }

    /// What the sender is told.
    pub fn into_error(self) -> MapError {
        MapError {
            reason: self.reason,
            place: self.place,
            what: self.why,
        }
    }
}

/// How a message was made inside Punte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A destination of another channel is a link to this one.
    Link,
    /// It is a part of a whole that came in.
    Part,
    /// A change of the clinic is told.
    Event,
    /// It is what a destination answered.
    Response,
    /// It is a question to a destination, asked for that message.
    Ask,
}

impl By {
    /// Its name, as in listings.
    pub fn as_str(self) -> &'static str {
        match self {
            By::Link => "link",
            By::Part => "part",
            By::Event => "event",
            By::Response => "response",
            By::Ask => "ask",
        }
    }
}

/// What a message was made from, where it did not come from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// How it was made.
    pub by: By,
    /// The message that it was made from.
    pub message: Uuid,
    /// The delivery of that one which made it.
    pub delivery: i64,
    /// Which of the messages that this delivery makes; the first is 1.
    pub number: u32,
    /// How many it makes.
    pub of: u32,
    /// The channels that it has passed, the first one first, this one not among them.
    pub trace: Vec<String>,
}

/// What a person decided about a parked message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// What, in a word: `is`, `new`, `ignored`.
    pub word: ResolutionWord,
    /// Which change was decided about, and how; none where the message is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Who decided: the name of a key.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why, if it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A decision in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResolutionWord {
    /// It is about somebody or something that is there.
    Is,
    /// It is about a new one.
    New,
    /// Nothing is to come of it.
    Ignored,
}

/// The header of a question that was asked of a destination: which one. No transport has a header with a colon.
pub const ASKED: &str = "asked:destination";

/// What a source hands in.
#[derive(Clone)]
pub struct Incoming {
    /// The bytes as they came; of a long one that lies in the store at least its beginning.
    pub body: Bytes,
    /// Where all of a long one lies, flushed, where the source has handed it in piece by piece.
    pub big: Option<BlobName>,
    /// MIME type, as the transport said or the channel assumes.
    pub content_type: String,
    /// What the transport said beside them: peer, path …; names in lower case. Never the values of secrets.
    pub headers: Vec<(String, String)>,
    /// When the last byte came.
    pub received_at: Timestamp,
    /// By what a repeat is known where the bytes carry no number of their own (a file: its name, time, size and
    /// content). None: such bytes are a new message each time.
    pub identity: Option<String>,
}

impl Incoming {
    /// How many bytes came.
    pub fn length(&self) -> u64 {
        self.big.map_or(self.body.len() as u64, |big| big.length())
    }

    /// True where only the beginning of it is at hand.
    pub fn is_beginning(&self) -> bool {
        (self.body.len() as u64) < self.length()
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// What is told of a message beside its state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    /// What it says otherwise than a person who wrote it, and what therefore was not taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
    /// The keys of its change set that nothing came of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// Which aggregate each key of its change set turned out to be; of those that came by the write door.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ids: BTreeMap<String, (clinic::Kind, Uuid)>,
}

impl Notes {
    /// True where there is nothing to be told.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.left_out.is_empty() && self.ids.is_empty()
    }
}

/// A message as it is written.
#[derive(Clone)]
pub struct NewMessage {
    /// UUIDv7.
    pub id: Uuid,
    /// The message that this one was made from by a replay.
    pub replay_of: Option<Uuid>,
    /// Through which channel it came.
    pub channel: String,
    /// What came.
    pub incoming: Incoming,
    /// What it says of itself.
    pub keys: Keys,
    /// What it came to.
    pub state: MessageState,
    /// Why it failed or was parked.
    pub failure: Option<Failure>,
    /// Who may be meant, where it is parked.
    pub candidates: Vec<Candidate>,
    /// What it was made from, where it did not come from outside.
    pub origin: Option<Origin>,
    /// What persons decided about it.
    pub resolutions: Vec<Resolution>,
    /// What is told of it beside that.
    pub notes: Notes,
}

/// The end of a long body: all of it from a byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Of which body.
    pub of: BlobName,
    /// From which byte on.
    pub from: u64,
}

/// A message owed to one destination, as it is written.
#[derive(Clone)]
pub struct NewDelivery {
    /// To which destination of the channel.
    pub destination: String,
    /// The bytes; none: those of the message itself.
    pub body: Option<Bytes>,
    /// What follows them, where only the beginning of a long message was changed.
    pub rest: Option<Rest>,
    /// MIME type.
    pub content_type: String,
    /// The channel in whose queue it waits; none: that of the message. An event waits with the channel that listens.
    pub queue_of: Option<String>,
    /// With which others it keeps its order; none: with all of its destination.
    pub lane: Option<Lane>,
}

/// Which deliveries of a destination keep their order among themselves, where it does not keep that of all
/// (`order_by`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// What the order goes by, as the channel file has it: `patient`, `PID-3.1`.
    pub by: String,
    /// The key of this delivery.
    pub key: LaneKey,
}

/// The key of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneKey {
    /// It has none: those without keep their order among themselves.
    None,
    /// This one.
    One(String),
    /// It is about several (the merge of two patients): all that is before and after it keeps its order with it.
    Several,
}

impl LaneKey {
    /// Of all that a message is about.
    pub fn of(keys: impl IntoIterator<Item = String>) -> Self {
        let mut keys = keys.into_iter().filter(|key| !key.is_empty());
        match keys.next() {
            None => LaneKey::None,
            Some(first) if keys.any(|other| other != first) => LaneKey::Several,
            Some(first) => LaneKey::One(first),
        }
    }
}

/// A message as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct MessageRow {
    /// The order in which messages were stored.
    pub seq: i64,
    /// Its id.
    pub id: Uuid,
    /// Through which channel it came.
    pub channel: String,
    /// When its last byte came.
    pub received_at: Timestamp,
    /// What it came to.
    pub state: MessageState,
    /// Type and event.
    pub message_type: Option<String>,
    /// Who sent it.
    pub sender: Option<String>,
    /// The sender's number of it.
    pub control_id: Option<String>,
    /// Bytes.
    pub length: u64,
    /// Why it failed or was parked.
    pub failure: Option<Failure>,
    /// Who may be meant, where it is parked.
    pub candidates: Vec<Candidate>,
    /// What persons decided about it.
    pub resolutions: Vec<Resolution>,
    /// How many repeats of it came.
    pub repeats: u32,
    /// A warning: the same control id came before with another body.
    pub reused_control_id: bool,
    /// The message that it is a replay of.
    pub replay_of: Option<Uuid>,
    /// What of it was taken out after its time.
    pub pruned: Option<Pruned>,
    /// What it was made from, where it did not come from outside.
    pub origin: Option<Origin>,
    /// How far each of its deliveries is: destination and state.
    pub deliveries: Vec<DeliveryRow>,
}

/// What was taken out of a message after its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pruned {
    /// The bytes that came and those that were sent and answered.
    Bodies,
    /// All but its row, which tells where a value of the clinic comes from.
    AllButARow,
}

/// A delivery as it is listed.
#[derive(Clone, Debug, Serialize)]
pub struct DeliveryRow {
    /// Its number in the store.
    pub id: i64,
    /// To which destination.
    pub destination: String,
    /// How far it is.
    pub state: DeliveryState,
    /// How many tries there were.
    pub attempts: u32,
    /// When it is tried again.
    pub due: Option<Timestamp>,
    /// What the last try came to, in words.
    pub last: Option<String>,
    /// Who has seen that it is dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// That a person has seen a dead delivery, and needs nothing more of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When.
    pub at: Timestamp,
    /// Who: the name of a key.
    pub by: String,
    /// Why nothing is to come of it, if it was said.
    pub reason: Option<String>,
}

/// Everything about one message.
#[derive(Clone)]
pub struct MessageDetail {
    /// As in the listing.
    pub row: MessageRow,
    /// The bytes as they came; of a very long one its beginning.
    pub body: Bytes,
    /// Where all of a big one lies.
    pub big: Option<BlobName>,
    /// MIME type.
    pub content_type: String,
    /// What the transport said beside them.
    pub headers: Vec<(String, String)>,
    /// Its deliveries with their bytes and tries.
    pub deliveries: Vec<DeliveryDetail>,
    /// What is told of it beside its state.
    pub notes: Notes,
    /// What it wrote to the clinic.
    pub wrote: Vec<Wrote>,
}

impl MessageDetail {
    /// True where only the beginning of what came is at hand.
    pub fn is_beginning(&self) -> bool {
        self.big
            .is_some_and(|big| (self.body.len() as u64) < big.length())
    }

    /// True where it is a question, from outside or to a destination: it is no message that goes through the steps.
    pub fn is_question(&self) -> bool {
        self.row.state == MessageState::Answered || self.headers.iter().any(|(name, _)| name == ASKED)
    }
}

/// One version of an aggregate that a message wrote, and its event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrote {
    /// Which kind.
    pub kind: clinic::Kind,
    /// Which aggregate.
    pub id: Uuid,
    /// Which version of it.
    pub version: u64,
    /// What happened, `Order.placed`. A store of an earlier release did not keep it.
    pub event: Option<String>,
}

/// Everything about one delivery.
#[derive(Clone)]
pub struct DeliveryDetail {
    /// As in the listing.
    pub row: DeliveryRow,
    /// The bytes that are sent; of very long ones their beginning.
    pub body: Bytes,
    /// MIME type.
    pub content_type: String,
    /// Each try.
    pub attempts: Vec<AttemptRow>,
    /// The messages that it has made in channels, in their order: at most the first 100.
    pub made: Vec<Uuid>,
}

/// One try of a delivery, or a person's decision about it.
#[derive(Clone, Debug, Serialize)]
pub struct AttemptRow {
    /// The first is 1.
    pub number: u32,
    /// When the result was known.
    pub at: Timestamp,
    /// What it came to: accepted, pending, refused, retry, unsure; or what a person decided.
    pub verdict: String,
    /// Why, in words.
    pub why: Option<String>,
    /// Who decided, where it is no try but a person's decision: `released`, `done`, `cancelled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What came back, at most 64 KB.
    #[serde(skip)]
    pub response: Option<Bytes>,
}
