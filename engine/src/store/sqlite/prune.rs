//! Taking out what is old enough. A page of messages is looked at by a reader; the writer takes them out a few at a time,
//! beside what comes in, and looks again first: only what it sees counts.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::commit::{Batch, Tally, uuid_at};
use super::ready::{ATTEMPTS, BUCKET, DELIVERIES, KeyKind, Note, RepeatKey, bucket};
use super::writer::Job;
use super::{Shared, SqliteStore, journal, messages, sql_error};
use crate::channel::KeepFor;
use crate::message::{DeliveryState, MessageState};
use crate::store::prune::{Ages, Keeping, PrunePlace, PruneStep};
use crate::store::seal::{Column, Sealer};
use crate::store::{Seen, StoreError};

/// Flag of a message whose bodies were taken out.
pub(crate) const BODIES_GONE: u8 = 2;
/// And of one of which only its row is left.
pub(crate) const ROW_LEFT: u8 = 4;

/// And of one whose bytes somebody was told to be safe here: it stays.
const FOR_GOOD: u8 = 8;

/// Messages that one step looks at.
const PAGE: i64 = 5_000;
/// Those that one step takes out at most.
const TAKEN: usize = 512;
/// Those that are taken out in one transaction: it takes a few milliseconds.
const TOGETHER: usize = 32;
/// Rows of the journal in one transaction.
const ROWS: i64 = 256;
/// Pages of 4 KB that are given back in one transaction.
const PAGES: i64 = 32;
/// Transactions of one step that only give space back.
const GIVEN: usize = 64;
/// The part of the file that is kept free for what comes: pages given back today would be taken again tomorrow.
const RESERVE: i64 = 16;
/// A file of a big body that no row names stays for so long: a backup that has begun may still want it.
pub(crate) const GRACE: Duration = Duration::from_secs(24 * 3600);
/// Clocks step back by a little, not by a day: no message that much later is older.
const DAY: i64 = 24 * 3600 * 1_000_000;
/// The writer is left alone for so many times as long as it was busy.
const PAUSE: u32 = 3;

/// What is to become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its bytes go.
    Bodies,
    /// All of it.
    Whole,
}

/// A message that is old enough, as a reader saw it.
pub(crate) struct Doomed {
    seq: i64,
    state: u8,
    flags: u8,
    repeats: u32,
    fate: Fate,
    /// Taken out only where nothing has happened to it since.
    before: i64,
    /// Its rows of `key`: the index has no order by message, so that the reader looks for them.
    keys: Vec<(i64, i64)>,
}

/// What came of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// Gone.
    Messages,
    /// Gone but for its row.
    ButARow,
    /// Its bytes are gone.
    Bodies,
    /// It stays: something of it is open.
    Open,
    /// It stays: something happened to it lately.
    Young,
}

/// When something has to have happened before to be old enough; none: it never is.
fn cutoff(keep: KeepFor, now: Timestamp) -> Option<i64> {
    match keep {
        KeepFor::Ever => None,
        KeepFor::For(length) => {
            let length = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
            Some(now.as_microsecond().saturating_sub(length))
        }
    }
}

/// What becomes of a message that came then.
fn fate(
    ages: &Ages,
    state: MessageState,
    flags: u8,
    received_at: i64,
    now: Timestamp,
) -> Option<(Fate, i64)> {
    let is_before = |keep| cutoff(keep, now).filter(|before| received_at < *before);
    if flags & (ROW_LEFT | FOR_GOOD) != 0 {
        return None;
    }
    if let Some(before) = is_before(ages.whole(state)) {
        return Some((Fate::Whole, before));
    }
    let before = is_before(ages.bodies(state)).filter(|_| flags & BODIES_GONE == 0)?;
    Some((Fate::Bodies, before))
}

/// A page of the messages that are old enough, and where the next page begins.
struct Page {
    doomed: Vec<(String, Doomed)>,
    next: Option<i64>,
}

/// Looks at the messages after this one. The newest is never among them: the next number is counted from it.
fn page(
    shared: &Shared,
    connection: &Connection,
    keeping: &Keeping,
    now: Timestamp,
    after: i64,
) -> Result<Page, StoreError> {
    let mut page = Page {
        doomed: vec![],
        next: None,
    };
    let Some(shortest) = keeping.shortest() else {
        return Ok(page);
    };
    let young = cutoff(KeepFor::For(shortest), now)
        .unwrap_or_default()
        .saturating_add(DAY);
    let names = shared.names();
    let read = || -> rusqlite::Result<Page> {
        let mut statement = connection.prepare_cached(
            "SELECT seq, channel, state, flags, repeats, received_at FROM message
             WHERE seq > ?1 AND seq < (SELECT max(seq) FROM message) ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = statement.query([after, PAGE])?;
        let mut looked_at = 0;
        let mut last = after;
        while let Some(row) = rows.next()? {
            let (seq, received_at): (i64, i64) = (row.get(0)?, row.get(5)?);
            if young < received_at {
                return Ok(page);
            }
            looked_at += 1;
            last = seq;
            let (state, flags): (u8, u8) = (row.get(2)?, row.get(3)?);
            let channel = names.channel_name(row.get(1)?);
            let Some(known) = MessageState::from_number(state) else {
                continue;
            };
            if let Some((fate, before)) = fate(keeping.of(&channel), known, flags, received_at, now) {
                let doomed = Doomed {
                    seq,
                    state,
                    flags,
                    repeats: row.get(4)?,
                    fate,
                    before,
                    keys: vec![],
                };
                page.doomed.push((channel, doomed));
                if page.doomed.len() == TAKEN {
                    break;
                }
            }
        }
        if looked_at == PAGE || page.doomed.len() == TAKEN {
            page.next = Some(last);
        }
        Ok(page)
    };
    read().map_err(sql_error)
}

/// Finds the rows of `key` of those that go whole: bucket by bucket, so that each is read once.
fn find_keys(connection: &Connection, doomed: &mut [(String, Doomed)]) -> rusqlite::Result<()> {
    let mut places: HashMap<i64, usize> = HashMap::new();
    let mut buckets: Vec<i64> = vec![];
    for (idx, (_, one)) in doomed.iter().enumerate() {
        if one.fate == Fate::Whole {
            places.insert(one.seq, idx);
            buckets.push(one.seq / BUCKET);
        }
    }
    buckets.dedup();
    let mut statement = connection.prepare_cached("SELECT hash, message FROM key WHERE bucket = ?1")?;
    for place in buckets {
        for kind in KeyKind::ALL {
            let bucket = bucket(place * BUCKET, kind);
            let mut rows = statement.query([bucket])?;
            while let Some(row) = rows.next()? {
                let (hash, message): (i64, i64) = (row.get(0)?, row.get(1)?);
                if let Some((_, one)) = places.get(&message).and_then(|idx| doomed.get_mut(*idx)) {
                    one.keys.push((bucket, hash));
                }
            }
        }
    }
    Ok(())
}

/// Whether a message may go now; what else comes of it is not written yet.
fn verdict(connection: &Connection, doomed: &Doomed) -> rusqlite::Result<Option<Done>> {
    let found: Option<(u8, u8, u32)> = connection
        .prepare_cached("SELECT state, flags, repeats FROM message WHERE seq = ?1")?
        .query_row([doomed.seq], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    // It is another one than the reader saw: a repeat of what failed runs again, a person has decided.
    if found != Some((doomed.state, doomed.flags, doomed.repeats)) {
        return Ok(Some(Done::Young));
    }
    if doomed.state == MessageState::Parked as u8 {
        return Ok(Some(Done::Open));
    }
    let deliveries = [doomed.seq * DELIVERIES, (doomed.seq + 1) * DELIVERIES];
    let is_open = connection
        .prepare_cached(
            "SELECT 1 FROM delivery d WHERE d.id >= ?1 AND d.id < ?2 AND d.state NOT IN (1, 8)
             AND NOT (d.state = 7 AND EXISTS (SELECT 1 FROM seen s WHERE s.delivery = d.id))",
        )?
        .exists(deliveries)?;
    if is_open {
        return Ok(Some(Done::Open));
    }
    // A person who decides about an answer needs what it answers.
    let waits = connection
        .prepare_cached(
            "SELECT 1 FROM made JOIN message m ON m.seq = made.message
             WHERE made.delivery >= ?1 AND made.delivery < ?2 AND m.state = 4",
        )?
        .exists(deliveries)?;
    if waits {
        return Ok(Some(Done::Open));
    }
    let last: Option<i64> = connection
        .prepare_cached("SELECT max(at) FROM attempt WHERE id >= ?1 AND id < ?2")?
        .query_row(deliveries.map(|id| id * ATTEMPTS), |row| row.get(0))?;
    Ok(last
        .is_some_and(|last| doomed.before <= last)
        .then_some(Done::Young))
}

/// Takes one out, where it may go.
pub(crate) fn take_out(
    shared: &Shared,
    connection: &Connection,
    batch: &mut Batch,
    doomed: &Doomed,
) -> rusqlite::Result<Done> {
    if let Some(stays) = verdict(connection, doomed)? {
        return Ok(stays);
    }
    let seq = doomed.seq;
    let deliveries = [seq * DELIVERIES, (seq + 1) * DELIVERIES];
    drop_blobs(shared, connection, seq)?;
    connection
        .prepare_cached("DELETE FROM body WHERE seq = ?1")?
        .execute([seq])?;
    if doomed.fate == Fate::Bodies {
        connection
            .prepare_cached(
                "UPDATE delivery SET body = NULL WHERE id >= ?1 AND id < ?2 AND body IS NOT NULL",
            )?
            .execute(deliveries)?;
        drop_responses(&shared.sealer, connection, deliveries)?;
        set_flags(connection, seq, BODIES_GONE)?;
        return Ok(Done::Bodies);
    }
    count_out(connection, batch, deliveries)?;
    for sql in [
        "DELETE FROM delivery WHERE id >= ?1 AND id < ?2",
        "DELETE FROM made WHERE delivery >= ?1 AND delivery < ?2",
        "DELETE FROM seen WHERE delivery >= ?1 AND delivery < ?2",
    ] {
        connection.prepare_cached(sql)?.execute(deliveries)?;
    }
    connection
        .prepare_cached("DELETE FROM attempt WHERE id >= ?1 AND id < ?2")?
        .execute(deliveries.map(|id| id * ATTEMPTS))?;
    let mut delete =
        connection.prepare_cached("DELETE FROM key WHERE bucket = ?1 AND hash = ?2 AND message = ?3")?;
    for (bucket, hash) in &doomed.keys {
        delete.execute([bucket, hash, &seq])?;
    }
    let (wrote, channel, digest): (bool, i64, Option<[u8; 16]>) = connection
        .prepare_cached("SELECT wrote IS NOT NULL, channel, digest FROM message WHERE seq = ?1")?
        .query_row([seq], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if let Some(digest) = digest {
        batch.forgotten.push(RepeatKey { digest, window: 0 }.hash());
    }
    if wrote {
        connection
            .prepare_cached("UPDATE message SET digest = NULL, key_sum = NULL WHERE seq = ?1")?
            .execute([seq])?;
        set_flags(connection, seq, BODIES_GONE | ROW_LEFT)?;
        return Ok(Done::ButARow);
    }
    connection
        .prepare_cached("DELETE FROM message WHERE seq = ?1")?
        .execute([seq])?;
    batch.count(Tally::Messages, channel, doomed.state, -1);
    batch.taken_out += 1;
    Ok(Done::Messages)
}

/// Keeps messages whatever their age. False: the bytes of one are gone.
pub(crate) fn keep_for_good(connection: &Connection, messages: &[Uuid]) -> rusqlite::Result<bool> {
    let mut update = connection
        .prepare_cached("UPDATE message SET flags = flags | ?2 WHERE id = ?1 AND flags & ?3 = 0")?;
    let mut are_all = true;
    for message in messages {
        are_all &= 0 < update.execute(params![message.as_bytes(), FOR_GOOD, BODIES_GONE | ROW_LEFT])?;
    }
    Ok(are_all)
}

fn set_flags(connection: &Connection, seq: i64, flags: u8) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE message SET flags = flags | ?2 WHERE seq = ?1")?
        .execute(params![seq, flags])
        .map(|_| ())
}

fn count_out(connection: &Connection, batch: &mut Batch, deliveries: [i64; 2]) -> rusqlite::Result<()> {
    let mut statement =
        connection.prepare_cached("SELECT destination, state FROM delivery WHERE id >= ?1 AND id < ?2")?;
    let mut rows = statement.query(deliveries)?;
    while let Some(row) = rows.next()? {
        batch.count(Tally::Deliveries, row.get(0)?, row.get(1)?, -1);
    }
    Ok(())
}

/// What came back from tries goes; why each ended as it did stays.
fn drop_responses(sealer: &Sealer, connection: &Connection, deliveries: [i64; 2]) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare_cached("SELECT id, note FROM attempt WHERE id >= ?1 AND id < ?2 AND note IS NOT NULL")?;
    let notes: Vec<(i64, Vec<u8>)> = statement
        .query_map(deliveries.map(|id| id * ATTEMPTS), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut update = connection.prepare_cached("UPDATE attempt SET note = ?2 WHERE id = ?1")?;
    for (id, note) in notes {
        // One that can't be opened is left to punte verify.
        if let Ok(Some(shorter)) = Note::without_response(sealer, id, &note) {
            update.execute(params![id, shorter])?;
        }
    }
    Ok(())
}

/// The rows of a message no longer name their big bodies. A file, or a pack with one, that no other row names is marked as of
/// today before that is written: it goes a day later.
pub(crate) fn drop_blobs(shared: &Shared, connection: &Connection, seq: i64) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT place, hash, pack FROM blob WHERE place = -?1 OR (place >= ?2 AND place < ?3)",
    )?;
    let named: Vec<(i64, Vec<u8>, Option<i64>)> = statement
        .query_map([seq, seq * DELIVERIES, (seq + 1) * DELIVERIES], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    for (place, hash, pack) in named {
        connection
            .prepare_cached("DELETE FROM blob WHERE place = ?1")?
            .execute([place])?;
        if let Ok(hash) = <[u8; 32]>::try_from(hash.as_slice())
            && !is_named(connection, &hash)?
        {
            shared.blobs.mark(&hash, pack);
        }
    }
    Ok(())
}

fn is_named(connection: &Connection, hash: &[u8; 32]) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM blob WHERE hash = ?1")?
        .exists([hash])
}

impl SqliteStore {
    /// One step of a pass, from this place on. `act`: false only counts what would go.
    pub(crate) async fn prune_step(
        &self,
        keeping: &Keeping,
        now: Timestamp,
        place: PrunePlace,
        act: bool,
    ) -> Result<PruneStep, StoreError> {
        match place {
            PrunePlace::Messages(after) => self.prune_messages(keeping, now, after, act).await,
            PrunePlace::Journal => self.prune_journal_step(keeping, now, act).await,
            PrunePlace::Blobs => self.prune_blobs(now, act).await,
            PrunePlace::Space if act => self.give_back().await,
            PrunePlace::Space => Ok(PruneStep::default()),
        }
    }

    async fn prune_messages(
        &self,
        keeping: &Keeping,
        now: Timestamp,
        after: i64,
        act: bool,
    ) -> Result<PruneStep, StoreError> {
        let keeping = keeping.clone();
        let (page, verdicts) = self
            .read_with(move |shared, connection| {
                let mut page = page(shared, connection, &keeping, now, after)?;
                let mut verdicts = vec![];
                if act {
                    find_keys(connection, &mut page.doomed).map_err(sql_error)?;
                } else {
                    for (_, doomed) in &page.doomed {
                        verdicts.push(rehearsed(connection, doomed).map_err(sql_error)?);
                    }
                }
                Ok((page, verdicts))
            })
            .await?;
        let mut step = PruneStep {
            next: Some(page.next.map_or(PrunePlace::Journal, PrunePlace::Messages)),
            ..PruneStep::default()
        };
        let (channels, mut doomed): (Vec<String>, Vec<Doomed>) = page.doomed.into_iter().unzip();
        let mut done = verdicts;
        while !doomed.is_empty() && act {
            let rest = doomed.split_off(doomed.len().min(TOGETHER));
            let begun = Instant::now();
            done.extend(self.ask(|reply| Job::Prune(doomed, reply)).await?);
            doomed = rest;
            tokio::time::sleep(begun.elapsed() * PAUSE).await;
        }
        for (channel, done) in channels.into_iter().zip(done) {
            let of = step.channels.entry(channel).or_default();
            match done {
                Done::Messages => of.messages += 1,
                Done::ButARow => of.but_a_row += 1,
                Done::Bodies => of.bodies += 1,
                Done::Open => of.open += 1,
                Done::Young => {}
            }
        }
        Ok(step)
    }

    async fn prune_journal_step(
        &self,
        keeping: &Keeping,
        now: Timestamp,
        act: bool,
    ) -> Result<PruneStep, StoreError> {
        let mut step = PruneStep {
            next: Some(PrunePlace::Blobs),
            ..PruneStep::default()
        };
        let Some(before) = cutoff(keeping.journal, now) else {
            return Ok(step);
        };
        if !act {
            step.journal = self
                .read_with(move |_, connection| journal::old(connection, before, i64::MAX).map_err(sql_error))
                .await?
                .map_or(0, |(_, count)| count);
            return Ok(step);
        }
        let old = self
            .read_with(move |_, connection| journal::old(connection, before, ROWS).map_err(sql_error))
            .await?;
        if let Some((nr, count)) = old {
            let begun = Instant::now();
            self.prune_journal(nr).await?;
            step.journal = count;
            step.next = Some(PrunePlace::Journal);
            tokio::time::sleep(begun.elapsed() * PAUSE).await;
        }
        Ok(step)
    }

    /// Removes files that no row names and that have been so for a day. Only the writer does it, inside its transaction:
    /// a row that names one is written there too, and looks whether it is there.
    async fn prune_blobs(&self, now: Timestamp, act: bool) -> Result<PruneStep, StoreError> {
        let mut step = PruneStep {
            next: Some(PrunePlace::Space),
            ..PruneStep::default()
        };
        let since_1970 = Duration::from_secs(now.as_second().max(0).unsigned_abs());
        let old = SystemTime::UNIX_EPOCH + since_1970.saturating_sub(GRACE);
        let unnamed = self
            .read_with(move |shared, connection| {
                let found = shared.blobs.older_than(old)?;
                let named: HashSet<Vec<u8>> = connection
                    .prepare_cached("SELECT DISTINCT hash FROM blob")
                    .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
                    .map_err(sql_error)?;
                Ok(found
                    .into_iter()
                    .filter(|lying| !named.contains(lying.hash.as_slice()))
                    .collect::<Vec<_>>())
            })
            .await?;
        for lying in unnamed {
            step.blobs += 1;
            if act {
                let shared = self.shared.clone();
                self.small(move |connection| {
                    if !is_named(connection, &lying.hash)? {
                        shared.blobs.remove(&lying, old);
                    }
                    Ok(true)
                })
                .await?;
            }
        }
        Ok(step)
    }

    /// Gives free pages at the end of the file back to the system, a few at a time.
    async fn give_back(&self) -> Result<PruneStep, StoreError> {
        let mut step = PruneStep::default();
        for _ in 0..GIVEN {
            let (free, all) = self
                .read_with(|_, connection| {
                    let get = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
                    let both = || Ok((get("PRAGMA freelist_count")?, get("PRAGMA page_count")?));
                    both().map_err(sql_error)
                })
                .await?;
            if free <= PAGES + (all - free) / RESERVE {
                return Ok(step);
            }
            let begun = Instant::now();
            self.small(|connection| {
                let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
                let mut rows = statement.query([])?;
                while rows.next()?.is_some() {}
                Ok(true)
            })
            .await?;
            step.bytes += PAGES as u64 * 4096;
            tokio::time::sleep(begun.elapsed() * PAUSE).await;
        }
        step.next = Some(PrunePlace::Space);
        Ok(step)
    }

    /// Notes that a person has seen what is dead of a message. How many deliveries that are.
    pub(crate) async fn note_seen(&self, message: Uuid, seen: &Seen) -> Result<u64, StoreError> {
        let dead = self
            .read_with(move |_, connection| {
                connection
                    .prepare_cached(
                        "SELECT d.id FROM message m JOIN delivery d ON d.id >= m.seq * 1024 AND d.id < (m.seq + 1) * 1024
                         WHERE m.id = ?1 AND d.state = ?2 AND NOT EXISTS (SELECT 1 FROM seen WHERE delivery = d.id)",
                    )
                    .and_then(|mut statement| {
                        let values = params![message.as_bytes(), DeliveryState::Dead as u8];
                        statement.query_map(values, |row| row.get::<_, i64>(0))?.collect()
                    })
                    .map_err(sql_error)
            })
            .await?;
        let dead: Vec<i64> = dead;
        for delivery in &dead {
            let (delivery, at) = (*delivery, seen.at.as_microsecond());
            let note = messages::sealed_seen(&self.shared.sealer, delivery, seen)?;
            self.small(move |connection| {
                connection
                    .prepare_cached("INSERT OR REPLACE INTO seen (delivery, at, note) VALUES (?1, ?2, ?3)")?
                    .execute(params![delivery, at, note])
                    .map(|_| true)
            })
            .await?;
        }
        Ok(dead.len() as u64)
    }
}

/// What would come of one.
fn rehearsed(connection: &Connection, doomed: &Doomed) -> rusqlite::Result<Done> {
    if let Some(stays) = verdict(connection, doomed)? {
        return Ok(stays);
    }
    let wrote = "SELECT 1 FROM message WHERE seq = ?1 AND wrote IS NOT NULL";
    Ok(match doomed.fate {
        Fate::Bodies => Done::Bodies,
        Fate::Whole if connection.prepare_cached(wrote)?.exists([doomed.seq])? => Done::ButARow,
        Fate::Whole => Done::Messages,
    })
}

/// Fills in which rows name which big bodies, in a store of a release that did not write it down.
pub(crate) fn name_blobs(connection: &Connection, sealer: &Sealer) -> Result<(), StoreError> {
    let named = connection
        .prepare("SELECT 1 FROM meta WHERE name = 'blobs_named'")
        .and_then(|mut statement| statement.exists([]))
        .map_err(sql_error)?;
    if named {
        return Ok(());
    }
    let mut rows = vec![];
    let of_messages =
        "SELECT -message.seq, message.id, 0, body.body FROM message JOIN body ON body.seq = message.seq
         WHERE message.length > 262144";
    // The name of a blob is short.
    let of_deliveries = "SELECT delivery.id, message.id, delivery.id % 1024, delivery.body
         FROM delivery JOIN message ON message.seq = delivery.id / 1024 WHERE length(delivery.body) < 512";
    for (column, sql) in [
        (Column::MessageBody, of_messages),
        (Column::DeliveryBody, of_deliveries),
    ] {
        let found: Vec<(i64, Uuid, i64, Vec<u8>)> = connection
            .prepare(sql)
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| {
                        Ok((row.get(0)?, uuid_at(row, 1)?, row.get(2)?, row.get(3)?))
                    })?
                    .collect()
            })
            .map_err(sql_error)?;
        for (place, id, n, sealed) in found {
            // What can't be opened names nothing that could be read; punte verify tells it.
            if let Ok(Some(name)) = super::ready::blob_of(sealer, column, id, n as u64, &sealed) {
                rows.push((place, name.hash));
            }
        }
    }
    let write = || {
        let transaction = connection.unchecked_transaction()?;
        for (place, hash) in &rows {
            transaction.execute(
                "INSERT OR REPLACE INTO blob (place, hash) VALUES (?1, ?2)",
                params![place, hash],
            )?;
        }
        transaction.execute("INSERT INTO meta (name, value) VALUES ('blobs_named', x'01')", [])?;
        transaction.commit()
    };
    write().map_err(sql_error)
}
