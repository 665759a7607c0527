//! What aggregates are matched and searched by, as hashes.

use clinic::Kind;
use clinic::apply::{FindKey, Write};
use clinic::search::SearchKey;
use uuid::Uuid;

use crate::store::seal::{Domain, Sealer, first8};

/// A row of `find`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FindHash {
    pub(crate) scope: i64,
    pub(crate) hash: i64,
    pub(crate) check: i64,
}

/// A question to `find`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FindQuery {
    pub(crate) scope: i64,
    pub(crate) hash: i64,
    /// None: whatever the system.
    pub(crate) check: Option<i64>,
}

fn halves(hash: &[u8; 32]) -> (i64, i64) {
    let mut second = [0; 8];
    second.copy_from_slice(&hash[8..16]);
    (first8(hash), i64::from_be_bytes(second))
}

/// The value of an identifier that has a system: `i|system|value`, where a system holds no bar.
fn value_with_system(text: &str) -> Option<&str> {
    let (system, value) = text.strip_prefix("i|")?.split_once('|')?;
    (!system.is_empty()).then_some(value)
}

/// What is within another aggregate (`n|owner|key`, `p|patient|kind|value`) or refers to it (`r|owner|`) is filed under the first 8 bytes of that
/// one's id: those grow, so that such keys do not fall at random.
fn scope(text: &str) -> i64 {
    text.strip_prefix("n|")
        .or_else(|| text.strip_prefix("p|"))
        .or_else(|| text.strip_prefix("r|"))
        .and_then(|rest| rest.split_once('|'))
        .and_then(|(owner, _)| Uuid::try_parse(owner).ok())
        .map(|owner| (owner.as_u128() >> 64) as i64)
        .unwrap_or_default()
}

fn value_hash(sealer: &Sealer, kind: Kind, value: &str) -> i64 {
    sealer.hash8(Domain::Find, &[&[kind as u8], b"v", value.as_bytes()])
}

fn row_of(sealer: &Sealer, key: &FindKey) -> FindHash {
    let (first, check) = halves(&sealer.hash(Domain::Find, &[&[key.kind as u8], key.text.as_bytes()]));
    let value = value_with_system(&key.text).or_else(|| key.text.strip_prefix("v|"));
    FindHash {
        scope: scope(&key.text),
        hash: value.map_or(first, |value| value_hash(sealer, key.kind, value)),
        check,
    }
}

/// How a key is asked for.
pub(crate) fn find_query(sealer: &Sealer, key: &FindKey) -> FindQuery {
    if let Some(value) = key.text.strip_prefix("v|") {
        return FindQuery {
            scope: 0,
            hash: value_hash(sealer, key.kind, value),
            check: None,
        };
    }
    let row = row_of(sealer, key);
    FindQuery {
        scope: row.scope,
        hash: row.hash,
        check: Some(row.check),
    }
}

/// The rows of what an aggregate is matched by. A key by value alone needs no row where an identifier with a system has
/// that value.
pub(crate) fn find_rows(sealer: &Sealer, write: &Write) -> Vec<FindHash> {
    let with_system: Vec<&str> = write
        .keys
        .iter()
        .filter_map(|key| value_with_system(&key.text))
        .collect();
    let mut rows: Vec<FindHash> = write
        .keys
        .iter()
        .filter(|key| {
            key.text
                .strip_prefix("v|")
                .is_none_or(|value| !with_system.contains(&value))
        })
        .map(|key| row_of(sealer, key))
        .collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// The rows of what an aggregate is within others.
pub(crate) fn natural_rows(sealer: &Sealer, write: &Write) -> Vec<FindHash> {
    write.natural_keys.iter().map(|key| row_of(sealer, key)).collect()
}

/// The hash of a key of a search, given as `name|text`.
pub(crate) fn search_hash(sealer: &Sealer, kind: Kind, name: &str, text: &str) -> i64 {
    sealer.hash8(Domain::Search, &[&[kind as u8], name.as_bytes(), text.as_bytes()])
}

/// The rows of what an aggregate is searched by.
pub(crate) fn search_rows(sealer: &Sealer, kind: Kind, keys: &[SearchKey]) -> Vec<i64> {
    let mut rows: Vec<i64> = keys
        .iter()
        .map(|key| search_hash(sealer, kind, key.name, &key.text))
        .collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// The rows of an aggregate as its own row keeps them.
pub(crate) fn keys_to_bytes(finds: &[FindHash], searches: &[i64]) -> Option<Vec<u8>> {
    if finds.is_empty() && searches.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(4 + finds.len() * 24 + searches.len() * 8);
    bytes.extend_from_slice(&(finds.len() as u32).to_le_bytes());
    for find in finds {
        for number in [find.scope, find.hash, find.check] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    for search in searches {
        bytes.extend_from_slice(&search.to_le_bytes());
    }
    Some(bytes)
}

/// What [`keys_to_bytes`] wrote.
pub(crate) fn keys_from_bytes(bytes: &[u8]) -> (Vec<FindHash>, Vec<i64>) {
    let Some((count, rest)) = bytes.split_first_chunk::<4>() else {
        return (vec![], vec![]);
    };
    let (numbers, _) = rest.as_chunks::<8>();
    let numbers: Vec<i64> = numbers.iter().map(|number| i64::from_le_bytes(*number)).collect();
    let count = (u32::from_le_bytes(*count) as usize * 3).min(numbers.len());
    let (finds, searches) = numbers.split_at(count);
    let (finds, _) = finds.as_chunks::<3>();
    let finds = finds
        .iter()
        .map(|[scope, hash, check]| FindHash {
            scope: *scope,
            hash: *hash,
            check: *check,
        })
        .collect();
    (finds, searches.to_vec())
}
