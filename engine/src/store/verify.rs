//! Is what is stored as it was written? Every sealed value is opened in its place, every reference followed, every count
//! compared, every big body read.
//!
//! It reads beside a running engine, a few thousand messages in one read transaction, so that the log does not grow while
//! it does.

use std::path::Path;

use serde::Serialize;

use super::{MasterKey, StoreError, sqlite};

/// The most faults that are told.
pub(crate) const TOLD: usize = 200;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where: `message 0197… (number 12)`, `Patient 0197…`, `big body 3f…`. No personal value.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub advice: &'static str,
}

/// What a check of the store has found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StoreReport {
    /// How many messages were looked at.
    pub messages: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Records of the clinic, with their earlier versions.
    pub records: u64,
    /// Big bodies.
    pub blobs: u64,
    /// How many faults there are.
    pub count: u64,
    /// The first of them.
    pub faults: Vec<Fault>,
}

impl StoreReport {
    pub(crate) fn add(&mut self, place: impl Into<String>, what: impl Into<String>, advice: &'static str) {
        self.count += 1;
        if self.faults.len() < TOLD {
            self.faults.push(Fault {
                place: place.into(),
                what: what.into(),
                advice,
            });
        }
    }
}

/// Checks the store in a data folder, whether an engine runs there or not. The journal is checked elsewhere.
pub fn verify(
    folder: &Path,
    master: &MasterKey,
    progress: &mut dyn FnMut(&'static str, usize, usize),
) -> Result<StoreReport, StoreError> {
    sqlite::verify::verify(folder, master, progress)
}
