//! Scheduling: what is offered, when, by whom, and what is booked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aggregate::aggregate;
use crate::patch::Item;
use crate::refs::no_refs;
use crate::value::{Annotation, Concept, Period, Ref, When, codes};

aggregate! {
    /// Something that can be booked, from the clinic's catalogue.
    Service, ServiceChange {
        /// False: not offered any more.
        active: Option<bool>,
        /// Its code and name.
        code: Option<Concept>,
        /// Its name.
        name: Option<String>,
        /// Which specialty gives it.
        specialty: Option<Concept>,
        /// How long it takes, in minutes.
        duration_minutes: Option<u32>,
        /// How to prepare for it.
        preparation: Option<String>,
        /// Who offers it.
        clinic: Option<Ref>,
    }
}

aggregate! {
    /// Whose time it is that slots are cut from.
    Schedule, ScheduleChange {
        /// False: closed.
        active: Option<bool>,
        /// Whose: practitioners, rooms, services.
        actors: Vec<Ref>,
        /// What it is good for.
        service_types: Vec<Concept>,
        /// From when to when it is planned.
        horizon: Option<Period>,
        /// A remark.
        comment: Option<String>,
    }
}

codes! {
    /// Whether a slot can be booked.
    SlotStatus { Free = "free", Busy = "busy", Unavailable = "busy-unavailable", Tentative = "busy-tentative", EnteredInError = "entered-in-error" }
}

aggregate! {
    /// A piece of a schedule.
    Slot, SlotChange {
        /// Of which schedule.
        schedule: Option<Ref>,
        /// Whether it can be booked.
        status: Option<SlotStatus>,
        /// When it begins.
        start: Option<When>,
        /// When it ends.
        end: Option<When>,
        /// What it is good for.
        service_types: Vec<Concept>,
        /// True: booked beyond what there is room for.
        overbooked: Option<bool>,
        /// A remark.
        comment: Option<String>,
    }
}

codes! {
    /// How far an appointment is.
    AppointmentStatus {
        Proposed = "proposed", Pending = "pending", Booked = "booked", Arrived = "arrived", Fulfilled = "fulfilled",
        Cancelled = "cancelled", NoShow = "noshow", EnteredInError = "entered-in-error", CheckedIn = "checked-in", Waitlist = "waitlist",
    }
}

impl AppointmentStatus {
    /// True where the time of those who take part is taken by it.
    pub fn takes_time(self) -> bool {
        match self {
            AppointmentStatus::Pending
            | AppointmentStatus::Booked
            | AppointmentStatus::Arrived
            | AppointmentStatus::Fulfilled
            | AppointmentStatus::CheckedIn => true,
            AppointmentStatus::Proposed
            | AppointmentStatus::Cancelled
            | AppointmentStatus::NoShow
            | AppointmentStatus::EnteredInError
            | AppointmentStatus::Waitlist => false,
        }
    }
}

codes! {
    /// Whether somebody has agreed to take part.
    ParticipantStatus { Accepted = "accepted", Declined = "declined", Tentative = "tentative", NeedsAction = "needs-action" }
}

/// Somebody or something that an appointment needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Participant {
    /// Who or what: patient, practitioner, room …
    pub actor: Option<Ref>,
    /// In which role.
    pub roles: Vec<Concept>,
    /// Whether it has agreed.
    pub status: Option<ParticipantStatus>,
    /// When it is needed, where that is not the whole time.
    pub period: Option<Period>,
}

aggregate! {
    /// A booked (or once booked) time.
    Appointment, AppointmentChange {
        /// How far it is.
        status: Option<AppointmentStatus>,
        /// The status as its sender coded it.
        status_original: Option<Concept>,
        /// Whose.
        patient: Option<Ref>,
        /// What for, from the catalogue or in the sender's codes.
        service_types: Vec<Concept>,
        /// Which category of service.
        service_category: Option<Concept>,
        /// Which specialty.
        specialty: Option<Concept>,
        /// What kind of appointment: walk-in, check-up, follow-up …
        kind: Option<Concept>,
        /// Why.
        reasons: Vec<Concept>,
        /// Why it was cancelled.
        cancellation_reason: Option<Concept>,
        /// Why this event happened (HL7 SCH-6).
        event_reason: Option<Concept>,
        /// 0 undefined, 1 highest.
        priority: Option<u32>,
        /// In words.
        description: Option<String>,
        /// When it begins.
        start: Option<When>,
        /// When it ends.
        end: Option<When>,
        /// How long it takes, in minutes.
        duration_minutes: Option<u32>,
        /// When it was made.
        created: Option<When>,
        /// Remarks, joined by line feeds.
        comments: Vec<Annotation>,
        /// Who and what it needs, the patient whose it is aside; further patients too.
        participants: Vec<Participant>,
        /// The orders that it is for.
        orders: Vec<Ref>,
        /// The slots that it takes.
        slots: Vec<Ref>,
        /// True: booked beyond what there is room for.
        overbooked: Option<bool>,
        /// The appointment that this one is a part of (HL7 SCH-5).
        parent: Option<Ref>,
        /// By which way it was booked: online, call centre, walk-in, api, hl7, fhir.
        channel: Option<String>,
        /// For when it was asked.
        requested_period: Option<Period>,
    }
}

impl crate::refs::Refs for Participant {
    fn refs(&self, visit: &mut dyn FnMut(&Ref)) {
        self.actor.refs(visit);
    }
    fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut Ref)) {
        self.actor.refs_mut(visit);
    }
    /// One that never named an actor stays (somebody in that role is needed); one whose actor goes, goes too.
    fn settle(&mut self, keep: &mut dyn FnMut(&mut Ref) -> bool) -> bool {
        self.actor.as_mut().is_none_or(keep)
    }
}
no_refs!(SlotStatus, AppointmentStatus, ParticipantStatus);

impl Item for Participant {
    /// The same actor in the same role.
    fn group(&self) -> Option<String> {
        Some(format!(
            "{:?}|{:?}",
            self.actor,
            self.roles.first().and_then(Concept::code)
        ))
    }
}
