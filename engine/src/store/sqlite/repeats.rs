//! The hashes that messages are known again by, all in memory, so that a new message asks the disk nothing. Those of a
//! full store take a second to read: that is done beside the work, and until then the disk is asked.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use rusqlite::{Connection, OpenFlags};

use super::ready::{BUCKET, KeyKind, bucket, sent_of};

/// Halves of hashes, each as often as it came, so that taking out one leaves the others. A half is even: its upper part
/// says the place, its lower part stands there in no order. A million takes 4 MB.
struct Halves(Box<[Vec<u16>]>);

impl Halves {
    fn new() -> Self {
        Halves(vec![vec![]; 1 << 16].into())
    }

    fn insert(&mut self, half: u32) {
        self.0[(half >> 16) as usize].push(half as u16);
    }

    fn contains(&self, half: u32) -> bool {
        self.0[(half >> 16) as usize].contains(&(half as u16))
    }

    fn remove(&mut self, half: u32) {
        let place = &mut self.0[(half >> 16) as usize];
        if let Some(at) = place.iter().position(|found| *found == half as u16) {
            place.swap_remove(at);
        }
    }
}

/// The hashes of what was received and has a dedup key. Both halves of one hash may come from two messages: the disk is
/// asked then, and says so.
struct Known {
    /// The halves that do not know the content.
    sent: Halves,
    /// Those that do.
    content: Halves,
}

impl Known {
    fn new() -> Self {
        Known {
            sent: Halves::new(),
            content: Halves::new(),
        }
    }

    /// Reads all of it, from the first place that has any to the one of this message.
    fn read(connection: &Connection, first_place: i64, last: i64) -> rusqlite::Result<Self> {
        let mut known = Known::new();
        let mut statement = connection.prepare("SELECT hash FROM key WHERE bucket = ?1")?;
        for place in first_place..=last / BUCKET {
            let mut rows = statement.query([bucket(place * BUCKET, KeyKind::Repeat)])?;
            while let Some(row) = rows.next()? {
                known.insert(row.get(0)?);
            }
        }
        Ok(known)
    }

    fn contains(&self, hash: i64) -> bool {
        self.sent.contains(sent_of(hash)) && self.content.contains(hash as u32)
    }

    fn insert(&mut self, hash: i64) {
        self.sent.insert(sent_of(hash));
        self.content.insert(hash as u32);
    }

    fn remove(&mut self, hash: i64) {
        self.sent.remove(sent_of(hash));
        self.content.remove(hash as u32);
    }
}

enum State {
    Known(Known),
    /// What came since it began. Some of it may have been read as well, and what went stays: then a hash is known once too
    /// often, and the disk is asked for nothing. None is ever missing.
    Reading {
        from: Receiver<rusqlite::Result<Known>>,
        since: Vec<i64>,
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
            since.drain(..).for_each(|hash| known.insert(hash));
            self.state = State::Known(known);
        }
        match &self.state {
            State::Known(known) => Ok(Some(known)),
            State::Reading { .. } => Ok(None),
        }
    }

    /// Whether a message with this hash may be there.
    pub(crate) fn may_have(&mut self, hash: i64) -> rusqlite::Result<bool> {
        Ok(self.look()?.is_none_or(|known| known.contains(hash)))
    }

    /// The same of the half that does not know the content.
    pub(crate) fn may_have_sent(&mut self, sent: u32) -> rusqlite::Result<bool> {
        Ok(self.look()?.is_none_or(|known| known.sent.contains(sent)))
    }

    /// These came and those went.
    pub(crate) fn take(&mut self, came: impl Iterator<Item = i64>, went: &[i64]) {
        match &mut self.state {
            State::Known(known) => {
                came.for_each(|hash| known.insert(hash));
                went.iter().for_each(|hash| known.remove(*hash));
            }
            // What went may have gone before it was read: taking it out would take what another one shares with it.
            State::Reading { since, .. } => since.extend(came),
        }
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    super::same_for_all(&connection)?;
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
        // One is read as well, or not; one is new; one goes that was not there, with the first half of one that is.
        let came = [5 << 32 | 1, 9 << 32 | 9];
        repeats.take(came.into_iter(), &[6 << 32 | 5]);
        while repeats.look().unwrap().is_none() {
            std::thread::yield_now();
        }
        for hash in [5 << 32 | 1, 6 << 32 | 2, 7 << 32 | 3, 9 << 32 | 9] {
            assert!(repeats.may_have(hash).unwrap() && repeats.may_have_sent(sent_of(hash)).unwrap());
        }
        assert!(!repeats.may_have(1).unwrap() && !repeats.may_have_sent(0).unwrap());
        repeats.take(std::iter::empty(), &[8 << 32 | 4]);
        assert!(!repeats.may_have(8 << 32 | 4).unwrap() && !repeats.may_have_sent(8).unwrap());
    }

    #[test]
    fn what_shares_a_half_with_what_went_stays() {
        let mut known = Known::new();
        let (first, second, other) = (-7 << 32 | 1, -7 << 32 | 2, 7 << 32 | 1);
        [first, second, second, other]
            .into_iter()
            .for_each(|hash| known.insert(hash));
        known.remove(second);
        assert!(
            [first, second, other]
                .into_iter()
                .all(|hash| known.contains(hash))
        );
        known.remove(second);
        assert!(known.contains(first) && known.contains(other) && !known.contains(second));
        assert!(known.sent.contains(sent_of(second)));
        known.remove(first);
        known.remove(other);
        assert!(known.sent.0.iter().all(Vec::is_empty) && known.content.0.iter().all(Vec::is_empty));
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
