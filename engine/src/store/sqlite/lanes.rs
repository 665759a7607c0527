//! The lanes of destinations whose order goes by a key: what waits is looked through by its lanes alone, and no body is
//! opened for it.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Shared, sql_error};
use crate::message::{Lane, LaneKey};
use crate::store::seal::{Domain, Sealer};
use crate::store::{Ahead, StoreError};

/// The bits of a lane that say by what the order goes; the others are of the key.
const BY: i64 = 0xffff;
/// The most rows of one look.
const LIMIT: u32 = 10_000;

/// The bits that say by what the order goes.
fn by_bits(sealer: &Sealer, by: &str) -> i64 {
    sealer.hash8(Domain::Lane, &[by.as_bytes()]) & BY
}

/// A lane as it stands in its column; none: the delivery keeps its order with all.
pub(crate) fn number(sealer: &Sealer, lane: &Lane) -> Option<i64> {
    let by = lane.by.as_bytes();
    let key = match &lane.key {
        LaneKey::None => sealer.hash8(Domain::Lane, &[by, b"", b""]),
        LaneKey::One(key) => sealer.hash8(Domain::Lane, &[by, key.as_bytes()]),
        LaneKey::Several => return None,
    };
    Some(key & !BY | by_bits(sealer, &lane.by))
}

/// What waits for a destination after this number, in order. A lane of another key is none.
pub(crate) fn ahead(
    shared: &Shared,
    connection: &Connection,
    destination: i64,
    by: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<Ahead>, StoreError> {
    let by = by_bits(&shared.sealer, by);
    connection
        .prepare_cached(concat!(
            "SELECT id, lane FROM delivery
             WHERE destination = ?1 AND id > ?2 AND ",
            waits!(""),
            " ORDER BY id LIMIT ?3"
        ))
        .and_then(|mut statement| {
            statement
                .query_map(params![destination, after, limit.min(LIMIT)], |row| {
                    let lane: Option<i64> = row.get(1)?;
                    Ok(Ahead {
                        id: row.get(0)?,
                        lane: lane.filter(|lane| lane & BY == by),
                    })
                })?
                .collect()
        })
        .map_err(sql_error)
}

/// The first delivery of a lane after this number that waits.
pub(crate) fn next(
    connection: &Connection,
    destination: i64,
    lane: i64,
    after: i64,
) -> Result<Option<i64>, StoreError> {
    connection
        .prepare_cached(concat!(
            "SELECT id FROM delivery WHERE destination = ?1 AND lane = ?2 AND lane IS NOT NULL AND id > ?3
             AND ",
            waits!(""),
            " ORDER BY id LIMIT 1"
        ))
        .and_then(|mut statement| {
            statement
                .query_row([destination, lane, after], |row| row.get(0))
                .optional()
        })
        .map_err(sql_error)
}
