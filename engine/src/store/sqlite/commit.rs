//! One unit of work, written inside the writer's transaction.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::Shared;
use super::cache::Kept;
use super::clinic;
use super::counters;
use super::journal;
use super::names::Names;
use super::prune::{BODIES_GONE, ROW_LEFT};
use super::ready::{
    ATTEMPTS, BUCKET, DELIVERIES, KeyKind, Ready, ReadyAsked, ReadyAttempt, ReadyDecision, ReadyMadeBy,
    RepeatKey, bucket, decided_number, key_sum,
};
use super::repeats::Repeats;
use super::sieve::{self, Sieves};
use crate::message::{DeliveryState, MessageState};
use crate::sabotage::{self, Switch};
use crate::store::blob::Slot;
use crate::store::seal::Sealer;
use crate::store::{DecidedWord, JournalHead};

/// What the writer knows without asking the disk. Read anew whenever the store is opened.
pub(crate) struct Memory {
    pub(crate) next_seq: i64,
    pub(crate) next_aggregate: i64,
    pub(crate) names: Names,
    /// Where the next row of the journal is hung on.
    pub(crate) journal: JournalHead,
    repeats: Repeats,
    /// Before the first bucket that has any key; those further back are not looked at.
    first_place: i64,
    /// What old messages are found by.
    pub(crate) sieves: Sieves,
}

/// The first place (of [`BUCKET`] messages each) that has any key.
fn first_place(connection: &Connection) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT coalesce(min(bucket), 0) / 8 FROM key")?
        .query_row([], |row| row.get(0))
}

impl Memory {
    pub(crate) fn load(connection: &Connection, sealer: &Sealer, path: &Path) -> rusqlite::Result<Self> {
        let next = |sql| {
            connection
                .query_row(sql, [], |row| row.get::<_, i64>(0))
                .map(|last| last + 1)
        };
        let next_seq = next("SELECT coalesce(max(seq), 0) FROM message")?;
        let first_place = first_place(connection)?;
        Ok(Memory {
            next_seq,
            next_aggregate: next("SELECT coalesce(max(nr), 0) FROM aggregate")?,
            names: Names::load(connection)?,
            journal: journal::head(connection, sealer)?,
            repeats: Repeats::begin(path, first_place, next_seq)?,
            sieves: Sieves::load(connection, first_place)?,
            first_place,
        })
    }

    /// Takes over what a batch wrote, once it is on disk.
    pub(crate) fn take(&mut self, batch: &Batch) {
        self.repeats.take(batch.repeats.keys().copied(), &batch.forgotten);
        if let Some(place) = batch.first_place {
            self.first_place = place;
        }
    }
}

/// What a transaction writes at its end, and what its own messages must see of each other before.
#[derive(Default)]
pub(crate) struct Batch {
    keys: Vec<(i64, i64, i64)>,
    repeats: HashMap<i64, i64>,
    sent: HashMap<u32, i64>,
    tally: HashMap<(Tally, i64, u8), i64>,
    pub(crate) new_names: bool,
    /// Hashes of messages that were taken out.
    pub(crate) forgotten: Vec<i64>,
    /// How many rows of messages were taken out.
    pub(crate) taken_out: i64,
    first_place: Option<i64>,
    /// What the cache of the readers is told once it is on disk.
    pub(crate) records: Vec<(Uuid, Kept)>,
    pub(crate) moved_finds: Vec<(i64, i64)>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Tally {
    Messages = 0,
    Deliveries = 1,
}

impl Batch {
    /// Tells those who remember it what is on disk now.
    pub(crate) fn publish(&mut self, shared: &Shared) {
        let cache = &shared.cache;
        shared.planned.committed(&self.records);
        for (scope, hash) in self.moved_finds.drain(..) {
            cache.forget_found(scope, hash);
        }
        for (id, kept) in self.records.drain(..) {
            cache.keep(id, kept);
        }
    }

    pub(crate) fn count(&mut self, what: Tally, owner: i64, state: u8, by: i64) {
        *self.tally.entry((what, owner, state)).or_default() += by;
    }

    /// Key rows in their order, so that neighbours are written together, and the counts.
    pub(crate) fn finish(&mut self, connection: &Connection, sieves: &mut Sieves) -> rusqlite::Result<()> {
        self.keys.sort_unstable();
        let mut insert = connection
            .prepare_cached("INSERT OR IGNORE INTO key (bucket, hash, message) VALUES (?1, ?2, ?3)")?;
        for (bucket, hash, message) in &self.keys {
            insert.execute([bucket, hash, message])?;
            sieves.add(connection, *bucket, *hash)?;
        }
        let mut count = connection.prepare_cached(
            "INSERT INTO tally (what, owner, state, count) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (what, owner, state) DO UPDATE SET count = count + excluded.count",
        )?;
        if self.taken_out != 0 {
            let all = taken_out(connection)? + self.taken_out;
            connection
                .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES ('taken_out', ?1)")?
                .execute([all.to_be_bytes()])?;
        }
        if !self.forgotten.is_empty() {
            let first = first_place(connection)?;
            sieve::forget_before(connection, first)?;
            self.first_place = Some(first);
        }
        for ((what, owner, state), by) in &self.tally {
            if *by != 0 {
                count.execute(params![*what as u8, owner, state, by])?;
            }
        }
        Ok(())
    }
}

/// How many rows of messages the program has taken out: their numbers are missing rightly.
pub(crate) fn taken_out(connection: &Connection) -> rusqlite::Result<i64> {
    let value: Option<[u8; 8]> = connection
        .prepare_cached("SELECT value FROM meta WHERE name = 'taken_out'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(value.map_or(0, i64::from_be_bytes))
}

/// What became of a unit of work, before the caller opens what is sealed.
pub(crate) enum Raw {
    Stored(i64),
    Repeat(RawRepeat),
    Moved,
    Conflict(String),
    Over,
}

/// The message that is there already; its head still sealed.
pub(crate) struct RawRepeat {
    pub(crate) seq: i64,
    pub(crate) id: Uuid,
    pub(crate) received_at: i64,
    pub(crate) state: u8,
    pub(crate) head: Vec<u8>,
}

/// A UUID of a row.
pub(crate) fn uuid_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    let bytes = row.get_ref(column)?.as_blob()?;
    Uuid::from_slice(bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, Box::new(error))
    })
}

fn raw_repeat(connection: &Connection, seq: i64) -> rusqlite::Result<Option<RawRepeat>> {
    connection
        .prepare_cached("SELECT id, received_at, state, head FROM message WHERE seq = ?1")?
        .query_row([seq], |row| {
            Ok(RawRepeat {
                seq,
                id: uuid_at(row, 0)?,
                received_at: row.get(1)?,
                state: row.get(2)?,
                head: row.get(3)?,
            })
        })
        .optional()
}

/// Writes one unit of work, or finds out why not. Nothing of it is written in the latter case.
pub(crate) fn commit(
    connection: &Connection,
    memory: &mut Memory,
    batch: &mut Batch,
    ready: &Ready,
    sealer: &Sealer,
) -> rusqlite::Result<Raw> {
    if let Some(made_by) = &ready.made_by
        && !may_make(connection, made_by)?
    {
        return Ok(Raw::Over);
    }
    let mut place = None;
    if let Some(seq) = ready.again
        && let Some(row) = raw_repeat(connection, seq)?
    {
        let open = row.state == MessageState::Failed as u8 || row.state == MessageState::Parked as u8;
        if !open || row.id != ready.id {
            return Ok(Raw::Repeat(row));
        }
        place = Some(row);
    }
    let mut reused = false;
    if place.is_none()
        && !sabotage::is_on(Switch::NoDedup)
        && let Some(key) = &ready.repeat
    {
        let first = find_repeat(connection, memory, batch, key, ready.received_at)?;
        let is_told = match first {
            Some(seq) if ready.until_told => was_told(connection, seq)?,
            Some(_) | None => false,
        };
        if let Some(seq) = first.filter(|_| !is_told)
            && let Some(row) = raw_repeat(connection, seq)?
        {
            connection
                .prepare_cached("UPDATE message SET repeats = repeats + 1 WHERE seq = ?1")?
                .execute([seq])?;
            // What failed is run again by the caller, and made then.
            if let Some(made_by) = &ready.made_by
                && row.state != MessageState::Failed as u8
            {
                make(connection, batch, made_by, seq)?;
            }
            return Ok(Raw::Repeat(row));
        }
        reused = !is_told && was_reused(connection, memory, batch, key, ready.received_at)?;
    }
    if !clinic::still_so(connection, ready)? || !counters::still_so(connection, &ready.counters)? {
        return Ok(Raw::Moved);
    }
    let seq = place.as_ref().map_or(memory.next_seq, |row| row.seq);
    let books = ready
        .writes
        .iter()
        .any(|write| write.kind == ::clinic::Kind::Appointment as u8 || !write.bookings.is_empty());
    if books {
        connection.execute_batch("SAVEPOINT one")?;
    }
    let undone = match clinic::write(connection, memory, batch, ready, seq)? {
        clinic::Written::All => None,
        clinic::Written::Moved => Some(Raw::Moved),
        clinic::Written::Booked(taken) => Some(Raw::Conflict(format!(
            "the time from {} to {} of {} is taken by another appointment",
            taken.start, taken.end, taken.resource
        ))),
    };
    if let Some(raw) = undone {
        // What was written before the time that is taken is taken back: the cache is not told of it.
        if books {
            connection.execute_batch("ROLLBACK TO one; RELEASE one")?;
        }
        return Ok(raw);
    }
    if books {
        connection.execute_batch("RELEASE one")?;
    }
    counters::write(connection, &ready.counters)?;
    write_message(connection, memory, batch, ready, seq, place.as_ref(), reused)?;
    if let Some(asked) = &ready.asked {
        write_asked(connection, memory, batch, ready, asked, seq, sealer)?;
    }
    if let Some(made_by) = &ready.made_by {
        make(connection, batch, made_by, seq)?;
    }
    Ok(Raw::Stored(seq))
}

/// True where the delivery is there, is not over, and has not made this message yet.
fn may_make(connection: &Connection, made_by: &ReadyMadeBy) -> rusqlite::Result<bool> {
    let state: Option<u8> = connection
        .prepare_cached("SELECT state FROM delivery WHERE id = ?1")?
        .query_row([made_by.delivery], |row| row.get(0))
        .optional()?;
    let is_open = state
        .and_then(DeliveryState::from_number)
        .is_some_and(|state| !state.is_over() || state == DeliveryState::Pending);
    Ok(is_open
        && !connection
            .prepare_cached("SELECT 1 FROM made WHERE delivery = ?1 AND number = ?2")?
            .exists(params![made_by.delivery, made_by.number])?)
}

/// Writes down that the delivery has made the message at `seq`, and what it comes to with it.
fn make(connection: &Connection, batch: &mut Batch, made_by: &ReadyMadeBy, seq: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO made (delivery, number, message) VALUES (?1, ?2, ?3)")?
        .execute(params![made_by.delivery, made_by.number, seq])?;
    if let Some(ends) = &made_by.ends {
        attempted(connection, batch, ends)?;
    }
    Ok(())
}

fn write_message(
    connection: &Connection,
    memory: &mut Memory,
    batch: &mut Batch,
    ready: &Ready,
    seq: i64,
    place: Option<&RawRepeat>,
    reused: bool,
) -> rusqlite::Result<()> {
    let (channel, new) = memory.names.intern_channel(connection, &ready.channel)?;
    batch.new_names |= new;
    if let Some(row) = place {
        connection
            .prepare_cached(
                "UPDATE message SET channel = ?2, state = ?3, length = ?4, wrote = ?5, head = ?6, verbs = ?7,
                 flags = flags & 1, key_sum = NULL WHERE seq = ?1",
            )?
            .execute(params![
                seq,
                channel,
                ready.state as u8,
                ready.length,
                ready.wrote,
                ready.head,
                ready.verbs
            ])?;
        connection
            .prepare_cached("INSERT OR REPLACE INTO body (seq, body) VALUES (?1, ?2)")?
            .execute(params![seq, ready.body])?;
        batch.count(Tally::Messages, channel, row.state, -1);
        drop_deliveries(connection, batch, seq)?;
    } else {
        connection
            .prepare_cached(
                "INSERT INTO message (seq, id, channel, state, flags, repeats, received_at, length, digest, replay_of, wrote, head, verbs, key_sum)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                seq,
                ready.id.as_bytes(),
                channel,
                ready.state as u8,
                u8::from(reused),
                ready.received_at,
                ready.length,
                ready.repeat.as_ref().map(|key| key.digest),
                ready.replay_of.as_ref().map(Uuid::as_bytes),
                ready.wrote,
                ready.head,
                ready.verbs,
                key_sum(ready.keys.iter().copied()),
            ])?;
        connection
            .prepare_cached("INSERT INTO body (seq, body) VALUES (?1, ?2)")?
            .execute(params![seq, ready.body])?;
        memory.next_seq = seq + 1;
        if let Some(key) = &ready.repeat {
            let hash = key.hash();
            batch.keys.push((bucket(seq, KeyKind::Repeat), hash, seq));
            batch.repeats.insert(hash, seq);
            batch.sent.insert(key.sent(), seq);
        }
    }
    batch.count(Tally::Messages, channel, ready.state as u8, 1);
    for (n, name) in &ready.blobs {
        connection
            .prepare_cached("INSERT OR REPLACE INTO blob (place, hash, pack) VALUES (?1, ?2, ?3)")?
            .execute(params![
                n.map_or(-seq, |n| seq * DELIVERIES + n),
                name.hash,
                name.slot.map(Slot::pack_in_row)
            ])?;
    }
    for (kind, hash) in &ready.keys {
        batch.keys.push((bucket(seq, *kind), *hash, seq));
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO delivery (id, destination, state, due, body, lane) VALUES (?1, ?2, 0, NULL, ?3, ?4)",
    )?;
    for (n, delivery) in ready.deliveries.iter().enumerate() {
        let channel = match &delivery.queue_of {
            None => channel,
            Some(other) => {
                let (channel, new) = memory.names.intern_channel(connection, other)?;
                batch.new_names |= new;
                channel
            }
        };
        let (destination, new) =
            memory
                .names
                .intern_destination(connection, channel, &delivery.destination)?;
        batch.new_names |= new;
        insert.execute(params![
            seq * DELIVERIES + n as i64,
            destination,
            delivery.body,
            delivery.lane
        ])?;
        batch.count(Tally::Deliveries, destination, DeliveryState::Queued as u8, 1);
    }
    Ok(())
}

/// Writes what came of a question: a delivery that is over, with its one try.
fn write_asked(
    connection: &Connection,
    memory: &mut Memory,
    batch: &mut Batch,
    ready: &Ready,
    asked: &ReadyAsked,
    seq: i64,
    sealer: &Sealer,
) -> rusqlite::Result<()> {
    let (channel, new_channel) = memory.names.intern_channel(connection, &ready.channel)?;
    let (destination, new) = memory
        .names
        .intern_destination(connection, channel, &asked.destination)?;
    batch.new_names |= new || new_channel;
    let delivery = seq * DELIVERIES + ready.deliveries.len() as i64;
    connection
        .prepare_cached(
            "INSERT INTO delivery (id, destination, state, due, body) VALUES (?1, ?2, ?3, NULL, NULL)",
        )?
        .execute(params![delivery, destination, asked.state as u8])?;
    batch.count(Tally::Deliveries, destination, asked.state as u8, 1);
    let attempt = delivery * ATTEMPTS + 1;
    let note = asked
        .sealed(sealer, attempt)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO attempt (id, at, verdict, note) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![attempt, asked.at, asked.verdict, note])?;
    Ok(())
}

/// A message that failed or was parked owes nothing to anybody; should there be something all the same, it goes.
fn drop_deliveries(connection: &Connection, batch: &mut Batch, seq: i64) -> rusqlite::Result<()> {
    let range = [seq * DELIVERIES, (seq + 1) * DELIVERIES];
    let mut statement =
        connection.prepare_cached("SELECT destination, state FROM delivery WHERE id >= ?1 AND id < ?2")?;
    let mut rows = statement.query(range)?;
    let mut any = false;
    while let Some(row) = rows.next()? {
        batch.count(Tally::Deliveries, row.get(0)?, row.get(1)?, -1);
        any = true;
    }
    if any {
        connection.execute("DELETE FROM delivery WHERE id >= ?1 AND id < ?2", range)?;
        connection.execute("DELETE FROM made WHERE delivery >= ?1 AND delivery < ?2", range)?;
        connection.execute(
            "DELETE FROM attempt WHERE id >= ?1 AND id < ?2",
            range.map(|id| id.saturating_mul(ATTEMPTS)),
        )?;
    }
    Ok(())
}

/// True where that message has this digest (or its first half), and came within the window before `now`.
fn is_same(
    connection: &Connection,
    seq: i64,
    digest: &[u8],
    now: i64,
    window: i64,
) -> rusqlite::Result<bool> {
    let found = connection
        .prepare_cached("SELECT digest, received_at FROM message WHERE seq = ?1")?
        .query_row([seq], |row| {
            let same = row
                .get_ref(0)?
                .as_blob_or_null()?
                .is_some_and(|found| found.starts_with(digest));
            Ok(same && now.saturating_sub(row.get(1)?) <= window)
        })
        .optional()?;
    Ok(found.unwrap_or(false))
}

fn find_repeat(
    connection: &Connection,
    memory: &mut Memory,
    batch: &Batch,
    key: &RepeatKey,
    now: i64,
) -> rusqlite::Result<Option<i64>> {
    let hash = key.hash();
    if let Some(seq) = batch.repeats.get(&hash)
        && is_same(connection, *seq, &key.digest, now, key.window)?
    {
        return Ok(Some(*seq));
    }
    if !memory.repeats.may_have(hash)? {
        return Ok(None);
    }
    let mut statement = connection
        .prepare_cached("SELECT message FROM key WHERE bucket = ?1 AND hash = ?2 ORDER BY message DESC")?;
    for place in (memory.first_place..=memory.next_seq / BUCKET).rev() {
        let mut rows = statement.query([bucket(place * BUCKET, KeyKind::Repeat), hash])?;
        while let Some(row) = rows.next()? {
            let seq = row.get(0)?;
            if is_same(connection, seq, &key.digest, now, key.window)? {
                return Ok(Some(seq));
            }
        }
    }
    Ok(None)
}

/// True where the same control id came before with another body. Looks at one message of the newest bucket that has
/// one: a sender that always says the same number costs one probe.
fn was_reused(
    connection: &Connection,
    memory: &mut Memory,
    batch: &Batch,
    key: &RepeatKey,
    now: i64,
) -> rusqlite::Result<bool> {
    let sent = key.sent();
    let half = &key.digest[..8];
    if let Some(seq) = batch.sent.get(&sent)
        && is_same(connection, *seq, half, now, key.window)?
    {
        return Ok(true);
    }
    if !memory.repeats.may_have_sent(sent)? {
        return Ok(false);
    }
    let low = (u64::from(sent) << 32) as i64;
    let mut statement = connection.prepare_cached(
        "SELECT message FROM key WHERE bucket = ?1 AND hash BETWEEN ?2 AND ?3 ORDER BY hash DESC LIMIT 8",
    )?;
    for place in (memory.first_place..=memory.next_seq / BUCKET).rev() {
        let mut rows = statement.query([bucket(place * BUCKET, KeyKind::Repeat), low, low | 0xffff_ffff])?;
        while let Some(row) = rows.next()? {
            if is_same(connection, row.get(0)?, half, now, key.window)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether there were deliveries of a message, and all are over.
fn was_told(connection: &Connection, seq: i64) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached("SELECT state FROM delivery WHERE id >= ?1 AND id < ?2")?;
    let mut rows = statement.query([seq * DELIVERIES, (seq + 1) * DELIVERIES])?;
    let mut any = false;
    while let Some(row) = rows.next()? {
        any = true;
        let state = DeliveryState::from_number(row.get(0)?);
        if !state.is_some_and(DeliveryState::is_over) {
            return Ok(false);
        }
    }
    Ok(any)
}

/// Moves a delivery to a state; false where there is none of that number.
pub(crate) fn move_delivery(
    connection: &Connection,
    batch: &mut Batch,
    delivery: i64,
    state: DeliveryState,
    due: Option<i64>,
) -> rusqlite::Result<bool> {
    let Some(row) = delivery_row(connection, delivery)? else {
        return Ok(false);
    };
    move_row(connection, batch, &row, state, due)?;
    Ok(true)
}

/// A delivery as it stands.
struct DeliveryRow {
    id: i64,
    destination: i64,
    state: u8,
}

fn delivery_row(connection: &Connection, id: i64) -> rusqlite::Result<Option<DeliveryRow>> {
    connection
        .prepare_cached("SELECT destination, state FROM delivery WHERE id = ?1")?
        .query_row([id], |row| {
            Ok(DeliveryRow {
                id,
                destination: row.get(0)?,
                state: row.get(1)?,
            })
        })
        .optional()
}

fn move_row(
    connection: &Connection,
    batch: &mut Batch,
    row: &DeliveryRow,
    state: DeliveryState,
    due: Option<i64>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE delivery SET state = ?2, due = ?3 WHERE id = ?1")?
        .execute(params![row.id, state as u8, due])?;
    batch.count(Tally::Deliveries, row.destination, row.state, -1);
    batch.count(Tally::Deliveries, row.destination, state as u8, 1);
    Ok(())
}

/// Writes what a try came to; false where there is no such delivery.
pub(crate) fn attempted(
    connection: &Connection,
    batch: &mut Batch,
    ready: &ReadyAttempt,
) -> rusqlite::Result<bool> {
    let Some(row) = delivery_row(connection, ready.delivery)? else {
        return Ok(false);
    };
    if row.state == DeliveryState::Cancelled as u8 {
        // What a person has taken out stays so, whatever was on its way.
        return Ok(true);
    }
    move_row(connection, batch, &row, ready.state, ready.due)?;
    // What a person decided is not written over.
    connection
        .prepare_cached(
            "INSERT INTO attempt (id, at, verdict, note) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET at = excluded.at, verdict = excluded.verdict, note = excluded.note
             WHERE attempt.verdict < 5",
        )?
        .execute(params![ready.attempt, ready.at, ready.verdict, ready.note])?;
    if let Some(hash) = ready.reference {
        let message = ready.delivery / DELIVERIES;
        let bucket = bucket(message, KeyKind::Reference);
        batch.keys.push((bucket, hash, message));
    }
    Ok(true)
}

/// Does what a person decided about a delivery; false where it can't be said of one in its state.
pub(crate) fn decide(
    connection: &Connection,
    batch: &mut Batch,
    ready: &ReadyDecision,
    sealer: &Sealer,
) -> rusqlite::Result<bool> {
    let delivery = ready.delivery;
    let can = |row: &DeliveryRow| {
        let state = DeliveryState::from_number(row.state);
        state.is_some_and(|state| ready.word.is_for(state))
    };
    let Some(row) = delivery_row(connection, delivery)?.filter(can) else {
        return Ok(false);
    };
    if ready.word == DecidedWord::Released {
        let gone = connection
            .prepare_cached("SELECT 1 FROM message WHERE seq = ?1 AND flags & ?2 <> 0")?
            .exists(params![delivery / DELIVERIES, BODIES_GONE | ROW_LEFT])?;
        if gone {
            return Ok(false);
        }
        // Should it die again, somebody is to see it again.
        connection
            .prepare_cached("DELETE FROM seen WHERE delivery = ?1")?
            .execute([delivery])?;
    }
    move_row(connection, batch, &row, ready.word.state(), None)?;
    let first = delivery.saturating_mul(ATTEMPTS);
    let last: i64 = connection
        .prepare_cached("SELECT coalesce(max(id), ?1) FROM attempt WHERE id > ?1 AND id < ?2")?
        .query_row([first, first.saturating_add(ATTEMPTS)], |row| row.get(0))?;
    let attempt = (last + 1).min(first + ATTEMPTS - 1);
    let note = ready
        .sealed(sealer, attempt)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO attempt (id, at, verdict, note) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![attempt, ready.at, decided_number(ready.word), note])?;
    Ok(true)
}
