//! Bodies too big for a row: one sealed file each, `blobs/ab/abcdef…`, named by the keyed hash of its content.
//!
//! A file is sealed while its bytes arrive, and is named once they all have:
//!
//! ```text
//! id        16 random bytes
//! chunks    64 KB each, sealed and bound to the id, to their own place, and to whether they are the last
//! seal      the id, sealed and bound to the name: the hash and the length
//! room      zeros
//! length    of the content, 8 bytes; they end at a multiple of 4 KB, as disks are written
//! ```
//!
//! So a chunk that was changed, moved, exchanged with another file's or cut off is noticed where it is read, and a file
//! that bears another one's name where it is opened. A file gets its name only once it is whole; file and folder are flushed
//! before the row that names it is written. Until then it lies in `blobs/new/`, which is emptied when the store is opened.
//! Files of a usual length lie there before they are needed: see [`super::spare`].
//! What a power cut leaves under a name that no row has may be cut or empty: it is never taken for the blob.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use uuid::Uuid;

use super::StoreError;
use super::direct::{ALIGN, MOST, Once};
use super::seal::{Column, Hashing, SEAL, Sealer};
use super::spare::{self, Spares};

/// Bytes of a chunk before it is sealed.
const CHUNK: usize = 64 * 1024;
/// Bytes of the id that a file begins with.
const ID: usize = 16;
/// Bytes of the seal behind the chunks.
const END: usize = ID + SEAL;
/// A file ends at a multiple of so many bytes.
const BLOCK: usize = 4096;
/// Bytes of the length that it ends with.
const TOLD: usize = 8;
// What is added at once finds room, and a file is written past the cache to its end.
const _: () = assert!(CHUNK + SEAL <= MOST && END + BLOCK + TOLD <= MOST && BLOCK.is_multiple_of(ALIGN));
/// The folder of what has no name yet.
const NURSERY: &str = "new";
/// So many blobs are known to be flushed.
const FLUSHED: usize = 256;

/// Which blob, and how long it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlobName {
    pub(crate) hash: [u8; 32],
    pub(crate) length: u64,
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

    /// As it stands in a row.
    pub(crate) fn to_bytes(self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..32].copy_from_slice(&self.hash);
        bytes[32..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// From a row.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (hash, length) = bytes.split_first_chunk::<32>()?;
        Some(BlobName {
            hash: *hash,
            length: u64::from_le_bytes(length.try_into().ok()?),
        })
    }
}

/// The folder of blobs.
#[derive(Clone)]
pub(crate) struct Blobs {
    folder: PathBuf,
    /// The latest ones that are sure to be flushed.
    flushed: Arc<Mutex<VecDeque<[u8; 32]>>>,
    spares: Spares,
}

/// Where a chunk belongs.
fn chunk_aad(id: &[u8; ID], place: u64, last: bool) -> [u8; 26] {
    let mut aad = [0; 26];
    aad[0] = Column::BlobChunk as u8;
    aad[1..17].copy_from_slice(id);
    aad[17..25].copy_from_slice(&place.to_be_bytes());
    aad[25] = u8::from(last);
    aad
}

/// Where the seal of a file belongs.
fn end_aad(name: BlobName) -> [u8; 41] {
    let mut aad = [0; 41];
    aad[0] = Column::BlobEnd as u8;
    aad[1..33].copy_from_slice(&name.hash);
    aad[33..].copy_from_slice(&name.length.to_be_bytes());
    aad
}

fn failed(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Unavailable(format!("a blob can't be written: {error}")),
    }
}

fn unreadable(error: io::Error) -> StoreError {
    damaged(&format!("can't be read: {error}"))
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
            spares: Spares::new(data.join("blobs").join(NURSERY)),
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

    /// Removes what was being written when the program ended: nothing names it. What can't be removed goes with time. A
    /// spare file that was written to its end may be named by a row: it gets its name once more, where that was not
    /// flushed.
    pub(crate) fn clear_nursery(&self, sealer: &Arc<Sealer>) -> Result<(), StoreError> {
        for file in std::fs::read_dir(self.nursery()).into_iter().flatten().flatten() {
            let path = file.path();
            if spare::is_one(&path)
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
        let mut reader = BlobReader::new(sealer, file, length).ok()?;
        let mut hashing = sealer.hashing();
        each_piece(&mut reader, |piece| hashing.update(piece)).ok()?;
        let hash = hashing.finish();
        let name = BlobName { hash, length };
        reader.is_sealed_as(name).ok().map(|()| name)
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

    /// Nobody writes blobs any more: what is done beside the work is done, and its threads have ended.
    pub(crate) fn close(&self) {
        self.spares.close();
    }

    /// A file that is not written yet, for a new blob.
    fn new_file(&self) -> Result<(PathBuf, Once), StoreError> {
        if let Some((path, spare)) = self.spares.take() {
            return Ok((path, Once::over(spare)));
        }
        let folder = self.nursery();
        let path = folder.join(format!("{}.draft", Uuid::now_v7().simple()));
        let file = match Once::create(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(&folder).map_err(failed)?;
                Once::create(&path)
            }
            other => other,
        };
        file.map_err(failed).map(|file| (path, file))
    }

    /// Begins a blob whose bytes are still to come.
    pub(crate) fn begin(&self, sealer: &Arc<Sealer>) -> Result<Draft, StoreError> {
        let mut id = [0; ID];
        aws_lc_rs::rand::fill(&mut id)
            .map_err(|_| StoreError::Unavailable("the machine has no random numbers".into()))?;
        let (path, file) = self.new_file()?;
        let mut draft = Draft {
            blobs: self.clone(),
            hashing: sealer.hashing(),
            sealer: sealer.clone(),
            path,
            file,
            id,
            length: 0,
            place: 0,
            chunk: 0,
            is_named: false,
        };
        let file = draft.file.end_with_room(ID).map_err(failed)?;
        file.extend_from_slice(&id);
        draft.begin_chunk()?;
        Ok(draft)
    }

    /// Writes a blob, unless this process has just written it. It and its folder entry are flushed when this returns.
    pub(crate) fn write(&self, sealer: &Arc<Sealer>, body: &[u8]) -> Result<BlobName, StoreError> {
        let mut hashing = sealer.hashing();
        hashing.update(body);
        let name = BlobName {
            hash: hashing.finish(),
            length: body.len() as u64,
        };
        let (_, file) = self.place(&name.hash);
        if self.is_flushed(&name.hash)
            && std::fs::metadata(&file).is_ok_and(|found| is_as_long(found.len(), name.length))
        {
            return Ok(name);
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
        let length = file_length(name.length);
        if is_linked && !is_new && spare::is_one(path) && self.spares.settle_later(path, length, &folder) {
            // Its name may be lost with the power; the one that it has as a spare is on the disk.
            self.remember_flushed(hash);
            return Ok(());
        }
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
        self.remember_flushed(hash);
        Ok(())
    }

    fn remember_flushed(&self, hash: &[u8; 32]) {
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        if flushed.len() == FLUSHED {
            flushed.pop_front();
        }
        flushed.push_back(*hash);
    }

    /// Whether this process has flushed it lately.
    fn is_flushed(&self, hash: &[u8; 32]) -> bool {
        let flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        flushed.contains(hash)
    }

    /// Whether any blob is there.
    pub(crate) fn has_any(&self) -> bool {
        let far = SystemTime::now() + std::time::Duration::from_secs(365 * 24 * 3600);
        self.older_than(far).is_ok_and(|found| !found.is_empty())
    }

    /// Whether the file of a blob is there.
    pub(crate) fn is_there(&self, hash: &[u8; 32]) -> bool {
        self.place(hash).1.is_file()
    }

    /// Marks a blob that no row names any more as of now. Where that fails it may go sooner than in a day.
    pub(crate) fn mark(&self, hash: &[u8; 32]) {
        let marked = File::options()
            .write(true)
            .open(self.place(hash).1)
            .and_then(|file| file.set_modified(std::time::SystemTime::now()));
        if let Err(error) = marked
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "The file of a big body that is not needed any more could not be marked.");
        }
    }

    /// The blobs whose files were written or marked before then. Drafts that are as old are removed: nobody writes them
    /// any more.
    pub(crate) fn older_than(&self, then: SystemTime) -> Result<Vec<[u8; 32]>, StoreError> {
        let unreadable = |error: std::io::Error| {
            StoreError::Unavailable(format!("the folder of big bodies can't be read: {error}"))
        };
        let mut found = vec![];
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
                if !is_older(&file, then) {
                    continue;
                }
                if let Some(hash) = file.file_name().and_then(|name| hash_of(name.to_str()?)) {
                    found.push(hash);
                } else if file.extension().is_some_and(|ending| ending == "draft") {
                    // Tried again the next time.
                    let _ = std::fs::remove_file(file);
                }
            }
        }
        Ok(found)
    }

    /// Removes a blob that no row names, if it is still that old. For the writer alone.
    pub(crate) fn remove(&self, hash: &[u8; 32], then: SystemTime) {
        let (_, file) = self.place(hash);
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        flushed.retain(|one| one != hash);
        drop(flushed);
        if is_older(&file, then)
            && let Err(error) = std::fs::remove_file(file)
        {
            tracing::warn!(%error, "The file of a big body that is not needed any more could not be removed.");
        }
    }

    /// Seals a blob anew where an older key sealed it: into a file beside it, which takes its name once it is flushed. False:
    /// there was nothing to do, or the blob can't be opened, which is told elsewhere.
    pub(crate) fn reseal(&self, sealer: &Arc<Sealer>, hash: &[u8; 32]) -> Result<bool, StoreError> {
        let (_, path) = self.place(hash);
        let Ok(mut file) = File::open(&path) else {
            return Ok(false);
        };
        let length = length_of(&mut file);
        if let Some(length) = length {
            // The seal behind the chunks is made last, here as well.
            let mut nr = [0];
            let read = file
                .seek(SeekFrom::Start(sealed_length(length) - 1))
                .and_then(|_| file.read_exact(&mut nr));
            if read.is_ok() && nr[0] == sealer.key_numbers().0 {
                return Ok(false);
            }
        }
        let resealed = length.ok_or_else(|| damaged("was cut off")).and_then(|length| {
            let name = BlobName { hash: *hash, length };
            let mut reader = self.open(sealer, name)?;
            let mut draft = self.begin(sealer)?;
            let mut piece = vec![0; CHUNK];
            loop {
                match reader.read(&mut piece).map_err(as_store_error)? {
                    0 => break draft.name(name),
                    count => draft.write_unhashed(&piece[..count])?,
                }
            }
        });
        match resealed {
            Ok(_) => Ok(true),
            Err(StoreError::Damaged(_)) => {
                tracing::error!("A big body can't be opened, and is not sealed anew. Run punte verify.");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a blob to be read, from any place.
    pub(crate) fn open(&self, sealer: &Arc<Sealer>, name: BlobName) -> Result<BlobReader, StoreError> {
        let (_, path) = self.place(&name.hash);
        let file = File::open(path).map_err(|error| damaged(&format!("is not there: {error}")))?;
        let found = file.metadata().map(|found| found.len()).unwrap_or_default();
        if !is_as_long(found, name.length) {
            return Err(damaged("was cut off"));
        }
        let mut reader = BlobReader::new(sealer, file, name.length)?;
        reader.is_sealed_as(name)?;
        Ok(reader)
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
        let mut hashing = sealer.hashing();
        each_piece(&mut reader, |piece| hashing.update(piece))?;
        if hashing.finish() == name.hash {
            return Ok(true);
        }
        // An earlier build may have named it.
        let mut of_old = sealer.hashing_of_old();
        reader.rewind().map_err(as_store_error)?;
        each_piece(&mut reader, |piece| of_old.update(piece))?;
        Ok(of_old.finish() == name.hash)
    }
}

/// All that a blob has, a chunk at a time.
fn each_piece(reader: &mut BlobReader, mut take: impl FnMut(&[u8])) -> Result<(), StoreError> {
    let mut piece = vec![0; CHUNK];
    loop {
        match reader.read(&mut piece).map_err(as_store_error)? {
            0 => return Ok(()),
            count => take(&piece[..count]),
        }
    }
}

/// A blob on its way: sealed as its bytes come, without a name. Dropped, it is gone.
pub(crate) struct Draft {
    blobs: Blobs,
    sealer: Arc<Sealer>,
    hashing: Hashing,
    path: PathBuf,
    file: Once,
    id: [u8; ID],
    length: u64,
    /// The place of the chunk that is filled.
    place: u64,
    /// Where it begins in what is not written yet. It is sealed there, once what follows shows that it is not the last.
    chunk: usize,
    is_named: bool,
}

impl Draft {
    /// Takes more bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.hashing.update(bytes);
        self.write_unhashed(bytes)
    }

    fn write_unhashed(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        self.length += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.file.unwritten().len() - self.chunk == CHUNK {
                self.seal_chunk(false)?;
                self.begin_chunk()?;
            }
            let file = self.file.unwritten();
            let left = CHUNK - (file.len() - self.chunk);
            let (now, rest) = bytes.split_at(bytes.len().min(left));
            file.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    /// Finds room for a whole chunk, so that what is there of it stays in its place.
    fn begin_chunk(&mut self) -> Result<(), StoreError> {
        self.chunk = self.file.end_with_room(CHUNK + SEAL).map_err(failed)?.len();
        Ok(())
    }

    fn seal_chunk(&mut self, last: bool) -> Result<(), StoreError> {
        let aad = chunk_aad(&self.id, self.place, last);
        self.sealer.seal_end(&aad, self.file.unwritten(), self.chunk)?;
        self.place += 1;
        Ok(())
    }

    /// All has come. The blob and its folder entry are flushed when this returns.
    pub(crate) fn finish(self) -> Result<BlobName, StoreError> {
        let name = BlobName {
            hash: self.hashing.finish(),
            length: self.length,
        };
        self.name(name)
    }

    fn name(mut self, name: BlobName) -> Result<BlobName, StoreError> {
        self.seal_chunk(true)?;
        let (sealed, length) = (sealed_length(name.length), file_length(name.length));
        let file = self
            .file
            .end_with_room(END + (length - sealed) as usize)
            .map_err(failed)?;
        let from = file.len();
        file.extend_from_slice(&self.id);
        self.sealer.seal_end(&end_aad(name), file, from)?;
        file.resize(file.len() + room(name.length), 0);
        file.extend_from_slice(&name.length.to_le_bytes());
        self.file.end().map_err(failed)?;
        self.blobs.take_in(self.file.file(), &self.path, name)?;
        self.is_named = true;
        Ok(name)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_named {
            // Nothing names it; what can't be removed now goes when the store is opened again.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Reads a blob from any place, a chunk at a time.
pub(crate) struct BlobReader {
    sealer: Arc<Sealer>,
    file: File,
    id: [u8; ID],
    length: u64,
    /// The place that is read next.
    at: u64,
    chunk: Vec<u8>,
    /// Which chunk that is.
    held: Option<u64>,
}

impl BlobReader {
    /// Of a file as long as one of a blob so long is.
    fn new(sealer: &Arc<Sealer>, mut file: File, length: u64) -> Result<Self, StoreError> {
        let mut id = [0; ID];
        file.read_exact(&mut id).map_err(unreadable)?;
        Ok(BlobReader {
            sealer: sealer.clone(),
            file,
            id,
            length,
            at: 0,
            chunk: Vec::with_capacity(CHUNK + SEAL),
            held: None,
        })
    }

    /// The seal behind the chunks is that of the blob of this name, and what follows is as it was written.
    fn is_sealed_as(&mut self, name: BlobName) -> Result<(), StoreError> {
        let mut end = Vec::with_capacity(END + BLOCK + TOLD);
        self.file
            .seek(SeekFrom::Start(sealed_length(name.length) - END as u64))
            .and_then(|_| {
                (&mut self.file)
                    .take((END + BLOCK + TOLD) as u64)
                    .read_to_end(&mut end)
            })
            .map_err(unreadable)?;
        let rest = end.split_off(END.min(end.len()));
        let told = rest.strip_suffix(&name.length.to_le_bytes());
        // Files of earlier builds end with the seal.
        let is_room = told.is_some_and(|room| room.iter().all(|byte| *byte == 0));
        if !is_room && !rest.is_empty() {
            return Err(damaged("was changed"));
        }
        self.sealer
            .open_bytes(&end_aad(name), &mut end)
            .map_err(|_| damaged("was changed"))?;
        match end == self.id {
            true => Ok(()),
            false => Err(damaged("was changed")),
        }
    }

    fn hold(&mut self, place: u64) -> Result<(), StoreError> {
        if self.held == Some(place) {
            return Ok(());
        }
        self.held = None;
        let last = chunks(self.length) - 1;
        let length = match place == last {
            true => (self.length - place * CHUNK as u64) as usize,
            false => CHUNK,
        };
        self.chunk.clear();
        self.chunk.resize(length + SEAL, 0);
        self.file
            .seek(SeekFrom::Start(ID as u64 + place * (CHUNK + SEAL) as u64))
            .and_then(|_| self.file.read_exact(&mut self.chunk))
            .map_err(unreadable)?;
        self.sealer
            .open_bytes(&chunk_aad(&self.id, place, place == last), &mut self.chunk)
            .map_err(|_| damaged("was changed"))?;
        self.held = Some(place);
        Ok(())
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.length <= self.at || buffer.is_empty() {
            return Ok(0);
        }
        self.hold(self.at / CHUNK as u64).map_err(io::Error::other)?;
        let rest = &self.chunk[(self.at % CHUNK as u64) as usize..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for BlobReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(to) => Some(to),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = to.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
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

/// Chunks of a blob so long; an empty one has one.
fn chunks(length: u64) -> u64 {
    length.div_ceil(CHUNK as u64).max(1)
}

/// How far a blob reaches in its file: the end of the seal.
fn sealed_length(length: u64) -> u64 {
    (ID + END) as u64 + length + chunks(length) * SEAL as u64
}

/// How long the file of a blob is.
pub(crate) fn file_length(length: u64) -> u64 {
    (sealed_length(length) + TOLD as u64).next_multiple_of(BLOCK as u64)
}

/// Zeros between the seal and the length.
fn room(length: u64) -> usize {
    (file_length(length) - sealed_length(length)) as usize - TOLD
}

/// Whether the file of a blob has the length that it should. Those of earlier builds end with the seal.
pub(crate) fn is_as_long(file: u64, length: u64) -> bool {
    file == file_length(length) || file == sealed_length(length)
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

/// The same of a file that ends with the seal.
fn plain_length(sealed: u64) -> Option<u64> {
    let chunks = sealed.checked_sub((ID + END) as u64)?;
    let length = chunks.checked_sub(chunks.div_ceil((CHUNK + SEAL) as u64) * SEAL as u64)?;
    (sealed_length(length) == sealed).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        _folder: tempfile::TempDir,
        blobs: Blobs,
        sealer: Arc<Sealer>,
        body: Vec<u8>,
        name: BlobName,
        file: PathBuf,
    }

    fn blob(length: usize) -> Case {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(folder.path());
        let sealer = Arc::new(Sealer::new(&[1; 32], &[2; 32]).unwrap());
        let body: Vec<u8> = (0..length).map(|n| (n / 1000) as u8).collect();
        let name = blobs.write(&sealer, &body).unwrap();
        let file = blobs.place(&name.hash).1;
        Case {
            _folder: folder,
            blobs,
            sealer,
            body,
            name,
            file,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [
            0,
            1,
            BLOCK - 100,
            CHUNK - 1,
            CHUNK,
            CHUNK + 1,
            3 * CHUNK,
            20 * CHUNK + 4000,
        ] {
            let case = blob(length);
            let file = std::fs::metadata(&case.file).unwrap().len();
            assert_eq!(file, file_length(length as u64));
            assert!(file.is_multiple_of(BLOCK as u64));
            let mut file = File::open(&case.file).unwrap();
            assert_eq!(length_of(&mut file), Some(length as u64));
            assert_eq!(case.blobs.read(&case.sealer, case.name).unwrap(), case.body);
            assert_eq!(case.blobs.write(&case.sealer, &case.body).unwrap(), case.name);
            assert!(case.blobs.is_as_named(&case.sealer, case.name).unwrap());
        }
        assert_eq!(plain_length(60), None);
        assert_eq!(plain_length(sealed_length(CHUNK as u64) + 1), None);
    }

    #[test]
    fn files_of_earlier_builds_end_with_the_seal() {
        for length in [0, CHUNK, 2 * CHUNK + 5] {
            let case = blob(length);
            let now = std::fs::read(&case.file).unwrap();
            let then = &now[..sealed_length(length as u64) as usize];
            std::fs::write(&case.file, then).unwrap();
            assert_eq!(
                length_of(&mut File::open(&case.file).unwrap()),
                Some(length as u64)
            );
            assert_eq!(case.blobs.read(&case.sealer, case.name).unwrap(), case.body);
            assert!(case.blobs.is_as_named(&case.sealer, case.name).unwrap());
            case.sealer.take_key(2, &[7; 32]).unwrap();
            assert!(case.blobs.reseal(&case.sealer, &case.name.hash).unwrap());
            let anew = std::fs::metadata(&case.file).unwrap().len();
            assert_eq!(anew, file_length(length as u64));
            assert_eq!(case.blobs.read(&case.sealer, case.name).unwrap(), case.body);
        }
    }

    #[test]
    fn what_arrives_in_pieces_is_the_same_blob() {
        let case = blob(3 * CHUNK + 17);
        for size in [1000, CHUNK, 5 * CHUNK] {
            let mut draft = case.blobs.begin(&case.sealer).unwrap();
            for piece in case.body.chunks(size) {
                draft.write(piece).unwrap();
            }
            assert_eq!(draft.finish().unwrap(), case.name);
            assert_eq!(case.blobs.read(&case.sealer, case.name).unwrap(), case.body);
        }
        let mut left = case.blobs.begin(&case.sealer).unwrap();
        left.write(&case.body).unwrap();
        let path = left.path.clone();
        assert!(path.exists());
        drop(left);
        assert!(!path.exists(), "what is not finished is gone");
        case.blobs.close();
        std::mem::forget(case.blobs.begin(&case.sealer).unwrap());
        case.blobs.clear_nursery(&case.sealer).unwrap();
        assert_eq!(std::fs::read_dir(case.blobs.nursery()).unwrap().count(), 0);
    }

    #[test]
    fn it_is_read_from_any_place() {
        let case = blob(2 * CHUNK + 100);
        let mut reader = case.blobs.open(&case.sealer, case.name).unwrap();
        for at in [2 * CHUNK + 50, 10, CHUNK - 3, 0, 2 * CHUNK] {
            reader.seek(SeekFrom::Start(at as u64)).unwrap();
            let mut some = vec![0; 50];
            reader.read_exact(&mut some).unwrap();
            assert_eq!(some, case.body[at..at + 50]);
        }
        reader.seek(SeekFrom::End(-7)).unwrap();
        let mut rest = vec![];
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, case.body[case.body.len() - 7..]);
        assert!(reader.seek(SeekFrom::Current(-(1 << 40))).is_err());
        reader.seek(SeekFrom::Start(1 << 40)).unwrap();
        assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
        let beginning = case.blobs.beginning(&case.sealer, case.name, 10).unwrap();
        assert_eq!(beginning, case.body[..10]);
    }

    #[test]
    fn swapped_cut_and_changed_chunks_are_noticed() {
        let case = blob(3 * CHUNK);
        let (file, name) = (&case.file, case.name);
        let whole = std::fs::read(file).unwrap();
        let (id, rest) = whole.split_at(ID);
        let (first, rest) = rest.split_at(CHUNK + SEAL);
        let (second, rest) = rest.split_at(CHUNK + SEAL);
        let (third, end) = rest.split_at(CHUNK + SEAL);
        // The same content, another file.
        let other = blob(3 * CHUNK);
        assert_eq!(other.name, name);
        let theirs = std::fs::read(&other.file).unwrap();
        let (their_id, rest) = theirs.split_at(ID);
        let their_first = &rest[..CHUNK + SEAL];
        let their_end = &theirs[ID + 3 * (CHUNK + SEAL)..];
        for wrong in [
            [id, second, first, third, end].concat(),
            [id, first, second, end].concat(),
            [id, first, second, second, end].concat(),
            [id, first, third, end].concat(),
            [id, first, second, third, third, end].concat(),
            [id, their_first, second, third, end].concat(),
            [their_id, first, second, third, end].concat(),
            [their_id, first, second, third, their_end].concat(),
            [id, first, second, third, their_end].concat(),
            whole[..whole.len() - 1].to_vec(),
            vec![],
        ] {
            std::fs::write(file, wrong).unwrap();
            let read = case.blobs.read(&case.sealer, name);
            assert!(matches!(read, Err(StoreError::Damaged(_))));
        }
        for at in [
            0,
            ID,
            ID + CHUNK,
            whole.len() / 2,
            whole.len() - end.len(),
            whole.len() - end.len() + END - 1,
            whole.len() - end.len() + END,
            whole.len() - TOLD - 1,
            whole.len() - TOLD,
            whole.len() - 1,
        ] {
            let mut wrong = whole.clone();
            wrong[at] ^= 1;
            std::fs::write(file, wrong).unwrap();
            assert!(case.blobs.read(&case.sealer, name).is_err(), "{at}");
        }
        std::fs::write(file, &theirs).unwrap();
        assert!(case.blobs.read(&case.sealer, name).is_ok(), "it is the same blob");
        let another = blob(3 * CHUNK - 1);
        std::fs::copy(&another.file, file).unwrap();
        assert!(case.blobs.read(&case.sealer, name).is_err());
        let taken_for_it = BlobName {
            length: another.name.length,
            ..name
        };
        assert!(
            case.blobs.open(&case.sealer, taken_for_it).is_err(),
            "the name is sealed too"
        );
        let shorter = BlobName {
            length: 2 * CHUNK as u64,
            ..name
        };
        std::fs::write(file, [id, first, second, end].concat()).unwrap();
        assert!(case.blobs.read(&case.sealer, shorter).is_err());
        std::fs::write(file, &whole).unwrap();
        assert!(case.blobs.read(&case.sealer, name).is_ok());
    }

    fn a_spare_draft(blobs: &Blobs, sealer: &Arc<Sealer>) -> Draft {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let draft = blobs.begin(sealer).unwrap();
            if spare::is_one(&draft.path) {
                return draft;
            }
            assert!(std::time::Instant::now() < until, "there are no spare files");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    fn left_in(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn spare_files_are_written_named_and_gone_at_the_end() {
        let Case {
            blobs,
            sealer,
            _folder,
            ..
        } = blob(10);
        let mut written = vec![];
        for length in [0, 1, CHUNK, 500_000, 3_000_000].repeat(12) {
            let body: Vec<u8> = (0..length).map(|n| (n / 1000 + written.len()) as u8).collect();
            let mut draft = a_spare_draft(&blobs, &sealer);
            draft.write(&body).unwrap();
            let name = draft.finish().unwrap();
            assert_eq!(blobs.read(&sealer, name).unwrap(), body);
            written.push((name, body));
        }
        drop(a_spare_draft(&blobs, &sealer));
        blobs.close();
        assert_eq!(left_in(&blobs.nursery()), 0);
        for (name, body) in &written {
            assert_eq!(blobs.read(&sealer, *name).unwrap(), *body);
        }
        assert!(
            !spare::is_one(&blobs.begin(&sealer).unwrap().path),
            "it is closed"
        );
    }

    #[test]
    fn a_name_that_the_power_took_is_given_again() {
        let case = blob(3 * CHUNK + 9);
        // Nothing is made beside this.
        case.blobs.close();
        let read = || case.blobs.read(&case.sealer, case.name);
        let spare = case.blobs.nursery().join("1.spare");
        std::fs::rename(&case.file, &spare).unwrap();
        case.blobs.clear_nursery(&case.sealer).unwrap();
        assert_eq!(read().unwrap(), case.body);
        assert_eq!(left_in(&case.blobs.nursery()), 0);
        // The name came, and what it names did not.
        std::fs::copy(&case.file, &spare).unwrap();
        let whole = std::fs::read(&case.file).unwrap();
        std::fs::write(&case.file, &whole[..whole.len() / 2]).unwrap();
        case.blobs.clear_nursery(&case.sealer).unwrap();
        assert_eq!(read().unwrap(), case.body);
        // What is whole is not exchanged for what is not.
        for broken in [&whole[..whole.len() - 1], &[], &[0; 576 * 1024]] {
            std::fs::write(&spare, broken).unwrap();
            case.blobs.clear_nursery(&case.sealer).unwrap();
            assert_eq!(read().unwrap(), case.body);
            assert_eq!(left_in(&case.blobs.nursery()), 0);
        }
    }

    #[test]
    fn it_is_sealed_anew_under_the_key_of_today() {
        let case = blob(2 * CHUNK + 5);
        assert!(!case.blobs.reseal(&case.sealer, &case.name.hash).unwrap());
        case.sealer.take_key(2, &[7; 32]).unwrap();
        assert!(case.blobs.reseal(&case.sealer, &case.name.hash).unwrap());
        assert!(!case.blobs.reseal(&case.sealer, &case.name.hash).unwrap());
        case.sealer.forget_keys(&[1]);
        assert_eq!(case.blobs.read(&case.sealer, case.name).unwrap(), case.body);
    }
}
