//! A blob on its way.

use std::path::PathBuf;
use std::sync::Arc;

use super::direct::{ALIGN, MOST, Once};
use super::form::{BLOCK, CHUNK, END, ID, MARKED, chunk_aad, end_aad, file_tail, slot_tail};
use super::{BlobName, Blobs, failed};
use crate::store::StoreError;
use crate::store::seal::{Hashing, SEAL, Sealer};

// What is added at once finds room, and a file is written past the cache to its end.
const _: () = assert!(CHUNK + SEAL <= MOST && END + BLOCK + MARKED <= MOST && BLOCK.is_multiple_of(ALIGN));

/// A blob on its way: sealed as its bytes come, without a name. Dropped, it is gone.
pub(crate) struct Draft {
    blobs: Blobs,
    sealer: Arc<Sealer>,
    hashing: Hashing,
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
    /// One that becomes a file at this path, unless it is so short that it finds its place in a pack.
    pub(super) fn new(blobs: &Blobs, sealer: &Arc<Sealer>, path: PathBuf) -> Result<Self, StoreError> {
        let mut id = [0; ID];
        aws_lc_rs::rand::fill(&mut id)
            .map_err(|_| StoreError::Unavailable("the machine has no random numbers".into()))?;
        let mut draft = Draft {
            blobs: blobs.clone(),
            hashing: sealer.hashing(),
            sealer: sealer.clone(),
            file: Once::at(path),
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

    /// Whether it takes so many bytes without writing to the disk.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.file.has_room(more + (more / CHUNK + 2) * SEAL + CHUNK)
    }

    /// Takes more bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.hashing.update(bytes);
        self.write_unhashed(bytes)
    }

    pub(super) fn write_unhashed(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
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

    /// All has come. The blob is flushed when this returns.
    pub(crate) fn finish(self) -> Result<BlobName, StoreError> {
        let name = BlobName {
            hash: self.hashing.finish(),
            length: self.length,
            slot: None,
        };
        self.name(name)
    }

    /// The same under a name that is known.
    pub(super) fn name(mut self, name: BlobName) -> Result<BlobName, StoreError> {
        self.seal_whole(name)?;
        let sealed = self.file.unwritten().len();
        if !self.file.is_made() && !self.blobs.has_file(&name.hash) {
            self.file.unwritten().extend_from_slice(&slot_tail(name));
            if let Some(whole) = self.file.whole()
                && let Some(slot) = self.blobs.packs.put(whole)
            {
                let name = BlobName {
                    slot: Some(slot),
                    ..name
                };
                self.blobs.remember_flushed(name);
                return Ok(name);
            }
            self.file.unwritten().truncate(sealed);
        }
        self.end_file(name, false)
    }

    /// The same, in a file of its own, which is flushed before it gets its name.
    pub(super) fn name_file(mut self, name: BlobName) -> Result<BlobName, StoreError> {
        self.seal_whole(name)?;
        self.end_file(name, true)
    }

    /// Seals the last chunk, and the name.
    fn seal_whole(&mut self, name: BlobName) -> Result<(), StoreError> {
        self.seal_chunk(true)?;
        let file = self.file.end_with_room(END + BLOCK + MARKED).map_err(failed)?;
        let from = file.len();
        file.extend_from_slice(&self.id);
        self.sealer.seal_end(&end_aad(name), file, from)
    }

    fn end_file(mut self, name: BlobName, flushed_first: bool) -> Result<BlobName, StoreError> {
        self.file.unwritten().extend_from_slice(&file_tail(name));
        let path = self.file.path().to_owned();
        let file = self.file.end().map_err(failed)?;
        if flushed_first {
            file.sync_data().map_err(failed)?;
        }
        self.blobs.take_in(file, &path, name)?;
        self.is_named = true;
        Ok(name)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_named && self.file.is_made() {
            // Nothing names it; what can't be removed now goes when the store is opened again.
            let _ = std::fs::remove_file(self.file.path());
        }
    }
}
