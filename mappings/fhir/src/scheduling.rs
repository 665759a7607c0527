//! HealthcareService, Schedule, Slot and Appointment (HL7 v2-to-FHIR: SCH, AIS, AIG, AIL, AIP).

use clinic::Record;
use clinic::scheduling::{
    Appointment, AppointmentStatus, Participant, ParticipantStatus, Schedule, Service, Slot,
};
use clinic::value::When;

use crate::context::{Context, unknown_reference};
use crate::json::{Json, Object, Value};
use crate::types::{self, STANDARD, concept_of, date_time_of, extension};

pub(crate) fn service(of: &Service, record: &Record, ctx: &Context<'_>) -> Object {
    let duration = of.duration_minutes.map(|minutes| {
        Object::new()
            .put("value", minutes)
            .put("unit", "min")
            .put("system", "http://unitsofmeasure.org")
            .put("code", "min")
    });
    Object::new()
        .put("resourceType", "HealthcareService")
        .put(
            "extension",
            vec![extension(
                "urn:punte:extension:duration",
                "valueDuration",
                duration,
            )],
        )
        .put("identifier", types::identifiers(&of.identifiers, record.meta.id))
        .put("active", of.active)
        .put("providedBy", ctx.optional(of.clinic.as_ref()))
        .put("type", one(concept_of(of.code.as_ref())))
        .put("specialty", one(concept_of(of.specialty.as_ref())))
        .put("name", of.name.as_ref())
        .put("extraDetails", of.preparation.as_ref())
}

/// A list of one.
fn one(value: impl Value) -> Vec<Option<Json>> {
    vec![value.json()]
}

pub(crate) fn schedule(of: &Schedule, record: &Record, ctx: &Context<'_>) -> Object {
    let mut actors = ctx.references(&of.actors);
    if actors.is_empty() {
        actors.push(unknown_reference());
    }
    Object::new()
        .put("resourceType", "Schedule")
        .put("identifier", types::identifiers(&of.identifiers, record.meta.id))
        .put("active", of.active)
        .put("serviceType", types::concepts(&of.service_types))
        .put("actor", actors)
        .put("planningHorizon", types::period(of.horizon.as_ref()))
        .put("comment", of.comment.as_ref())
}

pub(crate) fn slot(of: &Slot, record: &Record, ctx: &Context<'_>) -> Object {
    let mut out = Object::new()
        .put("resourceType", "Slot")
        .put("identifier", types::identifiers(&of.identifiers, record.meta.id))
        .put("serviceType", types::concepts(&of.service_types))
        .put("schedule", ctx.required(of.schedule.as_ref()))
        .put("status", of.status.map_or("busy-unavailable", |s| s.as_str()));
    moment(&mut out, "start", of.start.as_ref(), true);
    moment(&mut out, "end", of.end.as_ref(), true);
    out.put("overbooked", of.overbooked)
        .put("comment", of.comment.as_ref())
}

/// A moment; where only the day is known, the day stands beside it, and where one must be and none is, that.
fn moment(out: &mut Object, name: &'static str, when: Option<&When>, required: bool) {
    let instant = when.and_then(types::instant);
    let beside = match (&instant, when) {
        (None, Some(when)) => extension(
            "urn:punte:extension:date",
            "valueDateTime",
            types::date_time(when),
        ),
        (None, None) if required => Some(types::absent()),
        (Some(_), _) | (None, None) => None,
    };
    types::primitive(out, name, instant, vec![beside]);
}

pub(crate) fn appointment(of: &Appointment, record: &Record, ctx: &Context<'_>) -> Object {
    let status = of.status.unwrap_or(AppointmentStatus::Proposed);
    let called_off = matches!(status, AppointmentStatus::Cancelled | AppointmentStatus::NoShow);
    let notes = of.comments.iter().map(|note| {
        extension(
            "http://hl7.org/fhir/5.0/StructureDefinition/extension-Appointment.note",
            "valueAnnotation",
            types::annotation(note, ctx),
        )
    });
    let mut extensions = vec![
        extension(
            "http://hl7.org/fhir/5.0/StructureDefinition/extension-Appointment.subject",
            "valueReference",
            ctx.optional(of.patient.as_ref()),
        ),
        extension(
            format_args!("{STANDARD}event-statusReason"),
            "valueCodeableConcept",
            concept_of(of.event_reason.as_ref()),
        ),
        // app-4 allows a reason for cancelling only where it was cancelled.
        extension(
            format_args!("{STANDARD}event-statusReason"),
            "valueCodeableConcept",
            concept_of(of.cancellation_reason.as_ref().filter(|_| !called_off)),
        ),
        extension("urn:punte:extension:overbooked", "valueBoolean", of.overbooked),
        extension(
            "urn:punte:extension:booked-by",
            "valueString",
            of.channel.as_ref(),
        ),
    ];
    extensions.extend(notes);

    let comments: Vec<&str> = of
        .comments
        .iter()
        .map(|c| c.text.as_str())
        .filter(|t| !t.is_empty())
        .collect();
    let mut requested = vec![types::period(of.requested_period.as_ref())];
    if of.start.as_ref().is_some_and(|s| !s.has_time()) || of.end.as_ref().is_some_and(|e| !e.has_time()) {
        // A day is no moment: it can only be what was asked for.
        let day = |when: &Option<When>| when.as_ref().filter(|w| !w.has_time()).and_then(types::date_time);
        requested.push(
            Object::new()
                .put("start", day(&of.start))
                .put("end", day(&of.end)),
        );
    }

    let mut out = Object::new()
        .put("resourceType", "Appointment")
        .put("extension", extensions)
        .put("identifier", types::identifiers(&of.identifiers, record.meta.id));
    types::code_with_original(
        &mut out,
        "status",
        Some(status.as_str()),
        of.status_original.as_ref(),
    );
    out = out
        .put(
            "cancelationReason",
            concept_of(of.cancellation_reason.as_ref().filter(|_| called_off)),
        )
        .put("serviceCategory", one(concept_of(of.service_category.as_ref())))
        .put("serviceType", types::concepts(&of.service_types))
        .put("specialty", one(concept_of(of.specialty.as_ref())))
        .put("appointmentType", concept_of(of.kind.as_ref()))
        .put("reasonCode", types::concepts(&of.reasons))
        .put("priority", of.priority)
        .put("description", of.description.as_ref())
        .put(
            "supportingInformation",
            ctx.optional(of.parent.as_ref()).into_iter().collect::<Vec<_>>(),
        );
    let (start, end) = start_and_end(of);
    // app-2: both or neither; app-3: both, but for what has no time yet or no longer. What nobody told is said to be unknown.
    let may_lack = matches!(
        status,
        AppointmentStatus::Proposed | AppointmentStatus::Cancelled | AppointmentStatus::Waitlist
    );
    let lacks = |one: &Option<String>, other: &Option<String>| {
        (one.is_none() && (other.is_some() || !may_lack)).then(types::absent)
    };
    let (no_start, no_end) = (lacks(&start, &end), lacks(&end, &start));
    types::primitive(&mut out, "start", start, vec![no_start]);
    types::primitive(&mut out, "end", end, vec![no_end]);
    out.put(
        "minutesDuration",
        of.duration_minutes.filter(|minutes| 0 < *minutes),
    )
    .put("slot", ctx.references(&of.slots))
    .put("created", date_time_of(of.created.as_ref()))
    .put("comment", comments.join("\n"))
    .put("basedOn", ctx.references(&of.orders))
    .put("participant", participants(of, status, ctx))
    .put("requestedPeriod", requested)
}

/// The moments of an appointment. An end that isn't told follows from how long it takes.
fn start_and_end(of: &Appointment) -> (Option<String>, Option<String>) {
    let start = of.start.as_ref().and_then(types::instant);
    let end = of.end.as_ref().and_then(types::instant);
    let computed = || {
        let start = start.as_ref()?;
        let minutes = i64::from(of.duration_minutes.filter(|minutes| 0 < *minutes)?);
        let at: jiff::Timestamp = start.parse().ok()?;
        let end = at.checked_add(jiff::SignedDuration::from_mins(minutes)).ok()?;
        // In the offset that the start is written with.
        let offset = start
            .get(19..)
            .and_then(|rest| rest.find(['+', '-']).map(|idx| &rest[idx..]));
        let Some(offset) = offset else {
            return Some(end.to_string());
        };
        let sign = if offset.starts_with('-') { -1 } else { 1 };
        let hours: i32 = offset.get(1..3)?.parse().ok()?;
        let rest: i32 = offset.get(4..6)?.parse().ok()?;
        let offset = jiff::tz::Offset::from_seconds(sign * (hours * 3600 + rest * 60)).ok()?;
        Some(end.display_with_offset(offset).to_string())
    };
    let end = end.or_else(computed);
    (start, end)
}

fn participants(of: &Appointment, status: AppointmentStatus, ctx: &Context<'_>) -> Vec<Json> {
    let usual = if status.takes_time() {
        ParticipantStatus::Accepted
    } else {
        match status {
            AppointmentStatus::Cancelled => ParticipantStatus::Declined,
            AppointmentStatus::Proposed
            | AppointmentStatus::Pending
            | AppointmentStatus::Booked
            | AppointmentStatus::Arrived
            | AppointmentStatus::Fulfilled
            | AppointmentStatus::NoShow
            | AppointmentStatus::EnteredInError
            | AppointmentStatus::CheckedIn
            | AppointmentStatus::Waitlist => ParticipantStatus::NeedsAction,
        }
    };
    let patient = Participant {
        actor: of.patient.clone(),
        ..Participant::default()
    };
    let mut out: Vec<Json> = std::iter::once(&patient)
        .chain(&of.participants)
        .filter_map(|participant| {
            let actor = ctx.optional(participant.actor.as_ref());
            let roles = types::concepts(&participant.roles).json();
            // app-1: somebody, or at least in which role.
            if actor.is_none() && roles.is_none() {
                return None;
            }
            Object::new()
                .put("type", roles)
                .put("actor", actor)
                .put("status", participant.status.unwrap_or(usual).as_str())
                .put("period", types::period(participant.period.as_ref()))
                .json()
        })
        .collect();
    if out.is_empty() {
        out.extend(
            Object::new()
                .put("type", vec![types::unknown_concept()])
                .put("status", usual.as_str())
                .json(),
        );
    }
    out
}
