//! What a message says about the clinic, in the clinic's own terms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diagnostics::OrderStatus;
use crate::exchange::Extra;
use crate::kinds::{Body, Kind};
use crate::records::EncounterStatus;
use crate::value::{Concept, Identifier, Ref, When};

/// Everything that one message says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChangeSet {
    /// The message itself: what it is, who sent it, when.
    pub about: About,
    /// What it says, in an order in which a change only refers to changes of the same set (before or after it).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Records that prove to be of one person.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub merges: Vec<Merge>,
    /// What it says and the model has no place for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<Extra>,
}

/// The message itself. From here come FHIR MessageHeader and Provenance; nothing of it is stored as an aggregate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct About {
    /// Type and event: `ADT^A04`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_type: Option<String>,
    /// The sender's number of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_id: Option<String>,
    /// The event in codes (HL7 table 0003).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Concept>,
    /// Why the event happened (HL7 EVN-4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Concept>,
    /// When the message was made (HL7 MSH-7).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<When>,
    /// When the event was recorded (HL7 EVN-2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded: Option<When>,
    /// When the event happened (HL7 EVN-6).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred: Option<When>,
    /// Who entered it: keys of practitioners in this set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<Ref>,
    /// Where it happened (HL7 EVN-7), a key of this set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Ref>,
    /// The program that sent it.
    pub sender: Party,
    /// The program it is meant for.
    pub receiver: Party,
    /// Other receivers, sending responsible organisation and the like are changes of this set (Clinic).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responsible: Option<Ref>,
    /// How confidential the message is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security: Vec<Concept>,
    /// The language it is written in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Concept>,
    /// Where its sender's copy of the definition is (HL7 MSH-21), one for each profile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<String>,
    /// Processing id: P production, T test, D debugging.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processing: Option<String>,
    /// Processing mode: A archive, R restore, I initial load, T current (HL7 table 0207).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processing_mode: Option<String>,
    /// The version of its standard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What happened to each order, for provenance (HL7 ORC).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acts: Vec<Act>,
    /// What the message says of the program that made it and the like, by the format's own names, for the formats
    /// that can say the same again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Extra>,
}

/// A program, and the place where it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Party {
    /// The program (HL7 MSH-3, MSH-5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<Identifier>,
    /// Where it runs (HL7 MSH-4, MSH-6), a key of this set or the name alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facility: Option<Identifier>,
    /// Its address on the network (HL7 MSH-24, MSH-25).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The country that it is in (HL7 MSH-17).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// The organisation that answers for it (HL7 MSH-23; of the sender see [`About::responsible`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub responsible: Option<Ref>,
}

/// Something that was done to an aggregate, and by whom: the source of a Provenance (HL7 ORC-1, -9, -10, -11, -19 …).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Act {
    /// To what.
    pub target: Vec<Ref>,
    /// What was done.
    pub activity: Option<Concept>,
    /// Why.
    pub reason: Option<Concept>,
    /// When.
    pub recorded: Option<When>,
    /// By whom, and in which role (provenance-participant-type: author, enterer, verifier …).
    pub agents: Vec<(Ref, Concept)>,
    /// The organisation that the enterer acted for (HL7 ORC-17).
    pub on_behalf_of: Option<Ref>,
    /// Where.
    pub place: Option<Ref>,
}

/// What is said about one aggregate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Its name within this change set: `patient`, `order-1`. References use it.
    pub key: String,
    /// How to find the aggregate that it is about.
    #[serde(default)]
    pub find: Find,
    /// What is said.
    pub say: Body,
    /// What is said only where the aggregate is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub say_if_new: Option<Body>,
    /// Of visits that are known: the states that what is said does not move them out of, as where a message comes late or
    /// takes back what has gone on. The rest of what is said is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays_in: Vec<EncounterStatus>,
    /// The same of orders: a request that comes late, or again, says nothing of an end that came meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order_stays_in: Vec<OrderStatus>,
    /// True, of imaging orders: the steps that are said are all that are to be done. One that was known before, and is not said
    /// again, goes, unless a modality works on it or has done it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_steps: bool,
    /// True, of visits: no place is reserved for it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub releases: bool,
    /// True of what stands beside what is told, without all that it belongs to: who has it already knows more of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_part: bool,
    /// Of what is told as it stands: in which version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Of bookings: of these the change names all that take part; others of them go, who is of another sort stays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names_all: Vec<Sort>,
}

/// What takes part in an appointment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    /// Somebody who works here.
    People,
    /// Where it is.
    Places,
    /// A device, or another thing.
    Things,
}

impl Change {
    /// About an aggregate that is found by the identifiers of `say`, and made where there is none.
    pub fn new(key: impl Into<String>, say: impl Into<Body>) -> Self {
        Change {
            key: key.into(),
            find: Find::default(),
            say: say.into(),
            say_if_new: None,
            stays_in: vec![],
            releases: false,
            order_stays_in: vec![],
            in_part: false,
            version: None,
            all_steps: false,
            names_all: vec![],
        }
    }

    /// Which aggregate it is about.
    pub fn kind(&self) -> Kind {
        self.say.kind()
    }
}

/// How the aggregate that a change is about is found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Find {
    /// Its id, where the sender knows it (the write door).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<uuid::Uuid>,
    /// By these identifiers; empty: by those of `say`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identifiers: Vec<Identifier>,
    /// True: an identifier without a system is a number alone, as devices give it: of any system.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bare: bool,
    /// By what it is within another one, where it has no identifier of its own: this test of that report, this
    /// allergy of that patient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub natural: Option<Natural>,
    /// The version that the sender has seen (0: none): where the newest is another one, the whole set is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// What to do where none is found.
    pub missing: Missing,
    /// True: it may be another patient's so far, and becomes that of the patient whom the change names. Without it such
    /// a find is parked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub moves: bool,
    /// Whose it is so far, where the sender says so: a number without a system is looked for there too, and who has it there
    /// is meant before others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Ref>,
    /// True, of orders: one with the number but with another code is another one. A requisition has many tests under one
    /// number; with `each` and without a code all of them are meant. With an id: others have its number.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_code: bool,
    /// Of orders: what a report of it is within it, as its format makes it. Reports that came before it, and were filed under
    /// another order of its number, become its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reports: Option<String>,
    /// True, of orders: a report, an appointment or a state of the one who does it says it. Of several with the number that one
    /// is meant whose test it is; where nothing tells which, it is of all of them, and nothing is said of any. Where no number finds
    /// one, a study UID or an accession number among `identifiers` does: the order of the same patient whose examination that is.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub by_report: bool,
    /// True, of patients: the message names them, and registers nobody. Who is found has to be the one whom it names, also where
    /// the number has an authority.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub registers_nobody: bool,
    /// True, of orders: who does it speaks of it, and orders nothing. Of what is asked for, by whom, when and why, nothing gives way
    /// that is known; what nobody has said yet is filled in.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub orders_nothing: bool,
    /// True, of visits: where several are found, they are one. The one with the first number stays, and the others were
    /// entered in error.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub joins: bool,
    /// True: several may be found, and it is said of each of them. Without it such a find is parked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub each: bool,
}

/// What an aggregate is within another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Natural {
    /// Within which; none: within the clinic.
    pub owner: Option<Ref>,
    /// What it is there, as text made by the format from codes only in a way that is the same each time.
    pub key: String,
}

/// What to do where the aggregate is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// Make it (a patient: as the channel's `on_unmatched` says).
    #[default]
    Create,
    /// Leave this change out; the rest is applied. References to it are left out.
    Skip,
    /// As `skip`, but a patient with an identifier is made where the channel says so in words (`on_unmatched = "create"`): what
    /// begins a chart only where somebody wants it to, such as an image.
    SkipUnlessSaid,
    /// A person decides what is meant.
    Park,
    /// As `park`, but made where the channel says so in words (`on_unmatched = "create"`) and it is of a patient who is known by
    /// number and by name: an examination that was planned elsewhere.
    ParkUnlessSaid,
    /// Refuse the whole set: what was never begun can't go on.
    Refuse,
}

/// Two records of one person become one: `old` stays readable and leads to `survivor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// The key of the change that names the record that stays.
    pub survivor: String,
    /// The key of the change that names the record that goes.
    pub old: String,
    /// True: undo an earlier merge of the two.
    #[serde(default)]
    pub undo: bool,
    /// True: no merge is meant, but that the two are one person's and both in use (HL7 A24; undone by A37).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub link: bool,
}
