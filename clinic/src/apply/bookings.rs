//! Which time an appointment takes of whom.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::resolve::Work;
use super::{ApplyError, Booking};
use crate::change_set::Sort;
use crate::exchange::{MapError, Reason};
use crate::held::Writer;
use crate::kinds::{Aggregate, Body, Kind};
use crate::patch::Item;
use crate::places::{Room, RoomKind};
use crate::scheduling::{Appointment, AppointmentChange, AppointmentStatus, Participant, ParticipantStatus};
use crate::value::{Concept, Period, Ref, When};

/// What is no one's alone: a department or a building is there for many at a time.
pub(super) fn is_shared(room: &Room) -> bool {
    match room.kind {
        Some(
            RoomKind::Site
            | RoomKind::Building
            | RoomKind::Wing
            | RoomKind::Ward
            | RoomKind::Level
            | RoomKind::Corridor
            | RoomKind::House
            | RoomKind::Road
            | RoomKind::Area
            | RoomKind::Jurisdiction,
        ) => true,
        Some(RoomKind::Room | RoomKind::Bed | RoomKind::Vehicle | RoomKind::Cabinet) | None => false,
    }
}

/// True for one who placed, filled or entered the appointment, and has no other part in it: HL7 v2.5.1, 10.6.1, SCH-12,
/// SCH-16, SCH-20.
fn is_contact(participant: &Participant) -> bool {
    let is_role = |role: &Concept| {
        let code = role.code().unwrap_or_default();
        matches!(code, "placer contact" | "filler contact" | "enterer")
    };
    !participant.roles.is_empty() && participant.roles.iter().all(is_role)
}

/// The time that an aggregate takes, of all but those rooms that are shared. Spans of one practitioner or room that meet within one appointment are one span:
/// it does not collide with itself.
pub(super) fn bookings(aggregate: &Aggregate, shared: &[Uuid]) -> Vec<Booking> {
    let Aggregate::Appointment(appointment) = aggregate else {
        return vec![];
    };
    if !appointment.status.is_some_and(AppointmentStatus::takes_time) {
        return vec![];
    }
    let mut all: Vec<Booking> = appointment
        .participants
        .iter()
        .filter_map(|p| booking(appointment, p))
        .filter(|booking| !shared.contains(&booking.resource))
        .collect();
    all.sort_by_key(|b| (b.resource, b.start, b.end));
    let mut out: Vec<Booking> = Vec::with_capacity(all.len());
    for next in all {
        match out.last_mut() {
            Some(last) if last.resource == next.resource && next.start <= last.end => {
                last.end = last.end.max(next.end);
            }
            _ => out.push(next),
        }
    }
    out
}

fn booking(appointment: &Appointment, participant: &Participant) -> Option<Booking> {
    let Some(Ref::Id(Kind::Practitioner | Kind::Room, resource)) = participant.actor else {
        return None;
    };
    if participant.status == Some(ParticipantStatus::Declined) || is_contact(participant) {
        return None;
    }
    let own = participant.period.as_ref();
    let (start, end) = own.and_then(span).or_else(|| whole(appointment))?;
    Some(Booking {
        resource,
        start,
        end,
        overbooked: appointment.overbooked == Some(true),
    })
}

/// What an appointment that takes place after all, or that nobody came to, was cancelled for is past (HL7 SCH-6).
pub(super) fn end_cancellation(before: &Appointment, after: &mut Appointment, said: &[&AppointmentChange]) {
    let is_cancelled = |one: &Appointment| {
        matches!(
            one.status,
            Some(AppointmentStatus::Cancelled | AppointmentStatus::EnteredInError)
        )
    };
    if is_cancelled(before)
        && !is_cancelled(after)
        && said.iter().all(|say| say.cancellation_reason.is_absent())
    {
        after.cancellation_reason = None;
    }
}

/// An appointment that begins at another time: those of whom nothing is said go with it, each as long before or after it
/// as they were, and so does its end. HL7 v2.5.1, 10.6.4: times of resources are those of the appointment, or beside it.
pub(super) fn move_along(before: &Appointment, after: &mut Appointment, said: &[&AppointmentChange]) {
    let (Some(old), Some(new)) = (moment(before.start.as_ref()), moment(after.start.as_ref())) else {
        return;
    };
    let seconds = new.as_second() - old.as_second();
    if seconds == 0 {
        return;
    }
    let (old_end, said_end) = (before.end.clone(), said.iter().any(|say| !say.end.is_absent()));
    if !said_end && let Some(end) = after.end.as_ref().and_then(|end| end.shifted(seconds)) {
        after.end = Some(end);
    }
    let named: Vec<_> = said
        .iter()
        .flat_map(|say| say.participants.values())
        .map(Item::group)
        .collect();
    for participant in &mut after.participants {
        if named.contains(&participant.group()) {
            continue;
        }
        let Some(period) = &mut participant.period else {
            continue;
        };
        let to_the_end = period.end.is_some() && period.end == old_end;
        let moved = |when: &Option<When>| {
            when.as_ref()
                .map(|when| when.shifted(seconds).unwrap_or(when.clone()))
        };
        *period = Period {
            start: moved(&period.start),
            end: match to_the_end {
                true => after.end.clone(),
                false => moved(&period.end),
            },
        };
    }
}

/// Refuses times of an appointment by which it is over before it begins, where a person writes them: it would take nobody's time. Of a
/// message what is wrong was left out before.
pub(super) fn check_times(
    work: &Work<'_>,
    changes: &[usize],
    after: &Aggregate,
    writer: Writer<'_>,
) -> Result<(), ApplyError> {
    let (Aggregate::Appointment(after), Writer::Actor(_)) = (after, writer) else {
        return Ok(());
    };
    let says_times = |idx: &&usize| match &work.set.changes[**idx].say {
        Body::Appointment(say) => !say.start.is_absent() || !say.end.is_absent(),
        _ => false,
    };
    let (start, end) = (moment(after.start.as_ref()), moment(after.end.as_ref()));
    let is_over_before = start.zip(end).is_some_and(|(start, end)| end <= start);
    match changes.iter().find(says_times) {
        Some(idx) if is_over_before => {
            let place = format!("changes[{idx}].say.Appointment.end");
            let what = "The appointment ends before it begins, or as it begins, and would take nobody's time. Say a later end.";
            Err(MapError::new(Reason::DataType, Some(&place), what).into())
        }
        _ => Ok(()),
    }
}

/// Takes out of an appointment who took part in it before, and is of a sort of which the set names all others (HL7 v2.5.1, 10.6.4.2:
/// what a change does not name stays).
pub(super) fn keep_others(
    work: &mut Work<'_>,
    place: usize,
    changes: &[usize],
    after: &mut Aggregate,
) -> Result<(), ApplyError> {
    let (set, before) = (work.set, work.touched[place].before.clone());
    let (Some(Aggregate::Appointment(before)), Aggregate::Appointment(after)) =
        (before.as_ref().map(|record| &record.aggregate), after)
    else {
        return Ok(());
    };
    for idx in changes {
        let change = &set.changes[*idx];
        let Body::Appointment(say) = &change.say else {
            continue;
        };
        if work.mute[*idx] || change.names_all.is_empty() {
            continue;
        }
        let mut named = vec![];
        for participant in say.participants.values() {
            named.extend(work.local_or_id(participant.actor.as_ref())?);
        }
        let mut goes = vec![];
        for participant in &before.participants {
            let Some(Ref::Id(kind, id)) = participant.actor else {
                continue;
            };
            let record = work.reader.load(kind, id)?;
            let sort = record.and_then(|record| sort_of(&record.aggregate));
            if !named.contains(&id) && sort.is_some_and(|sort| change.names_all.contains(&sort)) {
                goes.push(id);
            }
        }
        let stays = |participant: &Participant| {
            let id = participant.actor.as_ref().and_then(Ref::id);
            id.is_none_or(|id| !goes.contains(&id))
        };
        after.participants.retain(stays);
    }
    Ok(())
}

/// What takes part; none: whom it is for.
fn sort_of(actor: &Aggregate) -> Option<Sort> {
    match actor {
        Aggregate::Practitioner(_) => Some(Sort::People),
        Aggregate::Room(room) if room.kind.is_some() => Some(Sort::Places),
        Aggregate::Site(_) => Some(Sort::Places),
        Aggregate::Room(_) => Some(Sort::Things),
        _ => None,
    }
}

fn span(period: &Period) -> Option<(Timestamp, Timestamp)> {
    let (start, end) = (moment(period.start.as_ref())?, moment(period.end.as_ref())?);
    (start < end).then_some((start, end))
}

fn whole(appointment: &Appointment) -> Option<(Timestamp, Timestamp)> {
    let start = moment(appointment.start.as_ref())?;
    let by_duration = || {
        let minutes = SignedDuration::from_mins(i64::from(appointment.duration_minutes?));
        start.checked_add(minutes).ok()
    };
    let end = moment(appointment.end.as_ref()).or_else(by_duration)?;
    (start < end).then_some((start, end))
}

/// A date without a time of day takes no exact time of anybody.
fn moment(when: Option<&When>) -> Option<Timestamp> {
    when.filter(|when| when.has_time())?.earliest(&TimeZone::UTC)
}
