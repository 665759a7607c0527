//! Reading messages and deliveries.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use uuid::Uuid;

use super::commit::{Tally, uuid_at};
use super::names::Names;
use super::prune::{BODIES_GONE, ROW_LEFT};
use super::ready::{
    ATTEMPTS, BUCKET, DELIVERIES, Head, KeyKind, Note, bucket, message_key, unpack, unpack_small,
    verdict_name, wrote_list,
};
use super::sieve::Sifted;
use super::{Shared, sql_error, time};
use crate::body::StoredBody;
use crate::message::{
    AttemptRow, DeliveryDetail, DeliveryRow, DeliveryState, MessageDetail, MessageRow, MessageState, Pruned,
};
use crate::store::seal::{Column, Sealer};
use crate::store::{Awaited, BlobName, Lineage, MessageFilter, QueueRow, Seen, StoreError, Waiting};

/// A page of what waits ends with the body that makes it so big: the next may be as big as this one.
const PAGE_BYTES: usize = 1 << 20;
/// The most rows of one listing.
const LIMIT: u32 = 10_000;
/// The most messages that one answer may be asked about.
const AWAITED: usize = 100;
/// The most messages that are shown of those that a delivery has made.
const MADE: i64 = 100;

fn unknown_state() -> StoreError {
    StoreError::Damaged("a state is not known to this version".into())
}

pub(crate) fn message_state(number: u8) -> Result<MessageState, StoreError> {
    MessageState::from_number(number).ok_or_else(unknown_state)
}

fn delivery_state(number: u8) -> Result<DeliveryState, StoreError> {
    DeliveryState::from_number(number).ok_or_else(unknown_state)
}

/// The id of the message at this place.
pub(crate) fn id_of(connection: &Connection, seq: i64) -> Result<Option<Uuid>, StoreError> {
    connection
        .prepare_cached("SELECT id FROM message WHERE seq = ?1")
        .and_then(|mut statement| statement.query_row([seq], |row| uuid_at(row, 0)).optional())
        .map_err(sql_error)
}

/// The columns of `message` that a listing shows.
struct Plain {
    seq: i64,
    id: Uuid,
    channel: i64,
    state: u8,
    flags: u8,
    repeats: u32,
    received_at: i64,
    length: i64,
    replay_of: Option<Uuid>,
    head: Vec<u8>,
}

const PLAIN: &str = "seq, id, channel, state, flags, repeats, received_at, length, replay_of, head";

impl Plain {
    fn new(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Plain {
            seq: row.get(0)?,
            id: uuid_at(row, 1)?,
            channel: row.get(2)?,
            state: row.get(3)?,
            flags: row.get(4)?,
            repeats: row.get(5)?,
            received_at: row.get(6)?,
            length: row.get(7)?,
            replay_of: match row.get_ref(8)? {
                rusqlite::types::ValueRef::Null => None,
                _ => Some(uuid_at(row, 8)?),
            },
            head: row.get(9)?,
        })
    }

    fn open(
        self,
        shared: &Shared,
        names: &Names,
        connection: &Connection,
    ) -> Result<(MessageRow, Head), StoreError> {
        let head = Head::open(&shared.sealer, self.id, &self.head)?;
        let deliveries = deliveries(shared, names, connection, self.seq, self.channel)?;
        let row = MessageRow {
            seq: self.seq,
            id: self.id,
            channel: names.channel_name(self.channel),
            received_at: time(self.received_at),
            state: message_state(self.state)?,
            message_type: head.message_type.clone(),
            sender: head.sender.clone(),
            control_id: head.control_id.clone(),
            length: self.length as u64,
            failure: head.failure.clone(),
            candidates: head.candidates.clone(),
            resolutions: head.resolutions.clone(),
            repeats: self.repeats,
            reused_control_id: self.flags & 1 != 0,
            replay_of: self.replay_of,
            pruned: pruned(self.flags),
            origin: head.origin.clone(),
            deliveries,
        };
        Ok((row, head))
    }
}

/// What was taken out of a message, by its flags.
fn pruned(flags: u8) -> Option<Pruned> {
    match (flags & ROW_LEFT, flags & BODIES_GONE) {
        (0, 0) => None,
        (0, _) => Some(Pruned::Bodies),
        _ => Some(Pruned::AllButARow),
    }
}

/// What a person said of a dead delivery, as its row has it.
pub(crate) fn sealed_seen(sealer: &Sealer, delivery: i64, seen: &Seen) -> Result<Vec<u8>, StoreError> {
    let json = serde_json::to_vec(&(&seen.by, &seen.reason))
        .map_err(|error| StoreError::Unavailable(format!("a value can't be written: {error}")))?;
    sealer.seal(Column::SeenNote, Uuid::nil(), delivery as u64, &json)
}

/// Whether a person has seen a dead delivery, and what they said.
fn seen(shared: &Shared, connection: &Connection, delivery: i64) -> Result<Option<Seen>, StoreError> {
    let found: Option<(i64, Vec<u8>)> = connection
        .prepare_cached("SELECT at, note FROM seen WHERE delivery = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([delivery], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(sql_error)?;
    let Some((at, note)) = found else { return Ok(None) };
    let json = shared
        .sealer
        .open(Column::SeenNote, Uuid::nil(), delivery as u64, &note)?;
    let (by, reason) = serde_json::from_slice(&json)
        .map_err(|_| StoreError::Damaged("who has seen a delivery can't be read".into()))?;
    Ok(Some(Seen {
        at: time(at),
        by,
        reason,
    }))
}

/// How many tries a delivery had, and what the last one came to, or what a person decided last.
fn last_attempt(
    shared: &Shared,
    connection: &Connection,
    delivery: i64,
) -> Result<Option<(u32, String)>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT id, verdict, note FROM attempt WHERE id > ?1 AND id < ?2 ORDER BY id DESC LIMIT 1",
        )
        .and_then(|mut statement| {
            statement
                .query_row(attempt_range(delivery), |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, u8>(1)?,
                        row.get::<_, Option<Vec<u8>>>(2)?,
                    ))
                })
                .optional()
        })
        .map_err(sql_error)?;
    let Some((id, verdict, note)) = found else {
        return Ok(None);
    };
    let note = match note {
        Some(note) => Note::open(&shared.sealer, id, &note)?,
        None => Note::default(),
    };
    let verdict = verdict_name(verdict);
    let words = match note.why {
        Some(why) => format!("{verdict}: {why}"),
        None => verdict.to_owned(),
    };
    // A person's decision is no try.
    let tries: u32 = connection
        .prepare_cached("SELECT count(*) FROM attempt WHERE id > ?1 AND id < ?2 AND verdict < 5")
        .and_then(|mut statement| statement.query_row(attempt_range(delivery), |row| row.get(0)))
        .map_err(sql_error)?;
    Ok(Some((tries, words)))
}

fn attempt_range(delivery: i64) -> [i64; 2] {
    let first = delivery.saturating_mul(ATTEMPTS);
    [first, first.saturating_add(ATTEMPTS)]
}

fn deliveries(
    shared: &Shared,
    names: &Names,
    connection: &Connection,
    seq: i64,
    channel: i64,
) -> Result<Vec<DeliveryRow>, StoreError> {
    let found: Vec<(i64, i64, u8, Option<i64>)> = connection
        .prepare_cached(
            "SELECT id, destination, state, due FROM delivery WHERE id >= ?1 AND id < ?2 ORDER BY id",
        )
        .and_then(|mut statement| {
            statement
                .query_map([seq * DELIVERIES, (seq + 1) * DELIVERIES], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })?
                .collect()
        })
        .map_err(sql_error)?;
    found
        .into_iter()
        .map(|(id, destination, state, due)| {
            let last = last_attempt(shared, connection, id)?;
            let state = delivery_state(state)?;
            Ok(DeliveryRow {
                seen: match state {
                    DeliveryState::Dead => seen(shared, connection, id)?,
                    _ => None,
                },
                id,
                destination: match names.channel_of(destination) {
                    // What waits for a channel that listens: `orders-out@events`.
                    Some(other) if other != channel => {
                        format!(
                            "{}{}",
                            names.channel_name(other),
                            names.destination_name(destination)
                        )
                    }
                    Some(_) | None => names.destination_name(destination),
                },
                state,
                attempts: last.as_ref().map_or(0, |(tries, _)| *tries),
                due: due.map(time),
                last: last.map(|(_, words)| words),
            })
        })
        .collect()
}

/// Messages, newest first.
pub(crate) fn list(
    shared: &Shared,
    connection: &Connection,
    filter: &MessageFilter,
) -> Result<Vec<MessageRow>, StoreError> {
    let names = shared.names();
    let mut conditions = Conditions::default();
    if let Some(channel) = &filter.channel {
        let Some(nr) = names.channel(channel) else {
            return Ok(vec![]);
        };
        conditions.add("channel = ?", nr);
    }
    if let Some(state) = filter.state {
        // Written out, as the index of what failed or was parked has it.
        if matches!(state, MessageState::Failed | MessageState::Parked) {
            conditions.add_plain("state >= 4 AND state <= 5");
        }
        conditions.add_plain(&format!("state = {}", state as u8));
    }
    if let Some(since) = filter.since {
        conditions.add("received_at >= ?", since.as_microsecond());
    }
    if let Some(until) = filter.until {
        conditions.add("received_at < ?", until.as_microsecond());
    }
    if let Some(state) = filter.delivery_state {
        let number = state as u8;
        conditions.add_plain(&if matches!(state, DeliveryState::Queued | DeliveryState::Sent) {
            format!(
                "EXISTS (SELECT 1 FROM delivery WHERE id >= seq * {DELIVERIES} AND id < (seq + 1) * {DELIVERIES}
                 AND delivery.state = {number})"
            )
        } else {
            // The others are few, and have an index.
            format!(
                "seq IN (SELECT id / {DELIVERIES} FROM delivery
                 WHERE delivery.state >= 2 AND delivery.state = {number})"
            )
        });
    }
    let limit = filter.limit.min(LIMIT) as usize;
    let hashes: Vec<(KeyKind, i64)> = [
        (KeyKind::ControlId, &filter.control_id),
        (KeyKind::Order, &filter.order),
        (KeyKind::Visit, &filter.visit),
        (KeyKind::Patient, &filter.patient),
    ]
    .into_iter()
    .filter_map(|(kind, value)| Some((kind, message_key(&shared.sealer, kind, value.as_deref()?))))
    .collect();
    let found = if let Some((first, others)) = hashes.split_first() {
        by_keys(connection, *first, others, &conditions, filter.before, limit)
    } else {
        if let Some(before) = filter.before {
            conditions.add("seq < ?", before);
        }
        conditions.query(connection, limit)
    }
    .map_err(sql_error)?;
    found
        .into_iter()
        .map(|plain| Ok(plain.open(shared, &names, connection)?.0))
        .collect()
}

/// What the plain columns of a message must be.
#[derive(Default)]
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    fn add(&mut self, sql: &str, value: i64) {
        self.add_plain(sql);
        self.values.push(value.into());
    }

    fn add_plain(&mut self, sql: &str) {
        self.sql.push_str(" AND ");
        self.sql.push_str(sql);
    }

    fn query(&self, connection: &Connection, limit: usize) -> rusqlite::Result<Vec<Plain>> {
        let sql = format!(
            "SELECT {PLAIN} FROM message WHERE 1{} ORDER BY seq DESC LIMIT {limit}",
            self.sql
        );
        connection
            .prepare_cached(&sql)?
            .query_map(params_from_iter(&self.values), Plain::new)?
            .collect()
    }

    fn one(&self, connection: &Connection, seq: i64) -> rusqlite::Result<Option<Plain>> {
        let sql = format!("SELECT {PLAIN} FROM message WHERE 1{} AND seq = {seq}", self.sql);
        connection
            .prepare(&sql)?
            .query_row(params_from_iter(&self.values), Plain::new)
            .optional()
    }
}

/// Goes through the buckets from the newest on, by the first key, past those that a sieve says have none; the others are
/// probed.
fn by_keys(
    connection: &Connection,
    first: (KeyKind, i64),
    others: &[(KeyKind, i64)],
    conditions: &Conditions,
    before: Option<i64>,
    limit: usize,
) -> rusqlite::Result<Vec<Plain>> {
    let last: i64 =
        connection.query_row("SELECT coalesce(max(seq), 0) FROM message", [], |row| row.get(0))?;
    let before = before.unwrap_or(i64::MAX).min(last + 1);
    let mut find = connection.prepare_cached(
        "SELECT message FROM key WHERE bucket = ?1 AND hash = ?2 AND message < ?3 ORDER BY message DESC",
    )?;
    let mut probe =
        connection.prepare_cached("SELECT 1 FROM key WHERE bucket = ?1 AND hash = ?2 AND message = ?3")?;
    let sifted = Sifted::load(connection)?;
    let mut found = vec![];
    let oldest: i64 = connection
        .prepare_cached("SELECT coalesce(min(bucket), 0) / 8 FROM key")?
        .query_row([], |row| row.get(0))?;
    let (kind, hash) = first;
    let mut last = before / BUCKET;
    while oldest <= last {
        let before_sieve = Sifted::before(last);
        let places = match sifted.may_have(connection, last, kind, hash)? {
            true => oldest.max(before_sieve + 1)..=last,
            false => last + 1..=last,
        };
        for place in places.rev() {
            let mut rows = find.query(params![bucket(place * BUCKET, kind), hash, before])?;
            while let Some(row) = rows.next()? {
                let seq: i64 = row.get(0)?;
                let mut all = true;
                for (kind, hash) in others {
                    all &= probe.exists([bucket(seq, *kind), *hash, seq])?;
                }
                if all && let Some(plain) = conditions.one(connection, seq)? {
                    found.push(plain);
                }
                if found.len() >= limit {
                    return Ok(found);
                }
            }
        }
        last = before_sieve;
    }
    Ok(found)
}

/// Everything about one message.
pub(crate) fn detail(
    shared: &Shared,
    connection: &Connection,
    id: Uuid,
) -> Result<Option<MessageDetail>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT seq, id, channel, state, flags, repeats, received_at, length, replay_of, head, wrote,
             (SELECT body FROM body WHERE body.seq = message.seq), verbs FROM message WHERE id = ?1",
        )
        .and_then(|mut statement| {
            statement
                .query_row([id.as_bytes()], |row| {
                    Ok((
                        Plain::new(row)?,
                        row.get::<_, Option<Vec<u8>>>(10)?,
                        row.get::<_, Option<Vec<u8>>>(11)?,
                        row.get::<_, Option<String>>(12)?,
                    ))
                })
                .optional()
        })
        .map_err(sql_error)?;
    let Some((plain, wrote, body, verbs)) = found else {
        return Ok(None);
    };
    let (row, head) = plain.open(shared, &shared.names(), connection)?;
    let (body, big) = match (body, row.pruned) {
        (None, Some(_)) => (Bytes::new(), None),
        (body, _) => message_body(shared, id, body)?,
    };
    let mut deliveries = vec![];
    for delivery in &row.deliveries {
        let sealed: Option<Vec<u8>> = connection
            .prepare_cached("SELECT body FROM delivery WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([delivery.id], |row| row.get(0)))
            .map_err(sql_error)?;
        let (content_type, body) =
            delivery_body(shared, id, delivery.id, sealed, &head.content_type, || {
                Ok(body.clone())
            })?;
        deliveries.push(DeliveryDetail {
            row: delivery.clone(),
            body,
            content_type,
            attempts: attempts(shared, connection, delivery.id)?,
            made: made(connection, delivery.id).map_err(sql_error)?,
        });
    }
    Ok(Some(MessageDetail {
        wrote: wrote
            .map(|wrote| wrote_list(&wrote, verbs.as_deref()))
            .unwrap_or_default(),
        row,
        body,
        big,
        content_type: head.content_type,
        headers: head.headers,
        notes: head.notes,
        deliveries,
    }))
}

/// The bytes that came, of very long ones their beginning, and where big ones lie.
fn message_body(
    shared: &Shared,
    id: Uuid,
    sealed: Option<Vec<u8>>,
) -> Result<(Bytes, Option<BlobName>), StoreError> {
    let sealed = sealed.ok_or_else(missing)?;
    let opened = unpack(shared, Column::MessageBody, id, 0, &sealed)?;
    Ok((opened.body.ok_or_else(missing)?, opened.big))
}

fn missing() -> StoreError {
    StoreError::Damaged("the body of a message is missing".into())
}

/// Where the bytes that came with a message lie; none: there is no such message, or they were taken out.
pub(crate) fn stored_body(
    shared: &Shared,
    connection: &Connection,
    id: Uuid,
) -> Result<Option<StoredBody>, StoreError> {
    let sealed: Option<Vec<u8>> = connection
        .prepare_cached(
            "SELECT body.body FROM message JOIN body ON body.seq = message.seq WHERE message.id = ?1",
        )
        .and_then(|mut statement| statement.query_row([id.as_bytes()], |row| row.get(0)).optional())
        .map_err(sql_error)?;
    let Some(sealed) = sealed else { return Ok(None) };
    let (_, body, big) = unpack_small(&shared.sealer, Column::MessageBody, id, 0, &sealed)?;
    match (body, big) {
        (Some(body), _) => Ok(Some(body.into())),
        (None, Some(name)) => Ok(Some(StoredBody::new(shared.vault(), name))),
        (None, None) => Err(missing()),
    }
}

/// Content type and bytes of a delivery; `of_message` gives those of its message.
fn delivery_body(
    shared: &Shared,
    message: Uuid,
    delivery: i64,
    sealed: Option<Vec<u8>>,
    content_type: &str,
    of_message: impl FnOnce() -> Result<Bytes, StoreError>,
) -> Result<(String, Bytes), StoreError> {
    let Some(sealed) = sealed else {
        return Ok((content_type.to_owned(), of_message()?));
    };
    let n = (delivery % DELIVERIES) as u64;
    let opened = unpack(shared, Column::DeliveryBody, message, n, &sealed)?;
    let body = match opened.body {
        Some(body) => body,
        None => of_message()?,
    };
    Ok((opened.content_type, body))
}

fn attempts(shared: &Shared, connection: &Connection, delivery: i64) -> Result<Vec<AttemptRow>, StoreError> {
    let found: Vec<(i64, i64, u8, Option<Vec<u8>>)> = connection
        .prepare_cached("SELECT id, at, verdict, note FROM attempt WHERE id > ?1 AND id < ?2 ORDER BY id")
        .and_then(|mut statement| {
            statement
                .query_map(attempt_range(delivery), |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })?
                .collect()
        })
        .map_err(sql_error)?;
    found
        .into_iter()
        .map(|(id, at, verdict, note)| {
            let note = match note {
                Some(note) => Note::open(&shared.sealer, id, &note)?,
                None => Note::default(),
            };
            Ok(AttemptRow {
                number: (id % ATTEMPTS) as u32,
                at: time(at),
                verdict: verdict_name(verdict).to_owned(),
                why: note.why,
                by: note.by,
                response: note.response,
            })
        })
        .collect()
}

/// The messages that a delivery has made: the first [`MADE`].
fn made(connection: &Connection, delivery: i64) -> rusqlite::Result<Vec<Uuid>> {
    connection
        .prepare_cached(
            "SELECT m.id FROM made JOIN message m ON m.seq = made.message WHERE made.delivery = ?1
             ORDER BY made.number LIMIT ?2",
        )?
        .query_map([delivery, MADE], |row| uuid_at(row, 0))?
        .collect()
}

/// How many messages a delivery has made.
pub(crate) fn count_made(connection: &Connection, delivery: i64) -> rusqlite::Result<u32> {
    connection
        .prepare_cached("SELECT coalesce(max(number), 0) FROM made WHERE delivery = ?1")?
        .query_row([delivery], |row| row.get(0))
}

/// What a message hands on to those that are made from it.
pub(crate) fn lineage(
    shared: &Shared,
    connection: &Connection,
    id: Uuid,
) -> Result<Option<Lineage>, StoreError> {
    let found: Option<(i64, bool, Vec<u8>)> = connection
        .prepare_cached("SELECT channel, replay_of IS NOT NULL, head FROM message WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()
        })
        .map_err(sql_error)?;
    let Some((channel, is_replay, head)) = found else {
        return Ok(None);
    };
    let head = Head::open(&shared.sealer, id, &head)?;
    Ok(Some(Lineage {
        channel: shared.names().channel_name(channel),
        headers: head.headers,
        trace: head.origin.map(|origin| origin.trace).unwrap_or_default(),
        is_replay,
    }))
}

/// A row of what waits, still sealed.
struct SealedWaiting {
    id: i64,
    state: u8,
    due: Option<i64>,
    body: Option<Vec<u8>>,
    message: Uuid,
    received_at: i64,
    head: Vec<u8>,
}

impl SealedWaiting {
    fn new(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(SealedWaiting {
            id: row.get(0)?,
            state: row.get(1)?,
            due: row.get(2)?,
            body: row.get(3)?,
            message: uuid_at(row, 4)?,
            received_at: row.get(5)?,
            head: row.get(6)?,
        })
    }
}

/// What waits for a destination, after this number, in order.
pub(crate) fn waiting(
    shared: &Shared,
    connection: &Connection,
    destination: i64,
    after: i64,
    limit: u32,
) -> Result<Vec<Waiting>, StoreError> {
    let mut statement = connection
        .prepare_cached(concat!(
            "SELECT d.id, d.state, d.due, d.body, m.id, m.received_at, m.head
             FROM delivery d JOIN message m ON m.seq = d.id / 1024
             WHERE d.destination = ?1 AND d.id > ?2 AND ",
            waits!("d."),
            " ORDER BY d.id LIMIT ?3"
        ))
        .map_err(sql_error)?;
    let values = params![destination, after, limit.min(LIMIT)];
    let mut rows = statement.query(values).map_err(sql_error)?;
    let (mut page, mut bytes) = (vec![], 0);
    while bytes < PAGE_BYTES
        && let Some(row) = rows.next().map_err(sql_error)?
    {
        let sealed = SealedWaiting::new(row).map_err(sql_error)?;
        let waiting = open_waiting(shared, connection, sealed)?;
        bytes += waiting.body.len();
        page.push(waiting);
    }
    Ok(page)
}

fn open_waiting(shared: &Shared, connection: &Connection, row: SealedWaiting) -> Result<Waiting, StoreError> {
    let (attempts, first) = tries(connection, row.id).map_err(sql_error)?;
    let (content_type, mut body, mut big) = match &row.body {
        Some(sealed) => {
            let n = (row.id % DELIVERIES) as u64;
            unpack_small(&shared.sealer, Column::DeliveryBody, row.message, n, sealed)?
        }
        None => (
            Head::open(&shared.sealer, row.message, &row.head)?.content_type,
            None,
            None,
        ),
    };
    if body.is_none() && big.is_none() {
        let sealed = sealed_body(connection, row.id / DELIVERIES)?.ok_or_else(missing)?;
        (_, body, big) = unpack_small(&shared.sealer, Column::MessageBody, row.message, 0, &sealed)?;
        if body.is_none() && big.is_none() {
            return Err(missing());
        }
    }
    Ok(Waiting {
        id: row.id,
        message: row.message,
        state: delivery_state(row.state)?,
        attempts,
        first_attempt_at: first,
        due: row.due.map(time),
        received_at: time(row.received_at),
        body: body.unwrap_or_default(),
        big,
        content_type,
    })
}

/// The row of a message's body.
fn sealed_body(connection: &Connection, seq: i64) -> Result<Option<Vec<u8>>, StoreError> {
    connection
        .prepare_cached("SELECT body FROM body WHERE seq = ?1")
        .and_then(|mut statement| statement.query_row([seq], |row| row.get(0)).optional())
        .map_err(sql_error)
}

/// The deliveries that were pending with a reference, the oldest first.
pub(crate) fn awaited(
    shared: &Shared,
    connection: &Connection,
    reference: &str,
) -> Result<Vec<Awaited>, StoreError> {
    let hash = message_key(&shared.sealer, KeyKind::Reference, reference);
    let found = by_keys(
        connection,
        (KeyKind::Reference, hash),
        &[],
        &Conditions::default(),
        None,
        AWAITED,
    )
    .map_err(sql_error)?;
    let names = shared.names();
    let mut awaited = vec![];
    for plain in found.into_iter().rev() {
        let range = [plain.seq * DELIVERIES, (plain.seq + 1) * DELIVERIES];
        // Its bytes are gone: it has long been over.
        if plain.flags & BODIES_GONE != 0 {
            continue;
        }
        // One that was pending has a try with that verdict.
        let deliveries: Vec<(i64, i64)> = connection
            .prepare_cached(
                "SELECT d.id, d.destination FROM delivery d WHERE d.id >= ?1 AND d.id < ?2 AND EXISTS (
                 SELECT 1 FROM attempt a WHERE a.id > d.id * 4096 AND a.id < (d.id + 1) * 4096 AND a.verdict = 1)
                 ORDER BY d.id",
            )
            .and_then(|mut statement| {
                let rows = statement.query_map(range, |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect()
            })
            .map_err(sql_error)?;
        for (id, destination) in deliveries {
            let Some(waiting) = one(shared, connection, id)? else {
                continue;
            };
            let body = match waiting.big {
                Some(name) => shared.blobs.read(&shared.sealer, name)?,
                None => waiting.body,
            };
            awaited.push(Awaited {
                delivery: id,
                message: waiting.message,
                channel: names
                    .channel_of(destination)
                    .map(|nr| names.channel_name(nr))
                    .unwrap_or_default(),
                destination: names.destination_name(destination),
                state: waiting.state,
                attempts: waiting.attempts,
                body,
            });
        }
    }
    Ok(awaited)
}

/// What is pending at a destination and was to be answered by now.
pub(crate) fn overdue(
    shared: &Shared,
    connection: &Connection,
    destination: i64,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Waiting>, StoreError> {
    let ids: Vec<i64> = connection
        .prepare_cached(
            "SELECT id FROM delivery WHERE state >= 2 AND state = 3
             AND destination = ?1 AND due <= ?2 ORDER BY id LIMIT ?3",
        )
        .and_then(|mut statement| {
            let values = params![destination, now.as_microsecond(), limit.min(LIMIT)];
            statement.query_map(values, |row| row.get(0))?.collect()
        })
        .map_err(sql_error)?;
    ids.into_iter()
        .filter_map(|id| one(shared, connection, id).transpose())
        .collect()
}

/// One delivery, as if its turn had come.
pub(crate) fn one(
    shared: &Shared,
    connection: &Connection,
    delivery: i64,
) -> Result<Option<Waiting>, StoreError> {
    let row = connection
        .prepare_cached(
            "SELECT d.id, d.state, d.due, d.body, m.id, m.received_at, m.head
             FROM delivery d JOIN message m ON m.seq = d.id / 1024 WHERE d.id = ?1",
        )
        .and_then(|mut statement| statement.query_row([delivery], SealedWaiting::new).optional())
        .map_err(sql_error)?;
    row.map(|row| open_waiting(shared, connection, row)).transpose()
}

/// How many tries there were, and when the first was.
fn tries(connection: &Connection, delivery: i64) -> rusqlite::Result<(u32, Option<Timestamp>)> {
    let range = attempt_range(delivery);
    let last: Option<i64> = connection
        .prepare_cached("SELECT max(id) FROM attempt WHERE id > ?1 AND id < ?2")?
        .query_row(range, |row| row.get(0))?;
    let Some(last) = last else {
        return Ok((0, None));
    };
    // What a person has sent again has all its time again.
    let first: Option<i64> = connection
        .prepare_cached(
            "SELECT at FROM attempt WHERE id < ?2 AND id > coalesce(
             (SELECT max(id) FROM attempt WHERE id > ?1 AND id < ?2 AND verdict >= 5), ?1) ORDER BY id LIMIT 1",
        )?
        .query_row(range, |row| row.get(0))
        .optional()?;
    Ok(((last % ATTEMPTS) as u32, first.map(time)))
}

/// What waits for whom, and what is dead.
pub(crate) fn queues(shared: &Shared, connection: &Connection) -> Result<Vec<QueueRow>, StoreError> {
    let names = shared.names();
    let mut counts: BTreeMap<i64, Vec<(DeliveryState, u64)>> = BTreeMap::new();
    for (destination, state, count) in tallies(connection, Tally::Deliveries)? {
        let state = delivery_state(state)?;
        if !state.is_over() || state == DeliveryState::Dead || state == DeliveryState::Pending {
            counts.entry(destination).or_default().push((state, count));
        }
    }
    let seen = dead_seen(connection).map_err(sql_error)?;
    counts
        .into_iter()
        .map(|(destination, counts)| {
            let oldest = connection
                .prepare_cached(concat!(
                    "SELECT m.received_at FROM delivery d JOIN message m ON m.seq = d.id / 1024
                     WHERE d.destination = ?1 AND ",
                    waits!("d."),
                    " ORDER BY d.id LIMIT 1"
                ))
                .and_then(|mut statement| statement.query_row([destination], |row| row.get(0)).optional())
                .map_err(sql_error)?;
            Ok(QueueRow {
                dead_seen: seen.get(&destination).copied().unwrap_or_default(),
                channel: names
                    .channel_of(destination)
                    .map(|nr| names.channel_name(nr))
                    .unwrap_or_default(),
                destination: names.destination_name(destination),
                counts,
                oldest: oldest.map(time),
            })
        })
        .collect()
}

/// How many dead deliveries of each destination a person has seen. Few have been, so that few rows are read.
fn dead_seen(connection: &Connection) -> rusqlite::Result<BTreeMap<i64, u64>> {
    connection
        .prepare_cached(
            "SELECT d.destination, count(*) FROM seen s CROSS JOIN delivery d ON d.id = s.delivery
             WHERE d.state = 7 GROUP BY d.destination",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?
        .collect()
}

/// How many messages of each channel have failed that came at this time or later. Read from the newest back: what came
/// before another one came earlier, but for clocks that were set.
pub(crate) fn failed_since(
    shared: &Shared,
    connection: &Connection,
    since: Timestamp,
) -> Result<Vec<(String, u64)>, StoreError> {
    let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
    let mut count = || {
        let mut statement = connection.prepare_cached(
            "SELECT channel, received_at FROM message WHERE state >= 4 AND state <= 5 AND state = 5 ORDER BY seq DESC",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if time(row.get(1)?) < since {
                break;
            }
            *counts.entry(row.get(0)?).or_default() += 1;
        }
        Ok(())
    };
    count().map_err(sql_error)?;
    let names = shared.names();
    let named = counts
        .into_iter()
        .map(|(channel, count)| (names.channel_name(channel), count));
    Ok(named.collect())
}

/// How many messages of each state each channel has.
pub(crate) fn counts(
    shared: &Shared,
    connection: &Connection,
) -> Result<Vec<(String, MessageState, u64)>, StoreError> {
    let names = shared.names();
    tallies(connection, Tally::Messages)?
        .into_iter()
        .map(|(channel, state, count)| Ok((names.channel_name(channel), message_state(state)?, count)))
        .collect()
}

fn tallies(connection: &Connection, what: Tally) -> Result<Vec<(i64, u8, u64)>, StoreError> {
    connection
        .prepare_cached(
            "SELECT owner, state, count FROM tally WHERE what = ?1 AND count > 0 ORDER BY owner, state",
        )
        .and_then(|mut statement| {
            statement
                .query_map([what as u8], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs()))
                })?
                .collect()
        })
        .map_err(sql_error)
}
