//! Whether the files of the store still lie where they were opened: a file that was removed, or that another one was put in
//! the place of, can be written to for as long as it is open, and all of that goes with the end of the program.

use std::path::{Path, PathBuf};

/// The database and its log, as they were when they were opened.
pub(crate) struct Place {
    files: Vec<(PathBuf, Option<Identity>)>,
    is_told: bool,
}

/// What tells one file from another: its disk, and its number there.
type Identity = (u64, u64);

impl Place {
    /// Of an open database, whose log has been made.
    pub(crate) fn of(database: &Path) -> Self {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let files = [database.to_owned(), PathBuf::from(log)];
        Place {
            files: files
                .into_iter()
                .map(|path| {
                    let identity = identity(&path);
                    (path, identity)
                })
                .collect(),
            is_told: false,
        }
    }

    /// Whether nothing was taken away. Tells the log of it, once each time.
    pub(crate) fn is_kept(&mut self) -> bool {
        let gone = self
            .files
            .iter()
            .find(|(path, known)| known.is_some() && identity(path) != *known);
        match gone {
            Some((path, _)) if !self.is_told => {
                tracing::error!(
                    path = %path.display(),
                    "A file of the store was removed, or another one lies in its place, under the running engine. Nothing is taken until it is back. Put it back, or stop the engine and restore a backup."
                );
            }
            None if self.is_told => tracing::warn!("The file of the store is back in its place."),
            Some(_) | None => {}
        }
        self.is_told = gone.is_some();
        !self.is_told
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;

    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// An open file can't be removed elsewhere.
#[cfg(not(unix))]
fn identity(_: &Path) -> Option<Identity> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_or_exchanged_is_noticed_until_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let (database, log) = (folder.path().join("punte.db"), folder.path().join("punte.db-wal"));
        let aside = folder.path().join("aside");
        std::fs::write(&database, "a").unwrap();
        std::fs::write(&log, "b").unwrap();
        for file in [&database, &log] {
            let mut place = Place::of(&database);
            assert!(place.is_kept());
            std::fs::rename(file, &aside).unwrap();
            assert!(!place.is_kept());
            std::fs::write(file, "another").unwrap();
            assert!(!place.is_kept());
            std::fs::rename(&aside, file).unwrap();
            assert!(place.is_kept());
        }
    }
}
