//! Checkpoints, on a thread and a connection of their own, so that no commit waits for them. The writer only starts the
//! log anew, which needs it to pause for a moment: when the log has grown long, or when it has nothing else to do.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::writer::open_for_writing;

/// Pages of 4 KB.
const PAGES_PER_MB: i64 = 256;
/// The log is started anew past this many pages, whatever else there is to do.
pub(crate) const RESTART_BUSY: i64 = 64 * PAGES_PER_MB;
/// And past this many where there is nothing else to do.
pub(crate) const RESTART_IDLE: i64 = 8 * PAGES_PER_MB;
/// Between two checkpoints under load.
const EACH: Duration = Duration::from_millis(50);
/// How long the writer waits for those who still read the old log.
const READERS: Duration = Duration::from_millis(50);
/// And how long it leaves them alone after that: a backup reads for longer.
const LEFT_ALONE: Duration = Duration::from_secs(2);

#[derive(Default)]
struct State {
    /// Something was written since the last checkpoint.
    dirty: AtomicBool,
    stop: AtomicBool,
    /// The disk failed under a checkpoint: the store has to be opened again.
    failed: AtomicBool,
    /// Pages in the log, as the last checkpoint saw it.
    pages: AtomicI64,
    /// Held by whoever checkpoints, so that neither waits in SQLite's own way.
    gate: Mutex<()>,
}

pub(crate) struct Checkpointer {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
    /// Somebody reads the old log: it is not started anew before then.
    left_alone: Cell<Option<Instant>>,
}

impl Checkpointer {
    pub(crate) fn start(path: &Path) -> rusqlite::Result<Self> {
        let connection = open_for_writing(path, 1024)?;
        let state = Arc::new(State::default());
        let its = state.clone();
        let thread = std::thread::Builder::new()
            .name("punte-checkpoint".into())
            .spawn(move || run(&its, &connection))
            .map_err(|error| {
                rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
                    Some(format!("no thread: {error}")),
                )
            })?;
        Ok(Checkpointer {
            state,
            thread: Some(thread),
            left_alone: Cell::new(None),
        })
    }

    /// Something was written.
    pub(crate) fn wake(&self) {
        if !self.state.dirty.swap(true, Ordering::AcqRel)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state.failed.load(Ordering::Acquire)
    }

    /// Starts the log anew where it is longer than `pages`. Called by the writer between transactions.
    pub(crate) fn restart_past(&self, connection: &Connection, pages: i64) {
        if self.has_failed() || self.state.pages.load(Ordering::Acquire) <= pages {
            return;
        }
        if self.left_alone.get().is_some_and(|until| Instant::now() < until) {
            return;
        }
        let _gate = self.state.gate.lock();
        let restarted = connection
            .busy_timeout(READERS)
            .and_then(|()| restart(connection));
        let _ = connection.busy_timeout(Duration::from_secs(5));
        // Where somebody still reads the old log, the next checkpoint says again how long it is.
        self.state.pages.store(0, Ordering::Release);
        match restarted {
            Ok(true) => self.left_alone.set(None),
            Ok(false) => self.left_alone.set(Some(Instant::now() + LEFT_ALONE)),
            Err(error) => note(&self.state, &error),
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic there has been reported; nothing depends on what the thread held.
            let _ = thread.join();
        }
    }
}

/// Pages in the log.
fn checkpoint(connection: &Connection, how: &str) -> rusqlite::Result<i64> {
    connection.prepare_cached(how)?.query_row([], |row| row.get(1))
}

/// Starts the log anew. False: somebody still reads the old one.
fn restart(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("PRAGMA wal_checkpoint(RESTART)")?
        .query_row([], |row| row.get::<_, i64>(0))
        .map(|busy| busy == 0)
}

fn note(state: &State, error: &rusqlite::Error) {
    match error.sqlite_error_code() {
        // No room, or somebody reads: the log waits.
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {}
        _ => state.failed.store(true, Ordering::Release),
    }
}

fn run(state: &State, connection: &Connection) {
    // What failed is not tried again by the same handle: the writer opens the store again.
    while !state.stop.load(Ordering::Acquire) && !state.failed.load(Ordering::Acquire) {
        if !state.dirty.swap(false, Ordering::AcqRel) {
            std::thread::park();
            continue;
        }
        {
            let _gate = state.gate.lock();
            match checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)") {
                Ok(pages) => state.pages.store(pages, Ordering::Release),
                Err(error) => note(state, &error),
            }
        }
        // A wait that a commit can't cut short, so that checkpoints are shared by many commits.
        std::thread::sleep(EACH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one row, open for writing; the folder is there as long as it is kept.
    fn a_store() -> (tempfile::TempDir, std::path::PathBuf, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        drop(Connection::open(&path).unwrap());
        let writer = open_for_writing(&path, 1024).unwrap();
        writer
            .execute_batch("CREATE TABLE a (b); INSERT INTO a VALUES (1)")
            .unwrap();
        (folder, path, writer)
    }

    /// The writer opens the store again; until then nothing of it is flushed by a handle that has failed.
    #[test]
    fn after_a_failure_nothing_is_tried_again() {
        let (_folder, path, writer) = a_store();
        let checkpointer = Checkpointer::start(&path).unwrap();
        let failure = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
        note(
            &checkpointer.state,
            &rusqlite::Error::SqliteFailure(failure, None),
        );
        assert!(checkpointer.has_failed());
        checkpointer.wake();
        let until = Instant::now() + Duration::from_secs(10);
        while !checkpointer.thread.as_ref().unwrap().is_finished() {
            assert!(Instant::now() < until, "it goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
        let long = RESTART_BUSY + 1;
        checkpointer.state.pages.store(long, Ordering::Release);
        checkpointer.restart_past(&writer, RESTART_BUSY);
        assert_eq!(
            checkpointer.state.pages.load(Ordering::Acquire),
            long,
            "the log is started anew"
        );
    }

    #[test]
    fn who_reads_for_long_is_waited_for_once_and_then_left_alone() {
        let (_folder, path, writer) = a_store();
        let reader = Connection::open(&path).unwrap();
        reader
            .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")
            .unwrap();
        writer.execute_batch("INSERT INTO a VALUES (2)").unwrap();

        let checkpointer = Checkpointer::start(&path).unwrap();
        let long = || {
            checkpointer
                .state
                .pages
                .store(RESTART_BUSY + 1, Ordering::Release)
        };
        let is_tried = || {
            long();
            checkpointer.restart_past(&writer, RESTART_BUSY);
            checkpointer.state.pages.load(Ordering::Acquire) == 0
        };
        assert!(is_tried());
        assert!(!is_tried(), "the writer waits again for somebody who reads on");
        checkpointer.left_alone.set(Some(Instant::now()));
        assert!(is_tried(), "the log is never started anew");
        assert!(!is_tried());
        reader.execute_batch("COMMIT").unwrap();
        checkpointer.left_alone.set(Some(Instant::now()));
        assert!(is_tried());
        assert!(is_tried(), "nobody reads any more, and is left alone");
        assert!(!checkpointer.has_failed());
    }
}
