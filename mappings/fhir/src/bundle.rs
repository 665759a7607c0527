//! What a message changed, as one Bundle: a message, or a transaction for a FHIR server; or as single requests for a
//! server without transactions.

use std::collections::{BTreeSet, VecDeque};

use clinic::apply::MERGE;
use clinic::exchange::{MapError, Stamp};
use clinic::people::LinkKind;
use clinic::records::EncounterStatus;
use clinic::value::{Identifier, IdentifierUse, Ref};
use clinic::{Aggregate, Applied, ChangeSet, Kind, Record, Refs};
use uuid::Uuid;

use crate::about::{self, Parties};
use crate::gate::admit;
use crate::json::{Json, Object, Value};
use crate::{build, fhir_type, types};

/// Which kind of Bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `type: message`: a MessageHeader first, then what it is about, then where it comes from.
    Message,
    /// `type: transaction`: each entry a conditional update (a conditional create where not all of it is told), so that a repeat
    /// changes nothing more.
    Transaction,
}

/// A request to a server without transactions. They are to be sent in order; each may refer to earlier ones.
pub struct Entry {
    /// The id that the other entries refer to this one by.
    pub id: Uuid,
    /// `PUT`; `POST` where it is to be made only where it is not there.
    pub method: &'static str,
    /// Relative to the base of the server: `Patient?identifier=…`, `Provenance/…`.
    pub url: String,
    /// Of a `POST`: what would find it, where it is there.
    pub if_none_exist: Option<String>,
    resource: Json,
}

impl Entry {
    /// The body. `server_id` knows the `Type/id` that the server gave to the entries sent before.
    ///
    /// What it doesn't know yet is referred to by our identifier of it, and the second value is false: send the entry
    /// once more when all others are through (visits and their diagnoses refer to each other).
    pub fn body(&self, server_id: &dyn Fn(Uuid) -> Option<String>) -> (Vec<u8>, bool) {
        let mut complete = true;
        let mut resource = self.resource.clone();
        resource.each_object(&mut |object| {
            let Some(id) = object.get("reference").and_then(Json::as_str).and_then(urn_uuid) else {
                return;
            };
            match server_id(id) {
                Some(reference) => object.set("reference", reference),
                None => {
                    complete = false;
                    object.remove("reference");
                    if object.get("identifier").is_none() {
                        object.set("identifier", types::own_identifier(id));
                    }
                }
            }
        });
        (resource.to_bytes(), complete)
    }
}

fn urn_uuid(text: &str) -> Option<Uuid> {
    text.strip_prefix("urn:uuid:")?.parse().ok()
}

/// The aggregates that a bundle tells: those that the change set speaks of, and what they refer to as far as it is known.
pub(crate) struct Set<'a> {
    pub(crate) records: Vec<&'a Record>,
    /// Those that the change set speaks of, in its order.
    pub(crate) spoken_of: Vec<(Kind, Uuid)>,
    included: BTreeSet<Uuid>,
    applied: &'a Applied,
    /// The address of the server that it is for.
    server: Option<&'a str>,
    /// Those that are told without all that they belong to.
    in_part: BTreeSet<Uuid>,
}

impl<'a> Set<'a> {
    fn new(changes: &ChangeSet, applied: &'a Applied, server: Option<&'a str>) -> Self {
        let mut spoken_of = vec![];
        let mut seen = BTreeSet::new();
        let mut in_part = BTreeSet::new();
        for change in &changes.changes {
            let Some((kind, id)) = applied.ids.get(&change.key) else {
                continue;
            };
            if seen.insert(*id) {
                spoken_of.push((*kind, *id));
            }
            if change.in_part {
                in_part.insert(*id);
            }
        }
        let mut included = BTreeSet::new();
        let mut records: Vec<&Record> = vec![];
        let mut waiting: VecDeque<Uuid> = spoken_of.iter().map(|(_, id)| *id).collect();
        // Of two visits that became one the other is not spoken of, and is to be told all the same.
        let written = applied.writes.iter().map(|write| &write.record);
        let visits = written.filter(|record| record.aggregate.kind() == Kind::Encounter);
        waiting.extend(visits.map(|record| record.meta.id));
        while let Some(id) = waiting.pop_front() {
            let Some(record) = applied.known.get(&id) else {
                continue;
            };
            if !included.insert(id) {
                continue;
            }
            records.push(record);
            record.aggregate.refs(&mut |to| waiting.extend(to.id()));
        }
        // Stable: within a kind they stay in the order in which they were reached.
        records.sort_by_key(|record| rank(record));
        Set {
            records,
            spoken_of,
            included,
            applied,
            server,
            in_part,
        }
    }

    /// What the message does not change, and stands here without all that it belongs to: an order beside a result, a bed without its
    /// room, the study of an object. A server that has it knows more of it, and an update would take that away.
    fn is_partly_told(&self, record: &Record) -> bool {
        let id = record.meta.id;
        if self.in_part.contains(&id) {
            return true;
        }
        let is_written = || self.applied.writes.iter().any(|write| write.record.meta.id == id);
        let mut is_whole = true;
        let mut leads = |to: &Ref| is_whole &= to.id().is_none_or(|id| self.included.contains(&id));
        match &record.aggregate {
            // Each object that comes changes its study, and names few of its orders.
            Aggregate::ImagingStudy(study) => {
                study.orders.iter().chain(&study.encounter).for_each(leads);
                !is_whole
            }
            aggregate => {
                aggregate.refs(&mut leads);
                !is_whole && !is_written()
            }
        }
    }

    fn follow(&self, id: Uuid) -> Option<String> {
        self.included.contains(&id).then(|| format!("urn:uuid:{id}"))
    }

    fn resolved(&self, to: &Ref) -> Option<(Kind, Uuid)> {
        match to {
            Ref::Id(kind, id) => Some((*kind, *id)),
            Ref::Local(key) => self.applied.ids.get(key).copied(),
        }
    }

    /// A reference to an entry, else by our identifier.
    pub(crate) fn reference(&self, to: &Ref) -> Option<Json> {
        let (kind, id) = self.resolved(to)?;
        let reference = match self.follow(id) {
            Some(reference) => Object::new().put("reference", reference),
            None => Object::new()
                .put("type", fhir_type(kind))
                .put("identifier", types::own_identifier(id)),
        };
        reference.json()
    }

    /// A reference to an entry, where it is one.
    pub(crate) fn entry(&self, to: &Ref) -> Option<Json> {
        let (_, id) = self.resolved(to)?;
        Object::new().put("reference", self.follow(id)?).json()
    }

    /// All resources; the small ones of each before it, since it refers to them.
    fn resources(&self) -> Vec<Resource> {
        let mut out = vec![];
        for record in &self.records {
            let follow = |_: Kind, id: Uuid| self.follow(id);
            let (main, small) = build(record, &follow, true);
            out.extend(small.into_iter().map(|(id, json)| Resource {
                id,
                json,
                found_by: None,
                id_there: None,
                is_partly_told: false,
            }));
            out.push(Resource {
                id: record.meta.id,
                json: main,
                found_by: business_identifier(record)
                    .filter(|_| !self.applied.share_number.contains(&record.meta.id))
                    .cloned(),
                id_there: self.id_there(record),
                is_partly_told: self.is_partly_told(record),
            });
        }
        out
    }

    /// The id that the server gave to a patient, where it is kept with him.
    fn id_there(&self, record: &Record) -> Option<String> {
        let system = crate::answer::patients_of(self.server?);
        let Aggregate::Patient(patient) = &record.aggregate else {
            return None;
        };
        let mut there = patient
            .identifiers
            .iter()
            .filter(|identifier| identifier.system.as_deref() == Some(&system));
        match (there.next(), there.next()) {
            (Some(one), None) => Some(one.value.clone()),
            // Two records there became one here: neither is the other's.
            (_, _) => None,
        }
    }
}

struct Resource {
    id: Uuid,
    json: Json,
    /// The identifier by which another server may know it already.
    found_by: Option<Identifier>,
    /// The id that the server gave it.
    id_there: Option<String>,
    /// It is made where it is not there, and stays as it is where it is.
    is_partly_told: bool,
}

/// What others refer to comes first.
fn rank(record: &Record) -> u8 {
    match record.aggregate.kind() {
        Kind::Clinic => 0,
        Kind::Site => 1,
        Kind::Room => 2,
        Kind::Practitioner => 3,
        Kind::Service => 4,
        Kind::Patient => 5,
        Kind::RelatedPerson => 6,
        Kind::Coverage => 7,
        Kind::Schedule => 8,
        Kind::Slot => 9,
        Kind::Condition => 10,
        Kind::Allergy => 11,
        Kind::Order => 12,
        Kind::Appointment => 13,
        Kind::Encounter => 14,
        Kind::Procedure => 15,
        Kind::Specimen => 16,
        Kind::Observation => 17,
        Kind::Result => 18,
        Kind::MedicationOrder => 19,
        Kind::Document => 20,
        Kind::ImagingStudy => 21,
        Kind::ImagingInstance => 22,
    }
}

/// The identifier that names an aggregate for others too: the first one of a system that is in use. What comes later
/// stands behind it in the list, so that the same one is chosen each time.
///
/// What has no such number, or shares it with others of its type (a merged patient, several reports of one order), is
/// found by our identifier of it. So is what had another number before (HL7 A47, A50): by the new one a server that was
/// told the old one would not find it.
fn business_identifier(record: &Record) -> Option<&Identifier> {
    let wanted: &[&str] = match &record.aggregate {
        Aggregate::Patient(patient) => {
            let merged = |kind| matches!(kind, LinkKind::ReplacedBy | LinkKind::Replaces);
            // Of one who was merged once, and is not any more, a server may hold the number with the other still.
            let was_parted = record.meta.held.who(MERGE).is_some();
            if was_parted || patient.links.iter().any(|link| merged(link.kind)) {
                return None;
            }
            &[]
        }
        Aggregate::Practitioner(_) | Aggregate::Clinic(_) => &[],
        // Its number leads to the visit that it became one with.
        Aggregate::Encounter(visit) if visit.status == Some(EncounterStatus::EnteredInError) => return None,
        Aggregate::Encounter(_) => &["VN"],
        Aggregate::Order(_) => &["PLAC", "FILL"],
        Aggregate::RelatedPerson(_)
        | Aggregate::Site(_)
        | Aggregate::Room(_)
        | Aggregate::Service(_)
        | Aggregate::Schedule(_)
        | Aggregate::Slot(_)
        | Aggregate::Appointment(_)
        | Aggregate::Condition(_)
        | Aggregate::Allergy(_)
        | Aggregate::Procedure(_)
        | Aggregate::Coverage(_)
        | Aggregate::Specimen(_)
        | Aggregate::Result(_)
        | Aggregate::Observation(_)
        | Aggregate::Document(_)
        | Aggregate::MedicationOrder(_) => return None,
        Aggregate::ImagingStudy(_) | Aggregate::ImagingInstance(_) => return None,
    };
    let found = record.aggregate.identifiers().iter().find(|identifier| {
        let of_a_system = identifier.system.as_deref().is_some_and(|s| !s.trim().is_empty());
        let in_use = !matches!(
            identifier.usage,
            Some(IdentifierUse::Old | IdentifierUse::Temporary)
        );
        let kind = identifier.kind_code().unwrap_or_default();
        of_a_system
            && in_use
            && !identifier.value.trim().is_empty()
            // The id on one server, which no other knows.
            && !(kind == "RI" && identifier.system.as_deref().is_some_and(|s| s.ends_with("/Patient")))
            && (wanted.is_empty() || wanted.contains(&kind))
    })?;
    let is_before = |other: &Identifier| {
        other.usage == Some(IdentifierUse::Old)
            && other.system == found.system
            && other.kind_code() == found.kind_code()
    };
    (!record.aggregate.identifiers().iter().any(is_before)).then_some(found)
}

/// A value as it stands in a token search: `\`, `$`, `,` and `|` escaped (FHIR R4 §3.1.1.4), then percent-encoded.
fn token(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '$' | ',' | '|') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    types::percent_encoded(&escaped)
}

/// Where each resource is put, no two to the same place.
fn addressed(resources: Vec<Resource>) -> Vec<Entry> {
    let mut taken = BTreeSet::new();
    resources
        .into_iter()
        .map(|resource| {
            let resource_type = resource.json.resource_type().unwrap_or_default().to_owned();
            let by = |system: &str, value: &str| {
                format!("{resource_type}?identifier={}%7C{}", token(system), token(value))
            };
            let own = || by("urn:ietf:rfc:3986", &format!("urn:uuid:{}", resource.id));
            let there = resource
                .id_there
                .as_ref()
                .map(|id| format!("{resource_type}/{id}"));
            let url = match &resource.found_by {
                _ if there.as_ref().is_some_and(|there| !taken.contains(there)) => there.unwrap_or_default(),
                _ if resource_type == "Provenance" => format!("Provenance/{}", resource.id),
                Some(identifier) => {
                    let system = types::system(identifier.system.as_ref()).unwrap_or_default();
                    let business = by(&system, &identifier.value);
                    if taken.contains(&business) {
                        own()
                    } else {
                        business
                    }
                }
                None => own(),
            };
            taken.insert(url.clone());
            let mut json = resource.json;
            if let Json::Object(object) = &mut json
                && url.contains('?')
            {
                // A conditional update carries no id: the server knows its own.
                object.remove("id");
            } else if let Json::Object(object) = &mut json
                && let Some((_, id)) = url.split_once('/')
            {
                object.set("id", id.to_owned());
            }
            let (method, url, if_none_exist) = match url.split_once('?') {
                Some((there, query)) if resource.is_partly_told => {
                    ("POST", there.to_owned(), Some(query.to_owned()))
                }
                _ => ("PUT", url, None),
            };
            Entry {
                id: resource.id,
                method,
                url,
                if_none_exist,
                resource: json,
            }
        })
        .collect()
}

/// What a message changed, as the text of one Bundle. `applied` is what came of applying `changes`.
///
/// Every reference in it leads to an entry of it, or is by identifier. In debug builds each resource passes the gate
/// ([`admit`]); elsewhere [`checked_bundle`] does that for whoever has the time.
pub fn bundle(
    changes: &ChangeSet,
    applied: &Applied,
    shape: Shape,
    stamp: &Stamp,
) -> Result<Vec<u8>, MapError> {
    bundle_to(None, changes, applied, shape, stamp)
}

/// As [`bundle`], for the server at this address: a patient whose id there is known is updated by that id.
pub fn bundle_to(
    server: Option<&str>,
    changes: &ChangeSet,
    applied: &Applied,
    shape: Shape,
    stamp: &Stamp,
) -> Result<Vec<u8>, MapError> {
    let bundle = bundle_json(server, changes, applied, shape, stamp);
    if cfg!(debug_assertions) {
        return Ok(checked(bundle)?.to_bytes());
    }
    Ok(bundle.to_bytes())
}

/// As [`bundle`], and refuses what isn't valid FHIR in every build: for `punte convert` and for tests.
pub fn checked_bundle(
    changes: &ChangeSet,
    applied: &Applied,
    shape: Shape,
    stamp: &Stamp,
) -> Result<Vec<u8>, MapError> {
    Ok(checked(bundle_json(None, changes, applied, shape, stamp))?.to_bytes())
}

pub(crate) fn bundle_json(
    server: Option<&str>,
    changes: &ChangeSet,
    applied: &Applied,
    shape: Shape,
    stamp: &Stamp,
) -> Json {
    let set = Set::new(changes, applied, server);
    let about = &changes.about;
    let head = Object::new()
        .put("resourceType", "Bundle")
        .put("id", types::derived_id(stamp.id, "bundle").to_string())
        .put("identifier", about::message_identifier(about));
    let timestamp = about
        .sent
        .as_ref()
        .and_then(types::instant)
        .unwrap_or_else(|| stamp.now.to_string());
    match shape {
        Shape::Message => {
            let parties = Parties::new(about, &set, true);
            let header = Object::new()
                .put("reference", format!("urn:uuid:{}", stamp.id))
                .json();
            let mut entries = vec![entry(
                stamp.id,
                about::message_header(changes, &set, &parties, stamp),
            )];
            entries.extend(
                parties
                    .organizations
                    .iter()
                    .map(|(id, json)| entry(*id, json.clone())),
            );
            entries.extend(set.resources().into_iter().map(|r| entry(r.id, r.json)));
            let provenances = about::provenances(changes, &set, &parties, stamp, header);
            entries.extend(provenances.into_iter().map(|(id, json)| entry(id, json)));
            head.put("type", "message")
                .put("timestamp", timestamp)
                .put("entry", entries)
                .into()
        }
        Shape::Transaction => {
            let entries: Vec<Object> = requests(changes, &set, stamp)
                .into_iter()
                .map(|request| {
                    entry(request.id, request.resource).put(
                        "request",
                        Object::new()
                            .put("method", request.method)
                            .put("url", request.url)
                            .put("ifNoneExist", request.if_none_exist),
                    )
                })
                .collect();
            head.put("type", "transaction")
                .put("timestamp", timestamp)
                .put("entry", entries)
                .into()
        }
    }
}

fn requests(changes: &ChangeSet, set: &Set<'_>, stamp: &Stamp) -> Vec<Entry> {
    let parties = Parties::new(&changes.about, set, false);
    let mut resources = set.resources();
    let provenances = about::provenances(changes, set, &parties, stamp, None);
    resources.extend(provenances.into_iter().map(|(id, json)| Resource {
        id,
        json,
        found_by: None,
        id_there: None,
        is_partly_told: false,
    }));
    addressed(resources)
}

fn entry(id: Uuid, resource: Json) -> Object {
    Object::new()
        .put("fullUrl", format!("urn:uuid:{id}"))
        .put("resource", resource)
}

/// The gate, for each resource of a bundle.
fn checked(bundle: Json) -> Result<Json, MapError> {
    if let Some(Json::Array(entries)) = bundle.get("entry") {
        for entry in entries {
            if let Some(resource) = entry.get("resource") {
                admit(resource)?;
            }
        }
    }
    Ok(bundle)
}

/// What a message changed, as single requests in an order in which what is referred to comes first, as far as that can
/// be. For servers without transactions.
pub fn per_resource(changes: &ChangeSet, applied: &Applied, stamp: &Stamp) -> Result<Vec<Entry>, MapError> {
    let set = Set::new(changes, applied, None);
    let entries = requests(changes, &set, stamp);
    if cfg!(debug_assertions) {
        for entry in &entries {
            admit(&entry.resource)?;
        }
    }
    Ok(entries)
}
