//! Sealing anew under the key of today what older keys sealed: a reader finds it and seals it, the writer puts it in
//! place of what was found, a few values at a time. Each value says under which key it is, so that a pass that was broken
//! off goes on with what is left.

use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use uuid::Uuid;

use super::commit::uuid_at;
use super::{Shared, SqliteStore, cursors, data_keys, halts, sql_error};
use crate::store::blob::Lying;
use crate::store::seal::{Column, KeyNr};
use crate::store::{MasterKey, ResealPlace, ResealStep, SealKeys, StoreError};

/// Values in one transaction, and their bytes.
const TOGETHER: usize = 64;
const BYTES: usize = 1 << 20;
/// Big bodies in one step.
const BLOBS: u64 = 16;
/// The writer is left alone for so many times as long as it was busy.
const PAUSE: u32 = 3;
/// What was sealed before the new key came may be on its way to the writer for so long.
const ON_ITS_WAY: Duration = Duration::from_secs(60);

/// A sealed column: how its values are found, from a row on, and put back. What is found: the row, the id and the number
/// that the value is bound to, the value.
struct Sealed {
    column: Column,
    find: &'static str,
    put: &'static str,
}

const COLUMNS: [Sealed; 7] = [
    Sealed {
        column: Column::MessageHead,
        find: "SELECT seq, id, 0, head FROM message WHERE seq > ?1 AND substr(head, -1) <> ?2 ORDER BY seq",
        put: "UPDATE message SET head = ?2 WHERE seq = ?1 AND head = ?3",
    },
    Sealed {
        column: Column::MessageBody,
        find: "SELECT b.seq, m.id, 0, b.body FROM body b JOIN message m ON m.seq = b.seq
               WHERE b.seq > ?1 AND substr(b.body, -1) <> ?2 ORDER BY b.seq",
        put: "UPDATE body SET body = ?2 WHERE seq = ?1 AND body = ?3",
    },
    Sealed {
        column: Column::DeliveryBody,
        find: "SELECT d.id, m.id, d.id % 1024, d.body FROM delivery d JOIN message m ON m.seq = d.id / 1024
               WHERE d.id > ?1 AND d.body IS NOT NULL AND substr(d.body, -1) <> ?2 ORDER BY d.id",
        put: "UPDATE delivery SET body = ?2 WHERE id = ?1 AND body = ?3",
    },
    Sealed {
        column: Column::AttemptNote,
        find: "SELECT id, zeroblob(16), id, note FROM attempt
               WHERE id > ?1 AND note IS NOT NULL AND substr(note, -1) <> ?2 ORDER BY id",
        put: "UPDATE attempt SET note = ?2 WHERE id = ?1 AND note = ?3",
    },
    Sealed {
        column: Column::AggregateData,
        find: "SELECT nr, id, version * 256 + kind, data FROM aggregate
               WHERE nr > ?1 AND substr(data, -1) <> ?2 ORDER BY nr",
        put: "UPDATE aggregate SET data = ?2 WHERE nr = ?1 AND data = ?3",
    },
    Sealed {
        column: Column::AggregateData,
        find: "SELECT h.nr, a.id, h.version * 256 + a.kind, h.data FROM history h JOIN aggregate a ON a.nr = h.aggregate
               WHERE h.nr > ?1 AND substr(h.data, -1) <> ?2 ORDER BY h.nr",
        put: "UPDATE history SET data = ?2 WHERE nr = ?1 AND data = ?3",
    },
    Sealed {
        column: Column::SeenNote,
        find: "SELECT delivery, zeroblob(16), delivery, note FROM seen
               WHERE delivery > ?1 AND substr(note, -1) <> ?2 ORDER BY delivery",
        put: "UPDATE seen SET note = ?2 WHERE delivery = ?1 AND note = ?3",
    },
];

/// A value that was sealed anew: its row, the new one, the old one.
type Anew = (i64, Vec<u8>, Vec<u8>);

/// The next values of a column that an older key sealed, sealed anew.
fn find(
    shared: &Shared,
    connection: &Connection,
    sealed: &Sealed,
    after: i64,
) -> Result<Vec<Anew>, StoreError> {
    let (now, _) = shared.sealer.key_numbers();
    let mut statement = connection.prepare_cached(sealed.find).map_err(sql_error)?;
    let mut rows = statement.query(params![after, [now]]).map_err(sql_error)?;
    let (mut found, mut bytes) = (vec![], 0);
    while let Some(row) = rows.next().map_err(sql_error)? {
        let read = || -> rusqlite::Result<(i64, Uuid, i64, Vec<u8>)> {
            Ok((row.get(0)?, uuid_at(row, 1)?, row.get(2)?, row.get(3)?))
        };
        let (at, id, n, old) = read().map_err(sql_error)?;
        match shared.sealer.reseal(sealed.column, id, n as u64, &old) {
            Ok(new) => {
                bytes += new.len();
                found.push((at, new, old));
            }
            // It can't be opened: it stays as it is, and punte verify says which it is.
            Err(_) => {
                tracing::error!("A sealed value can't be opened, and is not sealed anew. Run punte verify.")
            }
        }
        if found.len() == TOGETHER || BYTES < bytes {
            break;
        }
    }
    Ok(found)
}

impl SqliteStore {
    /// A new data key, which seals from now on. What older keys sealed is sealed anew by [`SqliteStore::reseal_step`].
    pub(crate) async fn take_new_key(&self, master: &MasterKey) -> Result<KeyNr, StoreError> {
        let new = {
            let reader = self.shared.readers.get()?;
            data_keys::next(&reader, master)?
        };
        let nr = new.nr;
        let key = new.key.clone();
        let is_written = self
            .small(move |connection| data_keys::write(connection, &new))
            .await?;
        if !is_written {
            return Err(StoreError::Unavailable(
                "its keys were changed at the same moment; ask for the new one again".into(),
            ));
        }
        // It is on disk: what it seals can be opened again.
        self.shared.sealer.take_key(nr, &key)?;
        *self.renewed() = Some(Instant::now());
        Ok(nr)
    }

    fn renewed(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.renewed
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The keys, and how far sealing anew is.
    pub(crate) async fn keys_in_use(&self) -> Result<SealKeys, StoreError> {
        let (now, older) = self.shared.sealer.key_numbers();
        self.read_with(move |_, connection| {
            let older = older
                .into_iter()
                .map(|nr| Ok((nr, journal_rows(connection, nr).map_err(sql_error)?)))
                .collect::<Result<Vec<_>, StoreError>>()?;
            Ok(SealKeys {
                now,
                is_resealed: older.is_empty() || data_keys::is_resealed(connection, now)?,
                older,
            })
        })
        .await
    }

    /// Seals a few values anew. `place`: where the last step ended.
    pub(crate) async fn reseal_step(&self, place: ResealPlace) -> Result<ResealStep, StoreError> {
        let ResealPlace { part, after } = place;
        if let Some(sealed) = COLUMNS.get(part) {
            let found = self
                .read_with(move |shared, connection| find(shared, connection, sealed, after))
                .await?;
            let count = found.len() as u64;
            let Some(last) = found.last().map(|(at, _, _)| *at) else {
                return Ok(ResealStep::next(part + 1, 0, 0));
            };
            let begun = Instant::now();
            self.small(move |connection| {
                let mut put = connection.prepare_cached(sealed.put)?;
                for (at, new, old) in &found {
                    put.execute(params![at, new, old])?;
                }
                Ok(true)
            })
            .await?;
            tokio::time::sleep(begun.elapsed() * PAUSE).await;
            return Ok(ResealStep::next(part, last, count));
        }
        match part - COLUMNS.len() {
            0 => self.reseal_notes().await,
            _ => self.reseal_blobs(after).await,
        }
    }

    /// What was stopped and where sources go on: a few rows.
    async fn reseal_notes(&self) -> Result<ResealStep, StoreError> {
        let (halts, cursors) = self
            .read_with(|shared, connection| {
                Ok((
                    halts::of_older_keys(shared, connection)?,
                    cursors::of_older_keys(shared, connection)?,
                ))
            })
            .await?;
        let count = (halts.len() + cursors.len()) as u64;
        if count != 0 {
            self.small(move |connection| {
                for (channel, destination, new, old) in &halts {
                    connection.execute(
                        "UPDATE halt SET note = ?3 WHERE channel = ?1 AND destination = ?2 AND note = ?4",
                        params![channel, destination, new, old],
                    )?;
                }
                for (channel, new, old) in &cursors {
                    connection.execute(
                        "UPDATE cursor SET cursor = ?2 WHERE channel = ?1 AND cursor = ?3",
                        params![channel, new, old],
                    )?;
                }
                Ok(true)
            })
            .await?;
        }
        Ok(ResealStep::next(COLUMNS.len() + 1, 0, count))
    }

    /// Some big bodies: `after` is how many were looked at.
    async fn reseal_blobs(&self, after: i64) -> Result<ResealStep, StoreError> {
        let (after, count) = self
            .read_with(move |shared, _| {
                let mut all = shared.blobs.all()?;
                all.sort_unstable_by_key(Lying::order);
                let (mut looked, mut count) = (usize::try_from(after).unwrap_or_default(), 0);
                while let Some(lying) = all.get(looked)
                    && count < BLOBS
                {
                    looked += 1;
                    count += u64::from(shared.blobs.reseal(&shared.sealer, lying)?);
                }
                Ok((looked as i64, count))
            })
            .await?;
        Ok(match count {
            0 => ResealStep { next: None, count },
            _ => ResealStep::next(COLUMNS.len() + 1, after, count),
        })
    }

    /// Takes away the keys under which nothing is sealed any more, after a pass that found nothing and began then. The
    /// journal keeps its values: its chain is over them.
    pub(crate) async fn forget_old_keys(&self, begun: Instant) -> Result<Vec<KeyNr>, StoreError> {
        let may_be_on_its_way = self.renewed().is_some_and(|renewed| begun < renewed + ON_ITS_WAY);
        if may_be_on_its_way {
            return Ok(vec![]);
        }
        let keys = self.keys_in_use().await?;
        let now = keys.now;
        let gone: Vec<KeyNr> = keys
            .older
            .iter()
            .filter(|(_, rows)| *rows == 0)
            .map(|(nr, _)| *nr)
            .collect();
        let numbers = gone.clone();
        self.small(move |connection| {
            data_keys::set_resealed(connection, now)?;
            numbers
                .iter()
                .try_for_each(|nr| data_keys::remove(connection, *nr))?;
            Ok(true)
        })
        .await?;
        self.shared.sealer.forget_keys(&gone);
        Ok(gone)
    }
}

/// Rows of the journal that this key sealed.
fn journal_rows(connection: &Connection, nr: KeyNr) -> rusqlite::Result<u64> {
    connection.query_row(
        "SELECT count(*) FROM journal WHERE substr(entry, -1) = ?1",
        [[nr]],
        |row| row.get::<_, i64>(0).map(i64::unsigned_abs),
    )
}

/// The number that SQL makes of version and kind is the one that they are sealed with.
#[cfg(test)]
#[test]
fn version_and_kind_are_as_in_sql() {
    assert_eq!(super::clinic::version_and_kind(7, 3), 7 * 256 + 3);
}
