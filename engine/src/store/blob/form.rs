//! How a blob lies on the disk, in a file of its own or in the slot of a pack:
//!
//! ```text
//! id        16 random bytes
//! chunks    64 KB each, sealed and bound to the id, to their own place, and to whether they are the last
//! seal      the id, sealed and bound to the name: the hash and the length
//! room      zeros
//! mark      in a slot: 16 bytes by which slots are found, and the hash
//! length    of the content, 8 bytes; they end at a multiple of 4 KB, as disks are written
//! ```

use crate::store::blob::BlobName;
use crate::store::seal::{Column, SEAL};

/// Bytes of a chunk before it is sealed.
pub(super) const CHUNK: usize = 64 * 1024;
/// Bytes of the id that a blob begins with.
pub(super) const ID: usize = 16;
/// Bytes of the seal behind the chunks.
pub(super) const END: usize = ID + SEAL;
/// Files and slots begin and end at multiples of so many bytes.
pub(super) const BLOCK: usize = 4096;
/// Bytes of the length that they end with.
pub(super) const TOLD: usize = 8;
/// What a slot has before its hash and its length. What is sealed has it by chance once in 2^128.
const MARK: &[u8; 16] = b"punte blob slot\n";
/// Bytes that a slot ends with.
pub(super) const MARKED: usize = MARK.len() + 32 + TOLD;

/// Where a chunk belongs.
pub(super) fn chunk_aad(id: &[u8; ID], place: u64, last: bool) -> [u8; 26] {
    let mut aad = [0; 26];
    aad[0] = Column::BlobChunk as u8;
    aad[1..17].copy_from_slice(id);
    aad[17..25].copy_from_slice(&place.to_be_bytes());
    aad[25] = u8::from(last);
    aad
}

/// Where the seal of a blob belongs.
pub(super) fn end_aad(name: BlobName) -> [u8; 41] {
    let mut aad = [0; 41];
    aad[0] = Column::BlobEnd as u8;
    aad[1..33].copy_from_slice(&name.hash);
    aad[33..].copy_from_slice(&name.length.to_be_bytes());
    aad
}

/// Chunks of a blob so long; an empty one has one.
pub(super) fn chunks(length: u64) -> u64 {
    length.div_ceil(CHUNK as u64).max(1)
}

/// How far a blob reaches: the end of the seal.
pub(super) fn sealed_length(length: u64) -> u64 {
    (ID + END) as u64 + length + chunks(length) * SEAL as u64
}

/// How long the file of a blob is.
pub(crate) fn file_length(length: u64) -> u64 {
    (sealed_length(length) + TOLD as u64).next_multiple_of(BLOCK as u64)
}

/// How long the slot of a blob is.
pub(super) fn slot_length(length: u64) -> u64 {
    (sealed_length(length) + MARKED as u64).next_multiple_of(BLOCK as u64)
}

/// What follows the seal in a file.
pub(super) fn file_tail(name: BlobName) -> Vec<u8> {
    tail(name, file_length(name.length), &[])
}

/// What follows the seal in a slot.
pub(super) fn slot_tail(name: BlobName) -> Vec<u8> {
    tail(name, slot_length(name.length), &[&MARK[..], &name.hash].concat())
}

fn tail(name: BlobName, whole: u64, mark: &[u8]) -> Vec<u8> {
    let length = (whole - sealed_length(name.length)) as usize;
    let mut tail = vec![0; length - mark.len() - TOLD];
    tail.extend_from_slice(mark);
    tail.extend_from_slice(&name.length.to_le_bytes());
    tail
}

/// The hash and the length that the end of a slot says; none: it is not the end of one.
pub(super) fn marked(end: &[u8; MARKED]) -> Option<([u8; 32], u64)> {
    let rest = end.strip_prefix(MARK)?;
    let (hash, length) = rest.split_first_chunk::<32>()?;
    Some((*hash, u64::from_le_bytes(length.try_into().ok()?)))
}

/// Whether the file of a blob has the length that it should. Those of earlier builds end with the seal.
pub(crate) fn is_as_long(file: u64, length: u64) -> bool {
    file == file_length(length) || file == sealed_length(length)
}

/// How long the blob of a file is that ends with the seal; none: there can be no file so long.
pub(super) fn plain_length(sealed: u64) -> Option<u64> {
    let chunks = sealed.checked_sub((ID + END) as u64)?;
    let length = chunks.checked_sub(chunks.div_ceil((CHUNK + SEAL) as u64) * SEAL as u64)?;
    (sealed_length(length) == sealed).then_some(length)
}
