//! What was lately read or written, opened: aggregates by their id, and who was found by a key. A reader takes from here
//! what it would otherwise read, unseal and parse for each message anew.
//!
//! Nothing has to be right here for a commit to be right: the writer checks versions and look-ups against the file. It
//! puts in what it has committed, takes out look-ups that changed, and forgets all that a commit relied on in vain, so
//! that the next run of that message reads the file.

use std::sync::Arc;

use ::clinic::{Kind, Record};
use quick_cache::Weighter;
use quick_cache::sync::Cache as Quick;
use uuid::Uuid;

/// Bytes of memory that the kept aggregates may take, as far as that can be told from their sealed forms.
const RECORDS: u64 = 8 * 1024 * 1024;
/// Opened, packed and compressed JSON takes about so many times its bytes; and a struct of many fields, mostly empty,
/// takes this much of its own.
const OPENED: u64 = 4;
const FIELDS: u64 = 1024;
/// Look-ups that are kept.
const FINDS: usize = 8 * 1024;

/// The newest version of an aggregate, as far as we know.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) record: Arc<Record>,
    /// Bytes of its sealed form.
    pub(crate) weight: u32,
}

#[derive(Clone)]
struct ByWeight;

impl Weighter<Uuid, Kept> for ByWeight {
    fn weight(&self, _: &Uuid, kept: &Kept) -> u64 {
        FIELDS + OPENED * u64::from(kept.weight)
    }
}

/// Rows of `find` for one scope and hash: their check hashes and aggregates, oldest first.
pub(crate) type Found = Arc<[(i64, Uuid)]>;

pub(crate) struct Cache {
    records: Quick<Uuid, Kept, ByWeight>,
    finds: Quick<(i64, i64), Found>,
}

impl Default for Cache {
    fn default() -> Self {
        Cache {
            records: Quick::with_weighter(4096, RECORDS, ByWeight),
            finds: Quick::new(FINDS),
        }
    }
}

impl Cache {
    pub(crate) fn record(&self, kind: Kind, id: Uuid) -> Option<Arc<Record>> {
        let kept = self.records.get(&id)?;
        (kept.record.aggregate.kind() == kind).then_some(kept.record)
    }

    /// Keeps a version, unless a newer one is there.
    pub(crate) fn keep(&self, id: Uuid, kept: Kept) {
        let version = kept.record.meta.version;
        let newer = |there: Kept| version < there.record.meta.version;
        if !self.records.get(&id).is_some_and(newer) {
            self.records.insert(id, kept);
        }
    }

    pub(crate) fn found(&self, scope: i64, hash: i64) -> Option<Found> {
        self.finds.get(&(scope, hash))
    }

    /// Nobody is not kept: mostly it is the number of something new, and never asked for again.
    pub(crate) fn keep_found(&self, scope: i64, hash: i64, found: &Found) {
        if !found.is_empty() {
            self.finds.insert((scope, hash), found.clone());
        }
    }

    pub(crate) fn forget_found(&self, scope: i64, hash: i64) {
        self.finds.remove(&(scope, hash));
    }

    pub(crate) fn forget(&self, id: &Uuid) {
        self.records.remove(id);
    }

    pub(crate) fn clear(&self) {
        self.records.clear();
        self.finds.clear();
    }
}
