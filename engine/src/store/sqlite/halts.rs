//! Channels and destinations that stand still.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Shared, sql_error, time};
use crate::store::seal::{Column, Sealer};
use crate::store::{Halt, HaltWord, StoreError};

/// What is sealed. The names stand in it too: a note that was put into another row is noticed.
#[derive(Serialize, Deserialize)]
struct Note {
    channel: String,
    destination: String,
    word: HaltWord,
    by: String,
    reason: Option<String>,
}

/// A halt as its row has it.
pub(crate) struct SealedHalt {
    channel: String,
    destination: String,
    since: i64,
    note: Vec<u8>,
}

pub(crate) fn sealed(sealer: &Sealer, halt: &Halt) -> Result<SealedHalt, StoreError> {
    let destination = halt.destination.clone().unwrap_or_default();
    let note = Note {
        channel: halt.channel.clone(),
        destination: destination.clone(),
        word: halt.word,
        by: halt.by.clone(),
        reason: halt.reason.clone(),
    };
    let json = serde_json::to_vec(&note)
        .map_err(|error| StoreError::Unavailable(format!("a value can't be written: {error}")))?;
    Ok(SealedHalt {
        channel: halt.channel.clone(),
        destination,
        since: halt.since.as_microsecond(),
        note: sealer.seal(Column::HaltNote, Uuid::nil(), 0, &json)?,
    })
}

pub(crate) fn put(connection: &Connection, halt: &SealedHalt) -> rusqlite::Result<bool> {
    connection.execute(
        "INSERT OR REPLACE INTO halt (channel, destination, since, note) VALUES (?1, ?2, ?3, ?4)",
        params![halt.channel, halt.destination, halt.since, halt.note],
    )?;
    Ok(true)
}

pub(crate) fn remove(connection: &Connection, channel: &str, destination: &str) -> rusqlite::Result<bool> {
    let removed = connection.execute(
        "DELETE FROM halt WHERE channel = ?1 AND destination = ?2",
        [channel, destination],
    )?;
    Ok(removed > 0)
}

pub(crate) fn all(shared: &Shared, connection: &Connection) -> Result<Vec<Halt>, StoreError> {
    let rows: Vec<SealedHalt> = connection
        .prepare("SELECT channel, destination, since, note FROM halt ORDER BY channel, destination")
        .and_then(|mut statement| {
            statement
                .query_map([], |row| {
                    Ok(SealedHalt {
                        channel: row.get(0)?,
                        destination: row.get(1)?,
                        since: row.get(2)?,
                        note: row.get(3)?,
                    })
                })?
                .collect()
        })
        .map_err(sql_error)?;
    rows.into_iter().map(|row| open(&shared.sealer, row)).collect()
}

/// The two names, the note sealed anew, and as it is.
pub(crate) type ResealedHalt = (String, String, Vec<u8>, Vec<u8>);

/// Notes that an older key sealed.
pub(crate) fn of_older_keys(
    shared: &Shared,
    connection: &Connection,
) -> Result<Vec<ResealedHalt>, StoreError> {
    let (now, _) = shared.sealer.key_numbers();
    let rows: Vec<(String, String, Vec<u8>)> = connection
        .prepare("SELECT channel, destination, note FROM halt WHERE substr(note, -1) <> ?1")
        .and_then(|mut statement| {
            statement
                .query_map([[now]], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })
        .map_err(sql_error)?;
    rows.into_iter()
        .map(|(channel, destination, old)| {
            let new = shared.sealer.reseal(Column::HaltNote, Uuid::nil(), 0, &old)?;
            Ok((channel, destination, new, old))
        })
        .collect()
}

fn open(sealer: &Sealer, row: SealedHalt) -> Result<Halt, StoreError> {
    let json = sealer.open(Column::HaltNote, Uuid::nil(), 0, &row.note)?;
    let note: Note = serde_json::from_slice(&json)
        .ok()
        .filter(|note: &Note| note.channel == row.channel && note.destination == row.destination)
        .ok_or_else(|| StoreError::Damaged("what was stopped can't be read".into()))?;
    Ok(Halt {
        channel: row.channel,
        destination: Some(row.destination).filter(|name| !name.is_empty()),
        word: note.word,
        since: time(row.since),
        by: note.by,
        reason: note.reason,
    })
}
