//! Patients and the people around them → PID, PD1, NK1, ROL. HL7 v2.5.1, 3.4.2, 3.4.5, 3.4.10, 15.4.7.

use clinic::Body;
use clinic::patch::Item;
use clinic::people::{Patient, PatientContact, Practitioner, RelatedPerson, Sex};
use clinic::places::OrganizationContact;
use clinic::value::{Address, Concept, Identifier, IdentifierUse, PersonName, Ref, Telecom, TelecomUse};
use uuid::Uuid;

use super::datatypes as data;
use super::terms;
use super::wire::{Seg, comps, t};
use super::world::{Said, World};
use crate::hl7v2::decode::terms::{Table, mapped, table};

/// Administrative sex (table 0001).
fn sex_code(sex: Option<Sex>) -> &'static str {
    match sex {
        None => "",
        Some(Sex::Female) => "F",
        Some(Sex::Male) => "M",
        Some(Sex::Other) => "O",
        Some(Sex::Unknown) => "U",
    }
}

/// A concept of a table.
fn of(concept: Option<&Concept>, table: Table, world: &World<'_>) -> String {
    concept
        .map(|concept| comps(terms::cwe(concept, table, world.profile)))
        .unwrap_or_default()
}

/// Patient → PID. `without` are numbers that are not to be written: those that a merge takes away.
pub(super) fn pid(world: &World<'_>, said: &Said<'_>, number: usize, without: &[Identifier]) -> Seg {
    let profile = world.profile;
    let mut pid = Seg::numbered("PID", number);
    let clinic::Aggregate::Patient(patient) = said.aggregate else {
        return pid;
    };
    let same = |one: &Identifier, other: &Identifier| one.system == other.system && one.value == other.value;
    // A number that is not used any more names nobody to the receiver.
    let is_old = |id: &Identifier| id.usage == Some(IdentifierUse::Old);
    // Who hears of changes only learns of a new number beside the one that they know.
    let is_event = world
        .changes
        .about
        .message_type
        .as_deref()
        .is_some_and(|of| of.contains('.'));
    let came = |id: &Identifier| {
        let mut of_merges = patient.links.iter().flat_map(|link| &link.identifiers);
        of_merges.any(|number| same(number, id))
    };
    let is_left_out = |id: &Identifier| is_old(id) && (!is_event || came(id));
    let all_old = patient.identifiers.iter().all(is_old);
    let kept = patient
        .identifiers
        .iter()
        .filter(|id| !without.iter().any(|old| same(old, id)) && (all_old || !is_left_out(id)));
    let (old, holds): (Vec<&Identifier>, Vec<&Identifier>) = kept.partition(|id| is_old(id));
    let numbers = holds.into_iter().chain(old);
    pid.reps(3, numbers.map(|id| data::cx(id, profile)));
    if pid.is_empty(3) {
        let id = said.id.to_string();
        pid.comps(
            3,
            vec![
                id,
                String::new(),
                String::new(),
                "PUNTE".to_owned(),
                "PI".to_owned(),
            ],
        );
    }
    pid.reps(5, patient.names.iter().map(data::xpn));
    pid.clear_if(5, said.cleared("names"));
    pid.text(6, patient.mothers_maiden_name.as_ref());
    pid.clear_if(6, said.cleared("mothers_maiden_name"));
    pid.put(7, data::owhen(patient.birth_date.as_ref()));
    pid.clear_if(7, said.cleared("birth_date"));
    if !said.outdates("sex", "sex_original") {
        pid.put(8, of(patient.sex_original.as_ref(), table("0001"), world));
    }
    if pid.is_empty(8) {
        pid.put(8, sex_code(patient.sex).to_owned());
    }
    pid.clear_if(8, said.cleared("sex"));
    pid.reps(11, patient.addresses.iter().map(data::xad));
    pid.clear_if(11, said.cleared("addresses"));
    for telecom in &patient.telecoms {
        let field = if telecom.usage == Some(TelecomUse::Work) {
            14
        } else {
            13
        };
        pid.rep(field, comps(data::xtn(telecom)));
    }
    for (field, usage) in [(13, TelecomUse::Home), (14, TelecomUse::Work)] {
        if pid.is_empty(field) {
            pid.clear_if(field, said.cleared("telecoms") || says_none(said, usage));
        }
    }
    for language in &patient.languages {
        pid.rep(15, data::language(&language.language, profile));
    }
    pid.clear_if(15, said.cleared("languages"));
    let concepts: [(usize, Option<&Concept>, Table, &str); 6] = [
        (
            16,
            patient.marital_status.as_ref(),
            mapped("0002", "MaritalStatus"),
            "marital_status",
        ),
        (
            17,
            patient.religion.as_ref(),
            mapped("0006", "Religion"),
            "religion",
        ),
        (28, patient.nationality.as_ref(), table("0212"), "nationality"),
        (35, patient.species.as_ref(), table("0446"), "species"),
        (36, patient.breed.as_ref(), table("0447"), "breed"),
        (
            39,
            patient.tribal_citizenship.first(),
            table("0171"),
            "tribal_citizenship",
        ),
    ];
    for (field, concept, table, name) in concepts {
        pid.put(field, of(concept, table, world));
        pid.clear_if(field, said.cleared(name));
    }
    for more in patient.tribal_citizenship.iter().skip(1) {
        pid.rep(39, of(Some(more), table("0171"), world));
    }
    pid.reps(
        21,
        mothers(world, said.id)
            .into_iter()
            .flat_map(|(_, mother)| mother.identifiers.iter())
            .map(|id| data::cx(id, profile)),
    );
    let born_at = patient.birth_place.as_ref();
    pid.put(23, born_at.map(in_words).unwrap_or_default());
    pid.clear_if(23, said.cleared("birth_place"));
    pid.put(24, yes_no(patient.multiple_birth));
    pid.clear_if(24, said.cleared("multiple_birth"));
    let order = patient.birth_order.map(|order| order.to_string());
    if order.is_some() {
        pid.put(24, "Y".to_owned());
    }
    pid.put(25, order.unwrap_or_default());
    pid.clear_if(25, said.cleared("birth_order"));
    for citizenship in &patient.citizenships {
        pid.rep(26, of(Some(citizenship), table("0171"), world));
    }
    pid.clear_if(26, said.cleared("citizenships"));
    pid.put(29, data::owhen(patient.deceased_at.as_ref()));
    pid.clear_if(29, said.cleared("deceased_at"));
    pid.put(30, yes_no(patient.deceased));
    if patient.deceased_at.is_some() {
        pid.put(30, "Y".to_owned());
    }
    pid.clear_if(30, said.cleared("deceased"));
    last_update(world, said.id, &mut pid);
    pid
}

fn yes_no(flag: Option<bool>) -> String {
    flag.map(|flag| if flag { "Y" } else { "N" })
        .unwrap_or_default()
        .to_owned()
}

/// An address on one line.
fn in_words(address: &Address) -> String {
    if let Some(text) = &address.text {
        return t(text);
    }
    let parts = address
        .lines
        .iter()
        .chain(&address.city)
        .chain(&address.district)
        .chain(&address.state)
        .chain(&address.country);
    t(&parts.map(String::as_str).collect::<Vec<_>>().join(", "))
}

/// That, when and by whom the patient's data were changed → PID-33, PID-34.
fn last_update(world: &World<'_>, patient: Uuid, pid: &mut Seg) {
    let is_update = |act: &&clinic::change_set::Act| {
        let updated = act.activity.as_ref().and_then(Concept::code) == Some("UPDATE");
        updated && world.ids(&act.target).contains(&patient)
    };
    let Some(act) = world.changes.about.acts.iter().find(is_update) else {
        return;
    };
    pid.put(33, data::owhen(act.recorded.as_ref()));
    let facility = act.agents.iter().find_map(|(agent, _)| world.clinic(agent));
    pid.comps(34, facility.map(data::clinic_hd).unwrap_or_default());
}

/// Mothers who are known by their numbers alone (PID-21).
fn mothers<'w, 'a>(world: &'w World<'a>, patient: Uuid) -> Vec<(&'w Said<'a>, &'a RelatedPerson)> {
    let all = world.related_people().into_iter();
    all.filter(|(_, person)| is_of(world, person, patient) && is_mother_by_number(person))
        .collect()
}

fn is_mother_by_number(person: &RelatedPerson) -> bool {
    let is_mother = person.relationships.iter().any(|kind| kind.code() == Some("MTH"));
    is_mother && person.names.is_empty() && !person.identifiers.is_empty()
}

fn is_of(world: &World<'_>, person: &RelatedPerson, patient: Uuid) -> bool {
    person.patient.as_ref().and_then(|of| world.id(of)) == Some(patient)
}

/// Patient → PD1, and ROL for family doctors of whom more is known than PD1-4 can say.
pub(super) fn pd1_and_roles(world: &World<'_>, said: &Said<'_>, patient: &Patient, out: &mut Vec<Seg>) {
    let mut pd1 = Seg::new("PD1");
    let mut roles: Vec<Seg> = vec![];
    for doctor in &patient.general_practitioners {
        if world.clinic(doctor).is_some() {
            pd1.rep(3, comps(data::xon_of(world, Some(doctor))));
        } else if let Some(person) = world.practitioner(doctor) {
            if person.telecoms.is_empty() && person.addresses.is_empty() {
                pd1.rep(4, comps(data::xcn(person, world.profile)));
            } else {
                let role = Concept::coded(
                    &crate::hl7v2::decode::terms::v2("0443"),
                    "PP",
                    Some("Primary Care Provider"),
                );
                roles.push(rol(world, person, &role, None));
            }
        }
    }
    if roles.is_empty() && pd1.is_empty(3) {
        pd1.clear_if(4, said.cleared("general_practitioners"));
    }
    pd1.put(6, of(patient.disability.as_ref(), table("0295"), world));
    pd1.clear_if(6, said.cleared("disability"));
    pd1.put(7, of(patient.living_will.as_ref(), table("0315"), world));
    pd1.clear_if(7, said.cleared("living_will"));
    pd1.text(14, patient.place_of_worship.as_ref());
    pd1.clear_if(14, said.cleared("place_of_worship"));
    let says_something = !pd1.says_nothing() || !pd1.is_empty(1);
    out.extend(says_something.then_some(pd1));
    out.extend(roles);
}

/// Somebody in a role → ROL. HL7 v2.5.1, 15.4.7.
pub(super) fn rol(
    world: &World<'_>,
    person: &Practitioner,
    role: &Concept,
    period: Option<&clinic::value::Period>,
) -> Seg {
    let mut rol = Seg::new("ROL");
    rol.put(2, "AD".to_owned());
    rol.put(3, of(Some(role), mapped("0443", "ProviderRole"), world));
    rol.comps(4, data::xcn(person, world.profile));
    rol.put(5, data::owhen(period.and_then(|period| period.start.as_ref())));
    rol.put(6, data::owhen(period.and_then(|period| period.end.as_ref())));
    rol.reps(11, person.addresses.iter().map(data::xad));
    rol.reps(12, person.telecoms.iter().map(data::xtn));
    rol
}

/// Related persons, and contacts that are no related person → NK1.
pub(super) fn nk1(world: &World<'_>, said: &Said<'_>, patient: &Patient, out: &mut Vec<Seg>) {
    let insured: Vec<Uuid> = world
        .coverages()
        .iter()
        .filter_map(|(_, coverage)| coverage.subscriber.as_ref())
        .filter_map(|subscriber| world.id(subscriber))
        .collect();
    let mut contacts: Vec<&PatientContact> = patient.contacts.iter().collect();
    let mut number = 0;
    for (person, related) in world.related_people() {
        let is_kin = is_of(world, related, said.id) && !insured.contains(&person.id);
        if !is_kin || is_mother_by_number(related) {
            continue;
        }
        let at = contacts.iter().position(|contact| {
            // An organisation has no name of its own there, and is known by whom to ask for.
            let name = contact
                .name
                .as_ref()
                .or_else(|| at_work(world, contact)?.name.as_ref());
            name == related.names.first() && contact.relationships.first() == related.relationships.first()
        });
        let contact = at.map(|at| contacts.remove(at));
        number += 1;
        let mut nk1 = Seg::numbered("NK1", number);
        kin(world, related, contact, &mut nk1);
        nk1.clear_if(16, person.cleared("birth_date"));
        out.push(nk1);
    }
    for contact in contacts {
        number += 1;
        let mut nk1 = Seg::numbered("NK1", number);
        nk1.reps(2, contact.name.iter().map(data::xpn));
        relationships(world, &contact.relationships, &mut nk1);
        nk1.reps(4, contact.address.iter().map(data::xad));
        nk1.put(15, sex_code(contact.sex).to_owned());
        telecoms(&contact.telecoms, &mut nk1);
        let period = contact.period.as_ref();
        nk1.put(8, data::owhen(period.and_then(|period| period.start.as_ref())));
        nk1.put(9, data::owhen(period.and_then(|period| period.end.as_ref())));
        organisation(world, contact, &mut nk1);
        out.push(nk1);
    }
}

/// What somebody is to the patient (table 0063), and in which role they are called (table 0131).
fn relationships(world: &World<'_>, all: &[Concept], nk1: &mut Seg) {
    // An employer of table 0063 has a code of table 0131 beside it, which is derived.
    let is_role = |concept: &Concept| {
        terms::code_of(concept, "0131").is_some() && terms::code_of(concept, "0063").is_none()
    };
    let relationship = all.iter().find(|concept| !is_role(concept));
    let role = all.iter().find(|concept| is_role(concept));
    nk1.put(3, of(relationship, mapped("0063", "Relationship"), world));
    nk1.put(7, of(role, table("0131"), world));
}

/// Whether the change set says that the patient has no number of this use.
fn says_none(said: &Said<'_>, usage: TelecomUse) -> bool {
    said.says.iter().any(|say| match say {
        Body::Patient(say) => {
            let mut all = say.telecoms.values().iter();
            all.any(|telecom| telecom.says_none() && telecom.usage == Some(usage))
        }
        _ => false,
    })
}

fn telecoms(all: &[Telecom], nk1: &mut Seg) {
    for telecom in all {
        let field = if telecom.usage == Some(TelecomUse::Work) {
            6
        } else {
            5
        };
        nk1.rep(field, comps(data::xtn(telecom)));
    }
}

/// Whom to ask for in the organisation that a contact speaks for.
fn at_work<'w>(world: &'w World<'_>, contact: &PatientContact) -> Option<&'w OrganizationContact> {
    let organisation = world.clinic(contact.organization.as_ref()?)?;
    organisation.contacts.first()
}

/// The organisation that a contact speaks for, with whom to ask for there.
fn organisation(world: &World<'_>, contact: &PatientContact, nk1: &mut Seg) {
    let Some(clinic) = contact.organization.as_ref().and_then(|of| world.clinic(of)) else {
        return;
    };
    nk1.comps(13, data::xon(clinic, world.profile));
    if let Some(person) = clinic.contacts.first() {
        nk1.reps(30, person.name.iter().map(data::xpn));
        nk1.reps(31, person.telecoms.iter().map(data::xtn));
        nk1.reps(32, person.address.iter().map(data::xad));
    }
}

fn kin(world: &World<'_>, person: &RelatedPerson, contact: Option<&PatientContact>, nk1: &mut Seg) {
    if let Some(contact) = contact {
        organisation(world, contact, nk1);
    }
    // What was said of the contact person in the organisation stands there, and not a second time.
    let at_work = contact.and_then(|contact| at_work(world, contact));
    let name_at_work = |name: &PersonName| at_work.is_some_and(|work| work.name.as_ref() == Some(name));
    let lives_at_work = |home: &Address| at_work.is_some_and(|work| work.address.as_ref() == Some(home));
    let called_at_work = |telecom: &Telecom| at_work.is_some_and(|work| work.telecoms.contains(telecom));
    nk1.reps(
        2,
        person
            .names
            .iter()
            .filter(|name| !name_at_work(name))
            .map(data::xpn),
    );
    relationships(world, &person.relationships, nk1);
    nk1.reps(
        4,
        person
            .addresses
            .iter()
            .filter(|home| !lives_at_work(home))
            .map(data::xad),
    );
    let telecoms_at_home: Vec<Telecom> = person
        .telecoms
        .iter()
        .filter(|telecom| !called_at_work(telecom))
        .cloned()
        .collect();
    telecoms(&telecoms_at_home, nk1);
    let period = person.period.as_ref();
    nk1.put(8, data::owhen(period.and_then(|period| period.start.as_ref())));
    nk1.put(9, data::owhen(period.and_then(|period| period.end.as_ref())));
    nk1.put(15, sex_code(person.sex).to_owned());
    nk1.put(16, data::owhen(person.birth_date.as_ref()));
    for language in &person.languages {
        nk1.rep(20, data::language(&language.language, world.profile));
    }
    nk1.reps(
        33,
        person.identifiers.iter().map(|id| data::cx(id, world.profile)),
    );
}

/// A related person's own data in IN1-16, -18, -19, -43.
pub(super) fn insured(world: &World<'_>, subscriber: &Ref, patient: Option<Uuid>, in1: &mut Seg) {
    if world.id(subscriber) == patient {
        if let Some(patient) = world.patient(subscriber) {
            in1.reps(16, patient.names.first().map(data::xpn));
            in1.put(18, data::owhen(patient.birth_date.as_ref()));
            in1.put(43, sex_code(patient.sex).to_owned());
        }
        return;
    }
    if let Some(person) = world.related_person(subscriber) {
        in1.reps(16, person.names.iter().map(data::xpn));
        in1.put(18, data::owhen(person.birth_date.as_ref()));
        in1.reps(19, person.addresses.iter().map(data::xad));
        in1.put(43, sex_code(person.sex).to_owned());
    }
}
