//! SIU^S23 and S24 → time of a resource that is blocked, or free again. HL7 v2.5.1, 10.4.8 and 10.4.9.

use clinic::exchange::{MapError, Place};
use clinic::patch::{Items, Patch};
use clinic::scheduling::{AppointmentChange, ScheduleChange, SlotChange, SlotStatus};
use clinic::value::{Concept, Period, Ref, When};

use super::collect::{Collected, Seg, natural, not_by_number};
use super::notes;
use super::scheduling::{Resource, Schedule, actor, numbers, span, times};
use super::terms::{self, NO_TABLE};

/// S23, S24 → the time of a resource that is blocked, or free again.
pub(super) fn block<'m>(
    out: &mut Collected<'m>,
    event: &str,
    schedule: &Schedule<'m>,
    sch: Seg<'m>,
) -> Result<(), MapError> {
    let status = if event == "S23" {
        SlotStatus::Unavailable
    } else {
        SlotStatus::Free
    };
    let identifiers = numbers(sch);
    let why = terms::words(sch.f(6).first());
    let comment: Vec<String> = why.into_iter().chain(notes::texts(&schedule.notes)).collect();
    let service_types = schedule
        .services
        .iter()
        .filter_map(|ais| terms::concept(ais.f(3).first(), NO_TABLE));
    let service_types: Vec<Concept> = service_types.collect();
    let mut made = 0;
    let mut timeless: Option<Place> = None;
    for resource in &schedule.resources {
        let (Some(start), Some(end)) = blocked_time(schedule, sch, *resource) else {
            timeless.get_or_insert_with(|| resource.times()[0].place());
            continue;
        };
        let Some(actor) = actor(out, *resource) else {
            continue;
        };
        let Ref::Local(actor_key) = &actor else { continue };
        let (of, _) = out.once("schedule", actor_key, || {
            let say = ScheduleChange {
                actors: Items::merge(vec![actor.clone()]),
                ..ScheduleChange::default()
            };
            (natural(Some(&actor), "schedule"), say.into())
        });
        let name = identifiers
            .first()
            .map_or_else(|| start.to_string(), |id| id.value.clone());
        let say = SlotChange {
            identifiers: Items::merge(identifiers.clone()),
            schedule: Patch::Set(of.clone()),
            status: Patch::Set(status),
            start: Patch::Set(start),
            end: Patch::Set(end),
            service_types: Items::merge(service_types.clone()),
            comment: (!comment.is_empty()).then(|| comment.join("\n")).into(),
            ..SlotChange::default()
        };
        // Its number is that of the whole block, which may take the time of several.
        let find = not_by_number(natural(Some(&of), format!("slot|{name}")));
        out.add_found("slot", find, say);
        made += 1;
    }
    match timeless {
        _ if made > 0 => Ok(()),
        Some(place) => Err(MapError::missing(
            &place.0,
            "from when to when the time is blocked or opened",
        )),
        None => Err(MapError::missing(
            "AIL-3",
            "whose time is blocked or opened (AIG, AIL or AIP)",
        )),
    }
}

/// The times of the resource itself, else those of the whole block.
fn blocked_time(
    schedule: &Schedule<'_>,
    sch: Seg<'_>,
    resource: Resource<'_>,
) -> (Option<When>, Option<When>) {
    let own = span(resource.times(), None);
    if let Some(Period {
        start: start @ Some(_),
        end: end @ Some(_),
    }) = own
    {
        return (start, end);
    }
    let mut whole = AppointmentChange::default();
    times(schedule, sch, &mut whole);
    let period = span(resource.times(), whole.start.value()).unwrap_or_default();
    let start = period.start.or_else(|| whole.start.value().cloned());
    (start, period.end.or_else(|| whole.end.value().cloned()))
}
