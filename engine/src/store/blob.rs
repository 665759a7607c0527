//! Bodies too big for a row: one sealed file each, `blobs/ab/abcdef…`, named by the keyed hash of its content.
//!
//! A file is a line of chunks of 64 KB, each sealed and bound to the blob's name, its own place, and whether it is the
//! last: a chunk that was changed, moved, swapped with another blob's or cut off is noticed. A file gets its name only
//! once it is whole and flushed; the folder is flushed before the row that names it is written.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use uuid::Uuid;

use super::StoreError;
use super::seal::{Column, Domain, SEAL, Sealer};

/// Bytes of a chunk before it is sealed.
const CHUNK: usize = 64 * 1024;

/// Which blob, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlobName {
    pub(crate) hash: [u8; 32],
    pub(crate) length: u64,
}

impl BlobName {
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
pub(crate) struct Blobs {
    folder: PathBuf,
}

fn aad(hash: &[u8; 32], place: u64, last: bool) -> [u8; 42] {
    let mut aad = [0; 42];
    aad[0] = Column::BlobChunk as u8;
    aad[1..33].copy_from_slice(hash);
    aad[33..41].copy_from_slice(&place.to_be_bytes());
    aad[41] = u8::from(last);
    aad
}

fn failed(error: std::io::Error) -> StoreError {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Unavailable(format!("a blob can't be written: {error}")),
    }
}

/// Flushes the entries of a folder.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
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
        }
    }

    /// The folder and the file of a blob.
    pub(crate) fn place(&self, hash: &[u8; 32]) -> (PathBuf, PathBuf) {
        let name: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = self.folder.join(&name[..2]);
        let file = folder.join(name);
        (folder, file)
    }

    /// Writes a blob, unless it is there already. It and its folder entry are flushed when this returns.
    pub(crate) fn write(&self, sealer: &Sealer, body: &[u8]) -> Result<BlobName, StoreError> {
        let name = BlobName {
            hash: sealer.hash(Domain::Blob, &[body]),
            length: body.len() as u64,
        };
        let (folder, file) = self.place(&name.hash);
        if !folder.is_dir() {
            std::fs::create_dir_all(&folder).map_err(failed)?;
            sync_folder(&self.folder).map_err(failed)?;
            if let Some(data) = self.folder.parent() {
                sync_folder(data).map_err(failed)?;
            }
        }
        let whole = sealed_length(name.length);
        if !std::fs::metadata(&file).is_ok_and(|found| found.len() == whole) {
            let draft = folder.join(format!("{}.draft", Uuid::now_v7().simple()));
            let written = write_chunks(sealer, &draft, &name.hash, body)
                .and_then(|()| std::fs::rename(&draft, &file).map_err(failed));
            if let Err(error) = written {
                // Nothing names the draft; what can't be removed now is only space.
                let _ = std::fs::remove_file(&draft);
                return Err(error);
            }
        }
        sync_folder(&folder).map_err(failed)?;
        Ok(name)
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
        if is_older(&file, then)
            && let Err(error) = std::fs::remove_file(file)
        {
            tracing::warn!(%error, "The file of a big body that is not needed any more could not be removed.");
        }
    }

    /// Seals a blob anew where an older key sealed it: into a file beside it, which takes its name once it is flushed. False:
    /// there was nothing to do, or the blob can't be opened, which is told elsewhere.
    pub(crate) fn reseal(&self, sealer: &Sealer, hash: &[u8; 32]) -> Result<bool, StoreError> {
        let (folder, path) = self.place(hash);
        let Ok(mut file) = File::open(&path) else {
            return Ok(false);
        };
        let length = file.metadata().map_err(failed)?.len();
        let chunks = length.div_ceil((CHUNK + SEAL) as u64);
        let draft = folder.join(format!("{}.draft", Uuid::now_v7().simple()));
        let mut is_new = true;
        let mut write = || -> Result<(), StoreError> {
            let mut out = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&draft)
                .map_err(failed)?;
            let mut chunk = Vec::with_capacity(CHUNK + SEAL);
            for place in 0..chunks {
                chunk.clear();
                Read::by_ref(&mut file)
                    .take((CHUNK + SEAL) as u64)
                    .read_to_end(&mut chunk)
                    .map_err(failed)?;
                if place == 0 && chunk.last() == Some(&sealer.key_numbers().0) {
                    is_new = false;
                    return Ok(());
                }
                let sealed = sealer.reseal_bytes(&aad(hash, place, place + 1 == chunks), &chunk)?;
                out.write_all(&sealed).map_err(failed)?;
            }
            out.sync_all().map_err(failed)
        };
        let written = match write() {
            Ok(()) if is_new => std::fs::rename(&draft, &path).map_err(failed),
            other => {
                // What can't be removed now is only space, and goes with other drafts.
                let _ = std::fs::remove_file(&draft);
                other
            }
        };
        match written {
            Ok(()) if is_new => sync_folder(&folder).map_err(failed).map(|()| true),
            Ok(()) => Ok(false),
            Err(StoreError::Damaged(_)) => {
                tracing::error!("A big body can't be opened, and is not sealed anew. Run punte verify.");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads a blob whole.
    pub(crate) fn read(&self, sealer: &Sealer, name: BlobName) -> Result<Bytes, StoreError> {
        let damaged = |what: &str| StoreError::Damaged(format!("a big body {what}"));
        let (_, path) = self.place(&name.hash);
        let mut file = File::open(path).map_err(|error| damaged(&format!("is not there: {error}")))?;
        let found = file.metadata().map(|found| found.len()).unwrap_or_default();
        if found != sealed_length(name.length) {
            return Err(damaged("was cut off"));
        }
        let length =
            usize::try_from(name.length).map_err(|_| damaged("is longer than this machine can hold"))?;
        let mut body = Vec::with_capacity(length);
        let mut chunk = Vec::with_capacity(CHUNK + SEAL);
        let mut place = 0;
        loop {
            chunk.clear();
            Read::by_ref(&mut file)
                .take((CHUNK + SEAL) as u64)
                .read_to_end(&mut chunk)
                .map_err(|error| damaged(&format!("can't be read: {error}")))?;
            let last = (body.len() + chunk.len()).saturating_sub(SEAL) >= length;
            sealer
                .open_bytes(&aad(&name.hash, place, last), &mut chunk)
                .map_err(|_| damaged("was changed"))?;
            body.extend_from_slice(&chunk);
            place += 1;
            if last {
                break;
            }
        }
        if body.len() != length {
            return Err(damaged("was changed"));
        }
        Ok(body.into())
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

/// How long the file of a blob is.
pub(crate) fn sealed_length(length: u64) -> u64 {
    length + length.div_ceil(CHUNK as u64).max(1) * SEAL as u64
}

fn write_chunks(sealer: &Sealer, path: &Path, hash: &[u8; 32], body: &[u8]) -> Result<(), StoreError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed)?;
    let chunks = body.len().div_ceil(CHUNK).max(1);
    let mut sealed = Vec::with_capacity(CHUNK + SEAL);
    for place in 0..chunks {
        sealed.clear();
        sealed.extend_from_slice(&body[place * CHUNK..body.len().min((place + 1) * CHUNK)]);
        sealer.seal_bytes(&aad(hash, place as u64, place + 1 == chunks), &mut sealed)?;
        file.write_all(&sealed).map_err(failed)?;
    }
    file.sync_all().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(length: usize) -> (tempfile::TempDir, Blobs, Sealer, Vec<u8>, BlobName, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(folder.path());
        let sealer = Sealer::new(&[1; 32], &[2; 32]).unwrap();
        let body: Vec<u8> = (0..length).map(|n| (n / 1000) as u8).collect();
        let name = blobs.write(&sealer, &body).unwrap();
        let file = blobs.place(&name.hash).1;
        (folder, blobs, sealer, body, name, file)
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let (_folder, blobs, sealer, body, name, _) = blob(length);
            assert_eq!(blobs.read(&sealer, name).unwrap(), body);
            assert_eq!(blobs.write(&sealer, &body).unwrap(), name);
        }
    }

    #[test]
    fn swapped_cut_and_changed_chunks_are_noticed() {
        let (_folder, blobs, sealer, _, name, file) = blob(3 * CHUNK);
        let whole = std::fs::read(&file).unwrap();
        let (first, rest) = whole.split_at(CHUNK + SEAL);
        let (second, third) = rest.split_at(CHUNK + SEAL);
        for wrong in [
            [second, first, third].concat(),
            [first, second].concat(),
            [first, second, second].concat(),
            [first, third].concat(),
            [&whole[..], third].concat(),
            whole[..whole.len() - 1].to_vec(),
            vec![],
        ] {
            std::fs::write(&file, wrong).unwrap();
            assert!(matches!(blobs.read(&sealer, name), Err(StoreError::Damaged(_))));
        }
        let shorter = BlobName {
            length: 2 * CHUNK as u64,
            ..name
        };
        std::fs::write(&file, [first, second].concat()).unwrap();
        assert!(blobs.read(&sealer, shorter).is_err());
        std::fs::write(&file, &whole).unwrap();
        assert!(blobs.read(&sealer, name).is_ok());
    }
}
