//! Where sources that fetch go on.

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::{Shared, sql_error};
use crate::store::StoreError;
use crate::store::seal::{Column, Sealer};

/// A cursor as its row has it. The channel stands in it too: one that was put into another row is noticed.
pub(crate) fn sealed(sealer: &Sealer, channel: &str, cursor: &str) -> Result<Vec<u8>, StoreError> {
    let json = serde_json::to_vec(&(channel, cursor))
        .map_err(|error| StoreError::Unavailable(format!("a value can't be written: {error}")))?;
    sealer.seal(Column::Cursor, Uuid::nil(), 0, &json)
}

pub(crate) fn put(connection: &Connection, channel: &str, cursor: &[u8]) -> rusqlite::Result<bool> {
    connection.execute(
        "INSERT OR REPLACE INTO cursor (channel, cursor) VALUES (?1, ?2)",
        params![channel, cursor],
    )?;
    Ok(true)
}

pub(crate) fn of(
    shared: &Shared,
    connection: &Connection,
    channel: &str,
) -> Result<Option<String>, StoreError> {
    let sealed: Option<Vec<u8>> = connection
        .query_row("SELECT cursor FROM cursor WHERE channel = ?1", [channel], |row| {
            row.get(0)
        })
        .optional()
        .map_err(sql_error)?;
    let Some(sealed) = sealed else { return Ok(None) };
    let json = shared.sealer.open(Column::Cursor, Uuid::nil(), 0, &sealed)?;
    let (of, cursor): (String, String) = serde_json::from_slice(&json)
        .map_err(|_| StoreError::Damaged("where a source goes on can't be read".into()))?;
    if of == channel {
        Ok(Some(cursor))
    } else {
        Err(StoreError::Damaged(
            "where a source goes on is that of another".into(),
        ))
    }
}

/// The channel, its cursor sealed anew, and as it is.
pub(crate) type ResealedCursor = (String, Vec<u8>, Vec<u8>);

/// Cursors that an older key sealed.
pub(crate) fn of_older_keys(
    shared: &Shared,
    connection: &Connection,
) -> Result<Vec<ResealedCursor>, StoreError> {
    let (now, _) = shared.sealer.key_numbers();
    let rows: Vec<(String, Vec<u8>)> = connection
        .prepare("SELECT channel, cursor FROM cursor WHERE substr(cursor, -1) <> ?1")
        .and_then(|mut statement| {
            statement
                .query_map([[now]], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .map_err(sql_error)?;
    rows.into_iter()
        .map(|(channel, old)| {
            let new = shared.sealer.reseal(Column::Cursor, Uuid::nil(), 0, &old)?;
            Ok((channel, new, old))
        })
        .collect()
}
