//! Reading a blob.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use super::form::{CHUNK, END, ID, chunk_aad, chunks, end_aad, file_tail, sealed_length, slot_tail};
use super::{BlobName, Slot, damaged, unreadable};
use crate::store::StoreError;
use crate::store::seal::{SEAL, Sealer};

/// Reads a blob from any place, a chunk at a time.
pub(crate) struct BlobReader {
    sealer: Arc<Sealer>,
    file: File,
    /// Where it begins in that.
    begins: u64,
    id: [u8; ID],
    length: u64,
    /// The place that is read next.
    at: u64,
    chunk: Vec<u8>,
    /// Which chunk that is.
    held: Option<u64>,
}

impl BlobReader {
    /// Of what should be a blob so long, from this place of a file on.
    pub(super) fn new(
        sealer: &Arc<Sealer>,
        mut file: File,
        begins: u64,
        length: u64,
    ) -> Result<Self, StoreError> {
        let mut id = [0; ID];
        file.seek(SeekFrom::Start(begins))
            .and_then(|_| file.read_exact(&mut id))
            .map_err(unreadable)?;
        Ok(BlobReader {
            sealer: sealer.clone(),
            file,
            begins,
            id,
            length,
            at: 0,
            chunk: Vec::with_capacity(CHUNK + SEAL),
            held: None,
        })
    }

    /// The seal behind the chunks is that of the blob of this name, and what follows is as it was written.
    pub(super) fn is_sealed_as(&mut self, name: BlobName, slot: Option<Slot>) -> Result<(), StoreError> {
        let tail = match slot {
            Some(_) => slot_tail(name),
            None => file_tail(name),
        };
        let mut end = Vec::with_capacity(END + tail.len());
        self.file
            .seek(SeekFrom::Start(
                self.begins + sealed_length(name.length) - END as u64,
            ))
            .and_then(|_| {
                (&mut self.file)
                    .take((END + tail.len()) as u64)
                    .read_to_end(&mut end)
            })
            .map_err(unreadable)?;
        let rest = end.split_off(END.min(end.len()));
        if slot.is_some() && rest.len() < tail.len() {
            return Err(damaged("was cut off"));
        }
        // Files of earlier builds end with the seal.
        if rest != tail && !(rest.is_empty() && slot.is_none()) {
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
            .seek(SeekFrom::Start(
                self.begins + ID as u64 + place * (CHUNK + SEAL) as u64,
            ))
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
        self.at = sought(to, self.at, self.length)?;
        Ok(self.at)
    }
}

/// The place that is sought in what has this length, and is read at this place so far.
pub(crate) fn sought(to: SeekFrom, at: u64, length: u64) -> io::Result<u64> {
    let to = match to {
        SeekFrom::Start(to) => Some(to),
        SeekFrom::End(by) => length.checked_add_signed(by),
        SeekFrom::Current(by) => at.checked_add_signed(by),
    };
    to.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
