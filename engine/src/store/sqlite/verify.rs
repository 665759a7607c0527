//! The check of the tables. See [`crate::store::verify`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};

use ::clinic::value::Ref;
use ::clinic::{Kind, Record};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::clinic::open_record;
use super::commit::uuid_at;
use super::keys::keys_from_bytes;
use super::names::Names;
use super::prune::BODIES_GONE;
use super::readers::Readers;
use super::ready::{
    ATTEMPTS, BUCKET, DELIVERIES, Head, KeyKind, Lay, Note, RepeatKey, bucket, key_sum, lay_of, wrote_list,
};
use super::sieve::Sieve;
use super::{Shared, open, sql_error};
use crate::message::{DeliveryState, MessageState};
use crate::store::blob::{BlobName, Blobs};
use crate::store::seal::Column;
use crate::store::verify::StoreReport;
use crate::store::{MasterKey, StoreError};

/// Buckets of messages that are looked at in one read transaction.
const BUCKETS: usize = 8;
/// Records that are looked at in one read transaction.
const RECORDS: i64 = 2_000;

const FROM_A_BACKUP: &str =
    "Restore the last backup whose check finds nothing, or ask the sender to send it again.";
const RECORD: &str =
    "Restore the last backup whose check finds nothing; its messages say what the record was made from.";
const BLOB: &str = "Put the file back from a backup: it has the same name there.";
const SLOT: &str = "Put that file of a backup into the data folder: it is read in place of the pack.";
const DISK: &str =
    "Look at the disk (its own log, memory), then restore the last backup whose check finds nothing.";
const TAMPERED: &str =
    "Somebody or something other than the program wrote the file. Find out who, and restore a backup.";

type Told<'a> = &'a mut dyn FnMut(&'static str, usize, usize);

/// What is known while the check runs.
struct Check {
    shared: Shared,
    report: StoreReport,
    /// The big bodies that rows name, and one of those rows.
    named: BTreeMap<BlobName, String>,
}

pub(crate) fn verify(folder: &Path, master: &MasterKey, told: Told<'_>) -> Result<StoreReport, StoreError> {
    let path = folder.join("punte.db");
    let readers = Readers::new(&path);
    let (sealer, names) = {
        let reader = readers.get()?;
        let version = open::version_of(&reader).map_err(sql_error)?;
        if version != open::newest_version() {
            return Err(StoreError::Damaged(format!(
                "it is of version {version}, and this program checks version {}. Start the engine once with it, or use the program that wrote it",
                open::newest_version()
            )));
        }
        let (sealer, _) = super::data_keys::stored(&reader, master)?
            .ok_or_else(|| StoreError::Damaged("its keys are missing".into()))?;
        (sealer, Names::load(&reader).map_err(sql_error)?)
    };
    let mut check = Check {
        shared: Shared {
            sealer: Arc::new(sealer),
            blobs: Blobs::new(folder),
            readers,
            cache: Default::default(),
            planned: Default::default(),
            zone: jiff::tz::TimeZone::UTC,
            names: RwLock::new(Arc::new(names)),
            head: Mutex::default(),
        },
        report: StoreReport::default(),
        named: BTreeMap::new(),
    };
    told("Pages:", 0, 1);
    check.part("the pages", Check::pages)?;
    check.part("the tables", Check::tables)?;
    check.messages(told)?;
    check.records(told)?;
    check.part("the counts", Check::counts)?;
    check.part("the rest", Check::rest)?;
    check.blobs(told);
    Ok(check.report)
}

impl Check {
    /// A part of the check in a read transaction of its own. One that can't be read to its end is a fault.
    fn part<T: Default>(
        &mut self,
        name: &str,
        part: impl FnOnce(&mut Self, &Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let read = {
            let readers = Readers::new(self.shared.readers.path());
            let reader = readers.get()?;
            let transaction = reader.unchecked_transaction().map_err(sql_error)?;
            part(self, &transaction)
        };
        read.or_else(|error| {
            self.report.add(name, format!("can't be read: {error}"), DISK);
            Ok(T::default())
        })
    }

    fn pages(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare("PRAGMA integrity_check(20)")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let said: String = row.get(0)?;
            if said != "ok" {
                self.report.add("punte.db", said, DISK);
            }
        }
        Ok(())
    }

    /// Tables, indexes and triggers are those that the migrations make.
    fn tables(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let made = Connection::open_in_memory()?;
        for sql in open::migrations() {
            made.execute_batch(sql)?;
        }
        let list = |connection: &Connection| -> rusqlite::Result<HashSet<(String, String, Option<String>)>> {
            connection
                .prepare("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND tbl_name NOT LIKE '\\_sqlx%' ESCAPE '\\'")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        };
        let (wanted, found) = (list(&made)?, list(connection)?);
        for (kind, name, _) in wanted.difference(&found) {
            self.report.add(
                format!("{kind} {name}"),
                "it is missing, or is another one",
                TAMPERED,
            );
        }
        for (kind, name, _) in found.difference(&wanted) {
            if !wanted.iter().any(|(_, other, _)| other == name) {
                self.report
                    .add(format!("{kind} {name}"), "the program does not make it", TAMPERED);
            }
        }
        Ok(())
    }

    /// All messages, bucket by bucket.
    fn messages(&mut self, told: Told<'_>) -> Result<(), StoreError> {
        let last = self.part("the messages", |_, connection| {
            connection.query_row(
                "SELECT max((SELECT coalesce(max(seq), 0) FROM message), (SELECT coalesce(max(seq), 0) FROM body),
                 (SELECT coalesce(max(id), 0) / 1024 FROM delivery), (SELECT coalesce(max(id), 0) / 4194304 FROM attempt),
                 (SELECT coalesce(max(bucket), 0) / 8 * ?1 FROM key))",
                [BUCKET],
                |row| row.get::<_, i64>(0),
            )
        })?;
        for first in (0..=last / BUCKET).step_by(BUCKETS) {
            told(
                "Messages checked:",
                usize::try_from(first * BUCKET).unwrap_or_default(),
                usize::try_from(last).unwrap_or_default(),
            );
            self.part("messages", |check, connection| {
                (first..)
                    .take(BUCKETS)
                    .try_for_each(|place| check.bucket(connection, place))
            })?;
        }
        Ok(())
    }

    fn bucket(&mut self, connection: &Connection, place: i64) -> rusqlite::Result<()> {
        let range = [place * BUCKET, (place + 1) * BUCKET];
        let keys = keys_of(connection, place)?;
        self.sieve(connection, place, &keys)?;
        let mut known: HashMap<i64, (Uuid, String, u8)> = HashMap::new();
        let mut statement = connection.prepare_cached(
            "SELECT m.seq, m.id, m.channel, m.state, m.flags, m.length, m.digest, m.wrote, m.verbs, m.head, m.key_sum, b.body
             FROM message m LEFT JOIN body b ON b.seq = m.seq WHERE m.seq >= ?1 AND m.seq < ?2 ORDER BY m.seq",
        )?;
        let mut rows = statement.query(range)?;
        while let Some(row) = rows.next()? {
            self.report.messages += 1;
            let (seq, flags): (i64, u8) = (row.get(0)?, row.get(4)?);
            let Ok(id) = uuid_at(row, 1) else {
                self.report.add(
                    format!("message number {seq}"),
                    "its id can't be read",
                    FROM_A_BACKUP,
                );
                continue;
            };
            let name = format!("message {id} (number {seq})");
            known.insert(seq, (id, name.clone(), flags));
            if MessageState::from_number(row.get(3)?).is_none() {
                self.report
                    .add(&name, "its state is none that there is", FROM_A_BACKUP);
            }
            if self.shared.names().channel_name(row.get(2)?).is_empty() {
                self.report.add(&name, "its channel is not there", FROM_A_BACKUP);
            }
            if Head::open(&self.shared.sealer, id, row.get_ref(9)?.as_blob()?).is_err() {
                self.report.add(
                    &name,
                    "its head was changed, or is that of another message",
                    FROM_A_BACKUP,
                );
            }
            let body: Option<Vec<u8>> = row.get(11)?;
            let length: i64 = row.get(5)?;
            self.body(&name, id, flags, length, body.as_deref(), connection, seq)?;
            self.keys(&name, seq, row.get(6)?, row.get(10)?, keys.get(&seq));
            let verbs: Option<String> = row.get(8)?;
            if let Some(wrote) = row.get::<_, Option<Vec<u8>>>(7)? {
                for wrote in wrote_list(&wrote, verbs.as_deref()) {
                    let there = connection
                        .prepare_cached(
                            "SELECT 1 FROM aggregate a WHERE a.id = ?1 AND a.kind = ?2 AND (a.version = ?3
                             OR EXISTS (SELECT 1 FROM history h WHERE h.aggregate = a.nr AND h.version = ?3))",
                        )?
                        .exists(params![wrote.id.as_bytes(), wrote.kind as u8, wrote.version as i64])?;
                    if !there {
                        self.report.add(
                            &name,
                            format!(
                                "it wrote version {} of {} {}, which is not there",
                                wrote.version,
                                wrote.kind.as_str(),
                                wrote.id
                            ),
                            RECORD,
                        );
                    }
                }
            }
        }
        for (seq, of) in &keys {
            if !known.contains_key(seq) {
                self.report.add(
                    format!("message number {seq}"),
                    format!("it is not there, and {} keys lead to it", of.len()),
                    FROM_A_BACKUP,
                );
            }
        }
        self.orphans(connection, range, &known)?;
        self.deliveries(connection, range, &known)?;
        self.attempts(connection, range)
    }

    /// What is there is found.
    fn sieve(
        &mut self,
        connection: &Connection,
        place: i64,
        keys: &BTreeMap<i64, Vec<(KeyKind, i64)>>,
    ) -> rusqlite::Result<()> {
        let Some(sieve) = Sieve::of(connection, place)? else {
            return Ok(());
        };
        for (seq, keys) in keys {
            for (kind, hash) in keys {
                if !sieve.admits(*kind, *hash) {
                    self.report.add(
                        format!("message number {seq}"),
                        "it is not found by one of its keys: the table sieve does not know it",
                        FROM_A_BACKUP,
                    );
                }
            }
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the columns of a row")]
    fn body(
        &mut self,
        name: &str,
        id: Uuid,
        flags: u8,
        length: i64,
        sealed: Option<&[u8]>,
        connection: &Connection,
        seq: i64,
    ) -> rusqlite::Result<()> {
        let Some(sealed) = sealed else {
            if flags & BODIES_GONE == 0 {
                self.report.add(name, "its body is missing", FROM_A_BACKUP);
            }
            return Ok(());
        };
        let found = lay_of(&self.shared.sealer, Column::MessageBody, id, 0, sealed);
        let real = match found {
            Ok(Lay::Inline(length)) => length as u64,
            Ok(Lay::Blob(blob)) => {
                self.name(connection, name, blob, -seq)?;
                blob.length
            }
            Ok(Lay::WithMessage) | Err(_) => {
                self.report.add(
                    name,
                    "its body was changed, or is that of another message",
                    FROM_A_BACKUP,
                );
                return Ok(());
            }
        };
        if real != length.unsigned_abs() {
            self.report.add(
                name,
                format!("its body has {real} bytes and should have {length}"),
                FROM_A_BACKUP,
            );
        }
        Ok(())
    }

    /// Notes that a row names a big body; that stands in a table of its own.
    fn name(
        &mut self,
        connection: &Connection,
        name: &str,
        blob: BlobName,
        place: i64,
    ) -> rusqlite::Result<()> {
        let noted = connection
            .prepare_cached("SELECT 1 FROM blob WHERE place = ?1 AND hash = ?2")?
            .exists(params![place, blob.hash])?;
        if !noted {
            self.report.add(
                name,
                "its big body is not noted as needed, and would be removed",
                "Do not run punte prune; restore the last backup whose check finds nothing.",
            );
        }
        self.named.entry(blob).or_insert_with(|| name.to_owned());
        Ok(())
    }

    fn keys(
        &mut self,
        name: &str,
        seq: i64,
        digest: Option<[u8; 16]>,
        sum: Option<i64>,
        keys: Option<&Vec<(KeyKind, i64)>>,
    ) {
        let none = vec![];
        let keys = keys.unwrap_or(&none);
        if let Some(digest) = digest {
            let hash = RepeatKey { digest, window: 0 }.hash();
            if !keys.contains(&(KeyKind::Repeat, hash)) {
                self.report.add(
                    name,
                    "the key by which a repeat of it is known is missing",
                    "A repeat of it would be taken as new. Restore the last backup whose check finds nothing.",
                );
            }
        }
        if let Some(sum) = sum
            && key_sum(keys.iter().copied()) != sum
        {
            self.report.add(
                format!("message number {seq}"),
                "a key by which it is found is missing, or one too many leads to it",
                "A search may not show it. Restore the last backup whose check finds nothing.",
            );
        }
    }

    /// What belongs to messages that are not there.
    fn orphans(
        &mut self,
        connection: &Connection,
        range: [i64; 2],
        known: &HashMap<i64, (Uuid, String, u8)>,
    ) -> rusqlite::Result<()> {
        let ids = range.map(|seq| seq * DELIVERIES);
        for (what, sql, bounds, each) in [
            (
                "a body",
                "SELECT seq FROM body WHERE seq >= ?1 AND seq < ?2",
                range,
                1,
            ),
            (
                "a delivery",
                "SELECT id FROM delivery WHERE id >= ?1 AND id < ?2",
                ids,
                DELIVERIES,
            ),
            (
                "a big body",
                "SELECT CASE WHEN place < 0 THEN -place * 1024 ELSE place END AS id FROM blob
                 WHERE (place >= ?1 AND place < ?2) OR (-place * 1024 >= ?1 AND -place * 1024 < ?2)",
                ids,
                DELIVERIES,
            ),
        ] {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(bounds)?;
            while let Some(row) = rows.next()? {
                let seq = row.get::<_, i64>(0)? / each;
                if !known.contains_key(&seq) {
                    self.report.add(
                        format!("message number {seq}"),
                        format!("it is not there, and {what} belongs to it"),
                        FROM_A_BACKUP,
                    );
                }
            }
        }
        for (what, sql) in [
            (
                "what it made",
                "SELECT delivery FROM made WHERE delivery >= ?1 AND delivery < ?2
                 AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.id = delivery)",
            ),
            (
                "who has seen it",
                "SELECT delivery FROM seen WHERE delivery >= ?1 AND delivery < ?2
                 AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.id = delivery)",
            ),
        ] {
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(ids)?;
            while let Some(row) = rows.next()? {
                let delivery: i64 = row.get(0)?;
                self.report.add(
                    delivery_name(delivery),
                    format!("it is not there, and {what} is"),
                    FROM_A_BACKUP,
                );
            }
        }
        Ok(())
    }

    fn deliveries(
        &mut self,
        connection: &Connection,
        range: [i64; 2],
        known: &HashMap<i64, (Uuid, String, u8)>,
    ) -> rusqlite::Result<()> {
        let mut statement = connection
            .prepare_cached("SELECT id, destination, state, body FROM delivery WHERE id >= ?1 AND id < ?2")?;
        let mut rows = statement.query(range.map(|seq| seq * DELIVERIES))?;
        while let Some(row) = rows.next()? {
            self.report.deliveries += 1;
            let id: i64 = row.get(0)?;
            let Some((message, of, flags)) = known.get(&(id / DELIVERIES)) else {
                continue;
            };
            let name = format!("delivery {} of {of}", id % DELIVERIES + 1);
            let names = self.shared.names();
            if names.destination_name(row.get(1)?).is_empty() {
                self.report
                    .add(&name, "its destination is not there", FROM_A_BACKUP);
            }
            let state = DeliveryState::from_number(row.get(2)?);
            if state.is_none() {
                self.report
                    .add(&name, "its state is none that there is", FROM_A_BACKUP);
            }
            if flags & BODIES_GONE != 0 && state.is_some_and(|state| !state.is_over()) {
                self.report
                    .add(&name, "it waits, and its body was taken out", FROM_A_BACKUP);
            }
            let sealed: Option<Vec<u8>> = row.get(3)?;
            let Some(sealed) = sealed else { continue };
            let n = (id % DELIVERIES) as u64;
            match lay_of(&self.shared.sealer, Column::DeliveryBody, *message, n, &sealed) {
                Ok(Lay::Blob(blob)) => self.name(connection, &name, blob, id)?,
                Ok(Lay::Inline(_) | Lay::WithMessage) => {}
                Err(_) => self.report.add(
                    &name,
                    "its body was changed, or is that of another delivery",
                    FROM_A_BACKUP,
                ),
            }
        }
        Ok(())
    }

    fn attempts(&mut self, connection: &Connection, range: [i64; 2]) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(
            "SELECT id, note, EXISTS (SELECT 1 FROM delivery d WHERE d.id = attempt.id / 4096)
             FROM attempt WHERE id >= ?1 AND id < ?2",
        )?;
        let mut rows = statement.query(range.map(|seq| seq * DELIVERIES * ATTEMPTS))?;
        while let Some(row) = rows.next()? {
            let (id, note, is_of_one): (i64, Option<Vec<u8>>, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let name = format!("try {} of {}", id % ATTEMPTS, delivery_name(id / ATTEMPTS));
            if !is_of_one {
                self.report.add(&name, "its delivery is not there", FROM_A_BACKUP);
            }
            if note.is_some_and(|note| Note::open(&self.shared.sealer, id, &note).is_err()) {
                self.report.add(
                    &name,
                    "what came of it was changed, or is that of another one",
                    FROM_A_BACKUP,
                );
            }
        }
        Ok(())
    }

    /// All records of the clinic with their earlier versions.
    fn records(&mut self, told: Told<'_>) -> Result<(), StoreError> {
        let last = self.part("the records", |_, connection| {
            connection.query_row("SELECT coalesce(max(nr), 0) FROM aggregate", [], |row| {
                row.get::<_, i64>(0)
            })
        })?;
        let mut from = 0;
        while from <= last {
            told(
                "Records checked:",
                usize::try_from(from).unwrap_or_default(),
                usize::try_from(last).unwrap_or_default(),
            );
            self.part("records", |check, connection| {
                check.records_of(connection, [from, from + RECORDS])
            })?;
            from += RECORDS;
        }
        Ok(())
    }

    fn records_of(&mut self, connection: &Connection, range: [i64; 2]) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(
            "SELECT nr, id, kind, version, message, keys, data, patient, updated_at FROM aggregate
             WHERE nr >= ?1 AND nr < ?2",
        )?;
        let mut rows = statement.query(range)?;
        while let Some(row) = rows.next()? {
            let (nr, version): (i64, u64) = (row.get(0)?, row.get::<_, i64>(3)?.unsigned_abs());
            let (Ok(id), Some(kind)) = (uuid_at(row, 1), Kind::from_number(row.get(2)?)) else {
                self.report.add(
                    format!("record number {nr}"),
                    "its id or kind can't be read",
                    RECORD,
                );
                continue;
            };
            let name = format!("{} {id}", kind.as_str());
            let record = self.version(
                connection,
                &name,
                (kind, id, version),
                row.get(4)?,
                row.get_ref(6)?.as_blob()?,
            )?;
            if let Some(record) = record {
                // What lists and pages go by.
                let patient = record.aggregate.patient().and_then(Ref::id);
                if row.get::<_, Option<Vec<u8>>>(7)?.as_deref()
                    != patient.as_ref().map(|id| &id.as_bytes()[..])
                {
                    self.report
                        .add(&name, "it is listed with another patient than its own", RECORD);
                }
                if row.get::<_, i64>(8)? != record.meta.updated_at.as_microsecond() {
                    self.report
                        .add(&name, "it is listed with another time of its last change", RECORD);
                }
            }
            self.found_by(connection, &name, nr, row.get::<_, Option<Vec<u8>>>(5)?)?;
            self.history(connection, &name, nr, (kind, id, version))?;
        }
        Ok(())
    }

    fn version(
        &mut self,
        connection: &Connection,
        name: &str,
        (kind, id, version): (Kind, Uuid, u64),
        message: Option<i64>,
        sealed: &[u8],
    ) -> rusqlite::Result<Option<Record>> {
        self.report.records += 1;
        let record = open_record(&self.shared, kind, id, version, sealed).ok();
        if record.is_none() {
            self.report.add(
                name,
                format!("version {version} was changed, or is that of another record or version"),
                RECORD,
            );
        }
        if let Some(message) = message
            && !connection
                .prepare_cached("SELECT 1 FROM message WHERE seq = ?1")?
                .exists([message])?
        {
            self.report.add(
                name,
                format!("the message (number {message}) that wrote version {version} is not there"),
                FROM_A_BACKUP,
            );
        }
        Ok(record)
    }

    fn found_by(
        &mut self,
        connection: &Connection,
        name: &str,
        nr: i64,
        keys: Option<Vec<u8>>,
    ) -> rusqlite::Result<()> {
        let (finds, searches) = keys_from_bytes(keys.as_deref().unwrap_or_default());
        let mut missing = 0;
        for find in finds {
            let there = connection
                .prepare_cached(
                    "SELECT 1 FROM find WHERE scope = ?1 AND hash = ?2 AND aggregate = ?3 AND check_hash = ?4",
                )?
                .exists([find.scope, find.hash, nr, find.check])?;
            missing += u32::from(!there);
        }
        for search in searches {
            let there = connection
                .prepare_cached("SELECT 1 FROM search WHERE hash = ?1 AND aggregate = ?2")?
                .exists([search, nr])?;
            missing += u32::from(!there);
        }
        if missing != 0 {
            self.report.add(
                name,
                format!("{missing} keys by which it is matched or found are missing"),
                "It may be taken for somebody new. Restore the last backup whose check finds nothing.",
            );
        }
        Ok(())
    }

    fn history(
        &mut self,
        connection: &Connection,
        name: &str,
        nr: i64,
        (kind, id, newest): (Kind, Uuid, u64),
    ) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(
            "SELECT version, message, data FROM history WHERE aggregate = ?1 ORDER BY version",
        )?;
        let mut rows = statement.query([nr])?;
        let mut expected = 1;
        while let Some(row) = rows.next()? {
            let version = row.get::<_, i64>(0)?.unsigned_abs();
            if expected < version {
                let gap = format!("versions {expected} to {} are missing", version - 1);
                self.report.add(name, gap, RECORD);
            } else if version < expected {
                self.report
                    .add(name, format!("version {version} is there twice"), RECORD);
            }
            expected = version + 1;
            self.version(
                connection,
                name,
                (kind, id, version),
                row.get(1)?,
                row.get_ref(2)?.as_blob()?,
            )?;
        }
        if expected != newest {
            let what = format!(
                "it is of version {newest}, and its history ends at {}",
                expected - 1
            );
            self.report.add(name, what, RECORD);
        }
        Ok(())
    }

    /// Numbers of messages, and the counts that are kept beside the rows.
    fn counts(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let get = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let (last, there) = (
            get("SELECT coalesce(max(seq), 0) FROM message")?,
            get("SELECT count(*) FROM message")?,
        );
        let gone = super::commit::taken_out(connection)?;
        if last - there != gone {
            let first: Option<i64> = connection
                .query_row(
                    "SELECT m.seq + 1 FROM message m WHERE m.seq < ?1
                     AND NOT EXISTS (SELECT 1 FROM message n WHERE n.seq = m.seq + 1) LIMIT 1",
                    [last],
                    |row| row.get(0),
                )
                .optional()?;
            self.report.add(
                match first {
                    Some(first) => format!("the order of messages (look from number {first} on)"),
                    None => "the order of messages".to_owned(),
                },
                format!(
                    "numbers go to {last}, {there} are there and the program took {gone} out: {} too {}",
                    (last - there - gone).abs(),
                    if gone < last - there { "few" } else { "many" }
                ),
                FROM_A_BACKUP,
            );
        }
        let mut statement = connection
            .prepare("SELECT id, count(*) FROM message GROUP BY id HAVING count(*) > 1 LIMIT 20")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (id, times) = (uuid_at(row, 0)?, row.get::<_, i64>(1)?);
            self.report.add(
                format!("message {id}"),
                format!("it stands in the order {times} times"),
                TAMPERED,
            );
        }
        for (what, name, sql) in [
            (
                0,
                "messages of channel",
                "SELECT channel, state, count(*) FROM message GROUP BY 1, 2",
            ),
            (
                1,
                "deliveries of destination",
                "SELECT destination, state, count(*) FROM delivery GROUP BY 1, 2",
            ),
        ] {
            let read = |sql: &str| -> rusqlite::Result<BTreeMap<(i64, i64), i64>> {
                connection
                    .prepare(sql)?
                    .query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?
                    .collect()
            };
            let counted = read(sql)?;
            let kept = read(&format!(
                "SELECT owner, state, count FROM tally WHERE what = {what} AND count <> 0"
            ))?;
            let all: HashSet<&(i64, i64)> = counted.keys().chain(kept.keys()).collect();
            for key in all {
                let (there, should) = (
                    counted.get(key).copied().unwrap_or(0),
                    kept.get(key).copied().unwrap_or(0),
                );
                if there != should {
                    let names = self.shared.names();
                    let owner = if what == 0 {
                        names.channel_name(key.0)
                    } else {
                        names.destination_name(key.0)
                    };
                    let state = if what == 0 {
                        u8::try_from(key.1)
                            .ok()
                            .and_then(MessageState::from_number)
                            .map(MessageState::as_str)
                    } else {
                        u8::try_from(key.1)
                            .ok()
                            .and_then(DeliveryState::from_number)
                            .map(DeliveryState::as_str)
                    };
                    self.report.add(
                        format!("{name} {owner}"),
                        format!(
                            "{there} are {}, and {should} should be",
                            state.unwrap_or("in no known state")
                        ),
                        FROM_A_BACKUP,
                    );
                }
            }
        }
        Ok(())
    }

    /// References between the other tables, and the sealed values that stand alone.
    fn rest(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for (table, sql) in [
            (
                "history",
                "SELECT count(*) FROM history WHERE aggregate NOT IN (SELECT nr FROM aggregate)",
            ),
            (
                "find",
                "SELECT count(*) FROM find WHERE aggregate NOT IN (SELECT nr FROM aggregate)",
            ),
            (
                "search",
                "SELECT count(*) FROM search WHERE aggregate NOT IN (SELECT nr FROM aggregate)",
            ),
            (
                "booking",
                "SELECT count(*) FROM booking WHERE aggregate NOT IN (SELECT nr FROM aggregate)",
            ),
        ] {
            let count: i64 = connection.query_row(sql, [], |row| row.get(0))?;
            if count != 0 {
                self.report.add(
                    format!("table {table}"),
                    format!("{count} rows belong to records that are not there"),
                    RECORD,
                );
            }
        }
        if super::halts::all(&self.shared, connection).is_err() {
            self.report.add(
                "what a person stopped",
                "it was changed",
                "Start and stop the channels anew: punte channels.",
            );
        }
        let mut statement = connection.prepare("SELECT channel FROM cursor")?;
        let channels: Vec<String> = statement
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for channel in channels {
            if super::cursors::of(&self.shared, connection, &channel).is_err() {
                self.report.add(
                    format!("channel {channel}"),
                    "where its source goes on was changed",
                    FROM_A_BACKUP,
                );
            }
        }
        let mut statement = connection.prepare("SELECT delivery, note FROM seen")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let delivery: i64 = row.get(0)?;
            let opened = self.shared.sealer.open(
                Column::SeenNote,
                Uuid::nil(),
                delivery as u64,
                row.get_ref(1)?.as_blob()?,
            );
            if opened.is_err() {
                self.report.add(
                    delivery_name(delivery),
                    "who has seen it was changed",
                    FROM_A_BACKUP,
                );
            }
        }
        Ok(())
    }

    /// Reads every big body that rows name.
    fn blobs(&mut self, told: Told<'_>) {
        let named = std::mem::take(&mut self.named);
        for (done, (name, of)) in named.iter().enumerate() {
            told("Big bodies checked:", done, named.len());
            self.report.blobs += 1;
            let (lies, file) = self.shared.blobs.shown(name);
            let (place, advice) = match lies == file {
                true => (format!("{lies}, of {of}"), BLOB),
                false => (format!("{lies}, in a backup data/{file}, of {of}"), SLOT),
            };
            match self.shared.blobs.is_as_named(&self.shared.sealer, *name) {
                Err(error) => self.report.add(place, error.to_string(), advice),
                Ok(false) => {
                    self.report
                        .add(place, "it has another content than its name says", advice);
                }
                Ok(true) => {}
            }
        }
    }
}

fn delivery_name(id: i64) -> String {
    format!(
        "delivery {} of message number {}",
        id % DELIVERIES + 1,
        id / DELIVERIES
    )
}

/// The keys of the messages of a bucket.
fn keys_of(connection: &Connection, place: i64) -> rusqlite::Result<BTreeMap<i64, Vec<(KeyKind, i64)>>> {
    let mut keys: BTreeMap<i64, Vec<(KeyKind, i64)>> = BTreeMap::new();
    let mut statement = connection.prepare_cached("SELECT hash, message FROM key WHERE bucket = ?1")?;
    for kind in KeyKind::ALL {
        let mut rows = statement.query([bucket(place * BUCKET, kind)])?;
        while let Some(row) = rows.next()? {
            keys.entry(row.get(1)?).or_default().push((kind, row.get(0)?));
        }
    }
    Ok(keys)
}
