//! Values of the clinic as data types of HL7 v2 (v2.5.1 chapter 2.A): the inverse of
//! [`crate::hl7v2::decode::datatypes`]. Each gives the pieces of one level; the caller joins them as components or as
//! sub-components.

use clinic::people::Practitioner;
use clinic::places::{Clinic, RoomKind, Site};
use clinic::value::{
    Address, AddressKind, AddressUse, Identifier, NameRepresentation, NameUse, Period, PersonName, Quantity,
    Ref, Telecom, TelecomSystem, TelecomUse, When,
};

use super::terms;
use super::wire::{comps, numbered, ot, subs, t};
use super::world::World;
use crate::hl7v2::decode::Profile;
use crate::hl7v2::decode::datatypes::{CNP, IDNP};
use crate::hl7v2::decode::terms::{NO_TABLE, system_uri_of_id};

/// The system of identifiers that are URIs themselves.
const URI: &str = "urn:ietf:rfc:3986";

/// A day or a moment → TS, with the precision and the offset that it has.
pub(super) fn when(when: &When) -> String {
    let text = when.as_str();
    if !when.has_time() {
        return text.replace('-', "");
    }
    let (date, clock) = text.split_at(10);
    let clock = clock.trim_start_matches('T');
    let offset_at = clock.find(['+', '-', 'Z']).unwrap_or(clock.len());
    let (clock, offset) = clock.split_at(offset_at);
    let offset = if offset == "Z" { "+0000" } else { offset };
    format!(
        "{}{}{}",
        date.replace('-', ""),
        clock.replace(':', ""),
        offset.replace(':', "")
    )
}

/// The same of what may be missing.
pub(super) fn owhen(at: Option<&When>) -> String {
    at.map(when).unwrap_or_default()
}

/// `HH:MM:SS` → TM.
pub(super) fn time(time: &str) -> String {
    t(&time.replace(':', ""))
}

/// Period → DR.
pub(super) fn period(period: &Period) -> Vec<String> {
    vec![owhen(period.start.as_ref()), owhen(period.end.as_ref())]
}

fn start(of: Option<&Period>) -> String {
    owhen(of.and_then(|period| period.start.as_ref()))
}

fn end(of: Option<&Period>) -> String {
    owhen(of.and_then(|period| period.end.as_ref()))
}

/// The universal id of a system that is a URI, with its type of table 0301.
fn universal(system: &str) -> Option<(String, &'static str)> {
    let known = [("urn:oid:", "ISO"), ("urn:uuid:", "UUID"), ("urn:dns:", "DNS")];
    for (prefix, kind) in known {
        if let Some(id) = system.strip_prefix(prefix) {
            return Some((t(id), kind));
        }
    }
    (system.contains("://") || system.starts_with("urn:")).then(|| (t(system), "URI"))
}

/// System and assigner → HD. A personal number is named by its authority.
pub(super) fn hd(system: Option<&str>, assigner: Option<&str>, profile: &Profile) -> Vec<String> {
    let named = || assigner.map(t).unwrap_or_default();
    let Some(system) = system else {
        return vec![named()];
    };
    match (system, assigner) {
        (CNP, None) => return vec!["CNP".to_owned()],
        (IDNP, None) => return vec!["IDNP".to_owned()],
        (CNP | IDNP, Some(_)) => return vec![named()],
        _ => {}
    }
    let by_channel = |name: &str| profile.authorities.get(name).is_some_and(|uri| uri == system);
    match assigner {
        Some(name) if by_channel(name) || name == system => return vec![t(name)],
        Some(name) if system_uri_of_id(name).as_deref() == Some(system) => return vec![t(name)],
        Some(_) => {}
        None => {
            if let Some(name) = profile.authorities.keys().find(|name| by_channel(name)) {
                return vec![t(name)];
            }
        }
    }
    match universal(system) {
        Some((id, kind)) => vec![named(), id, kind.to_owned()],
        None if assigner.is_none() => vec![t(system)],
        None => vec![named(), t(system)],
    }
}

/// The code of table 0203 that says what kind of number it is.
fn kind(identifier: &Identifier) -> String {
    identifier.kind_code().map(t).unwrap_or_default()
}

/// Identifier → CX. HL7 v2.5.1, 2.A.14.
pub(super) fn cx(identifier: &Identifier, profile: &Profile) -> Vec<String> {
    let kind = kind(identifier);
    // NNROU and NNMDA say whose numbers they are.
    let by_kind = matches!(kind.as_str(), "NNROU" | "NNMDA") && identifier.assigner.is_none();
    let authority = if by_kind {
        String::new()
    } else {
        subs(hd(
            identifier.system.as_deref(),
            identifier.assigner.as_deref(),
            profile,
        ))
    };
    let kind = match identifier.system.as_deref() {
        Some(CNP) if kind.is_empty() && identifier.assigner.is_none() => "NI".to_owned(),
        _ => kind,
    };
    vec![
        t(&identifier.value),
        ot(identifier.check_digit.as_ref()),
        ot(identifier.check_digit_scheme.as_ref()),
        authority,
        kind,
        String::new(),
        start(identifier.period.as_ref()),
        end(identifier.period.as_ref()),
    ]
}

/// Identifier → EI. HL7 v2.5.1, 2.A.28.
pub(super) fn ei(identifier: &Identifier, profile: &Profile) -> Vec<String> {
    let mut out = vec![t(&identifier.value)];
    out.extend(hd(
        identifier.system.as_deref(),
        identifier.assigner.as_deref(),
        profile,
    ));
    out
}

/// Two numbers, of placer and filler → EIP.
pub(super) fn eip(identifiers: &[Identifier], profile: &Profile) -> Vec<String> {
    let of = |code: &str| {
        let found = identifiers.iter().find(|id| id.kind_code() == Some(code));
        found.map(|id| subs(ei(id, profile))).unwrap_or_default()
    };
    vec![of("PGN"), of("FGN")]
}

fn name_use(usage: Option<NameUse>) -> &'static str {
    match usage {
        None => "",
        Some(NameUse::Official) => "L",
        Some(NameUse::Usual) => "D",
        Some(NameUse::Maiden) => "M",
        Some(NameUse::Nickname) => "N",
        Some(NameUse::Anonymous) => "MSK",
        Some(NameUse::Temporary) => "TEMP",
        Some(NameUse::Old) => "BAD",
    }
}

/// In which letters a name is written → ID of table 0465.
fn representation(name: &PersonName) -> String {
    let code = name.representation.map(|letters| match letters {
        NameRepresentation::Alphabetic => "A",
        NameRepresentation::Ideographic => "I",
        NameRepresentation::Phonetic => "P",
    });
    code.unwrap_or_default().to_owned()
}

/// The family name with its parts → FN.
fn family(name: &PersonName) -> String {
    let nothing_else = name.family.is_none() && name.given.is_empty();
    let whole = name
        .family
        .as_ref()
        .or(name.text.as_ref().filter(|_| nothing_else));
    subs(vec![
        ot(whole),
        ot(name.own_prefix.as_ref()),
        ot(name.own_name.as_ref()),
        ot(name.partner_prefix.as_ref()),
        ot(name.partner_name.as_ref()),
    ])
}

/// The first given name, and all others.
fn given(name: &PersonName) -> [String; 2] {
    let others: Vec<&str> = name.given.iter().skip(1).map(String::as_str).collect();
    [ot(name.given.first()), t(&others.join(" "))]
}

/// Name → XPN. HL7 v2.5.1, 2.A.89.
pub(super) fn xpn(name: &PersonName) -> Vec<String> {
    let [first, others] = given(name);
    let suffix = |at: usize| ot(name.suffix.get(at));
    numbered(vec![
        (1, family(name)),
        (2, first),
        (3, others),
        (4, suffix(0)),
        (5, t(&name.prefix.join(" "))),
        (6, suffix(1)),
        (7, name_use(name.usage).to_owned()),
        (8, representation(name)),
        (11, ot(name.assembly_order.as_ref())),
        (12, start(name.period.as_ref())),
        (13, end(name.period.as_ref())),
        (14, suffix(2)),
    ])
}

/// Address → XAD. HL7 v2.5.1, 2.A.87.
pub(super) fn xad(address: &Address) -> Vec<String> {
    let mut lines: Vec<&String> = address.lines.iter().collect();
    let mut street_line = String::new();
    if let Some(street) = &address.street {
        let at = lines.iter().position(|line| *line == street);
        if at == Some(1) {
            street_line = t(lines.remove(0));
        }
        if let Some(at) = lines.iter().position(|line| *line == street) {
            lines.remove(at);
        }
    } else if !lines.is_empty() {
        street_line = t(lines.remove(0));
    }
    if let Some(number) = &address.house_number
        && let Some(at) = lines.iter().position(|line| *line == number)
    {
        lines.remove(at);
    }
    if address.lines.is_empty()
        && let Some(text) = &address.text
    {
        street_line = t(text);
    }
    let more: Vec<&str> = lines.iter().skip(1).map(|line| line.as_str()).collect();
    let by_use = || match (address.usage, address.kind) {
        (Some(AddressUse::Home), _) => "H",
        (Some(AddressUse::Work), _) => "B",
        (Some(AddressUse::Temporary), _) => "C",
        (Some(AddressUse::Old), _) => "BA",
        (Some(AddressUse::Billing), _) => "BI",
        (None, Some(AddressKind::Postal)) => "M",
        (None, Some(AddressKind::Physical | AddressKind::Both) | None) => "",
    };
    let code = address
        .type_code
        .as_ref()
        .map_or_else(|| by_use().to_owned(), |code| t(code));
    numbered(vec![
        (
            1,
            subs(vec![
                street_line,
                ot(address.street.as_ref()),
                ot(address.house_number.as_ref()),
            ]),
        ),
        (2, lines.first().map(|line| t(line)).unwrap_or_default()),
        (3, ot(address.city.as_ref())),
        (4, ot(address.state.as_ref())),
        (5, ot(address.postal_code.as_ref())),
        (6, ot(address.country.as_ref())),
        (7, code),
        (9, ot(address.district.as_ref())),
        (10, ot(address.census_tract.as_ref())),
        (13, start(address.period.as_ref())),
        (14, end(address.period.as_ref())),
        (19, t(&more.join(", "))),
    ])
}

/// Telephone, e-mail address and the like → XTN. HL7 v2.5.1, 2.A.90.
///
/// A number stands whole in XTN.1 and, where it is known in parts, in those too.
pub(super) fn xtn(telecom: &Telecom) -> Vec<String> {
    let purpose = match telecom.usage {
        Some(TelecomUse::Home | TelecomUse::Mobile) => "PRN",
        Some(TelecomUse::Work) => "WPN",
        Some(TelecomUse::Temporary | TelecomUse::Old) | None => "",
    };
    let value = ot(telecom.value.as_ref());
    let (purpose, equipment, number, net) = match telecom.system {
        Some(TelecomSystem::Email) => {
            let purpose = if purpose.is_empty() { "NET" } else { purpose };
            (purpose, "Internet", String::new(), value)
        }
        Some(TelecomSystem::Url) => (purpose, "", String::new(), value),
        Some(TelecomSystem::Fax) => (purpose, "FX", value, String::new()),
        Some(TelecomSystem::Pager) => (purpose, "BP", value, String::new()),
        Some(TelecomSystem::Other) => (purpose, "MD", value, String::new()),
        Some(TelecomSystem::Sms) => (purpose, "CP", value, String::new()),
        Some(TelecomSystem::Phone) | None if telecom.usage == Some(TelecomUse::Mobile) => {
            (purpose, "CP", value, String::new())
        }
        Some(TelecomSystem::Phone) => (purpose, "PH", value, String::new()),
        None => (purpose, "", value, String::new()),
    };
    let parts = telecom.parts.as_ref();
    let part = |of: Option<&String>| ot(of);
    numbered(vec![
        (1, number),
        (2, purpose.to_owned()),
        (3, equipment.to_owned()),
        (4, net),
        (5, part(parts.and_then(|p| p.country.as_ref()))),
        (6, part(parts.and_then(|p| p.area.as_ref()))),
        (7, part(parts.and_then(|p| p.local.as_ref()))),
        (8, part(parts.and_then(|p| p.extension.as_ref()))),
        (13, start(telecom.period.as_ref())),
        (14, end(telecom.period.as_ref())),
        (18, telecom.rank.map(|rank| rank.to_string()).unwrap_or_default()),
    ])
}

/// The unit of an amount → CWE.
pub(super) fn unit(quantity: &Quantity) -> Vec<String> {
    let Some(code) = &quantity.code else {
        return vec![ot(quantity.unit.as_ref())];
    };
    let words = quantity.unit.as_ref().filter(|unit| *unit != code);
    let system = quantity
        .system
        .as_deref()
        .map(|system| t(&terms::system_name(system)));
    vec![t(code), ot(words), system.unwrap_or_default()]
}

/// The digits of an amount.
pub(super) fn digits(quantity: &Quantity) -> String {
    quantity
        .value
        .as_ref()
        .map(|value| t(value.as_str()))
        .unwrap_or_default()
}

/// An amount with its unit → CQ.
pub(super) fn cq(quantity: &Quantity) -> Vec<String> {
    vec![digits(quantity), subs(unit(quantity))]
}

/// Practitioner → XCN, by the first of their numbers and names. HL7 v2.5.1, 2.A.88.
pub(super) fn xcn(person: &Practitioner, profile: &Profile) -> Vec<String> {
    let number = person.identifiers.first();
    let nameless = PersonName::default();
    let name = person.names.first().unwrap_or(&nameless);
    let [first, others] = given(name);
    let authority = number.map(|id| hd(id.system.as_deref(), id.assigner.as_deref(), profile));
    numbered(vec![
        (1, number.map(|id| t(&id.value)).unwrap_or_default()),
        (2, family(name)),
        (3, first),
        (4, others),
        (5, ot(name.suffix.first())),
        (6, t(&name.prefix.join(" "))),
        (7, degree(person)),
        (9, subs(authority.unwrap_or_default())),
        (10, name_use(name.usage).to_owned()),
        (11, ot(number.and_then(|id| id.check_digit.as_ref()))),
        (12, ot(number.and_then(|id| id.check_digit_scheme.as_ref()))),
        (13, number.map(kind).unwrap_or_default()),
        (15, representation(name)),
        (18, ot(name.assembly_order.as_ref())),
        (19, start(name.period.as_ref())),
        (20, end(name.period.as_ref())),
        (21, ot(name.suffix.get(1))),
    ])
}

fn degree(person: &Practitioner) -> String {
    let of_table = person
        .qualifications
        .iter()
        .find_map(|qualification| terms::code_of(&qualification.code, "0360"));
    ot(of_table)
}

/// Practitioner → NDL, whose first component is a CNN. HL7 v2.5.1, 2.A.10 and 2.A.47.
pub(super) fn ndl(person: &Practitioner, profile: &Profile) -> Vec<String> {
    let number = person.identifiers.first();
    let nameless = PersonName::default();
    let name = person.names.first().unwrap_or(&nameless);
    let [first, others] = given(name);
    let authority = number
        .map(|id| hd(id.system.as_deref(), id.assigner.as_deref(), profile))
        .unwrap_or_default();
    let mut pieces = vec![
        number.map(|id| t(&id.value)).unwrap_or_default(),
        ot(name.family.as_ref().or(name.text.as_ref())),
        first,
        others,
        ot(name.suffix.first()),
        t(&name.prefix.join(" ")),
        degree(person),
        String::new(),
    ];
    pieces.extend(authority);
    vec![subs(pieces)]
}

/// Organisation → XON. HL7 v2.5.1, 2.A.86.
pub(super) fn xon(clinic: &Clinic, profile: &Profile) -> Vec<String> {
    let number = clinic.identifiers.first();
    let authority = number.map(|id| hd(id.system.as_deref(), id.assigner.as_deref(), profile));
    numbered(vec![
        (1, ot(clinic.name.as_ref())),
        (4, ot(number.and_then(|id| id.check_digit.as_ref()))),
        (5, ot(number.and_then(|id| id.check_digit_scheme.as_ref()))),
        (6, subs(authority.unwrap_or_default())),
        (7, number.map(kind).unwrap_or_default()),
        (10, number.map(|id| t(&id.value)).unwrap_or_default()),
    ])
}

/// Organisation → CWE: its number with the system, and its name.
pub(super) fn organisation_cwe(clinic: &Clinic) -> Vec<String> {
    let number = clinic.identifiers.first();
    let name = clinic
        .name
        .as_ref()
        .filter(|name| number.is_none_or(|id| id.value != **name));
    let system = number.and_then(|id| id.system.as_deref());
    vec![
        number.map(|id| t(&id.value)).unwrap_or_default(),
        ot(name),
        system
            .map(|system| t(&terms::system_name(system)))
            .unwrap_or_default(),
    ]
}

/// A name and the identifier that names the same thing as a URI → HD.
fn place_hd(name: Option<&String>, identifiers: &[Identifier]) -> Vec<String> {
    let id = identifiers.iter().find(|id| is_universal(id));
    let Some(id) = id else { return vec![ot(name)] };
    match universal(&id.value) {
        Some((id, kind)) => vec![ot(name), id, kind.to_owned()],
        None => vec![ot(name), t(&id.value)],
    }
}

fn is_universal(id: &Identifier) -> bool {
    id.system.as_deref() == Some(URI) || id.system.is_none() && id.kind.is_none() && id.assigner.is_none()
}

/// Site → HD.
pub(super) fn site_hd(site: &Site) -> Vec<String> {
    place_hd(site.name.as_ref(), &site.identifiers)
}

/// Organisation → HD.
pub(super) fn clinic_hd(clinic: &Clinic) -> Vec<String> {
    place_hd(clinic.name.as_ref(), &clinic.identifiers)
}

/// How many places may lie in each other; more is a circle.
const DEEPEST: usize = 12;

/// Place → PL, with the places around it. HL7 v2.5.1, 2.A.53.
pub(super) fn pl(world: &World<'_>, place: &Ref) -> Vec<String> {
    let mut pieces: Vec<(usize, String)> = vec![];
    let mut at = Some(place);
    let mut innermost = true;
    for _ in 0..DEEPEST {
        let Some(here) = at else { break };
        let (number, description, usage) = if let Some(room) = world.room(here) {
            let name = place_hd(room.name.as_ref(), &room.identifiers);
            let part = match room.kind {
                Some(RoomKind::Building | RoomKind::Wing | RoomKind::House | RoomKind::Vehicle) => 7,
                Some(RoomKind::Ward) => 1,
                Some(RoomKind::Level) => 8,
                Some(RoomKind::Room | RoomKind::Cabinet | RoomKind::Corridor) => 2,
                Some(RoomKind::Bed) => 3,
                Some(RoomKind::Site | RoomKind::Road | RoomKind::Area | RoomKind::Jurisdiction) | None => 0,
            };
            if part > 0 {
                pieces.push((part, subs(name)));
            }
            at = room.part_of.as_ref();
            let unplaced = room.name.as_ref().filter(|_| part == 0);
            (
                room.identifiers.iter().find(|id| !is_universal(id)),
                room.description.as_ref().or(unplaced),
                room.usage
                    .as_ref()
                    .and_then(|usage| terms::code_of(usage, "0305")),
            )
        } else if let Some(site) = world.site(here) {
            pieces.push((4, subs(site_hd(site))));
            at = None;
            (
                site.identifiers.iter().find(|id| !is_universal(id)),
                site.description.as_ref(),
                None,
            )
        } else {
            break;
        };
        if innermost {
            innermost = false;
            pieces.push((6, ot(usage)));
            pieces.push((9, ot(description)));
            pieces.push((
                10,
                number.map(|id| subs(ei(id, world.profile))).unwrap_or_default(),
            ));
        }
    }
    pieces.sort_by_key(|(number, _)| *number);
    numbered(pieces)
}

/// A reference to a practitioner → XCN.
pub(super) fn xcn_of(world: &World<'_>, person: Option<&Ref>) -> Vec<String> {
    person
        .and_then(|person| world.practitioner(person))
        .map(|person| xcn(person, world.profile))
        .unwrap_or_default()
}

/// A reference to an organisation → XON.
pub(super) fn xon_of(world: &World<'_>, clinic: Option<&Ref>) -> Vec<String> {
    clinic
        .and_then(|clinic| world.clinic(clinic))
        .map(|clinic| xon(clinic, world.profile))
        .unwrap_or_default()
}

/// A language → CWE. A code of BCP 47 that only repeats the sender's own is left out.
pub(super) fn language(concept: &clinic::value::Concept, profile: &Profile) -> String {
    let mut concept = concept.clone();
    let is_tag = |coding: &clinic::value::Coding| {
        coding.system.as_deref() == Some("urn:ietf:bcp:47") && coding.display.is_none()
    };
    if concept.codings.len() > 1 {
        concept.codings.retain(|coding| !is_tag(coding));
    }
    comps(terms::cwe(
        &concept,
        crate::hl7v2::decode::terms::table("0296"),
        profile,
    ))
}

/// A concept without a table → components.
pub(super) fn concept(concept: Option<&clinic::value::Concept>, profile: &Profile) -> Vec<String> {
    concept
        .map(|concept| terms::cwe(concept, NO_TABLE, profile))
        .unwrap_or_default()
}
