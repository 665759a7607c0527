//! A file that is written once, from its beginning to its end, past the page cache where the file system lets us: what is
//! put away is rarely read soon, and to copy it into fresh pages of memory takes longer than the disk does.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is written past the cache begins, and ends, at a multiple of so many bytes, in memory and in the file.
pub(super) const ALIGN: usize = 4096;
/// So many bytes are written at once: an image of 512 × 512 points, and room for one chunk more.
pub(super) const UNIT: usize = 640 * 1024;
/// So many buffers are kept to be used again.
const BUFFERS: usize = 4;
/// So many bytes find room beside what is not written yet.
pub(super) const MOST: usize = UNIT - ALIGN;

/// A file on its way to the disk. It is made when it has to be written.
pub(super) struct Once {
    path: PathBuf,
    /// The file, and whether it is written past the cache.
    file: Option<(File, bool)>,
    /// What was not written yet, behind so many bytes that it begins at a multiple of [`ALIGN`] in memory. It never grows
    /// past what it was made with, so that it stays where it is.
    buffer: Vec<u8>,
    begins: usize,
}

impl Once {
    /// At a path where nothing is yet.
    pub(super) fn at(path: PathBuf) -> Self {
        let mut buffer = spare_buffers()
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(UNIT + ALIGN));
        let begins = buffer.as_ptr().align_offset(ALIGN).min(ALIGN);
        buffer.resize(begins, 0);
        Once {
            path,
            file: None,
            buffer,
            begins,
        }
    }

    /// Whether so many bytes can be added before anything has to be written.
    pub(super) fn has_room(&self, more: usize) -> bool {
        self.buffer.len() + more <= self.begins + UNIT
    }

    /// Where it is, or will be.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file was made.
    pub(super) fn is_made(&self) -> bool {
        self.file.is_some()
    }

    /// All that it has, where nothing of it was written yet.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        match self.is_made() {
            true => None,
            false => Some(&self.buffer[self.begins..]),
        }
    }

    /// The end of the file as it is now, to which so many bytes can be added, at most [`MOST`]. What is there already is not
    /// to be taken away.
    pub(super) fn end_with_room(&mut self, more: usize) -> io::Result<&mut Vec<u8>> {
        if !self.has_room(more) {
            let whole = (self.buffer.len() - self.begins) / ALIGN * ALIGN;
            self.put(whole)?;
        }
        Ok(&mut self.buffer)
    }

    /// What is not written yet. No more may be added to it than there was room for.
    pub(super) fn unwritten(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// All has come: writes what is left, past the cache where it ends at a multiple of [`ALIGN`]. The file is not flushed.
    pub(super) fn end(&mut self) -> io::Result<&File> {
        let left = self.buffer.len() - self.begins;
        self.put(left)?;
        Ok(&self.made()?.0)
    }

    fn made(&mut self) -> io::Result<&mut (File, bool)> {
        let made = match self.file.take() {
            Some(made) => made,
            None => match create(&self.path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                    create(&self.path)?
                }
                other => other?,
            },
        };
        Ok(self.file.insert(made))
    }

    /// Writes the first bytes of what is not written yet.
    fn put(&mut self, count: usize) -> io::Result<()> {
        self.made()?;
        let Some((file, is_direct)) = &mut self.file else {
            return Err(ErrorKind::NotFound.into());
        };
        let ends = self.begins + count;
        let mut left = &self.buffer[self.begins..ends];
        while !left.is_empty() {
            match file.write(left) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // This file system wants other multiples, or took a part and can't go on from there.
                Err(error) if error.kind() == ErrorKind::InvalidInput && *is_direct => {
                    through_the_cache(file)?;
                    *is_direct = false;
                }
                Err(error) => return Err(error),
            }
        }
        self.buffer.drain(self.begins..ends);
        Ok(())
    }
}

impl Drop for Once {
    fn drop(&mut self) {
        let mut spare = spare_buffers();
        if spare.len() < BUFFERS {
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.clear();
            spare.push(buffer);
        }
    }
}

/// Buffers that are used again: fresh memory costs as much as what is copied into it.
fn spare_buffers() -> MutexGuard<'static, Vec<Vec<u8>>> {
    static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(vec![]);
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives a file its room on the disk. False: the system can't before it is written.
#[cfg(target_os = "linux")]
pub(super) fn reserve(file: &File, length: u64) -> io::Result<bool> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, length) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn reserve(_: &File, _: u64) -> io::Result<bool> {
    Ok(false)
}

/// Gives a part of a file back to the file system: it reads as zeros.
#[cfg(target_os = "linux")]
pub(super) fn punch(file: &File, from: u64, length: u64) -> io::Result<()> {
    use rustix::fs::FallocateFlags;

    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::fs::fallocate(file, hole, from, length)?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn punch(_: &File, _: u64, _: u64) -> io::Result<()> {
    Ok(())
}

/// Writes all of it at a place.
#[cfg(unix)]
pub(super) fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(not(unix))]
pub(super) fn write_at(_: &File, _: &[u8], _: u64) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Reads as much as there is room for, from a place on.
#[cfg(unix)]
pub(super) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(not(unix))]
pub(super) fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Bytes that are free where the folder lies.
#[cfg(unix)]
pub(super) fn free(folder: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
pub(super) fn free(_: &Path) -> io::Result<u64> {
    Ok(0)
}

/// The file, and whether it is written past the cache.
#[cfg(target_os = "linux")]
pub(super) fn create(path: &Path) -> io::Result<(File, bool)> {
    use std::os::unix::fs::OpenOptionsExt;

    let direct = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).custom_flags(direct);
    match options.open(path) {
        Ok(file) => Ok((file, true)),
        // Refused for its flag, the file may have been made all the same.
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            let _ = std::fs::remove_file(path);
            through_the_cache_from_the_start(path)
        }
        Err(error) => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn create(path: &Path) -> io::Result<(File, bool)> {
    through_the_cache_from_the_start(path)
}

fn through_the_cache_from_the_start(path: &Path) -> io::Result<(File, bool)> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    Ok((file, false))
}

#[cfg(target_os = "linux")]
pub(super) fn through_the_cache(file: &File) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(file)? - rustix::fs::OFlags::DIRECT;
    Ok(rustix::fs::fcntl_setfl(file, flags)?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn through_the_cache(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, pieces: &[&[u8]]) -> Vec<u8> {
        let path = folder.join("file");
        let mut once = Once::at(path.clone());
        for piece in pieces.iter().flat_map(|piece| piece.chunks(MOST)) {
            once.end_with_room(piece.len()).unwrap().extend_from_slice(piece);
        }
        once.end().unwrap().sync_data().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        bytes
    }

    #[test]
    fn what_is_written_is_in_the_file_and_nothing_else() {
        // A disk, and a file system in memory, which may know no other way than through the cache.
        let folders = [
            tempfile::tempdir().unwrap(),
            tempfile::tempdir_in("/dev/shm").unwrap(),
        ];
        let bytes: Vec<u8> = (0..3 * UNIT).map(|n| (n / 7) as u8).collect();
        for folder in folders.iter().map(tempfile::TempDir::path) {
            for length in [
                0,
                1,
                ALIGN - 1,
                ALIGN,
                ALIGN + 1,
                UNIT - 1,
                UNIT,
                UNIT + 1,
                2 * UNIT + 17,
            ] {
                assert_eq!(written(folder, &[&bytes[..length]]), bytes[..length]);
                let (one, other) = bytes[..length].split_at(length / 3);
                assert_eq!(written(folder, &[one, &[], other]), bytes[..length]);
            }
        }
    }

    #[test]
    fn who_can_not_go_past_the_cache_any_more_goes_through_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut once = Once::at(path.clone());
        let whole = vec![7; MOST];
        once.end_with_room(MOST).unwrap().extend_from_slice(&whole);
        assert_eq!(once.whole(), Some(&whole[..]));
        once.put(MOST / 2 / ALIGN * ALIGN).unwrap();
        assert_eq!(once.whole(), None);
        let made = once.made().unwrap();
        through_the_cache(&made.0).unwrap();
        made.1 = false;
        once.end_with_room(10).unwrap().extend([8; 10]);
        once.end().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [&whole[..], &[8; 10]].concat());
        assert!(Once::at(path).end().is_err(), "it is there");
    }
}
