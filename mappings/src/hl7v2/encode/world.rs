//! What there is to write: the aggregates that a change set speaks of, as they stand, and what it empties.

use std::collections::{BTreeSet, HashMap, HashSet};

use clinic::diagnostics::{Observation, Order, Result as Report, Specimen};
use clinic::people::{Patient, Practitioner, RelatedPerson};
use clinic::places::{Clinic, Room, Site};
use clinic::records::{Allergy, Condition, Coverage, Document, Encounter, MedicationOrder, Procedure};
use clinic::scheduling::{Appointment, Schedule, Slot};
use clinic::value::Ref;
use clinic::{Aggregate, Applied, Body, Change, ChangeSet, Kind};
use uuid::Uuid;

use crate::hl7v2::decode::Profile;

/// An aggregate that the change set speaks of.
pub(super) struct Said<'a> {
    /// Its id.
    pub(super) id: Uuid,
    /// Which kind.
    pub(super) kind: Kind,
    /// As it stands.
    pub(super) aggregate: &'a Aggregate,
    /// What is said of it.
    pub(super) says: Vec<&'a Body>,
    cleared: BTreeSet<String>,
}

impl Said<'_> {
    /// True where the change set empties a field.
    pub(super) fn cleared(&self, field: &str) -> bool {
        self.cleared.contains(field)
    }

    /// True where the change set says a field anew, and says nothing of the sender's own code for it: the code that is
    /// known is one for what was before.
    pub(super) fn outdates(&self, field: &str, original: &str) -> bool {
        self.says.iter().any(|say| {
            let fields = say.fields();
            fields.contains(&field) && !fields.contains(&original)
        })
    }
}

/// All that can be looked up.
pub(super) struct World<'a> {
    /// What is said.
    pub(super) changes: &'a ChangeSet,
    /// What came of it.
    pub(super) applied: &'a Applied,
    /// How the partner writes.
    pub(super) profile: &'a Profile,
    /// Each aggregate that is spoken of, once, in the order of the change set.
    pub(super) said: Vec<Said<'a>>,
    places: HashMap<Uuid, usize>,
    new: HashSet<Uuid>,
}

macro_rules! typed {
    ($($one:ident, $all:ident, $kind:ident, $ty:ty);* $(;)?) => {
        $(
            #[doc = concat!("The ", stringify!($kind), " that a reference leads to.")]
            #[allow(dead_code, reason = "made for every kind alike")]
            pub(super) fn $one(&self, of: &Ref) -> Option<&'a $ty> {
                match self.aggregate(self.id(of)?)? { Aggregate::$kind(found) => Some(found), _ => None }
            }
            #[doc = concat!("Every ", stringify!($kind), " that is spoken of.")]
            #[allow(dead_code, reason = "made for every kind alike")]
            pub(super) fn $all(&self) -> Vec<(&Said<'a>, &'a $ty)> {
                self.said.iter().filter_map(|said| match said.aggregate {
                    Aggregate::$kind(found) => Some((said, &**found)),
                    _ => None,
                }).collect()
            }
        )*
    };
}

impl<'a> World<'a> {
    /// Looks up what each change became.
    pub(super) fn new(changes: &'a ChangeSet, applied: &'a Applied, profile: &'a Profile) -> Self {
        let mut said: Vec<Said<'a>> = vec![];
        let mut places: HashMap<Uuid, usize> = HashMap::new();
        // Whose something was so far is named to find it, and not to tell of them.
        let so_far: Vec<&Ref> = changes
            .changes
            .iter()
            .filter_map(|change| change.find.from.as_ref())
            .collect();
        let is_so_far = |change: &Change| {
            let is_it = |of: &&&Ref| matches!(of, Ref::Local(key) if *key == change.key);
            change.say.is_silent() && so_far.iter().any(|of| is_it(&of))
        };
        for change in changes.changes.iter().filter(|change| !is_so_far(change)) {
            let Some((kind, id)) = applied.ids.get(&change.key).copied() else {
                continue;
            };
            let Some(record) = applied.known.get(&id) else {
                continue;
            };
            let at = *places.entry(id).or_insert(said.len());
            if at == said.len() {
                said.push(Said {
                    id,
                    kind,
                    aggregate: &record.aggregate,
                    says: vec![],
                    cleared: BTreeSet::new(),
                });
            }
            if let Some(known) = said.get_mut(at) {
                known.says.push(&change.say);
                known.cleared.extend(cleared(&change.say));
            }
        }
        let first_versions = applied
            .writes
            .iter()
            .filter(|write| write.record.meta.version == 1);
        // An event tells of the first aggregate of its set.
        let made = said.first().filter(|_| {
            let about = changes.about.message_type.as_deref().unwrap_or_default();
            about.ends_with(".placed") || about.ends_with(".created")
        });
        let new_by_event = made.map(|said| said.id);
        World {
            changes,
            applied,
            profile,
            said,
            places,
            new: first_versions
                .map(|write| write.record.meta.id)
                .chain(new_by_event)
                .collect(),
        }
    }

    /// The id that a reference leads to.
    pub(super) fn id(&self, of: &Ref) -> Option<Uuid> {
        match of {
            Ref::Id(_, id) => Some(*id),
            Ref::Local(key) => self.applied.ids.get(key).map(|(_, id)| *id),
        }
    }

    /// The ids that references lead to.
    pub(super) fn ids<'r>(&self, of: impl IntoIterator<Item = &'r Ref>) -> Vec<Uuid> {
        of.into_iter().filter_map(|of| self.id(of)).collect()
    }

    fn aggregate(&self, id: Uuid) -> Option<&'a Aggregate> {
        self.applied.known.get(&id).map(|record| &record.aggregate)
    }

    /// True where something of this kind is spoken of.
    pub(super) fn speaks_of(&self, kind: Kind) -> bool {
        self.said.iter().any(|said| said.kind == kind)
    }

    /// What is said of the aggregate with this id.
    pub(super) fn said_of(&self, id: Uuid) -> Option<&Said<'a>> {
        self.places.get(&id).and_then(|at| self.said.get(*at))
    }

    /// What a reference leads to where the change set says nothing of it: as it stands.
    pub(super) fn unsaid(&self, of: &Ref) -> Option<Said<'a>> {
        let id = self.id(of)?;
        let aggregate = self.aggregate(id)?;
        (!self.places.contains_key(&id)).then(|| Said {
            id,
            kind: aggregate.kind(),
            aggregate,
            says: vec![],
            cleared: BTreeSet::new(),
        })
    }

    /// The aggregate as it stood before; none where it is new, or nothing changed.
    pub(super) fn before(&self, id: Uuid) -> Option<&'a Aggregate> {
        let write = self
            .applied
            .writes
            .iter()
            .find(|write| write.record.meta.id == id)?;
        write.before.as_ref().map(|record| &record.aggregate)
    }

    /// True where the aggregate was made by this change set.
    pub(super) fn is_new(&self, id: Uuid) -> bool {
        self.new.contains(&id)
    }

    typed! {
        patient, patients, Patient, Patient;
        related_person, related_people, RelatedPerson, RelatedPerson;
        practitioner, practitioners, Practitioner, Practitioner;
        clinic, clinics, Clinic, Clinic;
        site, sites, Site, Site;
        room, rooms, Room, Room;
        encounter, encounters, Encounter, Encounter;
        condition, conditions, Condition, Condition;
        allergy, allergies, Allergy, Allergy;
        procedure, procedures, Procedure, Procedure;
        coverage, coverages, Coverage, Coverage;
        order, orders, Order, Order;
        specimen, specimens, Specimen, Specimen;
        result, results, Result, Report;
        observation, observations, Observation, Observation;
        appointment, appointments, Appointment, Appointment;
        document, documents, Document, Document;
        medication_order, medication_orders, MedicationOrder, MedicationOrder;
        schedule, schedules, Schedule, Schedule;
        slot, slots, Slot, Slot;
    }
}

/// The fields that a change empties: those that are written as `null` in the change set's own form.
fn cleared(say: &Body) -> Vec<String> {
    let Ok(serde_json::Value::Object(kinds)) = serde_json::to_value(say) else {
        return vec![];
    };
    let fields = kinds.into_iter().filter_map(|(_, fields)| match fields {
        serde_json::Value::Object(fields) => Some(fields),
        _ => None,
    });
    fields
        .flatten()
        .filter(|(_, value)| value.is_null())
        .map(|(field, _)| field)
        .collect()
}
