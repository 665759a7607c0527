//! Files that are done with: moved where no other file is overwritten, or deleted.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::is_one_file;
use super::name::split_ending;

/// How many files of one name a folder may hold.
const MOST_OF_A_NAME: u32 = 100_000;

/// Moves a file into a folder, which is made if it is not there. Where its name is taken it gets a number:
/// `a.hl7`, `a-2.hl7`. Says where it is now.
///
/// By a second name and the removal of the first: killed between the two, the next move finds that both are one file.
pub(super) fn move_into(folder: &Path, file: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let name = file.file_name().unwrap_or_default();
    let mut target = folder.join(name);
    for number in 2..=MOST_OF_A_NAME {
        match fs::hard_link(file, &target) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !is_one_file(file, &target)? {
                    target = folder.join(numbered(name, number));
                    continue;
                }
            }
            // Another disk, one without second names, or somebody else's file.
            Err(_) => return rename_into(folder, file),
        }
        if let Err(error) = fs::remove_file(file) {
            let _ = fs::remove_file(&target);
            return Err(error);
        }
        return Ok(target);
    }
    Err(too_many())
}

/// As [`move_into`], where a file can't have two names: killed in the middle, it leaves an empty one.
fn rename_into(folder: &Path, file: &Path) -> io::Result<PathBuf> {
    let target = reserve(folder, file.file_name().unwrap_or_default())?;
    match fs::rename(file, &target) {
        Ok(()) => Ok(target),
        // Another disk.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let copied = fs::copy(file, &target).and_then(|_| fs::File::open(&target)?.sync_all());
            if let Err(error) = copied.and_then(|()| fs::remove_file(file)) {
                let _ = fs::remove_file(&target);
                return Err(error);
            }
            Ok(target)
        }
        Err(error) => {
            let _ = fs::remove_file(&target);
            Err(error)
        }
    }
}

/// Makes an empty file of a free name, so that nobody else takes the name meanwhile.
fn reserve(folder: &Path, name: &std::ffi::OsStr) -> io::Result<PathBuf> {
    let mut target = folder.join(name);
    for number in 2..=MOST_OF_A_NAME {
        match OpenOptions::new().write(true).create_new(true).open(&target) {
            Ok(_) => return Ok(target),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                target = folder.join(numbered(name, number));
            }
            Err(error) => return Err(error),
        }
    }
    Err(too_many())
}

fn too_many() -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        "there are too many files of this name already",
    )
}

/// `a.hl7` as `a-2.hl7`. A name that is no UTF-8 gets its number at its end, so that no byte of it is lost.
pub(super) fn numbered(name: &std::ffi::OsStr, number: u32) -> std::ffi::OsString {
    match name.to_str() {
        Some(name) => {
            let (stem, ending) = split_ending(name);
            format!("{stem}-{number}{ending}").into()
        }
        None => {
            let mut name = name.to_owned();
            name.push(format!("-{number}"));
            name
        }
    }
}

/// Writes beside a file why it was set aside.
pub(super) fn give_reason(file: &Path, why: &str) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".reason.txt");
    fs::write(file.with_file_name(name), format!("{why}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_that_was_broken_off_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        let (file, done) = (folder.path().join("a.hl7"), folder.path().join("done"));
        fs::write(&file, "one").unwrap();
        fs::create_dir(&done).unwrap();
        // Killed when it had both names.
        fs::hard_link(&file, done.join("a.hl7")).unwrap();
        assert_eq!(move_into(&done, &file).unwrap(), done.join("a.hl7"));
        assert!(!file.exists());
        // Another file of that name is another one.
        fs::write(&file, "two").unwrap();
        assert_eq!(move_into(&done, &file).unwrap(), done.join("a-2.hl7"));
        assert_eq!(fs::read_dir(&done).unwrap().count(), 2);
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let done = folder.path().join("done");
        for round in ["one", "two", "three"] {
            let file = folder.path().join("a.b.hl7");
            fs::write(&file, round).unwrap();
            let now = move_into(&done, &file).unwrap();
            give_reason(&now, round).unwrap();
            assert!(!file.exists());
        }
        let read = |name: &str| fs::read_to_string(done.join(name)).unwrap();
        assert_eq!(
            [read("a.b.hl7"), read("a.b-2.hl7"), read("a.b-3.hl7")],
            ["one", "two", "three"]
        );
        assert_eq!(read("a.b-2.hl7.reason.txt"), "two\n");
        // What can't be moved leaves nothing behind.
        assert!(move_into(&done, &folder.path().join("gone")).is_err());
        assert!(!done.join("gone").exists());
    }
}
