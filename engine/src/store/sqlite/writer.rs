//! The one thread that writes. It takes what is in its inbox, at most [`BATCH`] units of work, into one transaction,
//! flushes once, and only then answers. Who is alone with its work writes it on its own thread, by the same hand: two
//! changes of thread would cost it as much as the flush.
//!
//! A batch that fails for want of room is refused, and the next one tried. After any other failure of the disk the
//! handle is never used again: the store is closed, opened, its whole log checkpointed into the file and flushed; what
//! comes meanwhile is told that the store is not available.

use std::io::{Read, Seek, SeekFrom, Write};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::{Checkpointer, RESTART_BUSY, RESTART_IDLE};
use super::commit::{self, Batch, Memory, Raw};
use super::journal::ReadyAccess;
use super::place::Place;
use super::prune::{self, Done, Doomed};
use super::ready::{Ready, ReadyAttempt, ReadyDecision};
use super::{Shared, clinic, journal, sql_error};
use crate::message::DeliveryState;
use crate::sabotage::{self, Switch};
use crate::store::{StoreError, Work};

/// The most units of work in one transaction.
const BATCH: usize = 256;
/// How long results of sends wait for a message to be flushed with.
const COMPANY: Duration = Duration::from_millis(3);
/// The same of reads.
const COMPANY_OF_READS: Duration = Duration::from_millis(50);
/// So many reads that could not be written are kept until they can.
const UNWRITTEN: usize = 65_536;
/// Units of work that may wait; whoever comes then waits to be let in.
pub(crate) const INBOX: usize = 1024;
/// Between two tries to open a store that failed.
const PAUSE: Duration = Duration::from_millis(500);

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;
/// Something small that is done inside the transaction: true or false is for the caller.
pub(crate) type Small = Box<dyn FnMut(&Connection) -> rusqlite::Result<bool> + Send>;

pub(crate) enum Job {
    Commit(Box<Ready>, Reply<Raw>),
    Exclusive(Work, Reply<Raw>),
    Attempted(ReadyAttempt, Reply<bool>),
    Sending(i64, Reply<bool>),
    /// What a person decided about a delivery.
    Decide(ReadyDecision, Reply<bool>),
    Small(Small, Reply<bool>),
    /// Messages that are old enough.
    Prune(Vec<Doomed>, Reply<Vec<Done>>),
    /// A read of patient data; whoever read has gone on.
    Accessed(ReadyAccess),
    Close(Reply<bool>),
}

enum Outcome {
    Raw(Raw),
    Done(bool),
    Pruned(Vec<Done>),
    Refused(StoreError),
}

impl Job {
    fn answer(self, outcome: Result<Outcome, StoreError>) {
        // Whoever has gone away does not want the answer.
        match (self, outcome) {
            (Job::Commit(_, reply) | Job::Exclusive(_, reply), outcome) => {
                let _ = reply.send(match outcome {
                    Ok(Outcome::Raw(raw)) => Ok(raw),
                    Ok(Outcome::Refused(error)) | Err(error) => Err(error),
                    Ok(Outcome::Done(_) | Outcome::Pruned(_)) => Err(no_outcome()),
                });
            }
            (
                Job::Attempted(_, reply)
                | Job::Sending(_, reply)
                | Job::Decide(_, reply)
                | Job::Small(_, reply)
                | Job::Close(reply),
                outcome,
            ) => {
                let _ = reply.send(match outcome {
                    Ok(Outcome::Done(done)) => Ok(done),
                    Ok(Outcome::Refused(error)) | Err(error) => Err(error),
                    Ok(Outcome::Raw(_) | Outcome::Pruned(_)) => Ok(true),
                });
            }
            (Job::Prune(_, reply), outcome) => {
                let _ = reply.send(match outcome {
                    Ok(Outcome::Pruned(done)) => Ok(done),
                    Ok(Outcome::Refused(error)) | Err(error) => Err(error),
                    Ok(Outcome::Raw(_) | Outcome::Done(_)) => Err(no_outcome()),
                });
            }
            (Job::Accessed(_), _) => {}
        }
    }
}

fn no_outcome() -> StoreError {
    StoreError::Unavailable("the work had no outcome".into())
}

pub(crate) struct Writer {
    pub(crate) pen: Pen,
    pub(crate) inbox: mpsc::Receiver<Job>,
    /// Keeps every other process out; let go when the writer ends.
    pub(crate) lock: std::fs::File,
}

/// What is written with: one hand at a time has it.
#[derive(Clone)]
pub(crate) struct Pen(Arc<Mutex<Hand>>);

/// The open store, and what waits to be written with the next transaction.
struct Hand {
    shared: Arc<Shared>,
    path: PathBuf,
    cache_kib: i64,
    /// 0: no limit.
    max_pages: u32,
    /// None: it failed, or is closed.
    store: Option<Open>,
    /// What is in no hurry, and waits for a message to be flushed with.
    company: Vec<Job>,
    /// Reads that could not be written when they came: the disk was full, or the store failed.
    unwritten: Vec<ReadyAccess>,
}

impl Pen {
    /// For a store that is open.
    pub(crate) fn new(
        shared: Arc<Shared>,
        path: PathBuf,
        cache_kib: i64,
        max_pages: u32,
        open: Open,
    ) -> Self {
        Pen(Arc::new(Mutex::new(Hand {
            shared,
            path,
            cache_kib,
            max_pages,
            store: Some(open),
            company: vec![],
            unwritten: vec![],
        })))
    }

    fn take(&self) -> MutexGuard<'_, Hand> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one unit of work on this thread, with what waits for company. Where somebody else writes, or the store has to
    /// be opened again first, it comes back.
    pub(crate) fn write_alone(&self, ready: Box<Ready>) -> Result<Result<Raw, StoreError>, Box<Ready>> {
        let Ok(mut hand) = self.0.try_lock() else {
            return Err(ready);
        };
        if !hand.is_sound() {
            return Err(ready);
        }
        let (reply, mut answer) = oneshot::channel();
        let mut jobs = std::mem::take(&mut hand.company);
        jobs.push(Job::Commit(ready, reply));
        hand.write(jobs);
        Ok(answer
            .try_recv()
            .unwrap_or_else(|_| Err(StoreError::Unavailable("it is closed".into()))))
    }
}

/// The open store of a writer.
pub(crate) struct Open {
    pub(crate) connection: Connection,
    pub(crate) memory: Memory,
    pub(crate) checkpointer: Checkpointer,
    place: Place,
}

impl Open {
    /// Opens the file, and sees to it that all that can be read in it is on disk: the log that a crash left, or a
    /// flush that failed, is checkpointed and flushed before anything else.
    pub(crate) fn new(
        shared: &Shared,
        path: &Path,
        cache_kib: i64,
        max_pages: u32,
    ) -> rusqlite::Result<Self> {
        let connection = open_for_writing(path, cache_kib)?;
        if max_pages > 0 {
            connection.pragma_update(None, "max_page_count", max_pages)?;
        }
        write_log_again(path)?;
        checkpoint_whole(&connection)?;
        let memory = Memory::load(&connection, &shared.sealer, path)?;
        shared.publish_names(&memory.names);
        shared.publish_head(memory.journal);
        let checkpointer = Checkpointer::start(path)?;
        Ok(Open {
            connection,
            memory,
            checkpointer,
            place: Place::of(path),
        })
    }
}

/// A connection with our settings.
pub(crate) fn open_for_writing(path: &Path, cache_kib: i64) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match sabotage::is_on(Switch::NoFlush) {
        true => "OFF",
        false => "FULL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(96);
    super::same_for_all(&connection)?;
    Ok(connection)
}

/// Writes the log once more as it is, and flushes it.
///
/// A flush that failed is forgotten by the system: what it should have written can still be read, and is never written.
/// SQLite reads it back and believes that it is on disk. Were the file brought up to date from it, and the power cut
/// before the log is cut off on disk as well, a log without its end would lie beside a newer file, and what is read from
/// it would not fit the rest.
fn write_log_again(path: &Path) -> rusqlite::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    let again = || -> std::io::Result<()> {
        let mut log = match std::fs::OpenOptions::new().read(true).write(true).open(&name) {
            Ok(log) => log,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut piece = vec![0; 1 << 20];
        let mut at = 0;
        loop {
            log.seek(SeekFrom::Start(at))?;
            let length = log.read(&mut piece)?;
            if length == 0 {
                return log.sync_all();
            }
            log.seek(SeekFrom::Start(at))?;
            log.write_all(&piece[..length])?;
            at += length as u64;
        }
    };
    again().map_err(|error| {
        let code = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => rusqlite::ffi::SQLITE_FULL,
            _ => rusqlite::ffi::SQLITE_IOERR,
        };
        rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(code),
            Some(format!("the log can't be flushed: {error}")),
        )
    })
}

/// Checkpoints the whole log into the file, flushed, and cuts it off.
fn checkpoint_whole(connection: &Connection) -> rusqlite::Result<()> {
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy == 0 {
        Ok(())
    } else {
        Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            Some("the log is in use".into()),
        ))
    }
}

/// What a failure means for the handle that it happened on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// No room: nothing was written, the handle is sound.
    Full,
    /// One statement was refused: the others are not to blame.
    Statement,
    /// The disk failed: the handle is not used again.
    Broken,
}

fn failure(error: &rusqlite::Error) -> Failure {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Failure::Full,
        Some(
            ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::TooBig
            | ErrorCode::ParameterOutOfRange,
        )
        | None => Failure::Statement,
        Some(ErrorCode::Unknown) => Failure::Statement,
        Some(_) => Failure::Broken,
    }
}

impl Writer {
    /// Runs until the inbox is closed.
    pub(crate) fn run(mut self) {
        let mut jobs = Vec::with_capacity(BATCH);
        let mut closing = None;
        while closing.is_none() {
            if self.inbox.is_empty() {
                self.pen.take().restart_past(RESTART_IDLE);
                // Whoever comes meanwhile is written first.
                while self.inbox.is_empty() && self.pen.take().sift() {}
            }
            let Some(first) = self.inbox.blocking_recv() else {
                break;
            };
            let mut next = Some(first);
            while let Some(job) = next {
                if let Job::Close(reply) = job {
                    closing = Some(reply);
                    break;
                }
                jobs.push(job);
                next = if jobs.len() < BATCH {
                    self.inbox.try_recv().ok()
                } else {
                    None
                };
            }
            if closing.is_none() {
                closing = self.wait_for_company(&mut jobs);
            }
            let mut hand = self.pen.take();
            if hand
                .store
                .as_ref()
                .is_some_and(|open| open.checkpointer.has_failed())
            {
                tracing::error!("A checkpoint of the store failed. The store is opened again.");
                hand.store = None;
            }
            if hand.store.is_none() {
                hand.reopen(&mut jobs);
            }
            if hand.store.is_some() {
                hand.write(std::mem::take(&mut jobs));
            }
        }
        self.end(closing);
    }

    /// Results of sends are in no hurry: nobody's answer waits for them, and a flush for each would cost as much as one
    /// for a message. They wait a moment for a message, and ride on its flush; so do reads, for which nobody waits at
    /// all. Who writes on its own thread meanwhile takes them along. Returns who asked to close meanwhile.
    fn wait_for_company(&mut self, jobs: &mut Vec<Job>) -> Option<Reply<bool>> {
        let begun = Instant::now();
        let (mut looked_at, mut patience) = (0, COMPANY_OF_READS);
        while jobs.len() < BATCH {
            for job in &jobs[looked_at..] {
                match job {
                    Job::Accessed(_) => {}
                    Job::Attempted(..) => patience = COMPANY,
                    Job::Commit(..)
                    | Job::Exclusive(..)
                    | Job::Sending(..)
                    | Job::Decide(..)
                    | Job::Small(..)
                    | Job::Prune(..)
                    | Job::Close(_) => {
                        return None;
                    }
                }
            }
            looked_at = jobs.len();
            if patience <= begun.elapsed() {
                break;
            }
            match self.inbox.try_recv() {
                Ok(Job::Close(reply)) => return Some(reply),
                Ok(job) => jobs.push(job),
                Err(mpsc::error::TryRecvError::Empty) => {
                    self.pen.take().company.append(jobs);
                    std::thread::sleep(Duration::from_micros(200));
                    jobs.append(&mut self.pen.take().company);
                    if jobs.is_empty() {
                        break;
                    }
                }
                Err(mpsc::error::TryRecvError::Disconnected) => break,
            }
        }
        None
    }

    fn end(mut self, closing: Option<Reply<bool>>) {
        self.inbox.close();
        let mut hand = self.pen.take();
        while let Ok(job) = self.inbox.try_recv() {
            hand.give_up(job, &StoreError::Unavailable("it is closed".into()));
        }
        if !hand.unwritten.is_empty() {
            tracing::error!(
                reads = hand.unwritten.len(),
                "Reads of patient data are missing in the journal: they could not be written."
            );
        }
        hand.shared.readers.renew();
        hand.shared.blobs.close();
        let closed = match hand.store.take() {
            None => Err(StoreError::Unavailable(
                "it failed and could not be opened again".into(),
            )),
            Some(Open {
                connection,
                checkpointer,
                ..
            }) => {
                drop(checkpointer);
                match checkpoint_whole(&connection) {
                    Ok(()) => Ok(()),
                    Err(error) => match error.sqlite_error_code() {
                        // Somebody reads on, or there is no room: the log stays, and the next start checkpoints it.
                        Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull) => Ok(()),
                        _ => Err(sql_error(error)),
                    },
                }
            }
        };
        drop(hand);
        drop(self.lock);
        if let Some(reply) = closing {
            let _ = reply.send(closed.map(|()| true));
        }
    }
}

impl Hand {
    /// It can be written with as it is.
    fn is_sound(&self) -> bool {
        self.store
            .as_ref()
            .is_some_and(|open| !open.checkpointer.has_failed())
    }

    /// Starts the log anew where it is longer than so many pages.
    fn restart_past(&self, pages: i64) {
        if let Some(open) = &self.store {
            open.checkpointer.restart_past(&open.connection, pages);
        }
    }

    /// Opens the store again after a failure. Who waits meanwhile is told so, where it does not work yet.
    fn reopen(&mut self, jobs: &mut Vec<Job>) {
        self.shared.readers.renew();
        self.shared.cache.clear();
        self.shared.planned.clear();
        match Open::new(&self.shared, &self.path, self.cache_kib, self.max_pages) {
            Ok(open) => {
                tracing::warn!("The store failed and is open again; all that it says is on disk.");
                self.store = Some(open);
            }
            Err(error) => {
                tracing::error!(%error, "The store failed and can't be opened again yet. Look at the disk.");
                let refusal = sql_error(error);
                for job in jobs.drain(..) {
                    self.give_up(job, &refusal);
                }
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Answers a job that can't be done. A read that can't be noted is kept: it has been shown already.
    fn give_up(&mut self, job: Job, refusal: &StoreError) {
        match job {
            Job::Accessed(ready) if self.unwritten.len() < UNWRITTEN => self.unwritten.push(ready),
            Job::Accessed(_) => {
                tracing::error!(
                    "A read of patient data is not noted in the journal: too many wait to be written."
                );
            }
            job => job.answer(Err(refusal.clone())),
        }
    }

    /// Writes a batch and answers it. A handle that failed is not used again.
    fn write(&mut self, jobs: Vec<Job>) {
        let Some(mut open) = self.store.take() else {
            return;
        };
        if !open.place.is_kept() {
            // What is written now would be nowhere.
            let refusal = StoreError::Unavailable("a file of it was taken away from its place".into());
            jobs.into_iter().for_each(|job| self.give_up(job, &refusal));
            self.store = Some(open);
            return;
        }
        if self.write_to(&mut open, jobs) {
            open.checkpointer.restart_past(&open.connection, RESTART_BUSY);
            self.store = Some(open);
            // A bucket for each transaction, so that it keeps up under any load.
            self.sift();
        }
    }

    /// Does a small part of what old messages are found by. False: there is nothing to do, or it did not work; it is tried
    /// again.
    fn sift(&mut self) -> bool {
        let Some(mut open) = self.store.take() else {
            return false;
        };
        let Memory { sieves, next_seq, .. } = &mut open.memory;
        match sieves.step(&open.connection, *next_seq) {
            Ok(more) => {
                self.store = Some(open);
                more
            }
            Err(error) => {
                if failure(&error) == Failure::Broken {
                    tracing::error!(%error, "The store could not write. It is opened again.");
                } else {
                    self.store = Some(open);
                }
                false
            }
        }
    }

    /// False: the handle is not to be used again.
    fn write_to(&mut self, open: &mut Open, mut jobs: Vec<Job>) -> bool {
        // The oldest first.
        let again: Vec<Job> = self.unwritten.drain(..).map(Job::Accessed).collect();
        drop(jobs.splice(0..0, again));
        if jobs.is_empty() {
            return true;
        }
        match self.transaction(open, &mut jobs) {
            Ok(outcomes) => {
                for (job, outcome) in jobs.into_iter().zip(outcomes) {
                    if let (Job::Commit(ready, _), Outcome::Raw(Raw::Moved)) = (&job, &outcome) {
                        ready.forget_reads(&self.shared.cache);
                    }
                    job.answer(Ok(outcome));
                }
                true
            }
            Err(error) => self.refuse(open, jobs, error),
        }
    }

    fn refuse(&mut self, open: &mut Open, jobs: Vec<Job>, error: rusqlite::Error) -> bool {
        let kind = failure(&error);
        if kind == Failure::Statement && jobs.len() > 1 {
            // One of them is to blame: each alone, so that only that one is refused.
            let mut jobs = jobs.into_iter();
            while let Some(job) = jobs.next() {
                if !self.write_to(open, vec![job]) {
                    let refusal = StoreError::Unavailable("it failed and is being opened again".into());
                    jobs.for_each(|job| self.give_up(job, &refusal));
                    return false;
                }
            }
            return true;
        }
        if kind == Failure::Statement && matches!(jobs.as_slice(), [Job::Accessed(_)]) {
            // Tried again it would be refused again.
            tracing::error!(%error, "A read of patient data can't be noted in the journal. Run punte verify.");
            return true;
        }
        let sound = kind != Failure::Broken;
        if !sound {
            tracing::error!(%error, "The store could not write. It is opened again; nothing of this was acknowledged.");
        }
        let refusal = sql_error(error);
        jobs.into_iter().for_each(|job| self.give_up(job, &refusal));
        sound
    }

    fn transaction(&self, open: &mut Open, jobs: &mut [Job]) -> rusqlite::Result<Vec<Outcome>> {
        let Open {
            connection,
            memory,
            checkpointer,
            place: _,
        } = open;
        let (next_seq, next_aggregate, journal) = (memory.next_seq, memory.next_aggregate, memory.journal);
        let mut batch = Batch::default();
        let written = self.perform(connection, memory, &mut batch, jobs);
        match written {
            Ok(outcomes) => {
                memory.take(&batch);
                batch.publish(&self.shared);
                self.shared.publish_head(memory.journal);
                if batch.new_names {
                    self.shared.publish_names(&memory.names);
                }
                checkpointer.wake();
                Ok(outcomes)
            }
            Err(error) => {
                if !connection.is_autocommit() {
                    // A handle that can't roll back is broken; what it is used for next will say so.
                    let _ = connection.execute_batch("ROLLBACK");
                }
                memory.next_seq = next_seq;
                memory.next_aggregate = next_aggregate;
                memory.journal = journal;
                if batch.new_names {
                    memory.names = (*self.shared.names()).clone();
                }
                Err(error)
            }
        }
    }

    fn perform(
        &self,
        connection: &Connection,
        memory: &mut Memory,
        batch: &mut Batch,
        jobs: &mut [Job],
    ) -> rusqlite::Result<Vec<Outcome>> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            outcomes.push(match job {
                // A big body that no row named may have been removed meanwhile: the next run writes it anew.
                Job::Commit(ready, _) if !self.has_blobs(ready) => Outcome::Raw(Raw::Moved),
                Job::Commit(ready, _) => Outcome::Raw(commit::commit(
                    connection,
                    memory,
                    batch,
                    ready,
                    &self.shared.sealer,
                )?),
                Job::Exclusive(work, _) => self.exclusively(connection, memory, batch, work)?,
                Job::Attempted(ready, _) => Outcome::Done(commit::attempted(connection, batch, ready)?),
                Job::Sending(delivery, _) => Outcome::Done(commit::move_delivery(
                    connection,
                    batch,
                    *delivery,
                    DeliveryState::Sending,
                    None,
                )?),
                Job::Decide(ready, _) => {
                    Outcome::Done(commit::decide(connection, batch, ready, &self.shared.sealer)?)
                }
                Job::Small(work, _) => Outcome::Done(work(connection)?),
                Job::Prune(doomed, _) => Outcome::Pruned(
                    doomed
                        .iter()
                        .map(|one| prune::take_out(&self.shared, connection, batch, one))
                        .collect::<rusqlite::Result<_>>()?,
                ),
                Job::Accessed(ready) => {
                    journal::append(connection, &self.shared.sealer, &mut memory.journal, ready)?;
                    Outcome::Done(true)
                }
                Job::Close(_) => Outcome::Done(true),
            });
        }
        batch.finish(connection, &mut memory.sieves)?;
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(outcomes)
    }

    fn has_blobs(&self, ready: &Ready) -> bool {
        ready
            .blobs
            .iter()
            .all(|(_, name)| self.shared.blobs.is_there(name))
    }

    /// Runs the work itself, inside the transaction: what it reads can't move. A panic in it refuses it alone.
    fn exclusively(
        &self,
        connection: &Connection,
        memory: &mut Memory,
        batch: &mut Batch,
        work: &mut Work,
    ) -> rusqlite::Result<Outcome> {
        let snapshot = clinic::SnapshotOf {
            shared: &self.shared,
            connection,
        };
        let made = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let commit = work(&snapshot).map_err(|error| StoreError::Unavailable(error.to_string()))?;
            Ready::new(&self.shared, commit)
        }))
        .unwrap_or_else(|_| {
            Err(StoreError::Unavailable(
                "the work on this message panicked".into(),
            ))
        });
        Ok(match made {
            Ok(ready) => Outcome::Raw(commit::commit(
                connection,
                memory,
                batch,
                &ready,
                &self.shared.sealer,
            )?),
            Err(error) => Outcome::Refused(error),
        })
    }
}
