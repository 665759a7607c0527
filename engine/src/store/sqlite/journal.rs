//! The journal's tables. A row is sealed on its reader's side; the writer numbers it and hangs it onto the chain.

use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use uuid::Uuid;

use super::{Shared, sql_error, time};
use crate::store::seal::{Column, Domain, Sealer};
use crate::store::{Access, AccessFilter, AccessRow, JournalFault, JournalHead, JournalReport, StoreError};

/// The one writer of SQLite.
const CHAIN: i64 = 1;
/// Rows whose hashes stand together, so that they fall at random only within the newest.
const BUCKET: i64 = 4096;
/// The most faults that are told.
const FAULTS: usize = 100;
/// The most rows that are listed at once.
const LIMIT: u32 = 1000;
const DAY: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);
/// Rows of one page of a listing that are looked at.
const PAGE: i64 = 10_000;

/// A row before it has its place.
pub(crate) struct ReadyAccess {
    id: Uuid,
    at: i64,
    entry: Vec<u8>,
    hashes: Vec<i64>,
}

impl ReadyAccess {
    pub(crate) fn new(sealer: &Sealer, access: &Access) -> Result<Self, StoreError> {
        let id = Uuid::now_v7();
        let plain = serde_json::to_vec(access)
            .map_err(|error| StoreError::Unavailable(format!("an access can't be written: {error}")))?;
        Ok(ReadyAccess {
            id,
            at: access.at.as_microsecond(),
            entry: sealer.seal(Column::JournalEntry, id, 0, &plain)?,
            hashes: hashes_of(sealer, access),
        })
    }
}

fn hash_of(sealer: &Sealer, who: &str) -> i64 {
    sealer.hash8(Domain::JournalPatient, &[who.as_bytes()])
}

fn hashes_of(sealer: &Sealer, access: &Access) -> Vec<i64> {
    let ids = access.patients.iter().map(Uuid::to_string);
    let mut hashes: Vec<i64> = ids
        .chain(access.identifiers.iter().cloned())
        .map(|who| hash_of(sealer, &who))
        .collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// What a row's keyed hash is over.
fn link(sealer: &Sealer, before: &[u8; 32], nr: i64, id: &Uuid, at: i64, entry: &[u8]) -> [u8; 32] {
    sealer.link(&[
        b"row",
        before,
        &CHAIN.to_be_bytes(),
        &nr.to_be_bytes(),
        id.as_bytes(),
        &at.to_be_bytes(),
        entry,
    ])
}

/// What a chain without any row before it begins with.
fn beginning(sealer: &Sealer) -> [u8; 32] {
    sealer.link(&[b"beginning", &CHAIN.to_be_bytes()])
}

fn proof_of_start(sealer: &Sealer, nr: i64, mac: &[u8; 32]) -> [u8; 32] {
    sealer.link(&[b"start", &CHAIN.to_be_bytes(), &nr.to_be_bytes(), mac])
}

/// The end of the chain, where the next row is hung on.
pub(crate) fn head(connection: &Connection, sealer: &Sealer) -> rusqlite::Result<JournalHead> {
    let row = "SELECT nr, mac FROM journal WHERE chain = ?1 ORDER BY nr DESC LIMIT 1";
    let start = "SELECT nr, mac FROM journal_start WHERE chain = ?1";
    for sql in [row, start] {
        let head = connection
            .query_row(sql, [CHAIN], |row| {
                Ok(JournalHead {
                    length: row.get::<_, i64>(0)? as u64,
                    // A hash that was cut does not fit; the check says so.
                    mac: row.get(1).unwrap_or_default(),
                })
            })
            .optional()?;
        if let Some(head) = head {
            return Ok(head);
        }
    }
    Ok(JournalHead {
        length: 0,
        mac: beginning(sealer),
    })
}

/// Hangs a row onto the chain.
pub(crate) fn append(
    connection: &Connection,
    sealer: &Sealer,
    head: &mut JournalHead,
    ready: &ReadyAccess,
) -> rusqlite::Result<()> {
    let nr = head.length as i64 + 1;
    let mac = link(sealer, &head.mac, nr, &ready.id, ready.at, &ready.entry);
    connection
        .prepare_cached(
            "INSERT INTO journal (chain, nr, id, at, entry, mac) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            CHAIN,
            nr,
            ready.id.as_bytes(),
            ready.at,
            ready.entry,
            mac
        ])?;
    // A row that somebody cut off may have left its own behind.
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO journal_patient (chain, bucket, hash, nr) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for hash in &ready.hashes {
        insert.execute(params![CHAIN, nr / BUCKET, hash, nr])?;
    }
    *head = JournalHead {
        length: nr as u64,
        mac,
    };
    Ok(())
}

/// A row as it stands in the file.
struct Raw {
    nr: i64,
    id: Vec<u8>,
    at: i64,
    entry: Vec<u8>,
    mac: Vec<u8>,
}

impl Raw {
    const COLUMNS: &str = "nr, id, at, entry, mac";

    fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Raw {
            nr: row.get(0)?,
            id: row.get(1)?,
            at: row.get(2)?,
            entry: row.get(3)?,
            mac: row.get(4)?,
        })
    }

    fn open(&self, sealer: &Sealer) -> Result<Access, StoreError> {
        let damaged = || StoreError::Damaged(format!("row {} of the journal can't be read", self.nr));
        let id = Uuid::from_slice(&self.id).map_err(|_| damaged())?;
        let plain = sealer.open(Column::JournalEntry, id, 0, &self.entry)?;
        serde_json::from_slice(&plain).map_err(|_| damaged())
    }
}

/// Rows, newest first. One that can't be opened is an error: the check of the journal says which it is.
pub(crate) fn list(
    shared: &Shared,
    connection: &Connection,
    filter: &AccessFilter,
) -> Result<Vec<AccessRow>, StoreError> {
    let last = head(connection, &shared.sealer).map_err(sql_error)?.length as i64;
    let mut before = filter
        .before
        .map_or(last + 1, |before| before.min(i64::MAX as u64) as i64);
    let limit = filter.limit.min(LIMIT) as usize;
    let mut found = vec![];
    while 1 < before && found.len() < limit {
        let numbers = match filter.about.is_empty() {
            true => ((before - PAGE).max(1)..before).rev().collect(),
            false => about(shared, connection, filter, before).map_err(sql_error)?,
        };
        let Some(oldest) = numbers.last().copied() else {
            break;
        };
        for nr in numbers {
            let row = row(connection, nr).map_err(sql_error)?;
            // Rows may have been pruned while the index was read.
            let Some(row) = row else { continue };
            let at = time(row.at);
            if filter.until.is_some_and(|until| until <= at) {
                continue;
            }
            if let Some(since) = filter.since
                && at < since
            {
                // Clocks step back by a little, not by a day.
                if at.saturating_add(DAY).is_ok_and(|later| later < since) {
                    return Ok(found);
                }
                continue;
            }
            found.push(AccessRow {
                nr: nr as u64,
                access: row.open(&shared.sealer)?,
            });
            if limit <= found.len() {
                break;
            }
        }
        before = oldest;
    }
    Ok(found)
}

fn row(connection: &Connection, nr: i64) -> rusqlite::Result<Option<Raw>> {
    let sql = format!(
        "SELECT {} FROM journal WHERE chain = ?1 AND nr = ?2",
        Raw::COLUMNS
    );
    connection
        .prepare_cached(&sql)?
        .query_row([CHAIN, nr], Raw::of)
        .optional()
}

/// Numbers of rows about somebody in the newest bucket that has any, newest first.
fn about(
    shared: &Shared,
    connection: &Connection,
    filter: &AccessFilter,
    before: i64,
) -> rusqlite::Result<Vec<i64>> {
    let hashes: Vec<i64> = filter
        .about
        .iter()
        .map(|who| hash_of(&shared.sealer, who))
        .collect();
    let places = vec!["?"; hashes.len()].join(", ");
    let sql = format!(
        "SELECT DISTINCT nr FROM journal_patient WHERE chain = {CHAIN} AND bucket = ? AND nr < ? AND hash IN ({places}) ORDER BY nr DESC"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    for bucket in (0..=(before - 1) / BUCKET).rev() {
        let values = [bucket, before].into_iter().chain(hashes.iter().copied());
        let numbers: Vec<i64> = statement
            .query_map(params_from_iter(values), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        if !numbers.is_empty() {
            return Ok(numbers);
        }
    }
    Ok(vec![])
}

/// What is wrong, as it is found.
struct Faults(Vec<JournalFault>);

impl Faults {
    fn add(&mut self, nr: i64, what: impl Into<String>) {
        if self.0.len() < FAULTS {
            self.0.push(JournalFault {
                nr: nr.max(0) as u64,
                what: what.into(),
            });
        }
    }
}

/// Reads the whole chain. Finds a row that was changed, taken out, put in or moved; one whose entry in the index of
/// patients is missing; and, against a head from the log, an end that was cut.
pub(crate) fn verify(
    shared: &Shared,
    connection: &Connection,
    logged: Option<JournalHead>,
) -> Result<JournalReport, StoreError> {
    // One transaction: what is written meanwhile is not seen by halves.
    let transaction = connection.unchecked_transaction().map_err(sql_error)?;
    let report = check(shared, &transaction, logged).map_err(sql_error)?;
    drop(transaction);
    Ok(report)
}

fn check(
    shared: &Shared,
    connection: &Connection,
    logged: Option<JournalHead>,
) -> rusqlite::Result<JournalReport> {
    let sealer = &shared.sealer;
    let mut faults = Faults(vec![]);
    let (start, mut before) = start(connection, sealer, &mut faults)?;
    let mut last = start;
    let mut at_logged = logged
        .filter(|logged| logged.length as i64 == start)
        .map(|_| before);
    let sql = format!(
        "SELECT {} FROM journal WHERE chain = ?1 ORDER BY nr",
        Raw::COLUMNS
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([CHAIN])?;
    while let Some(row) = rows.next()? {
        let Ok(row) = Raw::of(row) else {
            last += 1;
            faults.add(last, "it does not have the form of a row: it was changed");
            continue;
        };
        let expected = last + 1;
        let is_next = row.nr == expected;
        if expected < row.nr {
            let what = format!(
                "rows {expected} to {} are missing: they were taken out",
                row.nr - 1
            );
            faults.add(expected, what);
        } else if row.nr < expected {
            faults.add(
                row.nr,
                "it stands before the beginning of the chain: it was put in",
            );
            continue;
        }
        let mac = <[u8; 32]>::try_from(row.mac.as_slice()).unwrap_or_default();
        let id = Uuid::from_slice(&row.id).unwrap_or_default();
        // After a gap the row before is not known: it is taken as it stands, and the gap is told.
        if is_next && link(sealer, &before, row.nr, &id, row.at, &row.entry) != mac {
            faults.add(
                row.nr,
                "it does not fit the row before it: it, or its place, was changed",
            );
        } else if is_next {
            index(connection, sealer, &row, &mut faults)?;
        }
        (before, last) = (mac, row.nr);
        if logged.is_some_and(|logged| logged.length as i64 == row.nr) {
            at_logged = Some(mac);
        }
    }
    let stray = "SELECT count(*) FROM journal WHERE chain <> ?1";
    if connection.query_row(stray, [CHAIN], |row| row.get::<_, i64>(0))? != 0 {
        faults.add(
            0,
            "there are rows of a chain that nobody writes: they were put in",
        );
    }
    if let Some(logged) = logged {
        let length = logged.length as i64;
        match at_logged {
            Some(mac) if mac == logged.mac => {}
            Some(_) => faults.add(
                length,
                "the log has another hash for it: the chain was written anew",
            ),
            None if length < start => faults.add(
                length,
                "the log line is older than the first row that is still kept; give a newer one",
            ),
            None => faults.add(
                length,
                format!(
                    "the log says that the journal had {length} rows; it ends at {last}: its end was cut"
                ),
            ),
        }
    }
    Ok(JournalReport {
        first: start as u64 + 1,
        last: last as u64,
        head: JournalHead {
            length: last as u64,
            mac: before,
        }
        .to_string(),
        faults: faults.0,
    })
}

/// The number of the last row that was taken out by the program, and what the first row is hung onto.
fn start(connection: &Connection, sealer: &Sealer, faults: &mut Faults) -> rusqlite::Result<(i64, [u8; 32])> {
    let start: Option<(i64, Vec<u8>, Vec<u8>)> = connection
        .query_row(
            "SELECT nr, mac, proof FROM journal_start WHERE chain = ?1",
            [CHAIN],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    let Some((nr, mac, proof)) = start else {
        return Ok((0, beginning(sealer)));
    };
    let mac = <[u8; 32]>::try_from(mac.as_slice()).unwrap_or_default();
    if proof != proof_of_start(sealer, nr, &mac) {
        faults.add(
            nr,
            "the beginning of the chain was changed: older rows were not taken out by the program",
        );
    }
    Ok((nr, mac))
}

/// Whether a row is found by everybody whom it is about.
fn index(connection: &Connection, sealer: &Sealer, row: &Raw, faults: &mut Faults) -> rusqlite::Result<()> {
    let Ok(access) = row.open(sealer) else {
        faults.add(
            row.nr,
            "its entry can't be opened: it was sealed under another key",
        );
        return Ok(());
    };
    let mut find = connection.prepare_cached(
        "SELECT 1 FROM journal_patient WHERE chain = ?1 AND bucket = ?2 AND hash = ?3 AND nr = ?4",
    )?;
    for hash in hashes_of(sealer, &access) {
        if !find.exists(params![CHAIN, row.nr / BUCKET, hash, row.nr])? {
            faults.add(
                row.nr,
                "it is not found by somebody whom it is about: the index of patients was changed",
            );
            break;
        }
    }
    Ok(())
}

/// The last of the first rows that are all older than this, at most so many, and how many they are.
pub(crate) fn old(connection: &Connection, before: i64, most: i64) -> rusqlite::Result<Option<(u64, u64)>> {
    let mut statement =
        connection.prepare_cached("SELECT nr, at FROM journal WHERE chain = ?1 ORDER BY nr LIMIT ?2")?;
    let mut rows = statement.query([CHAIN, most])?;
    let mut found = None;
    while let Some(row) = rows.next()? {
        if before <= row.get(1)? {
            break;
        }
        let count = found.map_or(0, |(_, count)| count);
        found = Some((row.get::<_, i64>(0)?.unsigned_abs(), count + 1));
    }
    Ok(found)
}

/// Takes out the rows up to `nr` (included), and leaves a beginning that only this program can have made. False: the
/// chain has no such row.
pub(crate) fn prune(connection: &Connection, sealer: &Sealer, nr: i64) -> rusqlite::Result<bool> {
    let mac: Option<[u8; 32]> = connection
        .query_row(
            "SELECT mac FROM journal WHERE chain = ?1 AND nr = ?2",
            [CHAIN, nr],
            |row| row.get(0),
        )
        .optional()?;
    let Some(mac) = mac else { return Ok(false) };
    connection.execute(
        "INSERT OR REPLACE INTO journal_start (chain, nr, mac, proof) VALUES (?1, ?2, ?3, ?4)",
        params![CHAIN, nr, mac, proof_of_start(sealer, nr, &mac)],
    )?;
    connection.execute("DELETE FROM journal WHERE chain = ?1 AND nr <= ?2", [CHAIN, nr])?;
    connection.execute(
        "DELETE FROM journal_patient WHERE chain = ?1 AND bucket <= ?2 AND nr <= ?3",
        [CHAIN, nr / BUCKET, nr],
    )?;
    Ok(true)
}
