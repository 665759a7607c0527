//! People and places that a field names: XCN, CNN, NDL, XON, HD, PL, DLD. Each becomes a change of its own, once a
//! message, and the field refers to it.

use clinic::change_set::Find;
use clinic::patch::{Items, Patch};
use clinic::people::{PractitionerChange, Qualification};
use clinic::places::{ClinicChange, RoomChange, RoomKind, SiteChange};
use clinic::value::{Concept, Identifier, PersonName, Ref};
use clinic::{Body, Kind};

use super::collect::{At, Collected, natural};
use super::datatypes as data;
use super::terms;

/// The system of identifiers that are URIs themselves.
const URI: &str = "urn:ietf:rfc:3986";

/// XCN → practitioner. HL7 v2.5.1, 2.A.88.
pub fn practitioner(out: &mut Collected<'_>, at: At<'_>) -> Option<Ref> {
    let identifier = at.part(1).text().map(|value| {
        let mut identifier = data::named(value, at.part(9), at.part(13));
        identifier.check_digit = at.part(11).text();
        identifier.check_digit_scheme = at.part(12).text();
        identifier
    });
    person(out, identifier, xcn_name(at), Some(at.part(7)))
}

/// XPN → practitioner, who is known by the name alone.
pub fn practitioner_from_xpn(out: &mut Collected<'_>, at: At<'_>) -> Option<Ref> {
    person(out, None, data::name(at), None)
}

/// The name in an XCN.
pub fn xcn_name(at: At<'_>) -> Option<PersonName> {
    let mut name = data::family(at.part(2));
    name.given = data::texts(at, &[3, 4]);
    name.suffix = data::texts(at, &[5, 21]);
    name.prefix = data::texts(at, &[6]);
    if name == PersonName::default() {
        return None;
    }
    name.usage = data::name_use(at.part(10));
    name.representation = data::representation(at.part(15));
    name.assembly_order = data::assembly(at.part(18));
    name.period = data::period_of(at.part(19), at.part(20)).or_else(|| data::period(at.part(17)));
    Some(name)
}

/// CNN, NDL.1 → practitioner. HL7 v2.5.1, 2.A.10 and 2.A.47.
pub fn practitioner_from_cnn(out: &mut Collected<'_>, at: At<'_>) -> Option<Ref> {
    let identifier = at.part(1).text().map(|value| {
        // The assigning authority is flattened into components 9 to 11.
        let name = at.part(9).text();
        let uri = data::universal(at.part(10), at.part(11));
        Identifier {
            system: uri.or_else(|| name.clone()),
            value,
            assigner: name,
            ..Identifier::default()
        }
    });
    let name = PersonName {
        family: at.part(2).text(),
        given: data::texts(at, &[3, 4]),
        suffix: data::texts(at, &[5]),
        prefix: data::texts(at, &[6]),
        ..PersonName::default()
    };
    let name = (name != PersonName::default()).then_some(name);
    person(out, identifier, name, Some(at.part(7)))
}

/// A practitioner with what a field says of them; one with the same number (else the same name) is the same person.
fn person(
    out: &mut Collected<'_>,
    identifier: Option<Identifier>,
    name: Option<PersonName>,
    degree: Option<At<'_>>,
) -> Option<Ref> {
    let (signature, find) = match (&identifier, &name) {
        (Some(id), _) => (format!("{:?}|{}", id.system, id.value), Find::default()),
        (None, Some(name)) => {
            let key = name_key(name);
            (key.clone(), natural(None, key))
        }
        (None, None) => return None,
    };
    let (key, _) = out.once("practitioner", &signature, || {
        (find, PractitionerChange::default().into())
    });
    let stamp = identifier
        .as_ref()
        .filter(|id| is_stamp_register(id))
        .map(|id| id.value.clone());
    if let Some(Body::Practitioner(say)) = out.change_mut(&key).map(|change| &mut change.say) {
        add(&mut say.identifiers, identifier);
        add(&mut say.names, name);
        add(
            &mut say.qualifications,
            degree.and_then(|at| at.text()).map(|code| Qualification {
                code: Concept::coded(&terms::v2("0360"), &code, None),
                ..Qualification::default()
            }),
        );
        if let Some(stamp) = stamp {
            say.stamp_code = Patch::Set(stamp);
        }
    }
    Some(key)
}

/// True where the authority of a number is the register of stamp codes (*parafă*).
fn is_stamp_register(identifier: &Identifier) -> bool {
    let named = |name: &Option<String>| {
        name.as_deref()
            .is_some_and(|n| n.to_ascii_uppercase().contains("PARAFA"))
    };
    named(&identifier.assigner) || named(&identifier.system)
}

/// Adds a value to what is said of a list, once.
pub fn add<T: PartialEq>(items: &mut Items<T>, value: Option<T>) {
    let Some(value) = value else { return };
    match items {
        Items::Merge(values) | Items::Replace(values) if values.contains(&value) => {}
        Items::Merge(values) | Items::Replace(values) => values.push(value),
        Items::Absent | Items::Clear => *items = Items::Merge(vec![value]),
    }
}

/// A name as a key, the same each time: in small letters, without blanks around.
fn name_key(name: &PersonName) -> String {
    let parts = name.family.iter().chain(&name.given);
    let words: Vec<String> = parts.map(|word| word.to_lowercase()).collect();
    format!("name|{}", words.join("|"))
}

/// XON → organisation. HL7 v2.5.1, 2.A.86. The number is XON.10, else XON.3.
pub fn organisation(out: &mut Collected<'_>, at: At<'_>) -> Option<Ref> {
    let (name, identifier) = xon_names(at);
    organisation_named(out, identifier, name)
}

/// XON → the site of an organisation (ORC-21 as where it was ordered).
pub fn site_from_xon(out: &mut Collected<'_>, at: At<'_>) -> Option<Ref> {
    let (name, identifier) = xon_names(at);
    site(out, name, identifier)
}

fn xon_names(at: At<'_>) -> (Option<String>, Option<Identifier>) {
    let name = at.part(1).text();
    let number = at.part(10).text().or_else(|| at.part(3).text());
    let identifier = number.map(|value| {
        let mut identifier = data::named(value, at.part(6), at.part(7));
        identifier.check_digit = at.part(4).text();
        identifier.check_digit_scheme = at.part(5).text();
        identifier
    });
    (name, identifier)
}

/// HD → organisation.
pub fn organisation_from_hd(out: &mut Collected<'_>, at: At<'_>) -> Option<Ref> {
    let (name, identifier) = hd_names(at);
    organisation_named(out, identifier, name)
}

/// An organisation by its number, else by its name.
pub fn organisation_named(
    out: &mut Collected<'_>,
    identifier: Option<Identifier>,
    name: Option<String>,
) -> Option<Ref> {
    let (signature, find) = match (&identifier, &name) {
        (Some(id), _) => (format!("{:?}|{}", id.system, id.value), Find::default()),
        (None, Some(name)) => {
            let key = format!("name|{}", name.to_lowercase());
            (key.clone(), natural(None, key))
        }
        (None, None) => return None,
    };
    let (key, _) = out.once("clinic", &signature, || (find, ClinicChange::default().into()));
    if let Some(Body::Clinic(say)) = out.change_mut(&key).map(|change| &mut change.say) {
        add(&mut say.identifiers, identifier);
    }
    also_named(out, &key, name);
    Some(key)
}

/// A name of an organisation: the first that is told is its name, the others it has too.
pub fn also_named(out: &mut Collected<'_>, organisation: &Ref, name: Option<String>) {
    if let Some(Body::Clinic(say)) = out.change_mut(organisation).map(|change| &mut change.say) {
        match (&say.name, name) {
            (Patch::Absent, Some(name)) => say.name = Patch::Set(name),
            (Patch::Set(known), Some(name)) if *known != name => add(&mut say.aliases, Some(name)),
            (Patch::Set(_) | Patch::Clear | Patch::Absent, _) => {}
        }
    }
}

/// The namespace of an HD, and its universal id as an identifier.
fn hd_names(at: At<'_>) -> (Option<String>, Option<Identifier>) {
    let name = at.part(1).text();
    let identifier = data::universal(at.part(2), at.part(3)).map(|uri| {
        let is_uri = uri.starts_with("urn:") || uri.contains("://");
        Identifier::new(is_uri.then_some(URI), &uri)
    });
    (name, identifier)
}

/// HD → site: where something happened (EVN-7, OBX-23 and the like).
pub fn site_from_hd(out: &mut Collected<'_>, at: At<'_>) -> Option<Ref> {
    let (name, identifier) = hd_names(at);
    site(out, name, identifier)
}

fn site(out: &mut Collected<'_>, name: Option<String>, identifier: Option<Identifier>) -> Option<Ref> {
    let (signature, find) = match (&identifier, &name) {
        (_, Some(name)) => {
            let key = format!("site|{}", name.to_lowercase());
            (key.clone(), natural(None, key))
        }
        (Some(id), None) => (format!("{:?}|{}", id.system, id.value), Find::default()),
        (None, None) => return None,
    };
    let (key, _) = out.once("site", &signature, || (find, SiteChange::default().into()));
    if let Some(Body::Site(say)) = out.change_mut(&key).map(|change| &mut change.say) {
        add(&mut say.identifiers, identifier);
        if let Some(name) = name {
            say.name = Patch::Set(name);
        }
    }
    Some(key)
}

/// PL → the most granular place that it names, with the places around it: bed, room, floor, ward, building, and the
/// site of the facility. HL7 v2.5.1, 2.A.53.
pub fn place(out: &mut Collected<'_>, at: At<'_>) -> Option<Ref> {
    let (facility, facility_id) = hd_names(at.part(4));
    let mut path = facility.as_deref().map_or(String::new(), str::to_lowercase);
    let mut inner = site(out, facility, facility_id);
    let levels = [
        (7, RoomKind::Building),
        (1, RoomKind::Ward),
        (8, RoomKind::Level),
        (2, RoomKind::Room),
        (3, RoomKind::Bed),
    ];
    for (part, kind) in levels {
        let (name, identifier) = hd_names(at.part(part));
        let Some(code) = name
            .clone()
            .or_else(|| identifier.as_ref().map(|id| id.value.clone()))
        else {
            continue;
        };
        path.push_str(&format!("|{}:{}", kind.as_str(), code.replace('|', "/")));
        inner = Some(room(out, &path, kind, name, identifier, inner.as_ref()));
    }
    let whole = data::entity(at.part(10), None).map(|mut identifier| {
        // PL.11 is the authority of the whole where the number itself names none.
        if identifier.system.is_none() && identifier.assigner.is_none() {
            let authority = data::authority(at.part(11));
            identifier.system = authority.system;
            identifier.assigner = authority.name;
        }
        identifier
    });
    let description = at.part(9).text();
    if inner.is_none() {
        let code = whole
            .as_ref()
            .map(|id| id.value.clone())
            .or_else(|| description.clone())?;
        let path = format!("place|{}", code.to_lowercase());
        let find = if whole.is_some() {
            Find::default()
        } else {
            natural(None, &*path)
        };
        inner = Some(out.once("room", &path, || (find, RoomChange::default().into())).0);
    }
    let is_room = inner.as_ref().is_some_and(|key| is_kind(out, key, Kind::Room));
    let usage = at.part(6).peek().filter(|_| is_room).map(|code| {
        at.part(6).take();
        Concept::coded(&terms::v2("0305"), &code, None)
    });
    match inner
        .as_ref()
        .and_then(|key| out.change_mut(key))
        .map(|change| &mut change.say)
    {
        Some(Body::Room(say)) => {
            add(&mut say.identifiers, whole);
            set(&mut say.description, description);
            set(&mut say.usage, usage);
        }
        Some(Body::Site(say)) => {
            add(&mut say.identifiers, whole);
            set(&mut say.description, description);
        }
        _ => {}
    }
    inner
}

/// Says a value where there is one.
pub fn set<T>(patch: &mut Patch<T>, value: Option<T>) {
    if let Some(value) = value {
        *patch = Patch::Set(value);
    }
}

fn room(
    out: &mut Collected<'_>,
    path: &str,
    kind: RoomKind,
    name: Option<String>,
    identifier: Option<Identifier>,
    around: Option<&Ref>,
) -> Ref {
    let (key, _) = out.once("room", path, || {
        let say = RoomChange {
            identifiers: Items::merge(identifier.into_iter().collect()),
            name: name.into(),
            kind: Patch::Set(kind),
            part_of: around.cloned().into(),
            ..RoomChange::default()
        };
        (natural(None, path), say.into())
    });
    key
}

/// DLD → the kind of place that somebody was discharged to. HL7 v2.5.1, 2.A.23.
pub fn discharge_place(out: &mut Collected<'_>, at: At<'_>) -> Option<Ref> {
    let concept = terms::concept(at.part(1), terms::table("0113"))?;
    let name = concept
        .text
        .clone()
        .or_else(|| concept.codings.first()?.display.clone());
    let code = concept.code().or(concept.text.as_deref()).unwrap_or_default();
    let path = format!("discharged to|{code}");
    let (key, _) = out.once("room", &path, || {
        let say = RoomChange {
            usage: Patch::Set(concept),
            name: name.into(),
            ..RoomChange::default()
        };
        (natural(None, &*path), say.into())
    });
    Some(key)
}

/// NDL → practitioner and where they did it; the dates stay to whoever reads them.
pub fn practitioner_from_ndl(out: &mut Collected<'_>, at: At<'_>) -> Option<Ref> {
    practitioner_from_cnn(out, at.part(1))
}

/// True for a key of a change of this kind.
pub fn is_kind(out: &mut Collected<'_>, key: &Ref, kind: Kind) -> bool {
    out.change_mut(key).is_some_and(|change| change.kind() == kind)
}
