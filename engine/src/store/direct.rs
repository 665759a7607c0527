//! A file that is written once, from its beginning to its end, past the page cache where the file system lets us: what is
//! put away is rarely read soon, and to copy it into fresh pages of memory takes longer than the disk does.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// What is written past the cache begins, and ends, at a multiple of so many bytes, in memory and in the file.
pub(crate) const ALIGN: usize = 4096;
/// So many bytes are written at once: a little more than an image of 512 × 512 points has.
const UNIT: usize = 576 * 1024;
/// So many bytes find room beside what is not written yet.
pub(crate) const MOST: usize = UNIT - ALIGN;

/// A file on its way to the disk.
pub(crate) struct Once {
    file: File,
    is_direct: bool,
    /// So long it was before.
    was: u64,
    /// What was not written yet, behind so many bytes that it begins at a multiple of [`ALIGN`] in memory. It never grows
    /// past what it was made with, so that it stays where it is.
    buffer: Vec<u8>,
    begins: usize,
    /// So much was written.
    written: u64,
}

impl Once {
    /// Makes a file that is not there yet.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        create(path).map(Once::of)
    }

    /// Writes to a spare file, over what it has.
    pub(crate) fn over(spare: Spare) -> Self {
        Once {
            was: spare.length,
            ..Once::of((spare.file, spare.is_direct))
        }
    }

    fn of((file, is_direct): (File, bool)) -> Self {
        let mut buffer: Vec<u8> = Vec::with_capacity(UNIT + ALIGN);
        let begins = buffer.as_ptr().align_offset(ALIGN).min(ALIGN);
        buffer.resize(begins, 0);
        Once {
            file,
            is_direct,
            was: 0,
            buffer,
            begins,
            written: 0,
        }
    }

    /// The end of the file as it is now, to which so many bytes can be added, at most [`MOST`]. What is there already is not
    /// to be taken away.
    pub(crate) fn end_with_room(&mut self, more: usize) -> io::Result<&mut Vec<u8>> {
        if self.begins + UNIT < self.buffer.len() + more {
            let whole = (self.buffer.len() - self.begins) / ALIGN * ALIGN;
            self.put(whole)?;
        }
        Ok(&mut self.buffer)
    }

    /// What is not written yet. No more may be added to it than there was room for.
    pub(crate) fn unwritten(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// All has come: writes what is left, past the cache where it ends at a multiple of [`ALIGN`]. The file is as long as what
    /// was written to it, and not flushed.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let left = self.buffer.len() - self.begins;
        self.put(left)?;
        match self.written < self.was {
            true => self.file.set_len(self.written),
            false => Ok(()),
        }
    }

    /// The file, to be flushed once it is whole.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Writes the first bytes of what is not written yet.
    fn put(&mut self, count: usize) -> io::Result<()> {
        let ends = self.begins + count;
        let mut left = &self.buffer[self.begins..ends];
        while !left.is_empty() {
            match self.file.write(left) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // This file system wants other multiples, or took a part and can't go on from there.
                Err(error) if error.kind() == ErrorKind::InvalidInput && self.is_direct => {
                    through_the_cache(&self.file)?;
                    self.is_direct = false;
                }
                Err(error) => return Err(error),
            }
        }
        self.written += count as u64;
        self.buffer.drain(self.begins..ends);
        Ok(())
    }
}

/// A file that has its room on the disk and is flushed, but for what is to be written to it.
pub(crate) struct Spare {
    file: File,
    is_direct: bool,
    length: u64,
}

impl Spare {
    /// Makes one. Nothing is where the system can't give a file its room before it is written.
    #[cfg(target_os = "linux")]
    pub(crate) fn create(path: &Path, length: u64) -> io::Result<Option<Self>> {
        let (file, is_direct) = create(path)?;
        let Err(error) = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length) else {
            return Ok(Some(Spare {
                file,
                is_direct,
                length,
            }));
        };
        std::fs::remove_file(path)?;
        match error {
            rustix::io::Errno::OPNOTSUPP => Ok(None),
            error => Err(error.into()),
        }
    }

    /// Makes one. Nothing is where the system can't give a file its room before it is written.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn create(_: &Path, _: u64) -> io::Result<Option<Self>> {
        Ok(None)
    }

    /// Flushes its length and its room.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// The file, and whether it is written past the cache.
#[cfg(target_os = "linux")]
fn create(path: &Path) -> io::Result<(File, bool)> {
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
fn create(path: &Path) -> io::Result<(File, bool)> {
    through_the_cache_from_the_start(path)
}

fn through_the_cache_from_the_start(path: &Path) -> io::Result<(File, bool)> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    Ok((file, false))
}

#[cfg(target_os = "linux")]
fn through_the_cache(file: &File) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(file)? - rustix::fs::OFlags::DIRECT;
    Ok(rustix::fs::fcntl_setfl(file, flags)?)
}

#[cfg(not(target_os = "linux"))]
fn through_the_cache(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, pieces: &[&[u8]]) -> Vec<u8> {
        let path = folder.join("file");
        let mut once = Once::create(&path).unwrap();
        for piece in pieces.iter().flat_map(|piece| piece.chunks(MOST)) {
            once.end_with_room(piece.len()).unwrap().extend_from_slice(piece);
        }
        once.end().unwrap();
        once.file().sync_data().unwrap();
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
        let mut once = Once::create(&path).unwrap();
        let whole = vec![7; MOST];
        once.end_with_room(MOST).unwrap().extend_from_slice(&whole);
        once.put(MOST / 2 / ALIGN * ALIGN).unwrap();
        through_the_cache(&once.file).unwrap();
        once.is_direct = false;
        once.end_with_room(10).unwrap().extend([8; 10]);
        once.end().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [&whole[..], &[8; 10]].concat());
        assert!(Once::create(&path).is_err(), "it is there");
    }
}
