//! Bodies too big for a row, sealed: short ones lie in packs ([`pack`]), long ones in files, `blobs/ab/abcdef…`, named by the
//! keyed hash of their content. Both have one form ([`form`]).
//!
//! A blob is sealed while its bytes arrive, and is named once they all have. So a chunk that was changed, moved, exchanged with
//! another blob's or cut off is noticed where it is read, and a blob that lies in another one's place where it is opened. It is
//! flushed, with what leads to it, before the row that names it is written. A file lies in `blobs/new/` until it is whole; that
//! is emptied when the store is opened.
//! What a power cut leaves under a name, or in a slot, that no row has may be cut or empty: it is never taken for the blob.

mod direct;
mod draft;
mod form;
mod pack;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use uuid::Uuid;

use self::form::{CHUNK, TOLD, plain_length, sealed_length};
use self::pack::{Packs, Taken};
use super::StoreError;
use super::seal::Sealer;

pub(crate) use self::draft::Draft;
pub(crate) use self::form::{file_length, is_as_long};
pub(crate) use self::pack::Slot;
pub(crate) use self::reader::{BlobReader, sought};

/// The folder of what has no name yet.
const NURSERY: &str = "new";
/// The folder of packs.
const PACKS: &str = "packs";
/// How the names of files ended that earlier builds made before they were needed.
const SPARE: &str = "spare";
/// So many blobs are known to be flushed.
const FLUSHED: usize = 256;

/// Which blob, how long it is, and where it lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlobName {
    pub(crate) hash: [u8; 32],
    pub(crate) length: u64,
    /// None: in a file of its own. One that was sealed anew has left its slot for a file.
    pub(crate) slot: Option<Slot>,
}

impl std::fmt::Debug for BlobName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlobName({} bytes)", self.length)
    }
}

impl BlobName {
    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// As it stands in a row: hash and length, and the slot of one that has such.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.hash.to_vec();
        bytes.extend(self.length.to_le_bytes());
        if let Some(slot) = self.slot {
            bytes.extend(slot.pack.to_le_bytes());
            bytes.extend(slot.block.to_le_bytes());
        }
        bytes
    }

    /// From a row.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (hash, rest) = bytes.split_first_chunk::<32>()?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let slot = match rest.split_first_chunk::<8>() {
            Some((pack, block)) => Some(Slot {
                pack: u64::from_le_bytes(*pack),
                block: u32::from_le_bytes(block.try_into().ok()?),
            }),
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(BlobName {
            hash: *hash,
            length: u64::from_le_bytes(*length),
            slot,
        })
    }
}

/// A blob as it lies on the disk, whether a row names it or not.
pub(crate) struct Lying {
    pub(crate) hash: [u8; 32],
    /// Where in a pack; none: in a file.
    taken: Option<Taken>,
}

impl Lying {
    /// One order of all: a blob keeps its place in it when it leaves its slot for a file.
    pub(crate) fn order(&self) -> ([u8; 32], Option<Slot>) {
        (self.hash, self.taken.as_ref().map(|taken| taken.slot))
    }
}

/// The folder of blobs.
#[derive(Clone)]
pub(crate) struct Blobs {
    folder: PathBuf,
    /// The latest ones that are sure to be flushed.
    flushed: Arc<Mutex<VecDeque<BlobName>>>,
    packs: Packs,
}

fn failed(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Unavailable(format!("a blob can't be written: {error}")),
    }
}

fn unreadable(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::NotFound => damaged("is not there"),
        io::ErrorKind::UnexpectedEof => damaged("was cut off"),
        _ => damaged(&format!("can't be read: {error}")),
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("a big body {what}"))
}

/// Flushes the entries of a folder.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Elsewhere a folder can't be opened as a file, and its entries are flushed with the file.
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

impl Blobs {
    /// In this data folder.
    pub(crate) fn new(data: &Path) -> Self {
        Blobs {
            folder: data.join("blobs"),
            flushed: Arc::default(),
            packs: Packs::new(data.join("blobs").join(PACKS)),
        }
    }

    /// The folder and the file of a blob.
    pub(crate) fn place(&self, hash: &[u8; 32]) -> (PathBuf, PathBuf) {
        let name: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = self.folder.join(&name[..2]);
        let file = folder.join(name);
        (folder, file)
    }

    /// Where files lie until they have a name.
    fn nursery(&self) -> PathBuf {
        self.folder.join(NURSERY)
    }

    /// Puts in order what was being written when the program ended. Drafts are removed: nothing names them; what can't be
    /// removed goes with time. A spare file of an earlier build that was written to its end may be named by a row: it gets
    /// its name once more, where that was not flushed.
    pub(crate) fn tidy(&self, sealer: &Arc<Sealer>) -> Result<(), StoreError> {
        self.packs.tidy().map_err(failed)?;
        for file in std::fs::read_dir(self.nursery()).into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension().is_some_and(|ending| ending == SPARE)
                && let Some(name) = self.name_within(sealer, &path)
            {
                self.take_in_again(sealer, &path, name)?;
            }
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }

    /// Which blob a file without a name is, where it is a whole one.
    fn name_within(&self, sealer: &Arc<Sealer>, path: &Path) -> Option<BlobName> {
        let mut file = File::open(path).ok()?;
        let length = length_of(&mut file)?;
        let mut reader = BlobReader::new(sealer, file, 0, length).ok()?;
        let name = BlobName {
            hash: hash_of_all(sealer, &mut reader).ok()?,
            length,
            slot: None,
        };
        reader.is_sealed_as(name, None).ok().map(|()| name)
    }

    /// Names a whole file that may have lost its name. One of that name which is whole stays.
    fn take_in_again(&self, sealer: &Arc<Sealer>, path: &Path, name: BlobName) -> Result<(), StoreError> {
        if self.is_as_named(sealer, name).unwrap_or(false) {
            let (folder, _) = self.place(&name.hash);
            return sync_folder(&folder).map_err(failed);
        }
        let file = File::open(path).map_err(failed)?;
        let (_, named) = self.place(&name.hash);
        // What is broken there is in the way.
        let _ = std::fs::remove_file(named);
        self.take_in(&file, path, name)
    }

    /// Nobody writes blobs any more.
    pub(crate) fn close(&self) {
        self.packs.close();
    }

    /// Begins a blob whose bytes are still to come.
    pub(crate) fn begin(&self, sealer: &Arc<Sealer>) -> Result<Draft, StoreError> {
        let file = format!("{}.draft", Uuid::now_v7().simple());
        Draft::new(self, sealer, self.nursery().join(file))
    }

    /// Writes a blob, unless this process has just written it. It is flushed when this returns, with what leads to it.
    pub(crate) fn write(&self, sealer: &Arc<Sealer>, body: &[u8]) -> Result<BlobName, StoreError> {
        let mut hashing = sealer.hashing();
        hashing.update(body);
        let name = BlobName {
            hash: hashing.finish(),
            length: body.len() as u64,
            slot: None,
        };
        if let Some(known) = self.flushed(&name.hash)
            && self.is_there(&known)
        {
            return Ok(known);
        }
        let mut draft = self.begin(sealer)?;
        draft.write_unhashed(body)?;
        draft.name(name)
    }

    /// Gives a file that is whole its name, and flushes both. A file that has the name already is written over: it may be
    /// about to be removed, since no row has named it for long.
    fn take_in(&self, file: &File, path: &Path, name: BlobName) -> Result<(), StoreError> {
        let hash = &name.hash;
        let (folder, named) = self.place(hash);
        let is_new = !folder.is_dir();
        if is_new {
            std::fs::create_dir_all(&folder).map_err(failed)?;
        }
        // Named first, file and name need one wait for the disk between them.
        let is_linked = std::fs::hard_link(path, &named).is_ok();
        file.sync_data().map_err(failed)?;
        if !is_linked {
            // It is there, or this disk has no links. What a row may name is never written over by what is not flushed.
            std::fs::rename(path, &named).map_err(failed)?;
        }
        sync_folder(&folder).map_err(failed)?;
        if is_new {
            sync_folder(&self.folder).map_err(failed)?;
            if let Some(data) = self.folder.parent() {
                sync_folder(data).map_err(failed)?;
            }
        }
        if is_linked {
            // Should its first name come back, it goes when the store is opened.
            let _ = std::fs::remove_file(path);
        } else {
            // Who moves a name from one folder to another is sure of it once both are flushed.
            sync_folder(&self.nursery()).map_err(failed)?;
        }
        self.remember_flushed(name);
        Ok(())
    }

    fn remember_flushed(&self, name: BlobName) {
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        if flushed.len() == FLUSHED {
            flushed.pop_front();
        }
        flushed.push_back(name);
    }

    /// What this process has flushed lately of this hash.
    fn flushed(&self, hash: &[u8; 32]) -> Option<BlobName> {
        let flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        flushed.iter().rev().find(|name| name.hash == *hash).copied()
    }

    /// Whether any blob is there.
    pub(crate) fn has_any(&self) -> bool {
        self.all().is_ok_and(|found| !found.is_empty())
    }

    /// The slot that a blob is read from. A file goes before it: it was written when the blob was sealed anew, or put there
    /// since the slot was damaged. What is under that name is whole: no slot is taken while there is such a file.
    fn slot_of(&self, name: &BlobName) -> Option<Slot> {
        name.slot.filter(|_| !self.has_file(&name.hash))
    }

    fn has_file(&self, hash: &[u8; 32]) -> bool {
        self.place(hash).1.exists()
    }

    /// Whether a blob lies where its name says.
    pub(crate) fn is_there(&self, name: &BlobName) -> bool {
        match self.slot_of(name) {
            Some(slot) => self.packs.has(slot, &name.hash, name.length),
            None => std::fs::metadata(self.place(&name.hash).1)
                .is_ok_and(|file| is_as_long(file.len(), name.length)),
        }
    }

    /// Marks a blob that no row names any more as of now: its file, and its pack, where the row named one. Where that fails
    /// it may go sooner than in a day.
    pub(crate) fn mark(&self, hash: &[u8; 32], pack: Option<i64>) {
        let file = File::options()
            .write(true)
            .open(self.place(hash).1)
            .and_then(|file| file.set_modified(SystemTime::now()));
        let pack = pack.map_or(Ok(()), |pack| self.packs.mark(pack));
        for marked in [file, pack] {
            if let Err(error) = marked
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(%error, "A big body that is not needed any more could not be marked.");
            }
        }
    }

    /// All blobs.
    pub(crate) fn all(&self) -> Result<Vec<Lying>, StoreError> {
        self.lying(None)
    }

    /// The blobs whose files, or packs, were written or marked before then. Drafts that are as old are removed, since nobody
    /// writes them any more, and so are packs without any.
    pub(crate) fn older_than(&self, then: SystemTime) -> Result<Vec<Lying>, StoreError> {
        self.lying(Some(then))
    }

    fn lying(&self, then: Option<SystemTime>) -> Result<Vec<Lying>, StoreError> {
        let unreadable = |error: std::io::Error| {
            StoreError::Unavailable(format!("the folder of big bodies can't be read: {error}"))
        };
        let in_packs = self.packs.lying(then).map_err(unreadable)?;
        let mut found: Vec<Lying> = in_packs
            .into_iter()
            .map(|taken| Lying {
                hash: taken.hash,
                taken: Some(taken),
            })
            .collect();
        let folders = match std::fs::read_dir(&self.folder) {
            Ok(folders) => folders,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(unreadable(error)),
        };
        for folder in folders {
            let folder = folder.map_err(unreadable)?.path();
            if !folder.is_dir() {
                continue;
            }
            for file in std::fs::read_dir(folder).map_err(unreadable)? {
                let file = file.map_err(unreadable)?.path();
                if then.is_some_and(|then| !is_older(&file, then)) {
                    continue;
                }
                if let Some(hash) = file.file_name().and_then(|name| hash_of(name.to_str()?)) {
                    found.push(Lying { hash, taken: None });
                } else if then.is_some() && file.extension().is_some_and(|ending| ending == "draft") {
                    // Tried again the next time.
                    let _ = std::fs::remove_file(file);
                }
            }
        }
        Ok(found)
    }

    /// Removes a blob that no row names, if it is still that old. For the writer alone.
    pub(crate) fn remove(&self, lying: &Lying, then: SystemTime) {
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        flushed.retain(|one| one.hash != lying.hash);
        drop(flushed);
        let removed = match &lying.taken {
            Some(taken) => self.packs.free(taken),
            None => {
                let (_, file) = self.place(&lying.hash);
                match is_older(&file, then) {
                    true => std::fs::remove_file(file),
                    false => Ok(()),
                }
            }
        };
        if let Err(error) = removed {
            tracing::warn!(%error, "A big body that is not needed any more could not be removed.");
        }
    }

    /// Seals a blob anew where an older key sealed it: into a file, which takes its name once it is flushed; a slot is given
    /// back then. False: there was nothing to do, or the blob can't be opened, which is told elsewhere.
    pub(crate) fn reseal(&self, sealer: &Arc<Sealer>, lying: &Lying) -> Result<bool, StoreError> {
        let (file, length, slot) = match &lying.taken {
            Some(taken) => (
                self.packs.open(taken.slot.pack),
                Some(taken.length),
                Some(taken.slot),
            ),
            None => match File::open(self.place(&lying.hash).1) {
                Ok(mut file) => {
                    let length = length_of(&mut file);
                    (Ok(file), length, None)
                }
                Err(error) => (Err(error), None, None),
            },
        };
        let Ok(mut file) = file else {
            return Ok(false);
        };
        let begins = slot.map_or(0, Slot::begins);
        if let Some(length) = length {
            // The seal behind the chunks is made last, here as well.
            let mut nr = [0];
            let read = file
                .seek(SeekFrom::Start(begins + sealed_length(length) - 1))
                .and_then(|_| file.read_exact(&mut nr));
            if read.is_ok() && nr[0] == sealer.key_numbers().0 {
                return Ok(false);
            }
        }
        let resealed = length.ok_or_else(|| damaged("was cut off")).and_then(|length| {
            let name = BlobName {
                hash: lying.hash,
                length,
                slot: None,
            };
            let mut reader = BlobReader::new(sealer, file, begins, length)?;
            reader.is_sealed_as(name, slot)?;
            let mut draft = self.begin(sealer)?;
            each_piece(&mut reader, |piece| draft.write_unhashed(piece))?;
            draft.name_file(name)?;
            if let Some(taken) = &lying.taken {
                self.packs.free(taken).map_err(failed)?;
            }
            Ok(())
        });
        match resealed {
            Ok(()) => Ok(true),
            Err(StoreError::Damaged(_)) => {
                tracing::error!("A big body can't be opened, and is not sealed anew. Run punte verify.");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a blob to be read, from any place.
    pub(crate) fn open(&self, sealer: &Arc<Sealer>, name: BlobName) -> Result<BlobReader, StoreError> {
        let Some(slot) = self.slot_of(&name) else {
            return self.open_file(sealer, name);
        };
        let opened = self.packs.open(slot.pack).map_err(unreadable).and_then(|pack| {
            let mut reader = BlobReader::new(sealer, pack, slot.begins(), name.length)?;
            reader.is_sealed_as(name, Some(slot)).map(|()| reader)
        });
        // It may have left its slot for a file just now.
        opened.or_else(|error| self.open_file(sealer, name).map_err(|_| error))
    }

    fn open_file(&self, sealer: &Arc<Sealer>, name: BlobName) -> Result<BlobReader, StoreError> {
        let (_, path) = self.place(&name.hash);
        let file = File::open(path).map_err(unreadable)?;
        let found = file.metadata().map(|found| found.len()).unwrap_or_default();
        if !is_as_long(found, name.length) {
            return Err(damaged("was cut off"));
        }
        let mut reader = BlobReader::new(sealer, file, 0, name.length)?;
        reader.is_sealed_as(name, None)?;
        Ok(reader)
    }

    /// Where a blob lies, from the data folder on, and the file of it that a backup has.
    pub(crate) fn shown(&self, name: &BlobName) -> (String, String) {
        let (_, path) = self.place(&name.hash);
        let within = |path: &Path| {
            let inner = path.strip_prefix(&self.folder).unwrap_or(path);
            format!("blobs/{}", inner.display())
        };
        let file = within(&path);
        match self.slot_of(name) {
            Some(slot) => {
                let pack = within(&self.packs.full(slot.pack));
                (format!("{pack} from byte {}", slot.begins()), file)
            }
            None => (file.clone(), file),
        }
    }

    /// Which file has a blob, and the bytes that a file of its own has.
    pub(crate) fn as_file(&self, name: &BlobName) -> (PathBuf, io::Result<Box<dyn Read>>) {
        let Some(slot) = self.slot_of(name) else {
            let (_, path) = self.place(&name.hash);
            let read = File::open(&path).map(|file| Box::new(file) as Box<dyn Read>);
            return (path, read);
        };
        let read = self.packs.open(slot.pack).and_then(|mut pack| {
            if !self.packs.has(slot, &name.hash, name.length) {
                return Err(io::Error::other("it has something else there"));
            }
            pack.seek(SeekFrom::Start(slot.begins()))?;
            let sealed = pack.take(sealed_length(name.length));
            Ok(Box::new(sealed.chain(io::Cursor::new(form::file_tail(*name)))) as Box<dyn Read>)
        });
        (self.packs.full(slot.pack), read)
    }

    /// The first bytes of a blob, at most so many.
    pub(crate) fn beginning(
        &self,
        sealer: &Arc<Sealer>,
        name: BlobName,
        most: u64,
    ) -> Result<Bytes, StoreError> {
        let length = usize::try_from(name.length.min(most))
            .map_err(|_| damaged("is longer than this machine can hold"))?;
        let mut body = vec![0; length];
        let mut reader = self.open(sealer, name)?;
        reader.read_exact(&mut body).map_err(as_store_error)?;
        Ok(body.into())
    }

    /// Reads a blob whole.
    pub(crate) fn read(&self, sealer: &Arc<Sealer>, name: BlobName) -> Result<Bytes, StoreError> {
        self.beginning(sealer, name, u64::MAX)
    }

    /// Reads all of a blob and says whether its content is the one that it is named by. Holds one chunk at a time.
    pub(crate) fn is_as_named(&self, sealer: &Arc<Sealer>, name: BlobName) -> Result<bool, StoreError> {
        let mut reader = self.open(sealer, name)?;
        if hash_of_all(sealer, &mut reader)? == name.hash {
            return Ok(true);
        }
        // An earlier build may have named it.
        let mut of_old = sealer.hashing_of_old();
        reader.rewind().map_err(as_store_error)?;
        each_piece(&mut reader, |piece| {
            of_old.update(piece);
            Ok(())
        })?;
        Ok(of_old.finish() == name.hash)
    }
}

/// The hash of all that a blob has.
fn hash_of_all(sealer: &Sealer, reader: &mut BlobReader) -> Result<[u8; 32], StoreError> {
    let mut hashing = sealer.hashing();
    each_piece(reader, |piece| {
        hashing.update(piece);
        Ok(())
    })?;
    Ok(hashing.finish())
}

/// All that a blob has, a chunk at a time.
fn each_piece(
    reader: &mut BlobReader,
    mut take: impl FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut piece = vec![0; CHUNK];
    loop {
        match reader.read(&mut piece).map_err(as_store_error)? {
            0 => return Ok(()),
            count => take(&piece[..count])?,
        }
    }
}

/// What a reader of a blob failed of.
pub(crate) fn as_store_error(error: io::Error) -> StoreError {
    match error.downcast::<StoreError>() {
        Ok(error) => error,
        Err(error) => unreadable(error),
    }
}

fn is_older(file: &Path, then: SystemTime) -> bool {
    let modified = std::fs::metadata(file).and_then(|found| found.modified());
    modified.is_ok_and(|modified| modified < then)
}

/// The hash that a file is named by.
fn hash_of(name: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if name.len() != 64 || !name.is_ascii() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(name.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// How long the blob of a file is, as far as its length tells; none: there can be no file so long.
fn length_of(file: &mut File) -> Option<u64> {
    let found = file.metadata().ok()?.len();
    let mut told = [0; TOLD];
    file.seek(SeekFrom::End(-(TOLD as i64))).ok()?;
    file.read_exact(&mut told).ok()?;
    file.rewind().ok()?;
    let told = u64::from_le_bytes(told);
    if told < found && file_length(told) == found {
        return Some(told);
    }
    plain_length(found)
}
