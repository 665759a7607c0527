//! Sealing and hashing of what is stored. Runs on the caller's side, never on the writer's thread.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use aws_lc_rs::hmac;
use uuid::Uuid;

use super::StoreError;

/// Where a sealed value stands. The number is part of what is sealed; it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Column {
    /// `message.head`, by the message's id.
    MessageHead = 1,
    /// `body.body`, by the message's id.
    MessageBody = 2,
    /// `delivery.body`, by the message's id and the delivery's place in it.
    DeliveryBody = 3,
    /// `attempt.note`, by the attempt's id.
    AttemptNote = 4,
    /// `aggregate.data` and `history.data`, by the aggregate's id, version and kind.
    AggregateData = 5,
    /// A chunk of a blob file, by the file's id, the chunk's place and whether it is the last.
    BlobChunk = 6,
    /// The id of a blob file at its end, by the blob's name.
    BlobEnd = 7,
    /// `journal.entry`, by the row's id.
    JournalEntry = 40,
    /// `halt.note`.
    HaltNote = 70,
    /// `cursor.cursor`.
    Cursor = 100,
    /// `seen.note`, by the delivery's id.
    SeenNote = 120,
    /// A master key on its way to the engine that runs; never stored.
    HandedKey = 140,
}

/// What a hash is of, so that equal texts of two kinds have different hashes. Never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Domain {
    /// Channel, sender and control id of a message.
    Sent = 1,
    /// The same and the content.
    Repeat = 2,
    /// A control id.
    ControlId = 3,
    /// A patient identifier of a message.
    Patient = 4,
    /// A visit number of a message.
    Visit = 5,
    /// An order number of a message.
    Order = 6,
    /// What an aggregate is matched by.
    Find = 7,
    /// What an aggregate is searched by.
    Search = 8,
    /// The content of a blob, in stores of earlier builds.
    Blob = 9,
    /// The secret of an API key.
    ApiKey = 10,
    /// The reference by which a later answer names its question.
    Reference = 11,
    /// The key that the content of blobs is hashed under.
    BlobKey = 14,
    /// The key by which a destination keeps the order of its deliveries.
    Lane = 12,
    /// The secret of a project whose objects lose those whom they are about.
    Project = 13,
    /// The key of the journal's chain.
    JournalKey = 40,
    /// Whom a row of the journal is about.
    JournalPatient = 41,
}

/// The numbers of data keys: 1 to 255. The last byte of each sealed value says under which it was sealed.
pub(crate) type KeyNr = u8;

enum Cipher {
    Aes(Box<RandomizedNonceKey>),
    /// Seals nothing: what sealing costs is measured against it. No release has it.
    #[cfg(feature = "null-cipher")]
    Null,
}

/// The data keys: one that seals, and those that open what was sealed before.
struct Ciphers {
    now: KeyNr,
    all: Vec<(KeyNr, Arc<Cipher>)>,
}

/// The data keys and the hash key at work.
pub(crate) struct Sealer {
    ciphers: RwLock<Ciphers>,
    hash: hmac::Key,
    /// Of the journal's chain, and of nothing else.
    chain: hmac::Key,
}

const NONCE: usize = 12;
const TAG: usize = 16;
/// What sealing adds to a value: tag, nonce, and the number of the key.
pub(crate) const SEAL: usize = TAG + NONCE + 1;
/// Below this many bytes lz4 gains nothing.
const COMPRESS_FROM: usize = 128;
/// The longest value that is opened: more than any row can hold, so that a wrong length can't take all memory.
const LONGEST: usize = 1 << 30;

fn aad(column: Column, id: Uuid, n: u64) -> [u8; 25] {
    let mut aad = [0; 25];
    aad[0] = column as u8;
    aad[1..17].copy_from_slice(id.as_bytes());
    aad[17..].copy_from_slice(&n.to_be_bytes());
    aad
}

/// What is longer is compressed only where its beginning can be: a file that is packed already would take its length
/// once more.
const TRIED: usize = 1024 * 1024;

/// Compressed, behind the byte that says so and the length; none: it takes no less room.
fn compressed(plain: &[u8]) -> Option<Vec<u8>> {
    if plain.len() < COMPRESS_FROM {
        return None;
    }
    if TRIED < plain.len() {
        let tried = compressed(&plain[..TRIED])?;
        // Base64 of what is packed gains a little; not enough to have it twice in memory.
        if TRIED - TRIED / 8 < tried.len() {
            return None;
        }
    }
    let mut buffer = vec![0; 5 + lz4_flex::block::get_maximum_output_size(plain.len())];
    buffer[0] = 1;
    buffer[1..5].copy_from_slice(&(plain.len() as u32).to_le_bytes());
    let length = lz4_flex::block::compress_into(plain, &mut buffer[5..]).ok()?;
    if plain.len() <= length {
        return None;
    }
    buffer.truncate(5 + length);
    Some(buffer)
}

impl Sealer {
    /// With one data key, the first.
    #[cfg(test)]
    pub(crate) fn new(data_key: &[u8; 32], hash_key: &[u8; 32]) -> Result<Self, StoreError> {
        Self::with(&[(1, *data_key)], 1, hash_key)
    }

    /// With these data keys, of which this one seals.
    pub(crate) fn with(
        data_keys: &[(KeyNr, [u8; 32])],
        now: KeyNr,
        hash_key: &[u8; 32],
    ) -> Result<Self, StoreError> {
        let all = data_keys
            .iter()
            .map(|(nr, key)| Ok((*nr, Arc::new(cipher(key)?))))
            .collect::<Result<Vec<_>, StoreError>>()?;
        if !all.iter().any(|(nr, _)| *nr == now) {
            return Err(StoreError::Damaged(
                "the key that it is sealed under is missing".into(),
            ));
        }
        let hash = hmac::Key::new(hmac::HMAC_SHA256, hash_key);
        let chain = hashed(&hash, Domain::JournalKey as u8, &[]);
        Ok(Sealer {
            ciphers: RwLock::new(Ciphers { now, all }),
            hash,
            chain: hmac::Key::new(hmac::HMAC_SHA256, &chain),
        })
    }

    /// From now on this key seals. Values under the others are still opened.
    pub(crate) fn take_key(&self, nr: KeyNr, key: &[u8; 32]) -> Result<(), StoreError> {
        let cipher = Arc::new(cipher(key)?);
        let mut ciphers = self.ciphers.write().unwrap_or_else(PoisonError::into_inner);
        ciphers.all.push((nr, cipher));
        ciphers.now = nr;
        Ok(())
    }

    /// Nothing is sealed under these keys any more.
    pub(crate) fn forget_keys(&self, gone: &[KeyNr]) {
        let mut ciphers = self.ciphers.write().unwrap_or_else(PoisonError::into_inner);
        ciphers.all.retain(|(nr, _)| !gone.contains(nr));
    }

    /// The key that seals, and those that only open.
    pub(crate) fn key_numbers(&self) -> (KeyNr, Vec<KeyNr>) {
        let ciphers = self.ciphers.read().unwrap_or_else(PoisonError::into_inner);
        let numbers = ciphers.all.iter().map(|(nr, _)| *nr);
        (ciphers.now, numbers.filter(|nr| *nr != ciphers.now).collect())
    }

    /// The same value for the same place, sealed under the key of today.
    pub(crate) fn reseal(
        &self,
        column: Column,
        id: Uuid,
        n: u64,
        sealed: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        self.reseal_bytes(&aad(column, id, n), sealed)
    }

    /// The same of what [`Sealer::seal_bytes`] made.
    pub(crate) fn reseal_bytes(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut buffer = sealed.to_vec();
        self.open_bytes(aad, &mut buffer)?;
        self.seal_bytes(aad, &mut buffer)?;
        Ok(buffer)
    }

    fn cipher_now(&self) -> Result<(KeyNr, Arc<Cipher>), StoreError> {
        let ciphers = self.ciphers.read().unwrap_or_else(PoisonError::into_inner);
        let found = ciphers.all.iter().find(|(nr, _)| *nr == ciphers.now);
        found
            .cloned()
            .ok_or_else(|| StoreError::Unavailable("the key that seals is gone".into()))
    }

    fn cipher_of(&self, nr: KeyNr) -> Option<Arc<Cipher>> {
        let ciphers = self.ciphers.read().unwrap_or_else(PoisonError::into_inner);
        ciphers
            .all
            .iter()
            .find(|(its, _)| *its == nr)
            .map(|(_, cipher)| cipher.clone())
    }

    /// Compresses and seals. The first byte inside says whether it is compressed.
    pub(crate) fn seal(&self, column: Column, id: Uuid, n: u64, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut buffer = compressed(plain).unwrap_or_else(|| {
            let mut buffer = Vec::with_capacity(1 + plain.len() + SEAL);
            buffer.push(0);
            buffer.extend_from_slice(plain);
            buffer
        });
        self.seal_bytes(&aad(column, id, n), &mut buffer)?;
        Ok(buffer)
    }

    /// As [`Sealer::seal`], for what may be big: `plain` begins with a byte that is 0, and what can't be compressed is
    /// sealed where it is.
    pub(crate) fn seal_in_place(
        &self,
        column: Column,
        id: Uuid,
        n: u64,
        mut plain: Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        let mut buffer = match compressed(&plain[1..]) {
            Some(buffer) => buffer,
            None => {
                plain.reserve_exact(SEAL);
                plain
            }
        };
        self.seal_bytes(&aad(column, id, n), &mut buffer)?;
        Ok(buffer)
    }

    /// Opens what [`Sealer::seal`] made for the same place.
    pub(crate) fn open(
        &self,
        column: Column,
        id: Uuid,
        n: u64,
        sealed: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let mut buffer = sealed.to_vec();
        self.open_bytes(&aad(column, id, n), &mut buffer)?;
        match buffer.split_first() {
            Some((0, _)) => {
                buffer.remove(0);
                Ok(buffer)
            }
            Some((1, rest)) => {
                let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
                let length = u32::from_le_bytes(*length) as usize;
                if length > LONGEST {
                    return Err(damaged());
                }
                lz4_flex::block::decompress(rest, length).map_err(|_| damaged())
            }
            _ => Err(damaged()),
        }
    }

    /// Seals in place; tag, nonce and the number of the key follow.
    pub(crate) fn seal_bytes(&self, aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), StoreError> {
        self.seal_end(aad, buffer, 0)
    }

    /// The same with what stands there from a place on.
    pub(crate) fn seal_end(&self, aad: &[u8], buffer: &mut Vec<u8>, from: usize) -> Result<(), StoreError> {
        let (nr, cipher) = self.cipher_now()?;
        match cipher.as_ref() {
            Cipher::Aes(key) => {
                let (nonce, tag) = key
                    .seal_in_place_separate_tag(Aad::from(aad), &mut buffer[from..])
                    .map_err(|_| StoreError::Unavailable("a value can't be sealed".into()))?;
                buffer.extend_from_slice(tag.as_ref());
                buffer.extend_from_slice(nonce.as_ref());
            }
            #[cfg(feature = "null-cipher")]
            Cipher::Null => buffer.extend_from_slice(&[0; TAG + NONCE]),
        }
        buffer.push(nr);
        Ok(())
    }

    /// Opens in place what [`Sealer::seal_bytes`] made.
    pub(crate) fn open_bytes(&self, aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), StoreError> {
        let (nr, sealed) = buffer.split_last_mut().ok_or_else(damaged)?;
        let cipher = self.cipher_of(*nr).ok_or_else(damaged)?;
        let (sealed, nonce) = sealed.split_last_chunk_mut::<NONCE>().ok_or_else(damaged)?;
        let length = sealed.len().checked_sub(TAG).ok_or_else(damaged)?;
        match cipher.as_ref() {
            Cipher::Aes(key) => {
                key.open_in_place((&*nonce).into(), Aad::from(aad), sealed)
                    .map_err(|_| damaged())?;
            }
            #[cfg(feature = "null-cipher")]
            Cipher::Null => {}
        }
        buffer.truncate(length);
        Ok(())
    }

    /// The secret of a project whose messages lose those whom they are about: always the same one in this clinic.
    pub(crate) fn project_secret(&self, project: &str) -> [u8; 32] {
        self.hash(Domain::Project, &[project.as_bytes()])
    }

    /// A keyed hash. Each part goes in with its length, so that parts can't run into each other.
    pub(crate) fn hash(&self, domain: Domain, parts: &[&[u8]]) -> [u8; 32] {
        hashed(&self.hash, domain as u8, parts)
    }

    /// A keyed hash of a blob that comes piece by piece.
    pub(crate) fn hashing(&self) -> Hashing {
        let key = self.hash(Domain::BlobKey, &[]);
        Hashing(Box::new(blake3::Hasher::new_keyed(&key)))
    }

    /// The same as earlier builds made it.
    pub(crate) fn hashing_of_old(&self) -> HashingOfOld {
        let mut context = hmac::Context::with_key(&self.hash);
        context.update(&[Domain::Blob as u8]);
        HashingOfOld(context)
    }

    /// A link of the journal's chain, under a key that is used for nothing else.
    pub(crate) fn link(&self, parts: &[&[u8]]) -> [u8; 32] {
        hashed(&self.chain, 0, parts)
    }

    /// The first 8 bytes of a keyed hash, as they stand in an index.
    pub(crate) fn hash8(&self, domain: Domain, parts: &[&[u8]]) -> i64 {
        first8(&self.hash(domain, parts))
    }
}

/// A keyed hash on its way: BLAKE3, which takes a quarter of the time of SHA-256 for what is long.
pub(crate) struct Hashing(Box<blake3::Hasher>);

impl Hashing {
    /// Takes more bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all that came.
    pub(crate) fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// As [`Hashing`], by HMAC with SHA-256.
pub(crate) struct HashingOfOld(hmac::Context);

impl HashingOfOld {
    /// Takes more bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all that came.
    pub(crate) fn finish(self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.sign().as_ref());
        hash
    }
}

/// What is hashed at once, up to so many bytes: most keys are shorter, and each call costs as much as a block of them.
const AT_ONCE: usize = 247;

fn hashed(key: &hmac::Key, domain: u8, parts: &[&[u8]]) -> [u8; 32] {
    let length: usize = 1 + parts.iter().map(|part| 8 + part.len()).sum::<usize>();
    let mut hash = [0; 32];
    if length <= AT_ONCE {
        let mut whole = [0; AT_ONCE];
        let mut end = 1;
        whole[0] = domain;
        for part in parts {
            whole[end..end + 8].copy_from_slice(&(part.len() as u64).to_le_bytes());
            end += 8;
            whole[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        }
        hash.copy_from_slice(hmac::sign(key, &whole[..end]).as_ref());
        return hash;
    }
    let mut context = hmac::Context::with_key(key);
    context.update(&[domain]);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    hash.copy_from_slice(context.sign().as_ref());
    hash
}

/// The first 8 bytes as a number.
pub(crate) fn first8(hash: &[u8; 32]) -> i64 {
    let (first, _) = hash.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    i64::from_be_bytes(*first)
}

fn cipher(key: &[u8; 32]) -> Result<Cipher, StoreError> {
    #[cfg(feature = "null-cipher")]
    if std::env::var_os("PUNTE_NULL_CIPHER").is_some() {
        return Ok(Cipher::Null);
    }
    Ok(Cipher::Aes(Box::new(aes(key)?)))
}

fn aes(key: &[u8; 32]) -> Result<RandomizedNonceKey, StoreError> {
    RandomizedNonceKey::new(&AES_256_GCM, key)
        .map_err(|_| StoreError::Damaged("its data key can't be used".into()))
}

fn damaged() -> StoreError {
    StoreError::Damaged("a sealed value was changed, or moved to where it does not belong".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At once or piece by piece, the hash is the same one: it stands in stores.
    #[test]
    fn a_short_text_is_hashed_as_a_long_one() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        let text = [b'a'; 600];
        for length in (0..260).chain([600]) {
            let parts = [&text[..length], b"end"];
            let mut context = hmac::Context::with_key(&key);
            context.update(&[9]);
            for part in parts {
                context.update(&(part.len() as u64).to_le_bytes());
                context.update(part);
            }
            assert_eq!(hashed(&key, 9, &parts), context.sign().as_ref(), "{length}");
        }
    }

    #[test]
    fn a_sealed_value_opens_only_where_it_was_put() {
        let sealer = Sealer::new(&[1; 32], &[2; 32]).unwrap();
        let id = Uuid::from_u128(7);
        for plain in [&b""[..], b"short", &[b'x'; 5000], &(0..=255).collect::<Vec<u8>>()] {
            let sealed = sealer.seal(Column::MessageBody, id, 3, plain).unwrap();
            assert_eq!(sealer.open(Column::MessageBody, id, 3, &sealed).unwrap(), plain);
            assert!(sealer.open(Column::MessageHead, id, 3, &sealed).is_err());
            assert!(sealer.open(Column::MessageBody, id, 4, &sealed).is_err());
            assert!(
                sealer
                    .open(Column::MessageBody, Uuid::from_u128(8), 3, &sealed)
                    .is_err()
            );
            for at in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert!(sealer.open(Column::MessageBody, id, 3, &changed).is_err());
                assert!(sealer.open(Column::MessageBody, id, 3, &sealed[..at]).is_err());
            }
        }
        let other = Sealer::new(&[3; 32], &[2; 32]).unwrap();
        let sealed = sealer.seal(Column::MessageBody, id, 3, b"x").unwrap();
        assert!(other.open(Column::MessageBody, id, 3, &sealed).is_err());
    }

    #[test]
    fn a_new_key_seals_and_the_old_one_still_opens() {
        let sealer = Sealer::new(&[1; 32], &[2; 32]).unwrap();
        let id = Uuid::from_u128(7);
        let old = sealer.seal(Column::MessageBody, id, 3, b"plain").unwrap();
        assert_eq!(old.last(), Some(&1));
        sealer.take_key(2, &[5; 32]).unwrap();
        assert_eq!(sealer.key_numbers(), (2, vec![1]));
        let new = sealer.seal(Column::MessageBody, id, 3, b"plain").unwrap();
        assert_eq!(new.last(), Some(&2));
        let again = sealer.reseal(Column::MessageBody, id, 3, &old).unwrap();
        assert_eq!(again.last(), Some(&2));
        assert!(sealer.reseal(Column::MessageBody, id, 4, &old).is_err());
        for sealed in [&old, &new, &again] {
            assert_eq!(sealer.open(Column::MessageBody, id, 3, sealed).unwrap(), b"plain");
        }
        sealer.forget_keys(&[1]);
        assert!(sealer.open(Column::MessageBody, id, 3, &old).is_err());
        assert_eq!(sealer.open(Column::MessageBody, id, 3, &again).unwrap(), b"plain");
        assert!(Sealer::with(&[(1, [1; 32])], 2, &[2; 32]).is_err());
    }

    #[test]
    fn hashes_keep_parts_and_domains_apart() {
        let sealer = Sealer::new(&[1; 32], &[2; 32]).unwrap();
        assert_ne!(
            sealer.hash8(Domain::Sent, &[b"ab", b"c"]),
            sealer.hash8(Domain::Sent, &[b"a", b"bc"])
        );
        assert_ne!(
            sealer.hash8(Domain::Sent, &[b"a"]),
            sealer.hash8(Domain::Visit, &[b"a"])
        );
        let other = Sealer::new(&[1; 32], &[3; 32]).unwrap();
        assert_ne!(
            sealer.hash8(Domain::Sent, &[b"a"]),
            other.hash8(Domain::Sent, &[b"a"])
        );
    }
}
