//! The keys of a store, as `meta` has them, each sealed under the master key: the data keys (`data_key.1` …; `data_key`
//! says which one seals), and the hash key, which stays.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::sql_error;
use crate::store::keys::{KeyError, MasterKey, random_key};
use crate::store::seal::{Column, KeyNr, Sealer};
use crate::store::{RewrapError, StoreError};

const HASH_KEY: &str = "hash_key";
const NOW: &str = "data_key";
/// Under which key all but the journal is.
const RESEALED: &str = "resealed";
const DATA_KEY: &str = "data_key.";

fn damaged(what: impl Into<String>) -> StoreError {
    StoreError::Damaged(what.into())
}

fn get(connection: &Connection, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    connection
        .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
        .optional()
        .map_err(sql_error)
}

fn put(connection: &Connection, name: &str, value: &[u8]) -> rusqlite::Result<()> {
    connection
        .execute(
            "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)",
            params![name, value],
        )
        .map(|_| ())
}

/// The data keys with their names, as they are wrapped.
fn wrapped(connection: &Connection) -> Result<Vec<(KeyNr, String, Vec<u8>)>, StoreError> {
    let rows: Vec<(String, Vec<u8>)> = connection
        .prepare("SELECT name, value FROM meta WHERE name GLOB 'data_key.*'")
        .and_then(|mut statement| {
            statement
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .map_err(sql_error)?;
    rows.into_iter()
        .map(|(name, value)| {
            let nr = name.strip_prefix(DATA_KEY).and_then(|nr| nr.parse().ok());
            let nr = nr.ok_or_else(|| damaged(format!("its key {name} has no number")))?;
            Ok((nr, name, value))
        })
        .collect()
}

fn now(connection: &Connection) -> Result<Option<KeyNr>, StoreError> {
    Ok(match get(connection, NOW)?.as_deref() {
        None => None,
        Some([nr]) => Some(*nr),
        Some(_) => {
            return Err(damaged(
                "it is sealed as a version before the first release did it, which this one does not read",
            ));
        }
    })
}

/// The keys that a store has, unwrapped, and its clinic; none: it has none yet.
pub(crate) fn stored(
    connection: &Connection,
    master: &MasterKey,
) -> Result<Option<(Sealer, Uuid)>, StoreError> {
    let (Some(now), Some(hash), Some(its)) = (
        now(connection)?,
        get(connection, HASH_KEY)?,
        get(connection, "clinic")?,
    ) else {
        return Ok(None);
    };
    let its = Uuid::from_slice(&its).map_err(|_| damaged("the id of its clinic can't be read"))?;
    let hash = master.unwrap(HASH_KEY, &hash)?;
    let mut data = Zeroizing::new(vec![]);
    for (nr, name, value) in wrapped(connection)? {
        data.push((nr, *master.unwrap(&name, &value)?));
    }
    Ok(Some((Sealer::with(&data, now, &hash)?, its)))
}

/// The keys of a new store.
pub(crate) fn make(
    connection: &Connection,
    master: &MasterKey,
    clinic: Uuid,
) -> Result<(Sealer, Uuid), StoreError> {
    let has_messages = connection
        .prepare("SELECT 1 FROM message LIMIT 1")
        .and_then(|mut statement| statement.exists([]))
        .map_err(sql_error)?;
    if has_messages {
        return Err(damaged("its keys are missing"));
    }
    let data = random_key().map_err(no_randomness)?;
    let hash = random_key().map_err(no_randomness)?;
    let name = format!("{DATA_KEY}1");
    let values = [
        (name.as_str(), master.wrap(&name, &data)?),
        (NOW, vec![1]),
        (HASH_KEY, master.wrap(HASH_KEY, &hash)?),
        ("clinic", clinic.as_bytes().to_vec()),
    ];
    let write = || {
        let transaction = connection.unchecked_transaction()?;
        for (name, value) in &values {
            put(&transaction, name, value)?;
        }
        transaction.commit()
    };
    write().map_err(sql_error)?;
    Ok((Sealer::with(&[(1, *data)], 1, &hash)?, clinic))
}

fn no_randomness(error: KeyError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// A new data key, wrapped, with the number that it is to have.
pub(crate) struct NewKey {
    pub(crate) nr: KeyNr,
    pub(crate) key: Zeroizing<[u8; 32]>,
    wrapped: Vec<u8>,
    /// The hash key as it was wrapped then: another master key wraps it anew.
    hash: Option<Vec<u8>>,
}

/// Makes the next data key. Refuses another master key than the one that the store's keys are wrapped under now.
pub(crate) fn next(connection: &Connection, master: &MasterKey) -> Result<NewKey, StoreError> {
    stored(connection, master)?;
    let taken: Vec<KeyNr> = wrapped(connection)?.into_iter().map(|(nr, _, _)| nr).collect();
    let after = now(connection)?.unwrap_or(0);
    let nr = (after..=KeyNr::MAX)
        .skip(1)
        .chain(1..=after)
        .find(|nr| !taken.contains(nr))
        .ok_or_else(|| StoreError::Unavailable("it has as many data keys as there can be".into()))?;
    let key = random_key().map_err(no_randomness)?;
    let wrapped = master.wrap(&format!("{DATA_KEY}{nr}"), &key)?;
    let hash = get(connection, HASH_KEY)?;
    Ok(NewKey {
        nr,
        key,
        wrapped,
        hash,
    })
}

/// Writes the new key down as the one that seals. False: the keys were wrapped anew or renewed since it was made, and
/// nothing is written; under the older master key nobody could unwrap it.
pub(crate) fn write(connection: &Connection, new: &NewKey) -> rusqlite::Result<bool> {
    let get = |name: &str| -> rusqlite::Result<Option<Vec<u8>>> {
        let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
        statement.query_row([name], |row| row.get(0)).optional()
    };
    let name = format!("{DATA_KEY}{}", new.nr);
    // A batch that failed is written again: then it stands there already.
    let is_taken = get(&name)?.is_some_and(|there| there != new.wrapped);
    if is_taken || get(HASH_KEY)? != new.hash {
        return Ok(false);
    }
    put(connection, &name, &new.wrapped)?;
    put(connection, NOW, &[new.nr])?;
    Ok(true)
}

/// Takes a key away under which nothing is sealed any more.
pub(crate) fn remove(connection: &Connection, nr: KeyNr) -> rusqlite::Result<()> {
    connection
        .execute("DELETE FROM meta WHERE name = ?1", [format!("{DATA_KEY}{nr}")])
        .map(|_| ())
}

/// Whether all but the journal is sealed under this key.
pub(crate) fn is_resealed(connection: &Connection, now: KeyNr) -> Result<bool, StoreError> {
    Ok(get(connection, RESEALED)?.as_deref() == Some(&[now]))
}

/// Notes that it is.
pub(crate) fn set_resealed(connection: &Connection, now: KeyNr) -> rusqlite::Result<()> {
    put(connection, RESEALED, &[now])
}

/// The keys of the store in a data folder, whether an engine runs there or not.
fn beside(folder: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(
        folder.join("punte.db"),
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(sql_error)?;
    connection
        .busy_timeout(Duration::from_secs(10))
        .and_then(|()| connection.pragma_update(None, "synchronous", "FULL"))
        .and_then(|()| super::same_for_all(&connection))
        .map_err(sql_error)?;
    Ok(connection)
}

/// The master key, sealed under the data key of now.
pub(crate) fn hand_over(folder: &Path, master: &MasterKey) -> Result<Vec<u8>, StoreError> {
    let connection = beside(folder)?;
    let (sealer, _) = stored(&connection, master)?.ok_or_else(|| damaged("its keys are missing"))?;
    sealer.seal(Column::HandedKey, Uuid::nil(), 0, master.bytes())
}

/// Opens what [`hand_over`] sealed.
pub(crate) fn handed(sealer: &Sealer, sealed: &[u8]) -> Result<MasterKey, StoreError> {
    let plain = Zeroizing::new(sealer.open(Column::HandedKey, Uuid::nil(), 0, sealed)?);
    MasterKey::from_bytes(&plain).ok_or_else(|| damaged("what was handed over is no master key"))
}

/// Seals the keys of a store under another master key, in one transaction, whether an engine runs there or not: that one
/// has them open already. Returns how many there are.
pub(crate) fn rewrap(folder: &Path, old: &MasterKey, new: &MasterKey) -> Result<usize, RewrapError> {
    let mut connection = beside(folder)?;
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(sql_error)?;
    if matches!(stored(&transaction, new), Ok(Some(_))) {
        return Err(RewrapError::Already);
    }
    stored(&transaction, old)?.ok_or_else(|| damaged("its keys are missing"))?;
    let mut names: Vec<(String, Vec<u8>)> = wrapped(&transaction)?
        .into_iter()
        .map(|(_, name, value)| (name, value))
        .collect();
    if let Some(hash) = get(&transaction, HASH_KEY)? {
        names.push((HASH_KEY.to_owned(), hash));
    }
    for (name, value) in &names {
        let key = old.unwrap(name, value)?;
        put(&transaction, name, &new.wrap(name, &key)?).map_err(sql_error)?;
    }
    stored(&transaction, new)?;
    transaction.commit().map_err(sql_error)?;
    Ok(names.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{SqliteOptions, SqliteStore, Store};

    /// A data folder with a store, closed, and its master key.
    async fn store() -> (tempfile::TempDir, MasterKey) {
        let folder = tempfile::tempdir().expect("a folder");
        let master = key("a");
        let store = SqliteStore::open(folder.path(), &master, SqliteOptions::default());
        store.await.expect("a store").close().await.expect("closed");
        (folder, master)
    }

    fn key(digit: &str) -> MasterKey {
        MasterKey::from_hex(&digit.repeat(64)).expect("a key")
    }

    #[tokio::test]
    async fn a_key_made_before_a_rewrap_is_not_written_behind_it() {
        let (folder, old) = store().await;
        let new = key("b");
        let connection = beside(folder.path()).expect("open");
        let made = next(&connection, &old).expect("a new key");
        rewrap(folder.path(), &old, &new).expect("rewrapped");
        assert!(!write(&connection, &made).expect("no failure"));
        assert!(matches!(stored(&connection, &new), Ok(Some(_))));
        let made = next(&connection, &new).expect("a new key");
        assert!(write(&connection, &made).expect("no failure"));
        assert!(write(&connection, &made).expect("no failure"), "the same again");
        assert_eq!(now(&connection).expect("a number"), Some(made.nr));
        assert!(matches!(stored(&connection, &new), Ok(Some(_))));
    }

    #[tokio::test]
    async fn of_two_keys_made_at_once_one_is_written() {
        let (folder, master) = store().await;
        let connection = beside(folder.path()).expect("open");
        let made = next(&connection, &master).expect("a new key");
        let other = next(&connection, &master).expect("a new key");
        assert!(write(&connection, &made).expect("no failure"));
        assert!(!write(&connection, &other).expect("no failure"));
        assert!(matches!(stored(&connection, &master), Ok(Some(_))));
    }
}
