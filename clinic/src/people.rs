//! People: patients, those around them, and those who treat them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::aggregate;
use crate::patch::Item;
use crate::refs::{no_refs, refs_in};
use crate::value::{
    Address, Attachment, Concept, Identifier, Language, Period, PersonName, Ref, Telecom, When, codes,
};

codes! {
    /// Administrative sex.
    Sex { Male = "male", Female = "female", Other = "other", Unknown = "unknown" }
}

codes! {
    /// How two records of one person stand to each other.
    LinkKind {
        /// This record was merged into the other: the other one is to be used.
        ReplacedBy = "replaced-by",
        /// The other record was merged into this one.
        Replaces = "replaces",
        /// Another record of the same person, both in use.
        SeeAlso = "seealso",
    }
}

/// A link to another record of the same person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PatientLink {
    /// The other record.
    pub other: Ref,
    /// How it stands to this one.
    pub kind: LinkKind,
    /// On the survivor of a merge: the identifiers that came to it by the merge, and leave it when that is undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifiers: Vec<Identifier>,
    /// On a record that was merged: what `active` was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was_active: Option<bool>,
}

impl PatientLink {
    /// A link that says nothing about a merge.
    pub fn new(other: Ref, kind: LinkKind) -> Self {
        PatientLink {
            other,
            kind,
            identifiers: vec![],
            was_active: None,
        }
    }
}

/// Somebody to call about a patient (HL7 NK1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PatientContact {
    /// What they are to the patient, and in which role they are called.
    pub relationships: Vec<Concept>,
    /// Their name.
    pub name: Option<PersonName>,
    /// How to reach them.
    pub telecoms: Vec<Telecom>,
    /// Where they live.
    pub address: Option<Address>,
    /// Their sex.
    pub sex: Option<Sex>,
    /// The organisation they speak for.
    pub organization: Option<Ref>,
    /// When they may be called.
    pub period: Option<Period>,
}

aggregate! {
    /// A person who is treated here.
    Patient, PatientChange {
        /// False: not to be used (merged into another).
        active: Option<bool>,
        /// Names; the first is the one shown.
        names: Vec<PersonName>,
        /// When born, as precisely as known.
        birth_date: Option<When>,
        /// Administrative sex.
        sex: Option<Sex>,
        /// The sex as its sender coded it, where that says more.
        sex_original: Option<Concept>,
        /// Where they live.
        addresses: Vec<Address>,
        /// How to reach them.
        telecoms: Vec<Telecom>,
        /// Which languages they speak.
        languages: Vec<Language>,
        /// Marital status.
        marital_status: Option<Concept>,
        /// Religion.
        religion: Option<Concept>,
        /// True: has died.
        deceased: Option<bool>,
        /// When they died.
        deceased_at: Option<When>,
        /// True: one of several born together.
        multiple_birth: Option<bool>,
        /// Which one of them.
        birth_order: Option<u32>,
        /// Where they were born.
        birth_place: Option<Address>,
        /// The mother's name before marriage.
        mothers_maiden_name: Option<String>,
        /// Whose citizens they are.
        citizenships: Vec<Concept>,
        /// Nationality.
        nationality: Option<Concept>,
        /// Very important persons and the like (HL7 PV1-16).
        importance: Option<Concept>,
        /// Disabilities.
        disability: Option<Concept>,
        /// Where they worship.
        place_of_worship: Option<String>,
        /// Membership in a tribe (HL7 PID-39).
        tribal_citizenship: Vec<Concept>,
        /// Species, of an animal (HL7 PID-35).
        species: Option<Concept>,
        /// Breed, of an animal (HL7 PID-36).
        breed: Option<Concept>,
        /// Living will (HL7 PD1-7).
        living_will: Option<Concept>,
        /// Family doctors and primary facilities.
        general_practitioners: Vec<Ref>,
        /// Whom to call.
        contacts: Vec<PatientContact>,
        /// Other records of the same person.
        links: Vec<PatientLink>,
        /// A photograph.
        photo: Option<Attachment>,
    }
}

impl Patient {
    /// The record into which this one was merged.
    pub fn merged_into(&self) -> Option<Uuid> {
        let mut links = self.links.iter();
        links.find(|link| link.kind == LinkKind::ReplacedBy)?.other.id()
    }
}

aggregate! {
    /// Somebody around a patient: a parent, a spouse, a guardian.
    RelatedPerson, RelatedPersonChange {
        /// Whose.
        patient: Option<Ref>,
        /// False: no more.
        active: Option<bool>,
        /// What they are to the patient.
        relationships: Vec<Concept>,
        /// Names.
        names: Vec<PersonName>,
        /// How to reach them.
        telecoms: Vec<Telecom>,
        /// Where they live.
        addresses: Vec<Address>,
        /// Administrative sex.
        sex: Option<Sex>,
        /// When born.
        birth_date: Option<When>,
        /// Which languages they speak.
        languages: Vec<Language>,
        /// When this held.
        period: Option<Period>,
    }
}

/// A diploma, licence or specialty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Qualification {
    /// Which.
    pub code: Concept,
    /// Its number.
    pub identifier: Option<Identifier>,
    /// When it is valid.
    pub period: Option<Period>,
}

aggregate! {
    /// Somebody who treats, orders, measures or keeps the books.
    Practitioner, PractitionerChange {
        /// False: no more.
        active: Option<bool>,
        /// Names.
        names: Vec<PersonName>,
        /// How to reach them.
        telecoms: Vec<Telecom>,
        /// Where they are found.
        addresses: Vec<Address>,
        /// Administrative sex.
        sex: Option<Sex>,
        /// When born.
        birth_date: Option<When>,
        /// Degrees, licences.
        qualifications: Vec<Qualification>,
        /// Specialties.
        specialties: Vec<Concept>,
        /// Stamp code (*parafă*).
        stamp_code: Option<String>,
    }
}

refs_in!(PatientLink { other }, PatientContact { organization });
no_refs!(Sex, Qualification);

impl Item for PatientLink {
    fn group(&self) -> Option<String> {
        Some(format!("{:?}", self.other))
    }
}
impl Item for PatientContact {
    /// The same person in the same role.
    fn group(&self) -> Option<String> {
        let name = self
            .name
            .as_ref()
            .map(|n| format!("{:?}|{:?}", n.family, n.given))?;
        Some(format!(
            "{name}|{:?}",
            self.relationships.first().and_then(Concept::code)
        ))
    }
}
impl Item for Qualification {
    fn group(&self) -> Option<String> {
        Some(format!("{:?}", self.code.code().or(self.code.text.as_deref())))
    }
}
