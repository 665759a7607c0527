//! What is said beside: a result, an order and a booking say whose they are and in which visit, as it was when they were
//! ordered, or as it will be. Who somebody is, a registration tells; where they lie, and who attends them, an admission or a transfer (HL7
//! v2.5.1 §3.3). What is asked for, by whom, when and why, its order tells: a report and a state repeat it as whoever does it keeps it
//! (§4.5.1). Of what is known such a message takes nothing away; what nobody has said yet it fills in.

use super::resolve::{Touched, Work};
use crate::change_set::Change;
use crate::held::{Held, WHOLE, Writer};
use crate::kinds::{Aggregate, Kind};
use crate::records::EncounterStatus;

/// Who is told to have written what stands there ([`crate::held::Kept::by`]), of a patient.
pub(super) const REGISTRATION: &str = "the registration of the patient";
/// The same of a visit.
const ADMISSION: &str = "what was told of the visit itself";
/// The same of an order.
const REQUEST: &str = "who ordered it";

/// How somebody is called on, beside name, birth date and sex.
const PATIENT: &[&str] = &[
    "addresses",
    "birth_place",
    "citizenships",
    "contacts",
    "general_practitioners",
    "languages",
    "marital_status",
    "mothers_maiden_name",
    "nationality",
    "religion",
    "telecoms",
];

/// That somebody has died, and when: two ways to say it.
const DEATH: &[&str] = &["deceased", "deceased_at"];

/// What events move.
const VISIT: &[&str] = &[
    "admit_source",
    "class",
    "class_original",
    "destination",
    "discharge_disposition",
    "kinds",
    "length",
    "mode_of_arrival",
    "origin",
    "participants",
    "period",
    "planned_end",
    "planned_start",
    "service_type",
    "stays",
];

/// What is asked for.
const ORDER: &[&str] = &[
    "authored",
    "body_sites",
    "callback",
    "categories",
    "clinical_info",
    "code",
    "details",
    "encounter",
    "group",
    "intent",
    "location_codes",
    "notes",
    "occurrence_at",
    "occurrence_period",
    "occurrence_timing",
    "patient_instruction",
    "priority",
    "priority_original",
    "quantity",
    "reason_conditions",
    "reasons",
    "requester",
    "requester_organization",
    "security",
];

/// Fields that say one thing in several forms: where one is known, all are.
const AS_ONE: &[&[&str]] = &[
    &["occurrence_at", "occurrence_period", "occurrence_timing"],
    &["priority", "priority_original"],
];

impl Work<'_> {
    /// What stands in an aggregate and does not give way to what this change says of it beside something else; with what gives way to
    /// no message.
    pub(super) fn stays_beside(&self, touched: &Touched, change: &Change, writer: Writer<'_>) -> Held {
        let mut held = touched.held.clone();
        let (Some(before), Writer::Feed { overwrite: false }) = (&touched.before, writer) else {
            return held;
        };
        if let Aggregate::Patient(patient) = &before.aggregate
            && self.brings_something()
            && (patient.deceased_at.is_some() || patient.deceased == Some(true))
        {
            // Orders and results are looked at for weeks after somebody has died, and say what held before.
            DEATH
                .iter()
                .for_each(|field| held.hold(field, WHOLE, REGISTRATION));
        }
        let (fields, by) = match &before.aggregate {
            Aggregate::Patient(_) if self.brings(&[Kind::Result]) => (PATIENT, REGISTRATION),
            Aggregate::Encounter(visit) if self.is_beside(visit.status) => (VISIT, ADMISSION),
            Aggregate::Order(_) if change.find.orders_nothing => (ORDER, REQUEST),
            _ => return held,
        };
        let said = change.say.fields();
        let mut said = said.iter().filter(|field| fields.contains(field)).peekable();
        if said.peek().is_none() {
            return held;
        }
        let known = Aggregate::new(touched.kind).differing(&before.aggregate);
        let is_known = |field: &&str| known.iter().any(|(known, _)| known == field);
        for field in said {
            let forms = AS_ONE.iter().find(|forms| forms.contains(field));
            if forms.copied().unwrap_or(&[field]).iter().any(is_known) {
                held.hold(field, WHOLE, by);
            }
        }
        held
    }

    /// Orders and bookings change a visit that nobody has come to yet, or of which nobody has told how far it is.
    fn is_beside(&self, status: Option<EncounterStatus>) -> bool {
        let is_open = matches!(
            status,
            None | Some(EncounterStatus::Planned | EncounterStatus::Unknown)
        );
        let ordered = &[Kind::Order, Kind::Appointment, Kind::MedicationOrder];
        self.brings(&[Kind::Result]) || !is_open && self.brings(ordered)
    }

    /// Whether the set brings something of one of these kinds.
    pub(super) fn brings(&self, kinds: &[Kind]) -> bool {
        self.set
            .changes
            .iter()
            .any(|change| kinds.contains(&change.kind()))
    }
}
