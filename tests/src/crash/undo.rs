//! What a power cut leaves: reads the log of the shim, and undoes a random part of what was not flushed.
//!
//! Of a file any set of sectors of 512 bytes may be lost, each back to any moment since its flush, and its length
//! likewise; files are independent of each other. Names (made, renamed, removed) are lost from some moment on, since file
//! systems keep those in order, unless their folder was flushed. What a flush should have written that failed may be lost
//! whatever is flushed later: the system has forgotten that it is not on disk.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::rng::Rng;

const MAGIC: u32 = 0x5257_4f50;
const HEADER: usize = 48;
const SECTOR: u64 = 512;

/// What was undone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Undone {
    /// Writes of which something is lost.
    pub writes: u64,
    /// Those of them of which something is left.
    pub torn: u64,
    /// Bytes of writes that are as they were before.
    pub bytes: u64,
    /// Files that are shorter or longer again.
    pub lengths: u64,
    /// Names that were made, changed or removed in vain.
    pub names: u64,
}

impl std::ops::AddAssign for Undone {
    fn add_assign(&mut self, more: Undone) {
        self.writes += more.writes;
        self.torn += more.torn;
        self.bytes += more.bytes;
        self.lengths += more.lengths;
        self.names += more.names;
    }
}

impl std::fmt::Display for Undone {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Undone {
            writes,
            torn,
            bytes,
            lengths,
            names,
        } = self;
        write!(
            to,
            "{writes} writes ({torn} of them torn), {bytes} bytes, {lengths} lengths of files, {names} names"
        )
    }
}

/// How far a record has come to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Not flushed yet.
    Open,
    /// Flushed.
    Safe,
    /// Its flush failed: it may be lost, and no later flush knows of it.
    Doomed,
}

struct Record<'a> {
    /// Where it stands in the log: the order of all.
    at: u64,
    kind: u8,
    inode: u64,
    offset: u64,
    old_size: u64,
    length: u64,
    name: &'a [u8],
    data: &'a [u8],
    fate: Fate,
}

/// The records, and how long they are together.
fn read(log: &[u8]) -> Result<(Vec<Record<'_>>, usize)> {
    let (mut records, mut at) = (vec![], 0);
    while let Some(header) = log.get(at..at + HEADER) {
        let four = |from: usize| -> u32 {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&header[from..from + 4]);
            u32::from_ne_bytes(bytes)
        };
        let eight = |from: usize| u64::from(four(from)) | u64::from(four(from + 4)) << 32;
        if four(0) != MAGIC {
            bail!("the log of the shim is damaged at {at}");
        }
        let name_end = at + HEADER + four(40) as usize;
        let end = name_end + four(44) as usize;
        let Some(data) = log.get(name_end..end) else { break };
        records.push(Record {
            at: at as u64,
            kind: four(4) as u8,
            inode: eight(8),
            offset: eight(16),
            old_size: eight(24),
            length: eight(32),
            name: &log[at + HEADER..name_end],
            data,
            fate: Fate::Open,
        });
        at = end;
    }
    Ok((records, at))
}

fn log_of(side: &Path) -> Result<Vec<u8>> {
    match fs::read(side.join("log")) {
        Ok(log) => Ok(log),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(vec![]),
        Err(error) => Err(error.into()),
    }
}

/// Takes away a last record that was not finished: what it would have told of was not begun.
pub(super) fn mend(side: &Path) -> Result<()> {
    let log = log_of(side)?;
    let (_, whole) = read(&log)?;
    if whole < log.len() {
        let file = fs::OpenOptions::new().write(true).open(side.join("log"))?;
        file.set_len(whole as u64)?;
    }
    Ok(())
}

/// Undoes a random part of what was not flushed.
pub(super) fn cut(data: &Path, side: &Path, rng: &mut Rng) -> Result<Undone> {
    let log = log_of(side)?;
    let (mut records, _) = read(&log)?;
    flush_contents(&mut records);
    flush_names(&mut records);
    // Once in three times everything is lost that can be.
    let loses_all = rng.one_in(3);
    let mut undone = undo_contents(data, side, &records, rng, loses_all)?;
    undone.names = undo_names(side, &records, rng, loses_all)?;
    forget_memory(data)?;
    Ok(undone)
}

/// Says of each write whether its flush has come about.
fn flush_contents(records: &mut [Record<'_>]) {
    let mut open: HashMap<u64, Vec<usize>> = HashMap::new();
    for place in 0..records.len() {
        let (kind, inode, reached) = (records[place].kind, records[place].inode, records[place].offset);
        match kind {
            b'W' | b'T' => open.entry(inode).or_default().push(place),
            b'F' | b'E' => {
                let fate = if kind == b'F' { Fate::Safe } else { Fate::Doomed };
                let waiting = open.entry(inode).or_default();
                waiting.retain(|waits| {
                    let is_reached = records[*waits].at < reached;
                    if is_reached {
                        records[*waits].fate = fate;
                    }
                    !is_reached
                });
            }
            _ => {}
        }
    }
}

/// The folders whose flush a change of names needs.
fn folders<'a>(record: &Record<'a>) -> Vec<&'a [u8]> {
    let parent = |path: &'a [u8]| {
        let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        &path[..slash]
    };
    record.name.split(|byte| *byte == 0).map(parent).collect()
}

fn is_of_names(kind: u8) -> bool {
    matches!(kind, b'C' | b'R' | b'U' | b'M' | b'X')
}

fn flush_names(records: &mut [Record<'_>]) {
    let mut open: Vec<(usize, Vec<&[u8]>)> = vec![];
    for place in 0..records.len() {
        if is_of_names(records[place].kind) {
            open.push((place, folders(&records[place])));
        } else if records[place].kind == b'D' {
            let (folder, reached) = (records[place].name, records[place].offset);
            open.retain_mut(|(waits, needs)| {
                if records[*waits].at < reached {
                    needs.retain(|needed| *needed != folder);
                }
                if needs.is_empty() {
                    records[*waits].fate = Fate::Safe;
                }
                !needs.is_empty()
            });
        }
    }
}

/// How much of the open writes of one file is lost.
#[derive(Clone, Copy)]
enum Loss {
    All,
    None,
    /// Everything from one moment on.
    Since(u64),
    /// Each sector by itself.
    BySector,
}

fn undo_contents(
    data: &Path,
    side: &Path,
    records: &[Record<'_>],
    rng: &mut Rng,
    loses_all: bool,
) -> Result<Undone> {
    let mut files: HashMap<u64, PathBuf> = HashMap::new();
    find_files(&side.join("kept"), &mut files)?;
    find_files(data, &mut files)?;
    let mut by_file: Vec<(u64, Vec<&Record<'_>>)> = vec![];
    for record in records.iter().filter(|record| matches!(record.kind, b'W' | b'T')) {
        match by_file.iter_mut().find(|(inode, _)| *inode == record.inode) {
            Some((_, of_file)) => of_file.push(record),
            None => by_file.push((record.inode, vec![record])),
        }
    }
    let mut undone = Undone::default();
    for (inode, of_file) in by_file {
        let Some(path) = files.get(&inode) else { continue };
        let open: Vec<u64> = of_file
            .iter()
            .filter(|record| record.fate != Fate::Safe)
            .map(|record| record.at)
            .collect();
        if open.is_empty() {
            continue;
        }
        let loss = match (loses_all, rng.below(4)) {
            (true, _) | (_, 0) => Loss::All,
            (_, 1) => Loss::None,
            (_, 2) => Loss::Since(open[rng.below(open.len() as u64) as usize]),
            _ => Loss::BySector,
        };
        let content = fs::read(path).with_context(|| path.display().to_string())?;
        let content = undo_file(content, &of_file, &open, loss, rng, &mut undone);
        fs::write(path, content).with_context(|| path.display().to_string())?;
    }
    Ok(undone)
}

/// One file as the cut leaves it. `open` are the places in the log of its writes that are not safe.
fn undo_file(
    mut content: Vec<u8>,
    records: &[&Record<'_>],
    open: &[u64],
    loss: Loss,
    rng: &mut Rng,
    undone: &mut Undone,
) -> Vec<u8> {
    let mut moments: HashMap<u64, u64> = HashMap::new();
    // From which moment on a sector has lost what was written to it.
    let mut lost_since = |sector: Option<u64>, rng: &mut Rng| match loss {
        Loss::All => 0,
        Loss::None => u64::MAX,
        Loss::Since(moment) => moment,
        Loss::BySector => *moments.entry(sector.unwrap_or(u64::MAX)).or_insert_with(|| {
            let which = rng.below(open.len() as u64 + 1) as usize;
            open.get(which).copied().unwrap_or(u64::MAX)
        }),
    };
    let mut size = content.len() as u64;
    let size_lost_since = lost_since(None, rng);
    // What safe writes have put there since: a doomed one that is older does not touch it.
    let mut safe: Vec<(u64, u64)> = vec![];
    for record in records.iter().rev() {
        if record.fate == Fate::Safe {
            safe.push((record.offset, record.offset + record.length));
            continue;
        }
        let is_safe = |at: u64| {
            record.fate == Fate::Doomed && safe.iter().any(|(start, end)| (*start..*end).contains(&at))
        };
        let end = match record.kind {
            b'T' => record.old_size.max(record.offset),
            _ => record.offset + record.length,
        };
        if record.fate == Fate::Open && size_lost_since <= record.at && record.old_size != size {
            let changes = record.kind == b'T' || record.old_size < end;
            if changes {
                size = record.old_size;
                undone.lengths += 1;
            }
        }
        let (mut lost, mut left) = (0, 0);
        let mut from = record.offset;
        while from < end {
            let to = end.min((from / SECTOR + 1) * SECTOR);
            let is_lost = match record.kind {
                // What was cut off is back as a whole, with the length.
                b'T' => record.fate == Fate::Open && size_lost_since <= record.at,
                _ => lost_since(Some(from / SECTOR), rng) <= record.at,
            };
            for at in from..to {
                if !is_lost || is_safe(at) {
                    left += 1;
                    continue;
                }
                lost += 1;
                let old = record
                    .data
                    .get((at - record.offset) as usize)
                    .copied()
                    .unwrap_or(0);
                put(&mut content, at, old);
            }
            from = to;
        }
        if record.kind == b'W' && lost > 0 {
            undone.writes += 1;
            undone.torn += u64::from(left > 0);
            undone.bytes += lost;
        }
    }
    content.resize(size as usize, 0);
    content
}

fn put(content: &mut Vec<u8>, at: u64, byte: u8) {
    let at = at as usize;
    if content.len() <= at {
        content.resize(at + 1, 0);
    }
    content[at] = byte;
}

/// Undoes changes of names from a random moment on, the last one first.
fn undo_names(side: &Path, records: &[Record<'_>], rng: &mut Rng, loses_all: bool) -> Result<u64> {
    let open: Vec<&Record<'_>> = records
        .iter()
        .filter(|record| is_of_names(record.kind) && record.fate != Fate::Safe)
        .collect();
    let first = match loses_all {
        true => 0,
        false => rng.below(open.len() as u64 + 1) as usize,
    };
    let mut undone = 0;
    for record in open[first..].iter().rev() {
        undone += u64::from(undo_name(side, record)?);
    }
    Ok(undone)
}

/// False: it had not been done.
fn undo_name(side: &Path, record: &Record<'_>) -> Result<bool> {
    let text = std::str::from_utf8(record.name)?;
    let kept = side.join("kept").join(record.length.to_string());
    let is_there = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.ino() == record.inode);
    match record.kind {
        b'C' if is_there(Path::new(text)) => fs::remove_file(text)?,
        b'U' if fs::symlink_metadata(text).is_err() => fs::hard_link(kept, text)?,
        b'R' => {
            let (from, to) = text.split_once('\0').context("a rename of one name")?;
            if !is_there(Path::new(to)) {
                return Ok(false);
            }
            fs::rename(to, from)?;
            if record.length != 0 {
                fs::hard_link(kept, to)?;
            }
        }
        // One that is not empty was flushed into: it stays.
        b'M' => return Ok(fs::remove_dir(text).is_ok()),
        b'X' => return Ok(fs::create_dir(text).is_ok()),
        _ => return Ok(false),
    }
    Ok(true)
}

fn find_files(folder: &Path, files: &mut HashMap<u64, PathBuf>) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for entry in entries {
        let entry = entry?;
        let found = entry.metadata()?;
        if found.is_dir() {
            find_files(&entry.path(), files)?;
        } else {
            files.insert(found.ino(), entry.path());
        }
    }
    Ok(())
}

/// SQLite's shared memory is a file for convenience: after a power cut nothing of it is left.
fn forget_memory(data: &Path) -> Result<()> {
    let mut files = HashMap::new();
    find_files(data, &mut files)?;
    for path in files.values() {
        if path.to_string_lossy().ends_with("-shm") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(
        kind: u8,
        inode: u64,
        offset: u64,
        old_size: u64,
        length: u64,
        name: &[u8],
        data: &[u8],
    ) -> Vec<u8> {
        let mut bytes = vec![];
        bytes.extend(MAGIC.to_ne_bytes());
        bytes.extend(u32::from(kind).to_ne_bytes());
        for number in [inode, offset, old_size, length] {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend((name.len() as u32).to_ne_bytes());
        bytes.extend((data.len() as u32).to_ne_bytes());
        bytes.extend(name);
        bytes.extend(data);
        bytes
    }

    /// A data folder with one file, and its inode.
    fn folder(content: &[u8]) -> (tempfile::TempDir, PathBuf, u64) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("data")).unwrap();
        fs::create_dir_all(folder.path().join("kept")).unwrap();
        let file = folder.path().join("data/file");
        fs::write(&file, content).unwrap();
        let inode = fs::metadata(&file).unwrap().ino();
        (folder, file, inode)
    }

    fn cut_by(seed: u64, folder: &tempfile::TempDir, log: &[Vec<u8>]) -> Undone {
        fs::write(folder.path().join("log"), log.concat()).unwrap();
        cut(&folder.path().join("data"), folder.path(), &mut Rng::new(seed)).unwrap()
    }

    /// A seed by which everything is lost that can be.
    fn all_is_lost() -> u64 {
        (0..).find(|seed| Rng::new(*seed).one_in(3)).unwrap()
    }

    #[test]
    fn what_was_flushed_stays_and_the_rest_goes() {
        // "old" became "new", flushed; then "xxx" and three more bytes, not flushed.
        let (folder, file, inode) = folder(b"xxxyyy");
        let first = record(b'W', inode, 0, 3, 3, b"", b"old");
        let flush = record(b'F', inode, first.len() as u64, 0, 0, b"", b"");
        let second = record(b'W', inode, 0, 3, 6, b"", b"new");
        let undone = cut_by(all_is_lost(), &folder, &[first, flush, second]);
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!((undone.writes, undone.lengths), (1, 1));
    }

    #[test]
    fn a_flush_reaches_what_was_there_when_it_began() {
        let (folder, file, inode) = folder(b"two");
        let first = record(b'W', inode, 0, 3, 3, b"", b"old");
        let second = record(b'W', inode, 0, 3, 3, b"", b"one");
        // Begun before the second write, ended after it.
        let flush = record(b'F', inode, first.len() as u64, 0, 0, b"", b"");
        cut_by(all_is_lost(), &folder, &[first, second, flush]);
        assert_eq!(fs::read(&file).unwrap(), b"one");
    }

    #[test]
    fn what_a_failed_flush_has_lost_no_later_one_brings_back() {
        let (folder, file, inode) = folder(b"newnew");
        let write = |at, old: &[u8]| record(b'W', inode, at, 6, 3, b"", old);
        let first = [write(0, b"one"), write(3, b"two")].concat();
        let failed = record(b'E', inode, first.len() as u64, 0, 0, b"", b"");
        // The second half is written again, and flushed.
        let again = write(3, b"xxx");
        let end = (first.len() + failed.len() + again.len()) as u64;
        let flush = record(b'F', inode, end, 0, 0, b"", b"");
        cut_by(all_is_lost(), &folder, &[first, failed, again, flush]);
        assert_eq!(fs::read(&file).unwrap(), b"onenew");
    }

    #[test]
    fn each_sector_is_lost_by_itself() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..200 {
            let (folder, file, inode) = folder(&[2; 1024]);
            let write = record(b'W', inode, 0, 1024, 1024, b"", &[1; 1024]);
            let undone = cut_by(seed, &folder, &[write]);
            let left = fs::read(&file).unwrap();
            assert_eq!(left.len(), 1024);
            assert!(
                left[..512].iter().all(|byte| *byte == left[0])
                    && left[512..].iter().all(|byte| *byte == left[512])
            );
            assert_eq!(undone.torn == 1, left[0] != left[512]);
            seen.insert((left[0], left[512]));
        }
        assert_eq!(seen.len(), 4, "{seen:?}");
    }

    #[test]
    fn names_go_from_some_moment_on_unless_their_folder_was_flushed() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..100 {
            let (folder, file, inode) = folder(b"whole");
            let path = |name: &str| folder.path().join("data").join(name).display().to_string();
            // It was made as "draft" (flushed), and got its name.
            fs::rename(&file, path("final")).unwrap();
            let made = record(b'C', inode, 0, 0, 0, path("draft").as_bytes(), b"");
            let parent = folder.path().join("data").display().to_string();
            let flush = record(b'D', 0, made.len() as u64, 0, 0, parent.as_bytes(), b"");
            let named = record(
                b'R',
                inode,
                0,
                0,
                0,
                format!("{}\0{}", path("draft"), path("final")).as_bytes(),
                b"",
            );
            cut_by(seed, &folder, &[made, flush, named]);
            let is_there = |name: &str| fs::read(path(name)).is_ok_and(|content| content == b"whole");
            assert!(is_there("draft") != is_there("final"));
            seen.insert(is_there("final"));
        }
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn a_record_that_was_not_finished_is_none() {
        let (folder, _, inode) = folder(b"");
        let whole = record(b'F', inode, 0, 0, 0, b"", b"");
        let mut log = whole.clone();
        log.extend(&record(b'W', inode, 0, 3, 3, b"", b"old")[..50]);
        fs::write(folder.path().join("log"), log).unwrap();
        mend(folder.path()).unwrap();
        assert_eq!(fs::read(folder.path().join("log")).unwrap(), whole);
    }
}
