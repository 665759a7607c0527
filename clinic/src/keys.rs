//! What aggregates are found by: canonical texts, of which a store keeps only keyed hashes.
//!
//! | text | found by it | made by |
//! |---|---|---|
//! | `i\|system\|value` | one identifier of a system; FHIR `identifier=system\|value` | [`FindKey::identifier`] |
//! | `i\|\|kind\|value` | one identifier without a system | [`FindKey::identifier`] |
//! | `p\|patient\|kind\|value` | the same, of something that belongs to a patient: a bare number says nothing beyond them | [`FindKey::identifier`] |
//! | `v\|value` | any identifier with this value; FHIR `identifier=value` | [`FindKey::value`] |
//! | `n\|owner\|key` | what it is within another aggregate | [`FindKey::natural`] |
//! | `r\|id\|` | what refers to this one: appointments to an order, objects to a study | [`FindKey::referring`] |
//!
//! A vertical bar within a system is written `%7C`. FHIR `identifier=|value` (no system) is asked as `v|value` and
//! finished on the opened rows. Values are compared as they are: no case, space or zero is folded away.

use uuid::Uuid;

use crate::apply::FindKey;
use crate::imaging::UID_SYSTEM;
use crate::kinds::{Aggregate, Body, Kind};
use crate::value::{Identifier, Ref};

impl FindKey {
    /// By an identifier; `patient` is that of the aggregate that is looked for. None: an identifier without a value.
    pub fn identifier(kind: Kind, identifier: &Identifier, patient: Option<Uuid>) -> Option<Self> {
        if identifier.value.is_empty() {
            return None;
        }
        let value = &identifier.value;
        let text = match (system(identifier), patient) {
            (Some(system), _) => FindKey::token(system, value),
            (None, Some(patient)) => format!("p|{patient}|{}|{value}", kind_code(identifier)),
            (None, None) => format!("i||{}|{value}", kind_code(identifier)),
        };
        Some(FindKey { kind, text })
    }

    /// By system and value: FHIR `identifier=system|value`.
    pub fn system_value(kind: Kind, system: &str, value: &str) -> Self {
        FindKey {
            kind,
            text: FindKey::token(system, value),
        }
    }

    /// By a value alone, whatever its system: FHIR `identifier=value`.
    pub fn value(kind: Kind, value: &str) -> Self {
        FindKey {
            kind,
            text: format!("v|{value}"),
        }
    }

    /// By what it is within another aggregate, or within the clinic.
    pub fn natural(kind: Kind, owner: Option<Uuid>, key: &str) -> Self {
        let text = match owner {
            Some(owner) => format!("n|{owner}|{key}"),
            None => format!("n||{key}"),
        };
        FindKey { kind, text }
    }

    /// By what it refers to: the appointments of an order, the objects of a study.
    pub fn referring(kind: Kind, to: Uuid) -> Self {
        FindKey {
            kind,
            text: format!("r|{to}|"),
        }
    }

    fn token(system: &str, value: &str) -> String {
        if system.contains('|') {
            format!("i|{}|{value}", system.replace('|', "%7C"))
        } else {
            format!("i|{system}|{value}")
        }
    }
}

/// All that an aggregate is found by as it stands: by its identifiers and by what it refers to. Natural keys are not
/// among them: they come from the change that made the aggregate, and stay for ever.
pub(crate) fn find_keys(aggregate: &Aggregate) -> Vec<FindKey> {
    let kind = aggregate.kind();
    let mut keys = identifier_keys(aggregate);
    let mut to: Vec<Uuid> = vec![];
    if let Aggregate::Order(order) = aggregate {
        // What a modality says of a step later names the instance alone.
        for performed in order
            .performed
            .iter()
            .filter(|performed| !performed.uid.is_empty())
        {
            let key = FindKey::system_value(kind, UID_SYSTEM, &performed.uid);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    if let Aggregate::Appointment(appointment) = aggregate {
        to.extend(appointment.orders.iter().filter_map(Ref::id));
    }
    if let Aggregate::ImagingInstance(instance) = aggregate {
        to.extend(instance.study.iter().filter_map(Ref::id));
    }
    for id in to {
        let key = FindKey::referring(kind, id);
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// All keys that an aggregate has by its identifiers: each with its system (or kind), and by its value alone.
pub fn identifier_keys(aggregate: &Aggregate) -> Vec<FindKey> {
    let kind = aggregate.kind();
    let patient = aggregate.patient().and_then(Ref::id);
    let mut keys: Vec<FindKey> = Vec::with_capacity(aggregate.identifiers().len() * 2);
    for identifier in aggregate.identifiers() {
        let Some(key) = FindKey::identifier(kind, identifier, patient) else {
            continue;
        };
        for key in [key, FindKey::value(kind, &identifier.value)] {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys
}

/// Whose numbers these are; an empty system is none.
pub(crate) fn system(identifier: &Identifier) -> Option<&str> {
    identifier.system.as_deref().filter(|system| !system.is_empty())
}

/// What kind of number, empty where it isn't said.
pub(crate) fn kind_code(identifier: &Identifier) -> &str {
    identifier.kind_code().unwrap_or_default()
}

/// True for two numbers of one system and kind.
pub(crate) fn same_series(one: &Identifier, other: &Identifier) -> bool {
    system(one) == system(other) && kind_code(one) == kind_code(other)
}

/// True for two of one series with the same value.
pub(crate) fn same_in_series(one: &Identifier, other: &Identifier) -> bool {
    same_series(one, other) && one.value == other.value
}

/// The one list of kinds that belong to a patient.
macro_rules! of_a_patient {
    ($enum:ident, $value:expr, |$inner:ident| $get:expr) => {
        match $value {
            $enum::RelatedPerson($inner) => $get,
            $enum::Appointment($inner) => $get,
            $enum::Encounter($inner) => $get,
            $enum::Condition($inner) => $get,
            $enum::Allergy($inner) => $get,
            $enum::Procedure($inner) => $get,
            $enum::Coverage($inner) => $get,
            $enum::Order($inner) => $get,
            $enum::Specimen($inner) => $get,
            $enum::Result($inner) => $get,
            $enum::Observation($inner) => $get,
            $enum::Document($inner) => $get,
            $enum::MedicationOrder($inner) => $get,
            $enum::ImagingStudy($inner) => $get,
            $enum::ImagingInstance($inner) => $get,
            $enum::Patient(_)
            | $enum::Practitioner(_)
            | $enum::Clinic(_)
            | $enum::Site(_)
            | $enum::Room(_)
            | $enum::Service(_)
            | $enum::Schedule(_)
            | $enum::Slot(_) => None,
        }
    };
}

impl Aggregate {
    /// Whose it is, where it belongs to a patient.
    pub fn patient(&self) -> Option<&Ref> {
        of_a_patient!(Aggregate, self, |a| a.patient.as_ref())
    }
}

impl Aggregate {
    /// Whose it is, to be changed.
    pub(crate) fn patient_mut(&mut self) -> Option<&mut Ref> {
        of_a_patient!(Aggregate, self, |a| a.patient.as_mut())
    }
}

impl Body {
    /// Whose it is said to be.
    pub fn patient(&self) -> Option<&Ref> {
        of_a_patient!(Body, self, |b| b.patient.value())
    }
}

/// How a kind of aggregate stands to being mistaken for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// A person: what is ambiguous is decided by a person.
    Patient,
    /// Something on a chart with numbers of its own: the same, and a number that is another patient's is a warning.
    Chart,
    /// Something on a chart without numbers that anyone relies on.
    Detail,
    /// The clinic's directory: the oldest of several will do.
    Directory,
}

pub(crate) fn care(kind: Kind) -> Care {
    match kind {
        Kind::Patient => Care::Patient,
        Kind::Appointment
        | Kind::Encounter
        | Kind::Order
        | Kind::Specimen
        | Kind::Result
        | Kind::Document
        | Kind::MedicationOrder
        | Kind::ImagingStudy
        | Kind::ImagingInstance => Care::Chart,
        Kind::RelatedPerson
        | Kind::Condition
        | Kind::Allergy
        | Kind::Procedure
        | Kind::Coverage
        | Kind::Observation => Care::Detail,
        Kind::Practitioner
        | Kind::Clinic
        | Kind::Site
        | Kind::Room
        | Kind::Service
        | Kind::Schedule
        | Kind::Slot => Care::Directory,
    }
}

/// False for a number that several aggregates share: an account holds many visits, a group many orders, an accession
/// number many procedures and studies (HL7 table 0203). A person or a place has its number alone, whatever its sender calls it.
pub(crate) fn names_one(kind: Kind, identifier: &Identifier) -> bool {
    match kind_code(identifier) {
        "AN" => kind != Kind::Encounter,
        "PGN" | crate::imaging::ACCESSION => care(kind) == Care::Directory,
        _ => true,
    }
}
