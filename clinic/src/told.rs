//! A change of the clinic, told to whoever listens: the aggregate as it stands now, with what it speaks of, as a change
//! set that any format can write.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use crate::aggregate::Meta;
use crate::apply::{FindKey, Record, Snapshot, SnapshotError};
use crate::change_set::{About, Change, ChangeSet, Find, Merge};
use crate::keys::names_one;
use crate::kinds::{Aggregate, Body, Kind};
use crate::people::LinkKind;
use crate::refs::Refs;
use crate::value::Ref;

/// The most aggregates of one event: a report with its values has many.
const MOST: usize = 2_000;

/// The change set of an event (`Order.placed`) of an aggregate. None: there is no such aggregate.
///
/// The first change is the aggregate itself; the others are what it refers to and what those refer to, as far as they
/// belong to it: the patient and the visit of an order, the values of a report, the room of a visit, and no other
/// orders, reports or bookings. Each is found by its id. References that lead beyond are left out.
pub fn change_set(
    event: &str,
    kind: Kind,
    id: Uuid,
    snapshot: &dyn Snapshot,
) -> Result<Option<ChangeSet>, SnapshotError> {
    let Some(first) = snapshot.load(kind, id)? else {
        return Ok(None);
    };
    let merge = merged_with(event, &first.aggregate);
    let mut records: Vec<Arc<Record>> = vec![];
    let mut seen: BTreeMap<Uuid, Kind> = BTreeMap::from([(id, kind)]);
    let mut next = VecDeque::from([first]);
    if let Some(other) = merge {
        seen.insert(other, Kind::Patient);
        next.extend(snapshot.load(Kind::Patient, other)?);
    }
    while let Some(record) = next.pop_front() {
        let mut wanted = vec![];
        let from = record.aggregate.kind();
        record.aggregate.refs(&mut |reference| {
            if let Ref::Id(to, id) = reference
                && belongs(kind, from, *to)
                && !seen.contains_key(id)
            {
                wanted.push((*to, *id));
            }
        });
        records.push(record);
        for (to, id) in wanted {
            if seen.len() < MOST && seen.insert(id, to).is_none() {
                next.extend(snapshot.load(to, id)?);
            }
        }
    }
    let known: Vec<Uuid> = records.iter().map(|record| record.meta.id).collect();
    let mut changes = vec![];
    for (n, record) in records.iter().enumerate() {
        if let Some(mut change) = change(&key(n), record, &known) {
            change.find.by_code = shares_number(record, snapshot)?;
            // What is told itself is told whole, as far as it is told at all.
            change.in_part &= n != 0 && Some(record.meta.id) != merge;
            changes.push(change);
        }
    }
    let merges = merge.filter(|other| known.contains(other)).map(|_| {
        // The record that goes is told by `replaced`, the one that stays by `merged`.
        let (survivor, old) = if event.ends_with(crate::events::REPLACED) {
            (key(1), key(0))
        } else {
            (key(0), key(1))
        };
        Merge {
            survivor,
            old,
            undo: false,
            link: false,
        }
    });
    Ok(Some(ChangeSet {
        about: About {
            message_type: Some(event.to_owned()),
            ..About::default()
        },
        changes,
        merges: merges.into_iter().collect(),
        extra: vec![],
    }))
}

/// Whether a number of an order is that of others too: then it names none of them to those who listen.
fn shares_number(record: &Record, snapshot: &dyn Snapshot) -> Result<bool, SnapshotError> {
    let Aggregate::Order(order) = &record.aggregate else {
        return Ok(false);
    };
    let patient = order.patient.as_ref().and_then(Ref::id);
    let numbers = order.identifiers.iter().filter(|id| names_one(Kind::Order, id));
    for key in numbers.filter_map(|number| FindKey::identifier(Kind::Order, number, patient)) {
        if snapshot.find(&key)?.len() > 1 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn key(n: usize) -> String {
    if n == 0 {
        "told".to_owned()
    } else {
        format!("known-{n}")
    }
}

/// The other record of a merge that is told.
fn merged_with(event: &str, aggregate: &Aggregate) -> Option<Uuid> {
    let Aggregate::Patient(patient) = aggregate else {
        return None;
    };
    let (_, verb) = event.split_once('.')?;
    let wanted = match verb {
        crate::events::MERGED => LinkKind::Replaces,
        crate::events::REPLACED => LinkKind::ReplacedBy,
        _ => return None,
    };
    patient
        .links
        .iter()
        .rev()
        .find(|link| link.kind == wanted)?
        .other
        .id()
}

/// Whether what a `from` refers to is told along with an event of a `told`.
fn belongs(told: Kind, from: Kind, to: Kind) -> bool {
    match to {
        Kind::Practitioner
        | Kind::RelatedPerson
        | Kind::Clinic
        | Kind::Site
        | Kind::Room
        | Kind::Service
        | Kind::Coverage => true,
        // Not the other records of a person.
        Kind::Patient => from != Kind::Patient,
        Kind::Encounter | Kind::Condition | Kind::Specimen => from == told,
        Kind::Order => matches!(
            (told, from),
            (Kind::Result, Kind::Result)
                | (Kind::Appointment, Kind::Appointment)
                | (Kind::ImagingStudy, Kind::ImagingStudy)
        ),
        Kind::ImagingStudy => told == Kind::ImagingInstance,
        Kind::Observation => told == Kind::Result && matches!(from, Kind::Result | Kind::Observation),
        Kind::Schedule => told == Kind::Slot,
        Kind::Slot
        | Kind::Appointment
        | Kind::Allergy
        | Kind::Procedure
        | Kind::Result
        | Kind::Document
        | Kind::MedicationOrder
        | Kind::ImagingInstance => false,
    }
}

/// All that a record says, found by its id; what it refers to beyond those that are known is left out.
fn change(key: &str, record: &Record, known: &[Uuid]) -> Option<Change> {
    // An aggregate in JSON is a change that says all of it.
    let mut say: Body = serde_json::to_value(&record.aggregate)
        .and_then(serde_json::from_value)
        .ok()?;
    let mut in_part = false;
    say.settle(&mut |reference| {
        let is_known = reference.id().is_some_and(|id| known.contains(&id));
        in_part |= !is_known;
        is_known
    });
    let find = Find {
        id: Some(record.meta.id),
        ..Find::default()
    };
    Some(Change {
        find,
        in_part,
        version: Some(record.meta.version),
        ..Change::new(key, say)
    })
}

/// The clinic as a change set itself tells it: what it finds by an id is there, as it says. For channels that write a
/// message anew without a clinic of their own.
pub struct Told {
    records: BTreeMap<(Kind, Uuid), Record>,
}

impl Told {
    /// What this set tells.
    pub fn by(set: &ChangeSet, now: jiff::Timestamp) -> Self {
        let ids: BTreeMap<&str, Ref> = set
            .changes
            .iter()
            .filter_map(|change| Some((change.key.as_str(), Ref::Id(change.kind(), change.find.id?))))
            .collect();
        let mut records: BTreeMap<(Kind, Uuid), Record> = BTreeMap::new();
        for change in &set.changes {
            let Some(id) = change.find.id else { continue };
            let mut say = change.say.clone();
            say.settle(&mut |reference| {
                if let Ref::Local(key) = &*reference
                    && let Some(id) = ids.get(key.as_str())
                {
                    *reference = id.clone();
                }
                matches!(reference, Ref::Id(..))
            });
            let record = records.entry((change.kind(), id)).or_insert_with(|| Record {
                meta: Meta {
                    version: change.version.unwrap_or(1),
                    ..Meta::told(id, now)
                },
                aggregate: Aggregate::new(change.kind()),
            });
            say.apply_to(&mut record.aggregate);
        }
        Told { records }
    }
}

impl Snapshot for Told {
    fn find(&self, _: &FindKey) -> Result<Vec<Uuid>, SnapshotError> {
        Ok(vec![])
    }

    fn load(&self, kind: Kind, id: Uuid) -> Result<Option<Arc<Record>>, SnapshotError> {
        Ok(self.records.get(&(kind, id)).cloned().map(Arc::new))
    }
}
