//! Counters of scripts: they move in the transaction of the message that took their numbers.

use rusqlite::{Connection, OptionalExtension, params};

use crate::store::{CounterKey, CounterMove};

fn channel(key: &CounterKey) -> &str {
    key.channel.as_deref().unwrap_or_default()
}

/// The number that a counter gave last; none: it has given none.
pub(crate) fn given(connection: &Connection, key: &CounterKey) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT given FROM counter WHERE channel = ?1 AND name = ?2")?
        .query_row(params![channel(key), key.name], |row| row.get::<_, i64>(0))
        .map(|given| given.unsigned_abs())
        .optional()
}

/// Whether all of them stand where the message found them.
pub(crate) fn still_so(connection: &Connection, moves: &[CounterMove]) -> rusqlite::Result<bool> {
    for moved in moves {
        if given(connection, &moved.counter)? != moved.from {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Moves them.
pub(crate) fn write(connection: &Connection, moves: &[CounterMove]) -> rusqlite::Result<()> {
    for moved in moves {
        connection
            .prepare_cached("INSERT OR REPLACE INTO counter (channel, name, given) VALUES (?1, ?2, ?3)")?
            .execute(params![
                channel(&moved.counter),
                moved.counter.name,
                // No number is greater than 2^53 (`Count::next`).
                moved.to.cast_signed()
            ])?;
    }
    Ok(())
}
