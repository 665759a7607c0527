//! Aggregates: written by the writer, read by snapshots.

use std::cell::Cell;
use std::sync::Arc;

use ::clinic::aggregate::Source;
use ::clinic::apply::{Booking, FindKey, Snapshot, SnapshotError, Write};
use ::clinic::held::Held;
use ::clinic::{Aggregate, Kind, Record, search};
use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::cache::{Found, Kept};
use super::commit::{Batch, Memory, uuid_at};
use super::keys::{
    FindQuery, find_query, find_rows, keys_from_bytes, keys_to_bytes, natural_rows, search_rows,
};
use super::readers::Reader;
use super::ready::{Ready, ReadyWrite};
use super::{Shared, sql_error};
use crate::store::seal::Column;
use crate::store::{Booked, StoreError};

/// What every aggregate carries beside its plain columns, sealed with it.
#[derive(Serialize)]
struct MetaRef<'a> {
    c: &'a Timestamp,
    u: &'a Timestamp,
    s: &'a Source,
    #[serde(skip_serializing_if = "Option::is_none")]
    l: Option<&'a str>,
    #[serde(skip_serializing_if = "Held::is_empty")]
    h: &'a Held,
}

#[derive(Deserialize)]
struct MetaOwned {
    c: Timestamp,
    u: Timestamp,
    s: Source,
    #[serde(default)]
    l: Option<String>,
    /// Absent in what was written before there was such a thing: all came by messages.
    #[serde(default)]
    h: Held,
}

/// What a version is sealed with: version and kind.
pub(crate) fn version_and_kind(version: u64, kind: u8) -> u64 {
    version << 8 | u64::from(kind)
}

/// A write made ready for the writer.
pub(crate) fn ready_write(shared: &Shared, write: Write) -> Result<ReadyWrite, StoreError> {
    let sealer = &shared.sealer;
    let Record { meta, aggregate } = &*write.record;
    let kind = aggregate.kind();
    let wrong =
        |error: serde_json::Error| StoreError::Unavailable(format!("an aggregate can't be written: {error}"));
    let head = serde_json::to_vec(&MetaRef {
        c: &meta.created_at,
        u: &meta.updated_at,
        s: &meta.source,
        l: meta.site.as_deref(),
        h: &meta.held,
    })
    .map_err(wrong)?;
    // Written behind each other at once: one with a file in it may be big.
    let mut plain = vec![0];
    plain.extend_from_slice(&(head.len() as u32).to_le_bytes());
    plain.extend_from_slice(&head);
    aggregate.write_json(&mut plain).map_err(wrong)?;
    let columns = search::columns(aggregate, &shared.zone);
    Ok(ReadyWrite {
        id: meta.id,
        kind: kind as u8,
        version: meta.version,
        updated_at: meta.updated_at.as_microsecond(),
        site: meta.site.clone(),
        patient: columns.patient,
        status: columns.status,
        date_from: columns.date_from.map(Timestamp::as_microsecond),
        date_to: columns.date_to.map(Timestamp::as_microsecond),
        data: sealer.seal_in_place(
            Column::AggregateData,
            meta.id,
            version_and_kind(meta.version, kind as u8),
            plain,
        )?,
        finds: write.keys_changed.then(|| find_rows(sealer, &write)),
        natural: natural_rows(sealer, &write),
        searches: search_rows(sealer, kind, &search::search_keys(aggregate)),
        bookings: write.bookings,
        record: write.record,
    })
}

/// One version of an aggregate, opened.
pub(crate) fn open_record(
    shared: &Shared,
    kind: Kind,
    id: Uuid,
    version: u64,
    sealed: &[u8],
) -> Result<Record, StoreError> {
    let wrong = || StoreError::Damaged(format!("a version of a {} can't be read", kind.as_str()));
    let plain = shared.sealer.open(
        Column::AggregateData,
        id,
        version_and_kind(version, kind as u8),
        sealed,
    )?;
    let (length, rest) = plain.split_first_chunk::<4>().ok_or_else(wrong)?;
    let (head, body) = rest
        .split_at_checked(u32::from_le_bytes(*length) as usize)
        .ok_or_else(wrong)?;
    let head: MetaOwned = serde_json::from_slice(head).map_err(|_| wrong())?;
    Ok(Record {
        meta: ::clinic::aggregate::Meta {
            id,
            site: head.l,
            version,
            created_at: head.c,
            updated_at: head.u,
            source: head.s,
            held: head.h,
        },
        aggregate: Aggregate::from_json(kind, body).map_err(|_| wrong())?,
    })
}

/// The newest version of an aggregate.
pub(crate) fn load(
    shared: &Shared,
    connection: &Connection,
    kind: Kind,
    id: Uuid,
) -> Result<Option<Record>, StoreError> {
    Ok(load_weighed(shared, connection, kind, id)?.map(|(record, _)| record))
}

/// The newest version of an aggregate, and the bytes of its sealed form.
fn load_weighed(
    shared: &Shared,
    connection: &Connection,
    kind: Kind,
    id: Uuid,
) -> Result<Option<(Record, u32)>, StoreError> {
    let found: Option<(u8, u64, Vec<u8>)> = connection
        .prepare_cached("SELECT kind, version, data FROM aggregate WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([id.as_bytes()], |row| {
                    Ok((row.get(0)?, row.get::<_, i64>(1)? as u64, row.get(2)?))
                })
                .optional()
        })
        .map_err(sql_error)?;
    match found {
        Some((its, version, data)) if its == kind as u8 => {
            let record = open_record(shared, kind, id, version, &data)?;
            Ok(Some((record, weight(&data))))
        }
        Some(_) | None => Ok(None),
    }
}

/// What an aggregate weighs in the cache.
fn weight(sealed: &[u8]) -> u32 {
    u32::try_from(sealed.len()).unwrap_or(u32::MAX)
}

/// One version of an aggregate.
pub(crate) fn load_version(
    shared: &Shared,
    connection: &Connection,
    kind: Kind,
    id: Uuid,
    version: u64,
) -> Result<Option<Record>, StoreError> {
    let data: Option<Vec<u8>> = connection
        .prepare_cached(
            "SELECT data FROM aggregate WHERE id = ?1 AND kind = ?2 AND version = ?3
             UNION ALL
             SELECT h.data FROM aggregate a JOIN history h ON h.aggregate = a.nr
             WHERE a.id = ?1 AND a.kind = ?2 AND h.version = ?3",
        )
        .and_then(|mut statement| {
            statement
                .query_row(params![id.as_bytes(), kind as u8, version as i64], |row| {
                    row.get(0)
                })
                .optional()
        })
        .map_err(sql_error)?;
    data.map(|data| open_record(shared, kind, id, version, &data))
        .transpose()
}

/// All versions, newest first.
pub(crate) fn history(
    shared: &Shared,
    connection: &Connection,
    kind: Kind,
    id: Uuid,
) -> Result<Vec<Record>, StoreError> {
    let found: Vec<(u64, Vec<u8>)> = connection
        .prepare_cached(
            "SELECT version, data FROM aggregate WHERE id = ?1 AND kind = ?2
             UNION ALL
             SELECT h.version, h.data FROM aggregate a JOIN history h ON h.aggregate = a.nr
             WHERE a.id = ?1 AND a.kind = ?2 ORDER BY 1 DESC",
        )
        .and_then(|mut statement| {
            statement
                .query_map(params![id.as_bytes(), kind as u8], |row| {
                    Ok((row.get::<_, i64>(0)? as u64, row.get(1)?))
                })?
                .collect()
        })
        .map_err(sql_error)?;
    found
        .into_iter()
        .map(|(version, data)| open_record(shared, kind, id, version, &data))
        .collect()
}

/// Who is found by a key, oldest first.
pub(crate) fn find(connection: &Connection, query: FindQuery) -> rusqlite::Result<Vec<Uuid>> {
    Ok(matching(
        &found(connection, query.scope, query.hash)?,
        query.check,
    ))
}

/// The rows of `find` with this scope and hash, oldest first.
fn found(connection: &Connection, scope: i64, hash: i64) -> rusqlite::Result<Found> {
    let mut statement = connection.prepare_cached(
        "SELECT a.id, f.check_hash FROM find f CROSS JOIN aggregate a ON a.nr = f.aggregate
         WHERE f.scope = ?1 AND f.hash = ?2 ORDER BY f.aggregate",
    )?;
    let mut rows = statement.query([scope, hash])?;
    let mut found: Vec<(i64, Uuid)> = vec![];
    while let Some(row) = rows.next()? {
        found.push((row.get(1)?, uuid_at(row, 0)?));
    }
    Ok(found.into())
}

/// Those whose check hash is the one asked for, each once.
fn matching(found: &[(i64, Uuid)], check: Option<i64>) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = found
        .iter()
        .filter(|(its, _)| check.is_none_or(|wanted| wanted == *its))
        .map(|(_, id)| *id)
        .collect();
    ids.dedup();
    ids
}

/// Whose time is taken when, by its beginning.
pub(crate) fn bookings(
    connection: &Connection,
    resources: &[Uuid],
    from: Timestamp,
    to: Timestamp,
) -> rusqlite::Result<Vec<Booked>> {
    let mut statement = connection.prepare_cached(
        "SELECT a.id, b.start_at, b.end_at, b.overbooked FROM booking b JOIN aggregate a ON a.nr = b.aggregate
         WHERE b.resource = ?1 AND b.end_at > ?2 AND b.start_at < ?3 LIMIT 10000",
    )?;
    let mut all = vec![];
    for resource in resources {
        let bounds = params![resource.as_bytes(), from.as_microsecond(), to.as_microsecond()];
        let mut rows = statement.query(bounds)?;
        while let Some(row) = rows.next()? {
            all.push(Booked {
                appointment: uuid_at(row, 0)?,
                booking: Booking {
                    resource: *resource,
                    start: super::time(row.get(1)?),
                    end: super::time(row.get(2)?),
                    overbooked: row.get(3)?,
                },
            });
        }
    }
    all.sort_by_key(|booked| (booked.booking.start, booked.booking.end, booked.appointment));
    all.truncate(10_000);
    Ok(all)
}

/// The clinic as any connection sees it.
pub(crate) struct SnapshotOf<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) connection: &'a Connection,
}

impl Snapshot for SnapshotOf<'_> {
    fn find(&self, key: &FindKey) -> Result<Vec<Uuid>, SnapshotError> {
        Ok(find(self.connection, find_query(&self.shared.sealer, key)).map_err(sql_error)?)
    }

    fn load(&self, kind: Kind, id: Uuid) -> Result<Option<Arc<Record>>, SnapshotError> {
        Ok(load(self.shared, self.connection, kind, id)?.map(Arc::new))
    }
}

/// The clinic as a connection of the pool sees it, or as it was lately seen. What has moved meanwhile is found out by the
/// commit.
pub(crate) struct PooledSnapshot<'a> {
    shared: &'a Shared,
    reader: Reader<'a>,
    /// One read transaction for all that is asked of the file: each one that begins after a write drops the pages that
    /// the connection has read.
    is_begun: Cell<bool>,
}

impl<'a> PooledSnapshot<'a> {
    pub(crate) fn new(shared: &'a Shared, reader: Reader<'a>) -> Self {
        PooledSnapshot {
            shared,
            reader,
            is_begun: Cell::new(false),
        }
    }

    /// The connection, inside its transaction.
    fn file(&self) -> Result<&Connection, StoreError> {
        if !self.is_begun.get() {
            self.reader
                .prepare_cached("BEGIN")
                .and_then(|mut begin| begin.execute([]))
                .map_err(sql_error)?;
            self.is_begun.set(true);
        }
        Ok(&self.reader)
    }
}

impl Drop for PooledSnapshot<'_> {
    fn drop(&mut self) {
        if self.is_begun.get() {
            let ended = self.reader.prepare_cached("COMMIT");
            if let Err(error) = ended.and_then(|mut end| end.execute([])) {
                // A connection that is still inside its transaction is closed, not lent again.
                tracing::warn!(%error, "A read transaction could not be ended.");
            }
        }
    }
}

impl Snapshot for PooledSnapshot<'_> {
    fn find(&self, key: &FindKey) -> Result<Vec<Uuid>, SnapshotError> {
        let query = find_query(&self.shared.sealer, key);
        let cache = &self.shared.cache;
        if let Some(found) = cache.found(query.scope, query.hash) {
            return Ok(matching(&found, query.check));
        }
        let found = found(self.file()?, query.scope, query.hash).map_err(sql_error)?;
        cache.keep_found(query.scope, query.hash, &found);
        Ok(matching(&found, query.check))
    }

    fn load(&self, kind: Kind, id: Uuid) -> Result<Option<Arc<Record>>, SnapshotError> {
        if let Some(record) = self.shared.cache.record(kind, id) {
            return Ok(Some(record));
        }
        let Some((record, weight)) = load_weighed(self.shared, self.file()?, kind, id)? else {
            return Ok(None);
        };
        let record = Arc::new(record);
        let kept = Kept {
            record: record.clone(),
            weight,
        };
        self.shared.cache.keep(id, kept);
        Ok(Some(record))
    }
}

// ---- the writer's side ----

/// True where all that was read and looked up still is as it was.
pub(crate) fn still_so(connection: &Connection, ready: &Ready) -> rusqlite::Result<bool> {
    for (id, seen) in &ready.reads {
        let version: Option<i64> = connection
            .prepare_cached("SELECT version FROM aggregate WHERE id = ?1")?
            .query_row([id.as_bytes()], |row| row.get(0))
            .optional()?;
        if version.unwrap_or(0) as u64 != *seen {
            return Ok(false);
        }
    }
    for (query, seen) in &ready.finds {
        if find(connection, *query)? != *seen {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How far the writes of a message got.
pub(crate) enum Written {
    /// To their end.
    All,
    /// To one whose version before is not there.
    Moved,
    /// To one that takes what another one has: which.
    Booked(Booking),
}

/// Writes the aggregates of a message. Anything but [`Written::All`]: the caller takes back what was written.
pub(crate) fn write(
    connection: &Connection,
    memory: &mut Memory,
    batch: &mut Batch,
    ready: &Ready,
    seq: i64,
) -> rusqlite::Result<Written> {
    let before = memory.next_aggregate;
    let mut places = Vec::with_capacity(ready.writes.len());
    for write in &ready.writes {
        let place = place_of(connection, write)?;
        // All versions are looked at before anything is written, so that without bookings nothing has to be undone.
        if place.as_ref().map_or(0, |place| place.version) + 1 != write.version {
            return Ok(Written::Moved);
        }
        places.push(place);
    }
    // Freed first: two appointments of one message may change places.
    for (write, place) in ready.writes.iter().zip(&places) {
        if let Some(place) = place
            && write.kind == Kind::Appointment as u8
        {
            connection
                .prepare_cached("DELETE FROM booking WHERE aggregate = ?1")?
                .execute([place.nr])?;
        }
    }
    for (write, place) in ready.writes.iter().zip(places) {
        let nr = match place {
            Some(place) => update(connection, batch, write, place, seq)?,
            None => insert(connection, memory, batch, write, seq)?,
        };
        if let Some(taken) = book(connection, write, nr)? {
            memory.next_aggregate = before;
            return Ok(Written::Booked(taken));
        }
    }
    for write in &ready.writes {
        let kept = Kept {
            record: write.record.clone(),
            weight: weight(&write.data),
        };
        batch.records.push((write.id, kept));
    }
    Ok(Written::All)
}

/// The row of an aggregate as it stands.
struct PlaceOf {
    nr: i64,
    version: u64,
    keys: Option<Vec<u8>>,
}

fn place_of(connection: &Connection, write: &ReadyWrite) -> rusqlite::Result<Option<PlaceOf>> {
    if write.version == 1 {
        // Made by this message under a fresh id; the unique index says so should it not be.
        return Ok(None);
    }
    connection
        .prepare_cached("SELECT nr, version, keys FROM aggregate WHERE id = ?1 AND kind = ?2")?
        .query_row(params![write.id.as_bytes(), write.kind], |row| {
            Ok(PlaceOf {
                nr: row.get(0)?,
                version: row.get::<_, i64>(1)? as u64,
                keys: row.get(2)?,
            })
        })
        .optional()
}

fn insert(
    connection: &Connection,
    memory: &mut Memory,
    batch: &mut Batch,
    write: &ReadyWrite,
    seq: i64,
) -> rusqlite::Result<i64> {
    let nr = memory.next_aggregate;
    let finds = write.finds.as_deref().unwrap_or_default();
    connection
        .prepare_cached(
            "INSERT INTO aggregate (nr, id, kind, version, updated_at, site, patient, status, date_from, date_to, message, keys, data)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(params![
            nr,
            write.id.as_bytes(),
            write.kind,
            write.version as i64,
            write.updated_at,
            write.site,
            write.patient.as_ref().map(Uuid::as_bytes),
            write.status,
            write.date_from,
            write.date_to,
            seq,
            keys_to_bytes(finds, &write.searches),
            write.data,
        ])?;
    memory.next_aggregate = nr + 1;
    for row in finds.iter().chain(&write.natural) {
        add_find(connection, batch, row, nr)?;
    }
    for hash in &write.searches {
        add_search(connection, *hash, nr)?;
    }
    Ok(nr)
}

fn add_find(
    connection: &Connection,
    batch: &mut Batch,
    row: &super::keys::FindHash,
    nr: i64,
) -> rusqlite::Result<()> {
    batch.moved_finds.push((row.scope, row.hash));
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO find (scope, hash, aggregate, check_hash) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute([row.scope, row.hash, nr, row.check])
        .map(|_| ())
}

fn add_search(connection: &Connection, hash: i64, nr: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO search (hash, aggregate) VALUES (?1, ?2)")?
        .execute([hash, nr])
        .map(|_| ())
}

fn update(
    connection: &Connection,
    batch: &mut Batch,
    write: &ReadyWrite,
    place: PlaceOf,
    seq: i64,
) -> rusqlite::Result<i64> {
    let nr = place.nr;
    connection
        .prepare_cached(
            "INSERT INTO history (aggregate, version, updated_at, message, data)
             SELECT nr, version, updated_at, message, data FROM aggregate WHERE nr = ?1",
        )?
        .execute([nr])?;
    let (old_finds, old_searches) = keys_from_bytes(place.keys.as_deref().unwrap_or_default());
    let finds = write.finds.as_deref().unwrap_or(&old_finds);
    connection
        .prepare_cached(
            "UPDATE aggregate SET version = ?2, updated_at = ?3, site = ?4, patient = ?5, status = ?6, date_from = ?7,
             date_to = ?8, message = ?9, keys = ?10, data = ?11 WHERE nr = ?1",
        )?
        .execute(params![
            nr,
            write.version as i64,
            write.updated_at,
            write.site,
            write.patient.as_ref().map(Uuid::as_bytes),
            write.status,
            write.date_from,
            write.date_to,
            seq,
            keys_to_bytes(finds, &write.searches),
            write.data,
        ])?;
    // Only what changed is touched: rows of an index at random places are dear.
    for gone in old_finds.iter().filter(|old| !finds.contains(old)) {
        batch.moved_finds.push((gone.scope, gone.hash));
        connection
            .prepare_cached(
                "DELETE FROM find WHERE scope = ?1 AND hash = ?2 AND aggregate = ?3 AND check_hash = ?4",
            )?
            .execute([gone.scope, gone.hash, nr, gone.check])?;
    }
    for row in finds
        .iter()
        .filter(|new| !old_finds.contains(new))
        .chain(&write.natural)
    {
        add_find(connection, batch, row, nr)?;
    }
    for gone in old_searches
        .iter()
        .filter(|old| write.searches.binary_search(old).is_err())
    {
        connection
            .prepare_cached("DELETE FROM search WHERE hash = ?1 AND aggregate = ?2")?
            .execute([*gone, nr])?;
    }
    for hash in write
        .searches
        .iter()
        .filter(|new| old_searches.binary_search(new).is_err())
    {
        add_search(connection, *hash, nr)?;
    }
    Ok(nr)
}

/// Takes the time that a write needs; the first that is taken already, where there is one.
fn book(connection: &Connection, write: &ReadyWrite, nr: i64) -> rusqlite::Result<Option<Booking>> {
    for booking in &write.bookings {
        let booked = connection
            .prepare_cached(
                "INSERT INTO booking (aggregate, resource, start_at, end_at, overbooked) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                nr,
                booking.resource.as_bytes(),
                booking.start.as_microsecond(),
                booking.end.as_microsecond(),
                booking.overbooked,
            ]);
        match booked {
            Ok(_) => {}
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                return Ok(Some(booking.clone()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
