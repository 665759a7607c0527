//! The durable store: one unit of work that it takes whole, and what can be read.

mod alert;
pub mod backup;
mod blob;
mod decide;
mod halt;
mod journal;
pub mod keys;
mod prune;
mod reseal;
mod seal;
pub mod sqlite;
pub mod verify;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clinic::apply::{Booking, Snapshot, SnapshotError};
use clinic::planned::{Begun, PlannedQuery};
use clinic::search::SearchKey;
use clinic::{Applied, Kind, Record};
use jiff::Timestamp;
use uuid::Uuid;

pub use self::alert::{Alert, AlertNotice};
pub use self::blob::BlobName;
pub(crate) use self::blob::{Blobs, Draft, as_store_error, sought};
pub use self::decide::{DecidedWord, DeliveryDecision};
pub use self::halt::{Halt, HaltWord};
pub use self::journal::{
    Access, AccessFilter, AccessOutcome, AccessRow, JournalFault, JournalHead, JournalReport,
};
pub use self::keys::{KeyError, MasterKey};
pub use self::prune::{Ages, Keeping, PrunePlace, PruneStep, PrunedOf};
pub use self::reseal::{ResealPlace, ResealStep, RewrapError, SealKeys, hand_over, rewrap};
pub(crate) use self::seal::Sealer;
pub use self::sqlite::{SqliteOptions, SqliteStore};
use crate::body::{NotRead, StoredBody, Vault, read_on};
use crate::format::Reads;
use crate::message::{
    DeliveryState, Failure, MessageDetail, MessageRow, MessageState, NewDelivery, NewMessage, Seen,
};

/// Everything that one message does, taken whole or not at all.
#[derive(Clone)]
pub struct Commit {
    /// The message and what it came to.
    pub message: NewMessage,
    /// The message already stored whose place this takes: one that failed before and was sent again, or a parked one.
    /// It keeps its id, place and time. Where it is neither any more, the answer is [`Committed::Repeat`].
    pub again: Option<i64>,
    /// What it does to the clinic.
    pub applied: Option<Applied>,
    /// What it owes to whom.
    pub deliveries: Vec<NewDelivery>,
    /// How the message is known again; none: it is not (a replay).
    pub dedup: Option<Dedup>,
    /// The delivery that makes this message; none: it came from outside.
    pub made_by: Option<MadeBy>,
    /// The counters that its scripts moved. Where one stands elsewhere than they found it, the answer is
    /// [`Committed::Moved`].
    pub counters: Vec<CounterMove>,
    /// What came of it, where the message is a question that was asked of a destination.
    pub asked: Option<Asked>,
}

/// How a message is known again: by its sender, its number, and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dedup {
    /// For how long.
    pub window: Duration,
    /// From which byte on its body is what it says: what stands before was written by its transport, each time otherwise. A
    /// long body counts as a whole.
    pub from: usize,
    /// Only while what came of the first is under way. Who asks again for what was told has not heard it, and is told again.
    pub until_told: bool,
}

/// A counter of scripts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterKey {
    /// Of which channel; none: shared by those that declare it so.
    pub channel: Option<String>,
    /// Its name.
    pub name: String,
}

/// What a message does to a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterMove {
    /// Which one.
    pub counter: CounterKey,
    /// The number that it had given last; none: it had given none.
    pub from: Option<u64>,
    /// The number that it has given last now.
    pub to: u64,
}

/// A question that was asked: it stands with its message as the one try of a delivery that is over.
#[derive(Clone)]
pub struct Asked {
    /// Which destination was asked.
    pub destination: String,
    /// When the result was known.
    pub at: Timestamp,
    /// accepted, refused, retry, unsure.
    pub verdict: &'static str,
    /// Why, in words.
    pub why: Option<String>,
    /// What came back; the store keeps the first 64 KB.
    pub response: Option<Bytes>,
}

/// The delivery that makes a message. Both are one unit of work, so that inside Punte nothing is done twice: where the
/// delivery is over already, or has made a message of this number, the answer is [`Committed::Over`].
#[derive(Clone)]
pub struct MadeBy {
    /// Its number in the store.
    pub delivery: i64,
    /// Which of its messages this is; the first is 1.
    pub number: u32,
    /// What the delivery comes to with it; none: there are more to come.
    pub ends: Option<Attempted>,
}

/// Makes a [`Commit`] out of what the clinic looks like now. Run again where something it read has moved.
pub type Work = Box<dyn FnMut(&dyn Snapshot) -> Result<Commit, SnapshotError> + Send>;

/// What became of a commit.
#[derive(Clone, Debug)]
pub enum Committed {
    /// It is on disk.
    Stored {
        /// Its place in the order.
        seq: i64,
    },
    /// The same message is there already.
    Repeat(Repeat),
    /// Something that it read has moved: to be run again on a fresh snapshot.
    Moved,
    /// The database refuses it: two would have what only one may. Nothing was written.
    Conflict {
        /// What: "the practitioner … is booked from … to …", without names.
        what: String,
    },
    /// The delivery that was to make it is over, or has made it. Nothing was written.
    Over,
}

/// The first of several equal messages.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// Its place in the order.
    pub seq: i64,
    /// Its id.
    pub id: Uuid,
    /// When it came.
    pub received_at: Timestamp,
    /// What it came to. `failed`: it is to be run again with [`Commit::again`].
    pub state: MessageState,
    /// Why it failed or was parked.
    pub failure: Option<Failure>,
}

/// The store can't do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full.
    #[error(
        "the disk is full; nothing was stored. Make room in the data folder: an engine that runs goes on by itself, a start has to be tried again"
    )]
    Full,
    /// The store failed and is being opened again.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// What is there can't be read: damaged, sealed under another key, or of another version.
    #[error("the store can't be read: {0}")]
    Damaged(String),
}

impl From<StoreError> for SnapshotError {
    fn from(error: StoreError) -> Self {
        SnapshotError(error.to_string())
    }
}

/// A delivery whose turn it is.
#[derive(Clone)]
pub struct Waiting {
    /// Its number: grows with the order of messages.
    pub id: i64,
    /// The message that it belongs to.
    pub message: Uuid,
    /// How far it is: queued, sending, retrying, unsure or held.
    pub state: DeliveryState,
    /// How many tries there were.
    pub attempts: u32,
    /// When the first try was.
    pub first_attempt_at: Option<Timestamp>,
    /// When it is to be tried again.
    pub due: Option<Timestamp>,
    /// When its message came.
    pub received_at: Timestamp,
    /// The bytes; of a big one as much as was read of it.
    pub body: Bytes,
    /// Where all of it lies, where it is big and not all of it was read.
    pub big: Option<BlobName>,
    /// MIME type.
    pub content_type: String,
}

impl Waiting {
    /// Reads as much of a big body as is needed, once there is room for it. It keeps its room as long as anybody has it.
    pub async fn read(
        &mut self,
        store: &dyn Store,
        needs: &(dyn Fn(&[u8]) -> Reads + Send + Sync),
    ) -> Result<(), StoreError> {
        let Some(name) = self.big else {
            return Ok(());
        };
        let (vault, room) = (store.vault(), crate::room::going_out());
        match read_on(&vault, name, &mut self.body, room, u64::MAX, needs).await {
            Ok(()) => {}
            // What its head does not show, the rest won't.
            Err(NotRead::TooLong) => {}
            Err(NotRead::Store(error)) => return Err(error),
        }
        if name.length() <= self.body.len() as u64 {
            self.big = None;
        }
        Ok(())
    }
}

/// A delivery that is to be sent, by its number and its lane alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// Its number: grows with the order of messages.
    pub id: i64,
    /// The lane in which it keeps its order; none: it has none by this key, and keeps its order with all.
    pub lane: Option<i64>,
}

/// A delivery that was pending once, or is: its far side has it and answers later.
#[derive(Clone)]
pub struct Awaited {
    /// Its number.
    pub delivery: i64,
    /// The message that it belongs to.
    pub message: Uuid,
    /// The channel in whose queue it is.
    pub channel: String,
    /// The destination.
    pub destination: String,
    /// How far it is.
    pub state: DeliveryState,
    /// How many tries there were.
    pub attempts: u32,
    /// What was sent.
    pub body: Bytes,
}

/// What a message hands on to those that are made from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// Through which channel it came.
    pub channel: String,
    /// What its transport said beside the bytes.
    pub headers: Vec<(String, String)>,
    /// The channels that it has passed before its own.
    pub trace: Vec<String>,
    /// It is taken again on purpose: what is made of it is no repeat.
    pub is_replay: bool,
}

/// What a try of a delivery came to.
#[derive(Clone)]
pub struct Attempted {
    /// Which delivery.
    pub delivery: i64,
    /// The first is 1.
    pub number: u32,
    /// When the result was known.
    pub at: Timestamp,
    /// What the delivery is from now on.
    pub state: DeliveryState,
    /// When it is tried again; pending: until when it is to be answered.
    pub due: Option<Timestamp>,
    /// accepted, pending, refused, retry, unsure.
    pub verdict: &'static str,
    /// Why, in words.
    pub why: Option<String>,
    /// The reference that a later answer will name.
    pub reference: Option<String>,
    /// What came back; the store keeps the first 64 KB.
    pub response: Option<Bytes>,
}

/// Which messages to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct MessageFilter {
    /// Of this channel.
    pub channel: Option<String>,
    /// In this state.
    pub state: Option<MessageState>,
    /// With a delivery in this state.
    pub delivery_state: Option<DeliveryState>,
    /// That came at this time or later.
    pub since: Option<Timestamp>,
    /// That came before this time.
    pub until: Option<Timestamp>,
    /// About the patient with this identifier (`value` or `value^authority`).
    pub patient: Option<String>,
    /// With this control id.
    pub control_id: Option<String>,
    /// With this visit number.
    pub visit: Option<String>,
    /// With this order number.
    pub order: Option<String>,
    /// Before this place in the order: for the next page.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

/// What is waiting for whom.
#[derive(Clone, Debug, serde::Serialize)]
pub struct QueueRow {
    /// The channel.
    pub channel: String,
    /// The destination.
    pub destination: String,
    /// How many of each state that is not over, and of the dead.
    pub counts: Vec<(DeliveryState, u64)>,
    /// How many of the dead a person has seen.
    pub dead_seen: u64,
    /// When the message of the oldest one came.
    pub oldest: Option<Timestamp>,
}

/// A moment or a range of them, for searching.
#[derive(Clone, Debug, Default)]
pub struct TimeRange {
    /// From (included).
    pub from: Option<Timestamp>,
    /// To (excluded).
    pub to: Option<Timestamp>,
}

/// A search of aggregates. All conditions must hold; of ids, patients, statuses and of the keys of one list any will do,
/// of ranges all must hold.
#[derive(Clone, Debug, Default)]
pub struct ClinicQuery {
    /// Of these kinds.
    pub kinds: Vec<Kind>,
    /// With one of these ids.
    pub ids: Option<Vec<Uuid>>,
    /// Found by one of the keys of each list: the text of a [`clinic::apply::FindKey`], or name and text of a
    /// [`clinic::search::SearchKey`] as `name|text`.
    pub keys: Vec<Vec<String>>,
    /// Of one of these patients.
    pub patients: Option<Vec<Uuid>>,
    /// In one of these states.
    pub statuses: Option<Vec<String>>,
    /// Whose time overlaps each of these. What has no time overlaps nothing; an open end reaches for ever.
    pub date_overlaps: Vec<TimeRange>,
    /// Whose time lies within each of these.
    pub date_within: Vec<TimeRange>,
    /// Changed within each of these.
    pub updated: Vec<TimeRange>,
    /// After this place in the order of (last change, id): for the next page.
    pub after: Option<(Timestamp, Uuid)>,
    /// At most so many.
    pub limit: u32,
}

/// Time that an appointment takes of somebody or something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    /// Which appointment.
    pub appointment: Uuid,
    /// Whose time, and when.
    pub booking: Booking,
}

/// A key of the API, as it is stored.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ApiKey {
    /// Its name.
    pub name: String,
    /// What it may do: `messages:read`, `clinic:read`, `admin` …
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is good for nothing; none: never.
    pub expires_at: Option<Timestamp>,
}

/// The store.
#[async_trait]
pub trait Store: Send + Sync {
    /// Takes one unit of work. Returns once it is on disk (flushed), or was refused. Never runs the work again itself
    /// unless `exclusive`: then the writer makes the commit itself, inside its transaction, so that nothing can move.
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError>;
    /// As [`Store::commit`], the writer running the work itself.
    async fn commit_exclusively(&self, work: Work) -> Result<Committed, StoreError>;
    /// The clinic as it stands now. Cheap; to be dropped before any wait.
    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError>;

    /// Writes what a try came to; returns once it is on disk. Several are flushed together.
    async fn attempted(&self, attempted: Attempted) -> Result<(), StoreError>;
    /// Marks a delivery as `sending`; returns once that is on disk.
    async fn sending(&self, delivery: i64) -> Result<(), StoreError>;
    /// Does what a person decided about a delivery, and keeps it among its tries; returns once it is on disk. False: it can't
    /// be said of one in its state.
    async fn decide(&self, decision: DeliveryDecision) -> Result<bool, StoreError>;
    /// The number that each of these counters gave last; none: it has given none.
    async fn counters(&self, keys: &[CounterKey]) -> Result<Vec<Option<u64>>, StoreError>;
    /// Where the source of a channel goes on; none: at the beginning.
    async fn cursor(&self, channel: &str) -> Result<Option<String>, StoreError>;
    /// Keeps where the source of a channel goes on; returns once it is on disk.
    async fn keep_cursor(&self, channel: &str, cursor: &str) -> Result<(), StoreError>;
    /// How many messages a delivery has made so far.
    async fn made(&self, delivery: i64) -> Result<u32, StoreError>;
    /// What a message hands on to those that are made from it; none: there is no such message.
    async fn lineage(&self, id: Uuid) -> Result<Option<Lineage>, StoreError>;
    /// What waits for a destination, after this number, in order: at least one, at most so many, fewer where they are big.
    async fn waiting(
        &self,
        channel: &str,
        destination: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Waiting>, StoreError>;

    /// What waits for a destination whose order goes by this key, after this number, in order.
    async fn ahead(
        &self,
        channel: &str,
        destination: &str,
        by: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Ahead>, StoreError>;
    /// The first delivery of a lane after this number that waits.
    async fn next_of_lane(
        &self,
        channel: &str,
        destination: &str,
        lane: i64,
        after: i64,
    ) -> Result<Option<i64>, StoreError>;
    /// One delivery, whatever has become of it.
    async fn delivery(&self, id: i64) -> Result<Option<Waiting>, StoreError>;
    /// Where long bodies lie: they are written there as they arrive, and read from there.
    fn vault(&self) -> Vault;
    /// The bytes that came with a message, however big; none: there is no such message, or they were taken out.
    async fn stored_body(&self, message: Uuid) -> Result<Option<StoredBody>, StoreError>;

    /// The deliveries that were pending with this reference, whatever has become of them, the oldest first.
    async fn awaited(&self, reference: &str) -> Result<Vec<Awaited>, StoreError>;
    /// What is pending at a destination and was to be answered by now, the oldest first.
    async fn overdue(
        &self,
        channel: &str,
        destination: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Waiting>, StoreError>;

    /// Messages, newest first.
    async fn messages(&self, filter: &MessageFilter) -> Result<Vec<MessageRow>, StoreError>;
    /// One message, by its id.
    async fn message(&self, id: Uuid) -> Result<Option<MessageDetail>, StoreError>;
    /// What waits for whom.
    async fn queues(&self) -> Result<Vec<QueueRow>, StoreError>;
    /// How many messages of each channel have failed that came at this time or later.
    async fn failed_since(&self, since: Timestamp) -> Result<Vec<(String, u64)>, StoreError>;
    /// How many messages of each state each channel has.
    async fn counts(&self) -> Result<Vec<(String, MessageState, u64)>, StoreError>;

    /// Aggregates that match, by (last change, id).
    async fn search(&self, query: &ClinicQuery) -> Result<Vec<Record>, StoreError>;
    /// The imaging orders that a question for a worklist may mean, from memory: more than are meant, never fewer.
    async fn planned(&self, asked: PlannedQuery) -> Result<Vec<Uuid>, StoreError>;
    /// Reads what is planned into memory where it is not there yet, so that who asks first waits no longer than others.
    async fn read_planned(&self) -> Result<(), StoreError>;
    /// Whether it is there.
    fn knows_planned(&self) -> bool;
    /// The examinations that a modality has begun and not ended, from memory.
    async fn begun(&self) -> Result<Vec<Begun>, StoreError>;
    /// Of each key the aggregate with the latest time, where one is found by it.
    async fn newest(&self, kind: Kind, keys: &[SearchKey]) -> Result<Vec<Record>, StoreError>;
    /// How many match, however many are asked for at once; none of them is opened.
    async fn count(&self, query: &ClinicQuery) -> Result<u64, StoreError>;
    /// One aggregate as it stands now.
    async fn read(&self, kind: Kind, id: Uuid) -> Result<Option<Record>, StoreError>;
    /// One version of an aggregate.
    async fn read_version(&self, kind: Kind, id: Uuid, version: u64) -> Result<Option<Record>, StoreError>;
    /// All versions of an aggregate, newest first.
    async fn history(&self, kind: Kind, id: Uuid) -> Result<Vec<Record>, StoreError>;

    /// Whose time is taken when: of these, everything that is not over at the first moment and has begun before the
    /// second, by its beginning; at most 10,000.
    async fn bookings(
        &self,
        resources: &[Uuid],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Booked>, StoreError>;

    /// Adds a key of the API; `secret` is stored as a keyed hash. False: there is one of that name.
    async fn add_api_key(&self, key: &ApiKey, secret: &str) -> Result<bool, StoreError>;
    /// The key with this secret.
    async fn api_key(&self, secret: &str) -> Result<Option<ApiKey>, StoreError>;
    /// All keys, without their secrets.
    async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError>;
    /// Takes a key away. False: there is none of that name.
    async fn remove_api_key(&self, name: &str) -> Result<bool, StoreError>;

    /// Hands a read of patient data to the writer, before what was read is shown. Does not wait until it is on disk: it
    /// rides on the next flush.
    async fn accessed(&self, access: Access) -> Result<(), StoreError>;
    /// The journal, newest first.
    async fn journal(&self, filter: &AccessFilter) -> Result<Vec<AccessRow>, StoreError>;
    /// Reads the whole journal and says what is wrong with it, also against a head from the log.
    async fn verify_journal(&self, logged: Option<JournalHead>) -> Result<JournalReport, StoreError>;
    /// How the journal ends, as far as it is on disk.
    fn journal_head(&self) -> JournalHead;
    /// Notes that a channel or destination stands still, in place of what was noted before.
    async fn halt(&self, halt: &Halt) -> Result<(), StoreError>;
    /// Takes the note away. False: there was none.
    async fn unhalt(&self, channel: &str, destination: Option<&str>) -> Result<bool, StoreError>;
    /// All that stand still.
    async fn halts(&self) -> Result<Vec<Halt>, StoreError>;

    /// One step of a pass that takes out what is old enough, a few at a time beside what comes in. `act`: false only counts.
    async fn prune(
        &self,
        keeping: &Keeping,
        now: Timestamp,
        place: PrunePlace,
        act: bool,
    ) -> Result<PruneStep, StoreError>;
    /// Keeps the bytes of these messages for good, however old they get; returns once that is on disk. False: those of one are gone
    /// already.
    async fn keep_for_good(&self, messages: &[Uuid]) -> Result<bool, StoreError>;
    /// Notes that a person has seen the dead deliveries of a message; how many that are.
    async fn see(&self, message: Uuid, seen: &Seen) -> Result<u64, StoreError>;

    /// Begins an episode and notes whom to tell. False: one of that is on already.
    async fn alert_begins(&self, alert: &Alert) -> Result<bool, StoreError>;
    /// Ends the episode of that, and notes to tell those who were told of its beginning. False: none is on.
    async fn alert_ends(&self, what: &str, at: Timestamp) -> Result<bool, StoreError>;
    /// The episodes that are on, then those that are over, the newest first.
    async fn alerts(&self, limit: u32) -> Result<Vec<Alert>, StoreError>;
    /// What is still to be told of episodes, in order.
    async fn alert_notices(&self, limit: u32) -> Result<Vec<AlertNotice>, StoreError>;
    /// A notice was told, or nobody wants to know it any more.
    async fn alert_told(&self, notice: i64) -> Result<(), StoreError>;
    /// A notice could not be told and is tried again.
    async fn alert_not_told(&self, notice: i64, due: Timestamp) -> Result<(), StoreError>;
    /// Keeps when something came in by a channel last.
    async fn hear(&self, channel: &str, at: Timestamp) -> Result<(), StoreError>;
    /// When something came in by each channel last, as far as it was kept.
    async fn heard(&self) -> Result<Vec<(String, Timestamp)>, StoreError>;

    /// The master key that [`hand_over`] sealed for this store.
    fn handed_key(&self, handed: &[u8]) -> Result<MasterKey, StoreError>;
    /// Makes a new data key, which seals from now on, and returns its number. The master key is the one that the store's keys
    /// are wrapped under now.
    async fn renew_key(&self, master: &MasterKey) -> Result<u8, StoreError>;
    /// Seals a few values anew that an older key sealed.
    async fn reseal(&self, place: ResealPlace) -> Result<ResealStep, StoreError>;
    /// Takes away the keys under which nothing is sealed any more, after a pass that found nothing and began then.
    async fn forget_keys(&self, begun: std::time::Instant) -> Result<Vec<u8>, StoreError>;
    /// The keys under which the store is sealed.
    async fn seal_keys(&self) -> Result<SealKeys, StoreError>;

    /// The clinic whose store this is.
    fn clinic(&self) -> Uuid;
    /// Flushes what is under way and closes.
    async fn close(&self) -> Result<(), StoreError>;
}
