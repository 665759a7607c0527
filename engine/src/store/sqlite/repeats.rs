//! The hashes that messages are known again by, all in memory, so that a new message asks the disk nothing. Those of a
//! full store take a second to read: that is done beside the work, and until then the disk is asked.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use rusqlite::{Connection, OpenFlags};

use super::ready::{BUCKET, KeyKind, bucket, sent_of};

/// A set that knows which of its members came more than once, so that taking out one of them leaves the others.
struct Many<T> {
    all: HashSet<T>,
    more: HashMap<T, u32>,
}

impl<T: Copy + Eq + std::hash::Hash> Many<T> {
    fn new() -> Self {
        Many {
            all: HashSet::new(),
            more: HashMap::new(),
        }
    }

    fn insert(&mut self, one: T) {
        if !self.all.insert(one) {
            *self.more.entry(one).or_default() += 1;
        }
    }

    fn contains(&self, one: &T) -> bool {
        self.all.contains(one)
    }

    fn remove(&mut self, one: T) {
        match self.more.get_mut(&one) {
            Some(1) => drop(self.more.remove(&one)),
            Some(more) => *more -= 1,
            None => drop(self.all.remove(&one)),
        }
    }
}

/// What stands in the store.
struct Known {
    /// Hashes of what was received and has a dedup key.
    whole: Many<i64>,
    /// The halves of those that do not know the content.
    sent: Many<u32>,
}

impl Known {
    /// Reads all of it, from the first place that has any to the one of this message.
    fn read(connection: &Connection, first_place: i64, last: i64) -> rusqlite::Result<Self> {
        let mut known = Known {
            whole: Many::new(),
            sent: Many::new(),
        };
        let mut statement = connection.prepare("SELECT hash FROM key WHERE bucket = ?1")?;
        for place in first_place..=last / BUCKET {
            let mut rows = statement.query([bucket(place * BUCKET, KeyKind::Repeat)])?;
            while let Some(row) = rows.next()? {
                known.insert(row.get(0)?);
            }
        }
        Ok(known)
    }

    fn insert(&mut self, hash: i64) {
        self.whole.insert(hash);
        self.sent.insert(sent_of(hash));
    }

    fn remove(&mut self, hash: i64) {
        self.whole.remove(hash);
        self.sent.remove(sent_of(hash));
    }
}

/// A hash came, or went.
enum Moved {
    Came(i64),
    Went(i64),
}

enum State {
    Known(Known),
    /// What has moved since it began. Some of it may have been read as well: then a hash is known once too often, and the
    /// disk is asked for nothing. None is ever missing.
    Reading {
        from: Receiver<rusqlite::Result<Known>>,
        since: Vec<Moved>,
    },
}

/// The hashes of a store. A hit is to be looked up on disk, what is no hit is new.
pub(crate) struct Repeats {
    state: State,
}

impl Repeats {
    /// Begins to read them.
    pub(crate) fn begin(path: &Path, first_place: i64, last: i64) -> rusqlite::Result<Self> {
        let (to, from) = channel();
        let path: PathBuf = path.into();
        let read = move || {
            // Nobody waits any more where the store was closed meanwhile.
            let _ = to.send(open(&path).and_then(|connection| Known::read(&connection, first_place, last)));
        };
        let thread = std::thread::Builder::new()
            .name("punte-repeats".into())
            .spawn(read);
        thread.map_err(|error| {
            rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
                Some(format!("no thread: {error}")),
            )
        })?;
        let since = vec![];
        Ok(Repeats {
            state: State::Reading { from, since },
        })
    }

    /// Takes over what was read, where it is there.
    fn look(&mut self) -> rusqlite::Result<Option<&Known>> {
        if let State::Reading { from, since } = &mut self.state {
            let mut known = match from.try_recv() {
                Ok(read) => read?,
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => {
                    return Err(rusqlite::Error::SqliteFailure(
                        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR),
                        Some("the hashes of the messages could not be read".into()),
                    ));
                }
            };
            for moved in since.drain(..) {
                match moved {
                    Moved::Came(hash) => known.insert(hash),
                    Moved::Went(hash) => known.remove(hash),
                }
            }
            self.state = State::Known(known);
        }
        match &self.state {
            State::Known(known) => Ok(Some(known)),
            State::Reading { .. } => Ok(None),
        }
    }

    /// Whether a message with this hash may be there.
    pub(crate) fn may_have(&mut self, hash: i64) -> rusqlite::Result<bool> {
        Ok(self.look()?.is_none_or(|known| known.whole.contains(&hash)))
    }

    /// The same of the half that does not know the content.
    pub(crate) fn may_have_sent(&mut self, sent: u32) -> rusqlite::Result<bool> {
        Ok(self.look()?.is_none_or(|known| known.sent.contains(&sent)))
    }

    /// These came and those went.
    pub(crate) fn take(&mut self, came: impl Iterator<Item = i64>, went: &[i64]) {
        let went = went.iter().copied();
        match &mut self.state {
            State::Known(known) => {
                came.for_each(|hash| known.insert(hash));
                went.for_each(|hash| known.remove(hash));
            }
            State::Reading { since, .. } => {
                since.extend(came.map(Moved::Came));
                since.extend(went.map(Moved::Went));
            }
        }
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    super::never_checkpoint_on_close(&connection)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_while_they_are_read_is_known_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let store = Connection::open(&path).unwrap();
        store
            .execute_batch("CREATE TABLE key (bucket INTEGER, hash INTEGER, message INTEGER)")
            .unwrap();
        let hashes = [
            (1, 5 << 32 | 1),
            (2, 6 << 32 | 2),
            (3 * BUCKET, 7 << 32 | 3),
            (4, 8 << 32 | 4),
        ];
        for (message, hash) in hashes {
            store
                .execute(
                    "INSERT INTO key VALUES (?1, ?2, ?3)",
                    [bucket(message, KeyKind::Repeat), hash, message],
                )
                .unwrap();
        }
        let mut repeats = Repeats::begin(&path, 0, 3 * BUCKET).unwrap();
        // One is read as well, or not; one is new; one goes.
        let came = [5 << 32 | 1, 9 << 32 | 9];
        repeats.take(came.into_iter(), &[8 << 32 | 4]);
        while repeats.look().unwrap().is_none() {
            std::thread::yield_now();
        }
        for hash in [5 << 32 | 1, 6 << 32 | 2, 7 << 32 | 3, 9 << 32 | 9] {
            assert!(repeats.may_have(hash).unwrap() && repeats.may_have_sent(sent_of(hash)).unwrap());
        }
        for hash in [8 << 32 | 4, 1] {
            assert!(!repeats.may_have(hash).unwrap() && !repeats.may_have_sent(sent_of(hash)).unwrap());
        }
        repeats.take(std::iter::empty(), &[6 << 32 | 2]);
        assert!(!repeats.may_have(6 << 32 | 2).unwrap());
    }

    #[test]
    fn before_they_are_read_each_may_be_there() {
        let (_to, from) = channel();
        let since = vec![];
        let mut repeats = Repeats {
            state: State::Reading { from, since },
        };
        assert!(repeats.may_have(1).unwrap() && repeats.may_have_sent(1).unwrap());
    }
}
