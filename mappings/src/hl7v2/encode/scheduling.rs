//! Appointments and blocked time → SCH, TQ1, NTE, RGS, AIS, AIG, AIL, AIP; SIU^S12 to S26. HL7 v2.5.1, chapter 10.

use clinic::diagnostics::Order;
use clinic::patch::{Item, Items};
use clinic::places::Room;
use clinic::scheduling::{Appointment, AppointmentStatus, Participant, ParticipantStatus, Slot};
use clinic::value::{Annotation, Concept, Identifier, Period, Ref};
use clinic::{Aggregate, Body, Change};

use super::datatypes as data;
use super::notes;
use super::terms;
use super::timing;
use super::wire::{Seg, comps, ot, t};
use super::world::{Said, World};
use crate::hl7v2::decode::Profile;
use crate::hl7v2::decode::terms::{NO_TABLE, table};

/// What stands before the patient, and what stands behind.
pub(super) struct Schedule {
    /// SCH, TQ1, NTE.
    pub(super) head: Vec<Seg>,
    /// RGS, AIS, AIG, AIL, AIP, with NTE.
    pub(super) resources: Vec<Seg>,
}

/// What an event does to those who take part, where nothing else is said: the same as in decoding.
fn agreed(status: Option<AppointmentStatus>) -> ParticipantStatus {
    match status {
        Some(AppointmentStatus::Proposed | AppointmentStatus::Pending | AppointmentStatus::Waitlist) => {
            ParticipantStatus::NeedsAction
        }
        Some(AppointmentStatus::Cancelled | AppointmentStatus::EnteredInError) => ParticipantStatus::Declined,
        Some(
            AppointmentStatus::Booked
            | AppointmentStatus::Arrived
            | AppointmentStatus::Fulfilled
            | AppointmentStatus::NoShow
            | AppointmentStatus::CheckedIn,
        )
        | None => ParticipantStatus::Accepted,
    }
}

/// The trigger for how far an appointment is, and for the event of the clinic that is told, where it is one. HL7 v2.5.1, 10.3.
pub(super) fn event_of(status: Option<AppointmentStatus>, told: &str) -> &'static str {
    let by_state = match status {
        Some(AppointmentStatus::Cancelled) => "S15",
        Some(AppointmentStatus::EnteredInError) => "S17",
        Some(AppointmentStatus::NoShow) => "S26",
        Some(
            AppointmentStatus::Proposed
            | AppointmentStatus::Pending
            | AppointmentStatus::Booked
            | AppointmentStatus::Arrived
            | AppointmentStatus::Fulfilled
            | AppointmentStatus::CheckedIn
            | AppointmentStatus::Waitlist,
        )
        | None => "S12",
    };
    // What was booked before is moved or changed, and not booked again.
    match (by_state, told.strip_prefix("Appointment.")) {
        ("S12", Some("rescheduled")) => "S13",
        ("S12", Some("updated" | "arrived" | "checked-in" | "fulfilled")) => "S14",
        (by_state, _) => by_state,
    }
}

/// Appointment → its segments.
pub(super) fn appointment(world: &World<'_>, said: &Said<'_>, booked: &Appointment, event: &str) -> Schedule {
    let profile = world.profile;
    let mut sch = Seg::new("SCH");
    let orders: Vec<&Order> = booked
        .orders
        .iter()
        .filter_map(|order| world.order(order))
        .collect();
    numbers(world, &booked.identifiers, &mut sch);
    let why = match event {
        "S15" | "S16" | "S17" => booked.cancellation_reason.as_ref(),
        _ => booked.event_reason.as_ref(),
    };
    let of = |concept: Option<&Concept>, table| {
        concept
            .map(|concept| terms::cwe(concept, table, profile))
            .unwrap_or_default()
    };
    sch.comps(6, of(why, NO_TABLE));
    // Of several reasons SCH-7 has room for one.
    sch.comps(7, of(booked.reasons.first(), table("0276")));
    sch.comps(8, of(booked.kind.as_ref(), table("0277")));
    if let Some(minutes) = booked.duration_minutes {
        sch.put(9, minutes.to_string());
        sch.put(10, "min".to_owned());
    }
    let (start, end) = (
        data::owhen(booked.start.as_ref()),
        data::owhen(booked.end.as_ref()),
    );
    sch.comps(
        11,
        vec![
            String::new(),
            String::new(),
            String::new(),
            start.clone(),
            end.clone(),
        ],
    );
    let mut resources: Vec<&Participant> = vec![];
    for participant in &booked.participants {
        let field = match participant.roles.first().and_then(Concept::code) {
            Some("placer contact") => 12,
            Some("filler contact") => 16,
            Some("enterer") => 20,
            Some(_) | None => {
                resources.push(participant);
                continue;
            }
        };
        sch.rep(field, comps(data::xcn_of(world, participant.actor.as_ref())));
    }
    sch.comps(25, status(said, booked, event, profile));
    for order in &orders {
        let of = |kind: &str| order.identifiers.iter().find(|id| id.kind_code() == Some(kind));
        sch.rep(
            26,
            of("PLAC")
                .map(|id| comps(data::ei(id, profile)))
                .unwrap_or_default(),
        );
        sch.rep(
            27,
            of("FILL")
                .map(|id| comps(data::ei(id, profile)))
                .unwrap_or_default(),
        );
    }
    let mut head = vec![sch];
    if !start.is_empty() || !end.is_empty() {
        let mut tq1 = Seg::numbered("TQ1", 1);
        tq1.put(7, start);
        tq1.put(8, end);
        head.push(tq1);
    }
    let (front, behind) = parted(&booked.comments);
    head.extend(notes::ntes(world, front));
    let single = Single::of(world, said, event);
    resources.retain(|participant| !single.as_ref().is_some_and(|single| single.is_gone(participant)));
    let mut all = resource_segments(world, booked, event, &orders, &resources, single.as_ref());
    spread(world, behind, &mut all, &mut head);
    Schedule { head, resources: all }
}

/// Whose it is, and who comes along.
pub(super) fn patients<'a>(world: &World<'a>, booked: &'a Appointment) -> impl Iterator<Item = &'a Ref> {
    let stays = |one: &&Participant| !is_declined(one) || one.status == Some(agreed(booked.status));
    let others = booked.participants.iter().filter(stays);
    let others = others.filter_map(|one| one.actor.as_ref());
    booked
        .patient
        .iter()
        .chain(others.filter(|actor| world.patient(actor).is_some()))
}

fn numbers(world: &World<'_>, identifiers: &[Identifier], sch: &mut Seg) {
    let of = |kind: &str| identifiers.iter().find(|id| id.kind_code() == Some(kind));
    let profile = world.profile;
    sch.comps(1, of("PLAC").map(|id| data::ei(id, profile)).unwrap_or_default());
    sch.comps(2, of("FILL").map(|id| data::ei(id, profile)).unwrap_or_default());
    if sch.is_empty(1) && sch.is_empty(2) {
        sch.comps(
            1,
            identifiers
                .first()
                .map(|id| data::ei(id, profile))
                .unwrap_or_default(),
        );
    }
}

/// SCH-25: the sender's own code; without one only where the event does not say it already, for all who take part.
fn status(said: &Said<'_>, booked: &Appointment, event: &str, profile: &Profile) -> Vec<String> {
    if let Some(original) = &booked.status_original
        && !said.outdates("status", "status_original")
    {
        return terms::cwe(original, table("0278"), profile);
    }
    let Some(status) = booked.status else {
        return vec![];
    };
    let by_event = match event {
        "S15" | "S16" => AppointmentStatus::Cancelled,
        "S17" => AppointmentStatus::EnteredInError,
        "S26" => AppointmentStatus::NoShow,
        _ => AppointmentStatus::Booked,
    };
    // A status of one who takes part would be read as that of the whole, where that says none.
    let default = agreed(booked.status);
    let is_mixed = booked
        .participants
        .iter()
        .any(|one| one.status.is_some_and(|status| status != default));
    if status == by_event && !is_mixed {
        return vec![];
    }
    let code = match status {
        AppointmentStatus::Proposed | AppointmentStatus::Pending => "Pending",
        AppointmentStatus::Waitlist => "Waitlist",
        AppointmentStatus::Booked => "Booked",
        AppointmentStatus::Arrived | AppointmentStatus::CheckedIn => "Started",
        AppointmentStatus::Fulfilled => "Complete",
        AppointmentStatus::Cancelled => "Cancelled",
        AppointmentStatus::EnteredInError => "Deleted",
        AppointmentStatus::NoShow => "Noshow",
    };
    vec![code.to_owned()]
}

/// The remarks that can stand behind one another, and those that would read as further lines of the one before.
fn parted(remarks: &[Annotation]) -> (Vec<&Annotation>, Vec<&Annotation>) {
    let mut front: Vec<&Annotation> = vec![];
    let mut behind: Vec<&Annotation> = vec![];
    for remark in remarks {
        if behind.is_empty() && (front.is_empty() || !notes::is_plain(remark)) {
            front.push(remark);
        } else {
            behind.push(remark);
        }
    }
    (front, behind)
}

/// Puts each of the remarks below a resource of its own; what is left stands with the first ones.
fn spread(world: &World<'_>, remarks: Vec<&Annotation>, resources: &mut Vec<Seg>, head: &mut Vec<Seg>) {
    let mut out: Vec<Seg> = vec![];
    let mut left = remarks.into_iter();
    for segment in resources.drain(..) {
        let takes_notes = segment.name() != "RGS";
        out.push(segment);
        if takes_notes {
            out.extend(
                left.next()
                    .into_iter()
                    .flat_map(|remark| notes::ntes(world, [remark])),
            );
        }
    }
    *resources = out;
    head.extend(notes::ntes(world, left));
}

/// A change that speaks of single ones, and what they stood like before it: it adds some and takes others out (AIx-2, table 0206).
/// HL7 v2.5.1, 10.6.4.2.
struct Single<'a> {
    before: &'a Appointment,
    of_services: bool,
}

impl<'a> Single<'a> {
    fn of(world: &World<'a>, said: &Said<'_>, event: &str) -> Option<Self> {
        let (Some(Aggregate::Appointment(before)), [Body::Appointment(say)]) =
            (world.before(said.id), said.says.as_slice())
        else {
            return None;
        };
        let of_it = |change: &&Change| {
            let id = world.applied.ids.get(&change.key).map(|(_, id)| *id);
            id == Some(said.id)
        };
        let is_list = world
            .changes
            .changes
            .iter()
            .filter(of_it)
            .any(|change| !change.names_all.is_empty());
        let is_change = !is_list && matches!(event, "S13" | "S14" | "S18" | "S19");
        (is_change && matches!(say.participants, Items::Merge(_))).then_some(Single {
            before,
            of_services: matches!(say.service_types, Items::Merge(_)),
        })
    }

    fn known(&self, participant: &Participant) -> Option<&Participant> {
        let group = participant.group();
        self.before.participants.iter().find(|one| one.group() == group)
    }

    /// Taken out before already.
    fn is_gone(&self, participant: &Participant) -> bool {
        is_declined(participant) && self.known(participant).is_some_and(is_declined)
    }

    fn action(&self, participant: &Participant) -> &'static str {
        match (is_declined(participant), self.known(participant)) {
            (true, _) => "D",
            (false, Some(known)) if !is_declined(known) => "U",
            (false, _) => "A",
        }
    }

    fn action_of_service(&self, service: &Concept) -> &'static str {
        match self.of_services && !self.before.service_types.contains(service) {
            true => "A",
            false => "U",
        }
    }
}

fn is_declined(participant: &Participant) -> bool {
    participant.status == Some(ParticipantStatus::Declined)
}

fn resource_segments(
    world: &World<'_>,
    booked: &Appointment,
    event: &str,
    orders: &[&Order],
    participants: &[&Participant],
    single: Option<&Single<'_>>,
) -> Vec<Seg> {
    let profile = world.profile;
    let mut out: Vec<Seg> = vec![];
    let mut services: Vec<Seg> = vec![];
    let action = if event == "S12" { "A" } else { "U" };
    for (idx, service) in booked.service_types.iter().enumerate() {
        let mut ais = Seg::numbered("AIS", idx + 1);
        ais.put(
            2,
            single
                .map_or(action, |single| single.action_of_service(service))
                .to_owned(),
        );
        ais.comps(3, terms::cwe(service, NO_TABLE, profile));
        match orders.get(idx).or(orders.first()) {
            Some(order) => {
                put_span(order.occurrence_period.as_ref(), 4, &mut ais);
                ais.reps(
                    11,
                    order
                        .details
                        .iter()
                        .map(|one| terms::cwe(one, table("0411"), profile)),
                );
            }
            None => ais.put(4, data::owhen(booked.start.as_ref())),
        }
        services.push(ais);
    }
    let mut resources: Vec<Seg> = vec![];
    let mut counts = [0_usize; 3];
    for participant in participants {
        let Some(actor) = &participant.actor else { continue };
        let segment = resource(
            world,
            participant,
            actor,
            &mut counts,
            booked.status,
            event,
            single,
        );
        resources.extend(segment);
    }
    // AIG before AIL before AIP, as the structure has them.
    for name in ["AIG", "AIL", "AIP"] {
        services.extend(resources.iter().filter(|segment| segment.name() == name).cloned());
    }
    let mut rgs = Seg::numbered("RGS", 1);
    rgs.put(2, action.to_owned());
    out.push(rgs);
    out.extend(services);
    out
}

/// A participant → AIG, AIL or AIP, by what takes part.
fn resource(
    world: &World<'_>,
    participant: &Participant,
    actor: &Ref,
    counts: &mut [usize; 3],
    status: Option<AppointmentStatus>,
    event: &str,
    single: Option<&Single<'_>>,
) -> Option<Seg> {
    let profile = world.profile;
    let role = participant.roles.first();
    let mut number = |at: usize| {
        let count = counts.get_mut(at);
        count.map(|count| {
            *count += 1;
            *count
        })
    };
    let (mut segment, start) = if let Some(person) = world.practitioner(actor) {
        let mut aip = Seg::numbered("AIP", number(2)?);
        aip.comps(3, data::xcn(person, profile));
        let role = role.map(|role| terms::cwe(role, table("0182"), profile));
        aip.comps(4, role.unwrap_or_default());
        (aip, 6)
    } else if let Some(thing) = world.room(actor).filter(|room| is_thing(room)) {
        let mut aig = Seg::numbered("AIG", number(0)?);
        aig.comps(3, thing_ce(thing));
        aig.comps(4, data::concept(role, profile));
        (aig, 8)
    } else if world.room(actor).is_some() || world.site(actor).is_some() {
        let mut ail = Seg::numbered("AIL", number(1)?);
        ail.comps(3, data::pl(world, actor));
        (ail, 6)
    } else {
        return None;
    };
    let declined = is_declined(participant);
    let action = match (event, single) {
        ("S12", _) => "A",
        ("S20" | "S21" | "S22", _) if !declined => "X",
        ("S18" | "S19" | "S20" | "S21" | "S22", _) if declined => "D",
        (_, Some(single)) => single.action(participant),
        _ => "U",
    };
    segment.put(2, action.to_owned());
    put_span(participant.period.as_ref(), start, &mut segment);
    let default = agreed(status);
    // What does not take place is booked for nobody: who had agreed says no more by that.
    let is_off = default == ParticipantStatus::Declined;
    let said = participant
        .status
        .filter(|status| *status != default && !(is_off && *status == ParticipantStatus::Accepted));
    let code = match said {
        Some(ParticipantStatus::Accepted) => "Booked",
        Some(ParticipantStatus::Tentative | ParticipantStatus::NeedsAction) => "Tentative",
        Some(ParticipantStatus::Declined) if action != "D" => "Cancelled",
        Some(ParticipantStatus::Declined) | None => "",
    };
    segment.put(start + 6, code.to_owned());
    Some(segment)
}

/// From when on, and for how long: the fields of AIS, AIG, AIL and AIP that begin at `start`.
fn put_span(period: Option<&Period>, start: usize, segment: &mut Seg) {
    let Some(period) = period else { return };
    segment.put(start, data::owhen(period.start.as_ref()));
    if let Some(seconds) = timing::seconds(period) {
        let [length, unit] = timing::length(seconds);
        segment.put(start + 3, length);
        segment.put(start + 4, unit);
    }
}

/// A thing that takes part, as a room without a place: what AIG speaks of.
fn is_thing(room: &Room) -> bool {
    room.kind.is_none() && room.part_of.is_none() && room.usage.is_none() && room.description.is_none()
}

fn thing_ce(thing: &Room) -> Vec<String> {
    let id = thing.identifiers.first();
    let system = id.and_then(|id| id.system.as_deref());
    vec![
        id.map(|id| t(&id.value)).unwrap_or_default(),
        ot(thing.name.as_ref()),
        system
            .map(|system| t(&terms::system_name(system)))
            .unwrap_or_default(),
    ]
}

/// Blocked or opened time (S23, S24) → the same segments, with a resource for each slot.
pub(super) fn blocked(world: &World<'_>, slots: &[&Slot]) -> Schedule {
    let mut sch = Seg::new("SCH");
    let first = slots.first();
    let mut head = vec![];
    if let Some(slot) = first {
        numbers(world, &[], &mut sch);
        let profile = world.profile;
        let identifiers = slots_numbers(world);
        numbers(world, &identifiers, &mut sch);
        sch.comps(
            11,
            vec![
                String::new(),
                String::new(),
                String::new(),
                data::owhen(slot.start.as_ref()),
                data::owhen(slot.end.as_ref()),
            ],
        );
        head.push(sch);
        if let Some(comment) = &slot.comment {
            let mut nte = Seg::numbered("NTE", 1);
            nte.put(3, t(comment));
            head.push(nte);
        }
        let mut resources = vec![Seg::numbered("RGS", 1)];
        for (idx, service) in slot.service_types.iter().enumerate() {
            let mut ais = Seg::numbered("AIS", idx + 1);
            ais.comps(3, terms::cwe(service, NO_TABLE, profile));
            resources.push(ais);
        }
        let mut counts = [0; 3];
        for slot in slots {
            let schedule = slot
                .schedule
                .as_ref()
                .and_then(|schedule| world.schedule(schedule));
            let actors = schedule
                .map(|schedule| schedule.actors.as_slice())
                .unwrap_or_default();
            for actor in actors {
                let whole = Participant {
                    actor: Some(actor.clone()),
                    period: Some(Period {
                        start: slot.start.clone(),
                        end: slot.end.clone(),
                    }),
                    ..Participant::default()
                };
                resources.extend(resource(world, &whole, actor, &mut counts, None, "S12", None));
            }
        }
        return Schedule { head, resources };
    }
    Schedule {
        head,
        resources: vec![],
    }
}

fn slots_numbers(world: &World<'_>) -> Vec<Identifier> {
    let first = world.slots().into_iter().next();
    first
        .map(|(_, slot)| slot.identifiers.clone())
        .unwrap_or_default()
}
