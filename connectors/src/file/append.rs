//! Messages one behind the other in one file, each of them once also after a crash.
//!
//! Beside the file lies a hidden one, `.NAME.punte`: a line for each of the last deliveries says where its record begins
//! and how long it is, flushed before the first byte of the record is written. A repeat of a delivery finds its line: a
//! record that stands there whole is not written again, one that was cut is taken back first.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::disk::flush_folder;

/// From this length on the notes are made shorter.
const LONG_NOTES: u64 = if cfg!(test) { 4096 } else { 64 * 1024 };
/// So many of the newest stay: more than may be repeated after a crash.
const KEPT_NOTES: usize = if cfg!(test) { 64 } else { 1024 };

/// Where the record of a delivery begins, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    delivery: i64,
    start: u64,
    length: u64,
}

/// Writes a record behind the others.
pub(super) fn append(folder: &Path, name: &str, record: &[u8], delivery: i64) -> io::Result<()> {
    let path = folder.join(name);
    let notes_path = folder.join(format!(".{name}.punte"));
    let is_new = !path.try_exists()?;
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .open(&path)?;
    let notes = read_notes(&notes_path)?;
    if let Some(note) = notes.iter().rev().find(|note| note.delivery == delivery)
        && is_there(&mut file, *note, record)?
    {
        return file.sync_all();
    }
    let start = file.metadata()?.len();
    let note = Note {
        delivery,
        start,
        length: record.len() as u64,
    };
    write_note(folder, &notes_path, &notes, note)?;
    let written = file.write_all(record).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // What was written of it is taken back now, or by the next try, which knows by the note where it begins.
        let _ = file.set_len(start);
        return Err(error);
    }
    if is_new {
        flush_folder(folder)?;
    }
    Ok(())
}

/// Whether the record of an earlier try stands there whole. A part of it at the end of the file is taken back.
fn is_there(file: &mut File, note: Note, record: &[u8]) -> io::Result<bool> {
    let length = file.metadata()?.len();
    if note.length != record.len() as u64 || length < note.start {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(note.start))?;
    let mut there = Vec::new();
    (&mut *file).take(note.length).read_to_end(&mut there)?;
    if there == record {
        return Ok(true);
    }
    let ends_within = length < note.start + note.length;
    if ends_within && !there.is_empty() && record.starts_with(&there) {
        file.set_len(note.start)?;
    }
    Ok(false)
}

/// The notes that can be read; a line that was cut belongs to a record that was never begun.
fn read_notes(path: &Path) -> io::Result<Vec<Note>> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let note = |line: &str| {
        let mut numbers = line.split(' ');
        Some(Note {
            delivery: numbers.next()?.parse().ok()?,
            start: numbers.next()?.parse().ok()?,
            length: numbers.next()?.parse().ok()?,
        })
    };
    Ok(whole.lines().filter_map(note).collect())
}

fn write_note(folder: &Path, path: &Path, notes: &[Note], note: Note) -> io::Result<()> {
    let line = |note: &Note| format!("{} {} {}\n", note.delivery, note.start, note.length);
    let length = fs::metadata(path).map_or(0, |metadata| metadata.len());
    if length < LONG_NOTES {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        // A line that was cut before is ended first; an empty line is no note.
        file.write_all(format!("\n{}", line(&note)).as_bytes())?;
        file.sync_all()?;
        return if length == 0 { flush_folder(folder) } else { Ok(()) };
    }
    let kept = &notes[notes.len().saturating_sub(KEPT_NOTES)..];
    let text: String = kept.iter().chain([&note]).map(line).collect();
    let new = path.with_extension("punte-tmp");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    flush_folder(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(path: &Path, by: u64) {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(length - by).unwrap();
    }

    #[test]
    fn each_delivery_once_wherever_a_try_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let (file, notes) = (
            folder.path().join("day.csv"),
            folder.path().join(".day.csv.punte"),
        );
        let append =
            |delivery, record: &str| append(folder.path(), "day.csv", record.as_bytes(), delivery).unwrap();
        let read = || fs::read_to_string(&file).unwrap();
        append(1, "one\n");
        append(2, "two\n");
        // A repeat of the last, of one before it, and of one whose record was cut.
        append(2, "two\n");
        append(1, "one\n");
        assert_eq!(read(), "one\ntwo\n");
        cut(&file, 2);
        append(2, "two\n");
        assert_eq!(read(), "one\ntwo\n");
        // The same text once more is another delivery.
        append(3, "two\n");
        assert_eq!(read(), "one\ntwo\ntwo\n");
        // Nothing of the record was written, and the note itself was cut.
        cut(&file, 4);
        cut(&notes, 1);
        append(3, "two\n");
        append(4, "four\n");
        append(3, "two\n");
        assert_eq!(read(), "one\ntwo\ntwo\nfour\n");
        // Somebody takes the file away: the next begins a new one.
        fs::remove_file(&file).unwrap();
        append(5, "five\n");
        assert_eq!(read(), "five\n");
    }

    #[test]
    fn notes_stay_short() {
        let folder = tempfile::tempdir().unwrap();
        for delivery in 0..500 {
            append(folder.path(), "log", b"x", delivery).unwrap();
        }
        for delivery in 450..500 {
            append(folder.path(), "log", b"x", delivery).unwrap();
        }
        assert_eq!(fs::metadata(folder.path().join("log")).unwrap().len(), 500);
        assert!(fs::metadata(folder.path().join(".log.punte")).unwrap().len() < LONG_NOTES + 100);
    }
}
