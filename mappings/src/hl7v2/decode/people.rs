//! PID, PD1, NK1, ROL, PRT → the patient and the people around them. HL7 v2.5.1, 3.4.2, 3.4.5, 3.4.10, 15.4.7.

use clinic::Body;
use clinic::change_set::Find;
use clinic::patch::{Items, Patch};
use clinic::people::{PatientChange, PatientContact, RelatedPersonChange, Sex};
use clinic::places::OrganizationContact;
use clinic::value::{Address, Concept, Identifier, Language, PersonName, Ref, Telecom, TelecomUse};

use super::collect::{At, Collected, Seg, natural};
use super::datatypes as data;
use super::parties::{self, add};
use super::terms::{self, hl7, mapped, table};
use super::{about, times};

/// PID → patient, found by all the identifiers that it names; a CNP comes in PID-3 as type NNROU or NI, under the
/// authority CNP, or without either and known by its shape.
pub fn patient_from_pid(out: &mut Collected<'_>, pid: Seg<'_>) -> Ref {
    let mut say = PatientChange {
        identifiers: identifiers(pid),
        names: several(&[pid.f(5), pid.f(9)], data::names),
        mothers_maiden_name: pid.f(6).patch(data::name_in_words),
        birth_date: pid.f(7).patch(data::when),
        addresses: addresses(pid),
        telecoms: telecoms(pid),
        languages: pid.f(15).items(|at| {
            about::language(at).map(|language| Language {
                language,
                preferred: false,
            })
        }),
        marital_status: pid
            .f(16)
            .patch(|at| terms::concept(at, mapped("0002", "MaritalStatus"))),
        religion: pid
            .f(17)
            .patch(|at| terms::concept(at, mapped("0006", "Religion"))),
        birth_place: pid.f(23).patch(|at| {
            at.text().map(|text| Address {
                text: Some(text),
                ..Address::default()
            })
        }),
        birth_order: pid.f(25).patch(data::positive),
        citizenships: pid.f(26).items(|at| terms::concept(at, table("0171"))),
        nationality: pid.f(28).patch(|at| terms::concept(at, table("0212"))),
        deceased_at: pid.f(29).patch(data::when),
        species: pid.f(35).patch(|at| terms::concept(at, table("0446"))),
        breed: pid.f(36).patch(|at| terms::concept(at, table("0447"))),
        tribal_citizenship: pid.f(39).items(|at| terms::concept(at, table("0171"))),
        ..PatientChange::default()
    };
    (say.sex, say.sex_original) = sex_patch(pid.f(8));
    match say.birth_order {
        Patch::Set(_) => pid.f(24).note("PID-25 says it more exactly"),
        Patch::Absent | Patch::Clear => say.multiple_birth = pid.f(24).patch(data::yes_no),
    }
    match say.deceased_at {
        Patch::Set(_) => pid.f(30).note("PID-29 says it more exactly"),
        Patch::Absent | Patch::Clear => say.deceased = pid.f(30).patch(data::yes_no),
    }
    let key = out.add("patient", say);
    mother(out, pid, &key);
    about::last_update(out, pid, &key);
    key
}

/// PID-2, -3, -4, -19, -20 → identifiers.
fn identifiers(pid: Seg<'_>) -> Items<Identifier> {
    let mut all: Vec<Identifier> = vec![];
    for field in [3, 2, 4] {
        for rep in pid.f(field).reps() {
            let identifier = data::identifier(rep);
            all.extend(identifier.filter(|new| !all.contains(new)));
        }
    }
    all.extend(social_number(pid.f(19)).filter(|new| !all.iter().any(|old| same_number(old, new))));
    all.extend(pid.f(20).reps().into_iter().filter_map(data::driver_licence));
    for field in [2, 3, 4, 19, 20].map(|n| pid.f(n)) {
        if field.is_null() {
            field.note("a patient is known by the identifiers; they are not emptied by a message");
        }
    }
    if pid.f(3).is_snapshot() {
        Items::replace(all)
    } else {
        Items::merge(all)
    }
}

fn same_number(one: &Identifier, other: &Identifier) -> bool {
    one.system == other.system && one.value == other.value
}

/// PID-19, NK1-37 → the national number: a CNP, else one of a social beneficiary (`SB`).
fn social_number(at: At<'_>) -> Option<Identifier> {
    let value = at.part(1).text()?;
    let system = data::personal_system(&value, None, None);
    Some(Identifier {
        system: system.map(str::to_owned),
        kind: Some(data::kind_of(if system.is_some() { "NI" } else { "SB" })),
        value,
        ..Identifier::default()
    })
}

/// A list that several fields say: emptied where all that are there say `""`.
fn several<T>(fields: &[At<'_>], read: impl Fn(At<'_>) -> Vec<T>) -> Items<T> {
    let there: Vec<&At<'_>> = fields.iter().filter(|field| field.is_there()).collect();
    if !there.is_empty() && there.iter().all(|field| field.is_null()) {
        there.iter().for_each(|field| _ = field.empties());
        return Items::Clear;
    }
    for field in there.iter().filter(|field| field.is_null()) {
        field.note("empties a part of a list that another field says; only the other field is carried");
    }
    let values: Vec<T> = there
        .iter()
        .flat_map(|field| field.reps())
        .flat_map(read)
        .collect();
    if fields.first().is_some_and(At::is_snapshot) {
        Items::replace(values)
    } else {
        Items::merge(values)
    }
}

/// PID-13, -14, -40 → telephones and the like. `""` in PID-14 takes out those at work, in PID-13 all others; in PID-40, which
/// has both, all. HL7 v2.5.1, 2.5.3, 3.4.2.13, 3.4.2.14.
fn telecoms(pid: Seg<'_>) -> Items<Telecom> {
    let [home, work, both] = [13, 14, 40].map(|field| pid.f(field));
    let fields = [home, work, both];
    let is_whole = both.is_null() || home.is_null() && work.is_null();
    let usual = |at: &At<'_>| match (home.holds(at), work.holds(at)) {
        (true, _) => Some(TelecomUse::Home),
        (_, true) => Some(TelecomUse::Work),
        _ => None,
    };
    let read = |at: At<'_>| data::telecoms(at, usual(&at));
    if is_whole || !(home.is_null() || work.is_null()) {
        return several(&fields, read);
    }
    let none = |usage: Option<TelecomUse>| Telecom {
        usage,
        ..Telecom::default()
    };
    let mut all = match work.empties() {
        true => vec![none(Some(TelecomUse::Work))],
        false => {
            home.empties();
            use TelecomUse::{Home, Mobile, Old, Temporary};
            let others = [None, Some(Home), Some(Mobile), Some(Temporary), Some(Old)];
            others.map(none).to_vec()
        }
    };
    let said = fields.iter().filter(|field| !field.is_null());
    all.extend(said.flat_map(|field| field.reps()).flat_map(read));
    if home.is_snapshot() {
        Items::Replace(all)
    } else {
        Items::Merge(all)
    }
}

/// PID-11, PID-12 → addresses. The county of PID-12 belongs to the only address that has none; otherwise it is one
/// of its own.
fn addresses(pid: Seg<'_>) -> Items<Address> {
    let mut items = several(&[pid.f(11)], |at| data::address(at).into_iter().collect());
    let Some(county) = pid.f(12).part(1).peek() else {
        return items;
    };
    let alone = || Address {
        district: Some(county.clone()),
        ..Address::default()
    };
    match &mut items {
        Items::Merge(values) | Items::Replace(values) => match values.as_mut_slice() {
            [only] if only.district.is_none() => only.district = Some(county.clone()),
            [only] if only.district.as_deref() == Some(county.as_str()) => return items,
            _ => values.push(alone()),
        },
        Items::Absent => items = Items::Merge(vec![alone()]),
        Items::Clear => return items,
    }
    pid.f(12).part(1).take();
    items
}

/// Administrative sex (table 0001), and the code itself where it says more.
fn sex_patch(at: At<'_>) -> (Patch<Sex>, Patch<Concept>) {
    if at.empties() {
        return (Patch::Clear, Patch::Clear);
    }
    let code = at.part(1).peek().or_else(|| at.part(4).peek());
    let sex = code.as_deref().and_then(sex_of);
    let plain = matches!(code.as_deref(), Some("F" | "M" | "O" | "U")) && at.parts().len() == 1;
    if plain {
        at.part(1).take();
        return (sex.into(), Patch::Absent);
    }
    (sex.into(), terms::concept(at, table("0001")).into())
}

/// Administrative sex where nothing else is asked for; another code stays.
pub fn sex(at: At<'_>) -> Option<Sex> {
    at.part(1)
        .read(|code| sex_of(code).ok_or("not a code of table 0001"))
}

/// Table 0001; analysers and schedulers write the words and small letters too.
fn sex_of(code: &str) -> Option<Sex> {
    Some(match code.to_ascii_uppercase().as_str() {
        "F" | "FEMALE" => Sex::Female,
        "M" | "MALE" => Sex::Male,
        "O" | "A" | "N" | "OTHER" => Sex::Other,
        "U" | "UNKNOWN" => Sex::Unknown,
        _ => return None,
    })
}

/// PID-21 → the mother, by her numbers.
fn mother(out: &mut Collected<'_>, pid: Seg<'_>, patient: &Ref) {
    let numbers: Vec<Identifier> = pid
        .f(21)
        .reps()
        .into_iter()
        .filter_map(data::identifier)
        .collect();
    if numbers.is_empty() {
        return;
    }
    let say = RelatedPersonChange {
        identifiers: Items::merge(numbers),
        patient: Patch::Set(patient.clone()),
        relationships: Items::Merge(vec![Concept::coded(&hl7("v3-RoleCode"), "MTH", Some("mother"))]),
        ..RelatedPersonChange::default()
    };
    out.add_found("related-person", natural(Some(patient), "mother"), say);
}

/// PD1 → the patient's family doctor, primary facility and the like.
pub fn patient_from_pd1(out: &mut Collected<'_>, pd1: Seg<'_>, patient: &Ref) {
    let mut doctors: Vec<Ref> = vec![];
    for rep in pd1.f(3).reps() {
        doctors.extend(parties::organisation(out, rep));
    }
    for rep in pd1.f(4).reps() {
        doctors.extend(parties::practitioner(out, rep));
    }
    let all_null = pd1.f(3).is_null() && (pd1.f(4).is_null() || pd1.f(4).is_empty())
        || pd1.f(4).is_null() && pd1.f(3).is_empty();
    let Some(Body::Patient(say)) = out.change_mut(patient).map(|change| &mut change.say) else {
        return;
    };
    for doctor in doctors {
        add(&mut say.general_practitioners, Some(doctor));
    }
    if all_null {
        pd1.f(3).empties();
        pd1.f(4).empties();
        say.general_practitioners = Items::Clear;
    }
    // A second PD1 adds to the first: what it is silent about stays.
    let disability = pd1.f(6).patch(|at| terms::concept(at, table("0295")));
    let living_will = pd1.f(7).patch(|at| terms::concept(at, table("0315")));
    let place_of_worship = pd1
        .f(14)
        .patch(|at| at.part(1).text().or_else(|| at.part(10).text()));
    if !disability.is_absent() {
        say.disability = disability;
    }
    if !living_will.is_absent() {
        say.living_will = living_will;
    }
    if !place_of_worship.is_absent() {
        say.place_of_worship = place_of_worship;
    }
}

/// NK1 → a contact of the patient and, unless it is only an employer, insurer or agency, a related person.
pub fn next_of_kin_from_nk1(out: &mut Collected<'_>, nk1: Seg<'_>, patient: &Ref) {
    let is_body = matches!(
        nk1.f(3).part(1).peek().as_deref(),
        Some("EMR" | "E" | "F" | "I" | "S")
    );
    if !is_body {
        related_person(out, nk1, patient);
    }
    contact(out, nk1, patient);
}

/// The same of the messages in which employers and insurers are related persons too: ADT_A05 and ADT_A06.
pub fn anyone_from_nk1(out: &mut Collected<'_>, nk1: Seg<'_>, patient: &Ref) {
    related_person(out, nk1, patient);
    contact(out, nk1, patient);
}

fn contact(out: &mut Collected<'_>, nk1: Seg<'_>, patient: &Ref) {
    let name = data::name(nk1.f(2).first());
    let address = data::address(nk1.f(4).first());
    let telecoms = kin_telecoms(nk1, &[5, 6, 40, 41]);
    let organization = organisation_of_kin(out, nk1);
    if name.is_none() && address.is_none() && telecoms.is_empty() && organization.is_none() {
        return;
    }
    let contact = PatientContact {
        relationships: relationships(nk1),
        name,
        telecoms,
        address,
        sex: sex(nk1.f(15)),
        organization,
        period: times::period_of(nk1.f(8), nk1.f(9)),
    };
    if let Some(Body::Patient(say)) = out.change_mut(patient).map(|change| &mut change.say) {
        add(&mut say.contacts, Some(contact));
    }
}

/// NK1-3 and NK1-7 → what they are to the patient, and as what they are called.
fn relationships(nk1: Seg<'_>) -> Vec<Concept> {
    let relationship = terms::concept(nk1.f(3), mapped("0063", "Relationship"));
    let role = terms::concept(nk1.f(7), table("0131"));
    relationship.into_iter().chain(role).collect()
}

/// NK1-13 with its contact person (NK1-30 to -32) → organisation.
fn organisation_of_kin(out: &mut Collected<'_>, nk1: Seg<'_>) -> Option<Ref> {
    let organisation = parties::organisation(out, nk1.f(13).first())?;
    let contact = OrganizationContact {
        purpose: None,
        name: data::name(nk1.f(30).first()),
        telecoms: kin_telecoms(nk1, &[31]),
        address: data::address(nk1.f(32).first()),
    };
    if contact != OrganizationContact::default()
        && let Some(Body::Clinic(say)) = out.change_mut(&organisation).map(|change| &mut change.say)
    {
        add(&mut say.contacts, Some(contact));
    }
    Some(organisation)
}

fn kin_telecoms(nk1: Seg<'_>, fields: &[usize]) -> Vec<Telecom> {
    let usual = |field: usize| (field == 6).then_some(TelecomUse::Work);
    let reps = fields
        .iter()
        .flat_map(|&field| nk1.f(field).reps().into_iter().map(move |rep| (field, rep)));
    let mut all: Vec<Telecom> = vec![];
    for (field, rep) in reps {
        for telecom in data::telecoms(rep, usual(field)) {
            if !all.contains(&telecom) {
                all.push(telecom);
            }
        }
    }
    all
}

fn related_person(out: &mut Collected<'_>, nk1: Seg<'_>, patient: &Ref) {
    let says_something = |field: usize| nk1.f(field).is_there() && !nk1.f(field).is_null();
    if !(2..=41).any(says_something) {
        return;
    }
    let mut numbers: Vec<Identifier> = vec![];
    for field in [12, 33] {
        numbers.extend(nk1.f(field).reps().into_iter().filter_map(data::identifier));
    }
    numbers.extend(social_number(nk1.f(37)));
    let names: Vec<_> = [2, 30]
        .iter()
        .flat_map(|&n| nk1.f(n).reps())
        .flat_map(data::names)
        .collect();
    let addresses: Vec<_> = [4, 32]
        .iter()
        .flat_map(|&n| nk1.f(n).reps())
        .filter_map(data::address)
        .collect();
    let find = if numbers.is_empty() {
        kin(patient, nk1.f(3), names.first())
    } else {
        Find::default()
    };
    let say = RelatedPersonChange {
        identifiers: Items::merge(numbers),
        patient: Patch::Set(patient.clone()),
        relationships: Items::merge(relationships(nk1)),
        names: Items::merge(names),
        telecoms: Items::merge(kin_telecoms(nk1, &[5, 6, 31, 40, 41])),
        addresses: Items::merge(addresses),
        sex: sex(nk1.f(15)).into(),
        birth_date: nk1.f(16).patch(data::when),
        languages: nk1.f(20).items(|at| {
            about::language(at).map(|language| Language {
                language,
                preferred: false,
            })
        }),
        period: times::period_of(nk1.f(8), nk1.f(9)).into(),
        ..RelatedPersonChange::default()
    };
    out.add_found("related-person", find, say);
}

/// IAM-14, IAM-15 → who reported an allergy: the patient (`SEL`), somebody around them, else one who treats them.
pub fn reporter_from_iam(out: &mut Collected<'_>, iam: Seg<'_>, patient: &Ref) -> Option<Ref> {
    let (name_at, relation) = (iam.f(14).first(), iam.f(15));
    if relation.part(1).is("SEL") {
        terms::concept(relation, table("0063"))?;
        own_name(out, name_at, patient);
        return Some(patient.clone());
    }
    if relation.is_empty() {
        return parties::practitioner_from_xpn(out, name_at);
    }
    let name = data::name(name_at)?;
    let find = kin(patient, relation, Some(&name));
    let say = RelatedPersonChange {
        patient: Patch::Set(patient.clone()),
        relationships: relation.items(|at| terms::concept(at, mapped("0063", "Relationship"))),
        names: Items::merge(vec![name]),
        ..RelatedPersonChange::default()
    };
    Some(out.add_found("related-person", find, say))
}

/// The patient's own name again: taken where it is one that they have.
fn own_name(out: &mut Collected<'_>, at: At<'_>, patient: &Ref) {
    let Some(Body::Patient(say)) = out.change_mut(patient).map(|change| &change.say) else {
        return;
    };
    let (family, given) = (at.part(1).part(1), at.part(2));
    let same = |at: At<'_>, known: Option<&String>| at.look().as_deref() == known.map(String::as_str);
    let mut names = say.names.values().iter();
    if names.any(|name| same(family, name.family.as_ref()) && same(given, name.given.first())) {
        family.take();
        given.take();
    } else if at.is_there() {
        at.note("not the name of the patient, who is said to have reported it");
    }
}

/// Somebody around a patient who has no number: by what they are to them, and their name.
fn kin(patient: &Ref, relation: At<'_>, name: Option<&PersonName>) -> Find {
    let name = name.map(|name| {
        format!(
            "{}|{}",
            name.family.as_deref().unwrap_or_default(),
            name.given.join(" ")
        )
    });
    let relationship = relation.part(1).peek().unwrap_or_default();
    natural(
        Some(patient),
        format!("kin|{relationship}|{}", name.unwrap_or_default().to_lowercase()),
    )
}

/// ROL, PRT of role PP behind PID → family doctor. Other roles wait in `extra`: they make care teams.
pub fn family_doctor_from_role(out: &mut Collected<'_>, role: Seg<'_>, patient: &Ref) {
    let part = RolePart::of(role);
    if !role.f(part.role).part(1).is("PP") {
        return;
    }
    let people = people_of_role(out, role);
    if people.is_empty() {
        return;
    }
    role.f(part.role).part(1).take();
    if role.f(part.role).part(3).is("HL70443") || role.f(part.role).part(3).is("HL70912") {
        role.f(part.role).part(3).take();
    }
    if let Some(Body::Patient(say)) = out.change_mut(patient).map(|change| &mut change.say) {
        for person in people {
            add(&mut say.general_practitioners, Some(person));
        }
    }
}

/// Whether a PRT is of somebody in this role (table 0912), and takes nobody out of it (table 0287).
pub fn is_in_role(prt: Seg<'_>, role: &str) -> bool {
    prt.f(4).part(1).is(role) && !prt.f(2).part(1).is("DE")
}

/// PRT-5 with PRT-4, which is known → practitioners.
pub fn in_role(out: &mut Collected<'_>, prt: Seg<'_>) -> Vec<Ref> {
    let people = people_of_role(out, prt);
    if !people.is_empty() {
        prt.f(4).part(1).take();
        if prt.f(4).part(3).is("HL70912") {
            prt.f(4).part(3).take();
        }
    }
    people
}

/// Of several PRT those in these roles → practitioners.
pub fn in_roles(out: &mut Collected<'_>, roles: &[Seg<'_>], wanted: &[&str]) -> Vec<Ref> {
    let meant = roles
        .iter()
        .filter(|prt| wanted.iter().any(|role| is_in_role(**prt, role)));
    meant.flat_map(|prt| in_role(out, *prt)).collect()
}

/// Where ROL and PRT have what they have in common.
pub struct RolePart {
    /// The role.
    pub role: usize,
    person: usize,
    address: usize,
    telecom: usize,
}

impl RolePart {
    /// By the segment's name.
    pub fn of(segment: Seg<'_>) -> Self {
        let (role, person, address, telecom) = if segment.name() == "PRT" {
            (4, 5, 14, 15)
        } else {
            (3, 4, 11, 12)
        };
        RolePart {
            role,
            person,
            address,
            telecom,
        }
    }
}

/// ROL-4, PRT-5 → practitioners, with their addresses and telephones.
pub fn people_of_role(out: &mut Collected<'_>, role: Seg<'_>) -> Vec<Ref> {
    let part = RolePart::of(role);
    let mut people: Vec<Ref> = vec![];
    for rep in role.f(part.person).reps() {
        people.extend(parties::practitioner(out, rep));
    }
    if people.is_empty() {
        return people;
    }
    let addresses: Vec<_> = role
        .f(part.address)
        .reps()
        .into_iter()
        .filter_map(data::address)
        .collect();
    let telecoms: Vec<_> = role
        .f(part.telecom)
        .reps()
        .into_iter()
        .filter_map(|at| data::telecom(at, None))
        .collect();
    for person in &people {
        if let Some(Body::Practitioner(say)) = out.change_mut(person).map(|change| &mut change.say) {
            addresses
                .iter()
                .for_each(|address| add(&mut say.addresses, Some(address.clone())));
            telecoms
                .iter()
                .for_each(|telecom| add(&mut say.telecoms, Some(telecom.clone())));
        }
    }
    people
}
