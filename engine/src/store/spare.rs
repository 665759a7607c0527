//! Files that lie ready before they are needed, and names that are flushed after they were given.
//!
//! To make a file, to give it room, to name it, and to flush the name takes the disk longer than the half megabyte that an
//! image has. So one thread makes spare files beside the work: with their room, and with a name in `blobs/new/` that is
//! flushed. Who writes a blob takes one, writes it, and gives it its second name, which is the blob's; once the bytes are
//! flushed the blob is safe, since after a power cut its first name leads to it (see `Blobs::clear_nursery`). The
//! thread flushes the second names, many at once, and only then takes the first ones away.
//!
//! The thread starts with the first long body and ends, with its spare files, when none has come for a while. There are no
//! spare files where the disk has little room, or where the system can't give a file its room before it is written.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::blob::sync_folder;
use super::direct::Spare;

/// Bytes of the first spare files: an image of 512 × 512 points, sealed. Later ones are as long as what was written last,
/// since images come in series; at most so long. What is longer makes its file longer.
const LENGTH: u64 = 576 * 1024;
const LONGEST: u64 = 1024 * 1024;
/// So many lie ready.
const KEPT: usize = 32;
/// So many are made at once.
const MADE: usize = KEPT / 2;
/// Names are flushed when there are so many.
const SETTLED: usize = 32;
/// With so many names that wait to be flushed, who comes flushes its own.
const MOST: usize = 512;
/// And after so long, when there are fewer.
const PATIENCE: Duration = Duration::from_millis(500);
/// Without a long body for so long, the spare files go.
const IDLE: Duration = Duration::from_secs(10);
/// After a failure none are made for so long.
const PAUSE: Duration = Duration::from_secs(10);
/// Where less is free, the room is left to those who need it.
const LEAST_FREE: u64 = 1 << 30;
/// How a spare file's name ends.
const ENDING: &str = "spare";

/// Whether a file of the nursery was made before it was needed.
pub(crate) fn is_one(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == ENDING)
}

/// The spare files of a store.
#[derive(Clone)]
pub(crate) struct Spares(Arc<Shelf>);

struct Shelf {
    folder: PathBuf,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    ready: Vec<(PathBuf, Spare)>,
    /// First names of what has its second one, and the folders of those.
    named: Vec<(PathBuf, PathBuf)>,
    thread: Option<JoinHandle<()>>,
    /// When one was wanted last.
    wanted: Option<Instant>,
    /// How long it should have been.
    length: Option<u64>,
    is_running: bool,
    is_closed: bool,
    /// None are made before then.
    pause: Option<Instant>,
    /// The system has none.
    is_useless: bool,
}

impl Spares {
    /// In this folder. None is made before one is wanted.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Spares(Arc::new(Shelf {
            folder,
            state: Mutex::default(),
            wake: Condvar::new(),
        }))
    }

    /// One, if there is one. The next time there will be.
    pub(crate) fn take(&self) -> Option<(PathBuf, Spare)> {
        let mut state = self.0.lock();
        if state.is_closed || state.is_useless {
            return None;
        }
        state.wanted = Some(Instant::now());
        if !state.is_running {
            let shelf = self.0.clone();
            let thread = std::thread::Builder::new()
                .name("punte-spares".into())
                .spawn(move || shelf.run());
            // Without the thread all goes on as without spare files.
            state.is_running = thread.is_ok();
            state.thread = thread.ok();
        }
        let taken = state.ready.pop();
        if state.ready.len() < KEPT - MADE {
            self.0.wake.notify_one();
        }
        taken
    }

    /// What is flushed, so long, and has its second name in this folder, which is not flushed yet: that is seen to. False:
    /// the caller has to.
    pub(crate) fn settle_later(&self, spare: &Path, length: u64, folder: &Path) -> bool {
        let mut state = self.0.lock();
        state.length = Some(length.min(LONGEST));
        if state.is_closed || !state.is_running || MOST <= state.named.len() {
            return false;
        }
        state.named.push((spare.to_owned(), folder.to_owned()));
        if SETTLED <= state.named.len() {
            self.0.wake.notify_one();
        }
        true
    }

    /// Flushes the names that wait for it, removes what is spare, and ends.
    pub(crate) fn close(&self) {
        let thread = {
            let mut state = self.0.lock();
            state.is_closed = true;
            self.0.wake.notify_one();
            state.thread.take()
        };
        if let Some(thread) = thread {
            // A panic there has been reported; what it left is seen to when the store is opened.
            let _ = thread.join();
        }
    }
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        let mut settled = Instant::now();
        loop {
            let is_idle = state.wanted.is_none_or(|wanted| IDLE < wanted.elapsed());
            if state.is_closed || (is_idle && state.named.is_empty()) {
                break;
            }
            if SETTLED <= state.named.len() || (!state.named.is_empty() && PATIENCE < settled.elapsed()) {
                let named = std::mem::take(&mut state.named);
                drop(state);
                settle(named);
                settled = Instant::now();
                state = self.lock();
            } else if state.may_make() && !is_idle {
                let length = state.length.unwrap_or(LENGTH);
                drop(state);
                let made = self.make(length);
                state = self.lock();
                state.take_in(made);
            } else {
                state = match self.wake.wait_timeout(state, PATIENCE) {
                    Ok((state, _)) => state,
                    Err(poisoned) => poisoned.into_inner().0,
                };
            }
        }
        state.is_running = false;
        let (ready, named) = (std::mem::take(&mut state.ready), std::mem::take(&mut state.named));
        drop(state);
        settle(named);
        remove(ready);
    }

    /// Makes some so long, flushed. An empty list: the system has none.
    fn make(&self, length: u64) -> io::Result<Vec<(PathBuf, Spare)>> {
        std::fs::create_dir_all(&self.folder)?;
        if free(&self.folder)? < LEAST_FREE {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut made = vec![];
        let flushed = (|| {
            while made.len() < MADE {
                let path = self.folder.join(format!("{}.{ENDING}", Uuid::now_v7().simple()));
                match Spare::create(&path, length)? {
                    Some(spare) => made.push((path, spare)),
                    None => return Ok(()),
                }
            }
            made.iter().try_for_each(|(_, spare)| spare.flush())?;
            // The folder may be new itself.
            self.folder.ancestors().take(3).try_for_each(sync_folder)
        })();
        match flushed {
            Ok(()) => Ok(made),
            Err(error) => {
                remove(made);
                Err(error)
            }
        }
    }
}

impl State {
    fn may_make(&self) -> bool {
        self.ready.len() < KEPT - MADE
            && !self.is_useless
            && self.pause.is_none_or(|until| until < Instant::now())
    }

    fn take_in(&mut self, made: io::Result<Vec<(PathBuf, Spare)>>) {
        match made {
            Ok(made) => {
                self.is_useless = made.is_empty();
                self.ready.extend(made);
            }
            Err(error) => {
                tracing::debug!(%error, "No spare files are made for now.");
                self.pause = Some(Instant::now() + PAUSE);
                // Their room may be what is missing elsewhere.
                remove(std::mem::take(&mut self.ready));
            }
        }
    }
}

/// Flushes the second names, and takes the first ones away. What can't be flushed keeps both.
fn settle(named: Vec<(PathBuf, PathBuf)>) {
    let folders: BTreeSet<&PathBuf> = named.iter().map(|(_, folder)| folder).collect();
    let failed: BTreeSet<PathBuf> = folders
        .into_iter()
        .filter(|folder| {
            sync_folder(folder)
                .inspect_err(|error| {
                    tracing::error!(%error, "The folder of big bodies can't be flushed. Look at the disk.");
                })
                .is_err()
        })
        .cloned()
        .collect();
    for (spare, folder) in named {
        if !failed.contains(&folder) {
            // Should it stay, it goes when the store is opened.
            let _ = std::fs::remove_file(spare);
        }
    }
}

fn remove(spares: Vec<(PathBuf, Spare)>) {
    for (path, _) in spares {
        // What stays goes when the store is opened.
        let _ = std::fs::remove_file(path);
    }
}

/// Bytes that are free where the folder lies.
#[cfg(unix)]
fn free(folder: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
fn free(_: &Path) -> io::Result<u64> {
    Ok(0)
}
