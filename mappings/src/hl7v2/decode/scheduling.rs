//! SIU^S12 to S26 → appointments, and blocked time. HL7 v2.5.1, chapter 10.

use clinic::change_set::{Find, Sort};
use clinic::diagnostics::{OrderChange, OrderIntent, OrderStatus};
use clinic::exchange::{MapError, Reason};
use clinic::patch::{Items, Patch};
use clinic::places::RoomChange;
use clinic::records::{EncounterChange, EncounterStatus};
use clinic::scheduling::{AppointmentChange, AppointmentStatus, Participant, ParticipantStatus};
use clinic::value::{Annotation, Concept, Identifier, Period, Ref, When};
use clinic::{Body, Change};

use super::cases::{self, Subject};
use super::collect::{At, Collected, Seg, natural};
use super::groups::{self, Case, Shape};
use super::terms::{self, NO_TABLE, hl7, table};
use super::{datatypes as data, imaging, notes, parties, slots, timing};

/// The segments of a schedule message, sorted.
#[derive(Default)]
pub(super) struct Schedule<'m> {
    sch: Option<Seg<'m>>,
    tq1: Option<Seg<'m>>,
    pub(super) notes: Vec<Seg<'m>>,
    cases: Vec<Case<'m>>,
    pub(super) services: Vec<Seg<'m>>,
    pub(super) resources: Vec<Resource<'m>>,
    groups: Vec<imaging::Booked<'m>>,
}

/// AIG, AIL or AIP, by where each has what they have in common.
#[derive(Clone, Copy)]
pub(super) struct Resource<'m> {
    segment: Seg<'m>,
    start: usize,
    /// The whole group below its RGS is taken out.
    group_goes: bool,
}

impl<'m> Resource<'m> {
    fn of(segment: Seg<'m>, rgs: Option<Seg<'m>>) -> Self {
        Resource {
            segment,
            start: if segment.name() == "AIG" { 8 } else { 6 },
            group_goes: rgs.is_some_and(|rgs| rgs.f(2).part(1).is("D")),
        }
    }

    /// AIx-2, and RGS-2 for all below it: A add, D take out, U change, X nothing (table 0206).
    fn action(&self) -> String {
        match self.group_goes {
            true => "D".to_owned(),
            false => self.segment.f(2).part(1).peek().unwrap_or_default(),
        }
    }

    fn kind(&self) -> At<'m> {
        self.segment.f(4).first()
    }

    /// Start, offset, offset units, duration, duration units.
    pub(super) fn times(&self) -> [At<'m>; 5] {
        [0, 1, 2, 3, 4].map(|step| self.segment.f(self.start + step))
    }

    fn status(&self) -> At<'m> {
        self.segment.f(self.start + 6).first()
    }
}

/// Reads the segments behind MSH.
pub fn read<'m>(out: &mut Collected<'m>, event: &str, segments: &[Seg<'m>]) -> Result<(), MapError> {
    let known = event.strip_prefix('S').and_then(|n| n.parse::<u32>().ok());
    if !known.is_some_and(|number| (12..=24).contains(&number) || number == 26) || event.len() != 3 {
        return Err(MapError::new(
            Reason::UnsupportedEvent,
            Some("MSH-9.2"),
            "no schedule event that is known here (S12 to S24, S26). Correct it at the sender, or filter it out before decoding.",
        ));
    }
    let schedule = sort(segments);
    let Some(sch) = schedule.sch else {
        return Err(MapError::missing("SCH", "the appointment (segment SCH)"));
    };
    if matches!(event, "S23" | "S24") {
        return slots::block(out, event, &schedule, sch);
    }
    appointment(out, event, &schedule, sch)
}

fn sort<'m>(segments: &[Seg<'m>]) -> Schedule<'m> {
    let mut schedule = Schedule::default();
    let is_resource = |segment: &Seg<'m>| matches!(segment.name(), "RGS" | "AIS" | "AIG" | "AIL" | "AIP");
    let first_pid = segments
        .iter()
        .position(|segment| segment.name() == "PID")
        .unwrap_or(segments.len());
    let first_resource = segments.iter().position(is_resource).unwrap_or(segments.len());
    let mut patients: Vec<Seg<'m>> = vec![];
    let (mut in_resources, mut rgs) = (false, None);
    for (idx, segment) in segments.iter().enumerate() {
        in_resources |= is_resource(segment);
        if let Some(group) = schedule.groups.last_mut().filter(|_| is_resource(segment)) {
            group.add(*segment);
        }
        match segment.name() {
            "SCH" => schedule.sch = schedule.sch.or(Some(*segment)),
            "TQ1" => schedule.tq1 = schedule.tq1.or(Some(*segment)),
            "AIS" => schedule.services.push(*segment),
            "RGS" => {
                rgs = Some(*segment);
                schedule.groups.push(imaging::Booked::default());
            }
            "AIG" | "AIL" | "AIP" => schedule.resources.push(Resource::of(*segment, rgs)),
            // An NTE before the patient or below a resource is about the appointment; the others are the patient's.
            "NTE" if idx < first_pid.min(first_resource) || in_resources => schedule.notes.push(*segment),
            "MSH" => {}
            _ if idx >= first_pid => {
                in_resources &= segment.name() != "PID";
                patients.push(*segment);
            }
            _ => {}
        }
    }
    schedule.cases = groups::read(&patients, Shape::Results);
    schedule
}

/// SCH and all below it → appointment.
fn appointment<'m>(
    out: &mut Collected<'m>,
    event: &str,
    schedule: &Schedule<'m>,
    sch: Seg<'m>,
) -> Result<(), MapError> {
    // The group of the patient is optional: time can be booked for nobody, and a change is known by its number. Several come to
    // one appointment together: the first is whose it is, the others take part (HL7 v2.5.1, 10.4.1).
    let cases = schedule.cases.iter();
    let cases = cases.filter_map(|case| Some((cases::subject_of(out, case.pid?, case), case)));
    let patients: Vec<(Subject, &Case<'m>)> = cases.collect();
    let subject = patients.first().map(|(subject, _)| subject);
    if subject.is_none() && event == "S12" && schedule.services.is_empty() && schedule.resources.is_empty() {
        return Err(MapError::missing(
            "PID",
            "the patient (segment PID), or what is booked (AIS, AIG, AIL or AIP)",
        ));
    }
    let key = out.key("appointment");
    let appointment = Ref::Local(key.clone());
    let identifiers = numbers(sch);
    let mut say = AppointmentChange {
        identifiers: Items::merge(identifiers.clone()),
        patient: subject.map(|subject| subject.patient.clone()).into(),
        ..AppointmentChange::default()
    };
    state(event, schedule, sch, &mut say);
    reasons(event, sch, &mut say);
    let mut orders = orders(out, sch, subject);
    times(schedule, sch, &mut say);
    if !is_end(event) {
        let whole = imaging::Booked {
            services: schedule.services.clone(),
            resources: schedule.resources.iter().map(|one| one.segment).collect(),
        };
        let booked = imaging::Booking {
            whole: &whole,
            groups: &schedule.groups,
            names_all: names_all(event, schedule),
            number: identifiers.first().map(|number| number.value.clone()),
        };
        imaging::of_appointment(out, &booked, subject, &say, &mut orders);
    }
    services(out, event, schedule, &mut say, &orders);
    if matches!(event, "S13" | "S14") && !names_all(event, schedule) {
        say.service_types = Items::merge(say.service_types.values().to_vec());
    }
    say.orders = Items::merge(orders);
    let default = agreed(say.status.value().copied());
    let mut beside = contacts(out, sch, default);
    beside.extend(patients.iter().skip(1).map(|(other, _)| Participant {
        actor: Some(other.patient.clone()),
        status: Some(default),
        ..Participant::default()
    }));
    say.participants = participants(out, event, schedule, beside, default, say.start.value());
    say.comments = Items::replace(comments(out, schedule));
    for (subject, case) in &patients {
        visit(out, event, subject, &appointment, case);
    }
    let find = match (identifiers.is_empty(), subject, say.start.value()) {
        (false, ..) => Find::default(),
        (true, Some(subject), Some(start)) => natural(Some(&subject.patient), format!("appointment|{start}")),
        (true, ..) => {
            return Err(MapError::missing(
                "SCH-1",
                "the number of the appointment (SCH-1 or SCH-2)",
            ));
        }
    };
    out.push(Change {
        find,
        names_all: sorts_named(event, schedule),
        ..Change::new(key, say)
    });
    enterer(out, sch, appointment);
    Ok(())
}

/// True for events by which an appointment does not take place.
fn is_end(event: &str) -> bool {
    matches!(event, "S15" | "S16" | "S17" | "S26")
}

/// SCH-1, SCH-2 → placer's and filler's numbers.
pub(super) fn numbers(sch: Seg<'_>) -> Vec<Identifier> {
    let placer = data::entity(sch.f(1).first(), Some("PLAC"));
    let filler = data::entity(sch.f(2).first(), Some("FILL"));
    placer.into_iter().chain(filler).collect()
}

/// SCH-25, else the status of the first AIS, AIG, AIL or AIP that has one, else the event.
fn state(event: &str, schedule: &Schedule<'_>, sch: Seg<'_>, say: &mut AppointmentChange) {
    let of_services = schedule.services.iter().map(|ais| ais.f(10).first());
    let stays = |resource: &&Resource<'_>| resource.action() != "D";
    let of_resources = schedule.resources.iter().filter(stays).map(Resource::status);
    let mut places = std::iter::once(sch.f(25).first())
        .chain(of_services)
        .chain(of_resources);
    let coded = places.find(|at| at.is_there());
    // A service that stands as the appointment does says nothing of its own.
    if let Some(coded) = coded {
        for ais in &schedule.services {
            again(coded, ais.f(10).first());
        }
    }
    let by_event = match event {
        "S15" | "S16" => AppointmentStatus::Cancelled,
        "S17" => AppointmentStatus::EnteredInError,
        "S26" => AppointmentStatus::NoShow,
        _ => AppointmentStatus::Booked,
    };
    let code = coded.and_then(|at| at.part(1).peek());
    let by_code = code.as_deref().and_then(status_of_code);
    say.status = Patch::Set(by_code.unwrap_or(by_event));
    say.overbooked = code
        .as_deref()
        .filter(|code| code.eq_ignore_ascii_case("Overbook"))
        .map(|_| true)
        .into();
    say.status_original = coded.and_then(|at| terms::concept(at, table("0278"))).into();
}

/// A status of a service beside the one that is used: the same code is carried, another one stays.
fn again(used: At<'_>, other: At<'_>) {
    let (code, place) = (other.part(1), used.place());
    if code.is_empty() || other.place() == place {
        return;
    }
    let same = |one: &str| code.look().is_some_and(|other| other.eq_ignore_ascii_case(one));
    if used.part(1).look().is_some_and(|one| same(&one)) {
        match other.raw() == used.raw() {
            true => other.take(),
            false => code.take(),
        }
    } else {
        other.note(format!("{place} says something else, and is used"));
    }
}

/// Table 0278, with what the official map leaves open. `Blocked` says nothing of an appointment.
fn status_of_code(code: &str) -> Option<AppointmentStatus> {
    Some(match code.to_ascii_lowercase().as_str() {
        "pending" => AppointmentStatus::Pending,
        "waitlist" => AppointmentStatus::Waitlist,
        "booked" | "overbook" => AppointmentStatus::Booked,
        "started" => AppointmentStatus::CheckedIn,
        "complete" => AppointmentStatus::Fulfilled,
        "cancelled" | "canceled" | "dc" | "discontinued" => AppointmentStatus::Cancelled,
        "deleted" => AppointmentStatus::EnteredInError,
        "noshow" => AppointmentStatus::NoShow,
        _ => return None,
    })
}

/// SCH-6 to -8. Some write the type (table 0277) into SCH-7, as the standard once did.
fn reasons(event: &str, sch: Seg<'_>, say: &mut AppointmentChange) {
    let is_type = |at: At<'_>| {
        at.part(3)
            .peek()
            .is_some_and(|system| system.to_ascii_uppercase().ends_with("0277"))
    };
    let is_reason = |at: At<'_>| {
        at.part(3)
            .peek()
            .is_some_and(|system| system.to_ascii_uppercase().ends_with("0276"))
    };
    let (mut kind, mut reasons) = (None, vec![]);
    let (seventh, eighth) = (sch.f(7).first(), sch.f(8).first());
    if is_type(seventh) && eighth.is_empty() {
        kind = terms::concept(seventh, table("0277"));
    } else {
        reasons.extend(terms::concept(seventh, table("0276")));
    }
    if is_reason(eighth) {
        reasons.extend(terms::concept(eighth, table("0276")));
    } else if kind.is_none() {
        kind = terms::concept(eighth, table("0277"));
    }
    say.kind = kind.into();
    say.reasons = Items::replace(reasons);
    let why = sch.f(6).patch(|at| terms::concept(at, NO_TABLE));
    if matches!(event, "S15" | "S16" | "S17") {
        say.cancellation_reason = why;
    } else {
        say.event_reason = why;
    }
}

/// SCH-9, -11, TQ1 and the services' times → start, end, minutes. A time that says nothing new stays.
pub(super) fn times(schedule: &Schedule<'_>, sch: Seg<'_>, say: &mut AppointmentChange) {
    let tq = sch.f(11).first();
    let mut start = data::when(tq.part(4));
    let mut end = data::end_of(tq.part(5), start.as_ref());
    if let Some(tq1) = schedule.tq1 {
        start = start.or_else(|| data::when(tq1.f(7)));
        end = end.or_else(|| data::end_of(tq1.f(8), start.as_ref()));
    }
    let mut minutes = match (&start, &end) {
        (Some(start), Some(end)) if sch.f(10).is_empty() => length(sch.f(9).part(1), start, end),
        _ => timing::in_minutes(sch.f(9).part(1), sch.f(10).part(1)),
    };
    // The longest of the services that begin where the appointment does says how long it takes.
    let first = schedule.services.iter().find(|ais| ais.f(4).is_there());
    let first_resource = schedule
        .resources
        .iter()
        .find(|resource| resource.times()[0].is_there());
    if start.is_none() {
        start = match (first, first_resource) {
            (Some(ais), _) => data::when(ais.f(4)),
            (None, Some(resource)) => data::when(resource.times()[0]),
            (None, None) => None,
        };
    }
    if minutes.is_none() && end.is_none() {
        let of_service = schedule
            .services
            .iter()
            .find_map(|ais| timing::in_minutes(ais.f(7).part(1), ais.f(8).part(1)));
        let of_resource = || {
            let mut resources = schedule.resources.iter();
            resources.find_map(|resource| {
                let [_, _, _, duration, unit] = resource.times();
                timing::in_minutes(duration.part(1), unit.part(1))
            })
        };
        minutes = of_service.or_else(of_resource).or_else(|| {
            let duration = schedule.tq1?.f(6);
            timing::in_minutes(duration.part(1), duration.part(2).part(1))
        });
        minutes = minutes.or_else(|| tq.part(3).read(timing::tq_minutes));
    }
    if end.is_none()
        && let (Some(start), Some(minutes)) = (&start, minutes)
    {
        end = start.shifted(i64::from(minutes) * 60);
    }
    say.start = start.into();
    say.end = end.into();
    say.duration_minutes = minutes.into();
}

/// SCH-9 without a unit → minutes, if that is how long it is from start to end; or seconds, if those are. A number
/// that is neither stays: it would contradict the times.
fn length(at: At<'_>, start: &When, end: &When) -> Option<u32> {
    let number = i64::from(at.peek()?.parse::<u32>().ok()?);
    let seconds = [number * 60, number]
        .into_iter()
        .find(|seconds| start.shifted(*seconds).as_ref() == Some(end));
    let Some(seconds) = seconds.filter(|seconds| seconds % 60 == 0) else {
        at.note("a length without a unit that is not that from start to end");
        return None;
    };
    at.take();
    u32::try_from(seconds / 60).ok()
}

/// AIS → what for; with an order also its time and details. Where the whole appointment goes, no service goes alone.
fn services<'m>(
    out: &mut Collected<'m>,
    event: &str,
    schedule: &Schedule<'m>,
    say: &mut AppointmentChange,
    orders: &[Ref],
) {
    let mut kinds: Vec<Concept> = vec![];
    for (idx, ais) in schedule.services.iter().enumerate() {
        if ais.f(2).part(1).is("D") && !is_end(event) {
            ais.f(3).note("the service is taken out of the appointment");
            continue;
        }
        kinds.extend(terms::concept(ais.f(3).first(), NO_TABLE));
        let Some(order) = orders.get(idx).or(orders.first()) else {
            continue;
        };
        let mut details: Vec<Concept> = vec![];
        for field in [11, 12] {
            details.extend(
                ais.f(field)
                    .reps()
                    .into_iter()
                    .filter_map(|rep| terms::concept(rep, table("0411"))),
            );
        }
        let period = span(
            [ais.f(4), ais.f(5), ais.f(6), ais.f(7), ais.f(8)],
            say.start.value(),
        );
        let Some(change) = out.change_mut(order) else {
            continue;
        };
        if let Body::Order(known) = &mut change.say {
            for detail in details {
                parties::add(&mut known.details, Some(detail));
            }
            if let Some(period) = period {
                known.occurrence_period = Patch::Set(period);
            }
        }
        // What was ordered stays: the service is the order's where it has none.
        if let (Some(Body::Order(new)), Some(code)) = (&mut change.say_if_new, kinds.last())
            && new.code.is_absent()
        {
            new.code = Patch::Set(code.clone());
        }
    }
    say.service_types = Items::replace(kinds);
}

/// SCH-26, SCH-27 → the orders that the appointment is for. The first placer's number goes with the first filler's.
fn orders(out: &mut Collected<'_>, sch: Seg<'_>, subject: Option<&Subject>) -> Vec<Ref> {
    let (placers, fillers) = (sch.f(26).reps(), sch.f(27).reps());
    let mut keys = vec![];
    for idx in 0..placers.len().max(fillers.len()) {
        let placer = placers.get(idx).and_then(|rep| data::entity(*rep, Some("PLAC")));
        let filler = fillers.get(idx).and_then(|rep| data::entity(*rep, Some("FILL")));
        let identifiers: Vec<Identifier> = placer.into_iter().chain(filler).collect();
        if identifiers.is_empty() {
            continue;
        }
        let key = out.key("order");
        let say = OrderChange {
            identifiers: Items::merge(identifiers),
            patient: subject.map(|subject| subject.patient.clone()).into(),
            ..OrderChange::default()
        };
        let new = OrderChange {
            status: Patch::Set(OrderStatus::Active),
            intent: Patch::Set(OrderIntent::FillerOrder),
            ..OrderChange::default()
        };
        keys.push(out.push(Change {
            find: Find {
                by_report: true,
                ..Find::default()
            },
            say_if_new: Some(new.into()),
            ..Change::new(key, say)
        }));
    }
    keys
}

/// Whether those who take part have agreed, where nothing is said of them: as the appointment stands.
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

/// SCH-12, -16, -20 → those who placed, filled and entered it.
fn contacts<'m>(out: &mut Collected<'m>, sch: Seg<'m>, status: ParticipantStatus) -> Vec<Participant> {
    let participant_type = hl7("participant-type");
    let enterer = Concept::coded(&hl7("provenance-participant-type"), "enterer", Some("Enterer"));
    let roles = [
        (12, Concept::coded(&participant_type, "placer contact", None)),
        (16, Concept::coded(&participant_type, "filler contact", None)),
        (20, enterer),
    ];
    let mut all = vec![];
    for (field, role) in roles {
        for rep in sch.f(field).reps() {
            let Some(person) = parties::practitioner(out, rep) else {
                continue;
            };
            all.push(Participant {
                actor: Some(person),
                roles: vec![role.clone()],
                status: Some(status),
                period: None,
            });
        }
    }
    all
}

/// SCH-20 → who entered it, for provenance.
fn enterer<'m>(out: &mut Collected<'m>, sch: Seg<'m>, target: Ref) {
    let role = Concept::coded(&hl7("provenance-participant-type"), "enterer", Some("Enterer"));
    let mut agents = vec![];
    for rep in sch.f(20).reps() {
        agents.extend(parties::practitioner(out, rep).map(|person| (person, role.clone())));
    }
    if !agents.is_empty() {
        out.about.acts.push(clinic::change_set::Act {
            target: vec![target],
            agents,
            ..clinic::change_set::Act::default()
        });
    }
}

/// True where a message names all services and resources of an appointment: a booking, a move and a change do, unless they
/// take one out or add one (AIx-2 `A` beside other codes, or of resources alone), and so speak of single ones as S18 to S22
/// do. Some write `A` for each of the whole list, as of a booking. HL7 v2.5.1, 10.6.4.2.
fn names_all(event: &str, schedule: &Schedule<'_>) -> bool {
    let of_services = schedule.services.iter().map(|ais| ais.f(2).part(1).peek());
    let actions: Vec<String> = of_services
        .map(Option::unwrap_or_default)
        .chain(schedule.resources.iter().map(Resource::action))
        .collect();
    let any = |wanted: &str| actions.iter().any(|action| action == wanted);
    let is_addition =
        any("A") && (schedule.services.is_empty() || actions.iter().any(|action| action != "A"));
    match event {
        "S12" => !any("D"),
        "S13" | "S14" => !any("D") && !is_addition,
        _ => false,
    }
}

/// Of which sorts a move or a change names all that take part: of the segments that it has, but where one of them says that nothing
/// changes (AIx-2 `X`).
fn sorts_named(event: &str, schedule: &Schedule<'_>) -> Vec<Sort> {
    if event == "S12" || !names_all(event, schedule) {
        return vec![];
    }
    let of = |resource: &Resource<'_>| match resource.segment.name() {
        "AIL" => Sort::Places,
        "AIG" if !is_person(resource.kind()) => Sort::Things,
        _ => Sort::People,
    };
    let mut sorts: Vec<Sort> = vec![];
    for resource in &schedule.resources {
        let sort = of(resource);
        let same = || schedule.resources.iter().filter(|other| of(other) == sort);
        if !sorts.contains(&sort) && same().all(|other| other.action() != "X") {
            sorts.push(sort);
        }
    }
    sorts
}

/// AIG, AIL, AIP, and the contacts and further patients beside them → participants. Where a message does not name them all, who is
/// not named stays.
fn participants<'m>(
    out: &mut Collected<'m>,
    event: &str,
    schedule: &Schedule<'m>,
    beside: Vec<Participant>,
    default: ParticipantStatus,
    start: Option<&When>,
) -> Items<Participant> {
    let whole = event == "S12" && names_all(event, schedule);
    let mut all = vec![];
    let mut named = 0;
    for resource in &schedule.resources {
        let removed =
            resource.action() == "D" || matches!(event, "S20" | "S21" | "S22") && resource.action() != "X";
        let Some(actor) = actor(out, *resource) else {
            continue;
        };
        named += 1;
        let status = if removed {
            Some(ParticipantStatus::Declined)
        } else {
            said_status(*resource, default)
        };
        if removed && !resource.group_goes {
            resource.segment.f(2).part(1).take();
        }
        let kind = resource.kind();
        let kind_table = if resource.segment.name() == "AIP" {
            table("0182")
        } else {
            NO_TABLE
        };
        let roles = match resource.segment.name() {
            "AIL" => vec![],
            _ => terms::concept(kind, kind_table).into_iter().collect(),
        };
        all.push(Participant {
            actor: Some(actor),
            roles,
            status: Some(status.unwrap_or(default)),
            period: span(resource.times(), start),
        });
    }
    all.extend(beside);
    if whole && named > 0 {
        Items::replace(all)
    } else {
        Items::merge(all)
    }
}

/// The status of one resource, where it says another thing than the appointment's; otherwise it stays.
fn said_status(resource: Resource<'_>, default: ParticipantStatus) -> Option<ParticipantStatus> {
    let at = resource.status();
    let code = at.part(1).peek()?;
    let status = match code.to_ascii_lowercase().as_str() {
        "booked" | "started" | "complete" | "overbook" | "accepted" => ParticipantStatus::Accepted,
        "pending" | "tentative" | "waitlist" => ParticipantStatus::Tentative,
        "cancelled" | "canceled" | "deleted" | "dc" | "discontinued" | "declined" | "noshow" => {
            ParticipantStatus::Declined
        }
        _ => return None,
    };
    if status == default {
        at.part(1).note("the same as follows from the appointment");
        return None;
    }
    at.part(1).take();
    Some(status)
}

/// AIP-3 → practitioner, AIL-3 → place, AIG-3 → a thing, as a place with this number, or a person where AIG-4 says so.
pub(super) fn actor<'m>(out: &mut Collected<'m>, resource: Resource<'m>) -> Option<Ref> {
    let at = resource.segment.f(3).first();
    match resource.segment.name() {
        "AIP" => parties::practitioner(out, at),
        "AIL" => parties::place(out, at),
        _ if is_person(resource.kind()) => parties::practitioner(out, at),
        _ => thing(out, at),
    }
}

/// Table 0222 has no values of its own; these are the words that schedulers write for people.
fn is_person(kind: At<'_>) -> bool {
    const PEOPLE: &[&str] = &[
        "DOC",
        "DOCTOR",
        "PHYSICIAN",
        "PROVIDER",
        "PRACTITIONER",
        "SURGEON",
        "NURSE",
        "STAFF",
        "PERSONNEL",
        "TECHNICIAN",
        "THERAPIST",
    ];
    [1, 2].iter().any(|part| {
        let word = kind.part(*part).peek().unwrap_or_default();
        PEOPLE.contains(&word.to_ascii_uppercase().as_str())
    })
}

fn thing(out: &mut Collected<'_>, at: At<'_>) -> Option<Ref> {
    let code = at.part(1).text();
    let name = at.part(2).text();
    let system = at
        .part(3)
        .text()
        .map(|system| terms::system_uri(&system).into_owned());
    let path = format!(
        "thing|{}|{}",
        system.as_deref().unwrap_or_default(),
        code.as_deref().or(name.as_deref())?.to_lowercase()
    );
    let mut identifiers: Vec<Identifier> = vec![];
    identifiers.extend(code.map(|code| Identifier::new(system.as_deref(), &code)));
    // The other numbers it goes by (HL7 v2-to-FHIR, CWE[Identifier]).
    for (number, system) in [(4, 6), (10, 12)] {
        let Some(code) = at.part(number).text() else {
            continue;
        };
        let system = at
            .part(system)
            .text()
            .map(|system| terms::system_uri(&system).into_owned());
        let other = Identifier::new(system.as_deref(), &code);
        if !identifiers.contains(&other) {
            identifiers.push(other);
        }
    }
    let (key, _) = out.once("room", &path, || {
        let say = RoomChange {
            identifiers: Items::merge(identifiers),
            name: name.into(),
            ..RoomChange::default()
        };
        (natural(None, &*path), say.into())
    });
    Some(key)
}

/// Start (or offset from the appointment's), and duration → when a resource is needed.
pub(super) fn span(
    [start_at, offset, offset_unit, duration, duration_unit]: [At<'_>; 5],
    whole: Option<&When>,
) -> Option<Period> {
    let mut start = data::when(start_at);
    if start.is_none()
        && let (Some(whole), Some(seconds)) = (whole, timing::seconds_of(offset.part(1), offset_unit.part(1)))
    {
        start = whole.shifted(seconds);
        if start.is_some() {
            offset.part(1).take();
            timing::take_unit(offset_unit.part(1));
        }
    }
    let length = timing::seconds_of(duration.part(1), duration_unit.part(1));
    let end = start
        .as_ref()
        .zip(length)
        .and_then(|(start, seconds)| start.shifted(seconds));
    if end.is_some() {
        duration.part(1).take();
        timing::take_unit(duration_unit.part(1));
    }
    (start.is_some()).then_some(Period { start, end })
}

/// NTE → comments.
fn comments<'m>(out: &mut Collected<'m>, schedule: &Schedule<'m>) -> Vec<Annotation> {
    // Runs that a gap parts are remarks of their own.
    let mut all = vec![];
    let mut run: Vec<Seg<'m>> = vec![];
    for nte in &schedule.notes {
        if run
            .last()
            .is_some_and(|last| last.position() + 1 != nte.position())
        {
            all.extend(notes::annotations(out, &run));
            run.clear();
        }
        run.push(*nte);
    }
    all.extend(notes::annotations(out, &run));
    all
}

/// The visit that the appointment is for: it fulfils it, and a new one is planned.
fn visit(out: &mut Collected<'_>, event: &str, subject: &Subject, appointment: &Ref, case: &Case<'_>) {
    let Some(encounter) = &subject.encounter else {
        return;
    };
    let admitted = case
        .about
        .iter()
        .any(|segment| segment.name() == "PV1" && segment.f(44).is_there());
    let status = match event {
        "S15" | "S16" | "S17" | "S26" => EncounterStatus::Cancelled,
        _ => EncounterStatus::Planned,
    };
    let Some(change) = out.change_mut(encounter) else {
        return;
    };
    if let Body::Encounter(say) = &mut change.say {
        parties::add(&mut say.appointments, Some(appointment.clone()));
        if !admitted && !matches!(say.status, Patch::Set(EncounterStatus::Finished)) {
            say.status = Patch::Absent;
            let new = EncounterChange {
                status: Patch::Set(status),
                ..EncounterChange::default()
            };
            change.say_if_new = Some(new.into());
        }
    }
}
