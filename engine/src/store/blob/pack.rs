//! Packs: long files in which blobs lie one behind the other, each in a slot of its own.
//!
//! To make a file, to name it, and to flush the name takes the disk longer than the half megabyte that an image has. A pack
//! has its name and its room on the disk before anything is written to it. Who writes a blob takes the next slot, writes it,
//! and flushes the pack; whoever waits for that at the same moment shares the flush. A slot is written once. Its name stands
//! in the row that names the blob, and at its end, where packs are gone through: when the blob is not needed any more the slot
//! is given back to the file system, and the pack goes with its last one.
//!
//! A pack that is being filled is called `.filling`. It is cut to what it has when the store is closed, or, after a crash,
//! opened. There are no packs where the disk has little room, or where the system can't give a file its room before it is
//! written: blobs have files of their own there.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::direct::{self, UNIT};
use super::form::{BLOCK, MARKED, marked, slot_length};
use super::{is_older, sync_folder};
use crate::sabotage::{self, Switch};

/// Bytes of the first pack; each later one has twice as many, up to [`LONGEST`].
const FIRST: u64 = 16 << 20;
const LONGEST: u64 = 256 << 20;
/// Where less is free beside a pack, the room is left to those who need it.
const LEAST_FREE: u64 = 1 << 30;
/// After a failure there is no new pack for so long.
const PAUSE: Duration = Duration::from_secs(10);
/// How the name of a pack ends, and that of one which is being filled.
const FULL: &str = "pack";
const FILLING: &str = "filling";

/// Where in which pack a blob lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    /// A random number.
    pub(super) pack: u64,
    /// It begins behind so many times 4 KB.
    pub(super) block: u32,
}

impl Slot {
    /// The number of the pack as it stands in a row.
    pub(crate) fn pack_in_row(self) -> i64 {
        self.pack.cast_signed()
    }

    /// Where it begins.
    pub(super) fn begins(self) -> u64 {
        u64::from(self.block) * BLOCK as u64
    }
}

/// A slot that has a blob, as its end says.
pub(super) struct Taken {
    pub(super) slot: Slot,
    pub(super) hash: [u8; 32],
    pub(super) length: u64,
}

/// The packs of a store.
#[derive(Clone)]
pub(super) struct Packs(Arc<Shelf>);

struct Shelf {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    filling: Option<Arc<Pack>>,
    /// So many bytes of it are taken.
    used: u64,
    /// So many packs were made.
    made: u32,
    is_closed: bool,
    /// There is none before then.
    pause: Option<Instant>,
    /// The system has none.
    is_useless: bool,
}

impl Packs {
    /// In this folder. None is made before one is wanted.
    pub(super) fn new(folder: PathBuf) -> Self {
        Packs(Arc::new(Shelf {
            folder,
            state: Mutex::default(),
        }))
    }

    /// Writes a whole slot, which begins and ends at multiples of 4 KB in memory too, and flushes it. Nothing: it needs a
    /// file of its own.
    pub(super) fn put(&self, whole: &[u8]) -> Option<Slot> {
        let (pack, at) = self.room(whole.len() as u64)?;
        match pack.write(whole, at).and_then(|()| pack.flush()) {
            Ok(()) => Some(Slot {
                pack: pack.number,
                block: u32::try_from(at / BLOCK as u64).ok()?,
            }),
            Err(error) => {
                tracing::warn!(%error, "A pack of big bodies can't be written. What comes gets files of its own for now.");
                let mut state = self.lock();
                if state
                    .filling
                    .as_ref()
                    .is_some_and(|one| one.number == pack.number)
                {
                    state.filling = None;
                }
                state.pause = Some(Instant::now() + PAUSE);
                None
            }
        }
    }

    /// The next slot so long.
    fn room(&self, length: u64) -> Option<(Arc<Pack>, u64)> {
        let mut state = self.lock();
        let may_be =
            !state.is_closed && !state.is_useless && state.pause.is_none_or(|until| until < Instant::now());
        if !may_be {
            return None;
        }
        let used = state.used;
        let has_room = |pack: &&Arc<Pack>| used + length <= pack.length;
        if state.filling.as_ref().is_none_or(|pack| !has_room(&pack)) {
            self.end(&mut state);
            let long = FIRST
                .checked_shl(state.made)
                .map_or(LONGEST, |long| long.min(LONGEST));
            match Pack::create(&self.0.folder, long) {
                Ok(Some(pack)) => {
                    state.filling = Some(Arc::new(pack));
                    state.used = 0;
                    state.made = (state.made + 1).min(16);
                }
                Ok(None) => {
                    state.is_useless = true;
                    return None;
                }
                Err(error) => {
                    tracing::debug!(%error, "No pack of big bodies is made for now.");
                    state.pause = Some(Instant::now() + PAUSE);
                    return None;
                }
            }
        }
        let pack = state.filling.clone()?;
        let at = state.used;
        state.used += length;
        Some((pack, at))
    }

    /// Nothing more is put into the pack that is being filled: it is cut to what it has.
    fn end(&self, state: &mut State) {
        let Some(pack) = state.filling.take() else { return };
        let ended = pack
            .file
            .set_len(state.used)
            .and_then(|()| pack.file.sync_data())
            .and_then(|()| self.name_full(pack.number));
        if let Err(error) = ended {
            // Seen to when the store is opened.
            tracing::debug!(%error, "A pack of big bodies keeps room that it does not need.");
        }
    }

    fn name_full(&self, number: u64) -> io::Result<()> {
        std::fs::rename(self.path(number, FILLING), self.path(number, FULL))
    }

    /// Nobody writes any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        self.end(&mut state);
    }

    /// Cuts the packs that were being filled when the program ended to what they have. Nobody else has the store open.
    pub(super) fn tidy(&self) -> io::Result<()> {
        for (number, path) in self.all()? {
            if path.extension().is_none_or(|ending| ending != FILLING) {
                continue;
            }
            let file = File::options().read(true).write(true).open(&path)?;
            match Walk::of(number, &file)?.next().transpose()? {
                Some(last) => {
                    file.set_len(last.slot.begins() + slot_length(last.length))?;
                    file.sync_data()?;
                    self.name_full(number)?;
                }
                None => std::fs::remove_file(&path)?,
            }
        }
        Ok(())
    }

    /// Opens a pack to be read.
    pub(super) fn open(&self, number: u64) -> io::Result<File> {
        self.open_as(number, File::options().read(true))
    }

    fn open_as(&self, number: u64, how: &std::fs::OpenOptions) -> io::Result<File> {
        // It may get its other name between the two.
        let mut tried = Err(io::ErrorKind::NotFound.into());
        for ending in [FULL, FILLING, FULL] {
            tried = how.open(self.path(number, ending));
            match &tried {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(_) | Err(_) => return tried,
            }
        }
        tried
    }

    /// Whether a blob of this hash and length lies there.
    pub(super) fn has(&self, slot: Slot, hash: &[u8; 32], length: u64) -> bool {
        self.open(slot.pack)
            .and_then(|pack| end_of(&pack, slot.begins() + slot_length(length)))
            .is_ok_and(|end| marked(&end) == Some((*hash, length)))
    }

    /// The slots of all packs; or of those that nothing was put into, or taken out of, since then: of these, packs without any are
    /// removed.
    pub(super) fn lying(&self, then: Option<SystemTime>) -> io::Result<Vec<Taken>> {
        let mut found = vec![];
        for (number, path) in self.all()? {
            if then.is_some_and(|then| !is_older(&path, then)) {
                continue;
            }
            let pack = match File::open(&path) {
                // It has got its other name, and will have it the next time.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            let before = found.len();
            for taken in Walk::of(number, &pack)? {
                found.push(taken?);
            }
            let is_empty = found.len() == before && path.extension().is_some_and(|ending| ending == FULL);
            if is_empty && then.is_some() {
                // Tried again the next time.
                let _ = std::fs::remove_file(path);
            }
        }
        Ok(found)
    }

    /// As if something had just been put into it.
    pub(super) fn mark(&self, pack_in_row: i64) -> io::Result<()> {
        self.open_as(pack_in_row.cast_unsigned(), File::options().write(true))?
            .set_modified(SystemTime::now())
    }

    /// Gives a slot back to the file system, if that blob still lies there.
    pub(super) fn free(&self, taken: &Taken) -> io::Result<()> {
        let pack = self.open_as(taken.slot.pack, File::options().read(true).write(true))?;
        let (begins, length) = (taken.slot.begins(), slot_length(taken.length));
        match marked(&end_of(&pack, begins + length)?) {
            Some(found) if found == (taken.hash, taken.length) => direct::punch(&pack, begins, length),
            Some(_) | None => Ok(()),
        }
    }

    /// All packs, with their numbers.
    fn all(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let entries = match std::fs::read_dir(&self.0.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            other => other?,
        };
        let mut all = vec![];
        for entry in entries {
            let path = entry?.path();
            let is_one = path
                .extension()
                .is_some_and(|ending| ending == FULL || ending == FILLING);
            let number = path
                .file_stem()
                .and_then(|stem| u64::from_str_radix(stem.to_str()?, 16).ok());
            all.extend(number.filter(|_| is_one).map(|number| (number, path)));
        }
        Ok(all)
    }

    fn path(&self, number: u64, ending: &str) -> PathBuf {
        path_of(&self.0.folder, number, ending)
    }

    /// The file of a pack, as it is named once it is full.
    pub(super) fn full(&self, number: u64) -> PathBuf {
        self.path(number, FULL)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file of a pack.
fn path_of(folder: &Path, number: u64, ending: &str) -> PathBuf {
    folder.join(format!("{number:016x}.{ending}"))
}

/// A pack that is being filled.
struct Pack {
    number: u64,
    file: File,
    length: u64,
    turns: Mutex<Turns>,
    flushed: Condvar,
}

/// Who waits for a flush.
#[derive(Default)]
struct Turns {
    /// So many slots were written.
    written: u64,
    /// So many of them are flushed.
    flushed: u64,
    is_flushing: bool,
    /// What was written and not flushed may be lost for good, whatever a later flush says.
    has_failed: bool,
}

impl Pack {
    /// Makes one, whose room and whose name are flushed. Nothing where the system can't give a file its room before it is
    /// written.
    fn create(folder: &Path, length: u64) -> io::Result<Option<Self>> {
        std::fs::create_dir_all(folder)?;
        if direct::free(folder)? < LEAST_FREE + length {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut number = [0; 8];
        aws_lc_rs::rand::fill(&mut number)
            .map_err(|_| io::Error::other("the machine has no random numbers"))?;
        let number = u64::from_le_bytes(number);
        let path = path_of(folder, number, FILLING);
        let (file, _) = direct::create(&path)?;
        let made = (|| {
            if !direct::reserve(&file, length)? {
                return Ok(false);
            }
            file.sync_all()?;
            // The folder may be new itself.
            folder.ancestors().take(3).try_for_each(sync_folder)?;
            Ok(true)
        })();
        match made {
            Ok(true) => Ok(Some(Pack {
                number,
                file,
                length,
                turns: Mutex::default(),
                flushed: Condvar::new(),
            })),
            other => {
                let _ = std::fs::remove_file(&path);
                other.map(|_| None)
            }
        }
    }

    fn write(&self, whole: &[u8], at: u64) -> io::Result<()> {
        match direct::write_at(&self.file, whole, at) {
            // This file system wants other multiples, or takes nothing past the cache.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                direct::through_the_cache(&self.file)?;
                direct::write_at(&self.file, whole, at)
            }
            other => other,
        }
    }

    /// Flushes what the caller has written. One does it for all who have written when it begins.
    fn flush(&self) -> io::Result<()> {
        let mut turns = self.lock();
        turns.written += 1;
        let mine = turns.written;
        loop {
            if mine <= turns.flushed {
                return Ok(());
            }
            if turns.has_failed {
                return Err(io::Error::other("it could not be flushed"));
            }
            if turns.is_flushing {
                turns = self.flushed.wait(turns).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            turns.is_flushing = true;
            let written = turns.written;
            drop(turns);
            let done = match sabotage::is_on(Switch::NoPackFlush) {
                true => Ok(()),
                false => self.file.sync_data(),
            };
            turns = self.lock();
            turns.is_flushing = false;
            match &done {
                Ok(()) => turns.flushed = written,
                Err(_) => turns.has_failed = true,
            }
            self.flushed.notify_all();
            done?;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Goes through the slots of a pack, the last one first. What was torn, or given back, is passed over block by block.
struct Walk<'a> {
    number: u64,
    file: &'a File,
    /// What is looked at next ends here.
    end: u64,
}

impl<'a> Walk<'a> {
    fn of(number: u64, file: &'a File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Walk {
            number,
            file,
            end: length - length % BLOCK as u64,
        })
    }
}

impl Iterator for Walk<'_> {
    type Item = io::Result<Taken>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.end != 0 {
            let end = self.end;
            self.end -= BLOCK as u64;
            let found = match end_of(self.file, end) {
                Ok(found) => found,
                Err(error) => return Some(Err(error)),
            };
            let Some((hash, length)) = marked(&found).filter(|(_, length)| *length <= UNIT as u64) else {
                continue;
            };
            let Some(begins) = end.checked_sub(slot_length(length)) else {
                continue;
            };
            let Ok(block) = u32::try_from(begins / BLOCK as u64) else {
                continue;
            };
            self.end = begins;
            let slot = Slot {
                pack: self.number,
                block,
            };
            return Some(Ok(Taken { slot, hash, length }));
        }
        None
    }
}

/// The end of the slot that ends here.
fn end_of(pack: &File, ends: u64) -> io::Result<[u8; MARKED]> {
    let mut end = [0; MARKED];
    direct::read_at(pack, &mut end, ends - MARKED as u64)?;
    Ok(end)
}
