//! What a worklist tells: the planned steps of imaging orders with what stands around them (PS3.4 K.6).

mod measure;

use std::collections::HashMap;

use uuid::Uuid;

use crate::apply::Record;
use crate::ask::Found;
use crate::diagnostics::{Observation, Order, OrderStatus};
use crate::imaging::{
    Imaging, ImagingStep, ImagingStudy, ImagingStudyStatus, PerformedStatus, StepStatus, is_for,
    step_status_of,
};
use crate::kinds::Aggregate;
use crate::people::{Patient, Practitioner};
use crate::records::{Allergy, Encounter, Stay, StayStatus};
use crate::scheduling::{Appointment, AppointmentStatus};
use crate::search::patient_ids;
use crate::value::{Concept, Ref, When};

pub use measure::{Measure, in_si};

/// How many merges of a patient are followed.
const MAX_MERGES: usize = 16;

/// So many places, one around the other, are told: bed, room, ward, site.
pub const PLACES: usize = 4;

/// One planned step: an entry of a worklist.
#[derive(Clone)]
pub struct Entry<'a> {
    /// Of which order.
    pub order: &'a Order,
    /// Its imaging part.
    pub imaging: &'a Imaging,
    /// The step.
    pub step: &'a ImagingStep,
    /// How far it is.
    pub status: StepStatus,
    /// When it begins: as its appointment says, where it has one of its own.
    pub start: Option<&'a When>,
    /// The stations that work on it.
    pub busy_at: Vec<&'a str>,
    /// Whose: the record that stays, of one that was merged.
    pub patient: &'a Patient,
    /// Its id.
    pub patient_id: Uuid,
    /// In which visit.
    pub encounter: Option<&'a Encounter>,
    /// Who ordered it.
    pub requester: Option<&'a Practitioner>,
    /// Who is to do it.
    pub performer: Option<&'a Practitioner>,
    /// Who sent the patient.
    pub referrer: Option<&'a Practitioner>,
    /// What the patient must not get.
    pub allergies: Vec<&'a Allergy>,
    /// What was measured of the patient last, and is of use to a modality.
    pub measured: Vec<(Measure, &'a Observation)>,
    /// Where the patient is, by the names on the doors, the outermost first.
    pub location: Vec<&'a str>,
    /// For which department it was ordered.
    pub service: Option<&'a str>,
}

impl Entry<'_> {
    /// The last measurement of this kind.
    pub fn last(&self, measure: Measure) -> Option<&Observation> {
        let all = self.measured.iter().filter(|(known, _)| *known == measure);
        let newest = all.max_by_key(|(_, observation)| {
            let at = observation.effective_at.as_ref();
            at.and_then(|at| at.earliest(&jiff::tz::TimeZone::UTC))
        });
        newest.map(|(_, observation)| *observation)
    }
}

/// What stands around the orders, by what it belongs to.
#[derive(Default)]
struct Around<'a> {
    appointments: HashMap<Uuid, Vec<&'a Appointment>>,
    allergies: HashMap<Uuid, Vec<&'a Allergy>>,
    measured: HashMap<Uuid, Vec<(Measure, &'a Observation)>>,
    studies: HashMap<&'a str, &'a ImagingStudy>,
    /// Those that were done for an order.
    made: HashMap<Uuid, Vec<&'a ImagingStudy>>,
}

impl<'a> Around<'a> {
    fn new(found: &'a Found) -> Self {
        let mut around = Around::default();
        for record in found.around.values() {
            match &record.aggregate {
                Aggregate::Appointment(appointment) => {
                    for order in appointment.orders.iter().filter_map(Ref::id) {
                        around.appointments.entry(order).or_default().push(appointment);
                    }
                }
                Aggregate::Allergy(allergy) if is_active(allergy) => {
                    if let Some(patient) = allergy.patient.as_ref().and_then(Ref::id) {
                        around.allergies.entry(patient).or_default().push(allergy);
                    }
                }
                Aggregate::Observation(observation) => {
                    let patient = observation.patient.as_ref().and_then(Ref::id);
                    if let Some((patient, measure)) = patient.zip(Measure::of(observation)) {
                        around
                            .measured
                            .entry(patient)
                            .or_default()
                            .push((measure, observation));
                    }
                }
                Aggregate::ImagingStudy(study) => {
                    around.studies.extend(study.uid().map(|uid| (uid, &**study)));
                    for order in study.orders.iter().filter_map(Ref::id) {
                        around.made.entry(order).or_default().push(study);
                    }
                }
                _ => {}
            }
        }
        around
    }
}

/// The steps that are to be done, the earliest first. A step is none of them once it has ended, once its order is no
/// order any more or waits, where all its appointments were called off, and where there are images of it from a modality
/// that says nothing else.
pub fn entries(found: &Found) -> Vec<Entry<'_>> {
    let around = Around::new(found);
    let mut out = vec![];
    for record in &found.records {
        if let Aggregate::Order(order) = &record.aggregate {
            steps(found, &around, record.meta.id, order, &mut out);
        }
    }
    out.sort_by_key(|entry| {
        let start = entry.start.map(|start| start.earliest(&jiff::tz::TimeZone::UTC));
        (start, entry.step.id.clone())
    });
    out
}

fn steps<'a>(found: &'a Found, around: &Around<'a>, id: Uuid, order: &'a Order, out: &mut Vec<Entry<'a>>) {
    let Some(imaging) = &order.imaging else { return };
    let owner = order.patient.as_ref().and_then(Ref::id);
    let Some((patient_id, patient)) = owner.and_then(|id| survivor(found, id)) else {
        return;
    };
    let appointments = around
        .appointments
        .get(&id)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut on = appointments.iter().filter(|booked| is_on(booked)).peekable();
    let called_off = !appointments.is_empty() && on.peek().is_none();
    if !is_planned(order) || called_off {
        return;
    }
    let booked = on.find_map(|booked| booked.start.as_ref());
    let encounter = aggregate(found, order.encounter.as_ref()).and_then(|known| match known {
        Aggregate::Encounter(encounter) => Some(&**encounter),
        _ => None,
    });
    let by_uid = imaging.study_uid.as_deref();
    let by_uid = by_uid.and_then(|uid| around.studies.get(uid));
    let made = around.made.get(&id).map(Vec::as_slice).unwrap_or_default();
    let studies: Vec<&&ImagingStudy> = by_uid.into_iter().chain(made).collect();
    let single = imaging.steps.len() == 1;
    let mut selves = patient_ids(patient_id, patient);
    selves.extend(owner.filter(|owner| !selves.contains(owner)));
    for step in &imaging.steps {
        let status = step_status_of(order, step);
        let has_images = || studies.iter().any(|study| is_made(study, step, single));
        if status.is_over() || order.performed.is_empty() && has_images() {
            continue;
        }
        // The appointment of an order with one step is that of the step; of several steps each has its own time.
        let start = match single {
            true => booked.or(step.start.as_ref()),
            false => step.start.as_ref().or(booked),
        };
        let works_on = order.performed.iter().filter(|performed| {
            performed.status == Some(PerformedStatus::InProgress) && is_for(performed, step, &imaging.steps)
        });
        let performer = step.performer.as_ref().or(order.performers.first());
        out.push(Entry {
            order,
            imaging,
            step,
            status,
            start,
            busy_at: works_on
                .filter_map(|performed| performed.station_ae.as_deref())
                .collect(),
            patient,
            patient_id,
            encounter,
            requester: practitioner(found, order.requester.as_ref()),
            performer: practitioner(found, performer),
            referrer: encounter.and_then(|encounter| referrer(found, encounter)),
            allergies: all_of(&around.allergies, &selves),
            measured: all_of(&around.measured, &selves),
            location: encounter.map(|visit| location(found, visit)).unwrap_or_default(),
            service: service(found, order),
        });
    }
}

/// Images of the step are there: of an order with several, such of its modality.
fn is_made(study: &ImagingStudy, step: &ImagingStep, single: bool) -> bool {
    let is_there = study.status == Some(ImagingStudyStatus::Available);
    let of_it = single
        || step
            .modality
            .as_ref()
            .is_some_and(|modality| study.modalities.contains(modality));
    is_there && of_it
}

/// The record that stays of a patient.
fn survivor(found: &Found, id: Uuid) -> Option<(Uuid, &Patient)> {
    let mut id = id;
    for _ in 0..MAX_MERGES {
        let Aggregate::Patient(patient) = &found.around.get(&id)?.aggregate else {
            return None;
        };
        match patient.merged_into() {
            Some(other) => id = other,
            None => return Some((id, patient)),
        }
    }
    None
}

/// Whether an order may be told: neither over nor waiting.
pub(crate) fn is_planned(order: &Order) -> bool {
    match order.status {
        Some(OrderStatus::Active | OrderStatus::Unknown) | None => true,
        Some(
            OrderStatus::Draft
            | OrderStatus::OnHold
            | OrderStatus::Revoked
            | OrderStatus::Completed
            | OrderStatus::EnteredInError,
        ) => false,
    }
}

/// Whether an appointment was not called off.
pub(crate) fn is_on(appointment: &Appointment) -> bool {
    match appointment.status {
        Some(
            AppointmentStatus::Cancelled
            | AppointmentStatus::NoShow
            | AppointmentStatus::EnteredInError
            | AppointmentStatus::Waitlist,
        ) => false,
        Some(
            AppointmentStatus::Proposed
            | AppointmentStatus::Pending
            | AppointmentStatus::Booked
            | AppointmentStatus::Arrived
            | AppointmentStatus::Fulfilled
            | AppointmentStatus::CheckedIn,
        )
        | None => true,
    }
}

fn all_of<T: Clone>(of: &HashMap<Uuid, Vec<T>>, patients: &[Uuid]) -> Vec<T> {
    let all = patients.iter().filter_map(|patient| of.get(patient));
    all.flatten().cloned().collect()
}

/// The place where the patient of a visit is: the one that is only for a time, where there is one.
pub fn place(encounter: &Encounter) -> Option<Uuid> {
    let active = |stay: &&Stay| stay.status == Some(StayStatus::Active);
    let stays = encounter.stays.iter().filter(active);
    let now = stays.max_by_key(|stay| stay.temporary)?;
    now.place.id()
}

/// What a place is a part of.
pub fn around_place(record: &Record) -> Option<Uuid> {
    match &record.aggregate {
        Aggregate::Room(room) => room.part_of.as_ref()?.id(),
        _ => None,
    }
}

/// The names of the place where a patient is, and of those around it.
fn location<'a>(found: &'a Found, encounter: &Encounter) -> Vec<&'a str> {
    let mut names = vec![];
    let mut next = place(encounter);
    for _ in 0..PLACES {
        let Some(record) = next.and_then(|id| found.around.get(&id)) else {
            break;
        };
        let name = match &record.aggregate {
            Aggregate::Room(room) => room.name.as_deref(),
            Aggregate::Site(site) => site.name.as_deref(),
            _ => None,
        };
        let number = record.aggregate.identifiers().first();
        let number = number.map(|number| number.value.as_str());
        names.extend(name.or(number).filter(|name| !name.is_empty()));
        next = around_place(record);
    }
    names.reverse();
    names
}

fn service<'a>(found: &'a Found, order: &Order) -> Option<&'a str> {
    match aggregate(found, order.requester_organization.as_ref())? {
        Aggregate::Clinic(clinic) => clinic.name.as_deref(),
        _ => None,
    }
}

fn aggregate<'a>(found: &'a Found, to: Option<&Ref>) -> Option<&'a Aggregate> {
    let record: &Record = found.around.get(&to?.id()?)?;
    Some(&record.aggregate)
}

fn practitioner<'a>(found: &'a Found, to: Option<&Ref>) -> Option<&'a Practitioner> {
    match aggregate(found, to)? {
        Aggregate::Practitioner(practitioner) => Some(practitioner),
        _ => None,
    }
}

/// Who takes part in a visit as the one who sent the patient (v3-ParticipationType REF).
fn referrer<'a>(found: &'a Found, encounter: &Encounter) -> Option<&'a Practitioner> {
    let participants = encounter.participants.iter();
    let referring = participants.filter(|participant| participant.role.code() == Some("REF"));
    referring
        .into_iter()
        .find_map(|participant| practitioner(found, Some(&participant.person)))
}

fn is_active(allergy: &Allergy) -> bool {
    let is = |concept: &Option<Concept>, codes: &[&str]| {
        let code = concept.as_ref().and_then(Concept::code);
        code.is_some_and(|code| codes.contains(&code))
    };
    !is(&allergy.clinical_status, &["inactive", "resolved"])
        && !is(&allergy.verification, &["refuted", "entered-in-error"])
}
