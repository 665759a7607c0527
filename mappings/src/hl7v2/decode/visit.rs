//! PV1, PV2 → the visit. HL7 v2.5.1, 3.4.3 and 3.4.4.
//!
//! A visit is found by its number (PV1-19), else by the others it has (PV1-50), else by the account (PID-18), else by
//! what it is for the patient: its class and when it began.

use clinic::Body;
use clinic::Change;
use clinic::change_set::Find;
use clinic::patch::{Items, Patch};
use clinic::records::{
    CoverageChange, EncounterChange, EncounterParticipant, EncounterStatus, FinancialStatus, Stay, StayStatus,
};
use clinic::value::{Coding, Concept, Identifier, Period, Quantity, Ref, When};

use super::collect::{Collected, Seg, natural};
use super::datatypes as data;
use super::parties::{self, add};
use super::people;
use super::terms::{self, UCUM, hl7, mapped, table, v2};

/// What a visit is read from.
#[derive(Clone, Copy)]
pub struct Visit<'a, 'm> {
    /// The event: `A04`; empty where the message is about something else.
    pub event: &'a str,
    /// The patient.
    pub patient: &'a Ref,
    /// PID, for the account number.
    pub pid: Option<Seg<'m>>,
    /// PV1.
    pub pv1: Seg<'m>,
    /// PV2.
    pub pv2: Option<Seg<'m>>,
}

/// PV1, PV2 → visit. None: class N ("not applicable"), or nothing is said of any visit, as with class U alone.
pub fn encounter_from_pv1(out: &mut Collected<'_>, visit: Visit<'_, '_>) -> Option<Ref> {
    let Visit {
        patient,
        pv1,
        pv2,
        pid,
        event,
    } = visit;
    // `U` alone stands where a sender must write a PV1 and knows of no visit, as `N` does.
    let first = if pv1.f(2).part(1).is("U") { 3 } else { 2 };
    let says_something = (first..=54).any(|field| pv1.f(field).is_there());
    if pv1.f(2).part(1).is("N") || !says_something {
        return None;
    }
    let mut say = EncounterChange {
        identifiers: numbers(pv1),
        patient: Patch::Set(patient.clone()),
        ..EncounterChange::default()
    };
    class(pv1, &mut say);
    let moved = status(event, pv1, &mut say);
    say.kinds = pv1.f(4).items(|at| terms::concept(at, table("0007")));
    say.preadmission = pv1.f(5).patch(data::identifier);
    say.service_type = pv1
        .f(10)
        .patch(|at| terms::concept(at, mapped("0069", "HospitalService")));
    say.readmission = pv1.f(13).patch(|at| terms::concept(at, table("0092")));
    say.admit_source = pv1.f(14).patch(|at| terms::concept(at, table("0023")));
    say.arrangements = pv1
        .f(15)
        .items(|at| terms::concept(at, mapped("0009", "AmbulatoryStatus")));
    say.courtesies = pv1.f(16).items(|at| terms::concept(at, table("0099")));
    say.discharge_disposition = pv1.f(36).patch(|at| terms::concept(at, table("0112")));
    say.destination = pv1.f(37).patch(|at| parties::discharge_place(out, at));
    say.diets = pv1.f(38).items(|at| terms::concept(at, table("0114")));
    say.episode_description = pv1.f(53).patch(|at| at.text());
    say.episode = pv1.f(54).patch(data::identifier);
    say.period = period(event, pv1);
    say.stays = stays(out, event, pv1, pv2);
    say.participants = participants(out, pv1, pv2);
    if event == "A13" {
        [pv1.f(36), pv1.f(37)]
            .iter()
            .filter(|field| field.is_there())
            .for_each(|field| field.note("the discharge is taken back"));
        not_discharged(&mut say);
    }
    if let Some(pv2) = pv2 {
        from_pv2(pv2, &mut say);
    }
    if let Some(pid) = pid {
        say.accounts = pid.f(18).items(data::identifier);
    }
    let find = find(&say, patient);
    bed_status(out, pv1, &say);
    importance(out, pv1, patient);
    let key = out.key("encounter");
    let encounter = out.push(Change {
        find,
        stays_in: stays_in(event, &say).to_vec(),
        // A26: what was planned by A15 is taken back. HL7 v2.5.1, 3.3.26.
        releases: event == "A26",
        order_stays_in: vec![],
        say_if_new: moved.map(|status| {
            EncounterChange {
                status: Patch::Set(status),
                ..EncounterChange::default()
            }
            .into()
        }),
        ..Change::new(key, say)
    });
    coverage(out, pv1, patient);
    Some(encounter)
}

/// PV1-19 and PV1-50 → numbers of the visit.
fn numbers(pv1: Seg<'_>) -> Items<Identifier> {
    let mut all: Vec<Identifier> = vec![];
    for rep in pv1.f(19).reps() {
        let number = data::identifier(rep).map(|mut number| {
            let mut kind = number.kind.take().unwrap_or_else(|| data::kind_of("VN"));
            if kind.code() == Some("VN") {
                kind.text = Some("visit number".to_owned());
            }
            number.kind = Some(kind);
            number
        });
        all.extend(number);
    }
    for rep in pv1.f(50).reps() {
        all.extend(data::identifier(rep).filter(|new| !all.contains(new)));
    }
    for field in [pv1.f(19), pv1.f(50)] {
        if field.is_null() {
            field.note("a visit is known by its numbers; they are not emptied by a message");
        }
    }
    Items::merge(all)
}

/// PV1-2 → class. Our codes for what the official map leaves as codes of table 0004: R and B are ambulatory and
/// inpatient; C and U are taken as ambulatory, since a visit has a class; the code itself stays beside them.
fn class(pv1: Seg<'_>, say: &mut EncounterChange) {
    let at = pv1.f(2);
    let code = at.part(1).peek();
    let upper = code.as_deref().map(str::to_ascii_uppercase);
    // Devices write the words of table 0004 too.
    let class = match upper.as_deref() {
        Some("E" | "EMERGENCY") => ("EMER", "emergency"),
        Some("I" | "B" | "INPATIENT") => ("IMP", "inpatient encounter"),
        Some("O" | "R" | "C" | "U" | "OUTPATIENT") => ("AMB", "ambulatory"),
        Some("P" | "PREADMIT") => ("PRENC", "pre-admission"),
        Some(_) => {
            say.class = terms::coding(at, table("0004")).into();
            return;
        }
        None => return,
    };
    say.class = Patch::Set(Coding::new(&hl7("v3-ActCode"), class.0, Some(class.1)));
    let more = at.part(2).is_there() || at.part(4).is_there() || at.part(9).is_there();
    let other = !matches!(code.as_deref(), Some("E" | "I" | "O" | "P"));
    if more || other {
        say.class_original = terms::concept(at, table("0004")).into();
    }
    at.part(1).take();
}

/// How far the visit is: what is said, and what is said only of a new one. The state that is stored stays for every
/// event that does not move it, so that an A08 never reopens a visit that is finished.
fn status(event: &str, pv1: Seg<'_>, say: &mut EncounterChange) -> Option<EncounterStatus> {
    let planned = pv1.f(2).part(1).is("P");
    let discharged = pv1.f(45).part(1).peek().is_some();
    let moved = match event {
        "A11" => Some(EncounterStatus::Cancelled),
        "A13" => Some(EncounterStatus::InProgress),
        "A03" => Some(EncounterStatus::Finished),
        // What was planned by A05 or A14 is taken back.
        "A27" | "A38" => Some(EncounterStatus::Cancelled),
        // Events that take back another plan or a record: what they leave behind is not ours to say.
        "A23" | "A25" | "A26" | "A29" | "A32" | "A33" => None,
        _ if discharged => Some(EncounterStatus::Finished),
        "A05" | "A14" => Some(EncounterStatus::Planned),
        "A01" | "A04" if planned => Some(EncounterStatus::Planned),
        "A01" => Some(EncounterStatus::InProgress),
        "A04" => Some(EncounterStatus::Arrived),
        _ => None,
    };
    match moved {
        Some(status) => {
            say.status = Patch::Set(status);
            None
        }
        None if planned => Some(EncounterStatus::Planned),
        None if matches!(event, "A23" | "A29") => Some(EncounterStatus::Unknown),
        None => Some(EncounterStatus::InProgress),
    }
}

/// The states that a known visit stays in. A visit that was ended begins again by A13 alone: an A01 that comes late, or a
/// second time, says nothing of its end. What has begun is not planned any more, and only a plan is taken back by A27 and A38.
fn stays_in(event: &str, say: &EncounterChange) -> &'static [EncounterStatus] {
    use EncounterStatus as S;
    match (event, say.status.value()) {
        ("A27" | "A38", _) | ("A01" | "A04" | "A05" | "A14", Some(S::Planned)) => {
            &[S::Arrived, S::Triaged, S::InProgress, S::OnLeave, S::Finished]
        }
        ("A01" | "A04", Some(S::InProgress | S::Arrived)) => &[S::Finished],
        _ => &[],
    }
}

/// A13: what was said of the discharge is taken back with it, also where the message says it once more. HL7 v2.5.1, 3.3.13.
fn not_discharged(say: &mut EncounterChange) {
    say.discharge_disposition = Patch::Clear;
    say.destination = Patch::Clear;
}

/// PV1-44, PV1-45 → from when to when. A discharge that is taken back leaves the visit open; `""` in both empties them.
fn period(event: &str, pv1: Seg<'_>) -> Patch<Period> {
    let (start, end) = (pv1.f(44), pv1.f(45));
    if event == "A13" && end.is_there() {
        end.note("the discharge is taken back");
        return data::when(start)
            .map(|start| Period {
                start: Some(start),
                end: None,
            })
            .into();
    }
    if start.is_null() && end.is_null() {
        start.empties();
        end.empties();
        return Patch::Clear;
    }
    for field in [start, end].iter().filter(|field| field.is_null()) {
        field.note("one end of a visit alone is not emptied: what is known of it stays (a discharge is taken back by A13)");
    }
    data::period_of(start, end).into()
}

/// The places: where they are, were, will be, and are for a time.
fn stays(out: &mut Collected<'_>, event: &str, pv1: Seg<'_>, pv2: Option<Seg<'_>>) -> Items<Stay> {
    let here = if pv1.f(2).part(1).is("P") {
        StayStatus::Planned
    } else {
        StayStatus::Active
    };
    let fields = [
        (Some(pv1.f(3)), here, false),
        (Some(pv1.f(6)), StayStatus::Completed, false),
        (Some(pv1.f(11)), StayStatus::Active, true),
        (
            Some(pv1.f(42)).filter(|_| event != "A26"),
            StayStatus::Reserved,
            false,
        ),
        (Some(pv1.f(43)), StayStatus::Completed, true),
        (pv2.map(|pv2| pv2.f(1)), StayStatus::Planned, false),
    ];
    let mut stays: Vec<Stay> = vec![];
    for (field, status, temporary) in fields {
        let Some(place) = field.and_then(|at| parties::place(out, at.first())) else {
            continue;
        };
        stays.push(Stay {
            place,
            status: Some(status),
            period: None,
            temporary,
        });
    }
    Items::merge(stays)
}

/// The people: each role of PV1-7, -8, -9, -17, -52 and PV2-13.
fn participants(out: &mut Collected<'_>, pv1: Seg<'_>, pv2: Option<Seg<'_>>) -> Items<EncounterParticipant> {
    let fields = [
        (Some(pv1.f(7)), "ATND", "attender"),
        (Some(pv1.f(8)), "REF", "referrer"),
        (Some(pv1.f(9)), "CON", "consultant"),
        (Some(pv1.f(17)), "ADM", "admitter"),
        (Some(pv1.f(52)), "PART", "Participation"),
        (pv2.map(|pv2| pv2.f(13)), "REF", "referrer"),
    ];
    let mut all: Vec<EncounterParticipant> = vec![];
    for (field, code, display) in fields {
        for rep in field.map(|field| field.reps()).unwrap_or_default() {
            if rep.is_null() {
                rep.note("empties one role of several; only the roles with a person are carried");
                continue;
            }
            let Some(person) = parties::practitioner(out, rep) else {
                continue;
            };
            let participant = EncounterParticipant {
                person,
                role: participation(code, display),
                period: None,
            };
            if !all.contains(&participant) {
                all.push(participant);
            }
        }
    }
    Items::merge(all)
}

fn participation(code: &str, display: &str) -> Concept {
    Concept {
        text: Some(display.to_owned()),
        ..Concept::coded(&hl7("v3-ParticipationType"), code, Some(display))
    }
}

/// ROL, PRT behind PV1 → a participant of the visit. Of PRT (table 0912) those are read whom PV1 has a field for in versions before 2.7.
pub fn participant_from_role(out: &mut Collected<'_>, segment: Seg<'_>, encounter: &Ref) {
    let (people, role, period) = if segment.name() == "PRT" {
        const ROLES: &[(&str, &str, &str)] = &[
            ("AT", "ATND", "attender"),
            ("RP", "REF", "referrer"),
            ("CP", "CON", "consultant"),
            ("AD", "ADM", "admitter"),
        ];
        let in_role = |(said, code, display): &(&str, &'static str, &'static str)| {
            people::is_in_role(segment, said).then_some((*code, *display))
        };
        let Some((code, display)) = ROLES.iter().find_map(in_role) else {
            return;
        };
        (
            people::in_role(out, segment),
            participation(code, display),
            data::period_of(segment.f(11), segment.f(12)),
        )
    } else {
        let people = people::people_of_role(out, segment);
        let role = terms::concept(segment.f(3), mapped("0443", "ProviderRole"));
        let role = role.filter(|_| !people.is_empty()).unwrap_or_default();
        (people, role, data::period_of(segment.f(5), segment.f(6)))
    };
    if let Some(Body::Encounter(say)) = out.change_mut(encounter).map(|change| &mut change.say) {
        for person in people {
            let participant = EncounterParticipant {
                person,
                role: role.clone(),
                period: period.clone(),
            };
            add(&mut say.participants, Some(participant));
        }
    }
}

fn from_pv2(pv2: Seg<'_>, say: &mut EncounterChange) {
    say.reasons = pv2.f(3).items(|at| terms::concept(at, terms::NO_TABLE));
    say.planned_start = pv2.f(8).patch(data::when);
    say.planned_end = pv2.f(9).patch(data::when);
    say.length = pv2.f(11).patch(|at| {
        data::decimal(at).map(|days| Quantity {
            value: Some(days),
            comparator: None,
            unit: Some("days".to_owned()),
            system: Some(UCUM.to_owned()),
            code: Some("d".to_owned()),
        })
    });
    say.description = pv2.f(12).patch(|at| at.text());
    say.security = pv2.f(22).items(|at| {
        at.part(1).text().map(|code| {
            let display = match code.as_str() {
                "Y" => Some("Yes"),
                "N" => Some("No"),
                _ => None,
            };
            Coding::new(&v2("0136"), &code, display)
        })
    });
    say.priority = pv2
        .f(25)
        .patch(|at| terms::concept(at, mapped("0217", "EncounterPriority")));
    say.mode_of_arrival = pv2.f(38).patch(|at| terms::coding(at, table("0430")));
}

/// How the visit is found.
fn find(say: &EncounterChange, patient: &Ref) -> Find {
    if !say.identifiers.values().is_empty() {
        return Find::default();
    }
    if let Some(account) = say.accounts.values().first() {
        let system = account.system.as_deref().unwrap_or_default();
        return natural(Some(patient), format!("visit|account|{system}|{}", account.value));
    }
    let class = say
        .class
        .value()
        .and_then(|class| class.code.clone())
        .unwrap_or_default();
    let start = say
        .period
        .value()
        .and_then(|period| period.start.as_ref())
        .map_or("", When::as_str);
    natural(Some(patient), format!("visit|{class}|{start}"))
}

/// PV1-40 → whether the bed or room of PV1-3 is free, occupied, closed.
fn bed_status(out: &mut Collected<'_>, pv1: Seg<'_>, say: &EncounterChange) {
    let at = pv1.f(40);
    if at.is_empty() || pv1.f(3).part(2).is_empty() && pv1.f(3).part(3).is_empty() {
        return;
    }
    let Some(stay) = say.stays.values().first() else {
        return;
    };
    if let Some(Body::Room(room)) = out.change_mut(&stay.place).map(|change| &mut change.say) {
        room.operational_status = at.patch(|at| terms::coding(at, table("0116")));
    }
}

/// PV1-16 → how important the patient is to the house.
fn importance(out: &mut Collected<'_>, pv1: Seg<'_>, patient: &Ref) {
    let vip = pv1.f(16).patch(|at| terms::concept(at, table("0099")));
    if let Some(Body::Patient(say)) = out.change_mut(patient).map(|change| &mut change.say)
        && !vip.is_absent()
    {
        say.importance = vip;
    }
}

/// PV1-20 → how the patient is paid for: a cover of that financial class.
fn coverage(out: &mut Collected<'_>, pv1: Seg<'_>, patient: &Ref) {
    for rep in pv1.f(20).reps() {
        let Some(class) = terms::concept(rep.part(1), table("0064")) else {
            continue;
        };
        let code = class
            .code()
            .or(class.text.as_deref())
            .unwrap_or_default()
            .to_owned();
        let say = CoverageChange {
            patient: Patch::Set(patient.clone()),
            status: Patch::Set(FinancialStatus::Active),
            financial_class: Patch::Set(class),
            ..CoverageChange::default()
        };
        out.add_found(
            "coverage",
            natural(Some(patient), format!("financial class|{code}")),
            say,
        );
    }
}
