//! The store in SQLite: one file in WAL mode, one thread that writes it, connections that read it.

/// What waits in a queue: queued, sending, retrying, unsure, held. Word for word the condition of its partial indexes, so
/// that they are used. `$of`: the table's name and a dot, or nothing.
macro_rules! waits {
    ($of:literal) => {
        concat!($of, "state < 7 AND ", $of, "state <> 1 AND ", $of, "state <> 3")
    };
}

mod alerts;
mod api_keys;
pub(crate) mod backup;
#[cfg(feature = "bench")]
pub mod bench;
mod cache;
mod checkpoint;
mod clinic;
mod commit;
mod counters;
mod cursors;
pub(crate) mod data_keys;
mod halts;
mod journal;
mod keys;
mod lanes;
mod messages;
mod names;
mod open;
mod place;
mod planned;
mod prune;
mod readers;
mod ready;
mod repeats;
mod reseal;
mod search;
mod sieve;
pub(crate) mod verify;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;

use ::clinic::Kind;
use ::clinic::Record;
use ::clinic::apply::Snapshot;
use ::clinic::planned::{Begun, Planned, PlannedQuery};
use ::clinic::search::SearchKey;
use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use self::commit::{Raw, RawRepeat};
use self::journal::ReadyAccess;
use self::names::Names;
use self::readers::Readers;
use self::ready::{Head, INLINE, Ready, ReadyAttempt, ReadyDecision};
use self::writer::{Job, Pen};
use super::blob::Blobs;
use super::keys::MasterKey;
use super::seal::Sealer;
use super::{
    Access, AccessFilter, AccessRow, Ahead, Alert, AlertNotice, ApiKey, Attempted, Awaited, Booked,
    ClinicQuery, Commit, Committed, CounterKey, DeliveryDecision, Halt, JournalHead, JournalReport, Keeping,
    Lineage, MessageFilter, PrunePlace, PruneStep, QueueRow, Repeat, ResealPlace, ResealStep, SealKeys, Seen,
    Store, StoreError, Waiting, Work,
};
use crate::body::{StoredBody, Vault};
use crate::message::{MessageDetail, MessageRow, MessageState};
use crate::sabotage::{self, Switch};
use crate::waits::{self, blocking};

/// How the store is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// Pages that the writer keeps in memory, in MB.
    pub cache_mb: u32,
    /// The clinic's zone: days without a time are days there.
    pub zone: TimeZone,
    /// The clinic whose store this has to be; none: whichever it is. A new store takes this id, or a fresh one.
    pub clinic: Option<Uuid>,
    /// At most so many pages of 4 KB; for tests of a full disk. 0: no limit.
    pub max_pages: u32,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        SqliteOptions {
            cache_mb: 16,
            zone: TimeZone::get("Europe/Bucharest").unwrap_or(TimeZone::UTC),
            clinic: None,
            max_pages: 0,
        }
    }
}

/// What all parts of the store share.
pub(crate) struct Shared {
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) blobs: Blobs,
    pub(crate) readers: Readers,
    pub(crate) cache: cache::Cache,
    pub(crate) planned: planned::PlannedSteps,
    pub(crate) zone: TimeZone,
    names: RwLock<Arc<Names>>,
    /// How the journal ends on disk.
    head: Mutex<JournalHead>,
}

impl Shared {
    pub(crate) fn names(&self) -> Arc<Names> {
        self.names
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone()
    }

    fn vault(&self) -> Vault {
        Vault {
            blobs: self.blobs.clone(),
            sealer: self.sealer.clone(),
        }
    }

    /// The number of a destination that something was queued for.
    fn destination(&self, channel: &str, destination: &str) -> Option<i64> {
        let names = self.names();
        names.destination(names.channel(channel)?, destination)
    }

    pub(crate) fn head(&self) -> JournalHead {
        *self.head.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn publish_head(&self, head: JournalHead) {
        *self.head.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = head;
    }

    pub(crate) fn publish_names(&self, names: &Names) {
        *self
            .names
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(names.clone());
    }
}

/// The store in a data folder: `punte.db` with its log, `blobs/`, and `lock`.
pub struct SqliteStore {
    shared: Arc<Shared>,
    clinic: Uuid,
    inbox: mpsc::Sender<Job>,
    /// For who is alone with its work.
    pen: Pen,
    /// How much work that somebody waits for is being written, or is to be.
    under_way: AtomicUsize,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// When this process has made a new data key.
    renewed: Mutex<Option<std::time::Instant>>,
}

/// Work under way, until it is dropped.
struct UnderWay<'s> {
    count: &'s AtomicUsize,
    /// How much there was when it began.
    others: usize,
}

impl<'s> UnderWay<'s> {
    fn of(count: &'s AtomicUsize) -> Self {
        let others = count.fetch_add(1, Ordering::AcqRel);
        UnderWay { count, others }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for SqliteStore {
    /// Lets the writer finish what it has, so that the folder can be opened again at once.
    fn drop(&mut self) {
        let (nobody, _) = mpsc::channel(1);
        self.inbox = nobody;
        let writer = self
            .writer
            .get_mut()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take();
        if let Some(writer) = writer {
            // A panic of the writer has been reported already.
            let _ = writer.join();
        }
    }
}

/// SQLite's own words for what went wrong, as the caller of the store is to take it. They name tables, never values.
pub(crate) fn sql_error(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// What holds for each connection. The writer alone decides when the log is checkpointed, not whoever closes last. And
/// how a statement is carried out follows from its text: were its values looked at too, SQLite would compile it anew for
/// each of them.
pub(crate) fn same_for_all(connection: &Connection) -> rusqlite::Result<()> {
    use rusqlite::config::DbConfig;

    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// A time of a row. What lies outside of what can be written is the beginning of 1970.
pub(crate) fn time(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or_default()
}

impl SqliteStore {
    /// Opens the store in `folder`, which is made where it is missing, together with a new store. Blocks for as long as
    /// reading the log of a crash takes. Refuses: another process has it open; another master key; a newer version;
    /// another clinic.
    pub async fn open(
        folder: &Path,
        master: &MasterKey,
        options: SqliteOptions,
    ) -> Result<Arc<Self>, StoreError> {
        open::open(folder, master, options).await.map(Arc::new)
    }

    /// Whether the store in `folder` is one that this program, with this key, can open, as [`SqliteStore::open`] would:
    /// the clinic whose it is; none: there is no store yet. Changes nothing, and holds up nobody who has it open.
    pub fn look(folder: &Path, master: &MasterKey, clinic: Option<Uuid>) -> Result<Option<Uuid>, StoreError> {
        open::look(folder, master, clinic)
    }

    /// Whether a process has the store in `folder` open.
    pub fn is_taken(folder: &Path) -> bool {
        open::is_taken(folder)
    }

    /// Hands a job that somebody waits for to the writer, and waits for its answer.
    async fn ask_now<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let _under_way = UnderWay::of(&self.under_way);
        self.ask(job).await
    }

    /// The same of what is in no hurry, and may be written with whatever comes.
    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable("it is closed".into());
        let (reply, answer) = oneshot::channel();
        // Not put off by tokio's budget: who is polled first is first in the inbox.
        tokio::task::unconstrained(self.inbox.send(job(reply)))
            .await
            .map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Writes on this thread where nobody else wants to write, and others can go on meanwhile. Else it comes back.
    fn write_alone(&self, ready: Box<Ready>) -> Result<Result<Raw, StoreError>, Box<Ready>> {
        let under_way = UnderWay::of(&self.under_way);
        if under_way.others != 0 || !waits::may_wait_here() {
            return Err(ready);
        }
        waits::here(|| self.pen.write_alone(ready))
    }

    /// Reads on a thread that may wait for the disk.
    async fn read_with<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared, &Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.shared.clone();
        blocking("a read", move || {
            let reader = shared.readers.get()?;
            read(&shared, &reader)
        })
        .await
    }

    /// Asks what is planned, which is read first where it was not yet.
    async fn ask_planned<T: Send + 'static>(
        &self,
        ask: impl Fn(&Planned) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        if let Some(found) = self.shared.planned.ask(&ask) {
            return Ok(found);
        }
        self.read_with(move |shared, connection| shared.planned.read_and_ask(shared, connection, &ask))
            .await
    }

    async fn ready(&self, mut commit: Commit) -> Result<Ready, StoreError> {
        let incoming = &commit.message.incoming;
        let big = (incoming.big.is_none() && incoming.body.len() > INLINE)
            || commit
                .deliveries
                .iter()
                .any(|delivery| delivery.body.as_ref().is_some_and(|body| body.len() > INLINE));
        if !big && commit.again.is_none() {
            return Ready::new(&self.shared, commit);
        }
        let shared = self.shared.clone();
        blocking("the work on a message", move || {
            if let Some(seq) = commit.again {
                // The row keeps its id, and what is sealed is bound to it.
                if let Some(id) = messages::id_of(&*shared.readers.get()?, seq)? {
                    commit.message.id = id;
                }
            }
            Ready::new(&shared, commit)
        })
        .await
    }

    fn committed(&self, raw: Raw) -> Result<Committed, StoreError> {
        Ok(match raw {
            Raw::Stored(seq) => Committed::Stored { seq },
            Raw::Moved => Committed::Moved,
            Raw::Conflict(what) => Committed::Conflict { what },
            Raw::Over => Committed::Over,
            Raw::Repeat(RawRepeat {
                seq,
                id,
                received_at,
                state,
                head,
            }) => Committed::Repeat(Repeat {
                seq,
                id,
                received_at: time(received_at),
                state: messages::message_state(state)?,
                failure: Head::open(&self.shared.sealer, id, &head)?.failure,
            }),
        })
    }

    /// Takes the rows of the journal up to this one (included) out, and leaves a beginning that only this program can
    /// have made. False: there is no such row.
    pub async fn prune_journal(&self, nr: u64) -> Result<bool, StoreError> {
        let shared = self.shared.clone();
        let nr = i64::try_from(nr).unwrap_or(i64::MAX);
        self.small(move |connection| journal::prune(connection, &shared.sealer, nr))
            .await
    }

    /// Waits for what stands in the inbox. Reads hand their event to the writer and go on: whoever asks what was read has
    /// to wait for it.
    async fn inbox_is_written(&self) -> Result<(), StoreError> {
        self.small(|_| Ok(true)).await.map(drop)
    }

    /// Something small inside the writer's transaction.
    async fn small(
        &self,
        work: impl FnMut(&Connection) -> rusqlite::Result<bool> + Send + 'static,
    ) -> Result<bool, StoreError> {
        self.ask_now(|reply| Job::Small(Box::new(work), reply)).await
    }
}

fn no_delivery(there: bool) -> Result<(), StoreError> {
    if there {
        Ok(())
    } else {
        Err(StoreError::Damaged("there is no delivery of that number".into()))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError> {
        let ready = Box::new(self.ready(commit).await?);
        if sabotage::is_on(Switch::AckFirst) {
            let unheard = oneshot::channel().0;
            let _ = self.inbox.send(Job::Commit(ready, unheard)).await;
            return Ok(Committed::Stored { seq: 0 });
        }
        let raw = match self.write_alone(ready) {
            Ok(raw) => raw?,
            Err(ready) => self.ask_now(|reply| Job::Commit(ready, reply)).await?,
        };
        self.committed(raw)
    }

    async fn commit_exclusively(&self, work: Work) -> Result<Committed, StoreError> {
        let raw = self.ask_now(|reply| Job::Exclusive(work, reply)).await?;
        self.committed(raw)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, StoreError> {
        let reader = self.shared.readers.get()?;
        Ok(Box::new(clinic::PooledSnapshot::new(&self.shared, reader)))
    }

    async fn attempted(&self, attempted: Attempted) -> Result<(), StoreError> {
        let ready = ReadyAttempt::new(&self.shared.sealer, attempted)?;
        no_delivery(self.ask(|reply| Job::Attempted(ready, reply)).await?)
    }

    async fn sending(&self, delivery: i64) -> Result<(), StoreError> {
        no_delivery(self.ask_now(|reply| Job::Sending(delivery, reply)).await?)
    }

    async fn decide(&self, decision: DeliveryDecision) -> Result<bool, StoreError> {
        let ready = ReadyDecision::new(decision)?;
        self.ask_now(|reply| Job::Decide(ready, reply)).await
    }

    async fn counters(&self, keys: &[CounterKey]) -> Result<Vec<Option<u64>>, StoreError> {
        let keys = keys.to_vec();
        self.read_with(move |_, connection| {
            let given = keys.iter().map(|key| counters::given(connection, key));
            given.collect::<rusqlite::Result<_>>().map_err(sql_error)
        })
        .await
    }

    async fn cursor(&self, channel: &str) -> Result<Option<String>, StoreError> {
        let channel = channel.to_owned();
        self.read_with(move |shared, connection| cursors::of(shared, connection, &channel))
            .await
    }

    async fn keep_cursor(&self, channel: &str, cursor: &str) -> Result<(), StoreError> {
        let sealed = cursors::sealed(&self.shared.sealer, channel, cursor)?;
        let channel = channel.to_owned();
        self.small(move |connection| cursors::put(connection, &channel, &sealed))
            .await?;
        Ok(())
    }

    async fn made(&self, delivery: i64) -> Result<u32, StoreError> {
        self.read_with(move |_, connection| messages::count_made(connection, delivery).map_err(sql_error))
            .await
    }

    async fn lineage(&self, id: Uuid) -> Result<Option<Lineage>, StoreError> {
        self.read_with(move |shared, connection| messages::lineage(shared, connection, id))
            .await
    }

    async fn waiting(
        &self,
        channel: &str,
        destination: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Waiting>, StoreError> {
        let Some(destination) = self.shared.destination(channel, destination) else {
            return Ok(vec![]);
        };
        self.read_with(move |shared, connection| {
            messages::waiting(shared, connection, destination, after, limit)
        })
        .await
    }

    async fn ahead(
        &self,
        channel: &str,
        destination: &str,
        by: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Ahead>, StoreError> {
        let Some(destination) = self.shared.destination(channel, destination) else {
            return Ok(vec![]);
        };
        let by = by.to_owned();
        self.read_with(move |shared, connection| {
            lanes::ahead(shared, connection, destination, &by, after, limit)
        })
        .await
    }

    async fn next_of_lane(
        &self,
        channel: &str,
        destination: &str,
        lane: i64,
        after: i64,
    ) -> Result<Option<i64>, StoreError> {
        let Some(destination) = self.shared.destination(channel, destination) else {
            return Ok(None);
        };
        self.read_with(move |_, connection| lanes::next(connection, destination, lane, after))
            .await
    }

    async fn delivery(&self, id: i64) -> Result<Option<Waiting>, StoreError> {
        self.read_with(move |shared, connection| messages::one(shared, connection, id))
            .await
    }

    fn vault(&self) -> Vault {
        self.shared.vault()
    }

    async fn stored_body(&self, message: Uuid) -> Result<Option<StoredBody>, StoreError> {
        self.read_with(move |shared, connection| messages::stored_body(shared, connection, message))
            .await
    }

    async fn awaited(&self, reference: &str) -> Result<Vec<Awaited>, StoreError> {
        let reference = reference.to_owned();
        self.read_with(move |shared, connection| messages::awaited(shared, connection, &reference))
            .await
    }

    async fn overdue(
        &self,
        channel: &str,
        destination: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Waiting>, StoreError> {
        let Some(destination) = self.shared.destination(channel, destination) else {
            return Ok(vec![]);
        };
        self.read_with(move |shared, connection| {
            messages::overdue(shared, connection, destination, now, limit)
        })
        .await
    }

    async fn messages(&self, filter: &MessageFilter) -> Result<Vec<MessageRow>, StoreError> {
        let filter = filter.clone();
        self.read_with(move |shared, connection| messages::list(shared, connection, &filter))
            .await
    }

    async fn message(&self, id: Uuid) -> Result<Option<MessageDetail>, StoreError> {
        self.read_with(move |shared, connection| messages::detail(shared, connection, id))
            .await
    }

    async fn queues(&self) -> Result<Vec<QueueRow>, StoreError> {
        self.read_with(messages::queues).await
    }

    async fn failed_since(&self, since: Timestamp) -> Result<Vec<(String, u64)>, StoreError> {
        self.read_with(move |shared, connection| messages::failed_since(shared, connection, since))
            .await
    }

    async fn counts(&self) -> Result<Vec<(String, MessageState, u64)>, StoreError> {
        self.read_with(messages::counts).await
    }

    async fn search(&self, query: &ClinicQuery) -> Result<Vec<Record>, StoreError> {
        let query = query.clone();
        self.read_with(move |shared, connection| search::search(shared, connection, &query))
            .await
    }

    async fn planned(&self, asked: PlannedQuery) -> Result<Vec<Uuid>, StoreError> {
        self.ask_planned(move |planned| planned.find(&asked)).await
    }

    async fn read_planned(&self) -> Result<(), StoreError> {
        self.ask_planned(|_| ()).await
    }

    fn knows_planned(&self) -> bool {
        self.shared.planned.ask(&|_| ()).is_some()
    }

    async fn begun(&self) -> Result<Vec<Begun>, StoreError> {
        self.ask_planned(|planned| planned.begun().cloned().collect())
            .await
    }

    async fn newest(&self, kind: Kind, keys: &[SearchKey]) -> Result<Vec<Record>, StoreError> {
        let keys = keys.to_vec();
        self.read_with(move |shared, connection| search::newest(shared, connection, kind, &keys))
            .await
    }

    async fn count(&self, query: &ClinicQuery) -> Result<u64, StoreError> {
        let query = query.clone();
        self.read_with(move |shared, connection| search::count(shared, connection, &query))
            .await
    }

    async fn read(&self, kind: Kind, id: Uuid) -> Result<Option<Record>, StoreError> {
        self.read_with(move |shared, connection| clinic::load(shared, connection, kind, id))
            .await
    }

    async fn read_version(&self, kind: Kind, id: Uuid, version: u64) -> Result<Option<Record>, StoreError> {
        self.read_with(move |shared, connection| clinic::load_version(shared, connection, kind, id, version))
            .await
    }

    async fn history(&self, kind: Kind, id: Uuid) -> Result<Vec<Record>, StoreError> {
        self.read_with(move |shared, connection| clinic::history(shared, connection, kind, id))
            .await
    }

    async fn bookings(
        &self,
        resources: &[Uuid],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Booked>, StoreError> {
        let resources = resources.to_vec();
        self.read_with(move |_, connection| {
            clinic::bookings(connection, &resources, from, to).map_err(sql_error)
        })
        .await
    }

    async fn add_api_key(&self, key: &ApiKey, secret: &str) -> Result<bool, StoreError> {
        let hash = api_keys::hash(&self.shared.sealer, secret);
        let key = key.clone();
        self.small(move |connection| api_keys::add(connection, &key, &hash))
            .await
    }

    async fn api_key(&self, secret: &str) -> Result<Option<ApiKey>, StoreError> {
        let hash = api_keys::hash(&self.shared.sealer, secret);
        self.read_with(move |_, connection| api_keys::by_secret(connection, &hash).map_err(sql_error))
            .await
    }

    async fn api_keys(&self) -> Result<Vec<ApiKey>, StoreError> {
        self.read_with(|_, connection| api_keys::all(connection).map_err(sql_error))
            .await
    }

    async fn remove_api_key(&self, name: &str) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.small(move |connection| api_keys::remove(connection, &name))
            .await
    }

    async fn accessed(&self, access: Access) -> Result<(), StoreError> {
        let ready = ReadyAccess::new(&self.shared.sealer, &access)?;
        // As in `ask`, but nobody waits for an answer.
        tokio::task::unconstrained(self.inbox.send(Job::Accessed(ready)))
            .await
            .map_err(|_| StoreError::Unavailable("it is closed".into()))
    }

    async fn journal(&self, filter: &AccessFilter) -> Result<Vec<AccessRow>, StoreError> {
        self.inbox_is_written().await?;
        let filter = filter.clone();
        self.read_with(move |shared, connection| journal::list(shared, connection, &filter))
            .await
    }

    async fn verify_journal(&self, logged: Option<JournalHead>) -> Result<JournalReport, StoreError> {
        // What was handed in before is on disk then.
        self.inbox_is_written().await?;
        self.read_with(move |shared, connection| journal::verify(shared, connection, logged))
            .await
    }

    fn journal_head(&self) -> JournalHead {
        self.shared.head()
    }

    async fn halt(&self, halt: &Halt) -> Result<(), StoreError> {
        let sealed = halts::sealed(&self.shared.sealer, halt)?;
        self.small(move |connection| halts::put(connection, &sealed))
            .await?;
        Ok(())
    }

    async fn unhalt(&self, channel: &str, destination: Option<&str>) -> Result<bool, StoreError> {
        let (channel, destination) = (channel.to_owned(), destination.unwrap_or_default().to_owned());
        self.small(move |connection| halts::remove(connection, &channel, &destination))
            .await
    }

    async fn alert_begins(&self, alert: &Alert) -> Result<bool, StoreError> {
        let alert = alert.clone();
        self.small(move |connection| alerts::begin(connection, &alert))
            .await
    }

    async fn alert_ends(&self, what: &str, at: Timestamp) -> Result<bool, StoreError> {
        let what = what.to_owned();
        self.small(move |connection| alerts::end(connection, &what, at))
            .await
    }

    async fn alerts(&self, limit: u32) -> Result<Vec<Alert>, StoreError> {
        self.read_with(move |shared, connection| alerts::all(shared, connection, limit))
            .await
    }

    async fn alert_notices(&self, limit: u32) -> Result<Vec<AlertNotice>, StoreError> {
        self.read_with(move |shared, connection| alerts::notices(shared, connection, limit))
            .await
    }

    async fn alert_told(&self, notice: i64) -> Result<(), StoreError> {
        self.small(move |connection| alerts::told(connection, notice))
            .await?;
        Ok(())
    }

    async fn alert_not_told(&self, notice: i64, due: Timestamp) -> Result<(), StoreError> {
        self.small(move |connection| alerts::not_told(connection, notice, due))
            .await?;
        Ok(())
    }

    async fn hear(&self, channel: &str, at: Timestamp) -> Result<(), StoreError> {
        let channel = channel.to_owned();
        self.small(move |connection| alerts::hear(connection, &channel, at))
            .await?;
        Ok(())
    }

    async fn heard(&self) -> Result<Vec<(String, Timestamp)>, StoreError> {
        self.read_with(alerts::heard).await
    }

    fn clinic(&self) -> Uuid {
        self.clinic
    }

    async fn halts(&self) -> Result<Vec<Halt>, StoreError> {
        self.read_with(halts::all).await
    }

    async fn prune(
        &self,
        keeping: &Keeping,
        now: Timestamp,
        place: PrunePlace,
        act: bool,
    ) -> Result<PruneStep, StoreError> {
        self.prune_step(keeping, now, place, act).await
    }

    async fn keep_for_good(&self, messages: &[Uuid]) -> Result<bool, StoreError> {
        let messages = messages.to_vec();
        self.small(move |connection| prune::keep_for_good(connection, &messages))
            .await
    }

    async fn see(&self, message: Uuid, seen: &Seen) -> Result<u64, StoreError> {
        self.note_seen(message, seen).await
    }

    fn handed_key(&self, handed: &[u8]) -> Result<MasterKey, StoreError> {
        data_keys::handed(&self.shared.sealer, handed)
    }

    async fn renew_key(&self, master: &MasterKey) -> Result<u8, StoreError> {
        self.take_new_key(master).await
    }

    async fn reseal(&self, place: ResealPlace) -> Result<ResealStep, StoreError> {
        self.reseal_step(place).await
    }

    async fn forget_keys(&self, begun: std::time::Instant) -> Result<Vec<u8>, StoreError> {
        self.forget_old_keys(begun).await
    }

    async fn seal_keys(&self) -> Result<SealKeys, StoreError> {
        self.keys_in_use().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        let closed = self.ask(Job::Close).await;
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take();
        if let Some(writer) = writer {
            // It has answered, so that it is about to end.
            let _ = writer.join();
        }
        closed.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: std::ffi::c_int) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
    }

    async fn put(store: &SqliteStore, name: &'static str) -> Result<bool, StoreError> {
        let insert = "INSERT INTO meta (name, value) VALUES (?1, x'00')";
        store
            .small(move |connection| connection.execute(insert, [name]).map(|rows| rows == 1))
            .await
    }

    /// Keeps the writer busy until `together` has put all its jobs into the inbox, so that they are one batch.
    async fn batch<T>(store: &SqliteStore, together: impl Future<Output = T>) -> T {
        let (begun, begins) = oneshot::channel();
        let (go_on, goes_on) = std::sync::mpsc::channel();
        let mut begun = Some(begun);
        let busy = store.small(move |_| {
            if let Some(begun) = begun.take() {
                let _ = begun.send(());
                let _ = goes_on.recv();
            }
            Ok(true)
        });
        let then = async move {
            begins.await.unwrap();
            let release = async move { go_on.send(()).unwrap() };
            tokio::join!(together, release).0
        };
        let (busy, outcome) = tokio::join!(busy, then);
        busy.unwrap();
        outcome
    }

    async fn put_with_failure(store: &SqliteStore, name: &'static str, code: std::ffi::c_int) -> StoreError {
        let both = async { tokio::join!(put(store, name), store.small(move |_| Err(failure(code)))) };
        let (put, failed) = batch(store, both).await;
        assert_eq!(
            put.unwrap_err().to_string(),
            failed.as_ref().unwrap_err().to_string()
        );
        failed.unwrap_err()
    }

    async fn names(store: &SqliteStore) -> Vec<String> {
        store
            .read_with(|_, connection| {
                connection
                    .prepare("SELECT name FROM meta WHERE value = x'00' ORDER BY name")
                    .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
                    .map_err(sql_error)
            })
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_failed_flush_acknowledges_nothing_and_the_store_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let master = MasterKey::generate().unwrap();
        let store = SqliteStore::open(folder.path(), &master, SqliteOptions::default())
            .await
            .unwrap();
        put(&store, "a").await.unwrap();
        // All of the transaction is refused; the handle goes with it.
        let broken = put_with_failure(&store, "b", rusqlite::ffi::SQLITE_IOERR_FSYNC).await;
        assert!(matches!(broken, StoreError::Unavailable(_)), "{broken}");
        assert_eq!(names(&store).await, ["a"]);
        put(&store, "c").await.unwrap();
        let full = put_with_failure(&store, "d", rusqlite::ffi::SQLITE_FULL).await;
        assert!(matches!(full, StoreError::Full), "{full}");
        put(&store, "d").await.unwrap();
        assert_eq!(names(&store).await, ["a", "c", "d"]);
        store.close().await.unwrap();
    }

    fn access() -> Access {
        Access {
            at: Timestamp::UNIX_EPOCH,
            actor: crate::actor::Actor::default(),
            action: "read".to_owned(),
            what: vec![],
            patients: vec![],
            identifiers: vec![],
            outcome: crate::store::AccessOutcome::Shown,
            words: None,
            purpose: None,
        }
    }

    #[tokio::test]
    async fn a_read_is_handed_over_without_waiting_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let master = MasterKey::generate().unwrap();
        let store = SqliteStore::open(folder.path(), &master, SqliteOptions::default())
            .await
            .unwrap();
        // The writer is busy all the while.
        let hands_over = async {
            for _ in 0..100 {
                store.accessed(access()).await.unwrap();
            }
            store.journal_head().length
        };
        assert_eq!(batch(&store, hands_over).await, 0);
        put(&store, "a").await.unwrap();
        assert_eq!(store.journal_head().length, 100);
        store.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_read_that_can_t_be_written_is_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let master = MasterKey::generate().unwrap();
        let store = SqliteStore::open(folder.path(), &master, SqliteOptions::default())
            .await
            .unwrap();
        for code in [rusqlite::ffi::SQLITE_FULL, rusqlite::ffi::SQLITE_IOERR_FSYNC] {
            let before = store.journal_head().length;
            let both =
                async { tokio::join!(store.accessed(access()), store.small(move |_| Err(failure(code)))) };
            let (accessed, failed) = batch(&store, both).await;
            assert!(accessed.is_ok() && failed.is_err());
            assert_eq!(store.journal_head().length, before);
            store.verify_journal(None).await.unwrap();
            assert_eq!(store.journal_head().length, before + 1);
        }
        store.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_refused_statement_is_the_fault_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let master = MasterKey::generate().unwrap();
        let store = SqliteStore::open(folder.path(), &master, SqliteOptions::default())
            .await
            .unwrap();
        let all = async {
            tokio::join!(
                put(&store, "a"),
                store.small(|_| Err(failure(rusqlite::ffi::SQLITE_CONSTRAINT))),
                put(&store, "b"),
            )
        };
        let (one, refused, two) = batch(&store, all).await;
        assert!(one.unwrap() && two.unwrap());
        assert!(refused.is_err());
        assert_eq!(names(&store).await, ["a", "b"]);
    }
}
