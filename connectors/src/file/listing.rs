//! What lies in the folder, and since when it has not changed.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::disk::is_plain;
use super::pattern::Pattern;
use super::settings::Order;

/// What a file looked like: two that differ are two states of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) length: u64,
    pub(super) modified: SystemTime,
}

impl Stamp {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Stamp {
            length: metadata.len(),
            // A file system without times: then the length alone tells.
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }
}

/// A file that lies in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: OsString,
    pub(super) stamp: Stamp,
}

/// What a look at the folder has found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) files: Vec<Found>,
    /// Links of a name that would be read: they are not followed.
    pub(super) links: usize,
}

/// Looks at the folder. Sub-folders, pipes and hidden files are passed over.
pub(super) fn look(folder: &Path, patterns: &[Pattern]) -> io::Result<Seen> {
    let mut seen = Seen::default();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if !patterns.iter().any(|pattern| pattern.matches(&text)) {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) if is_plain(&metadata) => {
                let stamp = Stamp::of(&metadata);
                seen.files.push(Found { name, stamp });
            }
            Ok(metadata) if metadata.file_type().is_symlink() => seen.links += 1,
            Ok(_) => {}
            // It has just been taken away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(seen)
}

/// Which files have not changed for long enough.
#[derive(Debug, Default)]
pub(super) struct Watch {
    since: HashMap<OsString, (Stamp, Instant)>,
}

impl Watch {
    /// The files that are ready, in their order; the others are looked at again.
    pub(super) fn ready(
        &mut self,
        mut files: Vec<Found>,
        order: Order,
        stable: Duration,
        now: Instant,
    ) -> Vec<Found> {
        let mut since = HashMap::with_capacity(files.len());
        for file in &files {
            let first = match self.since.get(&file.name) {
                Some((stamp, first)) if *stamp == file.stamp => *first,
                Some(_) | None => now,
            };
            since.insert(file.name.clone(), (file.stamp, first));
        }
        self.since = since;
        files.retain(|file| {
            let first = self.since.get(&file.name).map_or(now, |(_, first)| *first);
            stable <= now.duration_since(first)
        });
        match order {
            Order::Name => files.sort_by(|one, other| one.name.cmp(&other.name)),
            Order::Modified => {
                files.sort_by(|one, other| {
                    (one.stamp.modified, &one.name).cmp(&(other.stamp.modified, &other.name))
                });
            }
        }
        files
    }

    /// It has changed while it was read.
    pub(super) fn begin_again(&mut self, name: &OsString) {
        self.since.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, length: u64, modified: u64) -> Found {
        Found {
            name: name.into(),
            stamp: Stamp {
                length,
                modified: SystemTime::UNIX_EPOCH + Duration::from_secs(modified),
            },
        }
    }

    #[test]
    fn a_file_is_ready_once_it_has_not_changed() {
        let start = Instant::now();
        let mut watch = Watch::default();
        let mut at = |seconds: u64, files: &[Found]| {
            let now = start + Duration::from_secs(seconds);
            let ready = watch.ready(files.to_vec(), Order::Name, Duration::from_secs(2), now);
            ready
                .into_iter()
                .map(|file| file.name.into_string().unwrap())
                .collect::<Vec<_>>()
        };
        let (a, b) = (file("a", 1, 1), file("b", 1, 1));
        assert!(at(0, &[b.clone(), a.clone()]).is_empty());
        assert!(at(1, &[b.clone(), a.clone()]).is_empty());
        assert_eq!(at(2, &[b.clone(), a.clone()]), ["a", "b"]);
        // It grows, or has another time: it begins anew.
        assert_eq!(at(3, &[b.clone(), file("a", 2, 1)]), ["b"]);
        assert_eq!(at(4, &[b.clone(), file("a", 2, 2)]), ["b"]);
        assert_eq!(at(6, &[b.clone(), file("a", 2, 2)]), ["a", "b"]);
        // It vanishes and comes again.
        assert_eq!(at(7, std::slice::from_ref(&b)), ["b"]);
        assert_eq!(at(8, &[b, file("a", 2, 2)]), ["b"]);
    }

    #[test]
    fn orders() {
        let files = [file("a", 1, 3), file("b", 1, 1), file("c", 1, 1)];
        let names = |order| {
            let ready = Watch::default().ready(files.to_vec(), order, Duration::ZERO, Instant::now());
            ready
                .into_iter()
                .map(|file| file.name.into_string().unwrap())
                .collect::<String>()
        };
        assert_eq!(
            (names(Order::Name), names(Order::Modified)),
            ("abc".to_owned(), "bca".to_owned())
        );
    }
}
