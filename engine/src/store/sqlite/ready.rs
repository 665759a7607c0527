//! A unit of work made ready for the writer: sealed, compressed and hashed on the caller's side, so that the one
//! writer thread only binds bytes.

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use clinic::Record;
use clinic::apply::{Booking, Candidate, Write};
use clinic::exchange::Keys;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Shared;
use super::cache::Cache;
use super::keys::{FindHash, FindQuery, find_query};
use crate::message::{
    DeliveryState, Failure, Incoming, MessageState, NewDelivery, NewMessage, Notes, Origin, Resolution, Rest,
    Wrote,
};
use crate::store::blob::{BlobName, as_store_error};
use crate::store::seal::{Column, Domain, Sealer};
use crate::store::{Asked, Attempted, Commit, CounterMove, DecidedWord, Dedup, DeliveryDecision, StoreError};

/// Bodies up to this many bytes lie in their row, bigger ones in the blob folder.
pub(crate) const INLINE: usize = 256 * 1024;
/// At most so many deliveries of one message: their ids are 1024 · message + n.
pub(crate) const DELIVERIES: i64 = 1024;
/// Attempts of a delivery have the ids 4096 · delivery + number; of more tries the last one takes the last place.
pub(crate) const ATTEMPTS: i64 = 4096;
/// What is kept of a response.
const RESPONSE: usize = 64 * 1024;

/// Kinds of keys that messages are found by: the lowest three bits of their bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum KeyKind {
    Repeat = 0,
    ControlId = 1,
    Patient = 2,
    Visit = 3,
    Order = 4,
    /// What a later answer names.
    Reference = 5,
}

impl KeyKind {
    /// All of them.
    pub(crate) const ALL: [KeyKind; 6] = [
        KeyKind::Repeat,
        KeyKind::ControlId,
        KeyKind::Patient,
        KeyKind::Visit,
        KeyKind::Order,
        KeyKind::Reference,
    ];
}

/// Messages of one bucket. The keys of a bucket fill a few pages: so many does a transaction touch, whatever it writes.
/// A look-up probes each bucket, at a few microseconds each.
pub(crate) const BUCKET: i64 = 512;

/// The bucket of a message's key.
pub(crate) fn bucket(seq: i64, kind: KeyKind) -> i64 {
    8 * (seq / BUCKET) + kind as i64
}

/// What a message is known again by.
#[derive(Clone, Copy)]
pub(crate) struct RepeatKey {
    /// 8 bytes of (channel, sender, control id), 8 bytes of those and the content.
    pub(crate) digest: [u8; 16],
    /// For how long, in microseconds.
    pub(crate) window: i64,
}

impl RepeatKey {
    /// What stands in the index: 4 bytes of each half, so that messages with the same control id stand side by side.
    pub(crate) fn hash(&self) -> i64 {
        let [a, b, c, d, _, _, _, _, e, f, g, h, ..] = self.digest;
        i64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// The half of the hash that does not know the content.
    pub(crate) fn sent(&self) -> u32 {
        sent_of(self.hash())
    }
}

/// The half of a [`RepeatKey::hash`] that does not know the content.
pub(crate) fn sent_of(hash: i64) -> u32 {
    (hash as u64 >> 32) as u32
}

pub(crate) struct Ready {
    pub(crate) id: Uuid,
    pub(crate) replay_of: Option<Uuid>,
    pub(crate) channel: String,
    pub(crate) received_at: i64,
    pub(crate) state: MessageState,
    pub(crate) length: i64,
    pub(crate) repeat: Option<RepeatKey>,
    /// [`Dedup::until_told`].
    pub(crate) until_told: bool,
    pub(crate) keys: Vec<(KeyKind, i64)>,
    /// The big bodies that its rows name: of a delivery by its place in the message, none: its own.
    pub(crate) blobs: Vec<(Option<i64>, BlobName)>,
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) wrote: Option<Vec<u8>>,
    pub(crate) verbs: Option<String>,
    pub(crate) again: Option<i64>,
    pub(crate) deliveries: Vec<ReadyDelivery>,
    pub(crate) reads: Vec<(Uuid, u64)>,
    pub(crate) finds: Vec<(FindQuery, Vec<Uuid>)>,
    pub(crate) writes: Vec<ReadyWrite>,
    pub(crate) made_by: Option<ReadyMadeBy>,
    pub(crate) counters: Vec<CounterMove>,
    pub(crate) asked: Option<ReadyAsked>,
}

/// What came of a question. It is sealed by the writer, since it is bound to a number that only the writer knows.
pub(crate) struct ReadyAsked {
    pub(crate) destination: String,
    pub(crate) state: DeliveryState,
    pub(crate) at: i64,
    pub(crate) verdict: u8,
    pub(crate) note: Vec<u8>,
}

impl ReadyAsked {
    fn new(asked: Asked) -> Result<Self, StoreError> {
        let state = match asked.verdict {
            "accepted" => DeliveryState::Sent,
            _ => DeliveryState::Cancelled,
        };
        Ok(ReadyAsked {
            state,
            at: asked.at.as_microsecond(),
            verdict: verdict_number(asked.verdict),
            note: note_bytes(asked.why, None, asked.response.as_deref())?,
            destination: asked.destination,
        })
    }

    /// Its note, for the try of this number.
    pub(crate) fn sealed(&self, sealer: &Sealer, attempt: i64) -> Result<Vec<u8>, StoreError> {
        sealer.seal(Column::AttemptNote, Uuid::nil(), attempt as u64, &self.note)
    }
}

/// A delivery to be queued, its body sealed.
pub(crate) struct ReadyDelivery {
    pub(crate) queue_of: Option<String>,
    pub(crate) destination: String,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) lane: Option<i64>,
}

/// The delivery that makes a message, sealed.
pub(crate) struct ReadyMadeBy {
    pub(crate) delivery: i64,
    pub(crate) number: u32,
    pub(crate) ends: Option<ReadyAttempt>,
}

pub(crate) struct ReadyWrite {
    pub(crate) id: Uuid,
    pub(crate) kind: u8,
    pub(crate) version: u64,
    pub(crate) updated_at: i64,
    pub(crate) site: Option<String>,
    pub(crate) patient: Option<Uuid>,
    pub(crate) status: Option<&'static str>,
    pub(crate) date_from: Option<i64>,
    pub(crate) date_to: Option<i64>,
    pub(crate) data: Vec<u8>,
    pub(crate) record: Arc<Record>,
    /// None: as they were.
    pub(crate) finds: Option<Vec<FindHash>>,
    pub(crate) natural: Vec<FindHash>,
    pub(crate) searches: Vec<i64>,
    pub(crate) bookings: Vec<Booking>,
}

/// What a try came to, sealed.
pub(crate) struct ReadyAttempt {
    pub(crate) delivery: i64,
    pub(crate) attempt: i64,
    pub(crate) at: i64,
    pub(crate) state: DeliveryState,
    pub(crate) due: Option<i64>,
    pub(crate) verdict: u8,
    /// By which a later answer finds it, where it is pending.
    pub(crate) reference: Option<i64>,
    pub(crate) note: Option<Vec<u8>>,
}

/// The sealed head of a message, as it is written.
#[derive(Serialize)]
struct HeadRef<'a> {
    t: &'a str,
    #[serde(skip_serializing_if = "slice_is_empty")]
    h: &'a [(String, String)],
    #[serde(skip_serializing_if = "Option::is_none")]
    s: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    c: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    m: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    f: &'a Option<Failure>,
    #[serde(skip_serializing_if = "slice_is_empty")]
    k: &'a [Candidate],
    #[serde(skip_serializing_if = "Option::is_none")]
    o: &'a Option<Origin>,
    #[serde(skip_serializing_if = "slice_is_empty")]
    d: &'a [Resolution],
    #[serde(skip_serializing_if = "notes_are_empty")]
    n: &'a Notes,
}

fn notes_are_empty(notes: &&Notes) -> bool {
    notes.is_empty()
}

fn slice_is_empty<T>(slice: &&[T]) -> bool {
    slice.is_empty()
}

/// The sealed head of a message, as it is read.
#[derive(Deserialize)]
pub(crate) struct Head {
    #[serde(rename = "t")]
    pub(crate) content_type: String,
    #[serde(rename = "h", default)]
    pub(crate) headers: Vec<(String, String)>,
    #[serde(rename = "s", default)]
    pub(crate) sender: Option<String>,
    #[serde(rename = "c", default)]
    pub(crate) control_id: Option<String>,
    #[serde(rename = "m", default)]
    pub(crate) message_type: Option<String>,
    #[serde(rename = "f", default)]
    pub(crate) failure: Option<Failure>,
    #[serde(rename = "k", default)]
    pub(crate) candidates: Vec<Candidate>,
    #[serde(rename = "o", default)]
    pub(crate) origin: Option<Origin>,
    #[serde(rename = "d", default)]
    pub(crate) resolutions: Vec<Resolution>,
    #[serde(rename = "n", default)]
    pub(crate) notes: Notes,
}

impl Head {
    pub(crate) fn open(sealer: &Sealer, id: Uuid, sealed: &[u8]) -> Result<Self, StoreError> {
        let json = sealer.open(Column::MessageHead, id, 0, sealed)?;
        serde_json::from_slice(&json)
            .map_err(|_| StoreError::Damaged("the head of a message can't be read".into()))
    }
}

/// Why a try ended as it did, sealed.
#[derive(Default, Serialize, Deserialize)]
struct NoteHead {
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(rename = "b", default)]
    has_response: bool,
}

/// What is known of a try beside its verdict.
#[derive(Default)]
pub(crate) struct Note {
    /// The person, of a decision.
    pub(crate) by: Option<String>,
    pub(crate) why: Option<String>,
    pub(crate) response: Option<Bytes>,
}

impl Note {
    pub(crate) fn open(sealer: &Sealer, attempt: i64, sealed: &[u8]) -> Result<Self, StoreError> {
        let plain = sealer.open(Column::AttemptNote, Uuid::nil(), attempt as u64, sealed)?;
        let wrong = || StoreError::Damaged("the note of an attempt can't be read".into());
        let (length, rest) = plain.split_first_chunk::<4>().ok_or_else(wrong)?;
        let (head, response) = rest
            .split_at_checked(u32::from_le_bytes(*length) as usize)
            .ok_or_else(wrong)?;
        let head: NoteHead = serde_json::from_slice(head).map_err(|_| wrong())?;
        Ok(Note {
            by: head.by,
            why: head.why,
            response: head.has_response.then(|| Bytes::copy_from_slice(response)),
        })
    }
}

impl Note {
    /// The note without what came back; none: nothing did.
    pub(crate) fn without_response(
        sealer: &Sealer,
        attempt: i64,
        sealed: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let note = Note::open(sealer, attempt, sealed)?;
        if note.response.is_none() {
            return Ok(None);
        }
        let plain = note_bytes(note.why, None, None)?;
        sealer
            .seal(Column::AttemptNote, Uuid::nil(), attempt as u64, &plain)
            .map(Some)
    }
}

/// Verdicts by their number in the store.
const VERDICTS: [&str; 5] = ["accepted", "pending", "refused", "retry", "unsure"];

/// From this number on a row is no try: it is what a person decided.
const DECIDED: u8 = VERDICTS.len() as u8;

/// The number of a person's decision.
pub(crate) fn decided_number(word: DecidedWord) -> u8 {
    DECIDED
        + match word {
            DecidedWord::Released => 0,
            DecidedWord::Done => 1,
            DecidedWord::Cancelled => 2,
        }
}

/// A person's decision. Its note is sealed by the writer, since it is bound to a number that only the writer knows.
pub(crate) struct ReadyDecision {
    pub(crate) delivery: i64,
    pub(crate) word: DecidedWord,
    pub(crate) at: i64,
    note: Vec<u8>,
}

impl ReadyDecision {
    pub(crate) fn new(decision: DeliveryDecision) -> Result<Self, StoreError> {
        let head = NoteHead {
            by: Some(decision.by),
            why: Some(decision.reason),
            ..NoteHead::default()
        };
        Ok(ReadyDecision {
            delivery: decision.delivery,
            word: decision.word,
            at: decision.at.as_microsecond(),
            note: note_of(&head, &[])?,
        })
    }

    /// Its note, for the row of this number.
    pub(crate) fn sealed(&self, sealer: &Sealer, attempt: i64) -> Result<Vec<u8>, StoreError> {
        sealer.seal(Column::AttemptNote, Uuid::nil(), attempt as u64, &self.note)
    }
}

/// The name of a verdict.
pub(crate) fn verdict_name(number: u8) -> &'static str {
    let decided = || {
        let word = DecidedWord::ALL
            .into_iter()
            .find(|word| decided_number(*word) == number);
        word.map(DecidedWord::as_str)
    };
    let verdict = VERDICTS.get(usize::from(number)).copied();
    verdict.or_else(decided).unwrap_or("unsure")
}

fn verdict_number(name: &str) -> u8 {
    let number = VERDICTS.iter().position(|verdict| *verdict == name);
    number.unwrap_or(VERDICTS.len() - 1) as u8
}

/// What is known of a try beside its verdict, to be sealed.
fn note_bytes(
    why: Option<String>,
    reference: Option<String>,
    response: Option<&[u8]>,
) -> Result<Vec<u8>, StoreError> {
    let head = NoteHead {
        by: None,
        why,
        reference,
        has_response: response.is_some(),
    };
    let response = response.unwrap_or_default();
    note_of(&head, &response[..response.len().min(RESPONSE)])
}

fn note_of(head: &NoteHead, response: &[u8]) -> Result<Vec<u8>, StoreError> {
    let head = json(head)?;
    let mut plain = Vec::with_capacity(4 + head.len() + response.len());
    plain.extend_from_slice(&(head.len() as u32).to_le_bytes());
    plain.extend_from_slice(&head);
    plain.extend_from_slice(response);
    Ok(plain)
}

impl ReadyAttempt {
    pub(crate) fn new(sealer: &Sealer, attempted: Attempted) -> Result<Self, StoreError> {
        let number = i64::from(attempted.number).clamp(1, ATTEMPTS - 1);
        let attempt = attempted.delivery.wrapping_mul(ATTEMPTS).wrapping_add(number);
        let is_pending = attempted.state == DeliveryState::Pending;
        let reference = attempted.reference.as_deref().filter(|_| is_pending);
        let reference = reference.map(|reference| message_key(sealer, KeyKind::Reference, reference));
        let nothing =
            attempted.why.is_none() && attempted.reference.is_none() && attempted.response.is_none();
        let verdict = verdict_number(attempted.verdict);
        let note = if nothing {
            None
        } else {
            let plain = note_bytes(attempted.why, attempted.reference, attempted.response.as_deref())?;
            Some(sealer.seal(Column::AttemptNote, Uuid::nil(), attempt as u64, &plain)?)
        };
        Ok(ReadyAttempt {
            delivery: attempted.delivery,
            attempt,
            at: attempted.at.as_microsecond(),
            state: attempted.state,
            due: attempted.due.map(Timestamp::as_microsecond),
            verdict,
            reference,
            note,
        })
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value)
        .map_err(|error| StoreError::Unavailable(format!("a value can't be written: {error}")))
}

/// How a body lies in its row: itself, the name of a blob, or not at all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lies {
    Inline = 0,
    Blob = 1,
    WithMessage = 2,
}

/// A body that was opened: its content type (for a delivery), and its bytes unless they are the message's; of a very long
/// one its beginning, and where it lies.
pub(crate) struct Opened {
    pub(crate) content_type: String,
    pub(crate) body: Option<Bytes>,
    pub(crate) big: Option<BlobName>,
}

/// So much of a body is shown at most.
const SHOWN: u64 = 64 * 1024 * 1024;
/// So much of a longer one.
const SHOWN_OF_LONG: u64 = 256 * 1024;

/// A body that is packed: a big one lies in the blob folder already, flushed.
#[derive(Clone, Copy)]
enum ToPack<'a> {
    Inline(&'a [u8]),
    Blob(BlobName),
    WithMessage,
}

impl<'a> ToPack<'a> {
    /// Writes a big body first.
    fn of(shared: &Shared, body: &'a [u8]) -> Result<Self, StoreError> {
        Ok(match body.len() <= INLINE {
            true => ToPack::Inline(body),
            false => ToPack::Blob(shared.blobs.write(&shared.sealer, body)?),
        })
    }

    /// What came with a message. What a source has handed in piece by piece was written then.
    fn of_incoming(shared: &Shared, incoming: &'a Incoming) -> Result<Self, StoreError> {
        match incoming.big {
            None => Self::of(shared, &incoming.body),
            Some(name) if shared.blobs.is_there(&name) => Ok(ToPack::Blob(name)),
            Some(_) => Err(StoreError::Unavailable("a body has waited too long".into())),
        }
    }
}

/// Writes a body whose beginning was changed: the rest is read from where it lies, and is never whole in memory.
fn spliced(shared: &Shared, beginning: &[u8], rest: Rest) -> Result<BlobName, StoreError> {
    let mut draft = shared.blobs.begin(&shared.sealer)?;
    draft.write(beginning)?;
    let mut reader = shared.blobs.open(&shared.sealer, rest.of)?;
    reader.seek(SeekFrom::Start(rest.from)).map_err(as_store_error)?;
    let mut piece = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut piece).map_err(as_store_error)? {
            0 => return draft.finish(),
            count => draft.write(&piece[..count])?,
        }
    }
}

/// Packs and seals a body for its row.
fn pack(
    shared: &Shared,
    column: Column,
    id: Uuid,
    n: u64,
    content_type: &str,
    body: ToPack<'_>,
    blobs: &mut Vec<(Option<i64>, BlobName)>,
) -> Result<Vec<u8>, StoreError> {
    let bytes_of_name;
    let (lies, bytes): (Lies, &[u8]) = match body {
        ToPack::WithMessage => (Lies::WithMessage, &[]),
        ToPack::Inline(body) => (Lies::Inline, body),
        ToPack::Blob(name) => {
            blobs.push(((column == Column::DeliveryBody).then_some(n as i64), name));
            bytes_of_name = name.to_bytes();
            (Lies::Blob, &bytes_of_name)
        }
    };
    let mut plain = Vec::with_capacity(5 + content_type.len() + bytes.len());
    plain.push(lies as u8);
    plain.extend_from_slice(&(content_type.len() as u32).to_le_bytes());
    plain.extend_from_slice(content_type.as_bytes());
    plain.extend_from_slice(bytes);
    shared.sealer.seal(column, id, n, &plain)
}

/// Where a body lies, as its row says.
enum Packed {
    Inline(Bytes),
    Blob(BlobName),
    WithMessage,
}

/// Opens what [`pack`] made: the content type, and where the body lies.
fn opened(
    sealer: &Sealer,
    column: Column,
    id: Uuid,
    n: u64,
    sealed: &[u8],
) -> Result<(String, Packed), StoreError> {
    let wrong = || StoreError::Damaged("a body can't be read".into());
    let plain = Bytes::from(sealer.open(column, id, n, sealed)?);
    let (&lies, rest) = plain.split_first().ok_or_else(wrong)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
    let (content_type, rest) = rest
        .split_at_checked(u32::from_le_bytes(*length) as usize)
        .ok_or_else(wrong)?;
    let packed = if lies == Lies::Inline as u8 {
        Packed::Inline(plain.slice_ref(rest))
    } else if lies == Lies::Blob as u8 {
        Packed::Blob(BlobName::from_bytes(rest).ok_or_else(wrong)?)
    } else if lies == Lies::WithMessage as u8 {
        Packed::WithMessage
    } else {
        return Err(wrong());
    };
    let content_type = String::from_utf8(content_type.to_vec()).map_err(|_| wrong())?;
    Ok((content_type, packed))
}

/// Opens what [`pack`] made, and reads its blob, of a very long one its beginning.
pub(crate) fn unpack(
    shared: &Shared,
    column: Column,
    id: Uuid,
    n: u64,
    sealed: &[u8],
) -> Result<Opened, StoreError> {
    let (content_type, packed) = opened(&shared.sealer, column, id, n, sealed)?;
    let (body, big) = match packed {
        Packed::Inline(body) => (Some(body), None),
        Packed::Blob(name) => {
            let most = if name.length <= SHOWN {
                SHOWN
            } else {
                SHOWN_OF_LONG
            };
            let body = shared.blobs.beginning(&shared.sealer, name, most)?;
            (Some(body), Some(name))
        }
        Packed::WithMessage => (None, None),
    };
    Ok(Opened {
        content_type,
        body,
        big,
    })
}

/// Where a body lies, for who does not need its bytes.
pub(crate) enum Lay {
    /// In its row: so many bytes.
    Inline(usize),
    /// In a file.
    Blob(BlobName),
    /// It is that of the message.
    WithMessage,
}

/// Opens a row of a body and says where the body lies.
pub(crate) fn lay_of(
    sealer: &Sealer,
    column: Column,
    id: Uuid,
    n: u64,
    sealed: &[u8],
) -> Result<Lay, StoreError> {
    Ok(match opened(sealer, column, id, n, sealed)?.1 {
        Packed::Inline(body) => Lay::Inline(body.len()),
        Packed::Blob(name) => Lay::Blob(name),
        Packed::WithMessage => Lay::WithMessage,
    })
}

/// Opens what [`pack`] made, without its blob: the content type, the bytes where they lie in the row, and the blob where
/// they lie there. Neither: they are those of the message.
pub(crate) fn unpack_small(
    sealer: &Sealer,
    column: Column,
    id: Uuid,
    n: u64,
    sealed: &[u8],
) -> Result<(String, Option<Bytes>, Option<BlobName>), StoreError> {
    let (content_type, packed) = opened(sealer, column, id, n, sealed)?;
    Ok(match packed {
        Packed::Inline(body) => (content_type, Some(body), None),
        Packed::Blob(name) => (content_type, None, Some(name)),
        Packed::WithMessage => (content_type, None, None),
    })
}

/// The blob that a row refers to; none: its body lies elsewhere.
pub(crate) fn blob_of(
    sealer: &Sealer,
    column: Column,
    id: Uuid,
    n: u64,
    sealed: &[u8],
) -> Result<Option<BlobName>, StoreError> {
    Ok(match opened(sealer, column, id, n, sealed)?.1 {
        Packed::Blob(name) => Some(name),
        Packed::Inline(_) | Packed::WithMessage => None,
    })
}

impl Ready {
    /// Something that it relied on has moved: the next run reads it from the file.
    pub(crate) fn forget_reads(&self, cache: &Cache) {
        self.reads.iter().for_each(|(id, _)| cache.forget(id));
        for (query, _) in &self.finds {
            cache.forget_found(query.scope, query.hash);
        }
    }

    /// Seals, compresses and hashes. Big bodies are on disk when this returns.
    pub(crate) fn new(shared: &Shared, commit: Commit) -> Result<Self, StoreError> {
        let Commit {
            message,
            again,
            applied,
            deliveries,
            dedup,
            made_by,
            counters,
            asked,
        } = commit;
        if deliveries.len() as i64 > DELIVERIES {
            return Err(StoreError::Unavailable(format!(
                "a message can have at most {DELIVERIES} deliveries; take destinations out of the channel"
            )));
        }
        let sealer = &shared.sealer;
        let head = json(&HeadRef {
            t: &message.incoming.content_type,
            h: &message.incoming.headers,
            s: &message.keys.sender,
            c: &message.keys.control_id,
            m: &message.keys.message_type,
            f: &message.failure,
            k: &message.candidates,
            o: &message.origin,
            d: &message.resolutions,
            n: &message.notes,
        })?;
        let made_by = made_by
            .map(|made_by| {
                let ends = made_by
                    .ends
                    .map(|ends| ReadyAttempt::new(sealer, ends))
                    .transpose()?;
                Ok::<_, StoreError>(ReadyMadeBy {
                    delivery: made_by.delivery,
                    number: made_by.number,
                    ends,
                })
            })
            .transpose()?;
        let applied = applied.unwrap_or_default();
        let wrote = (!applied.writes.is_empty()).then(|| wrote_bytes(&applied.writes));
        let verbs: Vec<&str> = applied.writes.iter().map(|write| write.verb).collect();
        let verbs = (!verbs.is_empty()).then(|| verbs.join(" "));
        let mut blobs = vec![];
        let body = ToPack::of_incoming(shared, &message.incoming)?;
        let mut ready = Ready {
            id: message.id,
            replay_of: message.replay_of,
            received_at: message.incoming.received_at.as_microsecond(),
            state: message.state,
            length: i64::try_from(message.incoming.length()).unwrap_or(i64::MAX),
            until_told: dedup.is_some_and(|dedup| dedup.until_told),
            repeat: dedup.and_then(|dedup| repeat_key(sealer, &message, body, dedup)),
            keys: message_keys(sealer, &message.keys),
            head: sealer.seal(Column::MessageHead, message.id, 0, &head)?,
            body: pack(shared, Column::MessageBody, message.id, 0, "", body, &mut blobs)?,
            blobs: vec![],
            wrote,
            verbs,
            again,
            deliveries: Vec::with_capacity(deliveries.len()),
            reads: applied
                .reads
                .iter()
                .map(|(_, id, version)| (*id, *version))
                .collect(),
            finds: applied
                .finds
                .into_iter()
                .map(|(key, found)| (find_query(sealer, &key), found))
                .collect(),
            writes: Vec::with_capacity(applied.writes.len()),
            made_by,
            counters,
            asked: asked.map(ReadyAsked::new).transpose()?,
            channel: message.channel,
        };
        for (n, delivery) in deliveries.into_iter().enumerate() {
            let NewDelivery {
                destination,
                body,
                rest,
                content_type,
                queue_of,
                lane,
            } = delivery;
            let packed = if body.is_none() && content_type == message.incoming.content_type {
                None
            } else {
                let body = match (&body, rest) {
                    (Some(body), None) => ToPack::of(shared, body)?,
                    (Some(body), Some(rest)) => ToPack::Blob(spliced(shared, body, rest)?),
                    (None, _) => ToPack::WithMessage,
                };
                Some(pack(
                    shared,
                    Column::DeliveryBody,
                    message.id,
                    n as u64,
                    &content_type,
                    body,
                    &mut blobs,
                )?)
            };
            ready.deliveries.push(ReadyDelivery {
                queue_of,
                destination,
                body: packed,
                lane: lane.and_then(|lane| super::lanes::number(sealer, &lane)),
            });
        }
        ready.blobs = blobs;
        for write in applied.writes {
            ready.writes.push(super::clinic::ready_write(shared, write)?);
        }
        Ok(ready)
    }
}

/// The content of a big body counts by the hash that it is named by, so that it is the same however it was handed in.
fn repeat_key(sealer: &Sealer, message: &NewMessage, body: ToPack<'_>, dedup: Dedup) -> Option<RepeatKey> {
    let content: &[u8] = match &body {
        ToPack::Inline(body) => body.get(dedup.from..).unwrap_or(body),
        ToPack::Blob(name) => &name.hash,
        ToPack::WithMessage => &[],
    };
    let control_id = message.keys.control_id.as_deref()?;
    let sender = message.keys.sender.as_deref().unwrap_or_default();
    let sent = sealer.hash(
        Domain::Sent,
        &[
            message.channel.as_bytes(),
            sender.as_bytes(),
            control_id.as_bytes(),
        ],
    );
    let whole = sealer.hash(Domain::Repeat, &[&sent, content]);
    let mut digest = [0; 16];
    digest[..8].copy_from_slice(&sent[..8]);
    digest[8..].copy_from_slice(&whole[..8]);
    Some(RepeatKey {
        digest,
        window: i64::try_from(dedup.window.as_micros()).unwrap_or(i64::MAX),
    })
}

fn message_keys(sealer: &Sealer, keys: &Keys) -> Vec<(KeyKind, i64)> {
    let mut hashes = Vec::new();
    let lists = [
        (KeyKind::ControlId, keys.control_id.as_slice()),
        (KeyKind::Patient, &keys.patients),
        (KeyKind::Visit, &keys.visits),
        (KeyKind::Order, &keys.orders),
    ];
    for (kind, values) in lists {
        for value in values {
            hashes.push((kind, message_key(sealer, kind, value)));
        }
    }
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// What the rows of `key` of a message add up to: one that is missing, or another one, is noticed.
pub(crate) fn key_sum(keys: impl Iterator<Item = (KeyKind, i64)>) -> i64 {
    keys.filter(|(kind, _)| !matches!(kind, KeyKind::Repeat | KeyKind::Reference))
        .fold(0, |sum: i64, (kind, hash)| {
            sum.wrapping_add(hash.rotate_left(8 * kind as u32))
        })
}

/// The hash that messages are found by.
pub(crate) fn message_key(sealer: &Sealer, kind: KeyKind, value: &str) -> i64 {
    let domain = match kind {
        KeyKind::Repeat => Domain::Repeat,
        KeyKind::ControlId => Domain::ControlId,
        KeyKind::Patient => Domain::Patient,
        KeyKind::Visit => Domain::Visit,
        KeyKind::Order => Domain::Order,
        KeyKind::Reference => Domain::Reference,
    };
    sealer.hash8(domain, &[value.as_bytes()])
}

const WROTE: usize = 25;

fn wrote_bytes(writes: &[Write]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(writes.len() * WROTE);
    for write in writes {
        bytes.push(write.record.aggregate.kind() as u8);
        bytes.extend_from_slice(write.record.meta.id.as_bytes());
        bytes.extend_from_slice(&write.record.meta.version.to_be_bytes());
    }
    bytes
}

/// Which aggregates a message wrote, in which version.
pub(crate) fn wrote_list(bytes: &[u8], verbs: Option<&str>) -> Vec<Wrote> {
    let mut verbs = verbs
        .unwrap_or_default()
        .split(' ')
        .filter(|verb| !verb.is_empty());
    bytes
        .chunks_exact(WROTE)
        .filter_map(|entry| {
            let verb = verbs.next();
            let (&kind, rest) = entry.split_first()?;
            let (id, version) = rest.split_first_chunk::<16>()?;
            let kind = clinic::Kind::from_number(kind)?;
            Some(Wrote {
                kind,
                id: Uuid::from_bytes(*id),
                version: u64::from_be_bytes(version.try_into().ok()?),
                event: verb.map(|verb| format!("{}.{verb}", kind.as_str())),
            })
        })
        .collect()
}
