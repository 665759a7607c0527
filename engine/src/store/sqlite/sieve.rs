//! Sieves: which keys may stand in the buckets of 8,192 messages, so that whoever looks for one among millions probes few of
//! them. Bloom filters (B. H. Bloom, 1970), cut into blocks of a page each: a question reads one page of each sieve. They are
//! made by the writer, a bucket at a time between its transactions, once all messages of a sieve are there; a key that
//! comes later is added. So a sieve never denies a key that is there, and what it wrongly admits is probed for nothing.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::ready::{BUCKET, KeyKind, bucket};

/// Buckets of a sieve.
const PLACES: i64 = 16;
/// Messages of a sieve.
const MESSAGES: i64 = PLACES * BUCKET;
/// Bytes of a block: with what SQLite adds they fill a page of 4 KB.
const BLOCK: usize = 4032;
/// Bits of a block.
const BITS: u64 = 8 * BLOCK as u64;
/// Bits for each key: one question of a hundred that is not there is admitted.
const BITS_PER_KEY: u64 = 10;
/// Bits that a key sets.
const SET: u64 = 6;
/// The most blocks of a sieve: with more keys it admits more.
const MOST: i64 = 64;

/// What is looked for by a sieve. Of what was received twice the memory knows.
fn is_sifted(kind: KeyKind) -> bool {
    kind != KeyKind::Repeat
}

/// The sieve that a bucket belongs to.
fn sieve_at(place: i64) -> i64 {
    place.div_euclid(PLACES)
}

/// The hash of a key is keyed, and as good as random; keys of two kinds may have the same one.
fn mixed(kind: KeyKind, hash: i64) -> u64 {
    let mut mixed = (hash as u64) ^ (kind as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 29)
}

/// The upper half chooses the block.
fn block_of(mixed: u64, blocks: i64) -> i64 {
    (((mixed >> 32) * blocks.unsigned_abs()) >> 32) as i64
}

/// The lower half chooses the bits in it.
fn bits_of(mixed: u64) -> impl Iterator<Item = usize> {
    let (first, step) = (mixed & 0xffff, ((mixed >> 16) & 0xffff) | 1);
    (0..SET).map(move |nr| ((first + nr * step) % BITS) as usize)
}

fn set(bits: &mut [u8], mixed: u64) {
    for bit in bits_of(mixed) {
        if let Some(byte) = bits.get_mut(bit / 8) {
            *byte |= 1 << (bit % 8);
        }
    }
}

/// Whether a key may be in a block; what is no block admits it.
fn admits(bits: &[u8], mixed: u64) -> bool {
    bits.len() != BLOCK || bits_of(mixed).all(|bit| bits[bit / 8] & 1 << (bit % 8) != 0)
}

/// The writer's part: makes the sieves, one after the other.
pub(crate) struct Sieves {
    /// The bucket that is read next, for the sieve that it belongs to.
    place: i64,
    /// What was read of that sieve.
    keys: Vec<u64>,
}

impl Sieves {
    /// Goes on after the last that was made, or begins at the first bucket that has any key.
    pub(crate) fn load(connection: &Connection, first_place: i64) -> rusqlite::Result<Self> {
        let last: Option<i64> = connection.query_row("SELECT max(nr) FROM sieve_of", [], |row| row.get(0))?;
        let nr = last.map_or(sieve_at(first_place), |last| last + 1);
        Ok(Sieves {
            place: nr * PLACES,
            keys: vec![],
        })
    }

    /// The one that is made next.
    fn nr(&self) -> i64 {
        sieve_at(self.place)
    }

    /// Reads one bucket, and writes the sieve when it was the last one. Called between transactions. False: there is
    /// nothing to do until more messages are there.
    pub(crate) fn step(&mut self, connection: &Connection, next_seq: i64) -> rusqlite::Result<bool> {
        let nr = self.nr();
        if next_seq < (nr + 1) * MESSAGES {
            return Ok(false);
        }
        let read = self.keys.len();
        let is_last = sieve_at(self.place + 1) != nr;
        let done = self.read(connection).and_then(|()| match is_last {
            true => self.write(connection),
            false => Ok(()),
        });
        if let Err(error) = done {
            // The bucket is read again.
            self.keys.truncate(read);
            return Err(error);
        }
        if is_last {
            self.keys.clear();
        }
        self.place += 1;
        Ok(true)
    }

    fn read(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached("SELECT hash FROM key WHERE bucket = ?1")?;
        for kind in KeyKind::ALL.into_iter().filter(|kind| is_sifted(*kind)) {
            let mut rows = statement.query([bucket(self.place * BUCKET, kind)])?;
            while let Some(row) = rows.next()? {
                self.keys.push(mixed(kind, row.get(0)?));
            }
        }
        Ok(())
    }

    fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let nr = self.nr();
        let wanted = (self.keys.len() as u64 * BITS_PER_KEY).div_ceil(BITS);
        let blocks = i64::try_from(wanted).unwrap_or(MOST).min(MOST);
        let mut all = vec![vec![0; BLOCK]; usize::try_from(blocks).unwrap_or_default()];
        for mixed in &self.keys {
            if let Some(bits) = all.get_mut(block_of(*mixed, blocks) as usize) {
                set(bits, *mixed);
            }
        }
        let transaction = connection.unchecked_transaction()?;
        for (block, bits) in (0..).zip(&all) {
            write_block(&transaction, nr, block, bits)?;
        }
        note_blocks(&transaction, nr, blocks)?;
        transaction.commit()
    }

    /// A key is written, inside this transaction: it has to be in its sieve, where that is made already.
    pub(crate) fn add(&mut self, connection: &Connection, bucket: i64, hash: i64) -> rusqlite::Result<()> {
        let place = bucket.div_euclid(8);
        if self.place <= place {
            return Ok(());
        }
        let kind = KeyKind::ALL
            .into_iter()
            .find(|kind| *kind as i64 == bucket.rem_euclid(8));
        let Some(kind) = kind.filter(|kind| is_sifted(*kind)) else {
            return Ok(());
        };
        let (nr, mixed) = (sieve_at(place), mixed(kind, hash));
        if nr == self.nr() {
            self.keys.push(mixed);
            return Ok(());
        }
        let Some(mut blocks) = blocks_of(connection, nr)? else {
            return Ok(());
        };
        if blocks == 0 {
            blocks = 1;
            write_block(connection, nr, 0, &[0; BLOCK])?;
            note_blocks(connection, nr, blocks)?;
        }
        let block = block_of(mixed, blocks);
        if let Some(mut bits) = read_block(connection, nr, block)?
            && !admits(&bits, mixed)
        {
            set(&mut bits, mixed);
            write_block(connection, nr, block, &bits)?;
        }
        Ok(())
    }
}

/// Takes out the sieves of buckets before the first one that has any key.
pub(crate) fn forget_before(connection: &Connection, first_place: i64) -> rusqlite::Result<()> {
    let first = sieve_at(first_place);
    connection
        .prepare_cached("DELETE FROM sieve WHERE id < ?1")?
        .execute([first * MOST])?;
    connection
        .prepare_cached("DELETE FROM sieve_of WHERE nr < ?1")?
        .execute([first])
        .map(drop)
}

fn write_block(connection: &Connection, nr: i64, block: i64, bits: &[u8]) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO sieve (id, bits) VALUES (?1, ?2)")?
        .execute(params![nr * MOST + block, bits])
        .map(drop)
}

fn read_block(connection: &Connection, nr: i64, block: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT bits FROM sieve WHERE id = ?1")?
        .query_row([nr * MOST + block], |row| row.get(0))
        .optional()
}

fn note_blocks(connection: &Connection, nr: i64, blocks: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO sieve_of (nr, blocks) VALUES (?1, ?2)")?
        .execute([nr, blocks])
        .map(drop)
}

fn blocks_of(connection: &Connection, nr: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT blocks FROM sieve_of WHERE nr = ?1")?
        .query_row([nr], |row| row.get(0))
        .optional()
}

/// What is there of sieves, to look for keys by.
pub(crate) struct Sifted {
    blocks: HashMap<i64, i64>,
}

impl Sifted {
    /// Which there are.
    pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let blocks = connection
            .prepare_cached("SELECT nr, blocks FROM sieve_of")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Sifted { blocks })
    }

    /// Whether the buckets of the sieve that `place` belongs to may have a key. True where there is none.
    pub(crate) fn may_have(
        &self,
        connection: &Connection,
        place: i64,
        kind: KeyKind,
        hash: i64,
    ) -> rusqlite::Result<bool> {
        let nr = sieve_at(place);
        let Some(blocks) = self.blocks.get(&nr).filter(|_| is_sifted(kind)) else {
            return Ok(true);
        };
        if *blocks == 0 {
            return Ok(false);
        }
        let mixed = mixed(kind, hash);
        let bits = read_block(connection, nr, block_of(mixed, *blocks))?;
        Ok(bits.is_none_or(|bits| admits(&bits, mixed)))
    }

    /// The last bucket before the sieve that `place` belongs to.
    pub(crate) fn before(place: i64) -> i64 {
        sieve_at(place) * PLACES - 1
    }
}

/// One sieve, whole: for the check of all keys.
pub(crate) struct Sieve(Vec<Option<Vec<u8>>>);

impl Sieve {
    /// The one that a bucket belongs to; none: it is not made yet.
    pub(crate) fn of(connection: &Connection, place: i64) -> rusqlite::Result<Option<Self>> {
        let nr = sieve_at(place);
        let Some(blocks) = blocks_of(connection, nr)? else {
            return Ok(None);
        };
        (0..blocks.clamp(0, MOST))
            .map(|block| read_block(connection, nr, block))
            .collect::<rusqlite::Result<_>>()
            .map(|all| Some(Sieve(all)))
    }

    /// As [`Sifted::may_have`].
    pub(crate) fn admits(&self, kind: KeyKind, hash: i64) -> bool {
        if !is_sifted(kind) {
            return true;
        }
        let mixed = mixed(kind, hash);
        match self.0.get(block_of(mixed, self.0.len() as i64) as usize) {
            Some(Some(bits)) => admits(bits, mixed),
            Some(None) => true,
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_store() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        for sql in super::super::open::migrations() {
            connection.execute_batch(sql).unwrap();
        }
        connection
    }

    /// A hash as good as random.
    fn hash(nr: i64) -> i64 {
        mixed(KeyKind::Visit, nr.wrapping_mul(0x5851_f42d_4c95_7f2d)) as i64
    }

    fn add(connection: &Connection, kind: KeyKind, hash: i64, message: i64) {
        connection
            .execute(
                "INSERT INTO key VALUES (?1, ?2, ?3)",
                [bucket(message, kind), hash, message],
            )
            .unwrap();
    }

    fn with_keys(per_message: i64) -> (Connection, Sieves) {
        let connection = a_store();
        connection.execute_batch("BEGIN").unwrap();
        for message in 0..2 * MESSAGES {
            for nr in 0..per_message {
                let kind = [KeyKind::ControlId, KeyKind::Patient, KeyKind::Order][nr as usize % 3];
                add(&connection, kind, hash(message * 100 + nr), message);
            }
        }
        connection.execute_batch("COMMIT").unwrap();
        let sieves = Sieves::load(&connection, 0).unwrap();
        (connection, sieves)
    }

    fn make_all(connection: &Connection, sieves: &mut Sieves, next_seq: i64) {
        while sieves.step(connection, next_seq).unwrap() {}
    }

    #[test]
    fn a_sieve_admits_all_that_is_there_and_one_of_a_hundred_else() {
        for per_message in [0, 1, 6] {
            let (connection, mut sieves) = with_keys(per_message);
            make_all(&connection, &mut sieves, 2 * MESSAGES - 1);
            assert_eq!(sieves.nr(), 1, "the second has not all its messages");
            let sifted = Sifted::load(&connection).unwrap();
            for message in 0..MESSAGES {
                for nr in 0..per_message {
                    let kind = [KeyKind::ControlId, KeyKind::Patient, KeyKind::Order][nr as usize % 3];
                    let key = hash(message * 100 + nr);
                    assert!(sifted.may_have(&connection, message / BUCKET, kind, key).unwrap());
                }
            }
            let others = (0..10_000)
                .filter(|nr| {
                    sifted
                        .may_have(&connection, 3, KeyKind::Patient, hash(-1 - nr))
                        .unwrap()
                })
                .count();
            assert!(
                others < 250,
                "{others} of 10,000 are admitted with {per_message} keys"
            );
            assert!(
                sifted
                    .may_have(&connection, PLACES, KeyKind::Patient, hash(-1))
                    .unwrap(),
                "a sieve that is not there yet denies"
            );
        }
    }

    #[test]
    fn what_comes_later_is_added() {
        let (connection, mut sieves) = with_keys(1);
        make_all(&connection, &mut sieves, MESSAGES);
        // Of the second one three buckets are read.
        for _ in 0..3 {
            assert!(sieves.step(&connection, 2 * MESSAGES).unwrap());
        }
        let late: Vec<(i64, i64)> = [
            0,
            5 * BUCKET,
            MESSAGES - 1,
            MESSAGES,
            MESSAGES + 2 * BUCKET,
            2 * MESSAGES - 1,
        ]
        .into_iter()
        .map(|message| (message, hash(-1_000 - message)))
        .collect();
        for (message, key) in &late {
            add(&connection, KeyKind::Reference, *key, *message);
            sieves
                .add(&connection, bucket(*message, KeyKind::Reference), *key)
                .unwrap();
        }
        make_all(&connection, &mut sieves, 2 * MESSAGES);
        let sifted = Sifted::load(&connection).unwrap();
        assert_eq!(sifted.blocks.len(), 2);
        for (message, key) in late {
            assert!(
                sifted
                    .may_have(&connection, message / BUCKET, KeyKind::Reference, key)
                    .unwrap(),
                "{message}"
            );
        }
    }

    #[test]
    fn an_empty_sieve_takes_what_comes_later() {
        let (connection, mut sieves) = with_keys(0);
        make_all(&connection, &mut sieves, MESSAGES);
        sieves
            .add(&connection, bucket(7, KeyKind::Reference), hash(7))
            .unwrap();
        let sifted = Sifted::load(&connection).unwrap();
        let may = |key| {
            sifted
                .may_have(&connection, 0, KeyKind::Reference, hash(key))
                .unwrap()
        };
        assert!(may(7));
        assert!(!may(8));
    }

    #[test]
    fn it_goes_on_where_it_was_and_forgets_what_is_gone() {
        let (connection, mut sieves) = with_keys(1);
        make_all(&connection, &mut sieves, MESSAGES);
        let mut sieves = Sieves::load(&connection, 0).unwrap();
        assert_eq!(sieves.nr(), 1);
        make_all(&connection, &mut sieves, 2 * MESSAGES);
        assert_eq!(sieves.nr(), 2);
        forget_before(&connection, PLACES + 3).unwrap();
        let left = Sifted::load(&connection).unwrap();
        assert_eq!(left.blocks.keys().collect::<Vec<_>>(), [&1]);
        let first: i64 = connection
            .query_row("SELECT min(id) FROM sieve", [], |row| row.get(0))
            .unwrap();
        assert_eq!(first, MOST);
    }
}
