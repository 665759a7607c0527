//! The list of aggregates, and the enums that hold any one of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::refs::Refs;
use crate::value::{Identifier, Ref};
use crate::{diagnostics as d, imaging as i, people as p, places as l, records as r, scheduling as s};

macro_rules! kinds {
    ($($name:ident($ty:ty, $change:ty) = $number:literal),* $(,)?) => {
        /// Which aggregate. The number is what the store writes; it never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[allow(missing_docs, reason = "each is documented at its type")]
        #[repr(u8)]
        pub enum Kind { $($name = $number),* }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Kind] = &[$(Kind::$name),*];
            /// Its name.
            pub fn as_str(self) -> &'static str { match self { $(Kind::$name => stringify!($name)),* } }
            /// By its number in the store.
            pub fn from_number(number: u8) -> Option<Kind> { match number { $($number => Some(Kind::$name),)* _ => None } }
        }

        impl std::str::FromStr for Kind {
            type Err = crate::value::ValueError;
            fn from_str(name: &str) -> std::result::Result<Self, Self::Err> {
                match name { $(stringify!($name) => Ok(Kind::$name),)* _ => Err(crate::value::ValueError("not an aggregate")) }
            }
        }

        /// Any one aggregate.
        #[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[allow(missing_docs, reason = "each is documented at its type")]
        #[allow(clippy::large_enum_variant, reason = "boxed below where it matters")]
        pub enum Aggregate { $($name(Box<$ty>)),* }

        impl Aggregate {
            /// An empty one.
            pub fn new(kind: Kind) -> Self { match kind { $(Kind::$name => Aggregate::$name(Box::default())),* } }
            /// Which it is.
            pub fn kind(&self) -> Kind { match self { $(Aggregate::$name(_) => Kind::$name),* } }
            /// What others call it.
            pub fn identifiers(&self) -> &[Identifier] { match self { $(Aggregate::$name(a) => &a.identifiers),* } }
            /// What others call it, to be changed.
            pub fn identifiers_mut(&mut self) -> &mut Vec<Identifier> { match self { $(Aggregate::$name(a) => &mut a.identifiers),* } }
            /// Its fields as JSON, without the kind.
            pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> { match self { $(Aggregate::$name(a) => serde_json::to_vec(a)),* } }
            /// The same at the end of what is written already.
            pub fn write_json(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> { match self { $(Aggregate::$name(a) => serde_json::to_writer(out, a)),* } }
            /// The fields in which two of one kind differ, and the groups of their lists.
            pub(crate) fn differing(&self, other: &Self) -> Vec<(&'static str, Vec<String>)> {
                match (self, other) { $((Aggregate::$name(a), Aggregate::$name(b)) => a.differing(b),)* _ => vec![] }
            }
            /// Reads what [`Aggregate::to_json`] wrote.
            pub fn from_json(kind: Kind, json: &[u8]) -> Result<Self, serde_json::Error> {
                Ok(match kind { $(Kind::$name => Aggregate::$name(serde_json::from_slice(json)?)),* })
            }
        }

        impl Refs for Aggregate {
            fn refs(&self, visit: &mut dyn FnMut(&Ref)) { match self { $(Aggregate::$name(a) => a.refs(visit)),* } }
            fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut Ref)) { match self { $(Aggregate::$name(a) => a.refs_mut(visit)),* } }
            fn settle(&mut self, keep: &mut dyn FnMut(&mut Ref) -> bool) -> bool { match self { $(Aggregate::$name(a) => a.settle(keep)),* } }
        }

        /// What is said about any one aggregate.
        #[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[allow(missing_docs, reason = "each is documented at its type")]
        pub enum Body { $($name(Box<$change>)),* }

        impl Body {
            /// About which.
            pub fn kind(&self) -> Kind { match self { $(Body::$name(_) => Kind::$name),* } }
            /// What it is called in the message.
            pub fn identifiers(&self) -> &[Identifier] { match self { $(Body::$name(b) => b.identifiers.values()),* } }
            /// True where they come beside those that are known.
            pub fn merges_identifiers(&self) -> bool { match self { $(Body::$name(b) => matches!(b.identifiers, crate::patch::Items::Merge(_))),* } }
            /// What is said about its identifiers, to be changed.
            pub fn identifiers_mut(&mut self) -> &mut crate::patch::Items<Identifier> { match self { $(Body::$name(b) => &mut b.identifiers),* } }
            /// True where nothing is said.
            pub fn is_silent(&self) -> bool { match self { $(Body::$name(b) => **b == <$change>::default()),* } }
            /// The names of the fields that something is said about.
            pub fn fields(&self) -> Vec<&'static str> { match self { $(Body::$name(b) => b.fields()),* } }
            /// Takes what is said into the aggregate; true where that changed something. Another kind changes nothing.
            pub fn apply_to(&self, aggregate: &mut Aggregate) -> bool {
                if let (Body::Encounter(say), Aggregate::Encounter(visit)) = (self, &mut *aggregate) {
                    return say.completed(visit).apply_to(visit);
                }
                match (self, aggregate) { $((Body::$name(b), Aggregate::$name(a)) => b.apply_to(a),)* _ => false }
            }
            /// As [`Body::apply_to`], of what nobody else needs.
            pub(crate) fn go_into(self, aggregate: &mut Aggregate) -> bool {
                if let (Body::Encounter(_), Aggregate::Encounter(_)) = (&self, &*aggregate) {
                    // Its period is completed by what is known.
                    return self.apply_to(aggregate);
                }
                match (self, aggregate) { $((Body::$name(b), Aggregate::$name(a)) => b.go_into(a),)* _ => false }
            }
        }

        impl Body {
            /// As [`Body::apply_to`], without what gives way to what a person wrote: the fields of which something was
            /// not taken.
            pub(crate) fn apply_yielding(&self, aggregate: &mut Aggregate, held: &crate::held::Held) -> Vec<&'static str> {
                if let (Body::Encounter(say), Aggregate::Encounter(visit)) = (self, &mut *aggregate) {
                    let mut say = say.completed(visit).into_owned();
                    let kept = say.yield_to(visit, held);
                    say.apply_to(visit);
                    return kept;
                }
                match (self, aggregate) {
                    $((Body::$name(b), Aggregate::$name(a)) => {
                        let mut say = (**b).clone();
                        let kept = say.yield_to(a, held);
                        say.apply_to(a);
                        kept
                    })*
                    _ => vec![],
                }
            }
        }

        impl Refs for Body {
            fn refs(&self, visit: &mut dyn FnMut(&Ref)) { match self { $(Body::$name(b) => b.refs(visit)),* } }
            fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut Ref)) { match self { $(Body::$name(b) => b.refs_mut(visit)),* } }
            fn settle(&mut self, keep: &mut dyn FnMut(&mut Ref) -> bool) -> bool { match self { $(Body::$name(b) => b.settle(keep)),* } }
        }

        $(impl From<$change> for Body { fn from(change: $change) -> Self { Body::$name(Box::new(change)) } }
          impl From<$ty> for Aggregate { fn from(aggregate: $ty) -> Self { Aggregate::$name(Box::new(aggregate)) } })*
    };
}

kinds! {
    Patient(p::Patient, p::PatientChange) = 1,
    RelatedPerson(p::RelatedPerson, p::RelatedPersonChange) = 2,
    Practitioner(p::Practitioner, p::PractitionerChange) = 3,
    Clinic(l::Clinic, l::ClinicChange) = 4,
    Site(l::Site, l::SiteChange) = 5,
    Room(l::Room, l::RoomChange) = 6,
    Service(s::Service, s::ServiceChange) = 7,
    Schedule(s::Schedule, s::ScheduleChange) = 8,
    Slot(s::Slot, s::SlotChange) = 9,
    Appointment(s::Appointment, s::AppointmentChange) = 10,
    Encounter(r::Encounter, r::EncounterChange) = 11,
    Condition(r::Condition, r::ConditionChange) = 12,
    Allergy(r::Allergy, r::AllergyChange) = 13,
    Procedure(r::Procedure, r::ProcedureChange) = 14,
    Coverage(r::Coverage, r::CoverageChange) = 15,
    Order(d::Order, d::OrderChange) = 16,
    Specimen(d::Specimen, d::SpecimenChange) = 17,
    Result(d::Result, d::ResultChange) = 18,
    Observation(d::Observation, d::ObservationChange) = 19,
    Document(r::Document, r::DocumentChange) = 20,
    MedicationOrder(r::MedicationOrder, r::MedicationOrderChange) = 21,
    ImagingStudy(i::ImagingStudy, i::ImagingStudyChange) = 22,
    ImagingInstance(i::ImagingInstance, i::ImagingInstanceChange) = 23,
}

crate::value::private!(Aggregate, Body);
