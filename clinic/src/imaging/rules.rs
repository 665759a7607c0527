//! What the modalities' words mean for the order, the appointment and the visit, as pure functions.
//!
//! | MPPS (PS3.4 F.7) | step | order | appointment | visit |
//! |---|---|---|---|---|
//! | in progress | started | stays active | arrived, unless it is further | started |
//! | completed | completed | completed, when every step has ended | fulfilled with it | stays |
//! | discontinued, wrong entry chosen | scheduled again | active again | as before | as before |
//! | discontinued, for another reason | discontinued | revoked, when every step has ended so | as before | as before |
//!
//! One step may have several MPPS (a series appended later) and one MPPS several steps (grouped examinations). A state
//! in which an appointment or a visit ended is never moved from here.

use uuid::Uuid;

use super::{
    ACCESSION, Imaging, ImagingStep, PerformedStatus, PerformedStep, SHORT, Series, StepStatus, accession,
    uid,
};
use crate::diagnostics::{Order, OrderStatus};
use crate::records::EncounterStatus;
use crate::scheduling::AppointmentStatus;
use crate::value::Identifier;

/// The reason for a discontinuation that sends the step back to the worklist: "Incorrect worklist entry selected"
/// (PS3.16 CID 9300).
const WRONG_ENTRY: &str = "110514";

/// How far an imaging order is, by what the modalities say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// What was begun was taken back: to be done.
    Scheduled,
    /// A modality works on it, or has done some of its steps. So it stays where another planned step was broken off: that one
    /// is to be booked again, or the order ended, by a person.
    Started,
    /// Every step has ended, and one of them at least was done; no planned one was broken off.
    Completed,
    /// Every step was broken off.
    Discontinued,
}

/// How far a step is by the MPPS that are for it. None: no modality has said anything of it.
///
/// One that works on it makes it started; else one that completed it completed; else it is discontinued, unless every
/// modality that broke it off had chosen the wrong entry.
pub fn step_status(
    performed: &[PerformedStep],
    step: &ImagingStep,
    planned: &[ImagingStep],
) -> Option<StepStatus> {
    let mut status = None;
    for one in performed.iter().filter(|one| is_for(one, step, planned)) {
        let Some(now) = state(one) else { continue };
        if status.is_none_or(|known| weight(known) < weight(now)) {
            status = Some(now);
        }
    }
    status
}

/// How far a step is by one MPPS that is for it.
fn state(performed: &PerformedStep) -> Option<StepStatus> {
    Some(match performed.status? {
        PerformedStatus::InProgress => StepStatus::Started,
        PerformedStatus::Completed => StepStatus::Completed,
        PerformedStatus::Discontinued if is_wrong_entry(performed) => StepStatus::Scheduled,
        PerformedStatus::Discontinued => StepStatus::Discontinued,
    })
}

fn weight(status: StepStatus) -> u8 {
    match status {
        StepStatus::Scheduled | StepStatus::Arrived | StepStatus::Ready | StepStatus::Cancelled => 0,
        StepStatus::Discontinued => 1,
        StepStatus::Completed => 2,
        StepStatus::Started => 3,
    }
}

/// Whether an MPPS is for a planned step: one that it names. Where it names none ((0040,0009) may be empty, PS3.4 table F.7.2-1), one
/// of its modality, of several such one of its station; without a modality all. Where the steps are of several modalities, and none of
/// its own, it is for none of them.
pub(crate) fn is_for(performed: &PerformedStep, step: &ImagingStep, planned: &[ImagingStep]) -> bool {
    if !performed.steps.is_empty() {
        return step.id.as_ref().is_some_and(|id| performed.steps.contains(id));
    }
    let of_modality =
        |step: &ImagingStep| performed.modality.is_some() && step.modality == performed.modality;
    let of_station = |step: &ImagingStep| {
        let title = performed.station_ae.as_ref();
        title.is_some_and(|title| step.station_aes.contains(title))
    };
    let both = |step: &ImagingStep| of_modality(step) && of_station(step);
    let is_known = |step: &ImagingStep| performed.modality.is_some() && step.modality.is_some();
    if planned.iter().any(both) {
        both(step)
    } else if planned.iter().any(of_modality) {
        of_modality(step)
    } else if planned.iter().any(of_station) {
        of_station(step)
    } else {
        !is_known(step) || planned.iter().all(|other| other.modality == step.modality)
    }
}

fn is_wrong_entry(performed: &PerformedStep) -> bool {
    let codings = performed.reason.iter().flat_map(|reason| &reason.codings);
    codings
        .into_iter()
        .any(|coding| coding.code.as_deref() == Some(WRONG_ENTRY))
}

/// How far a step of an order is, for a worklist: as its state says, unless the order as a whole has ended.
pub fn step_status_of(order: &Order, step: &ImagingStep) -> StepStatus {
    let own = step.status.unwrap_or(StepStatus::Scheduled);
    if own.is_over() {
        return own;
    }
    match order.status {
        // Whatever the order says: a modality works on it.
        _ if own == StepStatus::Started => own,
        Some(OrderStatus::Completed) => StepStatus::Completed,
        Some(OrderStatus::Revoked | OrderStatus::EnteredInError) => StepStatus::Cancelled,
        Some(OrderStatus::Draft | OrderStatus::Active | OrderStatus::OnHold | OrderStatus::Unknown)
        | None => own,
    }
}

/// How far an imaging order is. None: no modality has said anything of it.
pub fn progress(order: &Order) -> Option<Progress> {
    if order.performed.iter().all(|one| one.status.is_none()) {
        return None;
    }
    let planned = order
        .imaging
        .as_ref()
        .map_or(&[][..], |imaging| imaging.steps.as_slice());
    let mut states: Vec<StepStatus> = planned
        .iter()
        .map(|step| step_status(&order.performed, step, planned).unwrap_or(StepStatus::Scheduled))
        .collect();
    let is_broken_off = states.contains(&StepStatus::Discontinued);
    // Of an order without steps, and of steps that nobody planned, each MPPS stands for itself.
    let unplanned = order
        .performed
        .iter()
        .filter(|one| !planned.iter().any(|step| is_for(one, step, planned)));
    // Of a step that was planned no longer, a wrong entry says nothing of what is to be done.
    let says = |state: &StepStatus| planned.is_empty() || *state != StepStatus::Scheduled;
    states.extend(unplanned.filter_map(state).filter(says));
    let any = |wanted: StepStatus| states.contains(&wanted);
    let all_over = states.iter().all(|state| state.is_over());
    Some(if any(StepStatus::Started) {
        Progress::Started
    } else if !all_over {
        let some_done = any(StepStatus::Completed) || any(StepStatus::Discontinued);
        if some_done {
            Progress::Started
        } else {
            Progress::Scheduled
        }
    } else if any(StepStatus::Completed) {
        match is_broken_off {
            true => Progress::Started,
            false => Progress::Completed,
        }
    } else {
        Progress::Discontinued
    })
}

/// The state of an order at that progress.
pub fn order_status(progress: Progress) -> OrderStatus {
    match progress {
        Progress::Scheduled | Progress::Started => OrderStatus::Active,
        Progress::Completed => OrderStatus::Completed,
        Progress::Discontinued => OrderStatus::Revoked,
    }
}

/// To which states an appointment and a visit move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// The appointment's. None: it stays as it is.
    pub appointment: Option<AppointmentStatus>,
    /// The visit's. None: it stays as it is.
    pub encounter: Option<EncounterStatus>,
}

/// What the progress of an order means for its appointment and its visit. `now`: their states; `before`: those that
/// they had before a modality moved them.
pub fn moves(progress: Progress, now: Moves, before: Moves) -> Moves {
    let appointment = now.appointment.and_then(|now| match progress {
        Progress::Started => is_ahead(now).then_some(AppointmentStatus::Arrived),
        Progress::Completed => {
            let is_here = matches!(now, AppointmentStatus::Arrived | AppointmentStatus::CheckedIn);
            (is_ahead(now) || is_here).then_some(AppointmentStatus::Fulfilled)
        }
        Progress::Scheduled | Progress::Discontinued => {
            before.appointment.filter(|_| now == AppointmentStatus::Arrived)
        }
    });
    let encounter = now.encounter.and_then(|now| match progress {
        Progress::Started | Progress::Completed => {
            let ahead = matches!(
                now,
                EncounterStatus::Planned | EncounterStatus::Arrived | EncounterStatus::Triaged
            );
            ahead.then_some(EncounterStatus::InProgress)
        }
        Progress::Scheduled | Progress::Discontinued => {
            before.encounter.filter(|_| now == EncounterStatus::InProgress)
        }
    });
    Moves {
        appointment,
        encounter,
    }
}

/// The patient is not there yet.
fn is_ahead(status: AppointmentStatus) -> bool {
    match status {
        AppointmentStatus::Proposed
        | AppointmentStatus::Pending
        | AppointmentStatus::Booked
        | AppointmentStatus::Waitlist => true,
        AppointmentStatus::Arrived
        | AppointmentStatus::CheckedIn
        | AppointmentStatus::Fulfilled
        | AppointmentStatus::Cancelled
        | AppointmentStatus::NoShow
        | AppointmentStatus::EnteredInError => false,
    }
}

// ---- numbers that nobody gave ----

/// A number of 16 characters out of the id of an order: its time and some of its chance, in the letters and digits that
/// are not mistaken for each other.
fn number(order: Uuid) -> String {
    let bits = order.as_u128();
    format!("{}{}", letters(bits >> 80, 10), letters(bits, 6))
}

/// The number of the n-th step of an order whose sender gave none.
fn step_number(order: Uuid, n: usize) -> String {
    let bits = order.as_u128();
    format!(
        "{}{}{}",
        letters(bits >> 80, 10),
        letters(bits, 4),
        letters(n as u128 + 1, 2)
    )
}

/// The last so many digits to the base of 32.
fn letters(bits: u128, count: u32) -> String {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    (0..count)
        .rev()
        .map(|place| char::from(LETTERS[(bits >> (5 * place)) as usize & 31]))
        .collect()
}

/// Whether a step has a number that was made here.
fn is_numbered_here(step: &ImagingStep, order: Uuid) -> bool {
    let own = step_number(order, 0);
    let (beginning, _) = own.split_at(own.len() - 2);
    step.id
        .as_ref()
        .is_none_or(|id| id.len() == SHORT && id.starts_with(beginning))
}

/// The steps that an appointment says of an order. Several, at a device each, are those of an order that it makes itself; of one that was
/// ordered it says when and where the first is done, and nothing of what is done.
pub(crate) fn booked(said: &Imaging, known: Option<&Imaging>, order: Uuid) -> Imaging {
    let known = known.map_or(&[][..], |known| &known.steps);
    let mut out = said.clone();
    if known.is_empty() || said.steps.iter().any(|step| step.id.is_some()) {
        return out;
    }
    let is_its_own =
        known.len() == said.steps.len() && known.iter().all(|step| is_numbered_here(step, order));
    if !is_its_own {
        out.steps.truncate(1);
    }
    for step in &mut out.steps {
        (step.description, step.protocols) = (None, vec![]);
    }
    out
}

/// The UID of a study that nobody named: that of the order (PS3.5 B.2).
fn study_uid(order: Uuid) -> String {
    format!("2.25.{}", order.as_u128())
}

/// The numbers that tell an examination from others, where a sender gave them: of a requested procedure its accession
/// number, its own, and that of its study (PS3.4 K.6.1.2.2). `order` is the id of the order, which numbers made here have.
pub(crate) fn given(imaging: &Imaging, order: Option<Uuid>) -> [Option<String>; 3] {
    let (number, study) = (order.map(number), order.map(study_uid));
    let given = |said: &Option<String>, made: &Option<String>| said.clone().filter(|_| said != made);
    [
        given(&imaging.accession, &number),
        given(&imaging.procedure_id, &number),
        given(&imaging.study_uid, &study),
    ]
}

// ---- field by field ----

/// What is said of the imaging part of the order with this id, together with what is known of it: complete, with numbers
/// for all that has none.
pub(crate) fn planned(said: &Imaging, known: Option<&Imaging>, order: Uuid) -> Imaging {
    let none = Imaging::default();
    let known = known.unwrap_or(&none);
    let or = |said: &Option<String>, known: &Option<String>| said.clone().or_else(|| known.clone());
    Imaging {
        accession: Some(or(&said.accession, &known.accession).unwrap_or_else(|| number(order))),
        accession_issuer: or(&said.accession_issuer, &known.accession_issuer),
        procedure_id: Some(or(&said.procedure_id, &known.procedure_id).unwrap_or_else(|| number(order))),
        study_uid: Some(or(&known.study_uid, &said.study_uid).unwrap_or_else(|| study_uid(order))),
        transport: or(&said.transport, &known.transport),
        danger: said.danger.clone().or_else(|| known.danger.clone()),
        procedure: said.procedure.clone().or_else(|| known.procedure.clone()),
        steps: steps(&said.steps, &known.steps, order),
    }
}

fn steps(said: &[ImagingStep], known: &[ImagingStep], order: Uuid) -> Vec<ImagingStep> {
    let mut out: Vec<ImagingStep> = known.to_vec();
    for (idx, (step, id)) in said.iter().zip(numbers(said, order)).enumerate() {
        match place_of(idx, &id, said, known.len(), &out, order).and_then(|place| out.get_mut(place)) {
            Some(known) => {
                // A number that a modality may have by now stays.
                let begun = known.status.is_some_and(|status| weight(status) > 0);
                let id = if step.id.is_none() || begun {
                    known.id.clone()
                } else {
                    Some(id)
                };
                *known = ImagingStep {
                    id,
                    ..step_with(step, known)
                };
            }
            // What an appointment says of an order with several steps is of none of them, and no further one.
            None if step.id.is_none() && said.len() == 1 && known.len() > 1 => {}
            None => out.push(ImagingStep {
                id: Some(id),
                ..step.clone()
            }),
        }
    }
    out
}

/// The numbers of steps that are said: those without one have ours, in their order.
fn numbers(said: &[ImagingStep], order: Uuid) -> Vec<String> {
    let mut unnumbered = 0..;
    let own = said.iter().map(|step| {
        let ours = || step_number(order, unnumbered.next().unwrap_or_default());
        step.id.clone().unwrap_or_else(ours)
    });
    own.collect()
}

/// Which of the steps `all` the one is that is said at this place, under this number; so many of them were known before.
fn place_of(
    idx: usize,
    id: &str,
    said: &[ImagingStep],
    known: usize,
    all: &[ImagingStep],
    order: Uuid,
) -> Option<usize> {
    let of_number = all.iter().position(|known| known.id.as_deref() == Some(id));
    of_number.or_else(|| {
        // The only one that is said is the only one that is known, where one of the two has no number of a sender; of several
        // the first is the one that an appointment has made.
        let ours = |id: Option<&String>| id.is_none_or(|id| *id == step_number(order, 0));
        let is_known_ours = ours(all.first().and_then(|known| known.id.as_ref()));
        let same = match said.len() {
            1 => ours(said[idx].id.as_ref()) || is_known_ours,
            _ => idx == 0 && is_known_ours,
        };
        (same && known == 1).then_some(0)
    })
}

/// The numbers of the known steps that a plan leaves out which says all of them, and that no modality works on or has done.
pub(crate) fn left_out(said: &[ImagingStep], known: &[ImagingStep], order: Uuid) -> Vec<String> {
    let numbers = numbers(said, order);
    let mut places = vec![];
    for (idx, id) in numbers.iter().enumerate() {
        match place_of(idx, id, said, known.len(), known, order) {
            Some(place) => places.push(place),
            // One without a number says nothing of which of them it is, nor of which there are.
            None if said[idx].id.is_none() => return vec![],
            None => {}
        }
    }
    let goes = |(place, step): &(usize, &ImagingStep)| {
        let is_done = matches!(step.status, Some(StepStatus::Started | StepStatus::Completed));
        !places.contains(place) && !is_done
    };
    let all = known.iter().enumerate().filter(goes);
    all.filter_map(|(_, step)| step.id.clone()).collect()
}

fn step_with(said: &ImagingStep, known: &ImagingStep) -> ImagingStep {
    ImagingStep {
        id: said.id.clone(),
        modality: first(&said.modality, &known.modality),
        station_aes: stations(said, known),
        station_name: first(&said.station_name, &known.station_name),
        location: first(&said.location, &known.location),
        start: first(&said.start, &known.start),
        duration_minutes: first(&said.duration_minutes, &known.duration_minutes),
        description: first(&said.description, &known.description),
        protocols: filled(&said.protocols, &known.protocols),
        performer: first(&said.performer, &known.performer),
        premedication: first(&said.premedication, &known.premedication),
        contrast: first(&said.contrast, &known.contrast),
        status: first(&said.status, &known.status),
        note: first(&said.note, &known.note),
    }
}

/// The AE titles of a step. An appointment names a device and none of its titles: one of those that are known is meant where it is
/// called so; where it is another one than before, the titles are the other's, and go: one entry would name two devices.
fn stations(said: &ImagingStep, known: &ImagingStep) -> Vec<String> {
    let is = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    let (Some(name), true) = (
        &said.station_name,
        said.id.is_none() && said.station_aes.is_empty(),
    ) else {
        return filled(&said.station_aes, &known.station_aes);
    };
    let titles = known.station_aes.iter().filter(|title| is(title, name));
    let titled: Vec<String> = titles.cloned().collect();
    let is_another = known.station_name.as_ref().is_some_and(|known| !is(known, name));
    match titled.is_empty() && !is_another {
        true => known.station_aes.clone(),
        false => titled,
    }
}

/// What is said of a new MPPS. A step of which its order has none is a number of the device's own, and says as little as none
/// ((0040,0009) may be empty), where a step of the order is of its modality or station.
pub(crate) fn of_planned_steps(said: &PerformedStep, imaging: Option<&Imaging>) -> PerformedStep {
    let planned = imaging.map_or(&[][..], |imaging| imaging.steps.as_slice());
    let is_of_one = |one: &PerformedStep| planned.iter().any(|step| is_for(one, step, planned));
    let unnamed = PerformedStep {
        steps: vec![],
        ..said.clone()
    };
    match !is_of_one(said) && is_of_one(&unnamed) {
        true => unnamed,
        false => said.clone(),
    }
}

/// What is said of an MPPS, together with what is known of it. None: it has ended, and something else is said of it now;
/// an end is final (PS3.4 F.7.2.2.2).
pub(crate) fn complete_performed(
    said: &PerformedStep,
    known: Option<&PerformedStep>,
) -> Option<PerformedStep> {
    let Some(known) = known else {
        return Some(said.clone());
    };
    let now = PerformedStep {
        uid: said.uid.clone(),
        steps: {
            let more = said.steps.iter().filter(|step| !known.steps.contains(step));
            known.steps.iter().chain(more).cloned().collect()
        },
        status: first(&said.status, &known.status),
        id: first(&said.id, &known.id),
        station_ae: first(&said.station_ae, &known.station_ae),
        station_name: first(&said.station_name, &known.station_name),
        location: first(&said.location, &known.location),
        modality: first(&said.modality, &known.modality),
        started: first(&said.started, &known.started),
        ended: first(&said.ended, &known.ended),
        description: first(&said.description, &known.description),
        protocols: filled(&said.protocols, &known.protocols),
        reason: first(&said.reason, &known.reason),
        series: filled(&said.series, &known.series),
        note: first(&said.note, &known.note),
        appointment_before: known.appointment_before,
        encounter_before: known.encounter_before,
    };
    let is_open = match known.status {
        Some(PerformedStatus::InProgress) | None => true,
        Some(PerformedStatus::Completed | PerformedStatus::Discontinued) => false,
    };
    (is_open || now == *known).then_some(now)
}

/// What is said of a series, together with what is known of it. The first image speaks for its series: what a later one
/// says otherwise would write the study anew with each image.
pub(crate) fn complete_series(said: &Series, known: &Series) -> Series {
    Series {
        uid: said.uid.clone(),
        number: first(&known.number, &said.number),
        modality: first(&known.modality, &said.modality),
        description: first(&known.description, &said.description),
        body_site: first(&known.body_site, &said.body_site),
        laterality: first(&known.laterality, &said.laterality),
        started: first(&known.started, &said.started),
    }
}

fn first<T: Clone>(one: &Option<T>, other: &Option<T>) -> Option<T> {
    one.clone().or_else(|| other.clone())
}

fn filled<T: Clone>(one: &[T], other: &[T]) -> Vec<T> {
    if one.is_empty() {
        other.to_vec()
    } else {
        one.to_vec()
    }
}

/// The study UID and the accession number of an order stand among its identifiers, so that both find it.
pub(crate) fn with_identifiers(order: &mut Order) {
    let Some(imaging) = &order.imaging else { return };
    let study = imaging.study_uid.as_deref().map(uid);
    let number = imaging
        .accession
        .as_deref()
        .map(|value| accession(value, imaging.accession_issuer.as_deref()));
    for wanted in [study, number].into_iter().flatten() {
        let is_accession = wanted.kind_code() == Some(ACCESSION);
        let has = |id: &Identifier| {
            id.value == wanted.value
                && if is_accession {
                    id.kind_code() == Some(ACCESSION)
                } else {
                    id.system == wanted.system
                }
        };
        if !order.identifiers.iter().any(has) {
            order.identifiers.push(wanted);
        }
    }
}
