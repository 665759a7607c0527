//! Clinic → HL7 v2.5.1: the inverse of [`super::decode`].
//!
//! What is written is what the change set speaks of, each aggregate as it stands afterwards. What the change set
//! empties is written as `""`; what nothing is known of is not written. Which message that is:
//!
//! | the change set has | message |
//! |---|---|
//! | results (that are not earlier ones sent along with an order), documents | ORU^R01 |
//! | appointments | SIU, with the trigger of the message that it came by, else by the state: S12, S15, S17, S26 |
//! | blocked or opened time | SIU^S23, SIU^S24 |
//! | orders | OML^O21; orders of images OMI^O23 |
//! | an event that tells how far an order of images is | ORM^O01 |
//! | prescriptions | OMP^O09 |
//! | merges | ADT^A40 |
//! | whether a bed is free, by ADT^A20 | ADT^A20 |
//! | else | ADT, with the trigger of the message that it came by where one patient's data fit it, else A08 |
//!
//! A change set that came by an order or schedule message stays one. One that tells an event of the clinic
//! (`Order.placed`) is written by what the event is about.
//!
//! Header: MSH-3 is `PUNTE`, MSH-4 the facility that the original was sent to. MSH-5 and -6 are the receiver that the
//! original names, where that is not us: a hub passes on to whom the sender meant. A channel's `set` step puts its own
//! values in their place. MSH-7 is now, in the channel's zone, with its offset. The charset is UTF-8; [`encode_as`]
//! writes another one.
//!
//! What changes on the way there and back, on purpose:
//! - a time has seconds and its offset, a number a point and no sign that says nothing (`1,5` → `1.5`, `<5` → SN);
//! - of a person's several numbers and names XCN has the first; organisations likewise;
//! - a patient without any number is named by their id here (`^^^PUNTE^PI`), since PID-3 has to name one;
//! - a CNP without authority and kind gets both (`^^^CNP^NI`);
//! - of several earlier places of a visit PV1-6 has the last;
//! - remarks of one author and time that stand behind one another read as one remark;
//! - an order of images has the numbers that the clinic made for it (study UID, accession number, step);
//! - who is responsible for sending and receiving (MSH-22, -23 of later versions) is not written;
//! - codes that the decoder derives (FHIR's own, by the official maps) are left out, since they are derived again.
//!
//! What the clinic knows and these messages have no field for (a photograph, remarks on an allergy, when a problem
//! ended) is not written. What a message has a place for once, and the change set says several times (appointments,
//! visits of a patient, ways of dosing), is refused.

use std::collections::HashSet;

use clinic::change_set::Merge;
use clinic::exchange::{MapError, Reason, Stamp, control_id};
use clinic::scheduling::SlotStatus;
use clinic::value::{Identifier, IdentifierUse, Ref};
use clinic::{Applied, Change, ChangeSet, Kind};
use uuid::Uuid;

use self::wire::{Seg, comps, ot, t};
use self::world::{Said, World};
use super::charset::Charset;
use super::decode::Profile;

mod answer;
mod datatypes;
#[cfg(test)]
mod event_tests;
mod imaging;
#[cfg(test)]
mod imaging_tests;
mod medication;
mod notes;
mod observations;
mod orders;
mod people;
mod record;
mod results;
mod scheduling;
mod terms;
#[cfg(test)]
mod tests;
mod timing;
mod visit;
mod wire;
mod world;

pub(super) use self::answer::{Answer, answer_segments};

/// The structures that have a place for NK1 (HL7 v2.5.1, chapters 3, 4 and 7). A strict receiver refuses it elsewhere.
const WITH_RELATIVES: [&str; 7] = [
    "ADT_A01", "ADT_A03", "ADT_A05", "ADT_A06", "ADT_A16", "OML_O21", "ORU_R01",
];

/// The program, as it calls itself in MSH-3.
const APPLICATION: &str = "PUNTE";

/// Writes what a change set speaks of as a message in UTF-8. `applied` is what came of it.
pub fn encode(
    changes: &ChangeSet,
    applied: &Applied,
    profile: &Profile,
    stamp: &Stamp,
) -> Result<Vec<u8>, MapError> {
    encode_as(changes, applied, profile, stamp, Charset::Utf8)
}

/// The same in another charset. A letter that it has no byte for is an error, never a question mark.
pub fn encode_as(
    changes: &ChangeSet,
    applied: &Applied,
    profile: &Profile,
    stamp: &Stamp,
    charset: Charset,
) -> Result<Vec<u8>, MapError> {
    let world = World::new(changes, applied, profile);
    let (kind, event, structure) = message_type(&world)?;
    has_place_for_all(&world, kind)?;
    let mut out = vec![msh(&world, stamp, charset, [kind, &event, structure])];
    match kind {
        "ORU" => of_patients(&world, &mut out, results::of_patient)?,
        "OML" | "OMI" => of_patients(&world, &mut out, orders::of_patient)?,
        "ORM" => {
            let state = imaging::state_of_event(&world).unwrap_or("SC");
            let told = |world: &World<'_>, patient, out: &mut Vec<Seg>| {
                imaging::state_of_patient(world, state, patient, out);
            };
            of_patients(&world, &mut out, told)?;
        }
        "OMP" => of_patients(&world, &mut out, medication::of_patient)?,
        "SIU" => schedule(&world, &event, &mut out)?,
        _ => adt(&world, &event, stamp, &mut out)?,
    }
    if !WITH_RELATIVES.contains(&structure) {
        out.retain(|segment| segment.name() != "NK1");
    }
    let mut text = String::new();
    for segment in &out {
        text.push_str(&segment.line());
        text.push('\r');
    }
    charset
        .encode(&text)
        .map_err(|error| MapError::new(Reason::DataType, None, error.to_string()))
}

/// Which message says it: type, trigger, structure.
fn message_type(world: &World<'_>) -> Result<(&'static str, String, &'static str), MapError> {
    let original = world.changes.about.message_type.as_deref().unwrap_or_default();
    let (kind, event) = original.split_once('^').unwrap_or((original, ""));
    let has = |kind| world.speaks_of(kind);
    let siu = |event: &str| Ok(("SIU", event.to_owned(), "SIU_S12"));
    let oml = || match imaging::is_all_imaging(world) {
        true => Ok(("OMI", "O23".to_owned(), "OMI_O23")),
        false => Ok(("OML", "O21".to_owned(), "OML_O21")),
    };
    let oru = || Ok(("ORU", "R01".to_owned(), "ORU_R01"));
    if imaging::state_of_event(world).is_some() {
        return Ok(("ORM", "O01".to_owned(), "ORM_O01"));
    }
    if matches!(kind, "ORM" | "OML" | "OMG" | "OMI") && has(Kind::Order) {
        return oml();
    }
    if has(Kind::Appointment) && (kind == "SIU" || !has(Kind::Result)) {
        let number = event.strip_prefix('S').and_then(|n| n.parse::<u32>().ok());
        let fits = kind == "SIU" && number.is_some_and(|n| (12..=22).contains(&n) || n == 26);
        let booked = world.appointments();
        if booked.len() > 1 {
            return Err(one_only("SCH", "appointment"));
        }
        let status = booked.first().and_then(|(_, booked)| booked.status);
        return siu(match fits {
            true => event,
            false => scheduling::event_of(status, original),
        });
    }
    if let Some((_, slot)) = world.slots().first() {
        let is_free = slot.status == Some(SlotStatus::Free);
        return siu(if is_free { "S24" } else { "S23" });
    }
    if has(Kind::Result) || has(Kind::Document) {
        return oru();
    }
    if has(Kind::Order) {
        return oml();
    }
    if has(Kind::MedicationOrder) {
        return Ok(("OMP", "O09".to_owned(), "OMP_O09"));
    }
    if joined(world).next().is_some() {
        return Ok(("ADT", "A40".to_owned(), "ADT_A39"));
    }
    if kind == "ADT" && matches!(event, "A46" | "A47") && !old_numbers(world).is_empty() {
        return Ok(("ADT", event.to_owned(), "ADT_A30"));
    }
    if (kind, event) == ("ADT", "A20") && has(Kind::Room) {
        return Ok(("ADT", event.to_owned(), "ADT_A20"));
    }
    if !has(Kind::Patient) {
        return Err(MapError::missing("PID-3", "a patient to write about"));
    }
    if kind == "ADT"
        && let Some(structure) = structure_of_move(event)
        && moved_visit(world).is_some()
    {
        return Ok(("ADT", event.to_owned(), structure));
    }
    let (event, structure) = match original.split_once('.') {
        Some((of, verb)) => adt_structure("ADT", trigger_of(of, verb)),
        None => adt_structure(kind, event),
    };
    Ok(("ADT", event.to_owned(), structure))
}

/// The trigger that tells an event of the clinic; empty: that of any other change of a patient.
fn trigger_of(kind: &str, verb: &str) -> &'static str {
    match (kind, verb) {
        ("Patient", "created") => "A28",
        ("Encounter", "created" | "started") => "A01",
        ("Encounter", "arrived" | "triaged") => "A04",
        ("Encounter", "planned") => "A05",
        ("Encounter", "transferred") => "A02",
        ("Encounter", "finished") => "A03",
        ("Encounter", "left") => "A21",
        ("Encounter", "returned") => "A22",
        ("Encounter", "cancelled" | "withdrawn") => "A11",
        ("Encounter", "discharge-cancelled") => "A13",
        _ => "",
    }
}

/// Refuses a change set that speaks of what the message has no place for: nothing is dropped in silence.
fn has_place_for_all(world: &World<'_>, kind: &str) -> Result<(), MapError> {
    let reported: Vec<Uuid> = world
        .results()
        .iter()
        .flat_map(|(_, report)| world.ids(&report.orders))
        .collect();
    let booked: Vec<Uuid> = world
        .appointments()
        .iter()
        .flat_map(|(_, booked)| world.ids(&booked.orders))
        .collect();
    let informs = of_orders_information(world);
    let has_place = |said: &Said<'_>| match said.kind {
        Kind::Appointment | Kind::Slot | Kind::Schedule => kind == "SIU",
        Kind::Document => kind == "ORU",
        Kind::MedicationOrder => kind == "OMP",
        // Images go by DICOM.
        Kind::ImagingStudy | Kind::ImagingInstance => false,
        Kind::Order => match kind {
            "OML" | "OMI" | "ORM" => true,
            "ORU" => reported.contains(&said.id),
            "SIU" => booked.contains(&said.id),
            _ => false,
        },
        Kind::Result => match (kind, said.aggregate) {
            ("ORU", _) => true,
            ("OML" | "OMI", clinic::Aggregate::Result(report)) => world
                .ids(&report.observations)
                .iter()
                .any(|id| informs.contains(id)),
            _ => false,
        },
        Kind::Patient
        | Kind::RelatedPerson
        | Kind::Practitioner
        | Kind::Clinic
        | Kind::Site
        | Kind::Room
        | Kind::Service
        | Kind::Encounter
        | Kind::Condition
        | Kind::Allergy
        | Kind::Procedure
        | Kind::Coverage
        | Kind::Specimen
        | Kind::Observation => true,
    };
    one_visit_each(world)?;
    medication::one_dosage_each(world)?;
    let Some(without) = world.said.iter().find(|said| !has_place(said)) else {
        return Ok(());
    };
    let what = format!(
        "a message of type {kind} has no place for a change of kind {}. Send it in a change set of its own.",
        without.kind.as_str()
    );
    Err(MapError::new(Reason::Sequence, None, what))
}

/// Refuses several visits of one patient: PV1 names the one that all else of the message belongs to.
fn one_visit_each(world: &World<'_>) -> Result<(), MapError> {
    let mut seen: HashSet<Option<Uuid>> = HashSet::new();
    for (_, visit) in world.encounters() {
        if !seen.insert(visit.patient.as_ref().and_then(|of| world.id(of))) {
            return Err(one_only("PV1", "visit of a patient"));
        }
    }
    Ok(())
}

/// The observations that were sent along with orders.
fn of_orders_information(world: &World<'_>) -> Vec<Uuid> {
    let orders = world.orders().into_iter();
    orders
        .flat_map(|(_, order)| world.ids(&order.supporting_info))
        .collect()
}

/// The trigger of the original where the data of its patients can be written under it, else A08.
fn adt_structure<'e>(kind: &str, event: &'e str) -> (&'e str, &'static str) {
    let structure = match event {
        "A01" | "A04" | "A08" | "A13" => "ADT_A01",
        "A02" => "ADT_A02",
        "A03" => "ADT_A03",
        "A05" | "A14" | "A28" | "A31" => "ADT_A05",
        "A06" | "A07" => "ADT_A06",
        "A09" | "A10" | "A11" => "ADT_A09",
        "A12" => "ADT_A12",
        "A15" => "ADT_A15",
        "A16" => "ADT_A16",
        "A17" => "ADT_A17",
        "A21" | "A22" | "A23" | "A25" | "A26" | "A27" | "A29" | "A32" | "A33" => "ADT_A21",
        "A24" => "ADT_A24",
        "A37" => "ADT_A37",
        "A38" => "ADT_A38",
        _ => "",
    };
    if kind == "ADT" && !structure.is_empty() {
        (event, structure)
    } else {
        ("A08", "ADT_A01")
    }
}

fn one_only(place: &str, what: &str) -> MapError {
    let what =
        format!("a message is about one {what}, and the change set speaks of several. Send them one by one.");
    MapError::new(Reason::Sequence, Some(place), what)
}

/// The header. HL7 v2.5.1, 2.15.9.
fn msh(world: &World<'_>, stamp: &Stamp, charset: Charset, message_type: [&str; 3]) -> Seg {
    let about = &world.changes.about;
    let mut msh = Seg::new("MSH");
    msh.put(1, "|".to_owned());
    msh.put(2, "^~\\&".to_owned());
    msh.put(3, APPLICATION.to_owned());
    msh.comps(4, party(about.receiver.facility.as_ref(), world.profile));
    let is_us = about
        .receiver
        .application
        .as_ref()
        .is_none_or(|application| application.value.eq_ignore_ascii_case(APPLICATION));
    if !is_us {
        msh.comps(5, party(about.receiver.application.as_ref(), world.profile));
        msh.comps(6, party(about.receiver.facility.as_ref(), world.profile));
    }
    msh.put(7, now(stamp, world.profile));
    // In 2.5.1 MSH-8 is a text.
    let security = about.security.iter().find(|concept| concept.codings.is_empty());
    msh.put(
        8,
        security
            .map(|concept| ot(concept.text.as_ref()))
            .unwrap_or_default(),
    );
    msh.comps(9, message_type.iter().map(|part| (*part).to_owned()).collect());
    msh.put(10, control_id(stamp.id));
    let processing = about
        .processing
        .as_ref()
        .map_or_else(|| "P".to_owned(), |id| t(id));
    msh.comps(11, vec![processing, ot(about.processing_mode.as_ref())]);
    msh.put(12, "2.5.1".to_owned());
    msh.text(17, about.sender.country.as_ref());
    msh.put(18, charset_name(charset));
    if let Some(language) = &about.language {
        msh.put(19, datatypes::language(language, world.profile));
    }
    msh
}

/// A program or facility → HD.
fn party(party: Option<&Identifier>, profile: &Profile) -> Vec<String> {
    let Some(party) = party else { return vec![] };
    match &party.system {
        Some(system) => datatypes::hd(Some(system), Some(&party.value), profile),
        None => vec![t(&party.value)],
    }
}

/// Now, in the channel's zone.
fn now(stamp: &Stamp, profile: &Profile) -> String {
    let offset = profile.zone.to_offset(stamp.now);
    let local = offset.to_datetime(stamp.now);
    let sign = if offset.seconds() < 0 { '-' } else { '+' };
    let minutes = offset.seconds().unsigned_abs() / 60;
    format!(
        "{}{sign}{:02}{:02}",
        local.strftime("%Y%m%d%H%M%S"),
        minutes / 60,
        minutes % 60
    )
}

/// MSH-18 as table 0211 has it.
fn charset_name(charset: Charset) -> String {
    match charset {
        Charset::Ascii => "ASCII",
        Charset::Utf8 => "UNICODE UTF-8",
        Charset::Latin1 => "8859/1",
        Charset::Latin2 => "8859/2",
        Charset::Cyrillic => "8859/5",
        Charset::Latin9 => "8859/15",
        Charset::Latin10 => "8859/16",
        Charset::Windows1250 => "CP1250",
        Charset::Windows1251 => "CP1251",
        Charset::Windows1252 => "CP1252",
        Charset::Utf16Le | Charset::Utf16Be => "UNICODE UTF-16",
        Charset::Other(encoding) => encoding.name(),
    }
    .to_owned()
}

/// The merges, without those that are only links (A24, A37).
fn joined<'w>(world: &'w World<'_>) -> impl Iterator<Item = &'w Merge> {
    world.changes.merges.iter().filter(|merge| !merge.link)
}

/// Patients that are not the old record of a merge.
fn patients<'w, 'a>(world: &'w World<'a>) -> Vec<&'w Said<'a>> {
    let old: Vec<Uuid> = joined(world)
        .filter_map(|merge| world.applied.ids.get(&merge.old).map(|(_, id)| *id))
        .collect();
    let all = world.patients().into_iter().map(|(said, _)| said);
    all.filter(|said| !old.contains(&said.id)).collect()
}

/// PID and what stands between it and orders or reports, then those; for each patient.
fn of_patients(
    world: &World<'_>,
    out: &mut Vec<Seg>,
    below: impl Fn(&World<'_>, Uuid, &mut Vec<Seg>),
) -> Result<(), MapError> {
    let all = patients(world);
    if all.is_empty() {
        return Err(MapError::missing("PID-3", "a patient to write about"));
    }
    for (idx, patient) in all.iter().enumerate() {
        person(world, patient, idx + 1, &[], out);
        visit_of(world, patient, false, out);
        let taken = of_reports(world);
        let visit = visit::of_patient(world, patient).map(|(_, visit)| visit);
        on_chart(world, patient, &taken, out);
        let below_orders = of_orders(world);
        record::chart(world, patient.id, visit, &below_orders, true, out);
        below(world, patient.id, out);
    }
    Ok(())
}

fn on_chart(world: &World<'_>, patient: &Said<'_>, taken: &[Uuid], out: &mut Vec<Seg>) {
    let reference = clinic::value::Ref::Id(Kind::Patient, patient.id);
    observations::on_chart(world, &reference, taken, out);
}

/// The observations that stand below a report or an order.
fn of_reports(world: &World<'_>) -> Vec<Uuid> {
    let mut all: Vec<Uuid> = vec![];
    for (_, report) in world.results() {
        all.extend(world.ids(&report.observations));
    }
    all.extend(of_orders_information(world));
    all
}

/// The diagnoses that stand below an order.
fn of_orders(world: &World<'_>) -> Vec<Uuid> {
    let orders = world
        .orders()
        .into_iter()
        .map(|(_, order)| &order.reason_conditions);
    let prescriptions = world
        .medication_orders()
        .into_iter()
        .map(|(_, order)| &order.reason_conditions);
    orders
        .chain(prescriptions)
        .flat_map(|reasons| world.ids(reasons))
        .collect()
}

/// PID, PD1, ROL, NK1.
fn person(world: &World<'_>, said: &Said<'_>, number: usize, without: &[Identifier], out: &mut Vec<Seg>) {
    let mut pid = people::pid(world, said, number, without);
    if let Some((_, visit)) = visit::of_patient(world, said) {
        visit::account(world, visit, &mut pid);
    }
    out.push(pid);
    if let clinic::Aggregate::Patient(patient) = said.aggregate {
        people::pd1_and_roles(world, said, patient, out);
        people::nk1(world, said, patient, out);
    }
}

/// PV1, PV2, ROL; with `needed` a PV1 of class N where there is no visit.
fn visit_of(world: &World<'_>, patient: &Said<'_>, needed: bool, out: &mut Vec<Seg>) {
    match visit::of_patient(world, patient) {
        Some((said, visit)) => visit::segments(world, said, visit, patient, out),
        None if needed => out.push(visit::none()),
        None => {}
    }
}

/// SIU: what is booked, for whom, and who and what is needed.
fn schedule(world: &World<'_>, event: &str, out: &mut Vec<Seg>) -> Result<(), MapError> {
    let booked = world.appointments();
    let Some((said, booked)) = booked.first() else {
        let slots: Vec<_> = world.slots().into_iter().map(|(_, slot)| slot).collect();
        let schedule = scheduling::blocked(world, &slots);
        out.extend(schedule.head);
        out.extend(schedule.resources);
        return Ok(());
    };
    let schedule = scheduling::appointment(world, said, booked, event);
    out.extend(schedule.head);
    // Time can be booked for nobody: then there is no group of a patient.
    for (idx, whose) in scheduling::patients(world, booked).enumerate() {
        let unsaid = world.unsaid(whose);
        let said = world.id(whose).and_then(|id| world.said_of(id));
        let Some(patient) = said.or(unsaid.as_ref()) else {
            return Err(MapError::missing("PID-3", "the patient of the appointment"));
        };
        person(world, patient, idx + 1, &[], out);
        visit_of(world, patient, false, out);
        on_chart(world, patient, &of_reports(world), out);
        let visit = visit::of_patient(world, patient).map(|(_, visit)| visit);
        record::chart(world, patient.id, visit, &of_orders(world), false, out);
    }
    out.extend(schedule.resources);
    Ok(())
}

/// EVN and the patients.
fn adt(world: &World<'_>, event: &str, stamp: &Stamp, out: &mut Vec<Seg>) -> Result<(), MapError> {
    out.push(evn(world, event, stamp));
    if event == "A40" {
        return merges(world, out);
    }
    if event == "A20" {
        out.extend(visit::beds(world));
        return Ok(());
    }
    if matches!(event, "A46" | "A47") {
        renumbered(world, out);
        return Ok(());
    }
    if structure_of_move(event).is_some() {
        return moves(world, out);
    }
    let all = patients(world);
    if all.len() > 1 && !matches!(event, "A17" | "A24" | "A37") {
        return Err(one_only("PID", "patient"));
    }
    for (idx, patient) in all.iter().enumerate() {
        person(world, patient, idx + 1, &[], out);
        // A24 and A37 link people; of all others a PV1 is asked for.
        visit_of(world, patient, !matches!(event, "A24" | "A37"), out);
        on_chart(world, patient, &[], out);
        let visit = visit::of_patient(world, patient).map(|(_, visit)| visit);
        record::chart(world, patient.id, visit, &[], false, out);
    }
    Ok(())
}

/// The event. HL7 v2.5.1, 3.4.1.
fn evn(world: &World<'_>, event: &str, stamp: &Stamp) -> Seg {
    let about = &world.changes.about;
    let profile = world.profile;
    let mut evn = Seg::new("EVN");
    evn.put(1, event.to_owned());
    let recorded = about.recorded.as_ref().map(datatypes::when);
    evn.put(2, recorded.unwrap_or_else(|| now(stamp, profile)));
    if let Some(reason) = &about.reason {
        let table = super::decode::terms::mapped("0062", "EventReason");
        evn.put(4, comps(terms::cwe(reason, table, profile)));
    }
    let operators = about.operators.iter();
    evn.reps(5, operators.map(|person| datatypes::xcn_of(world, Some(person))));
    evn.put(6, datatypes::owhen(about.occurred.as_ref()));
    if let Some(site) = about.place.as_ref().and_then(|place| world.site(place)) {
        evn.comps(7, datatypes::site_hd(site));
    }
    evn
}

/// The numbers that a change of numbers (A46, A47) leaves behind, each with whose they were.
fn old_numbers<'w, 'a>(world: &'w World<'a>) -> Vec<(&'w Said<'a>, Vec<Identifier>)> {
    let is_old = |id: &&Identifier| id.usage == Some(IdentifierUse::Old);
    let all = world.patients().into_iter().map(|(said, _)| {
        let numbers = said.says.iter().flat_map(|say| say.identifiers()).filter(is_old);
        (said, numbers.cloned().collect::<Vec<_>>())
    });
    all.filter(|(_, numbers)| !numbers.is_empty()).collect()
}

/// PID with the numbers as they are now, MRG with those before.
fn renumbered(world: &World<'_>, out: &mut Vec<Seg>) {
    for (idx, (said, numbers)) in old_numbers(world).into_iter().enumerate() {
        person(world, said, idx + 1, &numbers, out);
        let mut mrg = Seg::new("MRG");
        mrg.reps(1, numbers.iter().map(|id| datatypes::cx(id, world.profile)));
        out.push(mrg);
    }
}

/// The events by which a visit becomes one with another (A42), another patient's (A45), or has another number (A50, A51). HL7 v2.5.1,
/// 3.3.42, 3.3.45, 3.3.50, 3.3.51.
fn structure_of_move(event: &str) -> Option<&'static str> {
    match event {
        "A42" => Some("ADT_A39"),
        "A45" => Some("ADT_A45"),
        "A50" | "A51" => Some("ADT_A50"),
        _ => None,
    }
}

/// What is said of a visit that moves, and its number before.
fn moved_visit<'w>(world: &'w World<'_>) -> Option<(&'w Change, &'w Identifier)> {
    let visits = world.changes.changes.iter();
    let mut visits = visits.filter(|change| change.kind() == Kind::Encounter);
    // The number before is the last of those that find it.
    visits.find_map(|change| Some((change, change.find.identifiers.last()?)))
}

/// PID as it is now, MRG with whose the visit was and its number before, PV1 as it is now.
fn moves(world: &World<'_>, out: &mut Vec<Seg>) -> Result<(), MapError> {
    let all = patients(world);
    let (Some(patient), Some((visit, number))) = (all.first(), moved_visit(world)) else {
        return Err(MapError::missing("MRG-5", "the visit that moves"));
    };
    if all.len() > 1 {
        return Err(one_only("PID", "patient"));
    }
    person(world, patient, 1, &[], out);
    let so_far = visit.find.from.as_ref().and_then(|from| {
        let mut changes = world.changes.changes.iter();
        let is_it = |change: &&Change| matches!(from, Ref::Local(key) if *key == change.key);
        changes
            .find(is_it)
            .map(|change| change.find.identifiers.as_slice())
    });
    let is_in_use = |id: &&Identifier| id.usage != Some(IdentifierUse::Old);
    let numbers = so_far.unwrap_or(patient.aggregate.identifiers()).iter();
    let mut mrg = Seg::new("MRG");
    mrg.reps(
        1,
        numbers
            .filter(is_in_use)
            .map(|id| datatypes::cx(id, world.profile)),
    );
    mrg.comps(5, datatypes::cx(number, world.profile));
    out.push(mrg);
    let mut segments = vec![];
    visit_of(world, patient, true, &mut segments);
    out.extend(segments.into_iter().filter(|segment| segment.name() == "PV1"));
    Ok(())
}

/// PID of the record that stays, MRG of the one that goes; for each merge.
fn merges(world: &World<'_>, out: &mut Vec<Seg>) -> Result<(), MapError> {
    let of = |key: &str| world.applied.ids.get(key).and_then(|(_, id)| world.said_of(*id));
    // As the change says it: the record itself is the survivor's by now.
    let say = |key: &str| {
        let change = world.changes.changes.iter().find(|change| change.key == key);
        change.map(|change| &change.say)
    };
    for (idx, merge) in joined(world).enumerate() {
        if merge.undo {
            return Err(MapError::new(
                Reason::UnsupportedEvent,
                None,
                "a merge that is undone has no message here. Undo it in the receiving system by hand.",
            ));
        }
        let (Some(survivor), Some(_), Some(old)) = (of(&merge.survivor), of(&merge.old), say(&merge.old))
        else {
            return Err(MapError::missing("MRG-1", "a record of the merge"));
        };
        let gone = old.identifiers();
        person(world, survivor, idx + 1, gone, out);
        out.push(record::mrg(world, gone, old));
    }
    Ok(())
}
