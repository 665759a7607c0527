//! A clinic in memory: for `convert`, and for tests. It keeps what a store keeps, by the same rules.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use crate::apply::{Applied, Booking, FindKey, Record, Snapshot, SnapshotError};
use crate::kinds::Kind;

/// All versions of all aggregates, what they are found by, and whose time is taken.
#[derive(Clone, Debug, Default)]
pub struct MemoryClinic {
    records: HashMap<(Kind, Uuid), Vec<Arc<Record>>>,
    found_by: BTreeMap<FindKey, Vec<Uuid>>,
    keys_of: HashMap<(Kind, Uuid), Vec<FindKey>>,
    bookings: HashMap<Uuid, Vec<Booking>>,
}

/// Why a commit was not taken. Nothing of it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Something that was read has moved since.
    #[error("what was read or looked up has moved; apply again")]
    Moved,
    /// Somebody's time is taken already.
    #[error("the time is taken by another appointment")]
    Taken {
        /// Whose time.
        resource: Uuid,
    },
}

impl MemoryClinic {
    /// Nothing in it.
    pub fn new() -> Self {
        MemoryClinic::default()
    }

    /// Takes the writes, if all that was read still is so and nobody's time is taken twice.
    pub fn commit(&mut self, applied: &Applied) -> Result<(), Conflict> {
        let version = |kind: Kind, id: Uuid| {
            self.versions(kind, id)
                .last()
                .map_or(0, |record| record.meta.version)
        };
        let read_so = applied
            .reads
            .iter()
            .all(|(kind, id, seen)| version(*kind, *id) == *seen);
        let found_so = applied
            .finds
            .iter()
            .all(|(key, seen)| self.found(key) == seen.as_slice());
        if !read_so || !found_so {
            return Err(Conflict::Moved);
        }
        let written: Vec<Uuid> = applied.writes.iter().map(|write| write.record.meta.id).collect();
        let mut bookings = self.bookings.clone();
        bookings.retain(|id, _| !written.contains(id));
        for write in &applied.writes {
            for booking in write.bookings.iter().filter(|booking| !booking.overbooked) {
                let collides = |other: &Booking| {
                    !other.overbooked
                        && other.resource == booking.resource
                        && other.start < booking.end
                        && booking.start < other.end
                };
                if bookings.values().flatten().any(collides) {
                    return Err(Conflict::Taken {
                        resource: booking.resource,
                    });
                }
            }
            if !write.bookings.is_empty() {
                bookings.insert(write.record.meta.id, write.bookings.clone());
            }
        }
        self.bookings = bookings;
        for write in &applied.writes {
            let at = (write.record.aggregate.kind(), write.record.meta.id);
            self.records.entry(at).or_default().push(write.record.clone());
            if write.keys_changed {
                self.replace_keys(at, &write.keys);
            }
            for key in &write.natural_keys {
                self.add_key(at, key.clone());
            }
        }
        Ok(())
    }

    /// Every version, oldest first.
    pub fn versions(&self, kind: Kind, id: Uuid) -> &[Arc<Record>] {
        self.records.get(&(kind, id)).map_or(&[], Vec::as_slice)
    }

    /// The newest version of every aggregate of a kind, in the order of their ids.
    pub fn all(&self, kind: Kind) -> Vec<&Record> {
        let of_kind = self.records.iter().filter(|((k, _), _)| *k == kind);
        let mut newest: Vec<&Record> = of_kind
            .filter_map(|(_, versions)| versions.last().map(Arc::as_ref))
            .collect();
        newest.sort_by_key(|record| record.meta.id);
        newest
    }

    /// Whose time is taken by an appointment.
    pub fn bookings(&self, appointment: Uuid) -> &[Booking] {
        self.bookings.get(&appointment).map_or(&[], Vec::as_slice)
    }

    fn found(&self, key: &FindKey) -> &[Uuid] {
        self.found_by.get(key).map_or(&[], Vec::as_slice)
    }

    fn replace_keys(&mut self, at: (Kind, Uuid), keys: &[FindKey]) {
        let old = self.keys_of.remove(&at).unwrap_or_default();
        let (natural, identifiers): (Vec<_>, Vec<_>) =
            old.into_iter().partition(|key| key.text.starts_with("n|"));
        for key in identifiers {
            if let Some(ids) = self.found_by.get_mut(&key) {
                ids.retain(|id| *id != at.1);
            }
        }
        self.keys_of.insert(at, natural);
        for key in keys {
            self.add_key(at, key.clone());
        }
    }

    fn add_key(&mut self, at: (Kind, Uuid), key: FindKey) {
        let ids = self.found_by.entry(key.clone()).or_default();
        if !ids.contains(&at.1) {
            ids.push(at.1);
            // Ids are of version 7: they sort by the time when they were made.
            ids.sort_unstable();
            self.keys_of.entry(at).or_default().push(key);
        }
    }
}

impl Snapshot for MemoryClinic {
    fn find(&self, key: &FindKey) -> Result<Vec<Uuid>, SnapshotError> {
        Ok(self.found(key).to_vec())
    }

    fn load(&self, kind: Kind, id: Uuid) -> Result<Option<Arc<Record>>, SnapshotError> {
        Ok(self.versions(kind, id).last().cloned())
    }
}
