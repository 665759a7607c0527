//! New keys for what is sealed: another master key, or another data key.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{MasterKey, StoreError, sqlite};

/// How far a pass is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResealPlace {
    /// In which part of the store.
    pub part: usize,
    /// After which row of it.
    pub after: i64,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResealStep {
    /// Where the next one begins; none: that was the last.
    pub next: Option<ResealPlace>,
    /// How many values were sealed anew.
    pub count: u64,
}

impl ResealStep {
    pub(crate) fn next(part: usize, after: i64, count: u64) -> Self {
        ResealStep {
            next: Some(ResealPlace { part, after }),
            count,
        }
    }
}

/// The keys under which a store is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SealKeys {
    /// The number of the one that seals.
    pub now: u8,
    /// The older ones that are still needed, each with how many rows of the journal it sealed.
    pub older: Vec<(u8, u64)>,
    /// All but the journal is sealed under the one of now.
    pub is_resealed: bool,
}

/// Another master key could not be put in place.
#[derive(Debug, thiserror::Error)]
pub enum RewrapError {
    /// It is in place.
    #[error("the keys of the store are sealed under this master key already")]
    Already,
    /// The store can't do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The master key of the store in a data folder, sealed for the engine that runs there: only who has the store's keys open
/// reads it ([`super::Store::handed_key`]). Refuses a master key under which they are not sealed now.
pub fn hand_over(folder: &Path, master: &MasterKey) -> Result<Vec<u8>, StoreError> {
    sqlite::data_keys::hand_over(folder, master)
}

/// Seals the keys of the store in a data folder under another master key, whether an engine runs there or not. Nothing else
/// is written: what they seal stays as it is. Returns how many keys there are.
pub fn rewrap(folder: &Path, old: &MasterKey, new: &MasterKey) -> Result<usize, RewrapError> {
    sqlite::data_keys::rewrap(folder, old, new)
}
