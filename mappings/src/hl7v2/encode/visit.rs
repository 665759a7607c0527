//! Visits → PV1, PV2, ROL. HL7 v2.5.1, 3.4.3 and 3.4.4.

use clinic::places::Room;
use clinic::records::{Encounter, EncounterParticipant, Stay, StayStatus};
use clinic::value::{Concept, Identifier, IdentifierUse, Ref};
use clinic::{Aggregate, Kind};
use uuid::Uuid;

use super::datatypes as data;
use super::people;
use super::terms;
use super::wire::{Seg, comps, ot, subs};
use super::world::{Said, World};
use crate::hl7v2::decode::terms::{NO_TABLE, Table, mapped, table};

/// The visit of a patient that the change set speaks of.
pub(super) fn of_patient<'w, 'a>(
    world: &'w World<'a>,
    patient: &Said<'_>,
) -> Option<(&'w Said<'a>, &'a Encounter)> {
    let all = world.encounters().into_iter();
    let mut theirs =
        all.filter(|(_, visit)| visit.patient.as_ref().and_then(|of| world.id(of)) == Some(patient.id));
    theirs.next()
}

/// PV1 of class N: there is no visit, and the structure asks for the segment.
pub(super) fn none() -> Seg {
    let mut pv1 = Seg::numbered("PV1", 1);
    pv1.put(2, "N".to_owned());
    pv1
}

/// Visit → PV1, PV2 where it says something, ROL for those in roles that PV1 has no field for.
pub(super) fn segments(
    world: &World<'_>,
    said: &Said<'_>,
    visit: &Encounter,
    patient: &Said<'_>,
    out: &mut Vec<Seg>,
) {
    let profile = world.profile;
    let mut pv1 = Seg::numbered("PV1", 1);
    let mut pv2 = Seg::new("PV2");
    let mut roles: Vec<Seg> = vec![];
    pv1.put(2, class(world, said, visit));
    stays(world, said, visit, &mut pv1, &mut pv2);
    let concepts: [(usize, &[Concept], Table, &str); 4] = [
        (4, &visit.kinds, table("0007"), "kinds"),
        (
            15,
            &visit.arrangements,
            mapped("0009", "AmbulatoryStatus"),
            "arrangements",
        ),
        (16, &visit.courtesies, table("0099"), "courtesies"),
        (38, &visit.diets, table("0114"), "diets"),
    ];
    for (field, all, table, name) in concepts {
        pv1.reps(field, all.iter().map(|one| terms::cwe(one, table, profile)));
        pv1.clear_if(field, said.cleared(name));
    }
    pv1.comps(
        5,
        visit
            .preadmission
            .as_ref()
            .map(|id| data::cx(id, profile))
            .unwrap_or_default(),
    );
    pv1.clear_if(5, said.cleared("preadmission"));
    participants(world, visit, &mut pv1, &mut roles);
    let single: [(usize, Option<&Concept>, Table, &str); 4] = [
        (
            10,
            visit.service_type.as_ref(),
            mapped("0069", "HospitalService"),
            "service_type",
        ),
        (13, visit.readmission.as_ref(), table("0092"), "readmission"),
        (14, visit.admit_source.as_ref(), table("0023"), "admit_source"),
        (
            36,
            visit.discharge_disposition.as_ref(),
            table("0112"),
            "discharge_disposition",
        ),
    ];
    for (field, concept, table, name) in single {
        pv1.put(field, of(concept, table, world));
        pv1.clear_if(field, said.cleared(name));
    }
    if let Aggregate::Patient(person) = patient.aggregate
        && pv1.is_empty(16)
    {
        pv1.put(16, of(person.importance.as_ref(), table("0099"), world));
        pv1.clear_if(16, patient.cleared("importance"));
    }
    numbers(world, visit, &mut pv1);
    for (_, coverage) in world.coverages() {
        if coverage.patient.as_ref().and_then(|of| world.id(of)) == Some(patient.id) {
            let class = coverage.financial_class.as_ref();
            let pieces = class.map(|class| terms::cwe(class, table("0064"), profile));
            pv1.rep(20, subs(pieces.unwrap_or_default()));
        }
    }
    if let Some(room) = visit.destination.as_ref().and_then(|to| world.room(to)) {
        let words = || Concept {
            codings: vec![],
            text: room.name.clone(),
        };
        let usage = room.usage.clone().unwrap_or_else(words);
        pv1.put(37, subs(terms::cwe(&usage, table("0113"), profile)));
    }
    pv1.clear_if(37, said.cleared("destination"));
    let period = visit.period.as_ref();
    // Fields of version 2.6 and 2.8; who does not know them passes them over.
    pv1.text(53, visit.episode_description.as_ref());
    pv1.comps(
        54,
        visit
            .episode
            .as_ref()
            .map(|episode| data::cx(episode, world.profile))
            .unwrap_or_default(),
    );
    pv1.put(44, data::owhen(period.and_then(|period| period.start.as_ref())));
    pv1.put(45, data::owhen(period.and_then(|period| period.end.as_ref())));
    if pv1.is_empty(44) && pv1.is_empty(45) {
        pv1.clear_if(44, said.cleared("period"));
        pv1.clear_if(45, said.cleared("period"));
    }
    from_pv2(world, said, visit, &mut pv2);
    out.push(pv1);
    let says_something = !pv2.says_nothing() || !pv2.is_empty(1);
    out.extend(says_something.then_some(pv2));
    out.extend(roles);
}

fn of(concept: Option<&Concept>, table: Table, world: &World<'_>) -> String {
    concept
        .map(|concept| comps(terms::cwe(concept, table, world.profile)))
        .unwrap_or_default()
}

/// The sender's own class, else the code of table 0004 for the class.
fn class(world: &World<'_>, said: &Said<'_>, visit: &Encounter) -> String {
    if let Some(original) = &visit.class_original
        && !said.outdates("class", "class_original")
    {
        return of(Some(original), table("0004"), world);
    }
    let Some(class) = &visit.class else {
        // PV1-2 is asked for; U is "unknown" in table 0004, and reads as a class: better none is said.
        return String::new();
    };
    match class.code.as_deref() {
        Some("EMER") => "E".to_owned(),
        Some("IMP" | "ACUTE" | "NONAC") => "I".to_owned(),
        Some("AMB" | "SS" | "VR" | "HH" | "FLD") => "O".to_owned(),
        Some("PRENC") => "P".to_owned(),
        Some(_) | None => comps(terms::coding(class, table("0004"), world.profile)),
    }
}

/// Where they are (PV1-3), were (PV1-6, PV1-43), are for a time (PV1-11) and will be (PV1-42, PV2-1). Of several places
/// of one kind the last is written.
fn stays(world: &World<'_>, said: &Said<'_>, visit: &Encounter, pv1: &mut Seg, pv2: &mut Seg) {
    let planned_class = visit.class.as_ref().and_then(|class| class.code.as_deref()) == Some("PRENC");
    let mut planned = 0;
    for stay in &visit.stays {
        let Stay {
            place,
            status,
            temporary,
            ..
        } = stay;
        let place_pieces = comps(data::pl(world, place));
        match (status, temporary) {
            (Some(StayStatus::Active) | None, false) => {
                bed_status(world, place, pv1);
                pv1.put(3, place_pieces);
            }
            (Some(StayStatus::Active) | None, true) => pv1.put(11, place_pieces),
            (Some(StayStatus::Completed), false) => pv1.put(6, place_pieces),
            (Some(StayStatus::Completed), true) => pv1.put(43, place_pieces),
            (Some(StayStatus::Reserved), _) => pv1.put(42, place_pieces),
            (Some(StayStatus::Planned), _) => {
                planned += 1;
                if planned_class && planned == 1 {
                    bed_status(world, place, pv1);
                    pv1.put(3, place_pieces);
                } else {
                    pv2.put(1, place_pieces);
                }
            }
        }
    }
    pv1.clear_if(3, said.cleared("stays"));
}

/// Beds of which a message says whether they are free → NPU; the rooms and wards that they lie in are no beds of their own. HL7
/// v2.5.1, 3.4.8.
pub(super) fn beds(world: &World<'_>) -> Vec<Seg> {
    let rooms = world.rooms();
    let holds_another = |id: Uuid| {
        let within = |room: &Room| room.part_of.as_ref().and_then(|of| world.id(of)) == Some(id);
        rooms.iter().any(|(_, room)| within(room))
    };
    let beds = rooms.iter().filter(|(said, _)| !holds_another(said.id));
    beds.map(|(said, room)| {
        let mut npu = Seg::new("NPU");
        npu.comps(1, data::pl(world, &Ref::Id(Kind::Room, said.id)));
        if let Some(status) = &room.operational_status {
            npu.comps(2, terms::coding(status, table("0116"), world.profile));
        }
        npu.clear_if(2, said.cleared("operational_status"));
        npu
    })
    .collect()
}

/// PV1-40 → whether the bed is free.
fn bed_status(world: &World<'_>, place: &Ref, pv1: &mut Seg) {
    let status = world
        .room(place)
        .and_then(|room| room.operational_status.as_ref());
    if let Some(status) = status {
        pv1.comps(40, terms::coding(status, table("0116"), world.profile));
    }
}

/// The people: PV1 has a field for each of five roles, all others are ROL.
fn participants(world: &World<'_>, visit: &Encounter, pv1: &mut Seg, roles: &mut Vec<Seg>) {
    for EncounterParticipant { person, role, period } in &visit.participants {
        let Some(person) = world.practitioner(person) else {
            continue;
        };
        let is_plain = role.codings.len() == 1 && period.is_none();
        let field = match role.code() {
            Some("ATND") => 7,
            Some("REF") => 8,
            Some("CON") => 9,
            Some("ADM") => 17,
            Some("PART") => 52,
            Some(_) | None => 0,
        };
        if is_plain && field > 0 {
            pv1.rep(field, comps(data::xcn(person, world.profile)));
        } else {
            roles.push(people::rol(world, person, role, period.as_ref()));
        }
    }
}

/// The visit's number → PV1-19, all others → PV1-50.
fn numbers(world: &World<'_>, visit: &Encounter, pv1: &mut Seg) {
    let is_visit = |id: &Identifier| {
        let text = id.kind.as_ref().and_then(|kind| kind.text.as_deref());
        text == Some("visit number")
    };
    let first = visit
        .identifiers
        .iter()
        .position(|id| is_visit(id) && id.usage != Some(IdentifierUse::Old))
        .or_else(|| {
            visit
                .identifiers
                .iter()
                .position(|id| id.kind_code() == Some("VN"))
        })
        .or((!visit.identifiers.is_empty()).then_some(0));
    for (idx, id) in visit.identifiers.iter().enumerate() {
        if id.usage == Some(IdentifierUse::Old) && visit.identifiers.len() > 1 {
            continue;
        }
        let is_first = Some(idx) == first;
        let field = if is_first || is_visit(id) { 19 } else { 50 };
        if !pv1.is_empty(19) && field == 19 {
            // Several numbers of the visit itself: the others are alternate ones.
            pv1.rep(50, comps(data::cx(id, world.profile)));
        } else {
            pv1.rep(field, comps(data::cx(id, world.profile)));
        }
    }
}

fn from_pv2(world: &World<'_>, said: &Said<'_>, visit: &Encounter, pv2: &mut Seg) {
    let profile = world.profile;
    pv2.reps(
        3,
        visit
            .reasons
            .iter()
            .map(|reason| terms::cwe(reason, NO_TABLE, profile)),
    );
    pv2.clear_if(3, said.cleared("reasons"));
    pv2.put(8, data::owhen(visit.planned_start.as_ref()));
    pv2.clear_if(8, said.cleared("planned_start"));
    pv2.put(9, data::owhen(visit.planned_end.as_ref()));
    pv2.clear_if(9, said.cleared("planned_end"));
    // PV2-11 is a number of days.
    let days = visit
        .length
        .as_ref()
        .filter(|length| length.code.as_deref() == Some("d"));
    pv2.put(11, days.map(data::digits).unwrap_or_default());
    pv2.clear_if(11, said.cleared("length"));
    pv2.text(12, visit.description.as_ref());
    pv2.clear_if(12, said.cleared("description"));
    let security = visit.security.first().and_then(|label| label.code.as_ref());
    pv2.put(22, ot(security));
    pv2.put(
        25,
        of(
            visit.priority.as_ref(),
            mapped("0217", "EncounterPriority"),
            world,
        ),
    );
    pv2.clear_if(25, said.cleared("priority"));
    let arrival = visit.mode_of_arrival.as_ref();
    pv2.comps(
        38,
        arrival
            .map(|mode| terms::coding(mode, table("0430"), profile))
            .unwrap_or_default(),
    );
    pv2.clear_if(38, said.cleared("mode_of_arrival"));
}

/// The account that the visit is billed to → PID-18. An earlier account is not written.
pub(super) fn account(world: &World<'_>, visit: &Encounter, pid: &mut Seg) {
    let current = visit
        .accounts
        .iter()
        .filter(|account| account.usage != Some(IdentifierUse::Old));
    pid.reps(18, current.map(|account| data::cx(account, world.profile)));
}
