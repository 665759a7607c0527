//! Reading the clinic once: what was loaded or looked up is kept, and noted for the check at the commit.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::{FindKey, Record, Snapshot, SnapshotError};
use crate::kinds::{Aggregate, Kind};
use crate::people::{LinkKind, Patient};

/// How many merges are followed from one record to the next, and how many replaced records are looked at.
const MAX_CHAIN: usize = 16;

pub(super) struct Reader<'a> {
    snapshot: &'a dyn Snapshot,
    loaded: HashMap<(Kind, Uuid), Option<Arc<Record>>>,
    found: HashMap<FindKey, Vec<Uuid>>,
    selves: HashMap<Uuid, Vec<Uuid>>,
    /// Ids that were made for this set.
    made: HashSet<Uuid>,
    /// In the order of reading.
    pub(super) reads: Vec<(Kind, Uuid, u64)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(snapshot: &'a dyn Snapshot) -> Self {
        Reader {
            snapshot,
            loaded: HashMap::new(),
            found: HashMap::new(),
            selves: HashMap::new(),
            made: HashSet::new(),
            reads: vec![],
        }
    }

    /// The record, read once.
    pub(super) fn load(&mut self, kind: Kind, id: Uuid) -> Result<Option<&Arc<Record>>, SnapshotError> {
        let record = match self.loaded.entry((kind, id)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let record = self.snapshot.load(kind, id)?;
                self.reads
                    .push((kind, id, record.as_ref().map_or(0, |r| r.meta.version)));
                entry.insert(record)
            }
        };
        Ok(record.as_ref())
    }

    /// The record, where it was not made for this set.
    pub(super) fn stored(&mut self, kind: Kind, id: Uuid) -> Result<Option<&Arc<Record>>, SnapshotError> {
        match self.was_made(id) {
            true => Ok(None),
            false => self.load(kind, id),
        }
    }

    /// Who is found by a key, looked up once.
    pub(super) fn find(&mut self, key: &FindKey) -> Result<&[Uuid], SnapshotError> {
        if !self.found.contains_key(key) {
            let ids = self.snapshot.find(key)?;
            self.found.insert(key.clone(), ids);
        }
        Ok(self.found.get(key).map_or(&[], Vec::as_slice))
    }

    /// All look-ups, in a fixed order.
    pub(super) fn finds(&mut self) -> Vec<(FindKey, Vec<Uuid>)> {
        let mut finds: Vec<_> = std::mem::take(&mut self.found).into_iter().collect();
        finds.sort_unstable();
        finds
    }

    fn patient(&mut self, id: Uuid) -> Result<Option<&Patient>, SnapshotError> {
        Ok(self
            .load(Kind::Patient, id)?
            .and_then(|record| match &record.aggregate {
                Aggregate::Patient(patient) => Some(&**patient),
                _ => None,
            }))
    }

    /// The record that stands for this patient today: itself, or the survivor at the end of its merges.
    pub(super) fn survivor(&mut self, id: Uuid) -> Result<Uuid, SnapshotError> {
        let mut seen = vec![id];
        let mut at = id;
        while let Some(next) = self.patient(at)?.and_then(Patient::merged_into) {
            if seen.contains(&next) || seen.len() > MAX_CHAIN || self.patient(next)?.is_none() {
                break;
            }
            seen.push(next);
            at = next;
        }
        Ok(at)
    }

    /// This patient and every record that was merged into them: things on the chart may still name the old ones.
    pub(super) fn selves(&mut self, id: Uuid) -> Result<Vec<Uuid>, SnapshotError> {
        if let Some(known) = self.selves.get(&id) {
            return Ok(known.clone());
        }
        let mut all = vec![id];
        let mut idx = 0;
        while idx < all.len() && idx < MAX_CHAIN {
            let replaced: Vec<Uuid> = self.patient(all[idx])?.map(replaces).unwrap_or_default();
            for id in replaced {
                if !all.contains(&id) {
                    all.push(id);
                }
            }
            idx += 1;
        }
        self.selves.insert(id, all.clone());
        Ok(all)
    }

    /// For an id that was made for something new: nobody was merged into it, nothing is within it yet, and nothing has to
    /// be read to know that.
    pub(super) fn is_new(&mut self, kind: Kind, id: Uuid) {
        self.made.insert(id);
        if kind == Kind::Patient {
            self.selves.insert(id, vec![id]);
        }
    }

    /// True after [`Reader::is_new`].
    pub(super) fn was_made(&self, id: Uuid) -> bool {
        self.made.contains(&id)
    }
}

/// Who was merged into this record.
fn replaces(patient: &Patient) -> Vec<Uuid> {
    let links = patient
        .links
        .iter()
        .filter(|link| link.kind == LinkKind::Replaces);
    links.filter_map(|link| link.other.id()).collect()
}
