//! What can happen to an aggregate, as words: the event is `Kind.verb`.

use crate::diagnostics::{ObservationStatus, Order, OrderStatus, ResultStatus, SpecimenStatus};
use crate::imaging::{ImagingStudyStatus, Progress, progress};
use crate::kinds::{Aggregate, Kind};
use crate::records::{
    DocumentStatus, Encounter, EncounterStatus, EventStatus, FinancialStatus, MedicationOrderStatus,
    StayStatus,
};
use crate::scheduling::{Appointment, AppointmentStatus, SlotStatus};
use crate::value::Ref;

/// It is new, and no verb of a state says more.
pub const CREATED: &str = "created";
/// It changed, and no verb of a state says more.
pub const UPDATED: &str = "updated";
/// Another record was merged into this one.
pub const MERGED: &str = "merged";
/// A merge into this one was undone.
pub const UNMERGED: &str = "unmerged";
/// This record was merged into another one.
pub const REPLACED: &str = "replaced";
/// This record is in use again: its merge was undone.
pub const RESTORED: &str = "restored";

/// The verbs of the states of a kind, beside `created` and `updated`.
pub fn verbs(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Patient => &[MERGED, UNMERGED, REPLACED, RESTORED],
        Kind::Appointment => &[
            "proposed",
            "requested",
            "booked",
            "rescheduled",
            "arrived",
            "checked-in",
            "fulfilled",
            "cancelled",
            "noshow",
            "waitlisted",
            "withdrawn",
        ],
        Kind::Slot => &["freed", "taken", "blocked", "held", "withdrawn"],
        Kind::Encounter => &[
            "planned",
            "arrived",
            "triaged",
            "started",
            "transferred",
            "left",
            "returned",
            "finished",
            "discharge-cancelled",
            "cancelled",
            "reinstated",
            "withdrawn",
        ],
        Kind::Order => &[
            "drafted",
            "placed",
            "held",
            "resumed",
            "started",
            "returned",
            "cancelled",
            "discontinued",
            "completed",
            "reopened",
            "withdrawn",
        ],
        Kind::MedicationOrder => &[
            "drafted",
            "placed",
            "held",
            "resumed",
            "cancelled",
            "stopped",
            "completed",
            "reopened",
            "withdrawn",
        ],
        Kind::Specimen => &["received", "rejected", "withdrawn"],
        Kind::Result => &[
            "registered",
            "reported",
            "issued",
            "corrected",
            "cancelled",
            "withdrawn",
        ],
        Kind::Observation => &["corrected", "cancelled", "withdrawn"],
        Kind::Procedure => &[
            "started",
            "held",
            "resumed",
            "completed",
            "stopped",
            "cancelled",
            "withdrawn",
        ],
        Kind::Coverage => &["cancelled", "withdrawn"],
        Kind::Document => &["superseded", "withdrawn"],
        Kind::ImagingStudy => &["registered", "available", "cancelled", "withdrawn"],
        Kind::RelatedPerson
        | Kind::Practitioner
        | Kind::Clinic
        | Kind::Site
        | Kind::Room
        | Kind::Service
        | Kind::Schedule
        | Kind::Condition
        | Kind::Allergy
        | Kind::ImagingInstance => &[],
    }
}

/// Every event that there is, `Kind.verb`, in the order of the kinds.
pub fn events() -> Vec<String> {
    let mut events = vec![];
    for kind in Kind::ALL {
        for verb in [CREATED, UPDATED].iter().chain(verbs(*kind)) {
            events.push(format!("{}.{verb}", kind.as_str()));
        }
    }
    events
}

/// What happened between two versions; `before` is none for a new one.
pub fn verb(before: Option<&Aggregate>, after: &Aggregate) -> &'static str {
    let plain = if before.is_none() { CREATED } else { UPDATED };
    // Each arm takes the earlier one of its own kind; another kind can't be, and counts as none.
    macro_rules! old {
        ($kind:ident) => {
            before.and_then(|b| match b {
                Aggregate::$kind(old) => Some(&**old),
                _ => None,
            })
        };
    }
    let moved = match after {
        Aggregate::Appointment(new) => appointment(old!(Appointment), new),
        Aggregate::Encounter(new) => encounter(old!(Encounter), new),
        Aggregate::Order(new) => order_of(old!(Order), new),
        Aggregate::MedicationOrder(new) => moved(
            old!(MedicationOrder).and_then(|o| o.status),
            new.status,
            medication_order,
        ),
        Aggregate::Specimen(new) => moved(old!(Specimen).and_then(|o| o.status), new.status, specimen),
        Aggregate::Result(new) => moved(old!(Result).and_then(|o| o.status), new.status, result),
        Aggregate::Observation(new) => {
            moved(old!(Observation).and_then(|o| o.status), new.status, observation)
        }
        Aggregate::Procedure(new) => moved(old!(Procedure).and_then(|o| o.status), new.status, procedure),
        Aggregate::Slot(new) => moved(old!(Slot).and_then(|o| o.status), new.status, slot),
        Aggregate::Coverage(new) => moved(old!(Coverage).and_then(|o| o.status), new.status, coverage),
        Aggregate::Document(new) => moved(old!(Document).and_then(|o| o.status), new.status, document),
        Aggregate::ImagingStudy(new) => moved(
            old!(ImagingStudy).and_then(|o| o.status),
            new.status,
            imaging_study,
        ),
        Aggregate::Patient(_)
        | Aggregate::RelatedPerson(_)
        | Aggregate::Practitioner(_)
        | Aggregate::Clinic(_)
        | Aggregate::Site(_)
        | Aggregate::Room(_)
        | Aggregate::Service(_)
        | Aggregate::Schedule(_)
        | Aggregate::Condition(_)
        | Aggregate::Allergy(_)
        | Aggregate::ImagingInstance(_) => None,
    };
    moved.unwrap_or(plain)
}

/// The verb of a state, where the state is another one than before.
fn moved<S: Copy + PartialEq>(
    old: Option<S>,
    new: Option<S>,
    verb: fn(Option<S>, S) -> Option<&'static str>,
) -> Option<&'static str> {
    let new = new?;
    if old == Some(new) { None } else { verb(old, new) }
}

fn appointment(old: Option<&Appointment>, new: &Appointment) -> Option<&'static str> {
    let state = moved(old.and_then(|o| o.status), new.status, |_, new| {
        Some(match new {
            AppointmentStatus::Proposed => "proposed",
            AppointmentStatus::Pending => "requested",
            AppointmentStatus::Booked => "booked",
            AppointmentStatus::Arrived => "arrived",
            AppointmentStatus::CheckedIn => "checked-in",
            AppointmentStatus::Fulfilled => "fulfilled",
            AppointmentStatus::Cancelled => "cancelled",
            AppointmentStatus::NoShow => "noshow",
            AppointmentStatus::Waitlist => "waitlisted",
            AppointmentStatus::EnteredInError => "withdrawn",
        })
    });
    let rescheduled = || {
        let old = old?;
        let shifted = (&old.start, &old.end) != (&new.start, &new.end);
        (shifted && old.start.is_some() && new.status.is_some_and(AppointmentStatus::takes_time))
            .then_some("rescheduled")
    };
    state.or_else(rescheduled)
}

fn encounter(old: Option<&Encounter>, new: &Encounter) -> Option<&'static str> {
    let state = moved(old.and_then(|o| o.status), new.status, |old, new| {
        Some(match (old, new) {
            (_, EncounterStatus::Cancelled) => "cancelled",
            (_, EncounterStatus::EnteredInError) => "withdrawn",
            (_, EncounterStatus::Finished) => "finished",
            (_, EncounterStatus::Unknown) => return None,
            (Some(EncounterStatus::Finished), _) => "discharge-cancelled",
            (Some(EncounterStatus::Cancelled | EncounterStatus::EnteredInError), _) => "reinstated",
            (_, EncounterStatus::Planned) => "planned",
            (_, EncounterStatus::Arrived) => "arrived",
            (_, EncounterStatus::Triaged) => "triaged",
            (_, EncounterStatus::OnLeave) => "left",
            (Some(EncounterStatus::OnLeave), EncounterStatus::InProgress) => "returned",
            (_, EncounterStatus::InProgress) => "started",
        })
    });
    let transferred = || {
        let (before, after) = (active_place(old?)?, active_place(new)?);
        (before != after).then_some("transferred")
    };
    state.or_else(transferred)
}

fn active_place(encounter: &Encounter) -> Option<&Ref> {
    let active = encounter
        .stays
        .iter()
        .find(|stay| stay.status == Some(StayStatus::Active) && !stay.temporary);
    active.map(|stay| &stay.place)
}

/// What the modalities say comes before the state: that an examination begins does not move it.
fn order_of(old: Option<&Order>, new: &Order) -> Option<&'static str> {
    let (before, now) = (old.and_then(progress), progress(new));
    let by_progress = match (before, now) {
        (before, now) if before == now => None,
        (_, Some(Progress::Started)) => Some("started"),
        (Some(_), Some(Progress::Scheduled)) => Some("returned"),
        (_, Some(Progress::Discontinued)) => Some("discontinued"),
        (None, Some(Progress::Scheduled)) | (_, Some(Progress::Completed) | None) => None,
    };
    by_progress.or_else(|| moved(old.and_then(|o| o.status), new.status, order))
}

fn order(old: Option<OrderStatus>, new: OrderStatus) -> Option<&'static str> {
    Some(match (old, new) {
        (_, OrderStatus::Draft) => "drafted",
        (Some(OrderStatus::OnHold), OrderStatus::Active) => "resumed",
        (Some(OrderStatus::Completed | OrderStatus::Revoked), OrderStatus::Active) => "reopened",
        (_, OrderStatus::Active) => "placed",
        (_, OrderStatus::OnHold) => "held",
        (_, OrderStatus::Revoked) => "cancelled",
        (_, OrderStatus::Completed) => "completed",
        (_, OrderStatus::EnteredInError) => "withdrawn",
        (_, OrderStatus::Unknown) => return None,
    })
}

fn medication_order(old: Option<MedicationOrderStatus>, new: MedicationOrderStatus) -> Option<&'static str> {
    Some(match (old, new) {
        (_, MedicationOrderStatus::Draft) => "drafted",
        (Some(MedicationOrderStatus::OnHold), MedicationOrderStatus::Active) => "resumed",
        (
            Some(
                MedicationOrderStatus::Completed
                | MedicationOrderStatus::Cancelled
                | MedicationOrderStatus::Stopped,
            ),
            MedicationOrderStatus::Active,
        ) => "reopened",
        (_, MedicationOrderStatus::Active) => "placed",
        (_, MedicationOrderStatus::OnHold) => "held",
        (_, MedicationOrderStatus::Cancelled) => "cancelled",
        (_, MedicationOrderStatus::Stopped) => "stopped",
        (_, MedicationOrderStatus::Completed) => "completed",
        (_, MedicationOrderStatus::EnteredInError) => "withdrawn",
        (_, MedicationOrderStatus::Unknown) => return None,
    })
}

fn specimen(_: Option<SpecimenStatus>, new: SpecimenStatus) -> Option<&'static str> {
    match new {
        SpecimenStatus::Available => Some("received"),
        SpecimenStatus::Unsatisfactory => Some("rejected"),
        SpecimenStatus::EnteredInError => Some("withdrawn"),
        SpecimenStatus::Unavailable => None,
    }
}

fn result(_: Option<ResultStatus>, new: ResultStatus) -> Option<&'static str> {
    match new {
        ResultStatus::Registered => Some("registered"),
        ResultStatus::Partial | ResultStatus::Preliminary => Some("reported"),
        ResultStatus::Final => Some("issued"),
        ResultStatus::Amended | ResultStatus::Corrected | ResultStatus::Appended => Some("corrected"),
        ResultStatus::Cancelled => Some("cancelled"),
        ResultStatus::EnteredInError => Some("withdrawn"),
        ResultStatus::Unknown => None,
    }
}

fn observation(_: Option<ObservationStatus>, new: ObservationStatus) -> Option<&'static str> {
    match new {
        ObservationStatus::Amended | ObservationStatus::Corrected => Some("corrected"),
        ObservationStatus::Cancelled => Some("cancelled"),
        ObservationStatus::EnteredInError => Some("withdrawn"),
        ObservationStatus::Registered
        | ObservationStatus::Preliminary
        | ObservationStatus::Final
        | ObservationStatus::Unknown => None,
    }
}

fn procedure(old: Option<EventStatus>, new: EventStatus) -> Option<&'static str> {
    match (old, new) {
        (Some(EventStatus::OnHold), EventStatus::InProgress) => Some("resumed"),
        (_, EventStatus::InProgress) => Some("started"),
        (_, EventStatus::OnHold) => Some("held"),
        (_, EventStatus::Completed) => Some("completed"),
        (_, EventStatus::Stopped) => Some("stopped"),
        (_, EventStatus::NotDone) => Some("cancelled"),
        (_, EventStatus::EnteredInError) => Some("withdrawn"),
        (_, EventStatus::Preparation | EventStatus::Unknown) => None,
    }
}

fn slot(_: Option<SlotStatus>, new: SlotStatus) -> Option<&'static str> {
    Some(match new {
        SlotStatus::Free => "freed",
        SlotStatus::Busy => "taken",
        SlotStatus::Unavailable => "blocked",
        SlotStatus::Tentative => "held",
        SlotStatus::EnteredInError => "withdrawn",
    })
}

fn coverage(_: Option<FinancialStatus>, new: FinancialStatus) -> Option<&'static str> {
    match new {
        FinancialStatus::Cancelled => Some("cancelled"),
        FinancialStatus::EnteredInError => Some("withdrawn"),
        FinancialStatus::Active | FinancialStatus::Draft => None,
    }
}

fn document(_: Option<DocumentStatus>, new: DocumentStatus) -> Option<&'static str> {
    match new {
        DocumentStatus::Superseded => Some("superseded"),
        DocumentStatus::EnteredInError => Some("withdrawn"),
        DocumentStatus::Current => None,
    }
}

fn imaging_study(_: Option<ImagingStudyStatus>, new: ImagingStudyStatus) -> Option<&'static str> {
    match new {
        ImagingStudyStatus::Registered => Some("registered"),
        ImagingStudyStatus::Available => Some("available"),
        ImagingStudyStatus::Cancelled => Some("cancelled"),
        ImagingStudyStatus::EnteredInError => Some("withdrawn"),
        ImagingStudyStatus::Unknown => None,
    }
}
